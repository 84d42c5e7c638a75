/**
 * A store in memory: for tests, for demos, and for accounts that may be forgotten when the process ends. Imports core.
 */
import type { Batch, ListOptions, Store } from '../core/store.js'
import { checkBatch, checkKey, checkList, closedError } from './check.js'
import { lowerBound } from './sorted.js'

/** A bucket that grows beyond this is split: small enough that an insertion moves little, large enough that there are few. */
const BUCKET_SIZE = 512

/**
 * Keeps everything in this process, and nothing of it when the process ends. It belongs to whoever made it: a plugin does not
 * close it, so that it can be handed to the next plugin with all that it holds.
 */
export class MemoryStore implements Store {
  /** The keys of `#listed`, in order. */
  readonly #keys = new SortedKeys()
  readonly #listed = new Map<string, string>()
  /** What came since somebody last listed: its keys are put in order then, which most commits need not wait for. */
  readonly #recent = new Map<string, string>()
  #closed = false

  // eslint-disable-next-line @typescript-eslint/require-await -- the port is asynchronous, memory is not
  async get(key: string): Promise<string | undefined> {
    this.#checkOpen()
    checkKey(key)
    return this.#valueOf(key)
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the port is asynchronous, memory is not
  async list(prefix: string, options: ListOptions = {}): Promise<Array<[key: string, value: string]>> {
    this.#checkOpen()
    const { from, limit } = checkList(prefix, options)
    const entries: Array<[string, string]> = []
    if (limit === 0) return entries
    this.#sort()
    for (const key of this.#keys.from(from)) {
      if (!key.startsWith(prefix)) break
      const value = this.#listed.get(key)
      if (value === undefined || key === options.after) continue
      entries.push([key, value])
      if (entries.length === limit) break
    }
    return entries
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the port is asynchronous, memory is not
  async commit(batch: Batch): Promise<boolean> {
    this.#checkOpen()
    checkBatch(batch)
    for (const [key, expected] of batch.guards ?? []) {
      if (this.#valueOf(key) !== expected) return false
    }
    // From here on nothing can fail.
    for (const put of batch.puts ?? []) {
      const values = this.#listed.size > 0 && this.#listed.has(put[0]) ? this.#listed : this.#recent
      values.set(put[0], put[1])
    }
    for (const key of batch.deletes ?? []) {
      if (!this.#recent.delete(key) && this.#listed.delete(key)) this.#keys.remove(key)
    }
    return true
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the port is asynchronous, memory is not
  async close(): Promise<void> {
    this.#closed = true
    this.#keys.clear()
    this.#listed.clear()
    this.#recent.clear()
  }

  #valueOf(key: string): string | undefined {
    return this.#recent.get(key) ?? this.#listed.get(key)
  }

  #sort(): void {
    for (const [key, value] of this.#recent) {
      this.#keys.add(key)
      this.#listed.set(key, value)
    }
    this.#recent.clear()
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError()
  }
}

/** A sorted set of strings in buckets: adding and removing cost the logarithm of the buckets and one bucket's length. */
class SortedKeys {
  /** Never empty itself, and no bucket but the first is empty; all keys of one bucket sort before those of the next. */
  #buckets: string[][] = [[]]

  /** Adds a key that is not in the set. */
  add(key: string): void {
    const index = this.#bucketOf(key)
    const bucket = this.#buckets[index] ?? []
    bucket.splice(lowerBound(bucket, key), 0, key)
    if (bucket.length > BUCKET_SIZE) this.#buckets.splice(index + 1, 0, bucket.splice(BUCKET_SIZE / 2))
  }

  /** Removes a key that is in the set. */
  remove(key: string): void {
    const index = this.#bucketOf(key)
    const bucket = this.#buckets[index] ?? []
    bucket.splice(lowerBound(bucket, key), 1)
    if (bucket.length === 0 && this.#buckets.length > 1) this.#buckets.splice(index, 1)
  }

  clear(): void {
    this.#buckets = [[]]
  }

  /** The keys from `start` on, in order, `start` itself included. The set must not change meanwhile. */
  *from(start: string): Generator<string> {
    const first = this.#bucketOf(start)
    for (let index = first; index < this.#buckets.length; index++) {
      const bucket = this.#buckets[index] ?? []
      for (let at = index === first ? lowerBound(bucket, start) : 0; at < bucket.length; at++) yield bucket[at] ?? ''
    }
  }

  /** The last bucket whose first key is not greater than `key`; the first bucket where there is none. */
  #bucketOf(key: string): number {
    let low = 0
    let high = this.#buckets.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((this.#buckets[middle]?.[0] ?? '') <= key) low = middle
      else high = middle
    }
    return low
  }
}
