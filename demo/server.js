/**
 * The demo: a page with a wallet, and the Node peer that it pays. `npm start` runs it.
 *
 * Environment: PORT and BTP_PORT (8080 and 8081, or any free port when they are taken), HOST (127.0.0.1), DATA_DIR (.data).
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startPeer } from './peer.js'

const here = dirname(fileURLToPath(import.meta.url))
const host = process.env.HOST ?? '127.0.0.1'
const data = process.env.DATA_DIR ?? join(here, '..', '.data')

/** The file that the package's exports name for browsers. */
const manifest = createRequire(import.meta.url).resolve('ilp-plugin-paychan/package.json')
const browserBundle = join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).exports['.'].browser.default.default)

const HTML = 'text/html; charset=utf-8'
const SCRIPT = 'text/javascript; charset=utf-8'
const STYLE = 'text/css; charset=utf-8'
const JSON_TYPE = 'application/json; charset=utf-8'

const FILES = {
  '/': [HTML, join(here, 'page', 'index.html')],
  '/wallet.js': [SCRIPT, join(here, 'page', 'wallet.js')],
  '/style.css': [STYLE, join(here, 'page', 'style.css')],
  '/payments.js': [SCRIPT, join(here, 'payments.js')],
  '/ilp-plugin-paychan.js': [SCRIPT, browserBundle],
  '/browser-plugin.js': [SCRIPT, join(dirname(browserBundle), 'browser-plugin.js')],
  '/browser-stores.js': [SCRIPT, join(dirname(browserBundle), 'browser-stores.js')]
}

mkdirSync(data, { recursive: true })
const token = readToken(join(data, 'token'))
const btpPort = await choosePort(process.env.BTP_PORT ?? 8081)
const peer = await startPeer({ host, port: btpPort, token, path: join(data, 'peer'), log })
const server = createServer((request, response) => {
  serve(request, response).catch(error => {
    log(`a request could not be answered: ${error.message}`)
    response.writeHead(500).end()
  })
})
const port = await listen(server, process.env.PORT ?? 8080)

log(`the account is kept in ${data}, and open to the wallet at ${host}:${btpPort}`)
console.log(`\n  Open http://localhost:${port} for the wallet. Ctrl-C stops.\n`)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void stop())

/** Answers one request of the page: its files, and where the account is. */
async function serve(request, response) {
  const [pathname] = request.url.split('?')
  const send = (status, type, body) => {
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') return send(405, 'text/plain', 'Only GET\n')
  if (pathname === '/account.json') return send(200, JSON_TYPE, JSON.stringify({ port: btpPort, token }))
  const [type, path] = Object.hasOwn(FILES, pathname) ? FILES[pathname] : []
  if (path === undefined) return send(404, 'text/plain', 'Not found\n')
  return send(200, type, await readFile(path))
}

async function stop() {
  log('stopping')
  server.close()
  server.closeAllConnections()
  await peer.stop()
}

/** The wallet's secret is made once, so that an open page finds its account again after a restart. */
function readToken(path) {
  if (!existsSync(path)) writeFileSync(path, randomBytes(24).toString('base64url'), { mode: 0o600 })
  return readFileSync(path, 'utf8')
}

/** Listens on the wanted port, or on any when it is taken; resolves with the port. */
async function listen(server, wanted) {
  for (const port of [wanted, 0]) {
    server.listen(Number(port), host)
    try {
      await once(server, 'listening')
      break
    } catch (error) {
      if (error.code !== 'EADDRINUSE' || port === 0) throw error
    }
  }
  return server.address().port
}

/** A port that is free now: the wanted one if it is. */
async function choosePort(wanted) {
  const probe = createServer()
  const port = await listen(probe, wanted)
  probe.close()
  await once(probe, 'close')
  return port
}

function log(line) {
  console.log(`${new Date().toTimeString().slice(0, 8)}  ${line}`)
}
