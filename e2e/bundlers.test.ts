/**
 * A small wallet that imports the packed package by its name, bundled by each of the bundlers that users have: it pays a Node peer
 * from a real browser. And what is left of the package where only a part of it is imported.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { BUNDLERS } from './support/bundlers.js'
import type { Library } from './support/library.js'

const WALLET = `
  import PaychanPlugin, { MemoryStore, errors } from 'ilp-plugin-paychan'

  async function pay() {
    const server = new URLSearchParams(location.search).get('server')
    const wallet = new PaychanPlugin({ server, store: new MemoryStore(), maxBalance: '1000', minBalance: '-1000' })
    await wallet.connect()
    const to = wallet.getPeerAccount()
    const { custom: { condition, amount } } = await wallet.sendRequest({ to, custom: { want: 'an invoice' } })
    const fulfilled = new Promise(resolve => wallet.once('outgoing_fulfill', resolve))
    const expiresAt = new Date(Date.now() + 10000).toISOString()
    await wallet.sendTransfer({ id: crypto.randomUUID(), to, amount, executionCondition: condition, expiresAt })
    await fulfilled
    const wrong = await wallet.sendTransfer({}).catch(error => error)
    return { balance: await wallet.getBalance(), isOurError: wrong instanceof errors.InvalidFieldsError }
  }

  pay().then(JSON.stringify, String).then(result => { document.title = result })
`

const PART = `
  import { MemoryStore } from 'ilp-plugin-paychan'
  globalThis.store = new MemoryStore()
`

/** Lets a bundler make its page of a program; resolves with the page's script. The bundler may complain of nothing. */
async function bundle(bundler: string, program: string): Promise<string> {
  const folder = mkdtempSync(join(inject('project'), 'bundle-'))
  writeFileSync(join(folder, 'main.js'), program)
  expect(await BUNDLERS[bundler]?.(folder)).toEqual([])
  return readFileSync(join(folder, 'out', 'main.js'), 'utf8')
}

let browser: OpenBrowser
let pages: Server
let script = ''

beforeAll(async () => {
  pages = createServer((request, response) => {
    const isScript = request.url === '/main.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
    response.end(isScript ? script : '<!doctype html><link rel="icon" href="data:,"><script type="module" src="main.js"></script>')
  })
  pages.listen(0)
  await once(pages, 'listening')
  browser = await openBrowser()
})

afterAll(async () => {
  await browser.close()
  pages.closeAllConnections()
  pages.close()
})

/** A peer in Node that gives invoices, and takes what they are paid. */
async function startPeer() {
  const path = join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist', 'node.js')
  const { PaychanPlugin, MemoryStore, BtpListener } = (await import(/* @vite-ignore */ path)) as Library
  const listener = new BtpListener({ port: 0 })
  const limits = { maxBalance: '1000', minBalance: '-1000' }
  const peer = new PaychanPlugin({ listener, incomingSecret: 'secret', prefix: 'test.shop.', info: {}, ...limits, store: new MemoryStore() })
  const preimage = randomBytes(32)
  const condition = createHash('sha256').update(preimage).digest('base64url')
  peer.registerRequestHandler(() => Promise.resolve({ custom: { condition, amount: '7' } }))
  const paid = new Promise(resolve => {
    peer.on('incoming_prepare', ({ id }) => { resolve(peer.fulfillCondition(id, preimage.toString('base64url'))) })
  })
  await peer.connect()
  return { peer, paid, server: `btp+ws://:secret@localhost:${listener.port ?? 0}` }
}

describe.each(Object.keys(BUNDLERS))('%s', bundler => {
  it('makes a wallet of the package without being told anything, and the wallet pays', async () => {
    script = await bundle(bundler, WALLET)
    const { peer, paid, server } = await startPeer()
    const page = await browser.context.newPage()
    const complaints: string[] = []
    page.on('pageerror', error => complaints.push(error.message))
    await page.goto(`http://localhost:${(pages.address() as AddressInfo).port}/?server=${encodeURIComponent(server)}`)
    await expect.poll(() => page.title(), { timeout: 20_000 }).not.toBe('')
    expect([await page.title(), ...complaints]).toEqual([JSON.stringify({ balance: '-7', isOurError: true })])
    await paid
    expect(await peer.getBalance()).toBe('7')
    await page.close()
    await peer.disconnect()
  })

  it('leaves everything else out for who imports MemoryStore alone', async () => {
    const code = await bundle(bundler, PART)
    expect(code).toContain('globalThis.store')
    expect(gzipSync(code, { level: 9 }).length).toBeLessThan(3000)
  })
})
