/**
 * The words by which two peers of ours compare their books, and by which one that has lost its own takes them from the other. PROTOCOL.md,
 * beside this file, tells them to implementers. Imports core.
 */
import { parseAmount } from '../core/amounts.js'
import type { Amount } from '../core/amounts.js'
import { LATEST_MS } from '../core/clock.js'
import { InvalidFieldsError, InvalidFulfillmentError } from '../core/errors.js'
import { conditionOf, parseBytes32, parseTransferId } from '../core/ids.js'
import { checkObject, isObject } from '../core/json.js'
import { PAYCHAN } from './auth.js'
import type { SubProtocol } from './packets.js'
import { find, json, readJson } from './protocol-data.js'

/** The sums that are compared, and which of the other side's each is: what one has sent the other has received. */
export const COUNTERPART = {
  incomingFulfilled: 'outgoingFulfilled',
  outgoingFulfilled: 'incomingFulfilled',
  settledIn: 'settledOut',
  settledOut: 'settledIn'
} as const

export type SumName = keyof typeof COUNTERPART

export const SUM_NAMES = Object.keys(COUNTERPART) as SumName[]

const PARTS = [...SUM_NAMES, 'incomingHeld', 'fulfilling', 'sent', 'settling'] as const

/** What one side has in its books at one instant. Amounts in base units. */
export interface Report extends Readonly<Record<SumName, Amount>> {
  /** Held for transfers of the other side. */
  readonly incomingHeld: Amount
  /** Of these: fulfilled, and not counted until the other side, which counts first, has answered. */
  readonly fulfilling: Amount
  /** Sent as ILPv4 packets that the other side may count already. */
  readonly sent: Amount
  /** Settled, and not counted until the other side, which credits first, has answered. */
  readonly settling: Amount
  /** Nothing was ever in these books, and they were not compared yet. */
  readonly isNew: boolean
}

/** A transfer of one side, as the other holds it. */
export interface HeldTransfer {
  readonly id: string
  readonly amount: string
  readonly executionCondition: string
  readonly expiresAt: Date
  /** Whether it is an ILPv4 packet. */
  readonly isPacket?: boolean
  /** The preimage, where it was fulfilled before it came to be listed. */
  readonly fulfillment?: string
}

/** A part of what one side tells to whom has lost its books. */
export interface Page {
  readonly report: Report
  readonly held: readonly HeldTransfer[]
  readonly hasMore: boolean
}

/** How many transfers are in one page: with a claim they have room in a frame. */
export const HELD_IN_A_PAGE = 100
/** As long as a sum may be. */
export const SUM = /^[0-9]{1,60}$/

export function reportMessage(report: Report): SubProtocol {
  return json(PAYCHAN, { reconcile: write(report) })
}

/** Asks for a page of the books: behind the transfer of that id, or the first. */
export function recoverMessage(after: string): SubProtocol {
  return json(PAYCHAN, { recover: after })
}

export function pageAnswer({ report, held, hasMore }: Page): SubProtocol {
  return json(PAYCHAN, { reconcile: write(report), held, more: hasMore })
}

/** What a Message asks whose primary sub-protocol is ours; nothing where it is about something else. @throws InvalidFieldsError */
export function readComparison(primary: SubProtocol): { report: Report } | { after: string } | undefined {
  const value = readJson(primary)
  if (!isObject(value)) return undefined
  const { reconcile, recover } = value
  if (typeof recover === 'string') return { after: recover }
  return reconcile === undefined ? undefined : { report: read(reconcile) }
}

/** @throws InvalidFieldsError */
export function readReport(protocolData: readonly SubProtocol[]): Report {
  return read(answerIn(protocolData)['reconcile'])
}

/** @throws InvalidFieldsError; InvalidFulfillmentError */
export function readPage(protocolData: readonly SubProtocol[]): Page {
  const { reconcile, held, more } = answerIn(protocolData)
  if (!Array.isArray(held) || held.length > HELD_IN_A_PAGE) throw new InvalidFieldsError(`held must be a list of at most ${HELD_IN_A_PAGE} transfers`)
  return { report: read(reconcile), held: held.map(readHeld), hasMore: more === true && held.length > 0 }
}

function answerIn(protocolData: readonly SubProtocol[]): Record<string, unknown> {
  const sub = find(protocolData, PAYCHAN)
  return checkObject(sub && readJson(sub), 'the answer')
}

function write({ isNew, ...parts }: Report): object {
  return { ...Object.fromEntries(Object.entries(parts).map(([name, value]) => [name, String(value)])), ...(isNew ? { isNew } : {}) }
}

function read(value: unknown): Report {
  const given = checkObject(value, 'reconcile')
  const parts = PARTS.map(name => {
    const sum = given[name]
    if (typeof sum !== 'string' || !SUM.test(sum)) throw new InvalidFieldsError(`${name} must be an integer string, 0 or more`)
    return [name, BigInt(sum)]
  })
  return { ...Object.fromEntries(parts) as Record<typeof PARTS[number], Amount>, isNew: given['isNew'] === true }
}

function readHeld(value: unknown): HeldTransfer {
  const { id, amount, executionCondition, expiresAt, isPacket, fulfillment } = checkObject(value, 'held')
  const condition = parseBytes32(executionCondition, 'executionCondition')
  const expiry = new Date(String(expiresAt))
  if (!(expiry.getTime() <= LATEST_MS)) throw new InvalidFieldsError('expiresAt must be a time')
  const transfer = {
    id: parseTransferId(id), amount: String(parseAmount(amount)), executionCondition: condition, expiresAt: expiry, isPacket: isPacket === true
  }
  if (fulfillment === undefined) return transfer
  const preimage = parseBytes32(fulfillment, 'fulfillment')
  if (conditionOf(preimage) !== condition) throw new InvalidFulfillmentError('a fulfillment does not match')
  return { ...transfer, fulfillment: preimage }
}
