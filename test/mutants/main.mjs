/**
 * `npm run mutants`: deliberate bugs, each patched into a copy of the project, each of which the simulator or a test must catch.
 *
 *   npm run mutants                     all of them
 *   npm run mutants -- --only 7         the seventh; or those whose name, rule or file has a text in it
 *   npm run mutants -- --of-commit      five of them, which ones the commit decides: what `npm test` does
 *
 * `--figures FILE` leaves them there for `npm test`.
 * A line each: what is wrong, the rule or hazard, what caught it, the time. The last line is the figures. The exit code is 1 where one
 * survived, or the list is wrong.
 */
import console from 'node:console'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { MUTANTS } from './list.mjs'
import { Copy, git, root } from './trial.mjs'

/** How many of them a commit is tried with. */
const OF_COMMIT = 5
const LABELS = { caught: 'caught by', survived: 'SURVIVED', wrong: 'THE LIST IS WRONG:' }

const text = { type: 'string' }
const { values: { only, figures, 'of-commit': isOfCommit } } = parseArgs({
  options: { only: text, figures: text, 'of-commit': { type: 'boolean', default: false } }
})
const chosen = choose()
if (chosen.length === 0) throw new RangeError(`no mutant is called ${only}`)

const count = { caught: 0, survived: 0, wrong: 0 }
const copy = new Copy()
try {
  const sound = soundCatchers(chosen)
  for (const mutant of chosen) {
    const start = performance.now()
    const { outcome, what } = sound.get(nameOf(mutant.by)) ?? copy.try(mutant)
    count[outcome]++
    const number = String(MUTANTS.indexOf(mutant) + 1).padStart(3)
    console.log(`${number} ${mutant.name} [${mutant.rule}]: ${LABELS[outcome]} ${what}, ${secondsSince(start)} s`)
  }
} finally {
  copy.remove()
}
console.log(`${chosen.length} mutants, ${count.caught} caught, ${count.survived} survived${count.wrong > 0 ? `, ${count.wrong} of the list wrong` : ''}`)
if (figures !== undefined) writeFileSync(figures, JSON.stringify({ passed: count.caught, failed: chosen.length - count.caught }))
process.exitCode = count.caught === chosen.length ? 0 : 1

/** What was asked for on the command line. */
function choose() {
  if (isOfCommit) {
    const commit = git('rev-parse', 'HEAD')
    const name = commit ?? JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
    console.log(commit === undefined ? `no commit is known here: chosen by the version, ${name}` : `chosen by the commit, ${name.slice(0, 12)}`)
    const lot = mutant => createHash('sha256').update(`${name} ${mutant.name}`).digest('hex')
    const first = [...MUTANTS].sort((a, b) => lot(a) < lot(b) ? -1 : 1).slice(0, OF_COMMIT)
    return MUTANTS.filter(mutant => first.includes(mutant))
  }
  if (only === undefined) return MUTANTS
  if (/^\d+$/.test(only)) return MUTANTS.slice(Number(only) - 1, Number(only))
  return MUTANTS.filter(({ name, rule, file }) => [name, rule, file].some(text => text.includes(only)))
}

/** What catches must pass where nothing is wrong: each is tried once, the simulator with the most seeds. Those that do not, and why. */
function soundCatchers(mutants) {
  const unsound = new Map()
  const start = performance.now()
  const seeds = Math.max(...mutants.map(({ by }) => by.sim ?? 0))
  const catchers = new Map(mutants.filter(({ by }) => by.test !== undefined).map(({ by }) => [nameOf(by), by]))
  if (seeds > 0) catchers.set(nameOf({ sim: seeds }), { sim: seeds })
  for (const [name, by] of catchers) {
    const { outcome, what } = copy.hunt(by)
    if (outcome !== 'survived') unsound.set(name, { outcome: 'wrong', what: `fails without it: ${what}` })
  }
  console.log(`without any of them ${catchers.size} catchers find nothing${unsound.size > 0 ? `, but for ${unsound.size}` : ''}, ${secondsSince(start)} s`)
  return unsound
}

/** The simulator is one catcher, however many seeds it plays. */
function nameOf(by) {
  return by.sim === undefined ? `${by.test} ${by.only ?? ''}` : 'the simulator'
}

function secondsSince(start) {
  return ((performance.now() - start) / 1000).toFixed(1)
}
