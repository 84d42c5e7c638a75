/** A store that the old package wrote opens here with its balances, and the other way round: held against the old package itself. */
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import type { MaxValueEntry } from '../../src/ledger/max-value-tracker.js'
import { TransferLog } from '../../src/ledger/transfer-log.js'
import type { LoggedTransfer } from '../../src/ledger/records.js'
import { MemoryStore } from '../../src/store/memory.js'
import { contents, open } from './setup.js'

/** The part of a log that both packages have. */
type Log = Pick<TransferLog, 'prepare' | 'fulfill' | 'cancel' | 'setMaximum' | 'setMinimum' | 'getMaximum' | 'getMinimum' | 'getBalance' |
  'getIncomingFulfilled' | 'getOutgoingFulfilled' | 'getIncomingFulfilledAndPrepared' | 'getOutgoingFulfilledAndPrepared'> & { get(id: string): Promise<unknown> }

interface Tracker {
  setIfMax(entry: MaxValueEntry): Promise<MaxValueEntry>
  getMax(): Promise<MaxValueEntry>
}

type OldBackend = (store: unknown) => { getTransferLog(options: { key?: string }): Log; getMaxValueTracker(key: string): Tracker }

const oldBackend = createRequire(import.meta.url)('ilp-plugin-payment-channel-framework/src/util/backend.js') as OldBackend

/** The old package over a plain object. */
function old(values: Record<string, string> = {}) {
  const backend = oldBackend({
    get: (key: string) => Promise.resolve(values[key]),
    put: (key: string, value: string) => {
      values[key] = value
      return Promise.resolve()
    },
    del: () => Promise.reject(new Error('never called'))
  })
  return { values, log: (key: string): Log => backend.getTransferLog({ key }), tracker: (key: string) => backend.getMaxValueTracker(key) }
}

/** Ours over a store that holds these values; the key '' is the plugin's own ledger. */
async function ours(values: Record<string, string> = {}) {
  const inner = Object.assign(new MemoryStore(), { opensInOldPackage: true })
  await inner.commit({ puts: Object.entries(values) })
  const opened = open(inner)
  return {
    ...opened,
    log: (key: string): Log => key === '' ? new TransferLog(opened.ledger, () => opened.clock.now()) : opened.backend.getTransferLog(key),
    tracker: (key: string): Tracker => opened.backend.getMaxValueTracker(key),
    oldValues: async () => Object.fromEntries(Object.entries(await contents(inner)).filter(([key]) => !key.includes('paychan:')))
  }
}

const transfer = (id: string, amount: string): LoggedTransfer => ({
  id, amount, ledger: 'some.ledger.', to: 'some.ledger.server', from: 'some.ledger.client', executionCondition: 'uzoYx3K6u-Nt6kZjbN6KmH0yARfhkj9e17eQfpSeB7U',
  expiresAt: '2018-01-01T00:00:00.000Z', custom: { b: 1, a: { z: [], y: null } }, noteToSelf: { key: 'ü "quoted"' }
} as LoggedTransfer)

/** Everything that leaves a trace in the store. What is prepared at the end is `open-in` and `open-out`. */
async function use({ log, tracker }: { log(key: string): Log; tracker(key: string): Tracker }) {
  for (const key of ['', 'settlements']) {
    const it = log(key)
    await it.setMaximum('1000')
    await it.setMinimum(key === '' ? '-Infinity' : '-900')
    for (const [id, amount, isIncoming] of [['a', '500', true], ['b', '70', false], ['c', '3', true], ['open-in', '11', true], ['open-out', '13', false]] as const) {
      await it.prepare(transfer(id, amount), isIncoming)
    }
    await it.fulfill('a', 'HS8e5Ew02XKAglyus2dh2Ohabuqmy3HDM8EXMLz22ok')
    await it.fulfill('b', 'HS8e5Ew02XKAglyus2dh2Ohabuqmy3HDM8EXMLz22ok')
    await it.cancel('c')
  }
  await tracker('claims').setIfMax({ value: '7', data: { claim: 'x' } })
  await tracker('claims').setIfMax({ value: '12', data: { claim: 'y', list: [1, null] } })
}

const finalSums = async (log: Log) => [await log.getBalance(), await log.getIncomingFulfilled(), await log.getOutgoingFulfilled(),
  await log.getMaximum(), await log.getMinimum()]

describe('the old layout', () => {
  it('is written byte for byte as the old package writes it', async () => {
    const [theirs, mine] = [old(), await ours()]
    await use(theirs)
    await use(mine)
    expect(await mine.oldValues()).toEqual(theirs.values)
    expect(Object.keys(theirs.values)).toHaveLength(19)
  })

  it('what the old package wrote opens here: balances, limits, transfers, maxima', async () => {
    const theirs = old()
    await use(theirs)
    const mine = await ours(theirs.values)
    for (const key of ['', 'settlements']) {
      expect(await finalSums(mine.log(key))).toEqual(await finalSums(theirs.log(key)))
      expect(await mine.log(key).get('a')).toEqual(JSON.parse(theirs.values[`${key}:tl:transfer:a`] ?? ''))
      expect(await mine.log(key).get('open-in')).toMatchObject({ state: 'prepared', transfer: { noteToSelf: { key: 'ü "quoted"' } } })
      // H5: the old package forgets what was prepared; a fulfill of it is honoured here.
      await mine.log(key).fulfill('open-in', 'HS8e5Ew02XKAglyus2dh2Ohabuqmy3HDM8EXMLz22ok')
      await mine.log(key).cancel('open-out')
      expect(await mine.log(key).getBalance()).toBe('441')
      expect(await mine.log(key).getIncomingFulfilledAndPrepared()).toBe('511')
      expect(await mine.log(key).getOutgoingFulfilledAndPrepared()).toBe('70')
    }
    expect(await mine.tracker('claims').getMax()).toEqual(await theirs.tracker('claims').getMax())
  })

  it('what is written here opens in the old package, and after that here again', async () => {
    const mine = await ours()
    await use(mine)
    const theirs = old(await mine.oldValues())
    for (const key of ['', 'settlements']) {
      const log = theirs.log(key)
      expect(await finalSums(log)).toEqual(await finalSums(mine.log(key)))
      await log.prepare(transfer('d', '30'), true)
      await log.fulfill('d', 'HS8e5Ew02XKAglyus2dh2Ohabuqmy3HDM8EXMLz22ok')
    }
    await theirs.tracker('claims').setIfMax({ value: '20', data: null })
    const again = await ours({ ...await contents(mine.inner), ...theirs.values })
    for (const key of ['', 'settlements']) {
      expect(await again.log(key).getBalance()).toBe('460')
      expect(await again.log(key).get('d')).toMatchObject({ state: 'fulfilled' })
      // Holds of ours are found again, though the old package ran in between.
      expect(await again.log(key).getIncomingFulfilledAndPrepared()).toBe('541')
    }
    expect((await again.tracker('claims').getMax()).value).toBe('20')
  })

  it('sums and limits of 1e21 and more pass both ways, though the old package writes them with an exponent', async () => {
    const theirs = old()
    await theirs.log('').setMaximum('5000000000000000000000')
    await theirs.log('').setMinimum('-5000000000000000000000')
    const values: Record<string, string> = { ...theirs.values, ':tl:balance:if': '2.5e+21', ':tl:balance:of': '1e+21' }
    expect(values[':tl:maximum']).toBe('5e+21')
    const mine = await ours(values)
    expect(await finalSums(mine.log('')))
      .toEqual(['1500000000000000000000', '2500000000000000000000', '1000000000000000000000', '5000000000000000000000', '-5000000000000000000000'])
    await mine.log('').prepare(transfer('a', '1'), true)
    await mine.log('').fulfill('a', 'HS8e5Ew02XKAglyus2dh2Ohabuqmy3HDM8EXMLz22ok')
    await mine.log('').setMaximum('6000000000000000000000')
    const back = old(await mine.oldValues())
    expect(await back.log('').getIncomingFulfilled()).toBe('2.500000000000000000001e+21')
    expect(await back.log('').getMaximum()).toBe('6e+21')
  })

  it('amounts that only the old package took are read', async () => {
    const record = (amount: unknown) => JSON.stringify({ transfer: { id: 'a', amount }, isIncoming: true, state: 'fulfilled' })
    for (const amount of ['1e+3', 5, '5.0']) {
      const mine = await ours({ ':tl:transfer:a': record(amount) })
      expect(await mine.log('').get('a')).toMatchObject({ transfer: { amount } })
    }
  })
})
