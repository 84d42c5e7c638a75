/**
 * A store that the published old package wrote opens in ours, and the other way round, with real plugins on both: the same host store
 * changes hands between them.
 */
import { describe, expect, it } from 'vitest'
import PaychanPlugin from '../../src/node.js'
import { connectPair, next, payment } from '../support/old-pair.js'
import { oldMemoryStore } from '../support/old-plugin.js'
import type { OldMemoryStore } from '../support/old-plugin.js'

const LIMITS = { maxBalance: '1000000', minBalance: '-1000000' }

/** What the old package keeps in a store: keys and values. */
function oldRecords(store: OldMemoryStore): Record<string, string> {
  return Object.fromEntries(Object.entries(store.s).filter(([key]) => key.startsWith(':tl:')))
}

/** An old plugin with this store is paid 30 and pays 12 by one of ours. Returns the transfers that it knows then. */
async function letOldWork(store: OldMemoryStore): Promise<{ incoming: string; outgoing: string; rejected: string; fulfillment: string }> {
  const pair = await connectPair('listens', { old: { _store: store, ...LIMITS } })
  const { ours, old } = pair
  const incoming = payment(ours.getPeerAccount(), '30', { custom: { a: 1 } })
  const prepared = next(old, 'incoming_prepare')
  await ours.sendTransfer(incoming.transfer)
  await prepared
  await old.fulfillCondition(incoming.transfer.id, incoming.fulfillment)
  const outgoing = payment(old.getPeerAccount(), '12')
  await old.sendTransfer(outgoing.transfer)
  await ours.fulfillCondition(outgoing.transfer.id, outgoing.fulfillment)
  const rejected = payment(old.getPeerAccount(), '5')
  const told = next(old, 'outgoing_reject')
  await old.sendTransfer(rejected.transfer)
  await ours.rejectIncomingTransfer(rejected.transfer.id)
  await told
  await pair.end()
  return { incoming: incoming.transfer.id, outgoing: outgoing.transfer.id, rejected: rejected.transfer.id, fulfillment: incoming.fulfillment }
}

/** A plugin of ours with this store is paid 7 and pays 2, by an old one. */
async function letOursWork(store: OldMemoryStore): Promise<{ balance: string; incoming: string; outgoing: string }> {
  const pair = await connectPair('dials', { ours: { ...LIMITS, _store: store, store: undefined as never } })
  const { ours, old } = pair
  const incoming = payment(old.getPeerAccount(), '7')
  await old.sendTransfer(incoming.transfer)
  await ours.fulfillCondition(incoming.transfer.id, incoming.fulfillment)
  const outgoing = payment(ours.getPeerAccount(), '2')
  const prepared = next(old, 'incoming_prepare')
  await ours.sendTransfer(outgoing.transfer)
  await prepared
  await old.fulfillCondition(outgoing.transfer.id, outgoing.fulfillment)
  const balance = await ours.getBalance()
  await pair.end()
  return { balance, incoming: incoming.transfer.id, outgoing: outgoing.transfer.id }
}

/** Reads with a plugin of ours that has no peer. */
async function readWithOurs<T>(store: OldMemoryStore, read: (plugin: PaychanPlugin) => Promise<T>): Promise<T> {
  const plugin = new PaychanPlugin({ listener: { port: 0 }, prefix: 'test.old.', info: {}, incomingSecret: 'x', _store: store, ...LIMITS })
  await plugin.connect()
  const result = await read(plugin)
  await plugin.disconnect()
  return result
}

describe('a host\'s plain store changes hands', () => {
  it('from the old package to ours: the balance, the sums, each transfer by its id, and the limits of the options', async () => {
    const store = oldMemoryStore()
    const { incoming, outgoing, rejected, fulfillment } = await letOldWork(store)
    await readWithOurs(store, async plugin => {
      expect(await plugin.getBalance()).toBe('18')
      expect(await plugin.getFulfillment(incoming)).toBe(fulfillment)
      expect(await plugin.getFulfillment(outgoing)).toMatch(/^[\w-]{43}$/)
      await expect(plugin.getFulfillment(rejected)).rejects.toThrow('rolled back')
      expect(plugin.inFlight()).toEqual([])
    })
  })

  it('from ours to the old package: the balance and the records', async () => {
    const store = oldMemoryStore()
    const { balance } = await letOursWork(store)
    expect(balance).toBe('5')
    const pair = await connectPair('listens', { old: { _store: store, ...LIMITS } })
    expect(await pair.old.getBalance()).toBe('5')
    expect(await pair.ours.getPeerBalance()).toBe('-5')
    await pair.end()
  })

  it('ours writes the records that the old package writes, text for text', async () => {
    const [byOld, byOurs] = [oldMemoryStore(), oldMemoryStore()]
    const pair = await connectPair('listens', {
      old: { _store: byOld, ...LIMITS }, ours: { ...LIMITS, _store: byOurs, store: undefined as never }
    })
    const { ours, old } = pair
    const sent = payment(old.getPeerAccount(), '30', { ilp: 'AAAA', custom: { a: 1 } })
    await old.sendTransfer(sent.transfer)
    await ours.fulfillCondition(sent.transfer.id, sent.fulfillment)
    await pair.end()
    const key = `:tl:transfer:${sent.transfer.id}`
    const [old1, ours1] = [oldRecords(byOld)[key] ?? '', oldRecords(byOurs)[key] ?? ''].map(text => JSON.parse(text) as Record<string, unknown>)
    expect(Object.keys(ours1 ?? {})).toEqual(Object.keys(old1 ?? {}))
    // What differs is whose side it is.
    expect(ours1).toMatchObject({ state: 'fulfilled', isIncoming: true, fulfillment: old1?.['fulfillment'] })
    expect(old1).toMatchObject({ state: 'fulfilled', isIncoming: false })
    expect(oldRecords(byOurs)[':tl:balance:if']).toBe(oldRecords(byOld)[':tl:balance:of'])
  })

  it('to and fro: each goes on where the other left off', async () => {
    const store = oldMemoryStore()
    await letOldWork(store)
    expect((await letOursWork(store)).balance).toBe('23')
    const { incoming } = await letOldWork(store)
    expect(await readWithOurs(store, async plugin => [await plugin.getBalance(), await plugin.getFulfillment(incoming)]))
      .toEqual(['41', expect.stringMatching(/^[\w-]{43}$/)])
  })

  it('H4: an id that the old package has finished is not taken for new by ours', async () => {
    const store = oldMemoryStore()
    const { incoming } = await letOldWork(store)
    const pair = await connectPair('dials', { ours: { ...LIMITS, _store: store, store: undefined as never } })
    const { transfer } = payment(pair.old.getPeerAccount(), '30')
    await expect(pair.old.sendTransfer({ ...transfer, id: incoming })).rejects.toThrow('DuplicateIdError')
    expect(await pair.ours.getBalance()).toBe('18')
    await pair.end()
  })
})
