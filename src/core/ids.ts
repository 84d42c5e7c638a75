/**
 * Transfer ids and 32-byte values in their text forms. Imports core.
 */
import { fromBase64url } from './bytes.js'
import { sha256 } from './hashes.js'
import { InvalidFieldsError } from './errors.js'
import type { Random } from './random.js'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const DASH = 0x2d
/**
 * The characters of an id, of which only the digits ever change. It is written at once, since a text that was added up stays the tree of its
 * parts in memory, and joining takes several times as long.
 */
const ID_CODES = new Array<number>(36).fill(DASH)
/** How many a transfer id is on the wire. */
export const TRANSFER_ID_BYTES = 16
const BYTES_32 = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/**
 * Checks a transfer id: a UUID of any version, in either case (RFC 4, Transfer#id). Returns it in lower case, the form of the wire.
 * @throws InvalidFieldsError
 */
export function parseTransferId(value: unknown, field = 'id'): string {
  if (typeof value !== 'string' || !UUID.test(value)) throw new InvalidFieldsError(`${field} must be a UUID`)
  return value.toLowerCase()
}

/** The transfer id of 16 bytes, from `from` on. */
export function transferIdOf(bytes: Uint8Array, from = 0): string {
  let at = 0
  for (let i = 0; i < TRANSFER_ID_BYTES; i++) {
    if (i > 3 && i < 11 && i % 2 === 0) at++
    const byte = bytes[from + i] ?? 0
    ID_CODES[at++] = hexDigit(byte >> 4)
    ID_CODES[at++] = hexDigit(byte & 15)
  }
  return String.fromCharCode(...ID_CODES)
}

/** The code of a hexadecimal digit in lower case. */
function hexDigit(value: number): number {
  return value < 10 ? 0x30 + value : 0x57 + value
}

/** A new transfer id: a random UUID, version 4 (RFC 9562). */
export function randomTransferId(random: Random): string {
  const bytes = random.bytes(TRANSFER_ID_BYTES)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return transferIdOf(bytes)
}

/**
 * Checks a condition or fulfillment: 32 bytes as 43 characters of base64url without padding.
 * @throws InvalidFieldsError naming `field`
 */
export function parseBytes32(value: unknown, field: string): string {
  if (typeof value !== 'string' || !BYTES_32.test(value)) {
    throw new InvalidFieldsError(`${field} must be 32 bytes in base64url`)
  }
  return value
}

/** The condition that a fulfillment answers: base64url(SHA-256(fulfillment)). Both are 43 characters of base64url. */
export function conditionOf(fulfillment: string): string {
  return sha256(fromBase64url(fulfillment) ?? new Uint8Array())
}
