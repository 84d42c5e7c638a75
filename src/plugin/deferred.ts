/** Those who wait, by promise or without. Imports nothing. */

/** Who waits for something, and hears of it once. Neither must throw. */
export interface Waiter<T = void> {
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

/** A promise that is settled from outside. */
export class Deferred<T> {
  readonly promise: Promise<T>
  resolve!: (value: T) => void
  #reject!: (error: unknown) => void

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve
      this.#reject = reject
    })
  }

  /** Whoever waits hears of it; that nobody does is no fault. */
  reject(error: unknown): void {
    this.promise.catch(() => undefined)
    this.#reject(error)
  }
}
