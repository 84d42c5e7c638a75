/**
 * A clock that stands still until a test moves it. Timers run in the order of their times; between them everything that they
 * set off is let run to its end (promises, and what the event loop holds ready). Imports core.
 */
import type { CancelTimer, Clock } from '../../src/core/clock.js'

interface Timer {
  at: number
  readonly order: number
  readonly action: () => void
}

/** Lets everything run that is ready: promise continuations, in-memory frames, and what sockets have delivered. */
export function settle(): Promise<void> {
  return new Promise(resolve => { setImmediate(resolve) })
}

export class VirtualClock implements Clock {
  #now: number
  #order = 0
  readonly #timers = new Set<Timer>()

  /** Starts at the given time (milliseconds since 1970); by default some day of 2018. */
  constructor(now = 1_514_764_800_000) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  setTimer(delayMs: number, action: () => void): CancelTimer {
    const timer = { at: this.#now + Math.max(0, delayMs || 0), order: this.#order++, action }
    this.#timers.add(timer)
    return () => { this.#timers.delete(timer) }
  }

  /** How many timers are armed: 0 when nothing was left behind. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves the time, running each due timer at its own time, those of the same time in the order in which they were set. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settle()
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#timers.delete(next)
      this.#now = next.at
      next.action()
      await settle()
    }
    this.#now = end
  }

  /** Sets the time without running timers: a clock that is put right, or a machine that slept. */
  jump(ms: number): void {
    this.#now += ms
  }

  /** Puts the time of day back. Timers go on by what passes. */
  putBack(ms: number): void {
    this.#now -= ms
    for (const timer of this.#timers) timer.at -= ms
  }

  #next(end: number): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.at > end) continue
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer
    }
    return next
  }
}
