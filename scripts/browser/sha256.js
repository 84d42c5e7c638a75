/**
 * What our code calls of @stablelib/sha256: SHA-256 of some bytes at once (FIPS 180-4). The browser builds have it in that package's place,
 * which hashes piece by piece, saves and restores its state, and brings the constants as a table.
 */

const PRIMES = []
for (let number = 2; PRIMES.length < 64; number++) if (PRIMES.every(prime => number % prime !== 0)) PRIMES.push(number)

/** The first 32 bits of a root's fraction: that is what the constants are. */
const fractionOf = root => (root - Math.floor(root)) * 2 ** 32 | 0

const START = Int32Array.from(PRIMES.slice(0, 8), prime => fractionOf(Math.sqrt(prime)))
const K = Int32Array.from(PRIMES, prime => fractionOf(Math.cbrt(prime)))
const w = new Int32Array(64)

export function hash(data) {
  // One bit, and the length in bits at the end, in whole blocks.
  const padded = new Uint8Array((data.length + 72) & -64)
  padded.set(data)
  padded[data.length] = 0x80
  const view = new DataView(padded.buffer)
  view.setUint32(padded.length - 8, data.length / 2 ** 29)
  view.setUint32(padded.length - 4, data.length << 3)
  const state = START.slice()
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + 4 * i)
    for (let i = 16; i < 64; i++) {
      const x = w[i - 2]
      const y = w[i - 15]
      w[i] = ((x >>> 17 | x << 15) ^ (x >>> 19 | x << 13) ^ x >>> 10) + w[i - 7] + ((y >>> 7 | y << 25) ^ (y >>> 18 | y << 14) ^ y >>> 3) + w[i - 16]
    }
    let a = state[0]
    let b = state[1]
    let c = state[2]
    let d = state[3]
    let e = state[4]
    let f = state[5]
    let g = state[6]
    let h = state[7]
    for (let i = 0; i < 64; i++) {
      const t1 = h + ((e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7)) + (e & f ^ ~e & g) + K[i] + w[i] | 0
      const t2 = ((a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10)) + (a & b ^ a & c ^ b & c) | 0
      h = g
      g = f
      f = e
      e = d + t1 | 0
      d = c
      c = b
      b = a
      a = t1 + t2 | 0
    }
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d
    state[4] += e
    state[5] += f
    state[6] += g
    state[7] += h
  }
  for (let i = 0; i < 8; i++) view.setInt32(4 * i, state[i])
  // What was hashed may be a secret.
  w.fill(0)
  return padded.slice(0, 32)
}
