/**
 * A STREAM payment from a real browser page, over the packed package's client, through an unmodified ilp-connector 23 that has the packed
 * package in its accounts, to a receiver in Node.
 */
import { createRequire } from 'node:module'
import { delimiter, join } from 'node:path'
import type { Connection, DataAndMoneyStream } from 'ilp-protocol-stream'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { root } from '../scripts/setup.mjs'
import type { LedgerPlugin } from '../src/node.js'
import { Connector, diallingAccount, listeningAccount } from '../test/interop/support/connector.js'
import { createServer } from '../test/interop/support/stream.js'
import { SECRET, afterTest, freePort } from '../test/support/hosts.js'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { openSite } from './support/site.js'
import type { Site } from './support/site.js'
import { bundleStreamPage } from './support/stream-page.js'

/** What the page has. */
interface PageGlobals {
  payByStream(options: object, to: { destinationAccount: string; sharedSecret: string }, amount: number): Promise<Record<string, unknown>>
}

let browser: OpenBrowser
let site: Site
let script: string

beforeAll(async () => {
  script = await bundleStreamPage()
  site = await openSite()
  browser = await openBrowser()
})
afterAll(async () => {
  await browser.close()
  await site.close()
})

const server = (port: number): string => `btp+ws://:${SECRET}@127.0.0.1:${port}`

it('C54, C56: a page pays 100 packets by STREAM through two connectors to a receiver in Node', { timeout: 90_000 }, async () => {
  const project = inject('project')
  const NODE_PATH = [join(project, 'node_modules'), join(root, 'node_modules')].join(delimiter)
  const ports = { page: await freePort(), between: await freePort(), receiver: await freePort() }
  const first = await Connector.start({
    ilpAddress: 'test.first', accounts: { page: listeningAccount(ports.page), second: diallingAccount(ports.between) }, NODE_PATH
  })
  afterTest(() => first.stop())
  const second = await Connector.start({
    ilpAddress: 'test.second', accounts: { receiver: listeningAccount(ports.receiver), first: listeningAccount(ports.between, { relation: 'peer' }) }, NODE_PATH
  })
  afterTest(() => second.stop())

  const PaychanPlugin = createRequire(join(project, 'package.json'))('ilp-plugin-paychan') as new (options: object, services: object) => LedgerPlugin
  const receiver = new PaychanPlugin({ server: server(ports.receiver), reconnectMaxMs: 200 }, {})
  afterTest(() => receiver.disconnect())
  await receiver.connect({ timeout: 30_000 })
  await Promise.all([
    first.until({ connected: ['second'], routes: ['test.first.page', 'test.second'] }),
    second.until({ connected: ['receiver', 'first'], routes: ['test.second.receiver', 'test.first'] })
  ])
  const till = await createServer({ plugin: receiver })
  till.on('connection', (connection: Connection) => {
    connection.on('stream', (stream: DataAndMoneyStream) => { stream.setReceiveMax(100_000) })
  })
  const { destinationAccount, sharedSecret } = till.generateAddressAndSecret()

  const page = await browser.context.newPage()
  const troubles: string[] = []
  page.on('pageerror', error => { troubles.push(String(error)) })
  await page.goto(site.urlOf('/umd.html'))
  await page.addScriptTag({ content: script })
  expect(troubles).toEqual([])
  const to = { destinationAccount, sharedSecret: sharedSecret.toString('base64') }
  const paid = await page.evaluate(
    ([options, to]) => (globalThis as unknown as PageGlobals).payByStream(options, to, 100_000),
    [{ server: server(ports.page), packetHistory: true, reconnectMaxMs: 200 }, to] as const
  )
  expect(paid).toMatchObject({ totalSent: '100000', totalDelivered: '100000', balance: '-100000', peerBalance: '-100000', inFlight: [] })
  expect(paid['packets']).toBeGreaterThanOrEqual(100)
  expect([await receiver.getBalance(), receiver.inFlight(), troubles]).toEqual(['100000', [], []])
  await page.close()
})
