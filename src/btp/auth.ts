/**
 * The words of authentication: the auth Message, the announcement by which peers of ours know each other, and the probe.
 * PROTOCOL.md, beside this file, tells them to implementers. Imports core.
 */
import { InvalidFieldsError } from '../core/errors.js'
import { isObject } from '../core/json.js'
import { find, hasDuplicateNames, json, octets, readJson, readText, text } from './protocol-data.js'
import type { MessagePacket, Packet, SubProtocol } from './packets.js'

/** What the dialling side proves itself with. Never logged, never part of an error (H32, H43). */
export interface Credentials {
  readonly username: string
  readonly token: string
}

/** What is known of the peer behind an authenticated connection. */
export interface PeerFacts {
  /** Whether it sent our announcement: only then anything beyond BTP may be sent to it. */
  readonly announced: boolean
  /** Its ledger's random id, 32 hex characters, where it announced itself. */
  readonly ledgerId: string | undefined
  /** It has no store: it takes our word for the balance, and forgets its transfers at a restart. */
  readonly keepsNoBooks?: true
}

/** The name of our own sub-protocol. */
export const PAYCHAN = 'paychan'
/** The version of what PROTOCOL.md describes. A peer that announces a higher one understands this one too. */
const VERSION = 1
/** How the id of a ledger reads. */
export const LEDGER_ID = /^[0-9a-f]{32}$/

const FOREIGN: PeerFacts = { announced: false, ledgerId: undefined }

/** Our announcement: `paychan`, JSON. */
export function announcement(ledgerId: string, keepsNoBooks = false): SubProtocol {
  return json(PAYCHAN, { v: VERSION, ledger: ledgerId, ...(keepsNoBooks ? { books: false } : {}) })
}

/** What the protocol data of an auth Message, or of its Response, tells of the peer. A malformed announcement counts as none. */
export function readAnnouncement(protocolData: readonly SubProtocol[]): PeerFacts {
  const sub = find(protocolData, PAYCHAN)
  if (sub === undefined) return FOREIGN
  try {
    const value = readJson(sub)
    if (!isObject(value)) return FOREIGN
    const { v: version, ledger, books } = value
    if (typeof version !== 'number' || version < VERSION) return FOREIGN
    if (typeof ledger !== 'string' || !LEDGER_ID.test(ledger)) return FOREIGN
    return { announced: true, ledgerId: ledger, ...(books === false ? { keepsNoBooks: true } : {}) }
  } catch {
    return FOREIGN
  }
}

/** The first packet on a dialled connection (C10, C11). Both credentials are always there, since old peers refuse it otherwise. */
export function authRequest({ username, token }: Credentials, ledgerId: string, keepsNoBooks = false): Omit<MessagePacket, 'requestId'> {
  const protocolData = [
    octets('auth', new Uint8Array()),
    text('auth_username', username),
    text('auth_token', token),
    announcement(ledgerId, keepsNoBooks)
  ]
  return { type: 'message', protocolData }
}

/**
 * Reads the first packet on an accepted connection.
 * @throws InvalidFieldsError when it is no authentication (C12)
 */
export function readAuthRequest(packet: Packet): { credentials: Credentials; peer: PeerFacts } {
  const [primary] = packet.protocolData
  if (packet.type !== 'message' || primary?.protocolName !== 'auth') {
    throw new InvalidFieldsError('the first packet must be a Message with auth first')
  }
  if (hasDuplicateNames(packet.protocolData)) throw new InvalidFieldsError('sub-protocol names must be unique')
  const token = find(packet.protocolData, 'auth_token')
  if (token === undefined) throw new InvalidFieldsError('auth_token is missing; it may be empty')
  const username = find(packet.protocolData, 'auth_username')
  return {
    credentials: { username: username === undefined ? '' : readText(username), token: readText(token) },
    peer: readAnnouncement(packet.protocolData)
  }
}

/** Whether a packet has a token in it. A peer may send an auth Message in the middle of a session, where it means nothing. */
export function hasToken(packet: Packet): boolean {
  return find(packet.protocolData, 'auth_token') !== undefined
}

const OUR_PROBE = [json(PAYCHAN, { probe: true })]
/** Asks for the account, which every BTP 1.0 peer answers; another one answers with an Error, which is as good. */
const FOREIGN_PROBE = [octets('info', Uint8Array.of(0))]

/** A Message whose answer, Response or Error, shows that the peer lives. For transports that cannot ping. */
export function probeRequest(peer: PeerFacts): Omit<MessagePacket, 'requestId'> {
  return { type: 'message', protocolData: peer.announced ? OUR_PROBE : FOREIGN_PROBE }
}

/** Whether a request is a probe of ours, to be answered with an empty Response. */
export function isProbe(packet: Packet): boolean {
  const [primary] = packet.protocolData
  if (packet.type !== 'message' || primary?.protocolName !== PAYCHAN) return false
  try {
    const value = readJson(primary)
    return isObject(value) && value['probe'] === true
  } catch {
    return false
  }
}
