/**
 * Two honest peers in a process of their own, one under a host of LPI v1 and one of LPI v2: each pays all the time, and takes note of how long
 * that takes.
 */
import { Buffer } from 'node:buffer'
import { randomBytes, randomUUID } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { setInterval } from 'node:timers'
import { pathToFileURL } from 'node:url'
import { conditionOf, ilpPrepare, ilpTime, readIlp } from './packets.mjs'

const [, , entry, settings] = process.argv
const { PaychanPlugin, MemoryStore } = await import(pathToFileURL(entry).href)
const { port, secrets, everyMs } = JSON.parse(settings)

const LIVES_MS = 60_000

const seen = { drops: 0, failures: [] }

function dial(name, services) {
  const plugin = new PaychanPlugin({
    server: `btp+ws://:${secrets[name]}@127.0.0.1:${port}`, prefix: `test.${name}.`, info: {}, maxBalance: 'Infinity', store: new MemoryStore(), packetHistory: true, reconnectMaxMs: 500
  }, ...services)
  plugin.on('disconnect', () => { seen.drops++ })
  return plugin
}

const first = dial('honest1', [])
const second = dial('honest2', [{}])
await Promise.all([first.connect(), second.connect()])

const forgotten = bytes => bytes.at(-1) >> 4 === 0

async function payV1(amount) {
  let id
  do id = randomUUID()
  while (forgotten(Buffer.from(id.replaceAll('-', ''), 'hex')))
  const ended = new Promise((resolve, reject) => {
    const end = ({ id: ended }) => { if (ended === id) done(resolve) }
    const refused = ({ id: ended }) => { if (ended === id) done(() => { reject(new Error('it was not fulfilled')) }) }
    const done = settle => {
      first.off('outgoing_fulfill', end)
      first.off('outgoing_reject', refused)
      first.off('outgoing_cancel', refused)
      settle()
    }
    first.on('outgoing_fulfill', end)
    first.on('outgoing_reject', refused)
    first.on('outgoing_cancel', refused)
  })
  ended.catch(() => undefined)
  const executionCondition = conditionOf(Buffer.from(id.replaceAll('-', ''), 'hex')).toString('base64url')
  await first.sendTransfer({ id, to: first.getPeerAccount(), amount: String(amount), executionCondition, expiresAt: new Date(Date.now() + LIVES_MS).toISOString() })
  await ended
}

async function payV2(amount) {
  let data
  do data = randomBytes(16)
  while (forgotten(data))
  const answer = await second.sendData(ilpPrepare({ amount, time: ilpTime(Date.now() + LIVES_MS), condition: conditionOf(data), data }))
  if (readIlp(answer).type !== 13) throw new Error('it was not fulfilled')
}

const accounts = { honest1: { pay: payV1, paid: 0, sum: 0, slowestMs: 0, since: 0 }, honest2: { pay: payV2, paid: 0, sum: 0, slowestMs: 0, since: 0 } }
let isPaying = true

/** One payment after the other: none is begun while the one before is under way. */
async function step(account) {
  if (!isPaying || account.since !== 0) return
  const amount = 1 + account.paid % 9
  account.since = performance.now()
  try {
    await account.pay(amount)
    account.paid++
    account.sum += amount
    account.slowestMs = Math.max(account.slowestMs, performance.now() - account.since)
  } catch (error) {
    seen.failures.push(error.message)
  }
  account.since = 0
}

setInterval(() => { for (const account of Object.values(accounts)) void step(account) }, everyMs)

process.on('message', ({ id, ask }) => {
  if (ask === 'stop') isPaying = false
  const now = performance.now()
  const served = Object.fromEntries(Object.entries(accounts).map(([name, { paid, sum, slowestMs, since }]) =>
    [name, { paid, sum, slowestMs: Math.round(Math.max(slowestMs, since === 0 ? 0 : now - since)), isPaying: since !== 0 }]))
  process.send({ id, answer: { ...seen, served } })
})
process.on('disconnect', () => process.exit())
process.send({ id: 0, answer: true })
