/**
 * ilp-connector 18, unmodified, in a process of its own with our plugin in its ledgers as one of LPI v1: transfers with ILP packets of that
 * age go through it from one ledger to another, and what is refused comes back.
 */
import { createRequire } from 'node:module'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { MemoryStore } from '../../src/node.js'
import type { LedgerPlugin } from '../../src/node.js'
import { SECRET, addressOf, afterTest, freePort, makeClient, makeServer, nextEvent, payment } from '../support/hosts.js'
import type { Payment } from '../support/hosts.js'
import { HostProcess } from './support/host-process.js'
import { installPackage } from './support/package.js'
import type { InstalledPackage } from './support/package.js'

const require = createRequire(import.meta.url)

/** The ILP packets of that age. */
const { serializeIlpPayment } = require('ilp-packet-1') as {
  serializeIlpPayment: (payment: { account: string; amount: string; data: string }) => Buffer
}

const TIMEOUT_MS = 60_000
const REFUSAL = { code: 'F99', name: 'Application Error', triggered_by: 'test.bobs.server', additional_info: { message: 'not wanted' } }

let installed: InstalledPackage
beforeAll(async () => { installed = await installPackage() }, TIMEOUT_MS)
afterAll(() => installed.remove())

const INFO = { currencyCode: 'XTS', currencyScale: 6 }

/** A ledger whose other side dials the connector, and one whose other side the connector dials. */
function ledgers(ofAlice: number, ofBob: number): object {
  const plugin = 'ilp-plugin-paychan'
  const listening = { listener: { port: ofAlice, host: '127.0.0.1' }, incomingSecret: SECRET, info: INFO, maxBalance: '1000000' }
  const dialling = { server: addressOf(ofBob), maxBalance: '1000000' }
  return { 'test.alices.': { currency: 'XTS', plugin, options: listening }, 'test.bobs.': { currency: 'XTS', plugin, options: dialling } }
}

/** The connector between two ledgers, and somebody with an account on each. */
async function connected(): Promise<{ alice: LedgerPlugin; bob: LedgerPlugin }> {
  const [ofAlice, ofBob] = [await freePort(), await freePort()]
  const connector = new HostProcess(require.resolve('ilp-connector-18'), {
    NODE_PATH: installed.NODE_PATH,
    CONNECTOR_LEDGERS: JSON.stringify(ledgers(ofAlice, ofBob)),
    CONNECTOR_BACKEND: 'one-to-one',
    CONNECTOR_FX_SPREAD: '0',
    CONNECTOR_SLIPPAGE: '0',
    // It has no routes to a ledger to which nobody had connected when it started, until it looks again.
    CONNECTOR_ROUTE_BROADCAST_INTERVAL: '250'
  })
  afterTest(() => connector.kill())
  const alice = makeClient(ofAlice, { store: new MemoryStore(), maxBalance: '1000', reconnectMaxMs: 200 })
  const bob = makeServer({ listener: { port: ofBob, host: '127.0.0.1' }, prefix: 'test.bobs.', info: INFO })
  const isUp = nextEvent(bob, 'connect')
  await bob.connect()
  connector.begin()
  await Promise.all([alice.connect({ timeout: 30_000 }), isUp])
  await untilRouted(alice, bob)
  return { alice, bob }
}

/** Pays nothing that anybody takes, until one arrives. */
async function untilRouted(alice: LedgerPlugin, bob: LedgerPlugin): Promise<void> {
  const prepared = nextEvent(bob, 'incoming_prepare')
  const arrived = prepared.then(([{ id }]) => bob.rejectIncomingTransfer(id, REFUSAL)).then(() => true)
  const deadline = Date.now() + 30_000
  for (let isThere = false; !isThere;) {
    if (Date.now() > deadline) throw new RangeError('no transfer arrives')
    const rejected = nextEvent(alice, 'outgoing_reject').then(([, reason]) => reason.code === REFUSAL.code)
    await alice.sendTransfer(paymentTo(bob.getAccount(), alice, '1').transfer)
    isThere = await rejected
  }
  await arrived
}

/** A transfer to the connector that is to end at an address. */
function paymentTo(account: string, from: LedgerPlugin, amount: string, expiresMs = 8000): Payment {
  const ilp = serializeIlpPayment({ account, amount, data: '' }).toString('base64url')
  return payment(from.getPeerAccount(), amount, { ilp, expiresAt: new Date(Date.now() + expiresMs).toISOString() })
}

it('C46, C52: ilp-connector 18 carries a transfer to its end and its fulfillment back, and what is refused or has no route', { timeout: TIMEOUT_MS }, async () => {
  const { alice, bob } = await connected()
  const { transfer, fulfillment } = paymentTo(`${bob.getAccount()}.app`, alice, '7')
  const prepared = nextEvent(bob, 'incoming_prepare')
  const fulfilled = nextEvent(alice, 'outgoing_fulfill')
  await alice.sendTransfer(transfer)
  const [{ id, amount, executionCondition, ilp }] = await prepared
  expect({ amount, executionCondition, ilp }).toEqual({ amount: '7', executionCondition: transfer.executionCondition, ilp: transfer.ilp })
  await bob.fulfillCondition(id, fulfillment)
  expect((await fulfilled)[1]).toBe(fulfillment)
  expect([await alice.getBalance(), await bob.getBalance()]).toEqual(['-7', '7'])

  const refused = paymentTo(bob.getAccount(), alice, '5').transfer
  const rejected = nextEvent(alice, 'outgoing_reject')
  bob.once('incoming_prepare', ({ id }) => {
    void bob.rejectIncomingTransfer(id, REFUSAL)
  })
  await alice.sendTransfer(refused)
  const [{ id: rejectedId }, reason] = await rejected
  expect([rejectedId, reason]).toMatchObject([refused.id, { code: 'F99', message: 'not wanted', triggered_by: 'test.bobs.server', forwarded_by: 'test.alices.server' }])

  const lost = paymentTo('test.nowhere.carol', alice, '5').transfer
  const unroutable = nextEvent(alice, 'outgoing_reject')
  await alice.sendTransfer(lost)
  expect((await unroutable)[1]).toMatchObject({ code: 'S02' })
  expect([await alice.getBalance(), await bob.getBalance(), alice.inFlight(), bob.inFlight()]).toEqual(['-7', '7', [], []])
})

it('C52: what the receiver of a transfer through ilp-connector 18 leaves alone expires on both ledgers', { timeout: TIMEOUT_MS }, async () => {
  const { alice, bob } = await connected()
  // The connector rejects it when its own has expired, a second before that.
  const over = Promise.race([nextEvent(alice, 'outgoing_reject'), nextEvent(alice, 'outgoing_cancel')])
  const cancelled = nextEvent(bob, 'incoming_cancel')
  const arrived = nextEvent(bob, 'incoming_prepare')
  const { transfer } = paymentTo(bob.getAccount(), alice, '5', 4000)
  await alice.sendTransfer(transfer)
  await arrived
  await cancelled
  const [{ id }, reason] = await over
  expect([id, reason]).toMatchObject([transfer.id, { code: 'R00' }])
  expect([await alice.getBalance(), await bob.getBalance(), alice.inFlight(), bob.inFlight()]).toEqual(['0', '0', [], []])
})
