/**
 * The documented MaxValueTracker: the best claim, and other values that only grow. Imports core.
 */
import { parseSum } from '../core/amounts.js'
import { InvalidFieldsError, StoreError } from '../core/errors.js'
import type { Committer } from './committer.js'

/** An entry of a tracker: `value` is an integer string, 0 or more; `data` is whatever JSON belongs to it. */
export interface MaxValueEntry<D = unknown> {
  value: string
  data: D
}

const INTEGER = /^[0-9]{1,100}$/
const NONE: MaxValueEntry<null> = { value: '0', data: null }

/** Keeps the entry with the greatest value. What it holds survives restarts, as far as the store does. */
export class MaxValueTracker<D = unknown> {
  readonly #committer: Committer
  readonly #key: string
  #best: MaxValueEntry<D | null> | undefined

  /** @internal made by the backend */
  constructor(committer: Committer, key: string) {
    this.#committer = committer
    this.#key = `${key}:mvt:maximum`
    committer.onTakeOver(() => { this.#best = undefined })
  }

  /**
   * Makes `entry` the maximum if its value is greater than all before it, and returns the maximum before; otherwise changes
   * nothing and returns `entry`. Durable when it resolves.
   * @throws InvalidFieldsError unless `entry.value` is an integer string, 0 or more; StoreError
   */
  async setIfMax(entry: MaxValueEntry<D>): Promise<MaxValueEntry<D | null>> {
    if (typeof entry !== 'object' || typeof entry.value !== 'string' || !INTEGER.test(entry.value)) {
      throw new InvalidFieldsError('entry.value must be an integer string, 0 or more')
    }
    const text = JSON.stringify({ value: entry.value, data: entry.data ?? null })
    await this.#committer.ready()
    const durable = await this.#load()
    const before = await this.#committer.submit(group => {
      const draft = group.draft(this, () => ({ best: this.#best ?? durable }))
      const { best } = draft
      if (parseSum(entry.value, 'value').lte(best.value)) return entry
      draft.best = JSON.parse(text) as MaxValueEntry<D | null>
      const { best: next } = draft
      group.put(this.#key, text)
      group.onDurable(() => { this.#best = next })
      return best
    })
    return { ...before }
  }

  /** The entry with the greatest value; `{ value: '0', data: null }` while there is none. */
  async getMax(): Promise<MaxValueEntry<D | null>> {
    return structuredClone(await this.#load())
  }

  async #load(): Promise<MaxValueEntry<D | null>> {
    if (this.#best !== undefined) return this.#best
    const text = await this.#committer.store.get(this.#key)
    // Another call may have read, or set, a value meanwhile: what memory holds is newer.
    this.#best ??= text === undefined ? NONE : this.#parse(text)
    return this.#best
  }

  #parse(text: string): MaxValueEntry<D | null> {
    try {
      const entry = JSON.parse(text) as Partial<MaxValueEntry<D>> | null
      if (typeof entry?.value === 'string') return { value: entry.value, data: entry.data ?? null }
    } catch {
      // Falls through to the error below.
    }
    throw new StoreError(`the record under '${this.#key}' does not parse`)
  }
}
