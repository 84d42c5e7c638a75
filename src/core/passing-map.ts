/**
 * A map for what comes and goes by the ten thousand in a second, of which little is there at a time. Imports nothing.
 *
 * JavaScript's own takes a new table every few hundred insertions, however little is in it. In V8 each such table that has grown old keeps
 * its successor from being collected cheaply, and all that was in it then: a tenth of the time that a transfer takes. This one keeps its
 * table until it must grow.
 */

/** The most places in which a key may lie. What finds none free there, as where somebody chooses keys for that, lies in `#others`. */
const MOST_STEPS = 32
const FIRST_SIZE = 64

/** Keys are texts that differ in their last eight characters, as random ids do, or whole numbers below 2^32. */
export class PassingMap<K extends string | number, V> {
  /** A power of 2, and at most half of it is taken. Places lie in a ring. */
  #size = FIRST_SIZE
  /** The hash of the key in each place, 0 where there is none. */
  #hashes = new Int32Array(FIRST_SIZE)
  #keys: Array<K | undefined> = Array.from({ length: FIRST_SIZE })
  #values: Array<V | undefined> = Array.from({ length: FIRST_SIZE })
  /** The how many-th to be added each was. */
  #numbers = new Float64Array(FIRST_SIZE)
  #taken = 0
  #added = 0
  #others: Map<K, V> | undefined

  /** How many keys there are. */
  get size(): number {
    return this.#taken + (this.#others?.size ?? 0)
  }

  get(key: K): V | undefined {
    const place = this.#find(key, hashOf(key))
    return place === -1 ? this.#others?.get(key) : this.#values[place]
  }

  has(key: K): boolean {
    return this.#find(key, hashOf(key)) !== -1 || this.#others?.has(key) === true
  }

  set(key: K, value: V): void {
    const hash = hashOf(key)
    const place = this.#find(key, hash)
    if (place !== -1) this.#values[place] = value
    else if (this.#others?.has(key) === true) this.#others.set(key, value)
    else {
      if (2 * this.#taken >= this.#size) this.#grow()
      this.#add(key, hash, value)
    }
  }

  /** Whether it was there. */
  delete(key: K): boolean {
    const place = this.#find(key, hashOf(key))
    if (place === -1) return this.#others?.delete(key) === true
    this.#taken--
    this.#close(place)
    return true
  }

  clear(): void {
    this.#hashes.fill(0)
    this.#keys.fill(undefined)
    this.#values.fill(undefined)
    this.#taken = 0
    this.#others = undefined
  }

  /** As they are now, in the order in which they were added. */
  keys(): K[] {
    return this.#places().map(place => this.#keys[place] as K).concat([...this.#others?.keys() ?? []])
  }

  /** In the order of `keys`. */
  values(): V[] {
    return this.#places().map(place => this.#values[place] as V).concat([...this.#others?.values() ?? []])
  }

  #places(): number[] {
    const places: number[] = []
    for (let place = 0; place < this.#size; place++) if (this.#hashes[place] !== 0) places.push(place)
    const numbers = this.#numbers
    return places.sort((a, b) => (numbers[a] ?? 0) - (numbers[b] ?? 0))
  }

  /** Where it lies, or -1. */
  #find(key: K, hash: number): number {
    const last = this.#size - 1
    for (let steps = 0, place = hash & last; steps < MOST_STEPS; steps++, place = (place + 1) & last) {
      const found = this.#hashes[place]
      if (found === 0) return -1
      if (found === hash && this.#keys[place] === key) return place
    }
    return -1
  }

  #add(key: K, hash: number, value: V): void {
    const last = this.#size - 1
    for (let steps = 0, place = hash & last; steps < MOST_STEPS; steps++, place = (place + 1) & last) {
      if (this.#hashes[place] !== 0) continue
      this.#put(place, hash, this.#added++, key, value)
      this.#taken++
      return
    }
    this.#others ??= new Map()
    this.#others.set(key, value)
  }

  #put(place: number, hash: number, number: number, key: K | undefined, value: V | undefined): void {
    this.#hashes[place] = hash
    this.#numbers[place] = number
    this.#keys[place] = key
    this.#values[place] = value
  }

  /** Empties a place, so that what lies behind is found still: a search ends at the first empty one. */
  #close(gap: number): void {
    const last = this.#size - 1
    for (let place = (gap + 1) & last; ; place = (place + 1) & last) {
      const hash = this.#hashes[place] ?? 0
      if (hash === 0) break
      // Unless its search begins behind the gap.
      if (((place - hash) & last) < ((place - gap) & last)) continue
      this.#put(gap, hash, this.#numbers[place] ?? 0, this.#keys[place], this.#values[place])
      gap = place
    }
    this.#put(gap, 0, 0, undefined, undefined)
  }

  #grow(): void {
    const [keys, values] = [this.keys(), this.values()]
    this.#size *= 2
    this.#hashes = new Int32Array(this.#size)
    this.#numbers = new Float64Array(this.#size)
    this.#keys = Array.from({ length: this.#size })
    this.#values = Array.from({ length: this.#size })
    this.#taken = 0
    this.#others = undefined
    for (const [index, key] of keys.entries()) this.#add(key, hashOf(key), values[index] as V)
  }
}

/** Never 0. */
function hashOf(key: string | number): number {
  let hash = 0
  if (typeof key === 'number') hash = key
  else for (let index = Math.max(0, key.length - 8); index < key.length; index++) hash = Math.imul(hash, 31) + key.charCodeAt(index)
  hash = Math.imul(hash ^ hash >>> 16, 0x45d9f3b)
  hash ^= hash >>> 16
  return hash === 0 ? 1 : hash
}
