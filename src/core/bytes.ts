/**
 * Bytes and their texts: base64url, hex, UTF-8. Works on Uint8Array, and alike in Node and browsers. Imports core,
 * and Buffer (Node's own, bundled for browsers), whose base64 is many times faster than one in JavaScript: every payment needs it.
 */
import { Buffer } from 'buffer'
import { messageOf } from './errors.js'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/

/** Base64url without padding (RFC 4648, section 5). */
export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}

/** Whether `fromBase64url` can read a text. */
export function isBase64url(text: string): boolean {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  return BASE64.test(text) && (text.length - padding) % 4 !== 1
}

/** Reads base64 of either alphabet, padded or not; `undefined` for anything else. */
export function fromBase64url(text: string): Uint8Array | undefined {
  if (!isBase64url(text)) return undefined
  const { buffer, byteOffset, byteLength } = Buffer.from(text, 'base64url')
  return new Uint8Array(buffer, byteOffset, byteLength)
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** UTF-8 bytes of a text. */
export function toUtf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** The text of UTF-8 bytes; `undefined` where they are no valid UTF-8 (H39). */
export function fromUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** A peer's text for a log or an error message: control and other non-ASCII characters escaped, cut to `most` characters (H32). */
export function printable(text: string, most = 200): string {
  const cut = text.length > most ? `${text.slice(0, most)}...` : text
  return cut.replace(/[^\x20-\x7e]/g, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The message of anything that was thrown, likewise. */
export function printableMessage(thrown: unknown, most?: number): string {
  return printable(messageOf(thrown), most)
}
