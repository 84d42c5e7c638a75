/** A store that hangs under a plugin: whom it keeps waiting, who is told, and what comes of it in the end. */
import { describe, expect, it } from 'vitest'
import type { Batch } from '../../src/core/store.js'
import { MemoryStore } from '../../src/store/memory.js'
import { open } from '../ledger/setup.js'
import { Lab, asks, watch } from '../support/lab.js'
import { ilpPayment } from '../support/ilp.js'
import { openSettling, settled } from '../support/settling.js'

/** How long the store is waited for. */
const TIMEOUT_MS = 10_000

/** Alice disconnects, what hangs lands, and she connects again. */
async function landDisconnected(lab: Lab, release: () => void): Promise<void> {
  const disconnecting = lab.alice.plugin.disconnect()
  await lab.clock.advance(6000)
  await disconnecting
  release()
  await lab.clock.advance(2000)
  const connecting = lab.alice.plugin.connect()
  await lab.clock.advance(5000)
  await connecting
}

describe('a transfer that is sent', () => {
  it('is told to be of unknown outcome, is not offered any more when it lands late, and its hold goes', async () => {
    const lab = await Lab.open()
    const release = lab.alice.store.holdCommits()
    const { transfer, id } = lab.payment({ expiresInMs: 600_000 })
    const sent = watch(lab.alice.plugin.sendTransfer(transfer))
    await lab.clock.advance(TIMEOUT_MS - 1)
    expect(sent.state).toBe('pending')
    await lab.clock.advance(1)
    expect(sent).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
    release()
    await lab.clock.advance(2000)
    expect(lab.network.count(asks('prepare', 'alice'))).toBe(0)
    expect([lab.held(lab.alice).outgoing, lab.alice.story]).toEqual([0, ['outgoing_cancel']])
    await expect(lab.alice.plugin.getFulfillment(id)).rejects.toMatchObject({ name: 'AlreadyRolledBackError' })
    await lab.prepared()
    expect(await lab.balances()).toEqual([0, 0])
  })

  it('counts while its outcome is unknown: nothing else is taken beside it beyond the limit', async () => {
    const lab = await Lab.open({ alice: { options: { minBalance: '-15' } } })
    const release = lab.alice.store.holdCommits()
    const first = watch(lab.alice.plugin.sendTransfer(lab.payment({ amount: '10', expiresInMs: 600_000 }).transfer))
    await lab.clock.advance(TIMEOUT_MS)
    expect(first.error?.outcome).toBe('unknown')
    const second = watch(lab.alice.plugin.sendTransfer(lab.payment({ amount: '10', expiresInMs: 600_000 }).transfer))
    await lab.clock.advance(2000)
    expect(second.state).toBe('pending')
    release()
    await lab.clock.advance(2000)
    // The first has landed, and was withdrawn: only then there was room.
    expect([second.state, lab.held(lab.alice).outgoing, lab.network.count(asks('prepare', 'alice'))]).toEqual(['resolved', 10, 1])
    expect(lab.alice.story).toEqual(['outgoing_cancel', 'outgoing_prepare'])
  })

  it('is not begun behind the back of a host that asks for it again: both calls agree that it is rolled back', async () => {
    const lab = await Lab.open()
    const release = lab.alice.store.holdCommits()
    const { transfer } = lab.payment({ expiresInMs: 600_000 })
    const sent = watch(lab.alice.plugin.sendTransfer(transfer))
    await lab.clock.advance(TIMEOUT_MS)
    expect(sent.error?.outcome).toBe('unknown')
    const again = watch(lab.alice.plugin.sendTransfer(transfer))
    release()
    await lab.clock.advance(2000)
    expect(again).toMatchObject({ state: 'rejected', error: { name: 'AlreadyRolledBackError' } })
    expect([lab.network.count(asks('prepare', 'alice')), lab.alice.story]).toEqual([0, ['outgoing_cancel']])
    await expect(lab.alice.plugin.sendTransfer(lab.payment().transfer)).resolves.toBeUndefined()
  })

  it('is not offered at the next connect either, where it was disconnected before it landed', async () => {
    const lab = await Lab.open()
    const release = lab.alice.store.holdCommits()
    const sent = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 600_000 }).transfer))
    await lab.clock.advance(TIMEOUT_MS)
    expect(sent.error?.outcome).toBe('unknown')
    await landDisconnected(lab, release)
    expect([lab.network.count(asks('prepare', 'alice')), lab.alice.story, lab.held(lab.alice).outgoing]).toEqual([0, ['outgoing_cancel'], 0])
  })

  it('is offered by the next life, where the process died before it could be withdrawn', async () => {
    const lab = await Lab.open()
    const release = lab.alice.store.holdCommits()
    const sent = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 600_000 }).transfer))
    await lab.clock.advance(TIMEOUT_MS)
    expect(sent.error?.outcome).toBe('unknown')
    // The next commit that has more than a head.
    lab.alice.crashAtCommit('before', ({ puts = [] }) => puts.length > 1)
    release()
    await lab.clock.advance(2000)
    const restarting = lab.alice.restart()
    await lab.clock.advance(5000)
    await restarting
    expect([lab.network.count(asks('prepare', 'alice')), lab.bob.story]).toEqual([1, ['incoming_prepare']])
  })

  it('as a packet, is not sent either, so that whoever was told rejects what came before it in safety', async () => {
    const lab = await Lab.open({ alice: { services: {} }, bob: { services: {} } })
    const release = lab.alice.store.holdCommits()
    const { prepare } = ilpPayment('hangs', lab.clock.now() + 600_000)
    const sent = watch(lab.alice.plugin.sendData(prepare))
    await lab.clock.advance(TIMEOUT_MS)
    expect(sent).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown', ilpErrorCode: 'T00' } })
    const asked = lab.network.count(asks('message', 'alice'))
    release()
    await lab.clock.advance(2000)
    expect([lab.network.count(asks('message', 'alice')) - asked, lab.alice.plugin.inFlight()]).toEqual([0, []])
  })
})

describe('a settlement', () => {
  /** One whose host was told that its outcome is unknown; `release` lets it land. */
  async function openUnknown() {
    const { lab, told } = await openSettling()
    await lab.alice.plugin.sendMoney('1')
    const release = lab.alice.store.holdCommits()
    const sent = watch(lab.alice.plugin.sendMoney('5'))
    await lab.clock.advance(TIMEOUT_MS)
    expect(sent).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
    const sums = async () => [(await settled(lab.alice))[0], (await settled(lab.bob))[1]]
    const reconnect = async (): Promise<void> => {
      lab.network.cut()
      await lab.reconnect()
      await lab.clock.advance(5000)
    }
    return { lab, told, release, sums, reconnect }
  }

  it('that lands after its host was told that it is unknown is withdrawn: no later session sends it, and its host may settle anew', async () => {
    const { lab, told, release, sums, reconnect } = await openUnknown()
    release()
    await lab.clock.advance(2000)
    expect(JSON.parse(await lab.alice.disk.get(':paychan:settlements') ?? '')).toMatchObject({ last: expect.any(Number) as number, sending: [] })
    await lab.clock.advance(600_000)
    await reconnect()
    expect(told).toEqual(['1'])
    await lab.alice.plugin.sendMoney('5')
    await reconnect()
    expect([told, await sums()]).toEqual([['1', '5'], ['6', '6']])
  })

  it('that lands so is not taken for a later one, nor a later one for it: both sides count the same', async () => {
    const { lab, told, release, sums, reconnect } = await openUnknown()
    release()
    // In the group behind it, before it can be withdrawn.
    await lab.alice.plugin.sendMoney('7')
    await reconnect()
    expect([told, await sums()]).toEqual([['1', '7'], ['8', '8']])
  })

  it('is not sent by a session that comes between its landing and its withdrawal', async () => {
    const { lab, told, release, sums, reconnect } = await openUnknown()
    release()
    const releaseNext = lab.alice.store.holdCommits()
    await reconnect()
    releaseNext()
    await lab.clock.advance(5000)
    await reconnect()
    expect([told, await sums()]).toEqual([['1'], ['1', '1']])
  })

  it('is withdrawn at the next connect, where it was disconnected before it landed', async () => {
    const { lab, told, release, sums } = await openUnknown()
    await landDisconnected(lab, release)
    await lab.alice.plugin.sendMoney('7')
    expect([told, await sums()]).toEqual([['1', '7'], ['8', '8']])
  })

  it('is sent by the next life, before any later one, where the process died before it could be withdrawn', async () => {
    const { lab, told, release, sums } = await openUnknown()
    lab.alice.crashAtCommit('before', ({ puts = [] }) => puts.some(([key]) => key === ':paychan:settlements'))
    release()
    await lab.clock.advance(2000)
    const restarting = lab.alice.restart()
    await lab.clock.advance(5000)
    await restarting
    await lab.alice.plugin.sendMoney('7')
    expect([told, await sums()]).toEqual([['1', '5', '7'], ['13', '13']])
  })
})

describe('a transfer that comes', () => {
  it('is answered, and reported, when it is known to have landed; the peer is not told of a failure before', async () => {
    const lab = await Lab.open()
    const release = lab.bob.store.holdCommits()
    const sent = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 600_000 }).transfer))
    await lab.clock.advance(60_000)
    expect([sent.state, lab.bob.story, lab.held(lab.alice).outgoing]).toEqual(['pending', [], 10])
    release()
    await lab.clock.advance(60_000)
    expect([sent.state, lab.bob.story]).toEqual(['resolved', ['incoming_prepare']])
  })

  it('is fulfilled all the same where that lands late, and its host was told that it is unknown', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 600_000 })
    const release = lab.bob.store.holdCommits()
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(TIMEOUT_MS)
    expect(fulfilled.error?.outcome).toBe('unknown')
    expect(lab.network.count(asks('fulfill', 'bob'))).toBe(0)
    release()
    await lab.clock.advance(2000)
    expect(await lab.balances()).toEqual([-10, 10])
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_fulfill'])
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
  })

  it('is rejected all the same', async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared({ expiresInMs: 600_000 })
    const release = lab.bob.store.holdCommits()
    const rejected = watch(lab.bob.plugin.rejectIncomingTransfer(id))
    await lab.clock.advance(TIMEOUT_MS)
    expect(rejected.error?.outcome).toBe('unknown')
    release()
    await lab.clock.advance(2000)
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual([0, 0])
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_reject'])
  })

  it('is booked by its sender when that is known to have landed, once', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 600_000 })
    const release = lab.alice.store.holdCommits()
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(60_000)
    expect([fulfilled.state, lab.held(lab.alice).outgoing]).toEqual(['pending', 10])
    release()
    await lab.clock.advance(60_000)
    expect([fulfilled.state, await lab.balances()]).toEqual(['resolved', [-10, 10]])
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_fulfill'])
  })
})

describe('other calls', () => {
  it('end in a StoreError: connect, a reading, prune; and work as soon as the store does', async () => {
    const lab = await Lab.open()
    await lab.alice.plugin.disconnect()
    const release = lab.alice.store.holdGet('paychan:head')
    const connecting = watch(lab.alice.plugin.connect())
    await lab.clock.advance(TIMEOUT_MS)
    expect(connecting).toMatchObject({ state: 'rejected', error: { name: 'StoreError' } })
    release()
    await lab.alice.plugin.connect()
    const releaseCommits = lab.alice.store.holdCommits()
    await lab.clock.advance(2000)
    releaseCommits()
    await lab.prepared()
  })

  it.each(['paychan:head', 'paychan:id'])('end so too: the first connect of an account, from the commit of its %s on', async written => {
    const lab = new Lab()
    await lab.bob.start()
    const plugin = lab.alice.make()
    const release = lab.alice.store.holdCommits(({ puts = [] }) => puts.some(([key]) => key === written))
    const connecting = watch(plugin.connect())
    await lab.clock.advance(2 * TIMEOUT_MS)
    expect(connecting).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
    release()
    await lab.clock.advance(TIMEOUT_MS)
    await plugin.connect()
    await lab.prepared()
  })

  it('end so too: a limit, and what a module stores; each lands late all the same, once', async () => {
    const { backend, committer, clock, store } = open(new MemoryStore())
    await committer.takeOver()
    const log = backend.getTransferLog({ key: 'log', maximum: '100' })
    const tracker = backend.getMaxValueTracker('claims')
    const calls: Record<string, () => Promise<unknown>> = {
      prepare: () => log.prepare({ id: 'b', amount: '1' }, true),
      fulfill: () => log.fulfill('a', 'preimage'),
      cancel: () => log.cancel('c'),
      setIfMax: () => tracker.setIfMax({ value: '5', data: null }),
      setMaximum: () => log.setMaximum('50')
    }
    for (const id of ['a', 'c']) await log.prepare({ id, amount: '1' }, true)
    for (const [name, call] of Object.entries(calls)) {
      const release = store.holdCommits()
      const called = watch(call())
      await clock.advance(TIMEOUT_MS)
      expect(called, name).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
      release()
      await clock.advance(2000)
    }
    expect([await log.getIncomingFulfilled(), await log.getIncomingFulfilledAndPrepared(), await log.getMaximum(), (await tracker.getMax()).value])
      .toEqual(['1', '2', '50', '5'])
    // Again: each was done.
    await expect(calls['setIfMax']?.()).resolves.toMatchObject({ value: '5' })
    await Promise.all([calls['prepare']?.(), calls['fulfill']?.(), calls['cancel']?.()])
    expect(await log.getIncomingFulfilledAndPrepared()).toBe('2')
  })

  it.each(['ours', 'theirs'] as const)('end so too: resolveDispute(%j), which counts from when it lands', async choice => {
    const lab = await Lab.open()
    await lab.bob.disk.commit({ puts: [[':tl:balance:if', '5']], guards: [] })
    await lab.bob.restart()
    await lab.clock.advance(1000)
    expect(lab.alice.seen('dispute')).toHaveLength(1)
    const release = lab.alice.store.holdCommits()
    const resolving = watch(lab.alice.plugin.resolveDispute(choice))
    await lab.clock.advance(TIMEOUT_MS + 1000)
    expect(resolving).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
    release()
    await lab.clock.advance(2000)
    const again = watch(lab.alice.plugin.resolveDispute(choice))
    const sent = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    await lab.clock.advance(1000)
    expect([again, sent]).toMatchObject([{ state: 'resolved' }, { state: 'resolved' }])
    expect(await lab.balances()).toEqual([choice === 'ours' ? 0 : -5, 5])
  })
})

describe('a difference that is found while the store hangs', () => {
  it('can be decided as soon as the store works: until then resolveDispute ends in a StoreError, each time', async () => {
    const lab = await Lab.open()
    const release = lab.alice.store.holdCommits()
    await lab.bob.disk.commit({ puts: [[':tl:balance:if', '5']], guards: [] })
    await lab.bob.restart()
    await lab.clock.advance(1000)
    for (let n = 0; n < 3; n++) {
      const resolving = watch(lab.alice.plugin.resolveDispute('ours'))
      // Behind what was being written, and what finds out what became of that.
      await lab.clock.advance(3 * TIMEOUT_MS)
      expect(resolving).toMatchObject({ state: 'rejected', error: { name: 'StoreError' } })
    }
    release()
    await lab.clock.advance(2000)
    expect(lab.alice.seen('dispute')).toHaveLength(1)
    const resolving = watch(lab.alice.plugin.resolveDispute('ours'))
    await lab.clock.advance(1000)
    expect(resolving.state).toBe('resolved')
    expect(JSON.parse(await lab.alice.disk.get(':paychan:reconcile') ?? '')).toMatchObject({ open: [], accepted: [['outgoingFulfilled', '5']] })
  })
})

describe('books that are being filled from the peer', () => {
  const RECOVERS = { options: { recover: 'from-peer' as const } }
  const fills = ({ puts = [] }: Batch): boolean => puts.some(([key]) => key.includes(':open:'))

  /** One of the two has paid 10, of which it has lost its books, and has 5 more in flight. */
  async function openEmptied(name: 'alice' | 'bob') {
    const lab = await Lab.open({ alice: RECOVERS, bob: RECOVERS })
    const to = name === 'alice' ? 'bob' : 'alice'
    const paid = await lab.prepared({ to })
    await lab[to].plugin.fulfillCondition(paid.id, paid.fulfillment)
    const held = await lab.prepared({ to, amount: '5', expiresInMs: 60_000 })
    await lab[name].empty()
    return { lab, held, to }
  }

  it('by who dials: its connect ends in a StoreError, and the next one has them', async () => {
    const { lab, held } = await openEmptied('alice')
    const plugin = lab.alice.make()
    const release = lab.alice.store.holdCommits(fills)
    const connecting = watch(plugin.connect())
    await lab.clock.advance(2 * TIMEOUT_MS)
    expect(connecting).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
    release()
    await lab.clock.advance(TIMEOUT_MS)
    const again = watch(plugin.connect())
    await lab.clock.advance(2000)
    expect(again.state).toBe('resolved')
    await lab.bob.plugin.fulfillCondition(held.id, held.fulfillment)
    expect([await lab.balances(), lab.held(lab.alice).outgoing]).toEqual([[-15, 15], 0])
  })

  it('by who listens: what is in flight is taken up when they land at last, and ends with its time', async () => {
    const { lab, held } = await openEmptied('bob')
    const plugin = lab.bob.make()
    const release = lab.bob.store.holdCommits(fills)
    await plugin.connect()
    await lab.reconnect()
    await lab.clock.advance(2 * TIMEOUT_MS)
    expect([plugin.isConnected(), plugin.inFlight()]).toEqual([false, []])
    release()
    await lab.clock.advance(5000)
    expect([plugin.isConnected(), plugin.inFlight().map(({ transfer: { id } }) => id)]).toEqual([true, [held.id]])
    expect(await lab.balances()).toEqual([10, -10])
    // It ends by itself, whatever the peer says.
    lab.network.drop(asks('reject', 'alice'))
    await lab.clock.advance(90_000)
    expect([lab.bob.seen('outgoing_cancel').length, lab.held(lab.bob).outgoing]).toEqual([1, 0])
    await lab.prepared()
  })
})
