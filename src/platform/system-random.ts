/**
 * The random source of the machine: Web Crypto, which Node, pages and workers all have. Imports core.
 */
import type { Random } from '../core/random.js'

/** The most that Web Crypto gives in one call. */
const MOST_AT_ONCE = 65536

/** Cryptographically strong random bytes. */
export const systemRandom: Random = {
  bytes(length) {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; at += MOST_AT_ONCE) crypto.getRandomValues(bytes.subarray(at, at + MOST_AT_ONCE))
    return bytes
  }
}
