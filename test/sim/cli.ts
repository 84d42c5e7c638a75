/**
 * `npm run sim -- --seeds N`, `--minutes N` or `--seed N`: plays seeds, in a thread that main.mjs watches, and tells it what to print.
 * `--from N` is the first seed, 1 by default; `--first` ends with the first that fails; `--kill side:point:turns` makes a death there all that
 * goes wrong, and `--deaths` plays each such death of some worlds.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { DEATHS, allTurns, deathsOf } from './deaths.js'
import { Figures, report } from './figures.js'
import { run } from './run.js'
import type { KillAt } from './world.js'

/** What this thread tells. */
export type Said = { begins: number } | { line: string } | { prints: string } | { ends: number }

const say = (said: Said): void => { parentPort?.postMessage(said) }
interface Asked {
  seed?: number
  seeds?: number
  minutes?: number
  from: number
  killAt?: KillAt
  endsAtFirst: boolean
  isOfDeaths: boolean
}

const { seed, seeds, minutes, from, killAt, endsAtFirst, isOfDeaths } = workerData as Asked

const figures = new Figures()
const until = minutes === undefined ? Infinity : Date.now() + minutes * 60_000
const first = seed ?? from
const last = seed ?? (seeds === undefined ? Infinity : from + seeds - 1)

/** What is to be played. */
async function * plays(): AsyncGenerator<{ one: number; killAt: KillAt | undefined }> {
  if (!isOfDeaths) for (let one = first; one <= last && Date.now() < until; one++) yield { one, killAt }
  else for (const [one] of DEATHS) for await (const death of deathsOf(one, allTurns)) yield { one, killAt: death }
}

for await (const { one, killAt: death } of plays()) {
  say({ begins: one })
  // Of one seed alone the trace is told as it comes: should the run never end, there is no other.
  const result = await run(one, { killAt: death, trace: seed === undefined ? undefined : line => { say({ line }) } })
  figures.add(result)
  if (result.violations.length === 0) continue
  say({ prints: await report(one, { killAt: death }) })
  if (endsAtFirst) break
}
say({ prints: figures.line })
say({ ends: figures.violations > 0 ? 1 : 0 })
