/**
 * The clock port. Nothing in core, ledger, btp or plugin asks the time or sets a timer except through it. Imports nothing.
 */

/** Stops a timer; harmless when it has fired or was stopped. */
export type CancelTimer = () => void

export interface TimerOptions {
  /** Whether the timer alone keeps a Node process running. Default false. */
  keepsProcessAlive?: boolean
}

export interface Clock {
  /** Milliseconds since 1970, UTC. */
  now(): number
  /** Calls `action` once after `delayMs` milliseconds: any number of them, also more than 2^31; at once for 0 or less. */
  setTimer(delayMs: number, action: () => void, options?: TimerOptions): CancelTimer
}
