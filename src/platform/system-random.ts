/**
 * The random source of the machine: Web Crypto, which Node, pages and workers all have. Imports core.
 */
import type { Random } from '../core/random.js'

/** The most that Web Crypto gives in one call. */
const MOST_AT_ONCE = 65536

/** Up to this length bytes come from a stock: a call for four of them costs as much as one for thousands, and each request has an id. */
const SMALL = 64
const stock = new Uint8Array(4096)
let used = stock.length

function fromStock(length: number): Uint8Array {
  if (used + length > stock.length) {
    crypto.getRandomValues(stock)
    used = 0
  }
  const bytes = stock.slice(used, used + length)
  // What was given out is nobody else's to find.
  stock.fill(0, used, used + length)
  used += length
  return bytes
}

/** Cryptographically strong random bytes. */
export const systemRandom: Random = {
  bytes(length) {
    if (length <= SMALL) return fromStock(length)
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; at += MOST_AT_ONCE) crypto.getRandomValues(bytes.subarray(at, at + MOST_AT_ONCE))
    return bytes
  }
}
