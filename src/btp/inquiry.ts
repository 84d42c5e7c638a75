/**
 * The words by which two peers of ours agree on what became of ILPv4 packets whose answers were lost, and on settlements. PROTOCOL.md,
 * beside this file, tells them to implementers. Imports core.
 */
import { Buffer } from 'buffer'
import { fromBase64url } from '../core/bytes.js'
import { InvalidFieldsError } from '../core/errors.js'
import { parseTransferId } from '../core/ids.js'
import { checkObject, isObject } from '../core/json.js'
import { PAYCHAN } from './auth.js'
import { ContentType } from './packets.js'
import type { SubProtocol } from './packets.js'
import { find, json, readJson, readText } from './protocol-data.js'

/** The most ids in one question. */
export const IDS_IN_A_QUESTION = 200

/** How peers of ours write what is beside a packet: to read that as JSON costs several times as much. */
const USUAL_MARK = /^\{"transfer":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})","n":(\d{1,15}),"final":(\d{1,15})\}$/

/** What the sender of a Prepare tells beside it, as a secondary sub-protocol. */
export interface TransferMark {
  /** Under which the sender knows it. */
  readonly id: string
  /** Which of its packets on this session it is, from 0 on; Infinity where it does not say. */
  readonly number: number
  /** It knows for good what became of all before this one, and has stored it. */
  readonly final: number
}

export function transferMark({ id, number, final }: TransferMark): SubProtocol {
  // As `json` would write it: beside each packet there is one, and an id needs no escapes.
  return { protocolName: PAYCHAN, contentType: ContentType.json, data: Buffer.from(`{"transfer":"${id}","n":${number},"final":${final}}`, 'latin1') }
}

/** What is beside a packet. @throws InvalidFieldsError when there is something that has no id */
export function readTransferMark(protocolData: readonly SubProtocol[]): TransferMark | undefined {
  const sub = find(protocolData, PAYCHAN)
  if (sub === undefined) return undefined
  const usual = USUAL_MARK.exec(readText(sub))
  if (usual !== null) return { id: String(usual[1]), number: Number(usual[2]), final: Number(usual[3]) }
  const { transfer, n, final } = objectOf(sub)
  const isNumbered = Number.isSafeInteger(n) && Number.isSafeInteger(final)
  return { id: parseTransferId(transfer, 'transfer'), number: isNumbered ? Number(n) : Infinity, final: isNumbered ? Number(final) : 0 }
}

/** The number of a settlement, by which a repeat is known. */
export function settlementMark(number: number): SubProtocol {
  return json(PAYCHAN, { settlement: number })
}

/** The number beside a settlement. @throws InvalidFieldsError when there is something that is none */
export function readSettlementMark(protocolData: readonly SubProtocol[]): number | undefined {
  const sub = find(protocolData, PAYCHAN)
  if (sub === undefined) return undefined
  const number = objectOf(sub)['settlement']
  if (!Number.isSafeInteger(number) || Number(number) < 1) throw new InvalidFieldsError('settlement must be an integer, 1 or more')
  return Number(number)
}

/** What the sender of packets asks or tells the receiver. */
export type Inquiry =
  /** What became of these? `isLast`: with this question all are asked that the asker does not know the end of. */
  | { readonly what: 'ask'; readonly ids: readonly string[]; readonly isLast: boolean }
  /** The Fulfill of this one came too late. */
  | { readonly what: 'late'; readonly id: string }

/** What became of packets, as their receiver answers. One that is in none of these is to be asked again. */
export interface Fates {
  /** The Fulfills, base64url, by the ids. */
  readonly fulfilled: ReadonlyMap<string, string>
  /** Also those that never arrived, and will not be taken any more. */
  readonly cancelled: readonly string[]
  /** Those that the receiver's host has not answered. */
  readonly held: readonly string[]
}

export function askMessage(ids: readonly string[], isLast: boolean): SubProtocol {
  return json(PAYCHAN, isLast ? { ask: ids } : { ask: ids, more: true })
}

export function lateMessage(id: string): SubProtocol {
  return json(PAYCHAN, { late: id })
}

/** Reads a Message whose primary sub-protocol is ours, and no probe. @throws InvalidFieldsError */
export function readInquiry(primary: SubProtocol): Inquiry {
  const { ask, more, late } = objectOf(primary)
  if (late !== undefined) return { what: 'late', id: parseTransferId(late, 'late') }
  return { what: 'ask', ids: idsIn(ask, 'ask'), isLast: more !== true }
}

export function fatesAnswer({ fulfilled, cancelled, held }: Fates): SubProtocol {
  return json(PAYCHAN, { fulfilled: Object.fromEntries(fulfilled), cancelled, held })
}

/** Reads the answer to a question. @throws InvalidFieldsError */
export function readFates(protocolData: readonly SubProtocol[]): Fates {
  const sub = find(protocolData, PAYCHAN)
  if (sub === undefined) throw new InvalidFieldsError('the peer does not tell what was asked')
  const { fulfilled, cancelled, held } = objectOf(sub)
  const packets = new Map<string, string>()
  for (const [id, packet] of Object.entries(checkObject(fulfilled, 'fulfilled'))) {
    if (typeof packet !== 'string' || fromBase64url(packet) === undefined) throw new InvalidFieldsError('fulfilled must have packets in base64url')
    packets.set(parseTransferId(id, 'fulfilled'), packet)
  }
  return { fulfilled: packets, cancelled: idsIn(cancelled, 'cancelled'), held: idsIn(held, 'held') }
}

function objectOf(sub: SubProtocol): Record<string, unknown> {
  const value = readJson(sub)
  if (!isObject(value)) throw new InvalidFieldsError(`${PAYCHAN} must be a JSON object`)
  return value
}

function idsIn(value: unknown, field: string): string[] {
  if (!Array.isArray(value) || value.length > IDS_IN_A_QUESTION) {
    throw new InvalidFieldsError(`${field} must be a list of at most ${IDS_IN_A_QUESTION} ids`)
  }
  return value.map(id => parseTransferId(id, field))
}
