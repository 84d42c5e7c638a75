/**
 * `npm run bench:browser`: how many transfers, prepared and fulfilled, a wallet in Chromium does in a second over IndexedDBStore with a
 * Node peer, each of them durable; and how many bare transactions of the same sizes and durability IndexedDB itself does, for two to a
 * transfer. In rounds, so that what else the machine does falls on all alike; the medians count. The profile is on the project's own
 * disk: without one IndexedDB would be in memory.
 */
import { spawn } from 'node:child_process'
import console from 'node:console'
import { EventEmitter, once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import process from 'node:process'
import { text } from 'node:stream/consumers'
import { buildWhenStale } from '../../scripts/build.mjs'
import { findBrowser, howToGet, root } from '../../scripts/setup.mjs'
import { median, startPeer } from './peers.mjs'

const KINDS = {
  wallet1: { inFlight: 1 },
  wallet64: { inFlight: 64 },
  bare1: { group: 1 },
  bare50: { group: 50 }
}
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5)
const RUN_MS = Number(process.env['BENCH_MS'] ?? 1000)
const WARM_UP_MS = 1000

const FILES = {
  '/plugin.js': join(root, 'dist', 'ilp-plugin-paychan.umd.js'),
  '/page.mjs': join(root, 'test', 'bench', 'page.mjs'),
  '/workload.mjs': join(root, 'test', 'bench', 'workload.mjs')
}
const HTML = '<!doctype html><link rel="icon" href="data:,"><script src="plugin.js"></script><script type="module" src="page.mjs"></script>'
const FLAGS = ['--headless', '--no-first-run', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync']

/** Serves the page, and gives it its orders; `result` is what it posts. */
async function serve(orders) {
  const posted = new EventEmitter()
  const result = once(posted, 'result').then(([text]) => JSON.parse(text))
  const server = createServer((request, response) => {
    const file = FILES[request.url]
    response.setHeader('content-type', file === undefined ? 'text/html' : 'text/javascript')
    if (request.method === 'POST') void text(request).then(body => { posted.emit('result', body) })
    if (request.method === 'POST') response.end()
    else if (request.url === '/orders') response.end(JSON.stringify(orders))
    else response.end(file === undefined ? HTML : readFileSync(file))
  })
  server.listen(0)
  await once(server, 'listening')
  return { server, result, url: `http://localhost:${server.address().port}/` }
}

function launch(profile, url) {
  const executablePath = findBrowser()
  if (executablePath === undefined) throw new Error(howToGet('chromium'))
  // Chromium's sandbox refuses to run as root.
  const flags = process.getuid?.() === 0 ? [...FLAGS, '--no-sandbox'] : FLAGS
  return spawn(executablePath, [...flags, `--user-data-dir=${profile}`, url], { stdio: 'ignore' })
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
let browser
let site
try {
  const { port } = await peer.next()
  site = await serve({ server: `btp+ws://:secret@127.0.0.1:${port}`, kinds: KINDS, rounds: ROUNDS, ms: RUN_MS, warmUpMs: WARM_UP_MS })
  browser = launch(profile, site.url)
  const ended = once(browser, 'exit').then(() => { throw new Error('the browser ended') })
  const result = await Promise.race([site.result, ended, peer.next()])
  if (result.error !== undefined) throw new Error(`the page failed: ${result.error}`)
  print(result)
} finally {
  if (browser?.kill()) await once(browser, 'exit')
  if (peer.child.connected) peer.child.disconnect()
  site?.server.close()
  // The browser's other processes end a little later, and write until then (rmSync would not look again at what is in a folder).
  await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
}
