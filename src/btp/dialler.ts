/**
 * Dials again and again, later each time, as long as somebody needs a connection. Imports core.
 */
import type { CancelTimer, Clock } from '../core/clock.js'
import type { Random } from '../core/random.js'
import { randomFraction } from '../core/random.js'

export interface DiallerOptions {
  readonly clock: Clock
  readonly random: Random
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  /** Whether a connection is needed and missing. */
  needed(): boolean
  /**
   * One attempt, until it has succeeded or failed or `signal` aborts. Resolves with what comes next where one is still needed: to
   * try again at a growing distance, or at the greatest one.
   */
  attempt(signal: AbortSignal): Promise<'again' | 'rarely'>
}

/** How long one attempt may take to open the connection and authenticate. */
const ATTEMPT_MS = 15_000

/** At most one attempt is under way at a time. */
export class Dialler {
  readonly #options: DiallerOptions
  #running = false
  /** Somebody asked for a connection just now: the next attempt is not waited for. */
  #hurry = false
  #attempts = 0
  #abort: AbortController | undefined
  #wake: (() => void) | undefined

  constructor(options: DiallerOptions) {
    this.#options = options
  }

  /** Dials at once if a connection is needed; an attempt that is under way goes on, a wait ends. */
  begin(): void {
    this.#attempts = 0
    this.#hurry = true
    this.#wake?.()
    void this.#run(false)
  }

  /** Dials after a wait. `afresh`: the wait is a short one again. */
  beginLater(afresh: boolean): void {
    if (afresh) this.#attempts = 0
    void this.#run(true)
  }

  /** To be called when a connection may no longer be needed: a wait ends. */
  rest(): void {
    this.#wake?.()
  }

  /** Ends the wait and the attempt that is under way. */
  halt(): void {
    this.#abort?.abort()
    this.#wake?.()
  }

  async #run(waitFirst: boolean): Promise<void> {
    if (this.#running) return
    this.#running = true
    if (waitFirst && this.#options.needed()) await this.#wait('again')
    while (this.#options.needed()) {
      const next = await this.#attempt()
      if (this.#options.needed() && !this.#hurry) await this.#wait(next)
    }
    this.#running = false
  }

  async #attempt(): Promise<'again' | 'rarely'> {
    this.#hurry = false
    const abort = new AbortController()
    this.#abort = abort
    const cancelTimer = this.#options.clock.setTimer(ATTEMPT_MS, () => { abort.abort() })
    const next = await this.#options.attempt(abort.signal)
    cancelTimer()
    return next
  }

  /** Exponential backoff with full jitter between the two bounds, so that not all clients of a server return at once (H36). */
  #wait(next: 'again' | 'rarely'): Promise<void> {
    const { clock, random, reconnectMinMs: least, reconnectMaxMs: most } = this.#options
    this.#attempts++
    const bound = Math.min(most, least * 2 ** Math.min(this.#attempts, 30))
    const delayMs = next === 'rarely' ? most : least + randomFraction(random) * (bound - least)
    return new Promise(resolve => {
      // A service that is reconnecting has not finished: this timer keeps its process running.
      const cancelTimer: CancelTimer = clock.setTimer(delayMs, () => { wake() }, { keepsProcessAlive: true })
      const wake = (): void => {
        cancelTimer()
        this.#wake = undefined
        resolve()
      }
      this.#wake = wake
    })
  }
}
