/**
 * ilp-connector 23, unmodified, with our plugin in its accounts: it loads the class by `require()`, hands in its store and its log, and
 * carries packets from one account to another.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import PaychanPlugin from '../../src/node.js'
import type { LedgerPlugin } from '../../src/node.js'
import { codeOf, fulfillOf, ilpReject } from '../support/ilp.js'
import { SECRET, afterTest, freePort, keep } from '../support/hosts.js'
import * as IlpPacket from 'ilp-packet'
import { createHash } from 'node:crypto'

const require = createRequire(import.meta.url)

interface Client {
  connect(): Promise<void>
  disconnect(): Promise<void>
  sendData(data: Buffer): Promise<Buffer>
  registerDataHandler(handler: (data: Buffer) => Promise<Buffer>): void
}
interface Connector {
  listen(): Promise<void>
  shutdown(): Promise<void>
}
const { createApp } = require('ilp-connector') as { createApp: (config: object) => Connector }
const BtpPlugin = require('ilp-plugin-btp') as new (options: object) => Client

type Kind = 'ours' | 'ilp-plugin-btp'

/** A module that the connector can load by its name, which is the class: as the built package is. */
function moduleOfClass(): string {
  const folder = mkdtempSync(join(tmpdir(), 'paychan-connector-'))
  const name = join(folder, 'plugin.cjs')
  writeFileSync(name, 'module.exports = globalThis[Symbol.for("paychan.class")]')
  Reflect.set(globalThis, Symbol.for('paychan.class'), PaychanPlugin)
  afterTest(() => { rmSync(folder, { recursive: true }) })
  return name
}

function account(kind: Kind, port: number, ourModule: string): object {
  return {
    relation: 'child',
    assetCode: 'XTS',
    assetScale: 6,
    plugin: kind === 'ours' ? ourModule : 'ilp-plugin-btp',
    options: kind === 'ours'
      ? { listener: { port, host: '127.0.0.1' }, incomingSecret: SECRET, maxBalance: '1000' }
      : { listener: { port, secret: SECRET } },
    balance: { maximum: '1000000' }
  }
}

function client(kind: Kind, port: number): Client {
  const server = `btp+ws://:${SECRET}@127.0.0.1:${port}`
  if (kind === 'ours') return keep(new PaychanPlugin({ server }, {}))
  const plugin = new BtpPlugin({ server })
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
  return IlpPacket.serializeIlpPrepare({ amount, executionCondition, expiresAt: new Date(Date.now() + 20_000), destination, data })
}

/** A connector with two children behind it, and a way for a packet through. */
async function connected(alice: Kind, bob: Kind): Promise<{ alice: Client; bob: Client }> {
  const ourModule = moduleOfClass()
  const ports = [await freePort(), await freePort()] as const
  const connector = createApp({
    env: 'test',
    ilpAddress: 'test.connector',
    backend: 'one-to-one',
    spread: 0,
    store: 'memory',
    accounts: { alice: account(alice, ports[0], ourModule), bob: account(bob, ports[1], ourModule) }
  })
  afterTest(() => connector.shutdown())
  const listening = connector.listen()
  const clients = { alice: client(alice, ports[0]), bob: client(bob, ports[1]) }
  await Promise.all([clients.alice.connect(), clients.bob.connect()])
  await listening
  return clients
}

describe.each([['ours', 'ilp-plugin-btp'], ['ilp-plugin-btp', 'ours'], ['ours', 'ours']] as Array<[Kind, Kind]>)('ilp-connector 23 between %s and %s', (from, to) => {
  it('C54, C56: carries a packet to its end and back, and what is refused too', async () => {
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
  it('C56: answers what its account does not take with our codes: T04 over the limit, F08 over the maximum', async () => {
    const { alice, bob } = await connected('ours', 'ours')
    bob.registerDataHandler(async packet => fulfillOf(packet))
    await alice.sendData(prepareTo('test.connector.bob', '600'))
    expect(codeOf(await alice.sendData(prepareTo('test.connector.bob', '600')))).toBe('T04')
    expect(codeOf(await alice.sendData(prepareTo('test.connector.bob', '1001')))).toBe('F08')
  })

  it('C57: answers a configuration request, which moves nothing', async () => {
    const { alice } = await connected('ours', 'ours')
    const executionCondition = createHash('sha256').update(Buffer.alloc(32)).digest()
    const request = IlpPacket.serializeIlpPrepare({
      amount: '0', executionCondition, expiresAt: new Date(Date.now() + 10_000), destination: 'peer.config', data: Buffer.alloc(0)
    })
    const answer = await alice.sendData(request)
    expect(codeOf(answer)).toBe('fulfill')
    expect(answer.toString('latin1')).toContain('test.connector.alice')
    expect(await ledgerOf(alice).history()).toEqual([])
  })

  it("C56: its code for what comes back is the peer's", async () => {
    const { alice, bob } = await connected('ours', 'ours')
    bob.registerDataHandler(async () => ilpReject('F06', 'unexpected'))
    expect(codeOf(await alice.sendData(prepareTo('test.connector.bob')))).toBe('F06')
  })
})
