/**
 * What the two sides of the demo ask each other, in the `custom` field of the plugin's messages:
 *
 *   { method: 'invoice', amount }              answered with { invoice, condition }
 *   { method: 'status' }                       answered with the status of the side that is asked
 *   { method: 'pay', amount, holdMs, id }      "please pay me, by a transfer of that id": answered with {} once it is held
 *   { method: 'stream', amount, perSecond }    "please pay me so much, so often", with 0 to stop: answered with {}
 *
 * A request that cannot be met is answered with { error }. The wallet itself pays on nobody's request.
 */
import type { StreamSettings } from './stream.js'

/** One side's own view of the account. */
export interface Status {
  /** Base units. */
  readonly balance: string
  /** How many transfers are neither fulfilled nor cancelled. */
  readonly inFlight: number
  /** The steady payments that this side makes. */
  readonly stream: StreamSettings | null
  /** Why the last of them ended by itself; `null` when it did not. */
  readonly refused: string | null
}

/** The longest that a receiver may be asked to hold a payment, in milliseconds. */
const LONGEST_HOLD_MS = 60_000

/** The most payments in a second that a side makes. */
export const FASTEST_STREAM = 100

/** @throws Error for what is no amount above zero */
export function readAmount(value: unknown): string {
  if (typeof value !== 'string' || !/^[1-9][0-9]{0,17}$/.test(value)) throw new Error('an amount must be a whole number of base units')
  return value
}

/** For how long to hold: none for what is no time. */
export function readHold(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.min(value, LONGEST_HOLD_MS) : 0
}

/** @throws Error for what is no rate */
export function readRate(value: unknown): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= FASTEST_STREAM)) throw new Error(`a stream has at most ${FASTEST_STREAM} payments in a second`)
  return value
}

export function readStatus(value: Readonly<Record<string, unknown>>): Status {
  const { balance, inFlight, stream, refused } = value
  if (typeof balance !== 'string' || typeof inFlight !== 'number') throw new Error('the other side gave no status')
  return { balance, inFlight, stream: readStream(stream), refused: typeof refused === 'string' ? refused : null }
}

function readStream(value: unknown): StreamSettings | null {
  if (typeof value !== 'object' || value === null || !('amount' in value) || !('perSecond' in value)) return null
  return { amount: readAmount(value.amount), perSecond: readRate(value.perSecond) }
}
