/**
 * Bytes and their texts: base64url, hex, UTF-8, SHA-256. Works on Uint8Array, without Node's or the browser's own. Imports core.
 */
import { sha256 as hash } from '@noble/hashes/sha2.js'
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const SEXTET = new Map(Array.from(BASE64URL).map((character, index) => [character, index]))
SEXTET.set('+', 62).set('/', 63)

/** SHA-256 of the given bytes, synchronously (as fast as the platforms' own for 32 bytes). */
export function sha256(bytes: Uint8Array): Uint8Array {
  return hash(bytes)
}

/** Base64url without padding (RFC 4648, section 5). */
export function toBase64url(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b = 0, c = 0] = [bytes[i], bytes[i + 1], bytes[i + 2]]
    text += BASE64URL.charAt(a >> 2) + BASE64URL.charAt(((a & 3) << 4) | (b >> 4))
    if (i + 1 < bytes.length) text += BASE64URL.charAt(((b & 15) << 2) | (c >> 6))
    if (i + 2 < bytes.length) text += BASE64URL.charAt(c & 63)
  }
  return text
}

/** Reads base64 of either alphabet, padded or not; `undefined` for anything else. */
export function fromBase64url(text: string): Uint8Array | undefined {
  const unpadded = text.replace(/={0,2}$/, '')
  if (unpadded.length % 4 === 1) return undefined
  const bytes = new Uint8Array(Math.floor((unpadded.length * 3) / 4))
  let bits = 0
  let held = 0
  let at = 0
  for (const character of unpadded) {
    const sextet = SEXTET.get(character)
    if (sextet === undefined) return undefined
    bits = ((bits << 6) | sextet) & 0xffffff
    held += 6
    if (held >= 8) {
      held -= 8
      bytes[at++] = (bits >> held) & 0xff
    }
  }
  return bytes
}

export const toHex = bytesToHex
export const fromHex = hexToBytes

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

/** Compares two secrets without telling by its duration where they differ (H33). */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = sha256(toUtf8(a))
  const right = sha256(toUtf8(b))
  let difference = 0
  for (let i = 0; i < left.length; i++) difference |= (left[i] ?? 0) ^ (right[i] ?? 0)
  return difference === 0
}

/** A peer's text for a log or an error message: control and other non-ASCII characters escaped, cut to `most` characters (H32). */
export function printable(text: string, most = 200): string {
  const cut = text.length > most ? `${text.slice(0, most)}...` : text
  return cut.replace(/[^\x20-\x7e]/g, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
