/**
 * Several tabs of one wallet in a real browser, over one IndexedDB database: one of them holds the connection to a Node peer, the others
 * stand by and take over when it is closed or hangs.
 */
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import type { Role } from '../src/plugin/account.js'
import type { LedgerPlugin } from '../src/plugin/plugin.js'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { makePayment } from './support/library.js'
import type { Payment } from './support/library.js'
import { openSite } from './support/site.js'
import type { Site } from './support/site.js'

const dist = join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist')

/** Until another tab has the connection. */
const TAKEOVER_MS = 2000

interface Library {
  PaychanPlugin: new (options: object) => LedgerPlugin
  MemoryStore: new () => object
  IndexedDBStore: new (options: object) => object
  BtpListener: new (options: object) => { readonly port: number | undefined }
}

/** What a page has as globals. */
interface PageGlobals {
  library: Library
  wallet: LedgerPlugin
  /** When the wallet was connected, and what it has been: times in milliseconds since 1970, by the machine's clock. */
  connectedAt: number[]
  roles: Role[]
  /** The ids of payments that have come to their end, as events told it. */
  fulfilled: string[]
  /** What became of `sendTransfer`, by id: 'resolved', or the error. */
  sent: Record<string, string>
}

let site: Site
let browser: OpenBrowser
let peer: LedgerPlugin
let port: number | undefined
/** What the peer fulfills as soon as it is offered. */
const payable = new Map<string, Payment>()
const pages: Page[] = []
const complaints: string[] = []
let database = 0

beforeAll(async () => {
  site = await openSite()
  browser = await openBrowser()
})

afterAll(async () => {
  await browser.close()
  await site.close()
})

beforeEach(async () => {
  const { PaychanPlugin, MemoryStore, BtpListener } = (await import(/* @vite-ignore */ join(dist, 'node.js'))) as Library
  const listener = new BtpListener({ port: 0 })
  const limits = { maxBalance: '1000', minBalance: '-1000' }
  peer = new PaychanPlugin({ listener, incomingSecret: 'secret', prefix: 'test.tabs.', info: {}, ...limits, store: new MemoryStore() })
  peer.on('incoming_prepare', ({ id }) => {
    const payment = payable.get(id)
    if (payment !== undefined) peer.fulfillCondition(id, payment.fulfillment).catch((error: unknown) => complaints.push(String(error)))
  })
  await peer.connect()
  port = listener.port
  database++
})

afterEach(async () => {
  await Promise.all(pages.splice(0).map(page => page.close()))
  await peer.disconnect()
  expect(complaints.splice(0)).toEqual([])
})

/** Opens the wallet in a new tab, and resolves when its `connect()` has. */
async function openTab(origin = site.urlOf('')): Promise<Page> {
  const page = await browser.context.newPage()
  pages.push(page)
  page.on('pageerror', error => complaints.push(error.message))
  page.on('console', message => { if (message.type() === 'error' && !message.text().includes('WebSocket')) complaints.push(message.text()) })
  await page.goto(new URL('/umd.html', origin).toString())
  await page.evaluate(async ({ port, host, name }) => {
    const here = globalThis as unknown as PageGlobals
    Object.assign(here, { connectedAt: [], roles: [], fulfilled: [], sent: {} })
    const store = new here.library.IndexedDBStore({ name })
    here.wallet = new here.library.PaychanPlugin({ server: `btp+ws://:secret@${host}:${port}`, store, maxBalance: '1000', minBalance: '-1000' })
    here.wallet.on('role', role => { here.roles.push(role) })
    here.wallet.on('connect', () => { here.connectedAt.push(Date.now()) })
    here.wallet.on('outgoing_fulfill', ({ id }) => { here.fulfilled.push(id) })
    await here.wallet.connect()
  }, { port, host: new URL(origin).hostname, name: `tabs-${database}` })
  return page
}

const roleOf = (page: Page): Promise<Role> => page.evaluate(() => (globalThis as unknown as PageGlobals).wallet.role)

const balanceOf = (page: Page): Promise<string> => page.evaluate(() => (globalThis as unknown as PageGlobals).wallet.getBalance())

/** Begins to pay from a tab; what becomes of it is in `sent` there. */
async function send(page: Page, { id, amount, condition }: Payment): Promise<void> {
  await page.evaluate(({ id, amount, condition }) => {
    const { wallet, sent } = globalThis as unknown as PageGlobals
    const expiresAt = new Date(Date.now() + 30_000).toISOString()
    void wallet.sendTransfer({ id, to: wallet.getPeerAccount(), amount, executionCondition: condition, expiresAt })
      .then(() => 'resolved', (error: unknown) => String(error))
      .then(told => { sent[id] = told })
  }, { id, amount, condition })
}

/** Pays from a tab, and waits until that tab was told of the preimage. */
async function pay(page: Page, amount = '1'): Promise<string> {
  const payment = makePayment(amount)
  payable.set(payment.id, payment)
  await send(page, payment)
  await page.waitForFunction(id => (globalThis as unknown as PageGlobals).fulfilled.includes(id), payment.id)
  return payment.id
}

/** Resolves with the time at which a tab was connected, for the first or a later time. */
async function connectedAt(page: Page, times = 1): Promise<number> {
  await page.waitForFunction(times => (globalThis as unknown as PageGlobals).connectedAt.length >= times, times)
  return page.evaluate(() => (globalThis as unknown as PageGlobals).connectedAt.at(-1) ?? NaN)
}

/** The tab does nothing else for so long; resolves when that has begun, with the time of it. */
async function hang(page: Page, forMs: number): Promise<number> {
  const begun = page.waitForEvent('console', message => message.text().startsWith('hanging since'))
  page.evaluate(forMs => {
    setTimeout(() => {
      const since = Date.now()
      console.log(`hanging since ${since}`)
      while (Date.now() < since + forMs);
    })
  }, forMs).catch(() => undefined)
  return Number((await begun).text().split(' ').at(-1))
}

async function expectAgreement(page: Page, balance: string): Promise<void> {
  await expect.poll(async () => [await balanceOf(page), await peer.getBalance()]).toEqual([balance, String(-Number(balance))])
}

describe('two tabs of one wallet', () => {
  it('share one connection: both pay, and both show the same balance, history and events', async () => {
    const [first, second] = [await openTab(), await openTab()]
    expect([await roleOf(first), await roleOf(second)]).toEqual(['holder', 'standby'])
    const paid = [await pay(first), await pay(second), await pay(first)]
    for (const page of [first, second]) {
      expect(await page.evaluate(() => (globalThis as unknown as PageGlobals).fulfilled)).toEqual(paid)
      const history = await page.evaluate(() => (globalThis as unknown as PageGlobals).wallet.history())
      expect(history.map(({ transfer }) => transfer.id).sort()).toEqual([...paid].sort())
      await expectAgreement(page, '-3')
    }
  })

  it('the holder is closed in the middle of a payment of the other, which takes over and carries it on', async () => {
    const [first, second] = [await openTab(), await openTab()]
    await pay(first)
    const payment = makePayment('7')
    const isPrepared = new Promise<void>(resolve => { peer.once('incoming_prepare', () => { resolve() }) })
    await send(second, payment)
    await isPrepared
    const closedAt = Date.now()
    await first.close()
    expect(await connectedAt(second) - closedAt).toBeLessThan(TAKEOVER_MS)
    expect(await roleOf(second)).toBe('holder')
    await peer.fulfillCondition(payment.id, payment.fulfillment)
    await second.waitForFunction(id => (globalThis as unknown as PageGlobals).fulfilled.includes(id), payment.id)
    expect(await second.evaluate(() => (globalThis as unknown as PageGlobals).sent)).toMatchObject({ [payment.id]: 'resolved' })
    await expectAgreement(second, '-8')
  })

  it('the holder hangs: the other takes over within two seconds, and it stands by when it wakes up', async () => {
    const [first, second] = [await openTab(), await openTab()]
    await pay(second)
    const own = makePayment('2')
    await send(first, own)
    const since = await hang(first, 6000)
    expect(await connectedAt(second) - since).toBeLessThan(TAKEOVER_MS)
    await pay(second)
    await peer.fulfillCondition(own.id, own.fulfillment)
    await first.waitForFunction(() => (globalThis as unknown as PageGlobals).wallet.role === 'standby')
    expect(await first.evaluate(() => (globalThis as unknown as PageGlobals).roles)).toEqual(['holder', 'standby'])
    await first.waitForFunction(id => (globalThis as unknown as PageGlobals).sent[id] !== undefined, own.id)
    expect(await first.evaluate(() => (globalThis as unknown as PageGlobals).sent)).toEqual({ [own.id]: 'resolved' })
    await pay(first)
    await expectAgreement(first, '-5')
    await expectAgreement(second, '-5')
  })

  it('three of them: whoever goes, one holds, and every payment is booked once', async () => {
    const [first, second, third] = [await openTab(), await openTab(), await openTab()]
    const tabs = [first, second, third]
    const paying = [second, third].map(async page => { for (let n = 0; n < 10; n++) await pay(page) })
    for (let n = 0; n < 3; n++) await pay(first)
    await hang(first, 5000)
    await Promise.all(paying)
    await first.waitForFunction(() => (globalThis as unknown as PageGlobals).wallet.role === 'standby')
    expect((await Promise.all(tabs.map(roleOf))).sort()).toEqual(['holder', 'standby', 'standby'])
    for (const page of tabs) await expectAgreement(page, '-23')
  })

  it('a reload of the holder lets the other take over, and comes back as the one that stands by', async () => {
    const [first, second] = [await openTab(), await openTab()]
    await pay(first)
    await first.close()
    await connectedAt(second)
    const again = await openTab()
    expect([await roleOf(again), await roleOf(second)]).toEqual(['standby', 'holder'])
    await pay(again)
    await expectAgreement(again, '-2')
  })
})

describe('on plain http beyond localhost, where there are no locks', () => {
  const address = Object.values(networkInterfaces()).flat().find(found => found?.family === 'IPv4' && !found.internal)?.address
  const origin = (): string => site.urlOf('/').replace('localhost', address ?? 'localhost')

  it('the tabs ask each other who holds, and take over from each other all the same', async () => {
    expect(address, 'this machine has no address but localhost').toBeDefined()
    const [first, second] = [await openTab(origin()), await openTab(origin())]
    expect(await first.evaluate(() => [isSecureContext, 'locks' in navigator])).toEqual([false, false])
    expect([await roleOf(first), await roleOf(second)]).toEqual(['holder', 'standby'])
    await pay(second)
    const closedAt = Date.now()
    await first.close()
    expect(await connectedAt(second) - closedAt).toBeLessThan(TAKEOVER_MS)
    const third = await openTab(origin())
    const since = await hang(second, 5000)
    expect(await connectedAt(third) - since).toBeLessThan(TAKEOVER_MS)
    await second.waitForFunction(() => (globalThis as unknown as PageGlobals).wallet.role === 'standby')
    await pay(second)
    await expectAgreement(third, '-2')
  })
})

describe('workers', () => {
  it.each(['Worker', 'SharedWorker'] as const)('H34: a %s holds for the tabs that stand by, and hands over when it ends', async kind => {
    const page = await browser.context.newPage()
    pages.push(page)
    await page.goto(site.urlOf('/umd.html'))
    const role = await page.evaluate(async ({ kind, library, port, name }) => {
      const code = `
        importScripts(${JSON.stringify(library)})
        const store = new IlpPluginPaychan.IndexedDBStore({ name: ${JSON.stringify(name)} })
        const wallet = new IlpPluginPaychan.PaychanPlugin({ server: 'btp+ws://:secret@localhost:${port}', store, maxBalance: '1000', minBalance: '-1000' })
        const start = port => wallet.connect().then(() => port.postMessage(wallet.role), error => port.postMessage(error.message))
        if ('postMessage' in self) start(self)
        else self.onconnect = ({ ports: [port] }) => start(port)`
      const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }))
      const made = kind === 'Worker' ? new Worker(url) : new SharedWorker(url)
      const port_ = made instanceof Worker ? made : made.port
      return new Promise(resolve => { port_.onmessage = ({ data }: MessageEvent) => { resolve(data) } })
    }, { kind, library: site.urlOf('/ilp-plugin-paychan.umd.js'), port, name: `tabs-${database}` })
    expect(role).toBe('holder')
    const tab = await openTab()
    expect(await roleOf(tab)).toBe('standby')
    await pay(tab)
    const closedAt = Date.now()
    await page.close()
    expect(await connectedAt(tab) - closedAt).toBeLessThan(TAKEOVER_MS)
    await pay(tab)
    await expectAgreement(tab, '-2')
  })
})
