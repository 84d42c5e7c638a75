/**
 * The stages of a transfer, as data: which there are, how each reads from outside, and the legal moves. Imports nothing.
 *
 * A record is `prepared`, `fulfilled` or `cancelled` for those who read it (the old package's states). Behind them:
 *
 * outgoing
 * - `offered`: stored and counted; the Prepare is sent, and the peer's Fulfill, Reject or the expiry is awaited. Whether the
 *   peer has acknowledged it is not stored: after a restart one repeated Prepare finds out.
 * - `sent`: as an ILPv4 packet: stored and counted; sent at most once, and the answer or the expiry is awaited.
 * - `unsure`: cancelled; the time of an ILPv4 packet was over before its answer came. The peer is asked what became of it, and told
 *   that it was late if it has fulfilled it.
 *
 * incoming
 * - `checking`: stored and counted; the module has not answered yet, so the peer has no answer either.
 * - `held`: the module agreed; the host may fulfill or reject it until it expires.
 * - `fulfilling`: the preimage is stored; the Fulfill is sent until the sender answers it. It no longer expires here.
 * - `rejecting`: cancelled; the Reject is sent until the sender answers it, or has expired the transfer itself.
 * - `handed`: an ILPv4 packet that our host has: its answer or the expiry is awaited. Counted, but not stored: the host dies with the process,
 *   and what it was asked is cancelled then.
 * - `answered`: fulfilled and counted; the preimage left with the answer to an ILPv4 packet, and the sender may still say that it came
 *   too late.
 * - `disputed`: cancelled; we had the preimage, and the sender answered that it came too late. Evidence, not counted.
 *
 * A module's own log uses `held` alone, in either direction.
 */
export type TransferState = 'prepared' | 'fulfilled' | 'cancelled'

export type Stage =
  | 'offered' | 'sent' | 'unsure'
  | 'checking' | 'held' | 'fulfilling' | 'rejecting' | 'handed' | 'answered' | 'disputed'
  | 'fulfilled' | 'cancelled'

/** How a stage reads from outside. What reads as `prepared` is counted in the holds. */
export const STATE_OF: Readonly<Record<Stage, TransferState>> = {
  offered: 'prepared',
  sent: 'prepared',
  unsure: 'cancelled',
  checking: 'prepared',
  held: 'prepared',
  fulfilling: 'prepared',
  handed: 'prepared',
  answered: 'fulfilled',
  fulfilled: 'fulfilled',
  rejecting: 'cancelled',
  cancelled: 'cancelled',
  disputed: 'cancelled'
}

/** Stages of final transfers about which something is still to be done, so that they stay open. */
export const UNSETTLED: ReadonlySet<Stage> = new Set<Stage>(['rejecting', 'unsure', 'answered'])

/** Stages of ILPv4 packets, until they are final. */
const OF_PACKETS: ReadonlySet<Stage> = new Set<Stage>(['sent', 'unsure', 'handed', 'answered'])

export function isOfPackets(stage: Stage): boolean {
  return OF_PACKETS.has(stage)
}

/** Whether a transfer of that stage has a record. */
export function isStored(stage: Stage): boolean {
  return stage !== 'handed'
}

/** Where a transfer may go from each stage. Stages only advance (I3). */
export const MOVES: Readonly<Record<Stage, readonly Stage[]>> = {
  offered: ['fulfilled', 'cancelled'],
  sent: ['fulfilled', 'cancelled', 'unsure'],
  unsure: ['cancelled'],
  checking: ['held', 'cancelled'],
  held: ['fulfilling', 'fulfilled', 'rejecting', 'cancelled'],
  fulfilling: ['fulfilled', 'disputed'],
  handed: ['answered', 'fulfilled', 'cancelled'],
  answered: ['fulfilled', 'disputed'],
  rejecting: ['cancelled'],
  fulfilled: [],
  cancelled: [],
  disputed: []
}
