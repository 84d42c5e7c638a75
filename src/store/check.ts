/**
 * What every store refuses before it writes anything, so that what one store takes all of them take. Imports core.
 */
import { InvalidFieldsError, StoreError } from '../core/errors.js'
import type { Batch, ListOptions } from '../core/store.js'

/**
 * The most bytes of a key, counted as UTF-8 with three bytes for each half of a surrogate pair. It is what LMDB can hold in a
 * page of 4096 bytes; the other stores could take more, but then a program that works over one would fail over the next.
 */
export const MAX_KEY_BYTES = 1978

const DEFAULT_LIST_LIMIT = 1000

/** Half a surrogate pair without the other: it has no UTF-8, so a store that keeps UTF-8 would give back something else. */
const LONE_SURROGATE = /\p{Surrogate}/u

/** `String.prototype.isWellFormed`, where the platform has it: several times faster, and every record passes through here. */
const native = (String.prototype as { isWellFormed?: (this: string) => boolean }).isWellFormed
const isWellFormed = (text: string): boolean => native === undefined ? !LONE_SURROGATE.test(text) : native.call(text)

/** @throws InvalidFieldsError for what is no key: not a string, empty, too long, or not well-formed Unicode */
export function checkKey(key: unknown): asserts key is string {
  if (typeof key !== 'string' || key === '') throw new InvalidFieldsError('key must be a string that is not empty')
  if (!isWellFormed(key)) throw new InvalidFieldsError('key must be well-formed Unicode')
  // Short keys need no counting: a code unit takes three bytes at most.
  if (key.length * 3 > MAX_KEY_BYTES && keyBytes(key) > MAX_KEY_BYTES) {
    throw new InvalidFieldsError(`key must be at most ${MAX_KEY_BYTES} bytes`)
  }
}

/**
 * Checks a whole batch. A key may be put more than once (the last put counts), but not put and deleted: the two lists have no
 * order between them.
 * @throws InvalidFieldsError naming what is wrong
 */
export function checkBatch({ puts = [], deletes = [], guards = [] }: Batch): void {
  for (const key of deletes) checkKey(key)
  // Nearly always a few, among very many puts.
  const deleted = new Set(deletes)
  for (const put of puts) {
    // By their places: taking a pair apart as a list costs more than all the checks.
    const key = put[0]
    const value: unknown = put[1]
    checkKey(key)
    if (deleted.has(key)) throw new InvalidFieldsError(`${key} is both put and deleted in one batch`)
    if (typeof value !== 'string') throw new InvalidFieldsError(`value of ${key} must be a string`)
    if (!isWellFormed(value)) throw new InvalidFieldsError(`value of ${key} must be well-formed Unicode`)
  }
  for (const [key, expected] of guards) {
    checkKey(key)
    if (expected !== undefined && typeof expected !== 'string') {
      throw new InvalidFieldsError(`guard on ${key} must be a string, or undefined for absent`)
    }
  }
}

/**
 * The options of `list` with their defaults.
 * @throws InvalidFieldsError naming the option
 */
export function checkList(prefix: unknown, { after, limit = DEFAULT_LIST_LIMIT }: ListOptions): { from: string; limit: number } {
  if (typeof prefix !== 'string') throw new InvalidFieldsError('prefix must be a string')
  if (after !== undefined && typeof after !== 'string') throw new InvalidFieldsError('after must be a string')
  if (typeof limit !== 'number' || !(limit === Infinity || (Number.isInteger(limit) && limit >= 0))) {
    throw new InvalidFieldsError('limit must be an integer, 0 or more, or Infinity')
  }
  return { from: after !== undefined && after > prefix ? after : prefix, limit }
}

/** What a call on a closed store rejects with. */
export function closedError(): StoreError {
  return new StoreError('the store is closed')
}

function keyBytes(key: string): number {
  let bytes = 0
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i)
    bytes += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3
  }
  return bytes
}
