/**
 * A wallet page that goes away in the middle of payments, in whatever way, carries on with each of them when it is opened again.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { audit } from '../test/crash/audit.js'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { makePayment } from './support/library.js'
import { openSite } from './support/site.js'
import type { Site } from './support/site.js'
import { openPlaywrightTab } from './support/tabs.js'
import type { Tab } from './support/tabs.js'
import { pay, serverAt, startPeer, transferOf } from './support/wallet.js'
import type { Wallet } from './support/wallet.js'

/** What is too late soon, and is when the page comes back. */
const SOON_MS = 3000

let site: Site
let browser: OpenBrowser
let tab: Tab
let peer: Wallet
let options: { server: string; database: string; accounts: string[] }

/** Ways to go. What comes back is a page whose wallet has yet to connect. */
const WAYS: Readonly<Record<string, () => Promise<void>>> = {
  'is reloaded': () => tab.reload(),
  async 'is closed'() {
    await tab.close()
    tab = await openTab()
  },
  async 'is killed with its browser'() {
    browser = await browser.crash()
    tab = await openTab()
  }
}

const openTab = (): Promise<Tab> => openPlaywrightTab(browser.context, site.urlOf('/wallet.html'))

beforeAll(async () => {
  site = await openSite()
  browser = await openBrowser()
})

afterAll(async () => {
  await browser.close()
  await site.close()
})

beforeEach(async () => {
  const started = await startPeer({ accounts: ['server', 'client'] })
  peer = started.peer
  options = { server: started.server, database: randomUUID(), accounts: ['client', 'server'] }
  tab = await openTab()
  await tab.wallet.connect(options)
  return async () => {
    await tab.close()
    await peer.call('disconnect')
  }
})

/** Sends a transfer that its receiver holds then. */
async function prepare(amount: string, direction: 'outgoing' | 'incoming', livesForMs?: number) {
  const payment = makePayment(amount)
  if (direction === 'outgoing') await tab.wallet.call('sendTransfer', transferOf(payment, 'server', livesForMs))
  else await peer.call('sendTransfer', transferOf(payment, 'client', livesForMs))
  await (direction === 'outgoing' ? peer : tab.wallet).until(`incoming_prepare ${payment.id}`)
  return payment
}

/** Both sides agree on everything, and can go on. */
async function expectAgreement(balance: string): Promise<void> {
  await pay(makePayment('1'), tab.wallet, peer, 'server')
  await pay(makePayment('1'), peer, tab.wallet, 'client')
  const claims = async () => {
    const [own, theirs] = [await tab.wallet.report(), await peer.report()]
    return [own.claimed, theirs.claimed]
  }
  const report = await tab.wallet.report()
  const sum = (isIncoming: boolean) => String(report.transfers
    .filter(transfer => transfer.isIncoming === isIncoming && transfer.state === 'fulfilled')
    .reduce((total, { amount }) => total + Number(amount), 0))
  await expect.poll(claims, { timeout: 20_000 }).toEqual([sum(true), sum(false)])
  expect(report.balance).toBe(balance)
  expect(audit(report, await peer.report(), new Map())).toEqual([])
}

describe.each(Object.keys(WAYS))('a wallet page that %s in the middle of payments', way => {
  const go = (): Promise<void> => WAYS[way]!()

  it('I1, I3, I4, I8, H5: carries on with what was offered, held, fulfilled and claimed, and with what has run out', async () => {
    // Claims of both sides are under way: one that is being made here, and one that is not answered here.
    await pay(makePayment('1000'), tab.wallet, peer, 'server')
    await tab.wallet.hold('outgoing claim')
    await tab.wallet.hold('incoming claim')
    await pay(makePayment('2000'), tab.wallet, peer, 'server')
    await pay(makePayment('500'), peer, tab.wallet, 'client')
    await tab.wallet.until('held at outgoing claim')
    await tab.wallet.until('held at incoming claim')

    const outgoing = await prepare('1', 'outgoing')
    const taken = await prepare('2', 'outgoing')
    const incoming = await prepare('4', 'incoming')
    const late = await prepare('8', 'incoming', 30_000)
    const outgoingLapsed = await prepare('16', 'outgoing', SOON_MS)
    const incomingLapsed = await prepare('32', 'incoming', SOON_MS)
    // The peer does not answer this one before the page has gone.
    const offered = makePayment('64')
    await peer.hold('prepare')
    await tab.wallet.begin('sendTransfer', transferOf(offered, 'server'))
    await peer.until('held at prepare')
    // The page gets this preimage, and cannot store it any more.
    await tab.wallet.hold('commit')
    await peer.begin('fulfillCondition', taken.id, taken.fulfillment)
    await tab.wallet.until('held at commit')

    await go()
    await peer.release('prepare')
    await peer.begin('fulfillCondition', outgoing.id, outgoing.fulfillment)
    await peer.until(`incoming_cancel ${outgoingLapsed.id}`)
    await peer.until(`outgoing_cancel ${incomingLapsed.id}`)
    // With this margin it is too late for one that has half a minute left.
    await tab.wallet.connect({ ...options, expiryMarginMs: 60_000 })

    await tab.wallet.until(`outgoing_fulfill ${outgoing.id}`)
    await tab.wallet.until(`outgoing_fulfill ${taken.id}`)
    await tab.wallet.until(`outgoing_cancel ${outgoingLapsed.id}`)
    await tab.wallet.until(`incoming_cancel ${incomingLapsed.id}`)
    await tab.wallet.call('fulfillCondition', incoming.id, incoming.fulfillment)
    await expect(tab.wallet.call('fulfillCondition', late.id, late.fulfillment)).rejects.toMatchObject({ name: 'AlreadyRolledBackError' })
    await tab.wallet.call('rejectIncomingTransfer', late.id)
    await peer.until(`incoming_prepare ${offered.id}`)
    await peer.call('fulfillCondition', offered.id, offered.fulfillment)
    await expectAgreement(String(-1000 - 2000 + 500 - 1 - 2 + 4 - 64))
  })

  it('I1, I3, I4, I8, H5: delivers the preimage that it had stored, and counts nothing where it comes too late', async () => {
    const inTime = await prepare('4', 'incoming')
    const tooLate = await prepare('8', 'incoming', SOON_MS)
    const disconnected = tab.wallet.until('disconnect')
    await peer.call('disconnect')
    await disconnected
    await tab.wallet.begin('fulfillCondition', inTime.id, inTime.fulfillment)
    await tab.wallet.begin('fulfillCondition', tooLate.id, tooLate.fulfillment)

    await go()
    const server = serverAt(await peer.reconnect())
    await peer.until(`outgoing_cancel ${tooLate.id}`)
    await tab.wallet.connect({ ...options, server })
    await peer.until(`outgoing_fulfill ${inTime.id}`)
    await tab.wallet.until(`incoming_fulfill ${inTime.id}`)
    await tab.wallet.until(`dispute ${tooLate.id}`)
    await expectAgreement('4')
  })
})
