/**
 * SHA-256, and what is told by it. Works alike in Node and browsers. Apart from other bytes, so that who imports a store alone loads none
 * of it.
 */
import { hash } from '@stablelib/sha256'
import { toBase64url, toUtf8 } from './bytes.js'

let digest = (bytes: Uint8Array): string => toBase64url(hash(bytes))

/** Has an entry whose platform is faster at it compute all hashes from now on: SHA-256 as base64url, synchronously. */
export function hashBy(faster: (bytes: Uint8Array) => string): void {
  digest = faster
}

/** SHA-256 of the given bytes, as base64url, synchronously. */
export function sha256(bytes: Uint8Array): string {
  return digest(bytes)
}

/** Compares two secrets without telling by its duration where they differ (H33). */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = sha256(toUtf8(a))
  const right = sha256(toUtf8(b))
  let difference = 0
  for (let i = 0; i < left.length; i++) difference |= left.charCodeAt(i) ^ right.charCodeAt(i)
  return difference === 0
}
