/**
 * `npm run sim`: two whole peers in simulated worlds, a seed each, and an auditor that holds the rules against all that they do.
 *
 *   npm run sim -- --seeds 10000     so many seeds; --from N begins elsewhere than at 1
 *   npm run sim -- --minutes 30      for so long
 *   npm run sim -- --seed 4711       that one, again; its trace is printed when it fails
 *   npm run sim -- --first              ends with the first seed that fails
 *   npm run sim -- --deaths             nothing goes wrong but that one of the two dies: at each point of two payments, after each number of turns
 *   npm run sim -- --seed 7 --kill alice:21:3    nothing goes wrong but that alice dies three turns after the 21st point of her first life
 *
 * The last line is the figures. The exit code is 1 where a rule was violated, or a seed did not end.
 */
import console from 'node:console'
import { join } from 'node:path'
import process from 'node:process'
import { clearInterval, setInterval } from 'node:timers'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { rolldown } from 'rolldown'

/** A run takes milliseconds. One that takes so long goes round for ever. */
const PATIENCE_MS = 60_000
const FIRST = 1
const SEEDS = 2000

const out = join(import.meta.dirname, '..', '..', '.build', 'sim', 'cli.js')
const bundled = await rolldown({
  input: join(import.meta.dirname, 'cli.ts'),
  platform: 'node',
  external: /^[^./]/,
  resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
  tsconfig: false
})
await bundled.write({ file: out, format: 'es', sourcemap: true })
await bundled.close()

const worker = new Worker(out, { workerData: options() })
let seed = FIRST
let heardAt = Date.now()
let trace = []
const watch = setInterval(() => {
  if (Date.now() - heardAt < PATIENCE_MS) return
  for (const line of trace) console.log(line)
  console.log(`seed ${seed} does not end: npm run sim -- --seed ${seed}`)
  process.exit(1)
}, 1000)
worker.on('message', said => {
  heardAt = Date.now()
  if (said.begins !== undefined) {
    seed = said.begins
    trace = []
  }
  if (said.line !== undefined) trace.push(said.line)
  if (said.prints !== undefined) console.log(said.prints)
  if (said.ends !== undefined) {
    clearInterval(watch)
    process.exitCode = said.ends
  }
})

/** What was asked for on the command line. */
function options() {
  const text = { type: 'string' }
  const flag = { type: 'boolean', default: false }
  const { values: { kill, first, deaths, ...values } } = parseArgs({
    options: { seed: text, seeds: text, minutes: text, from: text, kill: text, first: flag, deaths: flag }
  })
  const numbers = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]))
  for (const [name, number] of Object.entries(numbers)) {
    if (!(number >= 0)) throw new RangeError(`--${name} must be a number`)
  }
  const isBounded = ['seed', 'seeds', 'minutes'].some(name => name in numbers)
  const [side, point, turns] = kill?.split(':') ?? []
  const killAt = kill === undefined ? undefined : { side, point: Number(point), turns: Number(turns) }
  return { from: FIRST, ...(isBounded ? {} : { seeds: SEEDS }), ...numbers, killAt, endsAtFirst: first, isOfDeaths: deaths }
}
