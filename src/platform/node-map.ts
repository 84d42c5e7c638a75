/**
 * A map that keeps its table until it must grow: what comes and goes in it leaves nothing behind for the collector. Imports core's port.
 */
import type { PassingMap } from '../core/passing-map.js'

/** The most places in which a key may lie. What finds none free there, as where somebody chooses keys for that, lies in `#others`. */
const MOST_STEPS = 32
const FIRST_SIZE = 64

interface Slot<K, V> {
  readonly key: K
  readonly hash: number
  /** The how many-th to be added it was. */
  readonly number: number
  value: V
}

/** Keys are texts that differ in their last eight characters, as random ids do, or whole numbers below 2^32. */
export class NodeMap<K extends string | number, V> implements PassingMap<K, V> {
  /** A ring of places, a power of 2, at most half of them taken. */
  #slots: Array<Slot<K, V> | undefined> = Array.from({ length: FIRST_SIZE })
  #taken = 0
  #added = 0
  readonly #others = new Map<K, V>()

  /** How many keys there are. */
  get size(): number {
    return this.#taken + this.#others.size
  }

  get(key: K): V | undefined {
    const slot = this.#slots[this.#find(key)]
    return slot === undefined ? this.#others.get(key) : slot.value
  }

  has(key: K): boolean {
    return this.#find(key) !== -1 || this.#others.has(key)
  }

  set(key: K, value: V): void {
    const slot = this.#slots[this.#find(key)]
    if (slot !== undefined) slot.value = value
    else if (this.#others.has(key)) this.#others.set(key, value)
    else {
      if (2 * this.#taken >= this.#slots.length) this.#grow()
      this.#add({ key, hash: hashOf(key), number: this.#added++, value })
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
    this.#slots.fill(undefined)
    this.#taken = 0
    this.#others.clear()
  }

  /** As they are now, in the order in which they were added. */
  entries(): Array<[K, V]> {
    return [...this.#inOrder().map(({ key, value }): [K, V] => [key, value]), ...this.#others]
  }

  /** In the order of `entries`. */
  keys(): K[] {
    return this.entries().map(([key]) => key)
  }

  /** In the order of `entries`. */
  values(): V[] {
    return this.entries().map(([, value]) => value)
  }

  #inOrder(): Array<Slot<K, V>> {
    return this.#slots.filter(slot => slot !== undefined).sort((a, b) => a.number - b.number)
  }

  /** Where it lies, or -1. */
  #find(key: K): number {
    const slots = this.#slots
    const last = slots.length - 1
    for (let steps = 0, place = hashOf(key) & last; steps < MOST_STEPS; steps++, place = (place + 1) & last) {
      const slot = slots[place]
      if (slot === undefined) return -1
      if (slot.key === key) return place
    }
    return -1
  }

  #add(slot: Slot<K, V>): void {
    const slots = this.#slots
    const last = slots.length - 1
    for (let steps = 0, place = slot.hash & last; steps < MOST_STEPS; steps++, place = (place + 1) & last) {
      if (slots[place] !== undefined) continue
      slots[place] = slot
      this.#taken++
      return
    }
    this.#others.set(slot.key, slot.value)
  }

  /** Empties a place, so that what lies behind is found still: a search ends at the first empty one. */
  #close(gap: number): void {
    const slots = this.#slots
    const last = slots.length - 1
    for (let place = (gap + 1) & last; ; place = (place + 1) & last) {
      const slot = slots[place]
      if (slot === undefined) break
      // Unless its search begins behind the gap.
      if (((place - slot.hash) & last) < ((place - gap) & last)) continue
      slots[gap] = slot
      gap = place
    }
    slots[gap] = undefined
  }

  #grow(): void {
    const slots = this.#inOrder()
    this.#slots = Array.from({ length: 2 * this.#slots.length })
    this.#taken = 0
    for (const slot of slots) this.#add(slot)
  }
}

function hashOf(key: string | number): number {
  let hash = 0
  if (typeof key === 'number') hash = key
  else for (let index = Math.max(0, key.length - 8); index < key.length; index++) hash = Math.imul(hash, 31) + key.charCodeAt(index)
  hash = Math.imul(hash ^ hash >>> 16, 0x45d9f3b)
  return hash ^ hash >>> 16
}
