/** The random port. Imports nothing. */
export interface Random {
  /** Cryptographically strong random bytes in an array of their own. */
  bytes(length: number): Uint8Array
}

/** A random number, 0 <= n < 1, for jitter. */
export function randomFraction(random: Random): number {
  const [a = 0, b = 0, c = 0, d = 0] = random.bytes(4)
  return (((a << 24) | (b << 16) | (c << 8) | d) >>> 0) / 2 ** 32
}

/** A random unsigned 32-bit integer, for request ids. */
export function randomUint32(random: Random): number {
  return Math.floor(randomFraction(random) * 2 ** 32)
}
