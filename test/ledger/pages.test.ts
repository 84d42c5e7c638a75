/** How open transfers and the history lie in the store: in pages, so that a commit of many changes writes few records. */
import { describe, expect, it } from 'vitest'
import type { Store } from '../../src/core/store.js'
import type { Stage } from '../../src/ledger/stages.js'
import { chooser } from '../support/chooser.js'
import { openRecords } from '../support/stored-transfers.js'
import { contents, move, open, prepare, sums } from './setup.js'

const AT = 1_514_764_800_000
const HISTORY = ':paychan:history:'

const named = (count: number, prefix = 't') => Array.from({ length: count }, (_, n) => `${prefix}${n}`)
const openIn = async (store: Store) => Object.keys(openRecords(await contents(store))).sort()
const pagesIn = async (store: Store, prefix: string) => (await store.list(prefix, { limit: Infinity })).length

describe('pages of open transfers', () => {
  it('a commit of many transfers writes few records: what is open, and the history', async () => {
    const { ledger, store } = open()
    await prepare(ledger, 'first', '1', true)
    await Promise.all(named(64).map(id => prepare(ledger, id, '1', true)))
    expect(store.batches.at(-1)?.puts).toHaveLength(1 + 2 + 2)
    await Promise.all(named(64).map(id => move(ledger, id, 'fulfilling', { fulfillment: 'preimage' })))
    expect(store.batches.at(-1)?.puts).toHaveLength(1 + 2)
    await Promise.all(named(64).map(id => move(ledger, id, 'fulfilled')))
    // The head, the sum, and each transfer, which is asked for by its id from now on.
    expect(store.batches.at(-1)?.puts).toHaveLength(1 + 1 + 64)
    expect(await openIn(store)).toEqual(['first'])
    expect(await pagesIn(store, ':paychan:open:')).toBe(1)
  })

  it('large ones do not share pages of any size, since each that ends has the others written again', async () => {
    const { ledger, store } = open()
    await Promise.all(named(32).map(id => ledger.change(id, view => view.create(id, { id, amount: '1', ilp: 'x'.repeat(40_000) }, true, { v: 1, stage: 'held', at: AT }))))
    const before = store.batches.length
    for (const id of named(32)) await move(ledger, id, 'cancelled')
    const written = store.batches.slice(before).flatMap(({ puts = [] }) => puts).reduce((sum, [, text]) => sum + text.length, 0)
    // Each once, as a final transfer.
    expect(written).toBeLessThan(32 * 45_000)
  })

  it('H5: more of them than are read at once are all found again', async () => {
    const { ledger, inner } = open()
    for (const id of named(205)) await prepare(ledger, id, '1', true)
    expect(await pagesIn(inner, ':paychan:open:')).toBe(205)
    expect((await sums(open(inner).ledger)).ih).toBe('205')
  })

  it('one that ends leaves the others of its page as they are', async () => {
    const { ledger, inner } = open()
    await Promise.all([prepare(ledger, 'a', '1', true), prepare(ledger, 'b', '2', false), prepare(ledger, 'c', '4', true, { stage: 'checking' })])
    await move(ledger, 'a', 'fulfilling', { fulfillment: 'preimage', ilp: 'packet' })
    await ledger.change('c', view => { view.remove(view.get('c')!) })
    const again = open(inner)
    await again.ledger.load()
    expect([...again.ledger.open].map(({ id, stage }) => [id, stage])).toEqual([['b', 'offered'], ['a', 'fulfilling']])
    expect(again.ledger.peek('a')?.open).toEqual({ v: 1, stage: 'fulfilling', at: AT, fulfillment: 'preimage', ilp: 'packet' })
    expect(await sums(again.ledger)).toEqual({ if: '0', of: '0', ih: '1', oh: '2' })
  })

  it('an event that may not have been raised stays open when its page is written anew for another', async () => {
    const { ledger, inner } = open()
    await Promise.all([prepare(ledger, 'a', '1', false), prepare(ledger, 'b', '2', false)])
    await move(ledger, 'a', 'fulfilled', { fulfillment: 'preimage', report: 'fulfill' })
    await move(ledger, 'b', 'cancelled')
    const again = open(inner)
    await again.ledger.load()
    expect([...again.ledger.open]).toMatchObject([{ id: 'a', stage: 'fulfilled', open: { report: 'fulfill', at: AT }, info: { fulfillment: 'preimage' } }])
    expect(await sums(again.ledger)).toEqual({ if: '0', of: '1', ih: '0', oh: '0' })
  })

  it('each open transfer lies in one page, whatever fails and whenever the ledger is opened again', async () => {
    const ways: Record<string, Stage[]> = { held: ['fulfilling', 'rejecting', 'cancelled', 'fulfilled'], fulfilling: ['fulfilled'], offered: ['fulfilled', 'cancelled'], checking: ['held', 'cancelled'] }
    for (let seed = 1; seed <= 40; seed++) {
      const { upTo, chance, pick } = chooser(seed)
      let opened = open()
      const { inner } = opened
      await opened.committer.takeOver()
      let count = 0
      /** What is open when all is durable, by what the calls answered. */
      const expected = new Map<string, Stage>()
      const step = async (): Promise<void> => {
        const { ledger } = opened
        const id = pick([...expected.keys(), ''])
        const stage = expected.get(id)
        if (stage === undefined || chance(0.4)) {
          const [made, first] = [`t${count++}`, pick<Stage>(['held', 'offered', 'checking'])]
          await prepare(ledger, made, '1', first !== 'offered', { stage: first })
          expected.set(made, first)
        } else if (stage === 'rejecting' || ways[stage] === undefined) {
          ledger.close(id)
          expected.delete(id)
        } else {
          const next = pick(ways[stage])
          const reports = stage === 'offered' && chance(0.5)
          await move(ledger, id, next, reports ? { report: next === 'fulfilled' ? 'fulfill' : 'cancel' } : {})
          if (reports || ways[next] !== undefined || next === 'rejecting') expected.set(id, next)
          else expected.delete(id)
        }
      }
      for (let round = 0; round < 25; round++) {
        const fails = chance(0.2)
        if (fails) opened.store.failNextCommit()
        // Those of a group that fails are answered so; what one step decided, another one may find changed.
        await Promise.allSettled(Array.from({ length: 1 + upTo(9) }, step))
        await opened.committer.settle()
        opened.store.clearFaults()
        await opened.committer.submit(() => undefined)
        expect(await openIn(inner), `seed ${seed}, round ${round}`).toEqual([...opened.ledger.open].map(({ id }) => id).sort())
        expect([...expected.keys()].sort()).toEqual(await openIn(inner))
        if (chance(0.3)) {
          const before = await sums(opened.ledger)
          opened = open(inner)
          await opened.committer.takeOver()
          expect(await sums(opened.ledger)).toEqual(before)
          expect([...opened.ledger.open].map(({ id }) => id).sort()).toEqual([...expected.keys()].sort())
        }
      }
    }
  })
})

describe('pages of the history', () => {
  async function filled(times: readonly number[]) {
    const opened = open()
    await Promise.all(times.map((at, n) => prepare(opened.ledger, `t${n}`, '1', false, { at })))
    return opened
  }

  const idsOf = async ({ ledger }: Pick<ReturnType<typeof open>, 'ledger'>, before?: string, limit = 1000) =>
    (await ledger.history(before, limit)).entries.map(({ transfer }) => transfer.id)

  it('can be left at any entry, and gone on with from there', async () => {
    const opened = await filled(named(100).map((_, n) => AT + n))
    const all = named(100).reverse()
    const { entries } = await opened.ledger.history(undefined, 1000)
    expect(entries.map(({ transfer }) => transfer.id)).toEqual(all)
    for (const [index, { cursor }] of entries.entries()) expect(await idsOf(opened, cursor, 40)).toEqual(all.slice(index + 1, index + 41))
  })

  it('what is prepared at the same time is listed with the last call first', async () => {
    expect(await idsOf(await filled([AT, AT, AT]))).toEqual(['t2', 't1', 't0'])
  })

  it('what the module has not agreed to is not in it, and takes its place when it has', async () => {
    const opened = open()
    const { ledger, inner } = opened
    await prepare(ledger, 'early', '1', true, { stage: 'checking', at: AT })
    await prepare(ledger, 'refused', '1', true, { stage: 'checking', at: AT + 1 })
    await prepare(ledger, 'late', '1', true, { at: AT + 2 })
    expect(await idsOf(opened)).toEqual(['late'])
    await move(ledger, 'early', 'held')
    await ledger.change('refused', view => { view.remove(view.get('refused')!) })
    expect(await idsOf(opened)).toEqual(['late', 'early'])
    expect(await pagesIn(inner, HISTORY)).toBe(2)
  })

  it('prune takes what is older than the time, also of a page that is younger in part', async () => {
    const opened = await filled([AT, AT + 500, AT + 999, AT + 1000, AT + 5000])
    await Promise.all(named(5).map(id => move(opened.ledger, id, 'cancelled')))
    const { entries } = await opened.ledger.history(undefined, 1000)
    expect(await opened.ledger.prune(AT + 999, () => true)).toBe(2)
    expect(await idsOf(opened)).toEqual(['t4', 't3', 't2'])
    // Who was in the middle of it goes on where they were.
    expect(await idsOf(opened, entries[1]?.cursor)).toEqual(['t2'])
    expect(await opened.ledger.prune(Infinity, () => true)).toBe(3)
    expect(await pagesIn(opened.inner, HISTORY)).toBe(0)
    expect(await idsOf(opened, entries[1]?.cursor)).toEqual([])
  })

  it('prune that was interrupted leaves nothing behind for the next one', async () => {
    const opened = await filled([AT, AT + 1])
    await Promise.all(named(2).map(id => move(opened.ledger, id, 'cancelled')))
    // Gone, but named by the page still: the process ended in between.
    await opened.inner.commit({ deletes: [':tl:transfer:t0'] })
    const again = open(opened.inner)
    expect(await idsOf(again)).toEqual(['t1'])
    expect(await again.ledger.prune(Infinity, () => true)).toBe(1)
    expect(await pagesIn(opened.inner, HISTORY)).toBe(0)
  })

  it('a page that does not parse is an error that names it', async () => {
    const { ledger, inner } = await filled([AT, AT])
    const [[key] = ['']] = await inner.list(HISTORY, { limit: 1 })
    await inner.commit({ puts: [[key, '{']] })
    await expect(ledger.history(undefined, 5)).rejects.toThrow(key)
  })
})
