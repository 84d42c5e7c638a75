/**
 * Maps for what comes and goes by the ten thousand in a second, of which little is there at a time. Imports nothing.
 *
 * JavaScript's own takes a new table every few hundred insertions, however little is in it. In V8 each such table that has grown old keeps
 * its successor from being collected cheaply, and all that was in it then: a tenth of the time that a transfer takes in Node. In a page,
 * where the store is what takes the time, that does not matter.
 */

/** What both kinds do. */
export interface PassingMap<K, V> {
  readonly size: number
  get(key: K): V | undefined
  has(key: K): boolean
  set(key: K, value: V): unknown
  /** Whether it was there. */
  delete(key: K): boolean
  clear(): void
  /** In the order in which they were added. */
  keys(): Iterable<K>
  /** In the order of `keys`. */
  values(): Iterable<V>
  /** In the order of `keys`. */
  entries(): Iterable<[K, V]>
}

let make = (): PassingMap<string | number, unknown> => new Map()

/** Has an entry whose platform gains by it make all such maps from now on. */
export function mapBy(better: typeof make): void {
  make = better
}

/** A new one. Keys are texts that differ in their last eight characters, as random ids do, or whole numbers below 2^32. */
export function passingMap<K extends string | number, V>(): PassingMap<K, V> {
  return make() as unknown as PassingMap<K, V>
}
