/**
 * Where one of the two can die while two payments go through: at each point of its first life, and so many turns later.
 */
import { MOST_TURNS } from './life.js'
import { run } from './run.js'
import type { KillAt } from './world.js'

/** One seed of each kind of world. */
export const DEATHS = [
  [1, 'LPI v1 with claims, stores of ours'],
  [16, 'LPI v1 with claims, plain stores'],
  [10, 'LPI v1 without claims, a store of ours and a plain one'],
  [8, 'LPI v2 with settlements on trust, stores of ours'],
  [23, 'LPI v2 without settlements, plain stores'],
  [15, 'LPI v2 with claims, a store of ours and a plain one']
] as const

/** At once, and some number of turns later: another one at each point. */
export const someTurns = (point: number): number[] => [0, 1 + (point * 7) % MOST_TURNS]

/** At once, and each number of turns later that there is. */
export const allTurns = (): number[] => Array.from({ length: MOST_TURNS + 1 }, (_, turns) => turns)

export async function * deathsOf(seed: number, turnsAt: (point: number) => number[]): AsyncGenerator<KillAt> {
  const { points } = await run(seed, { killAt: { side: 'alice', point: Infinity, turns: 0 } })
  for (const side of ['alice', 'bob'] as const) {
    for (let point = 1; point <= points[side]; point++) {
      for (const turns of turnsAt(point)) yield { side, point, turns }
    }
  }
}
