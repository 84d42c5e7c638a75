/**
 * `npm run fuzz`: hostile peers and strangers against a listener in a process of its own, on which honest peers pay all the while.
 *
 *     npm run fuzz -- --seconds 60                  a seed of the moment
 *     npm run fuzz -- --seed 1 --rounds 20          so many visits of each lane, the same each time
 *
 * Ends with one line of figures, or with what must not be and the command that replays it.
 */
import { fork } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import console from 'node:console'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout } from 'node:timers'
import { URL, fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chance } from './chance.mjs'
import { Model } from './model.mjs'
import { attack, makeGood, pester } from './visits.mjs'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string' },
    rounds: { type: 'string' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    entry: { type: 'string', default: fileURLToPath(new URL('../../dist/node.js', import.meta.url)) }
  }
})
const seed = Number(values.seed)
const rounds = values.rounds === undefined ? Infinity : Number(values.rounds)
const seconds = values.seconds === undefined ? (rounds === Infinity ? 60 : Infinity) : Number(values.seconds)

/** Each lane makes one visit after the other; two at one account get in each other's way. */
const LANES = ['attacked1', 'attacked1', 'attacked2', 'attacked2', 'attacked3', 'stranger']
const CAPS = { maxInFlight: 200, maxInFlightAmount: '60000', maxRequests: 300, maxBufferedBytes: 262_144 }
/** How long a payment of an honest peer may take on a machine that has other work. */
const PAYMENT_MS = 5000
const EVERY_MS = 200
const GROWTH_BYTES = 16 * 2 ** 20
const QUIET_MS = 20_000
/** Books that attackers tell and nothing in flight explains, whatever the account has by then. */
const WRONG_BOOKS = ['books more', 'books huge']

if (!existsSync(values.entry)) {
  console.error(`${values.entry} is missing: npm run build makes it`)
  process.exit(1)
}

/** A process that answers. */
function start(file, settings, execArgv = []) {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [values.entry, JSON.stringify(settings)], { execArgv })
  const waiting = new Map()
  let lastId = 0
  let ended
  const awaitAnswer = id => new Promise((resolve, reject) => {
    if (ended === undefined) waiting.set(id, { resolve, reject })
    else reject(ended)
  })
  child.on('message', ({ id, answer, failure }) => {
    const { resolve, reject } = waiting.get(id)
    waiting.delete(id)
    if (failure === undefined) resolve(answer)
    else reject(new Error(failure))
  })
  child.on('exit', (code, signal) => {
    ended = new Error(`${file} has ended, with ${signal ?? code}`)
    for (const { reject } of waiting.values()) reject(ended)
  })
  const ask = what => {
    const answer = awaitAnswer(++lastId)
    if (child.connected) child.send({ id: lastId, ask: what })
    return answer
  }
  return { child, ready: awaitAnswer(0), ask }
}

const folder = mkdtempSync(join(tmpdir(), 'paychan-fuzz-'))
const secrets = Object.fromEntries(['attacked1', 'attacked2', 'attacked3', 'honest1', 'honest2'].map(name => [name, randomBytes(16).toString('hex')]))
const complaints = []
const complain = text => { complaints.push(text) }
const counts = new Map()
const count = (name, by = 1) => { counts.set(name, (counts.get(name) ?? 0) + by) }
const models = { attacked1: new Model(), attacked2: new Model(), attacked3: new Model() }

const target = start('target.mjs', { folder, secrets, caps: CAPS }, ['--expose-gc'])
let honest
let done = 0
let begun = performance.now()
let first
let last

/** One lane, until its rounds or the time are over, or something is wrong. */
async function run(lane, index, port) {
  const memory = []
  for (let round = 0; round < rounds && performance.now() - begun < seconds * 1000 && complaints.length === 0; round++) {
    done = Math.max(done, round + 1)
    const luck = chance(seed, index, round)
    if (lane === 'stranger') await pester(luck, { port, count, memory })
    else await attack(luck, { port, secret: secrets[lane], v2: lane === 'attacked2', round, memory, model: models[lane], count })
  }
}

/** Looks at both processes all the while: that they live, that honest peers are served, and that nothing is complained of. */
async function watch(stopped) {
  while (!stopped()) {
    await new Promise(resolve => { setTimeout(resolve, 500) })
    for (const trouble of await target.ask('troubles')) complain(trouble)
    checkHonest(await honest.ask('state'))
    if (complaints.length > 0) return
  }
}

function checkHonest({ drops, failures, served }) {
  if (drops > 0) complain(`honest peers lost their connections ${drops} times`)
  for (const failure of failures.slice(0, 3)) complain(`an honest payment failed: ${failure}`)
  for (const [name, { slowestMs }] of Object.entries(served)) {
    if (slowestMs > PAYMENT_MS) complain(`a payment of ${name} took ${slowestMs} ms, more than ${PAYMENT_MS}`)
  }
}

/** At the end: all that is open is made good, and the books of all five must be what they should. */
async function settleUp(port) {
  await target.ask('quiet')
  for (const name of Object.keys(models)) {
    const held = async () => models[name].held((await target.ask('held'))[name])
    await makeGood({ port, secret: secrets[name], v2: name === 'attacked2', model: models[name], count, held, withinMs: QUIET_MS })
  }
  let state = await honest.ask('stop')
  while (Object.values(state.served).some(({ isPaying }) => isPaying) && complaints.length === 0) {
    await new Promise(resolve => { setTimeout(resolve, 100) })
    state = await honest.ask('stop')
    checkHonest(state)
  }
  last = await target.ask('memory')
  const books = await target.ask('books')
  for (const [name, model] of Object.entries(models)) for (const complaint of model.audit(books[name])) complain(`${name}: ${complaint}`)
  for (const [name, { sum, paid }] of Object.entries(state.served)) {
    if (books[name].balance !== String(sum)) complain(`the balance of ${name} is ${books[name].balance}, its peer has paid ${sum}`)
    if (paid === 0) complain(`${name} has paid nothing`)
  }
  if (WRONG_BOOKS.some(name => counts.has(name)) && last.disputes === 0) complain('peers have told other books, and none were in dispute')
  const growth = heldBy(last) - heldBy(first)
  if (growth > GROWTH_BYTES) complain(`what the target holds has grown by ${megabytes(growth)}`)
  for (const trouble of await target.ask('troubles')) complain(trouble)
  return state
}

/** What is held, in the heap and in buffers outside of it. */
const heldBy = ({ heapUsed, external }) => heapUsed + external

const megabytes = bytes => `${(bytes / 2 ** 20).toFixed(1)} MB`

function figures({ served }, spent) {
  const sent = ['pay', 'repeat', 'odd', 'end', 'answer', 'ask', 'settle', 'strange', 'flood', 'greed'].map(name => `${name} ${counts.get(name) ?? 0}`)
  const wrong = ['cut', 'longer', 'flipped', 'misframed', 'spliced', 'garbage', 'split', 'fragments', 'text', 'pings', 'oversized', 'lying', 'unmasked'].map(name => `${name} ${counts.get(name) ?? 0}`)
  const paid = Object.values(models).map(({ figures: { offered, fulfilled, paid } }) => `${fulfilled} of ${offered} fulfilled and ${paid} taken`)
  const counted = what => [...counts].filter(([name]) => name.startsWith(what)).map(([name, times]) => [name.slice(what.length), times])
  const told = counted('told ').map(([name, times]) => `${name} ${times}`)
  const honestPaid = Object.values(served).reduce((sum, { paid }) => sum + paid, 0)
  const slowest = Math.max(...Object.values(served).map(({ slowestMs }) => slowestMs))
  return [
    `${spent.toFixed(0)} s, seed ${seed}, ${done} rounds, ${counts.get('sockets') ?? 0} sockets, ${counts.get('frames') ?? 0} frames`, `packets: ${sent.join(', ')}`, `of those: ${wrong.join(', ')}`,
    `attackers: ${paid.join(', ')}`, `errors: ${told.join(', ')}`, `${counts.get('cut off') ?? 0} slow readers cut off`,
    `books: told ${counted('books ').reduce((sum, [, times]) => sum + times, 0)} times, in dispute ${last.disputes} times`, `${honestPaid} honest payments, the slowest ${slowest} ms`,
    `heap ${megabytes(first.heapUsed)} to ${megabytes(last.heapUsed)}, buffers ${megabytes(first.external)} to ${megabytes(last.external)}, rss ${megabytes(first.rss)} to ${megabytes(last.rss)}, ${last.lines} log lines`
  ].join('; ')
}

let line = ''
try {
  const port = await target.ready
  honest = start('honest.mjs', { port, secrets, everyMs: EVERY_MS })
  await honest.ready
  // What is loaded and compiled at first is no growth.
  for (const [index, name] of Object.keys(models).entries()) {
    for (let round = 0; round < 3; round++) await attack(chance(seed, 100 + index, round), { port, secret: secrets[name], v2: name === 'attacked2', round, memory: [], model: models[name], count })
  }
  first = await target.ask('memory')
  begun = performance.now()
  let isOver = false
  await Promise.all([
    Promise.all(LANES.map((lane, index) => run(lane, index, port))).finally(() => { isOver = true }),
    watch(() => isOver)
  ])
  const state = await settleUp(port)
  line = figures(state, (performance.now() - begun) / 1000)
} catch (error) {
  complain(error.stack)
}

if (complaints.length > 0) {
  console.error([...new Set(complaints)].slice(0, 20).join('\n'))
  console.error(`replay: npm run fuzz -- --seed ${seed} --rounds ${done}`)
  process.exitCode = 1
} else console.log(line)
for (const { child } of [target, honest].filter(Boolean)) child.kill('SIGKILL')
rmSync(folder, { recursive: true, force: true })
