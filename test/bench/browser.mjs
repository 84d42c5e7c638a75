/**
 * `npm run bench:browser`: how many transfers, prepared and fulfilled, a wallet in Chromium does in a second over IndexedDBStore with a
 * Node peer, each of them durable; and how many bare transactions of the same sizes and durability IndexedDB itself does, for two to a
 * transfer. In rounds, so that what else the machine does falls on all alike; the medians count. The profile is on the project's own
 * disk: without one IndexedDB would be in memory.
 */
import console from 'node:console'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import process from 'node:process'
import { chromium } from 'playwright-core'
import { buildWhenStale } from '../../scripts/build.mjs'
import { HOW_TO_GET_A_BROWSER, findBrowser, root } from '../../scripts/setup.mjs'
import { median, startPeer } from './peers.mjs'

const KINDS = {
  wallet1: { of: 'wallet', inFlight: 1 },
  wallet64: { of: 'wallet', inFlight: 64 },
  bare1: { of: 'bare', group: 1 },
  bare50: { of: 'bare', group: 50 }
}
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5)
const RUN_MS = Number(process.env['BENCH_MS'] ?? 1000)
const WARM_UP_MS = 1000

const FILES = {
  '/plugin.js': join(root, 'dist', 'ilp-plugin-paychan.umd.js'),
  '/page.mjs': join(root, 'test', 'bench', 'page.mjs'),
  '/workload.mjs': join(root, 'test', 'bench', 'workload.mjs')
}
const HTML = '<!doctype html><link rel="icon" href="data:,"><script src="plugin.js"></script>'

async function serve() {
  const server = createServer(({ url }, response) => {
    const file = FILES[url]
    response.setHeader('content-type', file === undefined ? 'text/html' : 'text/javascript')
    response.end(file === undefined ? HTML : readFileSync(file))
  })
  server.listen(0)
  await once(server, 'listening')
  return server
}

async function launch(profile) {
  const executablePath = findBrowser()
  if (executablePath === undefined) throw new Error(HOW_TO_GET_A_BROWSER)
  const isRoot = process.getuid?.() === 0
  const args = ['--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync']
  return chromium.launchPersistentContext(profile, { executablePath, chromiumSandbox: !isRoot, args: isRoot ? ['--no-sandbox', ...args] : args })
}

/** A page with a connected wallet and an open database: measures one kind at a time. */
async function openPage(context, url, server) {
  const page = await context.newPage()
  await page.goto(url)
  await page.evaluate(async options => {
    const { prepare } = await import('./page.mjs')
    globalThis.rates = await prepare(options)
  }, { server, inFlight: 64, ms: WARM_UP_MS })
  return kind => page.evaluate(({ of, ...order }) => globalThis.rates[of](order), { ...KINDS[kind], ms: RUN_MS })
}

async function measure(rate) {
  const rates = Object.fromEntries(Object.keys(KINDS).map(kind => [kind, []]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const kind of Object.keys(KINDS)) rates[kind].push(await rate(kind))
  }
  return rates
}

function print(rates) {
  const rate = kind => median(rates[kind])
  const row = (label, one, many) => console.log(label.padEnd(52) + one.padStart(10) + many.padStart(10))
  console.log(`prepare + fulfill per second in Chromium, median of ${ROUNDS} rounds of ${RUN_MS} ms, the peer a Node process\n`)
  row('in flight; bare transfers in a transaction', '1', '64; 50')
  row('wallet over IndexedDBStore', rate('wallet1').toFixed(0), rate('wallet64').toFixed(0))
  row('bare: a transfer is put in two strict transactions', rate('bare1').toFixed(0), rate('bare50').toFixed(0))
  console.log()
  row('wallet / bare', (rate('wallet1') / rate('bare1')).toFixed(2), (rate('wallet64') / rate('bare50')).toFixed(2))
}

if (!buildWhenStale()) process.exit(1)
mkdirSync(join(root, '.build'), { recursive: true })
const profile = mkdtempSync(join(root, '.build', 'bench-profile-'))
const peer = startPeer('ours', 'receiver')
const files = await serve()
let context
try {
  const { port } = await peer.next()
  context = await launch(profile)
  print(await measure(await openPage(context, `http://localhost:${files.address().port}/`, `btp+ws://:secret@127.0.0.1:${port}`)))
} finally {
  await context?.close()
  if (peer.child.connected) peer.child.disconnect()
  files.close()
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
}
