import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import PaychanPlugin, { LmdbStore, MemoryStore, errors } from '../../src/node.js'
import type { LedgerPlugin, Store } from '../../src/node.js'
import { HostStore } from '../support/host-store.js'
import { Cable, afterTest, clientOptions, keep, makeClient, makeServer, nextEvent, pay, payment, recordEvents } from '../support/hosts.js'

/** The same data through an object of its own: another process, or another tab. */
function elsewhere(store: MemoryStore): Store {
  return {
    get: key => store.get(key),
    list: (prefix, options) => store.list(prefix, options),
    commit: batch => store.commit(batch),
    close: () => Promise.resolve()
  }
}

async function server(): Promise<LedgerPlugin> {
  const listening = makeServer()
  await listening.connect()
  return listening
}

describe('two plugins over one store object', () => {
  it.each(['one of ours', "a host's plain one"])('the second takes over and the first stands by, for %s', async kind => {
    const peer = await server()
    const store = kind === 'one of ours' ? { store: new MemoryStore() } : { _store: new HostStore() as never }
    const make = (): LedgerPlugin => makeClient(peer, { ...store, maxBalance: '1000', minBalance: '-1000' })
    const [first, second] = [make(), make()]
    await first.connect()
    const id = await pay(first, peer, '5')
    const pending = payment(first.getPeerAccount())
    await first.sendTransfer(pending.transfer)
    const isLost = nextEvent(first, 'disconnect')
    await second.connect()
    await isLost
    expect([first.isConnected(), second.isConnected()]).toEqual([false, true])
    const { transfer } = payment(first.getPeerAccount())
    for (const call of [first.sendTransfer(transfer), first.sendRequest({ to: first.getPeerAccount() }), first.getPeerBalance(), first.fulfillCondition(pending.transfer.id, pending.fulfillment)]) {
      await expect(call).rejects.toBeInstanceOf(errors.UnreachableError)
    }
    await expect(first.prune({ before: Date.now() })).rejects.toBeInstanceOf(errors.StandbyError)
    // It still reads.
    expect([await first.getBalance(), await first.getFulfillment(id)]).toEqual(['-5', await second.getFulfillment(id)])
    expect(second.inFlight().map(entry => entry.transfer.id)).toEqual([pending.transfer.id])
    await pay(second, peer, '6')
    expect([await second.getBalance(), await peer.getBalance()]).toEqual(['-11', '11'])
  })

  it('the first takes over again when it connects again', async () => {
    const peer = await server()
    const store = new MemoryStore()
    const make = (): LedgerPlugin => makeClient(peer, { store, maxBalance: '1000', minBalance: '-1000' })
    const [first, second] = [make(), make()]
    await first.connect()
    await pay(first, peer, '1')
    await second.connect()
    await pay(second, peer, '2')
    const isLost = nextEvent(second, 'disconnect')
    await first.connect()
    await isLost
    await pay(first, peer, '4')
    expect([await first.getBalance(), await peer.getBalance(), second.isConnected()]).toEqual(['-7', '7', false])
  })

  it('calls under way at the first end with outcome unknown, and their transfers go on at the second', async () => {
    const peer = await server()
    const store = new MemoryStore()
    const make = (): LedgerPlugin => makeClient(peer, { store, maxBalance: '1000', minBalance: '-1000' })
    const [first, second] = [make(), make()]
    await first.connect()
    const { transfer, fulfillment } = payment(first.getPeerAccount(), '8')
    const isPrepared = nextEvent(peer, 'incoming_prepare')
    await first.sendTransfer(transfer)
    await isPrepared
    const disconnecting = first.disconnect({ drainMs: 60_000 })
    await second.connect()
    await disconnecting
    const isFulfilled = nextEvent(second, 'outgoing_fulfill')
    await peer.fulfillCondition(transfer.id, fulfillment)
    await isFulfilled
    expect([await second.getBalance(), await peer.getBalance()]).toEqual(['-8', '8'])
  })
})

describe('two plugins over the same data, by stores that do not know that they share it', () => {
  it('no write of the first lands once the second has taken over, and it stands by', async () => {
    const peer = await server()
    const cable = await Cable.lay(() => peer.port)
    const store = new MemoryStore()
    const first = makeClient(cable.port, { store, maxBalance: '1000', minBalance: '-1000' })
    await first.connect()
    await pay(first, peer, '5')
    // The second connects elsewhere, so that the first is not told by its peer.
    const second = makeServer({ store: elsewhere(store) })
    await second.connect()
    expect(first.isConnected()).toBe(true)
    const before = await store.list('')
    const isLost = nextEvent(first, 'disconnect')
    await expect(first.sendTransfer(payment(first.getPeerAccount()).transfer)).rejects.toBeInstanceOf(errors.StandbyError)
    await isLost
    expect(await store.list('')).toEqual(before)
    expect(first.isConnected()).toBe(false)
    expect(await peer.getBalance()).toBe('5')
  })

  it("the one that lost the store does not take the peer's connection back from the other, on and on", async () => {
    const peer = await server()
    const cables = [await Cable.lay(() => peer.port), await Cable.lay(() => peer.port)] as const
    const store = new MemoryStore()
    const first = makeClient(cables[0].port, { store, maxBalance: '1000', minBalance: '-1000' })
    await first.connect()
    const second = makeClient(cables[1].port, { store: elsewhere(store), maxBalance: '1000', minBalance: '-1000' })
    const seen = recordEvents(second, 'connect', 'disconnect')
    const isLost = nextEvent(first, 'disconnect')
    await second.connect()
    await isLost
    // The first dials no more, however often it is woken: its port has seen one connection.
    await pay(second, peer, '5')
    await expect(first.getPeerBalance()).rejects.toBeInstanceOf(errors.UnreachableError)
    await pay(second, peer, '5')
    expect([cables[0].dialled, seen, second.isConnected()]).toEqual([1, ['connect'], true])
  })

  it('a listener that lost the store lets its peer in no more', async () => {
    const store = new MemoryStore()
    const first = makeServer({ store })
    await first.connect()
    await makeServer({ store: elsewhere(store) }).connect()
    const client = keep(new PaychanPlugin(clientOptions(first)))
    await expect(client.connect({ timeout: 100 })).rejects.toBeInstanceOf(errors.UnreachableError)
    expect(first.isConnected()).toBe(false)
    await expect.poll(() => first.port).toBeUndefined()
  })
})

describe('two plugins over one lmdb file', () => {
  /** Two plugins, each over a store object of its own, or over the same. */
  async function pair(isOneObject: boolean): Promise<[LedgerPlugin, LedgerPlugin, LedgerPlugin]> {
    const path = mkdtempSync(join(tmpdir(), 'paychan-standby-'))
    afterTest(() => { rmSync(path, { recursive: true, force: true }) })
    const peer = await server()
    const store = new LmdbStore({ path })
    const other = isOneObject ? store : new LmdbStore({ path })
    afterTest(() => Promise.all([store.close(), other.close()]))
    const make = (one: LmdbStore): LedgerPlugin => makeClient(peer, { store: one, maxBalance: '1000', minBalance: '-1000' })
    const [first, second] = [make(store), make(other)]
    await first.connect()
    await pay(first, peer, '5')
    const seen = recordEvents(second, 'connect', 'role')
    await second.connect()
    expect([first.role, second.role, second.isConnected(), seen]).toEqual(['holder', 'standby', false, ['role']])
    return [peer, first, second]
  }

  it.each([['two store objects', false], ['one', true]])('the second stands by until the first lets go, with %s in one process', async (_what, isOneObject) => {
    const [peer, first, second] = await pair(isOneObject)
    expect([await second.getBalance(), second.getAccount(), second.getInfo()]).toEqual(['-5', first.getAccount(), first.getInfo()])
    const { transfer } = payment(peer.getAccount())
    for (const call of [second.sendTransfer(transfer), second.sendRequest({ to: peer.getAccount() }), second.prune({ before: Date.now() }), second.sendMoney('1'), second.addSocket({})]) {
      await expect(call).rejects.toBeInstanceOf(errors.StandbyError)
    }
    // It sees what the first does.
    await first.sendTransfer(transfer)
    await expect.poll(() => second.inFlight().length, { timeout: 2000 }).toBe(1)
    const isUp = nextEvent(second, 'connect')
    await first.disconnect()
    await isUp
    expect([second.role, first.role]).toEqual(['holder', 'disconnected'])
    await pay(second, peer, '6')
    expect([await second.getBalance(), await peer.getBalance(), second.inFlight().length]).toEqual(['-11', '11', 1])
  })

  it('one that stands by can be disconnected, and the lease stays where it is', async () => {
    const [peer, first, second] = await pair(false)
    await second.disconnect()
    expect(second.role).toBe('disconnected')
    await pay(first, peer, '6')
    await second.connect()
    expect([first.role, second.role, await second.getBalance()]).toEqual(['holder', 'standby', '-11'])
  })
})
