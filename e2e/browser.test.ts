/**
 * A page in a real browser pays a Node peer and is paid by it, over the UMD file and over the ES module of the packed package.
 */
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import type { LedgerPluginV1 } from '../src/plugin/lpi.js'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { makePayment } from './support/library.js'
import type { Library, Payment } from './support/library.js'
import { openSite, PAGES } from './support/site.js'
import type { Site } from './support/site.js'

const dist = join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist')

/** What a page has as a global. */
interface PageGlobals {
  library: Library
  client: LedgerPluginV1
  /** Its call that fulfills what the peer has sent. */
  fulfilling: Promise<unknown>
}

let site: Site
let browser: OpenBrowser

beforeAll(async () => {
  site = await openSite()
  browser = await openBrowser()
})

afterAll(async () => {
  await browser.close()
  await site.close()
})

/** A Node peer that listens, and the address to dial it at. */
async function startPeer(): Promise<{ peer: LedgerPluginV1; server: string }> {
  const { PaychanPlugin, MemoryStore, BtpListener } = (await import(/* @vite-ignore */ join(dist, 'node.js'))) as Library
  const listener = new BtpListener({ port: 0 })
  const limits = { maxBalance: '1000', minBalance: '-1000' }
  const peer = new PaychanPlugin({ listener, incomingSecret: 'secret', prefix: 'test.page.', info: {}, ...limits, store: new MemoryStore() })
  await peer.connect()
  return { peer, server: `btp+ws://:secret@localhost:${listener.port ?? 0}` }
}

describe.each(PAGES)('the page %s', path => {
  let peer: LedgerPluginV1
  let page: Page
  let server: string
  const complaints: string[] = []

  beforeEach(async () => {
    ({ peer, server } = await startPeer())
    page = await browser.context.newPage()
    complaints.length = 0
    page.on('pageerror', error => complaints.push(error.message))
    page.on('console', message => {
      if (message.type() === 'error') complaints.push(message.text())
    })
    await page.goto(site.urlOf(path))
    await page.waitForFunction(() => 'library' in globalThis)
  })

  afterEach(async () => {
    await page.close()
    await peer.disconnect()
  })

  /** Makes the page's client; `withStore` decides between one that keeps its own account and a stateless one. */
  const connect = (withStore: boolean) =>
    page.evaluate(
      async ({ server, withStore }) => {
        const here = globalThis as unknown as PageGlobals
        const own = withStore ? { store: new here.library.MemoryStore(), maxBalance: '1000', minBalance: '-1000' } : {}
        here.client = new here.library.PaychanPlugin({ server, ...own })
        await here.client.connect()
        return { account: here.client.getAccount(), peer: here.client.getPeerAccount() }
      },
      { server, withStore }
    )

  /** The page pays; resolves with the fulfillment that it got. */
  const payFromPage = (payment: Payment) =>
    page.evaluate(async ({ id, amount, condition }) => {
      const { client } = globalThis as unknown as PageGlobals
      const fulfilled = new Promise<string>((resolve, reject) => {
        client.once('outgoing_fulfill', (_transfer, fulfillment) => resolve(fulfillment))
        client.once('outgoing_reject', (_transfer, reason) => reject(new Error(reason.message)))
        client.once('outgoing_cancel', () => reject(new Error('cancelled')))
      })
      const expiresAt = new Date(Date.now() + 10_000).toISOString()
      await client.sendTransfer({ id, amount, executionCondition: condition, expiresAt, to: client.getPeerAccount() })
      return fulfilled
    }, payment)

  /** The peer pays the page; resolves with the fulfillment that it got. */
  const payFromPeer = async (payment: Payment) => {
    await page.evaluate(({ fulfillment }) => {
      const here = globalThis as unknown as PageGlobals
      here.fulfilling = new Promise(resolve => {
        here.client.once('incoming_prepare', ({ id }) => resolve(here.client.fulfillCondition(id, fulfillment)))
      })
    }, payment)
    const fulfilled = new Promise<string>(resolve => {
      peer.once('outgoing_fulfill', (_transfer, fulfillment) => resolve(fulfillment))
    })
    const expiresAt = new Date(Date.now() + 10_000).toISOString()
    await peer.sendTransfer({ id: payment.id, amount: payment.amount, executionCondition: payment.condition, expiresAt, to: peer.getPeerAccount() })
    // The page counts it when the peer has taken the preimage, and so after the peer does.
    await page.evaluate(() => (globalThis as unknown as PageGlobals).fulfilling)
    return fulfilled
  }

  it.each([
    ['a store of its own', true],
    ['no store', false]
  ])('pays the Node peer and is paid by it, with %s', async (_name, withStore) => {
    expect(await connect(withStore)).toEqual({ account: 'test.page.client', peer: 'test.page.server' })

    const outgoing = makePayment('7')
    const taken = new Promise(resolve => {
      peer.once('incoming_prepare', ({ id }) => resolve(peer.fulfillCondition(id, outgoing.fulfillment)))
    })
    expect(await payFromPage(outgoing)).toBe(outgoing.fulfillment)
    await taken

    const incoming = makePayment('3')
    expect(await payFromPeer(incoming)).toBe(incoming.fulfillment)

    expect(await peer.getBalance()).toBe('4')
    expect(await page.evaluate(() => (globalThis as unknown as PageGlobals).client.getBalance())).toBe('-4')
    expect(complaints).toEqual([])
  })
})

describe('a worker', () => {
  it('H34: has no window, and connects all the same', async () => {
    const { peer, server } = await startPeer()
    const page = await browser.context.newPage()
    await page.goto(site.urlOf('/umd.html'))
    const answer = await page.evaluate(async ({ library, server }) => {
      const code = `
        importScripts(${JSON.stringify(library)})
        const client = new IlpPluginPaychan({ server: ${JSON.stringify(server)} })
        client.connect().then(() => client.getPeerBalance()).then(
          balance => postMessage({ balance, account: client.getAccount(), hasWindow: 'window' in self }),
          error => postMessage({ error: error.message })
        )`
      const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })))
      return new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data)
        worker.onerror = ({ message }) => reject(new Error(message))
      })
    }, { library: site.urlOf('/ilp-plugin-paychan.umd.js'), server })
    expect(answer).toEqual({ balance: '0', account: 'test.page.client', hasWindow: false })
    await page.close()
    await peer.disconnect()
  })
})
