/**
 * The wallet in each browser that users have: it connects, pays and is paid, keeps its books over a reload, and takes turns with another tab.
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

const BROWSERS: BrowserName[] = ['chromium', 'firefox', 'webkit']

describe.each(BROWSERS)('a wallet in %s', name => {
  // Where somebody may install nothing, the title of what is left out says how to get it.
  const isNeeded = needsBrowser(name)
  const title = (text: string): string => isNeeded ? text : `${text} (left out: ${howToGet(name)})`

  let site: Site
  let browser: TabBrowser
  let peer: Wallet
  let tab: Tab
  /** What it connects with, each time. */
  let options: { server: string; database: string }

  beforeAll(async () => {
    if (!isNeeded) return
    site = await openSite()
    browser = await openTabs(name)
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
    tab = await browser.openTab(site.urlOf('/wallet.html'))
    return async () => {
      await tab.close()
      await peer.call('disconnect')
    }
  })

  it.skipIf(!isNeeded)(title('pays and is paid, and finds its balance and its history again after a reload'), async () => {
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
})
