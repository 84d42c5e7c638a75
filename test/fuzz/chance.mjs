/**
 * Chance that is the same in each run of a seed.
 */
import { Buffer } from 'node:buffer'

/** Mulberry32, as in ../support/chooser.ts, with what a fuzzer needs beside it. Numbers in `seeds` are stirred into one. */
export function chance(...seeds) {
  let state = seeds.reduce((sum, seed) => Math.imul(sum ^ seed, 0x9e3779b1) + 0x6d2b79f5 | 0, 0x2545f491)
  const fraction = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const upTo = most => Math.floor(fraction() * (most + 1))
  return {
    /** An integer from 0 to `most`. */
    upTo,
    is: probability => fraction() < probability,
    pick: from => from[upTo(from.length - 1)],
    bytes: length => Buffer.from(Array.from({ length }, () => upTo(255))),
    /** A key of an object by the weights that are its values. */
    weighted(weights) {
      let left = fraction() * Object.values(weights).reduce((sum, weight) => sum + weight, 0)
      return Object.entries(weights).find(([, weight]) => (left -= weight) < 0)?.[0] ?? Object.keys(weights)[0]
    }
  }
}
