/**
 * ilp-plugin-btp 1.5, unmodified, on the other side of a real socket: as a client of our listener, and as the server that we dial. It
 * speaks BTP 2.0 and nothing of ours.
 */
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import PaychanPlugin from '../../src/node.js'
import type { LedgerPlugin, PluginOptions } from '../../src/node.js'
import { codeOf, fulfillOf, ilpPayment, ilpReject } from '../support/ilp.js'
import { SECRET, afterTest, freePort, keep, nextEvent, payment } from '../support/hosts.js'

interface BtpPlugin {
  connect(): Promise<void>
  disconnect(): Promise<void>
  isConnected(): boolean
  sendData(data: Buffer): Promise<Buffer>
  sendMoney(amount: string): Promise<void>
  registerDataHandler(handler: (data: Buffer) => Promise<Buffer>): void
  deregisterDataHandler(): void
  registerMoneyHandler(handler: (amount: string) => Promise<void>): void
}
const BtpPlugin = createRequire(import.meta.url)('ilp-plugin-btp') as new (options: object) => BtpPlugin

type Role = 'dials' | 'listens'

/** The two, connected. `role` is what ilp-plugin-btp does. */
async function pairOf(role: Role, options: Partial<PluginOptions> = {}, services: object = {}): Promise<{ ours: LedgerPlugin; theirs: BtpPlugin }> {
  const port = await freePort()
  const ours = keep(new PaychanPlugin(role === 'dials'
    ? { listener: { port, host: '127.0.0.1' }, incomingSecret: SECRET, ...options }
    : { server: `btp+ws://:${SECRET}@127.0.0.1:${port}`, reconnectMinMs: 1, reconnectMaxMs: 50, ...options }, services))
  const theirs = new BtpPlugin(role === 'dials' ? { server: `btp+ws://:${SECRET}@127.0.0.1:${port}` } : { listener: { port, secret: SECRET } })
  afterTest(() => theirs.disconnect())
  if (role === 'dials') {
    await ours.connect()
    const isUp = nextEvent(ours, 'connect')
    await Promise.all([theirs.connect(), isUp])
  } else {
    await Promise.all([theirs.connect(), ours.connect()])
  }
  return { ours, theirs }
}

const soon = (): number => Date.now() + 10_000
const fulfils = async (packet: Buffer): Promise<Buffer> => fulfillOf(packet)

describe.each(['dials', 'listens'] as const)('ilp-plugin-btp 1.5 that %s', role => {
  it('C56: packets go both ways, and their Fulfills move our balance', async () => {
    const { ours, theirs } = await pairOf(role)
    ours.registerDataHandler(fulfils)
    theirs.registerDataHandler(fulfils)
    const [there, back] = [ilpPayment(`there ${role}`, soon(), '30'), ilpPayment(`back ${role}`, soon(), '12')]
    expect(await ours.sendData(there.prepare)).toEqual(there.fulfill)
    expect(await theirs.sendData(back.prepare)).toEqual(back.fulfill)
    expect([await ours.getBalance(), ours.inFlight()]).toEqual(['-18', []])
    expect([theirs.isConnected(), ours.isConnected()]).toEqual([true, true])
  })

  it('C56: Rejects are passed on both ways, and release what was held', async () => {
    const { ours, theirs } = await pairOf(role)
    const reject = ilpReject('F02', 'not here')
    for (const plugin of [ours, theirs]) plugin.registerDataHandler(async () => reject)
    expect(await ours.sendData(ilpPayment('a', soon()).prepare)).toEqual(reject)
    expect(await theirs.sendData(ilpPayment('b', soon()).prepare)).toEqual(reject)
    expect([await ours.getBalance(), ours.inFlight()]).toEqual(['0', []])
  })

  it('C56: limits answer T04 and F08, and our own throws T04', async () => {
    const { ours, theirs } = await pairOf(role, { maxBalance: '50', minBalance: '-20' })
    for (const plugin of [ours, theirs]) plugin.registerDataHandler(fulfils)
    await theirs.sendData(ilpPayment('c', soon(), '30').prepare)
    expect(codeOf(await theirs.sendData(ilpPayment('d', soon(), '30').prepare))).toBe('T04')
    expect(codeOf(await theirs.sendData(ilpPayment('e', soon(), '51').prepare))).toBe('F08')
    await expect(ours.sendData(ilpPayment('f', soon(), '51').prepare)).rejects.toMatchObject({ ilpErrorCode: 'T04' })
    expect(await ours.getBalance()).toBe('30')
  })

  it('C56: what nobody answers expires on both sides', async () => {
    const { ours, theirs } = await pairOf(role)
    for (const plugin of [ours, theirs]) plugin.registerDataHandler(() => new Promise(() => undefined))
    const expiry = Date.now() + 300
    const sent = expect(ours.sendData(ilpPayment('g', expiry).prepare)).rejects.toMatchObject({ ilpErrorCode: 'R00' })
    expect(codeOf(await theirs.sendData(ilpPayment('h', expiry).prepare))).toBe('R00')
    await sent
    expect([await ours.getBalance(), ours.inFlight()]).toEqual(['0', []])
  })

  it('C54: a side without a data handler answers with an Error', async () => {
    const { ours, theirs } = await pairOf(role)
    await expect(theirs.sendData(ilpPayment('i', soon()).prepare)).rejects.toThrow('NoSubscriptionsError')
    await expect(ours.sendData(ilpPayment('j', soon()).prepare)).rejects.toThrow('no request handler registered')
    expect([await ours.getBalance(), ours.inFlight()]).toEqual(['0', []])
  })

  it('C57: what is no Prepare passes both ways', async () => {
    const { ours, theirs } = await pairOf(role)
    for (const plugin of [ours, theirs]) plugin.registerDataHandler(async data => Buffer.from([...data].reverse()))
    expect(await ours.sendData(Buffer.from([1, 2, 3]))).toEqual(Buffer.from([3, 2, 1]))
    expect(await theirs.sendData(Buffer.from([4, 5]))).toEqual(Buffer.from([5, 4]))
    expect(await ours.history()).toEqual([])
  })

  it('a settlement that it does not take is refused, and is not counted', async () => {
    const { ours } = await pairOf(role)
    await expect(ours.sendMoney('10')).rejects.toThrow('No sendMoney functionality')
  })

  it('answers a question of old ledgers, as probes are one, by nothing or an Error; and is sent no transfer of LPI v1 once it has sent a packet', async () => {
    const { ours, theirs } = await pairOf(role)
    ours.registerDataHandler(fulfils)
    await expect(ours.getPeerBalance()).rejects.toThrow('no request handler registered')
    theirs.registerDataHandler(fulfils)
    await expect(ours.getPeerBalance()).rejects.toThrow('the peer does not tell its balance')
    expect([ours.isConnected(), theirs.isConnected()]).toEqual([true, true])
    await theirs.sendData(ilpPayment('k', soon()).prepare)
    const { transfer } = payment(ours.getPeerAccount())
    await expect(ours.sendTransfer(transfer)).rejects.toThrow(/speaks BTP 2.0 only/)
    expect(ours.inFlight()).toEqual([])
  })

  it('option btp: a transfer of the other generation fails at once, and nothing is stored', async () => {
    const { ours } = await pairOf(role, { btp: '2.0' })
    const { transfer } = payment(ours.getPeerAccount(), '10', { id: randomUUID() })
    await expect(ours.sendTransfer(transfer)).rejects.toThrow(/speaks BTP 2.0 only/)
    const other = await pairOf(role, { btp: '1.0' })
    await expect(other.ours.sendData(ilpPayment('l', soon()).prepare)).rejects.toThrow(/speaks BTP 1.0 only/)
    expect([await ours.history(), await other.ours.history()]).toEqual([[], []])
  })
})
