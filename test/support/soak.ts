/**
 * Random runs of a seed each: faults strike while payments are made, then they stop, and all must come to its end.
 * `PAYCHAN_SOAK_SEED=<seed>` runs that one alone, `PAYCHAN_SOAK_RUNS=<n>` another number of them.
 */
import { expect } from 'vitest'

const ONLY = process.env['PAYCHAN_SOAK_SEED']

export interface SoakRun {
  /** Payments under faults. */
  play(): Promise<void>
  /** The faults stop. */
  heal(): Promise<void>
  /** Everything is final, and alike on both sides. */
  check(): Promise<void>
  payOnceMore(): Promise<void>
  /** Whether enough has happened for the run to prove anything. */
  readonly isBusy: boolean
}

/** How many runs are asked for. */
export function soakRuns(usual: number): number {
  return Number(process.env['PAYCHAN_SOAK_RUNS'] ?? usual)
}

/** Plays so many runs, or the one that is asked for. A failure names the seed. */
export async function soak(runs: number, seedOf: (n: number) => number, makeRun: (seed: number) => SoakRun): Promise<void> {
  const seeds = ONLY === undefined ? Array.from({ length: runs }, (_, n) => seedOf(n)) : [Number(ONLY)]
  let busy = 0
  for (const seed of seeds) {
    const run = makeRun(seed)
    try {
      await run.play()
      await run.heal()
      await run.check()
      await run.payOnceMore()
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
    if (run.isBusy) busy++
  }
  // A run in which nothing happens proves nothing.
  expect(busy).toBeGreaterThan(seeds.length / 2)
}
