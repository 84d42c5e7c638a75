/**
 * The ILP error packet of BTP 1.0's age (RFC 3, type 8), and the rejection reasons of LPI v1 that travel in it. Imports core and
 * oer-utils.
 */
import { Buffer } from 'buffer'
import { Writer } from 'oer-utils'
import { toUtf8 } from '../core/bytes.js'
import { InvalidFieldsError, PacketError } from '../core/errors.js'
import { checkObject, isObject } from '../core/json.js'
import { asBuffer, checkAscii, formatTimestamp, OerReader } from './oer.js'
import { parseJson, stringifyJson } from './protocol-data.js'
import type { JsonValue } from './protocol-data.js'

export interface IlpError {
  /** Three characters, of RFC 3's table: F.. is final, T.. temporary, R.. depends on the amounts and times of this payment. */
  readonly code: string
  /** The name that belongs to the code: `Bad Request` for F00. */
  readonly name: string
  /** The ILP address of who emitted the error. */
  readonly triggeredBy: string
  /** The ILP addresses of those who passed it on, the latest last. */
  readonly forwardedBy: readonly string[]
  readonly triggeredAt: Date
  /** At most 8192 bytes of UTF-8. */
  readonly data: string
}

/** The reason of a rejection, as LPI v1 hands it to a host (RFC 4, RejectionMessage). What the peer left out is left out. */
export interface RejectionReason {
  code: string
  name: string
  message?: string
  triggered_by?: string
  forwarded_by?: string
  triggered_at?: Date
  additional_info?: JsonValue
}

const TYPE_ILP_ERROR = 8
const CODE_BYTES = 3
const DATA_LIMIT = 8192
const FORWARDERS_LIMIT = 32
/** RFC 15, as far as RFC 3's ASN.1 checks it. */
const ADDRESS = /^[A-Za-z0-9_~.-]{1,1023}$/
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/

/**
 * The bytes of an ILP error packet.
 * @throws InvalidFieldsError naming the field that the packet cannot carry
 */
export function encodeIlpError(error: IlpError): Uint8Array {
  const code = checkAscii(error.code, 'code')
  if (code.length !== CODE_BYTES) throw new InvalidFieldsError('code must be three characters')
  const data = toUtf8(error.data)
  if (data.length > DATA_LIMIT) throw new InvalidFieldsError(`data must be at most ${DATA_LIMIT} bytes`)
  const body = new Writer()
  body.write(Buffer.from(code, 'latin1'))
  writeAscii(body, error.name, 'name')
  writeAscii(body, error.triggeredBy, 'triggeredBy')
  body.writeVarUInt(error.forwardedBy.length)
  for (const address of error.forwardedBy) writeAscii(body, address, 'forwardedBy')
  writeAscii(body, formatTimestamp(error.triggeredAt, 'triggeredAt'), 'triggeredAt')
  body.writeVarOctetString(asBuffer(data))
  // RFC 3 ends the packet with a sequence of extensions, of which there are none.
  body.writeUInt8(0)
  const packet = new Writer()
  packet.writeUInt8(TYPE_ILP_ERROR)
  packet.writeVarOctetString(body.getBuffer())
  // Copied, since the writer's own buffer is longer than what it wrote.
  return Uint8Array.from(packet.getBuffer())
}

/**
 * Reads an ILP error packet; what follows its last known field is ignored.
 * @throws PacketError and nothing else
 */
export function decodeIlpError(bytes: Uint8Array): IlpError {
  const envelope = new OerReader(bytes)
  const type = envelope.readUInt8Number()
  if (type !== TYPE_ILP_ERROR) throw new PacketError(`packet is of type ${type}, which is no ILP error`)
  const body = new OerReader(envelope.readBytes())
  const code = body.read(CODE_BYTES).toString('latin1')
  const name = body.readAscii()
  const triggeredBy = body.readAscii()
  const forwardedBy = Array.from({ length: body.readQuantity() }, () => body.readAscii())
  const triggeredAt = body.readTimestamp()
  const data = body.readVarOctetString().toString('utf8')
  if (triggeredAt === undefined) throw new PacketError('triggeredAt must be a UTC time, to the millisecond')
  return { code, name, triggeredBy, forwardedBy, triggeredAt, data }
}

/**
 * The ILP error packet that tells the peer why a host rejects its transfer (C34).
 *
 * The reason comes from a host and may be anything that the old package met (H13): absent, a text, or an RFC 4 RejectionMessage
 * with fields missing. Defaults: code F00, name `Bad Request`, triggered and forwarded by `account`, triggered at `now`. The packet
 * has no field for `message`, so it goes into the data where there is no `additional_info`.
 *
 * @param account the ILP address of this side
 * @throws InvalidFieldsError naming the field, where one is there and wrong
 */
export function rejectionReasonToIlpError(reason: unknown, account: string, now: Date): Uint8Array {
  const fields = toFields(reason)
  const code = toField(fields['code'], 'code', /^[\x21-\x7e]{3}$/) ?? 'F00'
  const name = toField(fields['name'], 'name', /^[\x20-\x7e]{1,200}$/) ?? (code === 'F00' ? 'Bad Request' : code)
  const ourselves = senderOf(account)
  return encodeIlpError({
    code,
    name,
    triggeredBy: toField(fields['triggered_by'], 'triggered_by', ADDRESS) ?? ourselves,
    forwardedBy: toForwardedBy(fields['forwarded_by']) ?? [ourselves],
    triggeredAt: toDate(fields['triggered_at']) ?? now,
    data: toData(fields['additional_info'], fields['message'])
  })
}

/** Who an ILP error is from. A module may call its account what it likes: that is no reason to keep the error from the peer. */
export function senderOf(account: string): string {
  return ADDRESS.test(account) ? account : 'unknown'
}

/**
 * The reason in a Reject of the peer, for the host. Never throws: a packet that is missing or unreadable gives F00 `Bad Request`,
 * triggered by the peer now.
 *
 * Data that is no JSON reads `additional_info: 'not JSON'`, as with the old package; the text itself is in `message`. An address
 * that is none is left out (H39).
 *
 * @param ilp the data of the sub-protocol `ilp`
 * @param peerAccount the ILP address of the peer
 */
export function ilpErrorToRejectionReason(ilp: Uint8Array | undefined, peerAccount: string, now: Date): RejectionReason {
  let error: IlpError
  try {
    error = decodeIlpError(ilp ?? new Uint8Array())
  } catch {
    const message = 'the peer gave no readable reason'
    return { code: 'F00', name: 'Bad Request', message, triggered_by: peerAccount, triggered_at: now }
  }
  const forwardedBy = error.forwardedBy.at(-1)
  return {
    code: error.code,
    name: error.name,
    ...(ADDRESS.test(error.triggeredBy) ? { triggered_by: error.triggeredBy } : {}),
    ...(forwardedBy !== undefined && ADDRESS.test(forwardedBy) ? { forwarded_by: forwardedBy } : {}),
    triggered_at: error.triggeredAt,
    ...readData(error.data)
  }
}

function readData(data: string): Pick<RejectionReason, 'message' | 'additional_info'> {
  if (data === '') return {}
  let info: JsonValue
  try {
    info = parseJson(data, 'data')
  } catch {
    return { message: data, additional_info: 'not JSON' }
  }
  return isObject(info) && typeof info['message'] === 'string'
    ? { message: info['message'], additional_info: info }
    : { additional_info: info }
}

function writeAscii(writer: Writer, value: string, field: string): void {
  writer.writeVarOctetString(Buffer.from(checkAscii(value, field), 'latin1'))
}

/** The fields of a host's reason, none of them believed yet. */
function toFields(reason: unknown): Record<string, unknown> {
  if (reason === undefined || reason === null) return {}
  if (typeof reason === 'string') return { message: reason }
  return checkObject(reason, 'reason')
}

/** A text field; absent, null or empty is `undefined`. */
function toField(value: unknown, field: string, pattern: RegExp): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string' || !pattern.test(value)) throw new InvalidFieldsError(`reason.${field} must match ${pattern.source}`)
  return value
}

/** One address or a list of them. */
function toForwardedBy(value: unknown): string[] | undefined {
  if (!Array.isArray(value)) {
    const address = toField(value, 'forwarded_by', ADDRESS)
    return address === undefined ? undefined : [address]
  }
  // Beyond this the packet would outgrow the frames that a peer takes.
  if (value.length > FORWARDERS_LIMIT) throw new InvalidFieldsError(`reason.forwarded_by must have at most ${FORWARDERS_LIMIT} entries`)
  return value.map((entry: unknown) => {
    const address = toField(entry, 'forwarded_by', ADDRESS)
    if (address === undefined) throw new InvalidFieldsError('reason.forwarded_by must not have empty entries')
    return address
  })
}

function toDate(value: unknown): Date | undefined {
  if (value === undefined || value === null) return undefined
  const isText = typeof value === 'string' && ISO_TIME.test(value)
  const date = isText || value instanceof Date ? new Date(value) : undefined
  if (date === undefined || Number.isNaN(date.getTime())) {
    throw new InvalidFieldsError('reason.triggered_at must be a Date or an ISO 8601 time')
  }
  formatTimestamp(date, 'reason.triggered_at')
  return date
}

/** JSON in ASCII: the peers of that age read a packet's data byte by byte. */
function toData(additionalInfo: unknown, message: unknown): string {
  const field = additionalInfo === undefined || additionalInfo === null ? 'message' : 'additional_info'
  const info = additionalInfo ?? { message: message ?? undefined }
  const data = stringifyJson(info, `reason.${field}`).replace(/[^\x20-\x7e]/g, toEscape)
  if (data.length > DATA_LIMIT) throw new InvalidFieldsError(`reason.${field} must be at most ${DATA_LIMIT} bytes of JSON`)
  return data
}

function toEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
