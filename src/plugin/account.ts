/**
 * What the two directions of transfers share: the ledger they change, the peer they talk to, the host they report to.
 * Imports core, btp and ledger.
 */
import type { Amount, Limit } from '../core/amounts.js'
import type { Clock } from '../core/clock.js'
import type { Logger } from '../core/log.js'
import type { Random } from '../core/random.js'
import { fromBase64url } from '../core/bytes.js'
import { InsufficientBalanceError, InvalidFieldsError, InvalidFulfillmentError, NotAcceptedError, StandbyError, UnreachableError, messageOf } from '../core/errors.js'
import { conditionOf, parseBytes32 } from '../core/ids.js'
import { sleep } from '../core/timers.js'
import { decodeIlpError, encodeIlpError, ilpErrorToRejectionReason, senderOf } from '../btp/ilp-error.js'
import type { IlpPrepare } from '../btp/ilp-packets.js'
import { isoOf } from '../btp/oer.js'
import type { Packet, SubProtocol } from '../btp/packets.js'
import { octets } from '../btp/protocol-data.js'
import type { Session } from '../btp/session.js'
import type { Entry, View } from '../ledger/draft.js'
import type { Ledger } from '../ledger/ledger.js'
import type { Courier } from './courier.js'
import type { LedgerInfo, LpiEvents, RejectionMessage, Transfer } from './lpi.js'
import type { ModuleRunner } from './module.js'
import type { Settlement } from './settlement.js'

/** What was disputed takes room below the maximum for so long, or up to twice that: by a timer, as no jump of the wall clock is to give it back. */
const WITHHELD_MS = 1_800_000
/** A store that failed is tried again after this time, where nobody is there to be told. */
const STORE_RETRY_MS = 1000

/** The most ended packets that are remembered, of those that the sender may still ask about or object to: as many as could be in flight. */
export const MOST_REMEMBERED = 10_000

/** A preimage came too late for its sender, and the two sides may not agree on that. What stays of it as evidence. */
export interface Dispute {
  /** The transfer's. */
  id: string
  /**
   * `incoming`: the sender does not take our preimage, and the transfer counts on neither side. `outgoing`: the peer does not take that its
   * preimage came too late, and counts what is cancelled here: by that much the two balances differ.
   */
  direction: 'incoming' | 'outgoing'
  /** Base units. */
  amount: string
  /** The SHA-256 hash of the preimage, in base64url. */
  executionCondition: string
  /** The preimage. */
  fulfillment: string
  /** Until when the sender was bound to take the preimage: ISO 8601, in UTC. */
  expiresAt: string
  /** What the peer answered. */
  reason: string
}

/** The books of the two sides differ by what nothing in flight explains. Integer strings, base units. */
export interface BalanceDispute {
  /** None: it is about no single transfer. */
  id?: undefined
  /** Which sum it is here: of what was fulfilled or settled, by the peer (in) or by this side (out). */
  sum: 'incomingFulfilled' | 'outgoingFulfilled' | 'settledIn' | 'settledOut'
  /** What it is here. */
  ours: string
  /** What the peer has in its place. */
  theirs: string
}

/** A packet as it passed between the two sides, for whoever wants to watch them talk. */
export interface ObservedPacket {
  /** `in`: the peer sent it. */
  direction: 'in' | 'out'
  /** Decoded, and only lent: it must not be changed, and its `data` may share a frame's memory, so copy what you keep for long. */
  packet: Packet
}

/** The plugin's events: LPI's, and ours. */
export interface PluginEvents extends LpiEvents {
  /**
   * A preimage came too late for its sender; or, without an id, the balances differ, until `resolveDispute` is called: raised for each sum at
   * least once in each life of a process, and when its difference changes.
   */
  dispute: (dispute: Dispute | BalanceDispute) => void
  /**
   * A BTP packet (RFC 23) of an authenticated session: raised when one of the peer's was read, before it is acted upon, and just
   * before one of ours is sent. What authenticates is left out, so that no token is ever in it.
   */
  packet: (observed: ObservedPacket) => void
  /** What this instance is among those that share its store has changed. */
  role: (role: Role) => void
}

/**
 * What an instance is among those that share its store: it holds the connection to the peer, or stands by while another one does, or
 * is not connected. Where nothing is shared, who is connected holds.
 */
export type Role = 'holder' | 'standby' | 'disconnected'

export interface Account {
  /** How many changes wait to be tried once more, since the store has failed. */
  retries: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly ledger: Ledger<Transfer>
  readonly courier: Courier
  readonly module: ModuleRunner | undefined
  readonly settlement: Settlement | undefined
  readonly expiryMarginMs: number
  readonly graceMs: number
  readonly maxInFlight: number
  readonly maxInFlightAmount: Limit
  readonly session: () => Session | undefined
  readonly address: () => string
  readonly peerAddress: () => string
  readonly info: () => LedgerInfo
  /** @throws DisputeError, UnreachableError where nothing new may be sent */
  readonly mustTrade: () => void
  /** By a transfer of that amount, of which its host was told, the peer counts more. */
  readonly differs: (amount: Amount) => void
  /** The peer's balance, seen from here: asked over the wire. */
  readonly askPeerBalance: () => Promise<string>
  readonly emit: <E extends keyof PluginEvents>(event: E, ...args: Parameters<PluginEvents[E]>) => void
}

/** The transfer that a Prepare stands for in the ledger, of either generation. */
export function transferOfPrepare(account: Account, id: string, prepare: IlpPrepare, isIncoming: boolean): Transfer {
  const { amount, executionCondition, expiresAt } = prepare
  const [own, peer] = [account.address(), account.peerAddress()]
  return {
    id,
    amount,
    executionCondition,
    expiresAt: isoOf(expiresAt),
    to: isIncoming ? own : peer,
    from: isIncoming ? peer : own,
    ledger: account.info().prefix
  }
}

/** Checks what was stored of a transfer about which something is still to be done. @throws InvalidFieldsError, InvalidFulfillmentError */
export function checkStored({ id, stage, open, info: { transfer, state } }: Entry): void {
  const { executionCondition, expiresAt } = transfer as Partial<Transfer>
  const condition = parseBytes32(executionCondition, 'executionCondition')
  if (transfer.id.toLowerCase() !== id || Number.isNaN(Date.parse(String(expiresAt)))) throw new InvalidFieldsError('id or expiresAt is none')
  const isDecided = stage === 'fulfilling' || stage === 'disputed' || state === 'fulfilled'
  if (isDecided && conditionOf(open?.fulfillment ?? '') !== condition) throw new InvalidFulfillmentError('the fulfillment does not match')
}

/**
 * Checks that a transfer of the peer can be taken beside what is in flight. Limits on the balance bound nothing of transfers that have no
 * amount, and may be infinite; each costs memory until it expires, which the sender decides.
 * @throws the error that the generation has for it
 */
export function checkInFlight({ maxInFlight, maxInFlightAmount }: Account, { inFlight, incomingHeld }: View<Transfer>, amount: string, Excess: new (message: string) => Error): void {
  if (inFlight >= maxInFlight || incomingHeld + BigInt(amount) > maxInFlightAmount) throw new Excess('too much is in flight')
}

/** Creates an outgoing transfer. @throws DisputeError, UnreachableError where nothing may be sent; InsufficientBalanceError when the limits do not allow it */
export function createOutgoing({ clock, mustTrade }: Account, view: View<Transfer>, id: string, transfer: Transfer, stage: 'offered' | 'sent'): Entry<Transfer> {
  mustTrade()
  try {
    return view.create(id, transfer, false, { v: 1, stage, at: clock.now() })
  } catch (error) {
    if (error instanceof NotAcceptedError) throw new InsufficientBalanceError(error.message, { cause: error })
    throw error
  }
}

/**
 * Runs a change that nobody waits for, and runs it again while the store fails. Ends silently when the store has another owner:
 * that one carries on.
 */
export function changeUntilDone<T>(account: Account, change: () => Promise<T>, stopped: () => boolean): Promise<T | undefined> {
  return change().catch((error: unknown) => changeAgain(account, error, change, stopped))
}

async function changeAgain<T>(account: Account, error: unknown, change: () => Promise<T>, stopped: () => boolean): Promise<T | undefined> {
  if (stopped() || error instanceof StandbyError) return undefined
  account.log.error(`the store did not take a write, trying again: ${messageOf(error)}`)
  account.retries++
  await sleep(account.clock, STORE_RETRY_MS)
  account.retries--
  // Whoever stopped has given the store up.
  return stopped() ? undefined : changeUntilDone(account, change, stopped)
}

/** From one `resume` of a part to its next `stop`: what waits across both must not carry on in the next one. */
export interface Life {
  isOver: boolean
}

/** Runs a change of one transfer until it is stored, or until that life is over. */
export function changeTransfer<T>(account: Account, life: Life, id: string, decide: (view: View<Transfer>) => T): Promise<T | undefined> {
  return changeUntilDone(account, () => account.ledger.change(id, decide), () => life.isOver)
}

/** As `changeTransfer`, for who needs no promise. `done` must not throw. */
export function changeTransferThen<T>(
  account: Account, life: Life, id: string, decide: (view: View<Transfer>) => T, done: (result: T | undefined) => void
): void {
  account.ledger.changeThen(id, decide, done, error => {
    void changeAgain(account, error, () => account.ledger.change(id, decide), () => life.isOver).then(done)
  })
}

/** What a call is told whose transfer is not final when the plugin disconnects. */
export function stoppedError(id: string): UnreachableError {
  return new UnreachableError(`disconnected before transfer ${id} was answered: it carries on at the next connect`, { outcome: 'unknown' })
}

/** Ends an incoming transfer whose preimage its sender does not take: with what both have said. */
export function moveToDisputed(view: View<Transfer>, entry: Entry<Transfer>, reason: string): void {
  view.move(entry, 'disputed', { fulfillment: entry.open?.fulfillment ?? '', report: 'dispute', reason })
}

/** Raises the event of an incoming transfer that is disputed, unless that was done, and lets go of it. */
export function reportDisputed(account: Account, id: string): void {
  const entry = account.ledger.peek(id)
  const { fulfillment, reason } = entry?.open ?? {}
  if (entry?.stage !== 'disputed' || fulfillment === undefined || reason === undefined) return
  reportDispute(account, entry, fulfillment, reason)
  account.ledger.close(id)
}

/** Tells the host of a transfer on which the two sides do not agree. */
export function reportDispute({ clock, emit, ledger, differs }: Account, { amount: value, info: { isIncoming, transfer } }: Entry<Transfer>, fulfillment: string, reason: string): void {
  const { id, amount, executionCondition, expiresAt } = transfer
  if (isIncoming) ledger.withhold(value, release => { clock.setTimer(WITHHELD_MS, release) })
  else differs(value)
  emit('dispute', { id, direction: isIncoming ? 'incoming' : 'outgoing', amount, executionCondition, fulfillment, expiresAt, reason })
}

/** The rejection that a time-out stands for (C34). */
export function timeoutIlpError(account: Account): Uint8Array {
  return encodeIlpError({
    code: 'R00',
    name: 'Transfer Timed Out',
    triggeredBy: senderOf(account.address()),
    forwardedBy: [],
    triggeredAt: new Date(account.clock.now()),
    data: 'expired'
  })
}

/** Whether a rejection is the receiver's ledger reporting the time-out, rather than the receiver's host refusing. */
export function isTimeout(ilp: Uint8Array | undefined): boolean {
  if (ilp === undefined) return false
  try {
    const { code, forwardedBy, data } = decodeIlpError(ilp)
    return code === 'R00' && forwardedBy.length === 0 && data === 'expired'
  } catch {
    return false
  }
}

/**
 * A transfer for the host, which may do with it what it likes. Most have texts only, and cost no deep copy: one is made for each event.
 */
export function copyOf(transfer: Transfer): Transfer {
  const { custom, data, noteToSelf } = transfer
  return custom === undefined && data === undefined && noteToSelf === undefined ? { ...transfer } : structuredClone(transfer)
}

/** An ILP packet as protocol data; nothing where there is none. */
export function ilpData(ilp: string | undefined): SubProtocol[] {
  const bytes = ilp === undefined || ilp === '' ? undefined : fromBase64url(ilp)
  return bytes === undefined ? [] : [octets('ilp', bytes)]
}

/** What events report as the reason: read from the ILP error that was sent or received. */
export function rejectionMessage(account: Account, ilp: string | undefined, from: string): RejectionMessage {
  const bytes = ilp === undefined ? undefined : fromBase64url(ilp)
  const now = new Date(account.clock.now())
  return { triggered_by: from, triggered_at: now, ...ilpErrorToRejectionReason(bytes, from, now) }
}
