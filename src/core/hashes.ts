/**
 * SHA-256, and what is told by it. Works alike in Node and browsers. Apart from other bytes, so that who imports a store alone loads none
 * of it.
 */
import { hash } from '@stablelib/sha256'
import { toUtf8 } from './bytes.js'

/** SHA-256 of the given bytes, synchronously (as fast as the platforms' own for 32 bytes). */
export function sha256(bytes: Uint8Array): Uint8Array {
  return hash(bytes)
}

/** Compares two secrets without telling by its duration where they differ (H33). */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = sha256(toUtf8(a))
  const right = sha256(toUtf8(b))
  let difference = 0
  for (let i = 0; i < left.length; i++) difference |= (left[i] ?? 0) ^ (right[i] ?? 0)
  return difference === 0
}
