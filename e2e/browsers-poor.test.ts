/**
 * Pages that lack something: over plain http beyond localhost, where browsers hide what they keep for secure pages, and where a page may keep
 * nothing.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Page } from 'playwright-core'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { makePayment } from './support/library.js'
import { openSite } from './support/site.js'
import type { Site } from './support/site.js'
import { openPlaywrightTab, walletIn } from './support/tabs.js'
import { pay, startPeer } from './support/wallet.js'
import type { Wallet } from './support/wallet.js'

const HOST = 'wallet.test'

let site: Site
let browser: OpenBrowser
let peer: Wallet
let server: string

beforeAll(async () => {
  site = await openSite()
  browser = await openBrowser([`--host-resolver-rules=MAP ${HOST} 127.0.0.1`])
})

afterAll(async () => {
  await browser.close()
  await site.close()
})

beforeEach(async () => {
  const started = await startPeer()
  peer = started.peer
  server = started.server
  return () => peer.call('disconnect')
})

describe('a page over plain http', () => {
  const url = (): string => site.urlOf('/wallet.html').replace('localhost', HOST)
  const options = (database: string): object => ({ server: server.replace('localhost', HOST), database })

  it('is a poor one', async () => {
    const page = await browser.context.newPage()
    await page.goto(url())
    const has = await page.evaluate(() => {
      const { navigator, crypto } = globalThis as unknown as { navigator: object; crypto: object }
      return { isSecure: isSecureContext, locks: 'locks' in navigator, storage: 'storage' in navigator, subtle: 'subtle' in crypto, randomUUID: 'randomUUID' in crypto }
    })
    expect(has).toEqual({ isSecure: false, locks: false, storage: false, subtle: false, randomUUID: false })
    await page.close()
  })

  it('pays and is paid, and finds its balance and its history again after a reload', async () => {
    const database = randomUUID()
    const tab = await openPlaywrightTab(browser.context, url())
    await tab.wallet.connect(options(database))
    await pay(makePayment('7'), tab.wallet, peer, 'server')
    await pay(makePayment('3'), peer, tab.wallet, 'client')
    const before = await tab.wallet.report()
    await tab.reload()
    await tab.wallet.connect(options(database))
    expect(await tab.wallet.report()).toEqual(before)
    expect(before).toMatchObject({ balance: '-4', peerBalance: '-4', inFlight: 0 })
    await tab.close()
  })

  it('pays from either of two tabs, and from the other one when the first is closed', async () => {
    const database = randomUUID()
    const first = await openPlaywrightTab(browser.context, url())
    await first.wallet.connect(options(database))
    const second = await openPlaywrightTab(browser.context, url())
    await second.wallet.connect(options(database))
    await pay(makePayment('1'), first.wallet, peer, 'server')
    await pay(makePayment('2'), second.wallet, peer, 'server')
    await first.close()
    await second.wallet.until('role holder')
    await second.wallet.until('connect')
    await pay(makePayment('4'), second.wallet, peer, 'server')
    expect(await second.wallet.report()).toMatchObject({ balance: '-7', peerBalance: '-7', inFlight: 0 })
    await second.close()
  })
})

describe('a page that may keep nothing', () => {
  let page: Page
  const complaints: string[] = []

  /** The wallet of the frame, once it is there. */
  async function framedWallet(): Promise<Wallet> {
    const frame = page.frames()[1]
    await frame!.waitForFunction(() => 'wallet' in globalThis)
    return walletIn(frame!)
  }

  beforeEach(async () => {
    page = await browser.context.newPage()
    complaints.length = 0
    page.on('pageerror', error => complaints.push(error.message))
    await page.goto(site.urlOf('/framed.html'))
    return () => page.close()
  })

  it('is told so by connect(), and what to do: and goes on over memory', async () => {
    const wallet = await framedWallet()
    for (let time = 0; time < 2; time++) {
      await expect(wallet.connect({ server, database: 'wallet' })).rejects.toMatchObject({
        name: 'StoreError',
        message: expect.stringMatching(/does not let this page keep data: allow it, or use MemoryStore, which forgets everything/) as string
      })
    }
    await wallet.connect({ server })
    await pay(makePayment('7'), wallet, peer, 'server')
    await pay(makePayment('3'), peer, wallet, 'client')
    expect(await wallet.report()).toMatchObject({ balance: '-4', peerBalance: '-4', inFlight: 0 })
    expect(complaints).toEqual([])
  })
})
