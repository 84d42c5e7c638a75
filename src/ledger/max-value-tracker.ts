/**
 * The documented MaxValueTracker: the best claim, and other values that only grow. Imports core.
 */
import { formatAmount, parseSum } from '../core/amounts.js'
import { InvalidFieldsError, messageOf } from '../core/errors.js'
import { parseIfJson } from '../core/json.js'
import type { Committer } from './committer.js'
import { damaged, parseStoredSum } from './records.js'

/** An entry of a tracker: `value` is an integer string, 0 or more; `data` is whatever JSON belongs to it. */
export interface MaxValueEntry<D = unknown> {
  /** An integer string of at most 100 digits. */
  value: string
  /** Whatever JSON belongs to it; null as long as nothing was set. */
  data: D
}

const INTEGER = /^[0-9]{1,100}$/
const NONE: MaxValueEntry<null> = { value: '0', data: null }

/** Keeps the entry with the greatest value. What it holds survives restarts, as far as the store does. */
export class MaxValueTracker<D = unknown> {
  readonly #committer: Committer
  readonly #key: string
  #best: MaxValueEntry<D | null> | undefined
  #reading: Promise<void> | undefined
  /** Counts the take-overs: what was read before one is not kept after it. */
  #generation = 0

  /** @internal made by the backend */
  constructor(committer: Committer, key: string) {
    this.#committer = committer
    this.#key = `${key}:mvt:maximum`
    committer.onTakeOver(() => {
      this.#generation++
      this.#reading = undefined
      this.#best = undefined
    })
  }

  /**
   * Makes `entry` the maximum if its value is greater than all before it, and returns the maximum before; otherwise changes
   * nothing and returns `entry`. Durable when it resolves.
   * @throws InvalidFieldsError unless `entry.value` is an integer string, 0 or more, and `entry.data` has a JSON; StoreError
   */
  async setIfMax(entry: MaxValueEntry<D>): Promise<MaxValueEntry<D | null>> {
    const given = { ...entry }
    const { value, text } = checked(given)
    while (!this.#committer.owns || this.#best === undefined) {
      await this.#committer.ready()
      await this.#load()
    }
    const before = await this.#committer.submit(group => {
      const draft = group.draft(this, () => ({ best: this.#best ?? NONE }))
      const { best } = draft
      if (value <= parseSum(best.value, 'value')) return given
      const next = JSON.parse(text) as MaxValueEntry<D | null>
      draft.best = next
      group.put(this.#key, text)
      group.onDurable(() => { this.#best = next })
      return best
    })
    return { ...before }
  }

  /**
   * The entry with the greatest value, in a copy of the caller's own; `{ value: '0', data: null }` while there is none.
   * @throws StoreError when what is stored does not parse
   */
  async getMax(): Promise<MaxValueEntry<D | null>> {
    return structuredClone(await this.#load())
  }

  async #load(): Promise<MaxValueEntry<D | null>> {
    while (this.#best === undefined) {
      // One reading for all that wait, so that they go on in the order in which they came.
      const reading = this.#reading ??= this.#read()
      try {
        await reading
      } finally {
        if (this.#reading === reading) this.#reading = undefined
      }
    }
    return this.#best
  }

  async #read(): Promise<void> {
    const generation = this.#generation
    const text = await this.#committer.get(this.#key)
    const best = text === undefined ? NONE : this.#parse(text)
    if (generation === this.#generation) this.#best ??= best
  }

  /** What the old package took as a value, a number for one, is read too. */
  #parse(text: string): MaxValueEntry<D | null> {
    const entry = parseIfJson(text) as Partial<MaxValueEntry<D>> | null | undefined
    if (entry === undefined || entry === null) throw damaged(this.#key, 'does not parse')
    return { value: formatAmount(parseStoredSum(this.#key, entry.value)), data: entry.data ?? null }
  }
}

/** The value of an entry, and its text as it is stored. @throws InvalidFieldsError */
function checked({ value, data }: { value?: unknown; data?: unknown }) {
  if (typeof value !== 'string' || !INTEGER.test(value)) {
    throw new InvalidFieldsError('entry.value must be an integer string, 0 or more')
  }
  const amount = parseSum(value, 'entry.value')
  try {
    return { value: amount, text: JSON.stringify({ value: formatAmount(amount), data: data ?? null }) }
  } catch (cause) {
    throw new InvalidFieldsError(`entry.data must be JSON: ${messageOf(cause)}`, { cause })
  }
}
