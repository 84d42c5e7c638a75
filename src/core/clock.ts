/**
 * The clock port. Nothing in core, ledger, btp or plugin asks the time or sets a timer except through it. Imports nothing.
 */

/** The end of the year 9999, UTC: the latest time that a BTP packet, or a text of four digits for the year, can have. */
export const LATEST_MS = 253_402_300_799_999

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
