import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { LmdbStore, MemoryStore } from '../../src/node.js'
import type { LedgerPlugin, PluginOptions } from '../../src/node.js'
import { Cable, PREFIX, SECRET, addressOf, afterTest, freePort, makeClient, makeServer, nextEvent, pay, payment, recordEvents } from '../support/hosts.js'

interface Pair {
  left: LedgerPlugin
  right: LedgerPlugin
  /** From left to right, and from right to left. */
  cables: [Cable, Cable]
}

/** Two peers that each listen and dial; nobody is connected yet. */
async function symmetricPair(): Promise<Pair> {
  const { options, cables } = await symmetricOptions()
  const [left, right] = options
  return { left: makeServer({ ...left, store: new MemoryStore() }), right: makeServer({ ...right, store: new MemoryStore() }), cables }
}

/** The options of both, but for their stores. */
async function symmetricOptions(): Promise<{ options: [Partial<PluginOptions>, Partial<PluginOptions>]; cables: Pair['cables'] }> {
  const ports = [await freePort(), await freePort()] as const
  const cables: [Cable, Cable] = [await Cable.lay(() => ports[1]), await Cable.lay(() => ports[0])]
  const of = (port: number, cable: Cable): Partial<PluginOptions> => ({
    listener: { port, host: '127.0.0.1' }, server: addressOf(cable.port), minBalance: '-1000000', reconnectMinMs: 1, reconnectMaxMs: 20
  })
  return { options: [of(ports[0], cables[0]), of(ports[1], cables[1])], cables }
}

const isUp = ({ left, right }: Pair): boolean => left.isConnected() && right.isConnected()

/** Waits until there is one connection and both sides use it. */
async function settled(pair: Pair): Promise<void> {
  const [there, back] = pair.cables
  await expect.poll(() => [isUp(pair), there.connections + back.connections], { timeout: 5000 }).toEqual([true, 1])
}

/** Which of them is the client; fails where they do not agree. */
function clientOf({ left, right }: Pair): 'left' | 'right' {
  const roles = [left.getAccount(), left.getPeerAccount(), right.getPeerAccount(), right.getAccount()]
  const leftIsClient = left.getAccount() === `${PREFIX}client`
  const [client, server] = [`${PREFIX}client`, `${PREFIX}server`]
  expect(roles).toEqual(leftIsClient ? [client, server, client, server] : [server, client, server, client])
  return leftIsClient ? 'left' : 'right'
}

describe('two peers that both listen and dial', () => {
  it.each<['left' | 'right' | 'both']>([['left'], ['right'], ['both']])('keep one connection and agree who is the client, when %s connects first', async first => {
    const pair = await symmetricPair()
    const { left, right } = pair
    if (first === 'both') {
      await Promise.all([left.connect(), right.connect()])
    } else {
      const [earlier, later] = first === 'left' ? [left, right] : [right, left]
      await earlier.connect()
      expect(earlier.isConnected()).toBe(false)
      await later.connect()
    }
    await settled(pair)
    clientOf(pair)
    await pay(left, right, '7')
    await pay(right, left, '3')
    expect([await left.getBalance(), await right.getBalance(), await left.getPeerBalance()]).toEqual(['-4', '4', '-4'])
  })

  it('the connection re-forms when it is cut, whichever cable it was on, and the roles stay', async () => {
    const pair = await symmetricPair()
    const { left, right, cables } = pair
    await Promise.all([left.connect(), right.connect()])
    await settled(pair)
    const client = clientOf(pair)
    for (let round = 1; round <= 3; round++) {
      const lost = [nextEvent(left, 'disconnect'), nextEvent(right, 'disconnect')]
      for (const cable of cables) cable.cut()
      await Promise.all(lost)
      await settled(pair)
      expect(clientOf(pair)).toBe(client)
      await pay(left, right, '5')
      await pay(right, left, '4')
      expect([await left.getBalance(), await right.getBalance()]).toEqual([String(-round), String(round)])
    }
  })

  it('goes over the one cable that is whole, in either direction', async () => {
    for (const broken of [0, 1] as const) {
      const pair = await symmetricPair()
      pair.cables[broken].isWhole = false
      await Promise.all([pair.left.connect(), pair.right.connect()])
      await settled(pair)
      clientOf(pair)
      await pay(pair.left, pair.right, '1')
    }
  })

  it('a payment that is under way when the connection is cut is completed on the next one', async () => {
    const pair = await symmetricPair()
    const { left, right, cables } = pair
    await Promise.all([left.connect(), right.connect()])
    await settled(pair)
    const { transfer, fulfillment } = payment(left.getPeerAccount(), '9')
    const isPrepared = nextEvent(right, 'incoming_prepare')
    const isFulfilled = nextEvent(left, 'outgoing_fulfill')
    await left.sendTransfer(transfer)
    await isPrepared
    const lost = nextEvent(right, 'disconnect')
    for (const cable of cables) cable.cut()
    await lost
    await right.fulfillCondition(transfer.id, fulfillment)
    await isFulfilled
    expect([await left.getBalance(), await right.getBalance()]).toEqual(['-9', '9'])
  })

  it('one that restarts comes back under the same role', async () => {
    const pair = await symmetricPair()
    const { left, right } = pair
    await Promise.all([left.connect(), right.connect()])
    await settled(pair)
    const client = clientOf(pair)
    const events = recordEvents(left, 'connect', 'disconnect')
    await right.disconnect()
    await expect.poll(() => left.isConnected()).toBe(false)
    await right.connect()
    await settled(pair)
    expect(clientOf(pair)).toBe(client)
    expect(events.slice(0, 2)).toEqual(['disconnect', 'connect'])
    await pay(right, left, '2')
  })

  it('H44: each says that it is the server as long as the other was never there', async () => {
    const { left } = await symmetricPair()
    await left.connect()
    expect([left.getAccount(), left.isConnected()]).toEqual([`${PREFIX}server`, false])
  })

  it('agree who is the client when on each side a second process took over before the two had ever met', async () => {
    const { options, cables } = await symmetricOptions()
    for (const cable of cables) cable.isWhole = false
    const takenOver = async (mine: Partial<PluginOptions>): Promise<LedgerPlugin> => {
      const path = mkdtempSync(join(tmpdir(), 'paychan-symmetric-'))
      afterTest(() => { rmSync(path, { recursive: true, force: true }) })
      const [first, second] = [1, 2].map(() => makeServer({ ...mine, store: new LmdbStore({ path }) })) as [LedgerPlugin, LedgerPlugin]
      await first.connect()
      await second.connect()
      expect([second.role, second.getAccount()]).toEqual(['standby', `${PREFIX}server`])
      const holds = nextEvent(second, 'role')
      await first.disconnect()
      await holds
      return second
    }
    const pair: Pair = { left: await takenOver(options[0]), right: await takenOver(options[1]), cables }
    for (const cable of cables) cable.isWhole = true
    await settled(pair)
    clientOf(pair)
    await pay(pair.left, pair.right, '2')
  })

  it('one that dials itself by mistake gets no connection', async () => {
    const port = await freePort()
    const self = makeServer({ listener: { port, host: '127.0.0.1' }, server: addressOf(port), reconnectMinMs: 1, reconnectMaxMs: 5, incomingSecret: SECRET })
    const cable = await Cable.lay(() => port)
    afterTest(() => { cable.cut() })
    const events = recordEvents(self, 'connect')
    await self.connect()
    // Its first attempt has been answered when a peer that came later has been let in and gone.
    const guest = nextEvent(self, 'connect')
    await makeClient(cable.port).connect()
    await guest
    expect(events).toEqual(['connect'])
  })
})
