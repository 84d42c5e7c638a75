/** Chance that is the same in each run of a seed. */

export interface Chooser {
  /** An integer from 0 to `most`. */
  upTo(most: number): number
  chance(probability: number): boolean
  pick<T>(from: readonly T[]): T
}

/** Mulberry32: small, seeded, good enough to choose by. */
export function chooser(seed: number): Chooser {
  let state = seed
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const upTo = (most: number): number => Math.floor(fraction() * (most + 1))
  return { upTo, chance: probability => fraction() < probability, pick: from => from[upTo(from.length - 1)]! }
}
