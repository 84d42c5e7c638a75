/**
 * A map that keeps its table until it must grow: what comes and goes in it leaves nothing behind for the collector. Imports core's port.
 */
import type { PassingMap } from '../core/passing-map.js'

/** The most places in which a key may lie. What finds none free there, as where somebody chooses keys for that, lies in `#others`. */
const MOST_STEPS = 32
const FIRST_SIZE = 64

/** Keys are texts that differ in their last eight characters, as random ids do, or whole numbers below 2^32. */
export class NodeMap<K extends string | number, V> implements PassingMap<K, V> {
  /** A ring of places, a power of 2, at most half of them taken: what lies in each, in a list for each part, so that an entry is no object. */
  #keys: Array<K | undefined>
  #values: Array<V | undefined>
  #hashes: Int32Array
  /** The how many-th to be added it was. */
  #numbers: Float64Array
  #taken = 0
  #added = 0
  readonly #others = new Map<K, V>()

  constructor() {
    [this.#keys, this.#values, this.#hashes, this.#numbers] = tablesOf<K, V>(FIRST_SIZE)
  }

  /** How many keys there are. */
  get size(): number {
    return this.#taken + this.#others.size
  }

  get(key: K): V | undefined {
    const place = this.#find(key)
    return place === -1 ? this.#others.get(key) : this.#values[place]
  }

  has(key: K): boolean {
    return this.#find(key) !== -1 || this.#others.has(key)
  }

  set(key: K, value: V): void {
    const place = this.#find(key)
    if (place !== -1) this.#values[place] = value
    else if (this.#others.has(key)) this.#others.set(key, value)
    else {
      if (2 * this.#taken >= this.#keys.length) this.#grow()
      this.#add(key, hashOf(key), this.#added++, value)
    }
  }

  /** Whether it was there. */
  delete(key: K): boolean {
    const place = this.#find(key)
    if (place === -1) return this.#others.delete(key)
    this.#taken--
    this.#close(place)
    return true
  }

  clear(): void {
    this.#keys.fill(undefined)
    this.#values.fill(undefined)
    this.#taken = 0
    this.#others.clear()
  }

  /** As they are now, in the order in which they were added. */
  entries(): Array<[K, V]> {
    return [...this.#inOrder().map((place): [K, V] => [this.#keys[place] as K, this.#values[place] as V]), ...this.#others]
  }

  /** In the order of `entries`. */
  keys(): K[] {
    return this.entries().map(([key]) => key)
  }

  /** In the order of `entries`. */
  values(): V[] {
    return this.entries().map(([, value]) => value)
  }

  /** The places that are taken. */
  #inOrder(): number[] {
    const places: number[] = []
    if (this.#taken === 0) return places
    for (let place = 0; place < this.#keys.length; place++) if (this.#keys[place] !== undefined) places.push(place)
    return places.sort((a, b) => (this.#numbers[a] ?? 0) - (this.#numbers[b] ?? 0))
  }

  /** Where it lies, or -1. */
  #find(key: K): number {
    const keys = this.#keys
    const last = keys.length - 1
    for (let steps = 0, place = hashOf(key) & last; steps < MOST_STEPS; steps++, place = (place + 1) & last) {
      const found = keys[place]
      if (found === undefined) return -1
      if (found === key) return place
    }
    return -1
  }

  #add(key: K, hash: number, number: number, value: V): void {
    const keys = this.#keys
    const last = keys.length - 1
    for (let steps = 0, place = hash & last; steps < MOST_STEPS; steps++, place = (place + 1) & last) {
      if (keys[place] !== undefined) continue
      keys[place] = key
      this.#values[place] = value
      this.#hashes[place] = hash
      this.#numbers[place] = number
      this.#taken++
      return
    }
    this.#others.set(key, value)
  }

  /** Empties a place, so that what lies behind is found still: a search ends at the first empty one. */
  #close(gap: number): void {
    const [keys, values, hashes, numbers] = [this.#keys, this.#values, this.#hashes, this.#numbers]
    const last = keys.length - 1
    for (let place = (gap + 1) & last; keys[place] !== undefined; place = (place + 1) & last) {
      const hash = hashes[place] ?? 0
      // Unless its search begins behind the gap.
      if (((place - hash) & last) < ((place - gap) & last)) continue
      keys[gap] = keys[place]
      values[gap] = values[place]
      hashes[gap] = hash
      numbers[gap] = numbers[place] ?? 0
      gap = place
    }
    keys[gap] = undefined
    values[gap] = undefined
  }

  #grow(): void {
    const [keys, values, hashes, numbers] = [this.#keys, this.#values, this.#hashes, this.#numbers]
    const places = this.#inOrder();
    [this.#keys, this.#values, this.#hashes, this.#numbers] = tablesOf<K, V>(2 * keys.length)
    this.#taken = 0
    for (const place of places) this.#add(keys[place] as K, hashes[place] ?? 0, numbers[place] ?? 0, values[place] as V)
  }
}

function tablesOf<K, V>(size: number): [keys: Array<K | undefined>, values: Array<V | undefined>, hashes: Int32Array, numbers: Float64Array] {
  return [Array.from({ length: size }), Array.from({ length: size }), new Int32Array(size), new Float64Array(size)]
}

function hashOf(key: string | number): number {
  let hash = 0
  if (typeof key === 'number') hash = key
  else for (let index = Math.max(0, key.length - 8); index < key.length; index++) hash = Math.imul(hash, 31) + key.charCodeAt(index)
  hash = Math.imul(hash ^ hash >>> 16, 0x45d9f3b)
  return hash ^ hash >>> 16
}
