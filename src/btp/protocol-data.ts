/**
 * Building and reading the sub-protocols of a packet: octets, text, JSON, and what LPI v1 calls `ilp` and `custom`. Imports core.
 *
 * What is read comes from a stranger: text must be UTF-8, JSON is bounded in size and depth, and no name or key of it reaches a
 * prototype (H37 to H39).
 */
import { fromBase64url, fromUtf8, printable, toBase64url, toUtf8 } from '../core/bytes.js'
import { InvalidFieldsError, messageOf } from '../core/errors.js'
import { checkObject, isObject } from '../core/json.js'
import { ContentType, ERROR_DATA_LIMIT } from './packets.js'
import type { SubProtocol } from './packets.js'

/** Anything that JSON can say. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue }

/** How deep arrays and objects may lie within each other, written or read: recursive code of a host must survive it. */
export const JSON_DEPTH_LIMIT = 100
/** The most characters of JSON, written or read: as many as a listener takes bytes in a frame (64 KiB). */
export const JSON_LENGTH_LIMIT = 65_536

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** Typed as it behaves: a value that JSON has no form for gives no text. */
const toJson: (value: unknown) => string | undefined = JSON.stringify

const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n
const INTEGER = /^-?[0-9]{1,100}$/

/** A sub-protocol that carries bytes. */
export function octets(protocolName: string, data: Uint8Array): SubProtocol {
  return { protocolName, contentType: ContentType.octetStream, data }
}

/** A sub-protocol that carries text. */
export function text(protocolName: string, value: string): SubProtocol {
  return { protocolName, contentType: ContentType.text, data: toUtf8(value) }
}

/**
 * A sub-protocol that carries JSON.
 * @throws InvalidFieldsError naming the sub-protocol, for what JSON cannot express, and for what is too deep or too long for a peer
 */
export function json(protocolName: string, value: unknown): SubProtocol {
  return { protocolName, contentType: ContentType.json, data: toUtf8(stringifyJson(value, protocolName)) }
}

/** The first sub-protocol of that name. */
export function find(protocolData: readonly SubProtocol[], protocolName: string): SubProtocol | undefined {
  return protocolData.find(sub => sub.protocolName === protocolName)
}

/** Whether two sub-protocols share a name, which RFC 23 forbids (C5). */
export function hasDuplicateNames(protocolData: readonly SubProtocol[]): boolean {
  // As a packet with a mark has them: a set for each would be a part of its cost that can be seen.
  if (protocolData.length === 2) return protocolData[0]?.protocolName === protocolData[1]?.protocolName
  return protocolData.length > 1 && new Set(protocolData.map(sub => sub.protocolName)).size < protocolData.length
}

/**
 * The data as text, whatever its content type.
 * @throws InvalidFieldsError naming the sub-protocol, when it is no UTF-8
 */
export function readText(sub: SubProtocol): string {
  const value = fromUtf8(sub.data)
  if (value === undefined) throw new InvalidFieldsError(`${printable(sub.protocolName)} must be UTF-8`)
  return value
}

/**
 * The data as a JSON value, whatever its content type.
 * @throws InvalidFieldsError naming the sub-protocol, when it is no JSON, too deep, too long, or has a key `__proto__`
 */
export function readJson(sub: SubProtocol): JsonValue {
  return parseJson(readText(sub), printable(sub.protocolName))
}

/**
 * Reads JSON of a stranger.
 * @throws InvalidFieldsError naming `field`, when it is no JSON, too deep, too long, or has a key `__proto__`
 */
export function parseJson(source: string, field: string): JsonValue {
  checkBounds(source, field)
  let value: JsonValue
  try {
    value = JSON.parse(source) as JsonValue
  } catch (error) {
    throw new InvalidFieldsError(`${field} must be JSON`, { cause: error })
  }
  // `Object.assign` of such a key would set a prototype (H37). The key may be escaped, so any escape is reason enough to look.
  if (/__proto__|\\u/.test(source) && hasProtoKey(value)) throw new InvalidFieldsError(`${field} must not have a key __proto__`)
  return value
}

/**
 * Writes JSON for a peer.
 * @throws InvalidFieldsError naming `field`, for what JSON cannot express (undefined, a cycle, a bigint), is too deep or too long
 */
export function stringifyJson(value: unknown, field: string): string {
  let source: string | undefined
  try {
    source = toJson(value)
  } catch (error) {
    throw new InvalidFieldsError(`${field} must be JSON: ${messageOf(error)}`, { cause: error })
  }
  if (source === undefined) throw new InvalidFieldsError(`${field} must be JSON`)
  checkBounds(source, field)
  return source
}

/** What LPI v1 puts into a transfer, a message or its answer, as protocol data. */
export interface LpiData {
  /** An ILP packet in base64url. */
  ilp?: string | undefined
  custom?: object | undefined
}

/**
 * The protocol data of an LPI v1 object: `ilp` first, so that it is primary wherever present, `custom` last (C38). An empty `ilp`
 * is left out, as the old package did.
 * @throws InvalidFieldsError when `ilp` is no base64url, `custom` is no object, or a name is there twice
 */
export function toProtocolData({ ilp, custom, sub = [] }: LpiData & { sub?: readonly SubProtocol[] | undefined }): SubProtocol[] {
  const protocolData: SubProtocol[] = []
  if (ilp !== undefined && ilp !== '') {
    const packet = typeof ilp === 'string' ? fromBase64url(ilp) : undefined
    if (packet === undefined) throw new InvalidFieldsError('ilp must be a base64url string')
    protocolData.push(octets('ilp', packet))
  }
  protocolData.push(...sub)
  if (custom !== undefined) protocolData.push(json('custom', checkObject(custom, 'custom')))
  if (hasDuplicateNames(protocolData)) throw new InvalidFieldsError('sub-protocol names must be unique')
  return protocolData
}

/**
 * Takes protocol data apart again. `ilp` is read whatever its content type, as old peers do, and left out when it is empty; `other`
 * keeps its order.
 * @throws InvalidFieldsError when `custom` is no JSON object
 */
export function fromProtocolData(protocolData: readonly SubProtocol[]): {
  ilp?: string
  custom?: { [key: string]: JsonValue }
  other: SubProtocol[]
} {
  const result: ReturnType<typeof fromProtocolData> = { other: [] }
  for (const sub of protocolData) {
    if (sub.protocolName === 'ilp') {
      if (sub.data.length > 0) result.ilp = toBase64url(sub.data)
    } else if (sub.protocolName === 'custom') {
      const custom = sub.contentType === ContentType.json ? readJson(sub) : undefined
      if (!isObject(custom)) throw new InvalidFieldsError('custom must be a JSON object')
      result.custom = custom
    } else {
      result.other.push(sub)
    }
  }
  return result
}

/**
 * A balance as the side protocol `balance` carries it: a signed 64-bit integer, big-endian (C36).
 * @throws InvalidFieldsError for what does not fit; it never wraps around
 */
export function encodeBalance(value: string): Uint8Array {
  const balance = INTEGER.test(value) ? BigInt(value) : undefined
  if (balance === undefined || balance < INT64_MIN || balance > INT64_MAX) {
    throw new InvalidFieldsError('balance must be a signed 64-bit integer')
  }
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigInt64(0, balance)
  return bytes
}

/**
 * The balance in a peer's answer: eight bytes, or a JSON string with an integer.
 * @throws InvalidFieldsError naming the sub-protocol
 */
export function decodeBalance(sub: SubProtocol): string {
  if (sub.contentType === ContentType.json) {
    const value = readJson(sub)
    // Through BigInt, since "-0" and leading zeros are one and the same balance.
    if (typeof value === 'string' && INTEGER.test(value)) return String(BigInt(value))
  } else if (sub.contentType === ContentType.octetStream && sub.data.length === 8) {
    return String(new DataView(sub.data.buffer, sub.data.byteOffset, 8).getBigInt64(0))
  }
  throw new InvalidFieldsError(`${printable(sub.protocolName)} must be a signed 64-bit integer`)
}

/** The data of an Error packet: `{"message": ...}`, always valid JSON and at most 8192 bytes; the message is cut where longer (C7). */
export function encodeErrorData(message: string): string {
  let cut = message.slice(0, ERROR_DATA_LIMIT)
  for (;;) {
    const data = JSON.stringify({ message: cut })
    const excess = toUtf8(data).length - ERROR_DATA_LIMIT
    if (excess <= 0) return data
    // No character takes more than six bytes (`\u0000`), so this never cuts more than it must by much, and always cuts.
    cut = cut.slice(0, -Math.ceil(excess / 6))
    // Half a surrogate pair would be an escape that stands for no character.
    if (/[\ud800-\udbff]$/.test(cut)) cut = cut.slice(0, -1)
  }
}

/** The message in the data of a peer's Error: of the JSON object where it is one, else the data itself. Not yet fit for a log. */
export function decodeErrorData(data: string): string {
  let value: JsonValue
  try {
    value = parseJson(data, 'data')
  } catch {
    return data
  }
  return isObject(value) && typeof value['message'] === 'string' ? value['message'] : data
}

/** Counts brackets outside of strings, so that depth is known before anything recurses into it (H38). */
function checkBounds(source: string, field: string): void {
  if (source.length > JSON_LENGTH_LIMIT) throw new InvalidFieldsError(`${field} must be at most ${JSON_LENGTH_LIMIT} characters of JSON`)
  let depth = 0
  let quoted = false
  for (let i = 0; i < source.length; i++) {
    const character = source.charCodeAt(i)
    if (character === QUOTE) quoted = !quoted
    else if (quoted && character === BACKSLASH) i++
    else if (!quoted && (character === OPEN_BRACKET || character === OPEN_BRACE)) depth++
    else if (!quoted && (character === CLOSE_BRACKET || character === CLOSE_BRACE)) depth--
    if (depth > JSON_DEPTH_LIMIT) throw new InvalidFieldsError(`${field} must be at most ${JSON_DEPTH_LIMIT} levels deep`)
  }
}

function hasProtoKey(value: JsonValue): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Object.hasOwn(value, '__proto__') || Object.values(value).some(hasProtoKey)
}
