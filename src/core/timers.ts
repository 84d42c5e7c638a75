/**
 * Timers by key, for thousands that wait at once, of which next to none ever fires. Imports nothing but the clock port.
 *
 * Those that are set in the same millisecond for the same delay share one timer of the clock: setting and stopping one each would be
 * a part of the cost of a transfer that can be seen.
 */
import type { CancelTimer, Clock, TimerOptions } from './clock.js'

/** Waits for a time in milliseconds. */
export function sleep(clock: Clock, delayMs: number, options?: TimerOptions): Promise<void> {
  return new Promise(resolve => { clock.setTimer(delayMs, resolve, options) })
}

/** Waits for what does not reject, but no longer than that, and keeps a process alive as long. */
export async function waitAtMost(clock: Clock, limitMs: number, awaited: Promise<unknown>): Promise<'done' | 'overdue'> {
  let cancel: CancelTimer | undefined
  const overdue = new Promise<'overdue'>(resolve => {
    cancel = clock.setTimer(limitMs, () => { resolve('overdue') }, { keepsProcessAlive: true })
  })
  const outcome = await Promise.race([awaited.then(() => 'done' as const), overdue])
  cancel?.()
  return outcome
}

/** What fires together. */
interface Shared<K> {
  readonly setAt: number
  readonly delayMs: number
  readonly actions: Map<K, () => void>
  readonly cancel: CancelTimer
}

export class Timers<K> {
  readonly #clock: Clock
  readonly #timers = new Map<K, Shared<K>>()
  /** Which those that are set next may join. */
  #newest: Shared<K> | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `action` once when a time, in milliseconds since 1970, is there or past. Replaces the timer of that key. */
  setFor(key: K, time: number, action: () => void): void {
    this.set(key, Math.max(0, time - this.#clock.now()), action)
  }

  /** Calls `action` once after `delayMs` milliseconds. Replaces the timer of that key. */
  set(key: K, delayMs: number, action: () => void): void {
    this.cancel(key)
    const setAt = this.#clock.now()
    const newest = this.#newest
    const shared = newest?.setAt === setAt && newest.delayMs === delayMs ? newest : this.#start(setAt, delayMs)
    shared.actions.set(key, action)
    this.#timers.set(key, shared)
  }

  #start(setAt: number, delayMs: number): Shared<K> {
    const cancel = this.#clock.setTimer(delayMs, () => { this.#fire(shared) })
    const shared: Shared<K> = { setAt, delayMs, actions: new Map(), cancel }
    this.#newest = shared
    return shared
  }

  #fire(shared: Shared<K>): void {
    this.#forget(shared)
    for (const [key, action] of shared.actions) {
      // An action may have stopped or replaced one that comes behind it: then that one is not among these any more.
      this.#timers.delete(key)
      action()
    }
  }

  /** Stops the timer of a key; harmless when there is none. */
  cancel(key: K): void {
    const shared = this.#timers.get(key)
    if (shared === undefined) return
    this.#timers.delete(key)
    shared.actions.delete(key)
    if (shared.actions.size > 0) return
    this.#forget(shared)
    shared.cancel()
  }

  /** Nobody may join what has fired or was stopped. */
  #forget(shared: Shared<K>): void {
    if (this.#newest === shared) this.#newest = undefined
  }

  cancelAll(): void {
    for (const key of [...this.#timers.keys()]) this.cancel(key)
  }
}
