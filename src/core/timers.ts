/**
 * Timers by key, for thousands that wait at once, of which next to none ever fires. Imports nothing but the clock port.
 *
 * Those that are set in one turn and millisecond for the same delay share one timer of the clock: setting and stopping one each would be
 * a part of the cost of a transfer that can be seen.
 */
import type { CancelTimer, Clock, TimerOptions } from './clock.js'
import { passingMap } from './passing-map.js'

/** Waits for a time in milliseconds. */
export function sleep(clock: Clock, delayMs: number, options?: TimerOptions): Promise<void> {
  return new Promise(resolve => { clock.setTimer(delayMs, resolve, options) })
}

/** Waits, but no longer than that, and keeps a process alive as long. Rejects as what is waited for does. */
export async function waitAtMost(clock: Clock, limitMs: number, awaited: Promise<unknown>): Promise<'done' | 'overdue'> {
  let cancel: CancelTimer | undefined
  const overdue = new Promise<'overdue'>(resolve => {
    cancel = clock.setTimer(limitMs, () => { resolve('overdue') }, { keepsProcessAlive: true })
  })
  try {
    return await Promise.race([awaited.then(() => 'done' as const), overdue])
  } finally {
    cancel?.()
  }
}

/** What fires together. */
interface Shared<K> {
  readonly setAt: number
  readonly delayMs: number
  /** In the order in which they were set; also those that were stopped. */
  readonly keys: K[]
  /** How many of them were not. */
  waiting: number
  readonly cancel: CancelTimer
}

export class Timers<K extends string | number> {
  readonly #clock: Clock
  readonly #fired: (key: K) => void
  readonly #timers = passingMap<K, Shared<K>>()
  /** Which those that are set next may join. */
  #newest: Shared<K> | undefined

  /** `fired` is called with the key of each timer whose time has come. */
  constructor(clock: Clock, fired: (key: K) => void) {
    this.#clock = clock
    this.#fired = fired
  }

  /** Fires once, when a time in milliseconds since 1970 is there or past. Replaces the timer of that key. */
  setFor(key: K, time: number): void {
    const now = this.#clock.now()
    this.set(key, Math.max(0, time - now), now)
  }

  /** Fires once, after `delayMs` milliseconds from `setAt`, which is now. Replaces the timer of that key. */
  set(key: K, delayMs: number, setAt = this.#clock.now()): void {
    this.cancel(key)
    const newest = this.#newest
    const shared = newest?.setAt === setAt && newest.delayMs === delayMs ? newest : this.#start(setAt, delayMs)
    shared.keys.push(key)
    shared.waiting++
    this.#timers.set(key, shared)
  }

  #start(setAt: number, delayMs: number): Shared<K> {
    const cancel = this.#clock.setTimer(delayMs, () => { this.#fire(shared) })
    const shared: Shared<K> = { setAt, delayMs, keys: [], waiting: 0, cancel }
    this.#newest = shared
    // Until the next turn the clock may have been put back onto this very millisecond.
    queueMicrotask(() => { this.#forget(shared) })
    return shared
  }

  #fire(shared: Shared<K>): void {
    this.#forget(shared)
    for (const key of shared.keys) {
      // Unless it was stopped or replaced, perhaps by one that fired before it.
      if (this.#timers.get(key) !== shared) continue
      this.#timers.delete(key)
      this.#fired(key)
    }
  }

  /** Stops the timer of a key; harmless when there is none. */
  cancel(key: K): void {
    const shared = this.#timers.get(key)
    if (shared === undefined) return
    this.#timers.delete(key)
    if (--shared.waiting > 0) return
    this.#forget(shared)
    shared.cancel()
  }

  /** Nobody may join it any more. */
  #forget(shared: Shared<K>): void {
    if (this.#newest === shared) this.#newest = undefined
  }

  cancelAll(): void {
    for (const key of [...this.#timers.keys()]) this.cancel(key)
  }
}
