/**
 * `npm run bench`: how many transfers, prepared and fulfilled, a pair of peers does in a second: ours and the old package with memory
 * stores, ours with lmdb on both sides, and a bare exchange of web socket frames of the same sizes.
 *
 * `npm run bench:data`: how many ILPv4 packets are sent and fulfilled by `sendData`: ours in memory and with lmdb on both sides, and
 * ilp-plugin-btp, which keeps no balance at all.
 *
 * In rounds, so that what else the machine does falls on all alike; the medians count. Each peer is a process of its own.
 */
import console from 'node:console'
import { mkdirSync } from 'node:fs'
import process from 'node:process'
import { URL, fileURLToPath } from 'node:url'
import { buildWhenStale } from '../../scripts/build.mjs'
import { median, startPeer } from './peers.mjs'

/** The kinds of peers, with what they are called, and to which of them ratios are told. */
const SUITES = {
  transfers: {
    title: 'prepare + fulfill',
    kinds: { 'ours': 'ours, in memory', 'old': 'old package, in memory', 'lmdb': 'ours, lmdb', 'ws': 'bare web socket' },
    ratios: [['ours / old', 'ours', 'old'], ['ours with lmdb / old', 'lmdb', 'old'], ['ours / bare web socket', 'ours', 'ws']]
  },
  data: {
    title: 'sendData',
    kinds: { 'data-ours': 'ours, in memory', 'data-btp': 'ilp-plugin-btp', 'data-lmdb': 'ours, lmdb' },
    ratios: [['ours / ilp-plugin-btp', 'data-ours', 'data-btp'], ['with lmdb / the same', 'data-lmdb', 'data-btp']]
  }
}
const suite = SUITES[process.argv[2] ?? 'transfers']
const KINDS = Object.keys(suite.kinds)
const IN_FLIGHT = [1, 32, 256]
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5)
const RUN_MS = Number(process.env['BENCH_MS'] ?? 1000)
const WARM_UP_MS = 1000

const path = name => fileURLToPath(new URL(name, import.meta.url))

async function start(kind) {
  const receiver = startPeer(kind, 'receiver')
  const { port } = await receiver.next()
  const failed = receiver.next()
  failed.catch(() => undefined)
  const sender = startPeer(kind, 'sender', String(port))
  await sender.next()
  const run = async (inFlight, ms) => {
    sender.child.send({ inFlight, ms })
    const result = await Promise.race([sender.next(), failed])
    return result.count * 1000 / result.ms
  }
  const stop = () => {
    for (const { child } of [sender, receiver]) if (child.connected) child.disconnect()
  }
  return { run, stop }
}

async function measure(pairs) {
  for (const kind of KINDS) await pairs[kind].run(32, WARM_UP_MS)
  const rates = Object.fromEntries(KINDS.map(kind => [kind, Object.fromEntries(IN_FLIGHT.map(count => [count, []]))]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const inFlight of IN_FLIGHT) {
      for (const kind of KINDS) rates[kind][inFlight].push(await pairs[kind].run(inFlight, RUN_MS))
    }
  }
  return rates
}

function print(rates) {
  const rate = (kind, inFlight) => median(rates[kind][inFlight])
  const row = (label, cell) => console.log(label.padEnd(24) + IN_FLIGHT.map(inFlight => cell(inFlight).padStart(16)).join(''))
  console.log(`${suite.title} per second, median of ${ROUNDS} rounds of ${RUN_MS} ms, each peer a process of its own\n`)
  row('in flight', String)
  for (const [kind, label] of Object.entries(suite.kinds)) row(label, inFlight => rate(kind, inFlight).toFixed(0))
  console.log()
  for (const [label, kind, to] of suite.ratios) row(label, inFlight => (rate(kind, inFlight) / rate(to, inFlight)).toFixed(2))
}

if (!buildWhenStale()) process.exit(1)
mkdirSync(path('../../.build'), { recursive: true })
const pairs = {}
try {
  for (const kind of KINDS) pairs[kind] = await start(kind)
  print(await measure(pairs))
} finally {
  for (const pair of Object.values(pairs)) pair.stop()
}
