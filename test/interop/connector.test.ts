/**
 * ilp-connector 23, unmodified, in a process of its own with our plugin in its accounts: it loads the class by `require()`, hands in its
 * store and its log, and carries packets from one account to another.
 */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import * as IlpPacket from 'ilp-packet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import PaychanPlugin from '../../src/node.js'
import type { LedgerPlugin } from '../../src/node.js'
import { codeOf, fulfillOf, ilpReject } from '../support/ilp.js'
import { SECRET, afterTest, freePort, keep } from '../support/hosts.js'
import { Connector, listeningAccount } from './support/connector.js'
import { installPackage } from './support/package.js'
import type { InstalledPackage } from './support/package.js'

interface Client {
  connect(): Promise<void>
  disconnect(): Promise<void>
  sendData(data: Buffer): Promise<Buffer>
  registerDataHandler(handler: (data: Buffer) => Promise<Buffer>): void
}
const BtpPlugin = createRequire(import.meta.url)('ilp-plugin-btp') as new (options: object) => Client

type Kind = 'ours' | 'ilp-plugin-btp'

const TIMEOUT_MS = 60_000

let installed: InstalledPackage
beforeAll(async () => { installed = await installPackage() }, TIMEOUT_MS)
afterAll(() => installed.remove())

function account(kind: Kind, port: number): ReturnType<typeof listeningAccount> {
  // Its own limit on packets would come before ours.
  if (kind === 'ours') return listeningAccount(port, { maxPacketAmount: undefined, options: { maxBalance: '1000' } })
  return { ...listeningAccount(port), plugin: kind, options: { listener: { port, secret: SECRET } } }
}

function client(kind: Kind, port: number): Client {
  const server = `btp+ws://:${SECRET}@127.0.0.1:${port}`
  if (kind === 'ours') return keep(new PaychanPlugin({ server, reconnectMaxMs: 200 }, {}))
  const plugin = new BtpPlugin({ server, reconnectInterval: 100 })
  afterTest(() => plugin.disconnect())
  return plugin
}

/** What ours keeps, which the other has not. */
function ledgerOf(plugin: Client): LedgerPlugin {
  if (plugin instanceof PaychanPlugin) return plugin
  throw new TypeError('this one keeps no ledger')
}

let made = 0
function prepareTo(destination: string, amount = '10'): Buffer {
  const data = Buffer.from(`connector ${++made}`)
  const executionCondition = createHash('sha256').update(createHash('sha256').update(data).digest()).digest()
  return IlpPacket.serializeIlpPrepare({ amount, executionCondition, expiresAt: new Date(Date.now() + 25_000), destination, data })
}

/** A connector with two children behind it, and a way for a packet through. */
async function connected(alice: Kind, bob: Kind): Promise<{ alice: Client; bob: Client }> {
  const ports = [await freePort(), await freePort()] as const
  const connector = await Connector.start({
    ilpAddress: 'test.connector',
    accounts: { alice: account(alice, ports[0]), bob: account(bob, ports[1]) },
    NODE_PATH: installed.NODE_PATH
  })
  afterTest(() => connector.stop())
  const clients = { alice: client(alice, ports[0]), bob: client(bob, ports[1]) }
  await Promise.all([clients.alice.connect(), clients.bob.connect()])
  await connector.until({ connected: ['alice', 'bob'], routes: ['test.connector.alice', 'test.connector.bob'] })
  return clients
}

describe.each([['ours', 'ilp-plugin-btp'], ['ilp-plugin-btp', 'ours'], ['ours', 'ours']] as Array<[Kind, Kind]>)('ilp-connector 23 between %s and %s', (from, to) => {
  it('C54, C56: carries a packet to its end and back, and what is refused too', { timeout: TIMEOUT_MS }, async () => {
    const { alice, bob } = await connected(from, to)
    bob.registerDataHandler(async packet => (packet[0] === 12 ? fulfillOf(packet) : Buffer.alloc(0)))
    const prepare = prepareTo('test.connector.bob.app')
    expect(await alice.sendData(prepare)).toEqual(fulfillOf(prepare))
    expect(codeOf(await alice.sendData(prepareTo('test.nowhere')))).toBe('F02')
    if (from === 'ours') expect([await ledgerOf(alice).getBalance(), ledgerOf(alice).inFlight()]).toEqual(['-10', []])
    if (to === 'ours') expect([await ledgerOf(bob).getBalance(), ledgerOf(bob).inFlight()]).toEqual(['10', []])
  })
})

describe('ilp-connector 23 with our plugin', () => {
  it('C56: answers what its account does not take with our codes: T04 over the limit, F08 over the maximum', { timeout: TIMEOUT_MS }, async () => {
    const { alice, bob } = await connected('ours', 'ours')
    bob.registerDataHandler(async packet => fulfillOf(packet))
    await alice.sendData(prepareTo('test.connector.bob', '600'))
    expect(codeOf(await alice.sendData(prepareTo('test.connector.bob', '600')))).toBe('T04')
    expect(codeOf(await alice.sendData(prepareTo('test.connector.bob', '1001')))).toBe('F08')
    expect([await ledgerOf(alice).getBalance(), await ledgerOf(alice).getPeerBalance()]).toEqual(['-600', '-600'])
  })

  it("C56, C57: answers a configuration request, which moves nothing; its code for what comes back is the peer's", { timeout: TIMEOUT_MS }, async () => {
    const { alice, bob } = await connected('ours', 'ours')
    const executionCondition = createHash('sha256').update(Buffer.alloc(32)).digest()
    const request = IlpPacket.serializeIlpPrepare({
      amount: '0', executionCondition, expiresAt: new Date(Date.now() + 25_000), destination: 'peer.config', data: Buffer.alloc(0)
    })
    const answer = await alice.sendData(request)
    expect(codeOf(answer)).toBe('fulfill')
    expect(answer.toString('latin1')).toContain('test.connector.alice')
    expect(await ledgerOf(alice).history()).toEqual([])
    bob.registerDataHandler(async () => ilpReject('F06', 'unexpected'))
    expect(codeOf(await alice.sendData(prepareTo('test.connector.bob')))).toBe('F06')
  })
})
