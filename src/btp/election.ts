/**
 * Which of two sessions with one peer carries the traffic. A pure function, since both sides must come to the same answer from
 * what both know, whatever the order in which they learn it. Imports core.
 */

/** What decides about a session. */
export interface Contender {
  /** Whether this side dialled it. */
  readonly dialled: boolean
  /** The id of the peer's ledger; `undefined` for a foreign peer. */
  readonly peerLedgerId: string | undefined
}

/** Which one stays: the newer, or the older provided that it still answers a probe (else the newer after all). */
export type Verdict = 'newer' | 'older if alive'

/**
 * Of two sessions from the same side the newer stays: whoever dialled again has given the older up. Of one from each side it is the
 * one that the greater ledger id dialled. A foreign peer knows no such rule: there it is the older.
 */
export function elect(older: Contender, newer: Contender, ourLedgerId: string): Verdict {
  if (older.dialled === newer.dialled) return 'newer'
  if (newer.peerLedgerId === undefined || older.peerLedgerId === undefined) return 'older if alive'
  const weDial = ourLedgerId > newer.peerLedgerId
  return newer.dialled === weDial ? 'newer' : 'older if alive'
}
