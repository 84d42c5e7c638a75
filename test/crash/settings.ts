/**
 * How often a kill test kills, and how it tells of its figures: as in `npm test`, or as `npm run crash` asks by the environment.
 */
import { writeFileSync } from 'node:fs'
import { audit } from './audit.js'
import type { Report } from './audit.js'
import type { Witness } from './witness.js'

const { env } = process

export const SEED = Number(env['CRASH_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
/** Transfers that each side has under way at a time. */
export const IN_FLIGHT = Number(env['CRASH_IN_FLIGHT'] ?? 32)

/** How often to kill, where a test would do it so often by itself. */
export const killsOr = (usual: number): number => Number(env['CRASH_KILLS'] ?? usual)

/** For so many kills with all that is between them, in milliseconds. */
export const timeoutFor = (kills: number): number => 100_000 + kills * 8000

/** Writes the line of figures where `npm run crash` looks for it, beside those of other tests. */
export function tellFigures(name: string, kills: number, startedAt: number, [a, b]: readonly [Report, Report], witness: Witness): void {
  const path = env['CRASH_FIGURES']
  if (path === undefined) return
  const line = [
    `${name}: ${kills} kills in ${((Date.now() - startedAt) / 1000).toFixed(0)} s, ${IN_FLIGHT} in flight on each side, seed ${SEED}`,
    `${a.transfers.length} transfers, ${witness.count('fulfilled')} told to be fulfilled, ${witness.count('cancelled')} cancelled`,
    `balances ${a.balance} and ${b.balance}, holds left ${a.inFlight + b.inFlight}, violations ${audit(a, b, witness.acknowledged).length + witness.troubles.length}`
  ].join('; ')
  writeFileSync(path, `${line}\n`, { flag: 'a' })
}
