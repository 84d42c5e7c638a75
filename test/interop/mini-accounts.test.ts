/**
 * ilp-plugin-mini-accounts 4, unmodified, which serves many clients on one port and gives each an address: ours as its client, with its own
 * ledger of what went to and fro, where the other keeps none.
 */
import { createRequire } from 'node:module'
import { expect, it } from 'vitest'
import PaychanPlugin, { MemoryStore } from '../../src/node.js'
import type { LedgerPlugin } from '../../src/node.js'
import { codeOf, fulfillOf, ilpPaymentTo, ilpReject } from '../support/ilp.js'
import { afterTest, freePort, keep } from '../support/hosts.js'

const require = createRequire(import.meta.url)

interface MiniAccounts {
  connect(): Promise<void>
  disconnect(): Promise<void>
  sendData(data: Buffer): Promise<Buffer>
  registerDataHandler(handler: (data: Buffer) => Promise<Buffer>): void
}
const MiniAccounts = require('ilp-plugin-mini-accounts') as new (options: object) => MiniAccounts
const { fetch: configure } = require('ilp-protocol-ildcp') as { fetch: (send: (data: Buffer) => Promise<Buffer>) => Promise<{ clientAddress: string }> }

const soon = (): number => Date.now() + 15_000

async function served(): Promise<{ server: MiniAccounts; client: (token: string) => Promise<LedgerPlugin> }> {
  const port = await freePort()
  const server = new MiniAccounts({ wsOpts: { host: '127.0.0.1', port }, debugHostIldcpInfo: { clientAddress: 'test.host', assetCode: 'XTS', assetScale: 6 } })
  server.registerDataHandler(async packet => fulfillOf(packet))
  await server.connect()
  afterTest(() => server.disconnect())
  const client = async (token: string): Promise<LedgerPlugin> => {
    const plugin = keep(new PaychanPlugin({ server: `btp+ws://:${token}@127.0.0.1:${port}`, store: new MemoryStore(), maxBalance: '100' }, {}))
    await plugin.connect()
    return plugin
  }
  return { server, client }
}

it('C54, C56, C57: ours is a client of ilp-plugin-mini-accounts 4: it gets its address, pays, is paid, and passes on what is refused', async () => {
  const { server, client } = await served()
  const [alice, bob] = [await client('alice'), await client('bob')]
  const [{ clientAddress: aliceAddress }, { clientAddress: bobAddress }] = await Promise.all([alice, bob].map(plugin => configure(plugin.sendData.bind(plugin)))) as [
    { clientAddress: string }, { clientAddress: string }
  ]
  expect(aliceAddress).toMatch(/^test\.host\.[\w-]+$/)
  expect(bobAddress).not.toBe(aliceAddress)

  const there = ilpPaymentTo('test.elsewhere', soon(), '30')
  expect(await alice.sendData(there.prepare)).toEqual(there.fulfill)
  alice.registerDataHandler(async packet => fulfillOf(packet))
  bob.registerDataHandler(async () => ilpReject('F02', 'not here'))
  const back = ilpPaymentTo(`${aliceAddress}.app`, soon(), '12')
  expect(await server.sendData(back.prepare)).toEqual(back.fulfill)
  expect(codeOf(await server.sendData(ilpPaymentTo(bobAddress, soon(), '101').prepare))).toBe('F08')
  expect(codeOf(await server.sendData(ilpPaymentTo(bobAddress, soon()).prepare))).toBe('F02')
  expect([await alice.getBalance(), alice.inFlight(), await bob.getBalance(), bob.inFlight()]).toEqual(['-18', [], '0', []])
})

it('C56: many packets at once, in both directions, are all booked', async () => {
  const { server, client } = await served()
  const alice = await client('alice')
  const { clientAddress } = await configure(alice.sendData.bind(alice))
  alice.registerDataHandler(async packet => fulfillOf(packet))
  const packets = Array.from({ length: 100 }, (_, i) => ilpPaymentTo(i % 2 === 0 ? 'test.elsewhere' : clientAddress, soon(), String(1 + i % 2)))
  const answers = await Promise.all(packets.map(({ prepare }, i) => (i % 2 === 0 ? alice : server).sendData(prepare)))
  expect(answers).toEqual(packets.map(({ fulfill }) => fulfill))
  expect([await alice.getBalance(), alice.inFlight()]).toEqual(['50', []])
})
