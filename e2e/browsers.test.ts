/**
 * The wallet in each browser that users have, in pages and in workers: it connects, pays and is paid, keeps its books over a reload, and takes
 * turns with another tab.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { howToGet, needsBrowser } from '../scripts/setup.mjs'
import type { BrowserName } from '../scripts/setup.mjs'
import { makePayment } from './support/library.js'
import { openSite } from './support/site.js'
import type { Site } from './support/site.js'
import { openTabs } from './support/tabs.js'
import type { Tab, TabBrowser } from './support/tabs.js'
import { pay, startPeer } from './support/wallet.js'
import type { Wallet } from './support/wallet.js'

const BROWSERS: Array<[string, BrowserName, { isPrivate: boolean }]> = [
  ['Chromium', 'chromium', { isPrivate: false }],
  ['Firefox', 'firefox', { isPrivate: false }],
  ['a private window of Firefox', 'firefox', { isPrivate: true }],
  ['WebKitGTK', 'webkit', { isPrivate: false }]
]

describe.each(BROWSERS)('a wallet in %s', (_where, name, how) => {
  // Where somebody may install nothing, the title of what is left out says how to get it.
  const isNeeded = needsBrowser(name)
  const title = (text: string): string => isNeeded ? text : `${text} (left out: ${howToGet(name).replace(/\s+/g, ' ')})`

  let site: Site
  let browser: TabBrowser
  let peer: Wallet
  const tabs = new Set<Tab>()
  /** What it connects with, each time. */
  let options: { server: string; database: string }

  beforeAll(async () => {
    if (!isNeeded) return
    site = await openSite()
    browser = await openTabs(name, how)
  })

  afterAll(async () => {
    if (!isNeeded) return
    await browser.close()
    await site.close()
  })

  beforeEach(async () => {
    if (!isNeeded) return
    const { server, ...started } = await startPeer()
    peer = started.peer
    options = { server, database: randomUUID() }
    return async () => {
      for (const tab of tabs) await close(tab)
      await peer.call('disconnect')
    }
  })

  async function openTab(query = ''): Promise<Tab> {
    const tab = await browser.openTab(site.urlOf(`/wallet.html${query}`))
    tabs.add(tab)
    return tab
  }

  async function close(tab: Tab): Promise<void> {
    tabs.delete(tab)
    await tab.close()
  }

  it.skipIf(!isNeeded).each([
    ['a page', '?in=page&code=esm'],
    ['a page, by a script tag', '?in=page&code=umd'],
    ['a worker that is a module', '?in=dedicated&code=esm'],
    ['a worker that is none', '?in=dedicated&code=umd'],
    ['a shared worker that is a module', '?in=shared&code=esm'],
    ['a shared worker that is none', '?in=shared&code=umd']
  ])(title('H34: pays and is paid, and finds its balance and its history again after a reload, in %s'), async (_place, query) => {
    const tab = await openTab(query)
    await tab.wallet.connect(options)
    await pay(makePayment('7'), tab.wallet, peer, 'server')
    await pay(makePayment('3'), peer, tab.wallet, 'client')
    const before = await tab.wallet.report()
    expect(before).toMatchObject({ balance: '-4', peerBalance: '-4', inFlight: 0 })

    await tab.reload()
    await tab.wallet.connect(options)
    expect(await tab.wallet.report()).toEqual(before)
    await pay(makePayment('10'), peer, tab.wallet, 'client')
    expect(await tab.wallet.report()).toMatchObject({ balance: '6', peerBalance: '6', inFlight: 0 })
    expect(await peer.report()).toMatchObject({ balance: '-6', peerBalance: '-6', inFlight: 0 })
  })

  it.skipIf(!isNeeded)(title('pays from either of two tabs, and from the other one when the first is closed'), async () => {
    const first = await openTab()
    await first.wallet.connect(options)
    const second = await openTab()
    await second.wallet.connect(options)
    expect([await first.wallet.role(), await second.wallet.role()]).toEqual(['holder', 'standby'])
    await pay(makePayment('1'), first.wallet, peer, 'server')
    await pay(makePayment('2'), second.wallet, peer, 'server')
    expect([await first.wallet.call('getBalance'), await second.wallet.call('getBalance')]).toEqual(['-3', '-3'])

    await close(first)
    await second.wallet.until('role holder')
    await second.wallet.until('connect')
    await pay(makePayment('4'), second.wallet, peer, 'server')
    expect(await second.wallet.report()).toMatchObject({ balance: '-7', peerBalance: '-7', inFlight: 0 })
    expect(await peer.report()).toMatchObject({ balance: '7', peerBalance: '7', inFlight: 0 })
  })
})
