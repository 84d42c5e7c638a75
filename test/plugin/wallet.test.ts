import { describe, expect, it } from 'vitest'
import { MemoryStore, errors } from '../../src/node.js'
import { connectedPair, makeClient, makeServer, nextEvent, pay, payment } from '../support/hosts.js'
import { Lab } from '../support/lab.js'

const UNKNOWN = '00000000-0000-4000-8000-00000000dead'

describe('history', () => {
  it('lists all transfers of both directions, newest first, in pages, without loading all', async () => {
    const lab = await Lab.open()
    const ids: string[] = []
    for (let i = 0; i < 7; i++) {
      const to = i % 2 === 0 ? 'bob' : 'alice'
      ids.unshift((await lab.prepared({ to, amount: String(i) })).id)
      await lab.clock.advance(1)
    }
    const { plugin } = lab.alice
    const first = await plugin.history({ limit: 3 })
    const second = await plugin.history({ limit: 3, before: first.at(-1)?.cursor ?? '' })
    const third = await plugin.history({ limit: 3, before: second.at(-1)?.cursor ?? '' })
    expect([first, second, third].map(page => page.map(({ transfer }) => transfer.id))).toEqual([ids.slice(0, 3), ids.slice(3, 6), ids.slice(6)])
    expect(await plugin.history({ before: third.at(-1)?.cursor ?? '' })).toEqual([])
    expect(first[0]).toMatchObject({ isIncoming: false, state: 'prepared', transfer: { amount: '6' }, preparedAt: lab.clock.now() - 1 })
    expect((await plugin.history()).map(({ isIncoming }) => isIncoming)).toEqual([false, true, false, true, false, true, false])
    let listed = 0
    const list = lab.alice.disk.list.bind(lab.alice.disk)
    lab.alice.disk.list = (prefix, options) => { listed += options?.limit ?? 1000; return list(prefix, options) }
    await plugin.history({ limit: 2 })
    expect(listed).toBe(2)
  })

  it('tells the state of each, with the fulfillment and the note to self', async () => {
    const { server, client } = await connectedPair()
    const id = await pay(client, server, '3')
    const rejected = payment(client.getPeerAccount(), '4', { noteToSelf: { for: 'bread' } })
    const isPrepared = nextEvent(server, 'incoming_prepare')
    await client.sendTransfer(rejected.transfer)
    await isPrepared
    const isRejected = nextEvent(client, 'outgoing_reject')
    await server.rejectIncomingTransfer(rejected.transfer.id)
    await isRejected
    const entries = await client.history()
    const byId = new Map(entries.map(entry => [entry.transfer.id, entry]))
    expect(byId.get(id)).toMatchObject({ state: 'fulfilled', fulfillment: await client.getFulfillment(id) })
    expect(byId.get(rejected.transfer.id)).toMatchObject({ state: 'cancelled', transfer: { noteToSelf: { for: 'bread' } } })
    expect(JSON.stringify(await server.history())).not.toContain('bread')
  })

  it('gives copies: what a host does to them changes nothing', async () => {
    const { server, client } = await connectedPair()
    const id = await pay(client, server, '3')
    for (const entry of await client.history()) Object.assign(entry.transfer, { amount: '999' })
    expect((await client.history())[0]?.transfer).toMatchObject({ id, amount: '3' })
  })

  it.each([0, -1, 1001, 1.5, NaN, '5', Infinity])('refuses a limit of %o', async limit => {
    const { client } = await connectedPair()
    await expect(client.history({ limit: limit as number })).rejects.toThrow(/^limit/)
  })

  it.each(['', 'x', '123', 5, '1514764800000', '../1514764800000.x'])('refuses %o for a cursor', async before => {
    const { client } = await connectedPair()
    await expect(client.history({ before: before as string })).rejects.toBeInstanceOf(errors.InvalidFieldsError)
  })
})

describe('inFlight', () => {
  it('lists what has not come to its end, the oldest first, also after a restart', async () => {
    const lab = await Lab.open()
    const first = await lab.prepared({ amount: '1' })
    await lab.clock.advance(5)
    const second = await lab.prepared({ to: 'alice', amount: '2' })
    const expected = [
      { transfer: { id: first.id, amount: '1' }, isIncoming: false, preparedAt: lab.clock.now() - 5 },
      { transfer: { id: second.id, amount: '2' }, isIncoming: true, preparedAt: lab.clock.now() }
    ]
    expect(lab.alice.plugin.inFlight()).toMatchObject(expected)
    Object.assign(lab.alice.plugin.inFlight()[0]?.transfer ?? {}, { amount: '999' })
    await lab.alice.restart()
    expect(lab.alice.plugin.inFlight()).toMatchObject(expected)
    await lab.bob.plugin.fulfillCondition(first.id, first.fulfillment)
    await lab.alice.plugin.rejectIncomingTransfer(second.id)
    await lab.settle()
    expect([lab.alice.plugin.inFlight(), lab.bob.plugin.inFlight()]).toEqual([[], []])
  })
})

describe('prune', () => {
  it('forgets final transfers that have expired, and keeps the balance; a late repeat is refused', async () => {
    const lab = await Lab.open()
    const old = await lab.prepared({ amount: '5' })
    await lab.bob.plugin.fulfillCondition(old.id, old.fulfillment)
    const open = await lab.prepared({ amount: '6', expiresInMs: 3_600_000 })
    await lab.clock.advance(20_000)
    const recent = await lab.prepared({ amount: '7' })
    await lab.bob.plugin.fulfillCondition(recent.id, recent.fulfillment)
    await lab.settle()
    const between = lab.clock.now() - 1
    expect(await lab.alice.plugin.prune({ before: new Date(between) })).toBe(1)
    expect(await lab.bob.plugin.prune({ before: between })).toBe(1)
    const left = (await lab.alice.plugin.history()).map(({ transfer }) => transfer.id)
    expect(left).toEqual([recent.id, open.id])
    expect(await lab.balances()).toEqual([-12, 12])
    await expect(lab.alice.plugin.getFulfillment(old.id)).rejects.toBeInstanceOf(errors.TransferNotFoundError)
    await expect(lab.alice.plugin.sendTransfer(old.transfer)).rejects.toBeInstanceOf(errors.InvalidFieldsError)
    // Final, but not expired: the peer might still send it.
    expect(await lab.alice.plugin.prune({ before: lab.clock.now() + 1 })).toBe(0)
  })

  it.each([NaN, -1, 'yesterday', new Date(NaN), undefined])('refuses %o for a time', async before => {
    const { client } = await connectedPair()
    await expect(client.prune({ before: before as number })).rejects.toThrow(/^before/)
  })
})

describe('getFulfillment', () => {
  it('C50: gives the preimage of a fulfilled transfer to both sides, by its id in either case', async () => {
    const { server, client } = await connectedPair()
    const id = await pay(client, server)
    const fulfillment = await client.getFulfillment(id.toUpperCase())
    expect(fulfillment).toMatch(/^[\w-]{43}$/)
    expect(await server.getFulfillment(id)).toBe(fulfillment)
  })

  it('C50: names why there is none', async () => {
    const store = new MemoryStore()
    const { server, client } = await connectedPair({ store })
    await expect(server.getFulfillment(UNKNOWN)).rejects.toBeInstanceOf(errors.TransferNotFoundError)
    await expect(server.getFulfillment('x')).rejects.toBeInstanceOf(errors.InvalidFieldsError)
    await expect(server.getFulfillment(undefined as never)).rejects.toThrow(/^transferId/)
    const { transfer } = payment(client.getPeerAccount())
    const isPrepared = nextEvent(server, 'incoming_prepare')
    await client.sendTransfer(transfer)
    await isPrepared
    for (const side of [server, client]) await expect(side.getFulfillment(transfer.id)).rejects.toBeInstanceOf(errors.MissingFulfillmentError)
    const isRejected = nextEvent(client, 'outgoing_reject')
    await server.rejectIncomingTransfer(transfer.id)
    await isRejected
    for (const side of [server, client]) await expect(side.getFulfillment(transfer.id)).rejects.toBeInstanceOf(errors.AlreadyRolledBackError)
    await server.disconnect()
    await expect(server.getFulfillment(transfer.id)).rejects.toBeInstanceOf(errors.AlreadyRolledBackError)
  })
})

describe('a wallet without a store', () => {
  it('I8: its payment counts, and its balance tells of it, though the page went before the fulfill came', async () => {
    const server = makeServer()
    await server.connect()
    const client = makeClient(server)
    await client.connect()
    const { transfer, fulfillment } = payment(server.getAccount())
    await client.sendTransfer(transfer)
    const { id } = transfer
    const gone = nextEvent(server, 'disconnect')
    await client.disconnect()
    await gone
    const fulfilled = server.fulfillCondition(id, fulfillment)
    const next = makeClient(server)
    await next.connect()
    await fulfilled
    expect([await server.getBalance(), await next.getBalance()]).toEqual([transfer.amount, `-${transfer.amount}`])
    expect(server.inFlight()).toEqual([])
  })
})
