/** One ledger: holds, limits, stages, memory and store, restarts and owners. */
import { describe, expect, it, vi } from 'vitest'
import { AlreadyRolledBackError, DuplicateIdError, NotAcceptedError, StandbyError, StoreError, TransferNotFoundError } from '../../src/core/errors.js'
import { parseLimit } from '../../src/core/amounts.js'
import type { Store } from '../../src/core/store.js'
import { Committer } from '../../src/ledger/committer.js'
import { sameTransfer } from '../../src/ledger/records.js'
import { MemoryStore } from '../../src/store/memory.js'
import { FaultyStore } from '../support/faulty-store.js'
import { openRecords, storedTransfers } from '../support/stored-transfers.js'
import { settle } from '../support/virtual-clock.js'
import { contents, move, open, prepare, sums } from './setup.js'
import type { Transfer } from './setup.js'

const AT = 1_514_764_800_000
/** The first page of open transfers. */
const PAGE = ':paychan:open:000000000001'

const openIds = (ledger: { open: Iterable<{ id: string }> }) => [...ledger.open].map(({ id }) => id)

describe('holds and limits', () => {
  it('I5: of 1000 concurrent prepares against a limit exactly those that fit are accepted, in the order of the calls', async () => {
    for (const isIncoming of [true, false]) {
      const { ledger } = open(new MemoryStore(), { maximum: '3210', minimum: '-3210' })
      const results = await Promise.allSettled(Array.from({ length: 1000 }, (_, n) => prepare(ledger, `t${n}`, '10', isIncoming)))
      expect(results.map(({ status }) => status === 'fulfilled')).toEqual(results.map((_, n) => n < 321))
      expect(await sums(ledger)).toEqual({ if: '0', of: '0', ih: isIncoming ? '3210' : '0', oh: isIncoming ? '0' : '3210' })
      expect(results[321]).toMatchObject({ reason: { name: 'NotAcceptedError' } })
    }
  })

  it('I5: holds of one direction give no room in the other', async () => {
    const { ledger } = open(new MemoryStore(), { maximum: '100', minimum: '-50' })
    await prepare(ledger, 'out', '50', false)
    await prepare(ledger, 'in', '100', true)
    await expect(prepare(ledger, 'in2', '1', true)).rejects.toThrow(NotAcceptedError)
    await expect(prepare(ledger, 'out2', '1', false)).rejects.toThrow(NotAcceptedError)
    await move(ledger, 'out', 'fulfilled')
    // The balance is -50 now, so 50 more can come in.
    await prepare(ledger, 'in3', '50', true)
    await expect(prepare(ledger, 'in4', '1', true)).rejects.toThrow(NotAcceptedError)
  })

  it('I9: what was withheld takes room for one to two of its times, by one timer however much it is', async () => {
    const { ledger } = open(new MemoryStore(), { maximum: '100' })
    const timers: Array<() => void> = []
    const withhold = (amount: bigint): void => { ledger.withhold(amount, action => timers.push(action)) }
    const fire = (): void => {
      expect(timers).toHaveLength(1)
      timers.pop()?.()
    }
    let made = 0
    const room = async (): Promise<number> => {
      for (let amount = 100; amount > 0; amount--) {
        const id = `t${made++}`
        if (await prepare(ledger, id, String(amount), true).then(() => true, () => false)) {
          await move(ledger, id, 'cancelled')
          return amount
        }
      }
      return 0
    }
    withhold(0n)
    expect(timers).toEqual([])
    for (let n = 0; n < 30; n++) withhold(1n)
    expect(await room()).toBe(70)
    fire()
    withhold(20n)
    expect(await room()).toBe(50)
    fire()
    expect(await room()).toBe(80)
    fire()
    expect([await room(), timers.length, ledger.conceded]).toEqual([100, 0, 50n])
    withhold(10n)
    expect(await room()).toBe(90)
    fire()
    expect(await room()).toBe(90)
    fire()
    expect([await room(), timers.length]).toEqual([100, 0])
  })

  it('H1, C28: a prepare that the limit refuses is not kept, and is refused again', async () => {
    const { ledger, store } = open(new MemoryStore(), { maximum: '10' })
    await ledger.load()
    await prepare(ledger, 'a', '10', true)
    const before = await contents(store)
    for (let i = 0; i < 2; i++) await expect(prepare(ledger, 'b', '1', true)).rejects.toThrow(/maximum balance of 10/)
    expect(await ledger.find('b')).toBeUndefined()
    expect(await contents(store)).toEqual(before)
    await expect(ledger.change('b', view => { if (view.get('b') === undefined) throw new TransferNotFoundError('b') }))
      .rejects.toThrow(TransferNotFoundError)
    await move(ledger, 'a', 'cancelled')
    await prepare(ledger, 'b', '1', true)
  })

  it('H11: a cancelled hold is free for the next in the same turn, since it is decided before it', async () => {
    const { ledger } = open(new MemoryStore(), { maximum: '10' })
    await prepare(ledger, 'a', '10', true)
    await Promise.all([move(ledger, 'a', 'cancelled'), prepare(ledger, 'b', '10', true)])
    expect(await sums(ledger)).toMatchObject({ ih: '10' })
  })

  it('H7: releases and credits count only when durable: a prepare that they made room for fails with them', async () => {
    const { ledger, store } = open(new MemoryStore(), { maximum: '10' })
    await prepare(ledger, 'a', '10', true)
    // Both wait for a commit that is under way, so that they get into one group.
    const release = store.holdCommits()
    const first = expect(prepare(ledger, 'c', '0', true)).rejects.toThrow(StoreError)
    await vi.waitUntil(() => store.counts.commit === 3)
    const both = Promise.allSettled([move(ledger, 'a', 'cancelled'), prepare(ledger, 'b', '10', true)])
    await ledger.find('b')
    store.failNextCommit()
    store.failNextCommit()
    release()
    await first
    const results = await both
    expect(store.counts.commit).toBe(4)
    expect(results.map(result => result.status === 'rejected' && result.reason instanceof StoreError)).toEqual([true, true])
    expect(await sums(ledger)).toMatchObject({ ih: '10' })
    expect(openIds(ledger)).toEqual(['a'])
    await expect(prepare(ledger, 'b', '10', true)).rejects.toThrow(NotAcceptedError)
  })

  it('H7: a failed write leaves memory as it was: no hold, no transfer, no sum', async () => {
    const { ledger, store } = open()
    await prepare(ledger, 'a', '5', true)
    store.failNextCommit()
    await expect(prepare(ledger, 'b', '7', true)).rejects.toThrow(StoreError)
    expect(await sums(ledger)).toEqual({ if: '0', of: '0', ih: '5', oh: '0' })
    expect(await ledger.find('b')).toBeUndefined()
    store.failNextCommit()
    await expect(move(ledger, 'a', 'fulfilled')).rejects.toThrow(StoreError)
    expect(await sums(ledger)).toEqual({ if: '0', of: '0', ih: '5', oh: '0' })
    expect((await ledger.find('a'))?.info.state).toBe('prepared')
    await move(ledger, 'a', 'fulfilled')
    await prepare(ledger, 'b', '7', true)
    expect(await sums(ledger)).toEqual({ if: '5', of: '0', ih: '7', oh: '0' })
  })

  it('C44: a transfer of 0 and one just below 2^64 are held and booked exactly', async () => {
    const { ledger } = open()
    await prepare(ledger, 'zero', '0', true)
    await prepare(ledger, 'max', '18446744073709551615', true)
    await prepare(ledger, 'max2', '18446744073709551615', true)
    for (const id of ['zero', 'max', 'max2']) await move(ledger, id, 'fulfilled')
    expect(await sums(ledger)).toMatchObject({ if: '36893488147419103230', ih: '0' })
  })

  it('shows a state that is durable while a change is under way', async () => {
    const { ledger, store } = open()
    await prepare(ledger, 'a', '5', true)
    const release = store.holdCommits()
    const change = move(ledger, 'a', 'fulfilled')
    await settle()
    expect(await sums(ledger)).toMatchObject({ if: '0', ih: '5' })
    expect((await ledger.find('a'))?.info.state).toBe('prepared')
    release()
    await change
    expect(await sums(ledger)).toMatchObject({ if: '5', ih: '0' })
  })
})

describe('transfers', () => {
  it('I2, H6: the transfer and its sum are in one batch', async () => {
    const { ledger, store } = open()
    await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'fulfilled', { fulfillment: 'preimage' })
    const batch = store.batches.at(-1)
    expect(batch?.puts?.map(([key]) => key).sort()).toEqual([':tl:balance:if', ':tl:transfer:a', 'paychan:head'])
    expect(batch?.guards?.map(([key]) => key)).toEqual(['paychan:head'])
  })

  it('I3: refuses every move that the table of stages does not have', async () => {
    const { ledger } = open()
    await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'fulfilled', { fulfillment: 'preimage' })
    for (const stage of ['fulfilled', 'cancelled', 'held', 'rejecting'] as const) {
      await expect(move(ledger, 'a', stage)).rejects.toThrow(/cannot go from fulfilled/)
    }
    expect(await sums(ledger)).toEqual({ if: '5', of: '0', ih: '0', oh: '0' })
  })

  it('I3, H4: a known id is not created again, whatever the caller asked', async () => {
    const { ledger } = open()
    await prepare(ledger, 'a', '5', true)
    await expect(prepare(ledger, 'a', '6', true)).rejects.toThrow(DuplicateIdError)
    await move(ledger, 'a', 'cancelled')
    await expect(prepare(ledger, 'a', '6', true)).rejects.toThrow(DuplicateIdError)
    expect(await sums(ledger)).toEqual({ if: '0', of: '0', ih: '0', oh: '0' })
  })

  it('I3: an id that has a record is taken neither by a packet nor by a transfer, once memory has forgotten it', async () => {
    const { ledger, inner } = open()
    const fulfillment = 'A'.repeat(43)
    await prepare(ledger, 'transfer', '1', true)
    await move(ledger, 'transfer', 'fulfilled', { fulfillment })
    await Promise.all(['disputed', 'in doubt'].map(id => prepare(ledger, id, '2', true, { stage: 'handed' })))
    await Promise.all(['disputed', 'in doubt'].map(id => move(ledger, id, 'answered', { fulfillment })))
    await move(ledger, 'disputed', 'disputed')
    ledger.close('in doubt', true)
    await prepare(ledger, 'sent', '4', false, { stage: 'sent' })
    const before = Object.entries(await contents(inner)).filter(([key]) => /tl:transfer|:disputed:/.test(key))
    expect(before.map(([key]) => key)).toEqual([':paychan:disputed:disputed', ':tl:transfer:disputed', ':tl:transfer:in doubt', ':tl:transfer:transfer'])
    const { ledger: next } = open(inner)
    for (const id of ['transfer', 'disputed', 'in doubt']) {
      for (const stage of ['handed', 'checking'] as const) await expect(prepare(next, id, '8', true, { stage })).rejects.toThrow(DuplicateIdError)
      await expect(prepare(next, id, '8', false)).rejects.toThrow(DuplicateIdError)
    }
    expect(await sums(next)).toEqual({ if: '3', of: '0', ih: '0', oh: '4' })
    expect(Object.entries(await contents(inner)).filter(([key]) => /tl:transfer|:disputed:/.test(key))).toEqual(before)
  })

  it('I3: a move from an entry that is not the newest any more applies nothing', async () => {
    const { ledger } = open()
    const stale = await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'fulfilled')
    await expect(ledger.change('a', view => view.move(stale, 'fulfilled'))).rejects.toThrow(NotAcceptedError)
    expect(await sums(ledger)).toMatchObject({ if: '5', ih: '0' })
  })

  it('I3: two changes of one turn that fulfill and cancel the same transfer: the first wins, once', async () => {
    const { ledger } = open()
    await prepare(ledger, 'a', '5', true)
    const results = await Promise.allSettled([move(ledger, 'a', 'fulfilled'), move(ledger, 'a', 'cancelled'), move(ledger, 'a', 'fulfilled')])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
    expect(await sums(ledger)).toMatchObject({ if: '5', ih: '0' })
  })

  it('decides changes of one id in the order of the calls, also where the store answers out of order', async () => {
    const { ledger, store, committer } = open()
    await committer.takeOver()
    await ledger.load()
    const release = store.holdGet(':tl:transfer:a')
    const order: string[] = []
    const note = (name: string) => ledger.change('a', () => undefined).then(() => { order.push(name) })
    const first = note('first')
    await settle()
    // What the first one waits for is held up; another read of the same key would not be.
    store.passGets()
    const others = [note('second'), note('third')]
    await settle()
    release()
    await Promise.all([first, ...others])
    expect(order).toEqual(['first', 'second', 'third'])
  })

  it('decides changes of one id in the order of the calls, at whatever moment of a reading they come', async () => {
    const { ledger, committer } = open()
    await committer.takeOver()
    await ledger.load()
    const order: number[] = []
    const changes: Array<Promise<void>> = []
    for (let n = 0; n < 40; n++) {
      for (const which of [n, n + 0.5]) changes.push(ledger.change('a', () => undefined).then(() => { order.push(which) }))
      await Promise.resolve()
    }
    await Promise.all(changes)
    expect(order).toEqual([...order].sort((a, b) => a - b))
    expect(order).toHaveLength(80)
  })

  it('H1: a transfer that the module refused is forgotten, and can come again with other content', async () => {
    const { ledger, store } = open()
    await ledger.load()
    await prepare(ledger, 'a', '5', true, { stage: 'checking' })
    await ledger.change('a', view => { view.remove(view.get('a')!) })
    expect(await sums(ledger)).toMatchObject({ ih: '0' })
    expect(Object.keys(await contents(store))).toEqual(['paychan:head'])
    await prepare(ledger, 'a', '6', true, { stage: 'checking' })
    expect(await sums(ledger)).toMatchObject({ ih: '6' })
  })

  it('H3: only a transfer that the module has not accepted can be forgotten', async () => {
    const { ledger } = open()
    await prepare(ledger, 'a', '5', true)
    await expect(ledger.change('a', view => { view.remove(view.get('a')!) })).rejects.toThrow(NotAcceptedError)
    expect(await sums(ledger)).toMatchObject({ ih: '5' })
  })

  it('keeps a hold through checking, held and fulfilling, and books it at fulfilled', async () => {
    const { ledger } = open()
    await prepare(ledger, 'a', '5', true, { stage: 'checking' })
    await move(ledger, 'a', 'held')
    await move(ledger, 'a', 'fulfilling', { fulfillment: 'preimage' })
    expect(await sums(ledger)).toEqual({ if: '0', of: '0', ih: '5', oh: '0' })
    expect((await ledger.find('a'))?.info).toEqual({ transfer: { id: 'a', amount: '5' }, isIncoming: true, state: 'prepared' })
    const final = await move(ledger, 'a', 'fulfilled')
    expect(final.info).toMatchObject({ state: 'fulfilled', fulfillment: 'preimage' })
    expect(await sums(ledger)).toEqual({ if: '5', of: '0', ih: '0', oh: '0' })
  })

  it('H14: a disputed transfer is not counted, reads as cancelled, and its preimage stays as evidence, restarts included', async () => {
    const { ledger, inner } = open()
    await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'fulfilling', { fulfillment: 'preimage' })
    await move(ledger, 'a', 'disputed')
    expect(await sums(ledger)).toEqual({ if: '0', of: '0', ih: '0', oh: '0' })
    expect((await ledger.find('a'))?.info).toEqual({ transfer: { id: 'a', amount: '5' }, isIncoming: true, state: 'cancelled' })
    expect(JSON.parse(await inner.get(':paychan:disputed:a') ?? '')).toMatchObject({ v: 1, fulfillment: 'preimage' })
    expect((await open(inner).ledger.find('a'))?.stage).toBe('disputed')
  })

  it('C46: whatever else a transfer holds is given back, also after a restart', async () => {
    const { ledger, inner } = open()
    const transfer = { id: 'a', amount: '5', noteToSelf: { why: ['rent', { month: 5 }] }, custom: { constructor: 1 } }
    await ledger.change('a', view => view.create('a', transfer, false, { v: 1, stage: 'offered', at: AT }))
    const expected = { id: 'a', amount: '5', noteToSelf: { why: ['rent', { month: 5 }] }, custom: { constructor: 1 } }
    expect((await ledger.find('a'))?.info.transfer).toEqual(expected)
    expect((await open(inner).ledger.find('a'))?.info.transfer).toEqual(expected)
  })
})

describe('sameTransfer', () => {
  it('H37: compares names that objects inherit like any others', () => {
    for (const text of ['{"constructor":{"a":1}}', '{"valueOf":1}', '{"toString":null}', '{"__proto__":{"a":[1,{}]}}']) {
      const transfer = (custom: unknown) => ({ id: 'a', amount: '1', custom })
      expect(sameTransfer(transfer(JSON.parse(text)), transfer(JSON.parse(text)))).toBe(true)
      expect(sameTransfer(transfer(JSON.parse(text)), transfer({}))).toBe(false)
    }
  })

  it('C27: differs in a field, a missing field, a type, an order of a list; not in the order of names', () => {
    const transfer: Transfer = { id: 'a', amount: '1', custom: { list: [1, 2], none: null } }
    const reordered: Transfer = { custom: { none: null, list: [1, 2] }, amount: '1', id: 'a' }
    expect(sameTransfer(transfer, reordered)).toBe(true)
    const others: Transfer[] = [
      { ...transfer, amount: '2' }, { id: 'a', amount: '1' }, { ...transfer, more: 0 },
      { ...transfer, custom: { list: [2, 1], none: null } }, { ...transfer, custom: { list: [1, 2] } },
      { ...transfer, custom: { list: { 0: 1, 1: 2 }, none: null } }, { ...transfer, custom: { list: [1], none: null } },
      { ...transfer, custom: { list: ['1', 2], none: null } }, { ...transfer, custom: null }
    ]
    for (const other of others) {
      expect(sameTransfer(transfer, other)).toBe(false)
      expect(sameTransfer(other, transfer)).toBe(false)
    }
  })
})

describe('restarts', () => {
  it('H5: holds are found again, in both directions, and their transfers can be fulfilled', async () => {
    const { ledger, inner } = open()
    await prepare(ledger, 'in', '5', true)
    await prepare(ledger, 'out', '7', false)
    await prepare(ledger, 'done', '1', true)
    await move(ledger, 'done', 'fulfilled')
    const again = open(inner)
    await again.ledger.load()
    expect(await sums(again.ledger)).toEqual({ if: '1', of: '0', ih: '5', oh: '7' })
    expect(openIds(again.ledger)).toEqual(['in', 'out'])
    expect(await again.ledger.change('none', view => view.inFlight)).toBe(2)
    await move(again.ledger, 'in', 'fulfilled')
    await move(again.ledger, 'out', 'cancelled')
    expect(await sums(again.ledger)).toEqual({ if: '6', of: '0', ih: '0', oh: '0' })
  })

  it('costs what is in flight, not what has ever happened', async () => {
    const { ledger, inner } = open()
    for (let i = 0; i < 300; i++) {
      await prepare(ledger, `t${i}`, '1', true)
      await move(ledger, `t${i}`, 'fulfilled')
    }
    await prepare(ledger, 'open', '1', true)
    const again = open(inner)
    await again.ledger.load()
    expect(again.store.counts.get + again.store.counts.list).toBeLessThan(10)
  })

  it('reads open records beyond one page of the store', async () => {
    const { ledger, inner } = open()
    await Promise.all(Array.from({ length: 1201 }, (_, n) => prepare(ledger, `t${n}`, '1', true)))
    const again = open(inner)
    expect(await sums(again.ledger)).toMatchObject({ ih: '1201' })
  })

  it('H2: a final transfer whose event may not have been raised is listed until it is closed, then no more', async () => {
    const { ledger, inner, committer } = open()
    await prepare(ledger, 'a', '5', false)
    await move(ledger, 'a', 'fulfilled', { fulfillment: 'preimage', report: 'fulfill' })
    const [entry] = ledger.open
    expect(entry).toMatchObject({ id: 'a', stage: 'fulfilled', open: { report: 'fulfill', fulfillment: 'preimage', at: AT } })
    ledger.close('a')
    expect(openIds(ledger)).toEqual([])
    // Not durable yet: a restart lists it again, and counts it only once.
    const crashed = open(inner)
    await crashed.ledger.load()
    expect(openIds(crashed.ledger)).toEqual(['a'])
    expect(await sums(crashed.ledger)).toEqual({ if: '0', of: '5', ih: '0', oh: '0' })
    await committer.settle()
    const stopped = open(inner)
    await stopped.ledger.load()
    expect(openIds(stopped.ledger)).toEqual([])
  })

  it('close costs no commit of its own, and goes along with the next', async () => {
    const { ledger, store } = open()
    await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'rejecting')
    const before = store.counts.commit
    ledger.close('a')
    await settle()
    expect(store.counts.commit).toBe(before)
    await prepare(ledger, 'b', '1', true)
    expect(store.counts.commit).toBe(before + 1)
    expect(openRecords(await contents(store))).not.toHaveProperty('a')
    expect((await ledger.find('a'))?.stage).toBe('cancelled')
  })

  it('close of what is prepared, unknown or closed changes nothing', async () => {
    const { ledger, committer } = open()
    await prepare(ledger, 'a', '5', true)
    ledger.close('a')
    ledger.close('unknown')
    await committer.settle()
    expect(openIds(ledger)).toEqual(['a'])
    expect(await sums(ledger)).toMatchObject({ ih: '5' })
  })

  it('a close that could not be written is written later', async () => {
    const { ledger, store, committer } = open()
    await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'rejecting')
    ledger.close('a')
    store.failNextCommit()
    await expect(prepare(ledger, 'b', '1', true)).rejects.toThrow(StoreError)
    expect(openRecords(await contents(store))).toHaveProperty('a')
    await committer.settle()
    expect(openRecords(await contents(store))).not.toHaveProperty('a')
  })

  it('a close that was overtaken by a newer report does not take that report away', async () => {
    const { ledger, store, inner } = open()
    await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'rejecting')
    const release = store.holdCommits()
    const change = move(ledger, 'a', 'cancelled', { report: 'reject' })
    await settle()
    ledger.close('a')
    release()
    await change
    await prepare(ledger, 'b', '1', true)
    expect(openIds(ledger)).toEqual(['a', 'b'])
    const again = open(inner)
    await again.ledger.load()
    expect([...again.ledger.open].find(({ id }) => id === 'a')).toMatchObject({ open: { report: 'reject' } })
  })

  it('a closed transfer whose id is touched in the same turn stays closed, and is not created again', async () => {
    const { ledger, committer, store } = open()
    await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'rejecting')
    ledger.close('a')
    await expect(prepare(ledger, 'a', '5', true)).rejects.toThrow(DuplicateIdError)
    await expect(move(ledger, 'a', 'cancelled')).rejects.toThrow(/cannot go from cancelled/)
    await committer.settle()
    expect(Object.keys(await contents(store)).filter(key => key.includes('open'))).toEqual([])
  })

  it('a record that does not parse rejects with StoreError that names its key', async () => {
    for (const [key, text] of [
      [':tl:balance:if', 'x'], [':tl:balance:of', '1.5'], [':tl:balance:if', ''], [':tl:balance:of', 'Infinity'], [':tl:balance:if', '-1'],
      [':tl:maximum', 'lots'], [':tl:minimum', '1.5'], [':tl:maximum', 'NaN'],
      [PAGE, '{'], [PAGE, 'null'], [PAGE, '{}'], [PAGE, '[null]'], [PAGE, '[{"id":"a","v":2,"stage":"held","at":1}]'],
      [PAGE, '[{"id":"a","v":1,"stage":"banana","at":1}]'], [PAGE, '[{"id":"a","v":1,"stage":"constructor","at":1}]'],
      [PAGE, '[{"id":"a","v":1,"stage":"held"}]'], [PAGE, '[{"v":1,"stage":"held","at":1}]']
    ] as const) {
      const { ledger, inner } = open()
      await prepare(ledger, 'a', '5', true)
      await inner.commit({ puts: [[key, text]] })
      const error = await open(inner).ledger.load().catch((thrown: unknown) => thrown)
      expect(error, `${key} ${text}`).toBeInstanceOf(StoreError)
      expect((error as Error).message).toContain(key)
    }
  })

  it('a transfer that does not parse rejects with StoreError, where it is asked for and where it is open', async () => {
    for (const text of ['{', 'null', '[]', '{"transfer":{},"isIncoming":true,"state":"prepared"}', '{"transfer":null,"isIncoming":true,"state":"prepared"}',
      '{"transfer":{"id":"a","amount":"x"},"isIncoming":true,"state":"prepared"}', '{"transfer":{"id":"a","amount":"1"},"isIncoming":1,"state":"prepared"}',
      '{"transfer":{"id":"a","amount":"1"},"isIncoming":true,"state":"odd"}', '{"transfer":{"id":"a","amount":"-1"},"isIncoming":true,"state":"prepared"}',
      '{"transfer":{"id":"a","amount":"1.5"},"isIncoming":true,"state":"prepared"}'
    ]) {
      const { ledger, inner } = open()
      await inner.commit({ puts: [[':tl:transfer:a', text]] })
      await expect(ledger.find('a'), text).rejects.toThrow(StoreError)
      await expect(prepare(ledger, 'a', '1', true), text).rejects.toThrow(/:tl:transfer:a/)
      // Others are as they should be.
      await prepare(ledger, 'b', '1', true)
      await inner.commit({ puts: [[PAGE, '[{"id":"a","v":1,"stage":"held","at":1}]']] })
      await expect(open(inner).ledger.load(), text).rejects.toThrow(/:tl:transfer:a/)
    }
  })

  it('an open record without its transfer is an error, not a transfer less', async () => {
    const { inner } = open()
    await inner.commit({ puts: [[PAGE, '[{"id":"a","v":1,"stage":"held","at":1}]']] })
    await expect(open(inner).ledger.load()).rejects.toThrow(/:tl:transfer:a/)
  })

  it('who only reads sees both sums as they were at one time', async () => {
    const { ledger, inner } = open()
    await prepare(ledger, 'a', '5', true)
    await prepare(ledger, 'b', '3', false)
    /** In which another owner writes between the two, where they are read one by one. */
    let written: Promise<unknown> | undefined
    const busy: Store = {
      async get(key) {
        if (key === ':tl:balance:of') await (written ??= Promise.all([move(ledger, 'a', 'fulfilled'), move(ledger, 'b', 'fulfilled')]))
        return inner.get(key)
      },
      list: (prefix, options) => inner.list(prefix, options),
      commit: batch => inner.commit(batch),
      close: () => inner.close()
    }
    const { if: incoming, of: outgoing } = await sums(open(busy).ledger)
    expect(['0 0', '5 3']).toContain(`${incoming} ${outgoing}`)
  })

  it('loading that failed can be tried again', async () => {
    const { ledger, inner } = open()
    await prepare(ledger, 'a', '5', true)
    const again = open(inner)
    again.store.failGets(1)
    await expect(again.ledger.load()).rejects.toThrow()
    await again.ledger.load()
    expect(await sums(again.ledger)).toMatchObject({ ih: '5' })
  })
})

describe('transfers that the old package left prepared', () => {
  const old = JSON.stringify({ transfer: { id: 'a', amount: '5' }, isIncoming: true, state: 'prepared' })

  it('are not counted until they move, and never leave a hold below zero', async () => {
    for (const stages of [['fulfilled'], ['cancelled'], ['fulfilling', 'fulfilled'], ['fulfilling', 'disputed'], ['rejecting', 'cancelled']] as const) {
      const { ledger, inner } = open()
      await inner.commit({ puts: [[':tl:transfer:a', old]] })
      expect(await sums(ledger)).toMatchObject({ ih: '0' })
      for (const stage of stages) {
        await move(ledger, 'a', stage, { fulfillment: 'preimage' })
        if (stage === 'fulfilling') {
          expect(await sums(ledger)).toMatchObject({ ih: '5' })
          expect(await sums(open(inner).ledger)).toMatchObject({ ih: '5' })
        }
      }
      expect(await sums(ledger)).toMatchObject({ if: stages.at(-1) === 'fulfilled' ? '5' : '0', ih: '0' })
      expect(await sums(open(inner).ledger)).toEqual(await sums(ledger))
    }
  })
})

describe('owners', () => {
  it('a fenced ledger shows nothing of the change that was refused, and what the other owner has written', async () => {
    const inner = new MemoryStore()
    const [first, second] = [open(inner), open(inner)]
    await prepare(first.ledger, 'a', '5', true)
    await second.committer.takeOver()
    await move(second.ledger, 'a', 'cancelled')
    await expect(move(first.ledger, 'a', 'fulfilled')).rejects.toThrow(StandbyError)
    await expect(prepare(first.ledger, 'b', '5', true)).rejects.toThrow(StandbyError)
    expect(await sums(first.ledger)).toMatchObject({ if: '0', ih: '0' })
    expect(first.lost).toHaveLength(1)
    expect(await sums(second.ledger)).toMatchObject({ if: '0', ih: '0' })
  })

  it('taking over again reads anew what the other owner did', async () => {
    const inner = new MemoryStore()
    const [first, second] = [open(inner), open(inner)]
    await prepare(first.ledger, 'a', '5', true)
    first.committer.release()
    await second.committer.takeOver()
    await move(second.ledger, 'a', 'fulfilled')
    await second.ledger.setLimit('maximum', parseLimit('5', 'maximum'))
    second.committer.release()
    await first.committer.takeOver()
    expect(await sums(first.ledger)).toEqual({ if: '5', of: '0', ih: '0', oh: '0' })
    expect((await first.ledger.limits()).maximum.toString()).toBe('5')
    expect(openIds(first.ledger)).toEqual([])
    await expect(move(first.ledger, 'a', 'cancelled')).rejects.toThrow(/cannot go from fulfilled/)
  })

  it('a close that was put off before the store changed hands deletes nothing of what is open since', async () => {
    const inner = new MemoryStore()
    const [first, second] = [open(inner), open(inner)]
    await prepare(first.ledger, 'a', '5', true)
    await move(first.ledger, 'a', 'rejecting')
    first.ledger.close('a')
    first.committer.release()
    await second.committer.takeOver()
    await move(second.ledger, 'a', 'cancelled')
    await second.ledger.prune(Infinity, () => true)
    await prepare(second.ledger, 'a', '7', true)
    second.committer.release()
    await first.committer.takeOver()
    await first.committer.submit(() => undefined)
    expect(openRecords(await contents(inner))).toHaveProperty('a')
    expect(await sums(first.ledger)).toMatchObject({ ih: '7' })
  })

  it('reading that began before the take-over is not taken for what the store holds after it', async () => {
    const inner = new MemoryStore()
    const [first, second] = [open(inner), open(inner)]
    await prepare(second.ledger, 'a', '5', true)
    const release = first.store.holdGet(':tl:balance:if')
    const early = first.ledger.load()
    await settle()
    await move(second.ledger, 'a', 'fulfilled')
    await first.committer.takeOver()
    first.store.passGets()
    await first.ledger.load()
    release()
    await early
    expect(await sums(first.ledger)).toEqual({ if: '5', of: '0', ih: '0', oh: '0' })
  })

  it('a stale reading that ends late does not undo what was changed meanwhile', async () => {
    const inner = new MemoryStore()
    const { store, committer, ledger } = open(inner)
    const release = store.holdGet(':tl:balance:if')
    const early = ledger.load()
    await settle()
    await committer.takeOver()
    store.passGets()
    await prepare(ledger, 'a', '5', true)
    await move(ledger, 'a', 'fulfilled')
    release()
    await early
    expect(await sums(ledger)).toMatchObject({ if: '5' })
  })

  it('a transfer that was read before the store changed hands is read again before it is changed', async () => {
    const inner = new MemoryStore()
    const [first, second] = [open(inner), open(inner)]
    await prepare(second.ledger, 'a', '5', true)
    await move(second.ledger, 'a', 'cancelled')
    const backup = await contents(inner)
    await first.committer.takeOver()
    await first.ledger.load()
    // As it was before the second owner: absent.
    await inner.commit({ deletes: [':tl:transfer:a'] })
    const release = first.store.holdGet(':tl:transfer:a')
    const change = first.ledger.change('a', view => view.get('a')?.stage)
    await settle()
    await inner.commit({ puts: [[':tl:transfer:a', backup[':tl:transfer:a'] ?? '']] })
    first.committer.release()
    await first.committer.takeOver()
    first.store.passGets()
    release()
    expect(await change).toBe('cancelled')
  })

  it('two changes that wait for one reading while the store is given up do not wait for each other for ever', async () => {
    const { ledger, store, committer } = open()
    await committer.takeOver()
    await ledger.load()
    const release = store.holdGet(':tl:transfer:a')
    const changes = [ledger.change('a', view => view.get('a')?.stage), ledger.change('a', view => view.get('a')?.stage)]
    await settle()
    committer.release()
    store.passGets()
    // They went round without letting anything else run, so that no time-out could have ended this test.
    let looks = 0
    const owns = Object.getOwnPropertyDescriptor(Committer.prototype, 'owns')?.get
    vi.spyOn(committer, 'owns', 'get').mockImplementation(() => {
      if (looks++ > 1000) throw new Error('the changes go round and round')
      return owns?.call(committer) as boolean
    })
    release()
    expect(await Promise.all(changes)).toEqual([undefined, undefined])
  })
})

describe('the cache', () => {
  it('H4: keeps the last final transfers, 128 to 256, and reads older ones from the store', async () => {
    const { ledger, store } = open()
    const ids = Array.from({ length: 1500 }, (_, n) => `t${n}`)
    await Promise.all(ids.map(id => prepare(ledger, id, '1', false)))
    await Promise.all(ids.map(id => move(ledger, id, 'cancelled')))
    const kept = ids.filter(id => ledger.peek(id) !== undefined)
    expect(kept).toEqual(ids.slice(-kept.length))
    expect(kept.length).toBeGreaterThanOrEqual(128)
    expect(kept.length).toBeLessThanOrEqual(256)
    const before = store.counts.get
    await expect(prepare(ledger, 't1499', '1', false)).rejects.toThrow(DuplicateIdError)
    expect(store.counts.get).toBe(before)
    await expect(prepare(ledger, 't0', '1', false)).rejects.toThrow(DuplicateIdError)
    // The head, which tells a known id from a lost store, and the record.
    expect(store.counts.get).toBe(before + 2)
  })

  it('H4: a new id is not looked up, and costs one commit', async () => {
    const { ledger, store, committer } = open()
    await committer.takeOver()
    await ledger.load()
    const before = { ...store.counts }
    await Promise.all(['a', 'b', 'c'].map(id => prepare(ledger, id, '1', true)))
    expect(store.counts).toMatchObject({ get: before.get, commit: before.commit + 1 })
  })

  it('H4: an id that memory has forgotten is refused, and what was decided along with it is not', async () => {
    const { ledger } = open()
    await Promise.all(Array.from({ length: 1002 }, (_, n) => prepare(ledger, `t${n}`, '1', true)))
    await Promise.all(Array.from({ length: 1002 }, (_, n) => move(ledger, `t${n}`, 'cancelled')))
    const results = await Promise.allSettled([
      prepare(ledger, 'new', '2', true), prepare(ledger, 't0', '4', true), prepare(ledger, 't0', '8', true), prepare(ledger, 'other', '16', true),
      ledger.change('t1', view => view.get('t1')?.stage)
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled', 'fulfilled'])
    expect(results[1]).toMatchObject({ reason: { name: 'DuplicateIdError' } })
    expect(results[4]).toMatchObject({ value: 'cancelled' })
    expect(await sums(ledger)).toMatchObject({ ih: '18' })
    // Nothing of it is left: the id is read again the next time, and may be used once it was pruned.
    await ledger.prune(Infinity, () => true)
    await prepare(ledger, 't0', '1', true)
    expect(await sums(ledger)).toMatchObject({ ih: '19' })
  })

  it('H4: a known id under an owner that has lost the store is told of the loss', async () => {
    const inner = new MemoryStore()
    const [first, second] = [open(inner), open(inner)]
    await first.committer.takeOver()
    await first.ledger.load()
    // Another process: nobody here is told.
    await inner.commit({ puts: [['paychan:head', JSON.stringify({ v: 1, owner: 'x', epoch: 99, attempt: 1 })]] })
    await second.committer.takeOver()
    await prepare(second.ledger, 'a', '1', true)
    await expect(prepare(first.ledger, 'a', '1', true)).rejects.toThrow(StandbyError)
  })

  it('H4: an id whose change waits is not dropped meanwhile', async () => {
    const { ledger, store } = open()
    const others = Array.from({ length: 1100 }, (_, n) => `t${n}`)
    await Promise.all(others.map(id => prepare(ledger, id, '1', true)))
    await prepare(ledger, 'a', '1', true)
    await move(ledger, 'a', 'cancelled')
    const release = store.holdCommits()
    const finals = others.map(id => move(ledger, id, 'cancelled'))
    const again = expect(prepare(ledger, 'a', '1', true)).rejects.toThrow(DuplicateIdError)
    release()
    await Promise.all([...finals, again])
  })

  it('shrinks to its bound again after more than fits was in use', async () => {
    const { ledger } = open()
    const ids = Array.from({ length: 3000 }, (_, n) => `t${n}`)
    await Promise.allSettled(ids.map(id => ledger.change(id, view => { if (view.get(id) === undefined) throw new TransferNotFoundError(id) })))
    await Promise.all(ids.map(id => prepare(ledger, id, '1', true)))
    await Promise.all(ids.map(id => move(ledger, id, 'cancelled')))
    const more = Array.from({ length: 2000 }, (_, n) => `m${n}`)
    for (let at = 0; at < more.length; at += 500) {
      const some = more.slice(at, at + 500)
      await Promise.all(some.map(id => prepare(ledger, id, '1', true)))
      await Promise.all(some.map(id => move(ledger, id, 'cancelled')))
    }
    const kept = [...ids, ...more].filter(id => ledger.peek(id) !== undefined)
    expect(kept).toEqual(more.slice(-kept.length))
    expect(kept.length).toBeLessThanOrEqual(256)
  })
})

describe('history', () => {
  async function filled(count: number) {
    const opened = open()
    await Promise.all(Array.from({ length: count }, (_, n) => prepare(opened.ledger, `t${n}`, String(n), true, { at: AT + n })))
    return opened
  }

  it('lists newest first, page by page, each once, without a gap', async () => {
    const { ledger } = await filled(25)
    const seen: string[] = []
    let before: string | undefined
    for (;;) {
      const { entries } = await ledger.history(before, 7)
      if (entries.length === 0) break
      seen.push(...entries.map(({ transfer }) => transfer.id))
      before = entries.at(-1)?.cursor
    }
    expect(seen).toEqual(Array.from({ length: 25 }, (_, n) => `t${24 - n}`))
  })

  it('reads no more than the page', async () => {
    const { inner } = await filled(300)
    const { ledger, committer, store } = open(inner)
    await committer.takeOver()
    await ledger.load()
    const { gets, lists } = store
    gets.length = lists.length = 0
    const { entries: [first] } = await ledger.history(undefined, 1)
    expect(first).toMatchObject({ preparedAt: AT + 299, state: 'prepared', transfer: { id: 't299' } })
    expect(lists).toEqual([{ prefix: ':paychan:history:', limit: 1 }])
    expect(gets.length).toBeLessThanOrEqual(1)
  })

  it('shows the state that a transfer has now, in the place of when it was prepared', async () => {
    const { ledger } = await filled(3)
    await move(ledger, 't0', 'fulfilled', { fulfillment: 'preimage' })
    const { entries } = await ledger.history(undefined, 10)
    expect(entries.map(({ transfer: { id }, state }) => [id, state])).toEqual([['t2', 'prepared'], ['t1', 'prepared'], ['t0', 'fulfilled']])
  })

  it('a page shorter than the limit is the last one, also where a transfer went while it was read', async () => {
    const { ledger, inner } = await filled(5)
    await move(ledger, 't3', 'cancelled')
    const again = open(inner)
    await again.ledger.load()
    // Its record has gone, and the list that was read before still has its key.
    await inner.commit({ deletes: [':tl:transfer:t3'] })
    const { entries } = await again.ledger.history(undefined, 3)
    expect(entries.map(({ transfer }) => transfer.id)).toEqual(['t4', 't2', 't1'])
  })

  it('keeps the order across the digits of the time, and takes any id', async () => {
    const { ledger } = open()
    const times = [0, 9, 10, 999, 1000, AT, 9_999_999_999_998]
    for (const at of times) await prepare(ledger, `id.${at}:x`, '1', true, { at })
    const { entries } = await ledger.history(undefined, 10)
    expect(entries.map(({ preparedAt }) => preparedAt)).toEqual([...times].reverse())
    expect(entries.map(({ transfer }) => transfer.id)).toEqual([...times].reverse().map(at => `id.${at}:x`))
  })
})

describe('prune', () => {
  async function filled() {
    const opened = open()
    const { ledger } = opened
    for (let n = 0; n < 6; n++) await prepare(ledger, `t${n}`, '10', true, { at: AT + n })
    await move(ledger, 't0', 'fulfilled', { fulfillment: 'preimage' })
    await move(ledger, 't1', 'cancelled')
    await move(ledger, 't2', 'fulfilled', { fulfillment: 'preimage', report: 'fulfill' })
    await move(ledger, 't3', 'fulfilling', { fulfillment: 'preimage' })
    await move(ledger, 't3', 'disputed')
    await move(ledger, 't5', 'fulfilled')
    return opened
  }

  const left = async (opened: ReturnType<typeof open>) => Object.keys(storedTransfers(await contents(opened.inner))).sort()

  it('removes final transfers from strictly before the time; sums, open and disputed ones stay', async () => {
    const opened = await filled()
    const before = await sums(opened.ledger)
    expect(await opened.ledger.prune(AT + 5, () => true)).toBe(2)
    expect(await left(opened)).toEqual(['t2', 't3', 't4', 't5'])
    expect(await sums(opened.ledger)).toEqual(before)
    expect(await sums(open(opened.inner).ledger)).toEqual(before)
    expect((await opened.ledger.history(undefined, 10)).entries.map(({ transfer }) => transfer.id)).toEqual(['t5', 't4', 't3', 't2'])
    expect(await opened.ledger.prune(AT + 5, () => true)).toBe(0)
    expect(await opened.ledger.find('t0')).toBeUndefined()
  })

  it('keeps disputed ones also after a restart, when memory does not know them', async () => {
    const opened = await filled()
    expect(await open(opened.inner).ledger.prune(AT + 100, () => true)).toBe(3)
    expect(await left(opened)).toEqual(['t2', 't3', 't4'])
  })

  it('keeps what the caller wants kept', async () => {
    const opened = await filled()
    expect(await opened.ledger.prune(AT + 100, ({ transfer }) => transfer.id === 't1')).toBe(1)
    expect(await left(opened)).toEqual(['t0', 't2', 't3', 't4', 't5'])
  })

  it('removes nothing for a time at or before the beginning, all that is final for Infinity, and rounds parts of milliseconds', async () => {
    for (const [before, ids] of [[0, 6], [-1, 6], [-Infinity, 6], [AT, 6], [AT + 0.5, 5], [Infinity, 3]] as const) {
      const opened = await filled()
      await opened.ledger.prune(before, () => true)
      expect(await left(opened), String(before)).toHaveLength(ids)
    }
  })

  it('takes the time strictly, also at its beginning', async () => {
    const opened = open()
    await prepare(opened.ledger, 'first', '1', true, { at: 0 })
    await move(opened.ledger, 'first', 'cancelled')
    expect(await opened.ledger.prune(0, () => true)).toBe(0)
    expect(await opened.ledger.prune(1, () => true)).toBe(1)
  })

  it('refuses what is no time', async () => {
    const opened = await filled()
    await expect(opened.ledger.prune(NaN, () => true)).rejects.toThrow(/before/)
    expect(await left(opened)).toHaveLength(6)
  })

  it('goes through more than a page', async () => {
    const { ledger } = open()
    const ids = Array.from({ length: 1300 }, (_, n) => `t${n}`)
    await Promise.all(ids.map((id, n) => prepare(ledger, id, '1', true, { at: AT + n })))
    await Promise.all(ids.map(id => move(ledger, id, 'fulfilled')))
    expect(await ledger.prune(AT + 1250, () => true)).toBe(1250)
    expect(await sums(ledger)).toMatchObject({ if: '1300' })
  })

  it('two at the same time count each transfer once, and never take one that came anew', async () => {
    const opened = await filled()
    const { ledger } = opened
    const counts = await Promise.all([ledger.prune(AT + 5, () => true), ledger.prune(AT + 5, () => true)])
    expect(counts[0] + counts[1]).toBe(2)
    await Promise.allSettled([
      prepare(ledger, 't0', '10', true, { at: AT }), ledger.prune(AT + 5, () => true),
      prepare(ledger, 't1', '10', true, { at: AT }), ledger.prune(AT + 5, () => true)
    ])
    // Every open record has its transfer: otherwise this would not load.
    await open(opened.inner).ledger.load()
    expect(openIds(ledger)).toEqual(expect.arrayContaining(['t0', 't1']))
  })

  it('H7: a failed prune leaves the records, in memory and in the store', async () => {
    const opened = await filled()
    opened.store.failNextCommit()
    await expect(opened.ledger.prune(AT + 5, () => true)).rejects.toThrow(StoreError)
    expect(await left(opened)).toHaveLength(6)
    expect((await opened.ledger.find('t0'))?.info.state).toBe('fulfilled')
  })
})

describe('several ledgers', () => {
  it('H8: a broken record of one ledger touches no other', async () => {
    const inner = new FaultyStore(new MemoryStore())
    await inner.commit({ puts: [['broken:tl:balance:if', 'x']] })
    const { backend, ledger } = open(inner)
    const broken = backend.getTransferLog('broken')
    const sound = backend.getTransferLog('sound')
    const results = await Promise.allSettled([
      broken.prepare({ id: 'a', amount: '1' }, true), sound.prepare({ id: 'a', amount: '1' }, true), prepare(ledger, 'a', '1', true)
    ])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
    await expect(broken.getBalance()).rejects.toThrow(/broken:tl:balance:if/)
    expect(await sound.getIncomingFulfilledAndPrepared()).toBe('1')
  })

  it('share one batch when they change in the same turn', async () => {
    const { backend, ledger, store, committer } = open()
    const log = backend.getTransferLog('mine')
    await committer.takeOver()
    await Promise.all([ledger.load(), log.getBalance()])
    const before = store.counts.commit
    await Promise.all([log.prepare({ id: 'a', amount: '1' }, true), prepare(ledger, 'a', '2', true)])
    expect(store.counts.commit).toBe(before + 1)
    expect(await sums(ledger)).toMatchObject({ ih: '2' })
    expect(await log.getIncomingFulfilledAndPrepared()).toBe('1')
  })
})

describe('errors of decisions', () => {
  it('a decision that throws what it likes disturbs neither the others of its group nor what comes after', async () => {
    const { ledger } = open()
    const results = await Promise.allSettled([
      prepare(ledger, 'a', '1', true),
      ledger.change('b', () => { throw new AlreadyRolledBackError('late') }),
      prepare(ledger, 'c', '1', true)
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    await prepare(ledger, 'b', '1', true)
    expect(await sums(ledger)).toMatchObject({ ih: '3' })
  })

  it('a transfer that is no JSON is refused before anything is written', async () => {
    const { ledger } = open()
    const cyclic: { id: string; amount: string; self?: unknown } = { id: 'a', amount: '1' }
    cyclic.self = cyclic
    const results = await Promise.allSettled([
      ledger.change('a', view => view.create('a', cyclic, true, { v: 1, stage: 'held', at: AT })), prepare(ledger, 'b', '1', true)
    ])
    expect(results).toMatchObject([{ reason: { name: 'InvalidFieldsError' } }, { status: 'fulfilled' }])
    expect(await sums(ledger)).toMatchObject({ ih: '1' })
  })
})
