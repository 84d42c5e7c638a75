/** Actions that are done one after the other. Imports nothing. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  /** Does it when all that were given before it have ended, whether those succeeded or not. Resolves, or rejects, as the action does. */
  take<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(action)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  /** Resolves when all that were given until now have ended. */
  async idle(): Promise<void> {
    await this.#last
  }
}
