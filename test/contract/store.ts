/**
 * What every store must do. Each adapter's test runs this suite over it: `describeStore('memory', ...)`.
 */
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { InvalidFieldsError, StoreError } from '../../src/core/errors.js'
import type { Batch, Store } from '../../src/core/store.js'

export interface StoreHarness {
  store: Store
  /** A store over what is stored now, as after a restart of the process. The one before is closed, and not used any more. */
  reopen(): Promise<Store>
  /** Closes the store, or what it was reopened as, and removes what it has left behind. */
  dispose(): Promise<void>
}

/** For stores over something that a test can make fail. */
export interface FailingStoreHarness extends StoreHarness {
  /** Makes the next write fail, once. */
  failNextWrite(): void
}

const TRICKY_KEYS = ['\0', ' ', 'a', 'a\0', 'a:', 'a:b', 'a:b:c', 'a;', 'ab', 'b', '\x7f', 'é', '\u07ff', '\u0800', '\ud7ff', '😀', '😁', '\ue000', '\uffff']

/** `large` is whether the test with 100,000 keys runs too (default true): once is enough for adapters that differ little. */
export function describeStore(name: string, open: () => Promise<StoreHarness>, { large = true } = {}): void {
  describe(`${name}: the store contract`, () => {
    const opened = disposing(open)

    describeBatches(opened)
    describeGuards(opened)
    describeLists(opened)
    if (large) describeManyKeys(opened)
    describeLimits(opened)
    describeLife(opened)
  })
}

/**
 * The part of the contract that only a store over something that can be made to fail can be held to. Memory has nothing below it, and
 * of lmdb only the disk can fail, for the whole process: `lmdb.test.ts` fills one.
 */
export function describeFailingWrites(name: string, open: () => Promise<FailingStoreHarness>): void {
  describe(`${name}: the store contract when writes fail`, () => {
    describeFailures(disposing(open))
  })
}

type Open<H extends StoreHarness = StoreHarness> = () => Promise<H>

/** Opens harnesses that are disposed of after each test of the suite that this is called in. */
function disposing<H extends StoreHarness>(open: Open<H>): Open<H> {
  const harnesses: H[] = []
  afterEach(async () => {
    for (const { dispose } of harnesses.splice(0)) await dispose()
  })
  return async () => {
    const harness = await open()
    harnesses.push(harness)
    return harness
  }
}

async function keysOf(store: Store, prefix = '', options: Parameters<Store['list']>[1] = { limit: Infinity }): Promise<string[]> {
  return (await store.list(prefix, options)).map(([key]) => key)
}

function describeBatches(open: Open): void {
  it('gives back what was put, and undefined for what was not', async () => {
    const { store } = await open()
    expect(await store.get('a')).toBeUndefined()
    expect(await store.commit({ puts: [['a', '1'], ['b', '']] })).toBe(true)
    expect(await store.get('a')).toBe('1')
    expect(await store.get('b')).toBe('')
    expect(await store.get('c')).toBeUndefined()
  })

  it('applies puts and deletes of one batch together, over what was there', async () => {
    const { store } = await open()
    await store.commit({ puts: [['a', '1'], ['b', '1']] })
    expect(await store.commit({ puts: [['a', '2'], ['c', '2']], deletes: ['b', 'never there'] })).toBe(true)
    expect(await store.list('')).toEqual([['a', '2'], ['c', '2']])
    expect(await store.get('b')).toBeUndefined()
  })

  it('lets the last put of a key count, and deletes a key that is named twice', async () => {
    const { store } = await open()
    await store.commit({ puts: [['a', '1'], ['b', '1'], ['a', '2']] })
    expect(await store.get('a')).toBe('2')
    await store.commit({ deletes: ['a', 'a'] })
    expect(await store.list('')).toEqual([['b', '1']])
  })

  it('takes an empty batch', async () => {
    const { store } = await open()
    expect(await store.commit({})).toBe(true)
    expect(await store.commit({ puts: [], deletes: [], guards: [] })).toBe(true)
    expect(await store.list('')).toEqual([])
  })

  it('brings a deleted key back', async () => {
    const { store } = await open()
    await store.commit({ puts: [['a', '1']] })
    await store.commit({ deletes: ['a'] })
    expect(await store.list('')).toEqual([])
    await store.commit({ puts: [['a', '2']] })
    expect(await store.list('')).toEqual([['a', '2']])
  })

  it('keeps any well-formed Unicode as it is, in keys and values', async () => {
    const { store, reopen } = await open()
    const values = ['\0', 'a\0b', '{"a":1}', '"', '5', 'true', 'null', ' x ', '\ufeffbom', 'é', '😀\uffff', '\r\n', 'x'.repeat(200_000)]
    const entries = [...values, ...TRICKY_KEYS].map((value, index) => [TRICKY_KEYS[index] ?? `key ${index}`, value] as const)
    await store.commit({ puts: entries })
    for (const [key, value] of entries) expect(await store.get(key)).toBe(value)
    const again = await reopen()
    for (const [key, value] of entries) expect(await again.get(key)).toBe(value)
  })

  it('shows the two halves of a batch together or not at all, while batches are under way', async () => {
    const { store } = await open()
    await store.commit({ puts: [['pair:a', '0'], ['pair:b', '0']] })
    const commits = Array.from({ length: 50 }, (_, n) => store.commit({ puts: [['pair:a', `${n}`], ['pair:b', `${n}`]] }))
    const lists = Array.from({ length: 50 }, () => store.list('pair:'))
    for (const list of await Promise.all(lists)) expect(list[0]?.[1]).toBe(list[1]?.[1])
    expect(await Promise.all(commits)).toEqual(commits.map(() => true))
    expect(await store.list('pair:')).toEqual([['pair:a', '49'], ['pair:b', '49']])
  })
}

function describeGuards(open: Open): void {
  it('writes nothing of a batch whose guard does not hold, and says false', async () => {
    const { store } = await open()
    await store.commit({ puts: [['a', '1'], ['b', '1']] })
    for (const guard of [['a', '2'], ['a', undefined], ['absent', ''], ['a', '']] as const) {
      expect(await store.commit({ puts: [['a', '3'], ['c', '3']], deletes: ['b'], guards: [['b', '1'], guard] })).toBe(false)
    }
    expect(await store.list('')).toEqual([['a', '1'], ['b', '1']])
    expect(await store.get('c')).toBeUndefined()
  })

  it('writes a batch whose guards all hold, also on absent keys and on keys that it does not write', async () => {
    const { store } = await open()
    await store.commit({ puts: [['a', '1'], ['b', '']] })
    expect(await store.commit({ puts: [['a', '2'], ['c', '2']], guards: [['a', '1'], ['c', undefined], ['b', ''], ['d', undefined]] })).toBe(true)
    expect(await store.list('')).toEqual([['a', '2'], ['b', ''], ['c', '2']])
  })

  it('judges the guards of a batch that writes nothing', async () => {
    const { store } = await open()
    await store.commit({ puts: [['a', '1']] })
    expect(await store.commit({ guards: [['a', '1'], ['b', undefined]] })).toBe(true)
    expect(await store.commit({ guards: [['b', '1']] })).toBe(false)
  })

  it('lets exactly one of many racing writers have an absent key', async () => {
    const { store } = await open()
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, (_, n) => store.commit({ puts: [['lease', `${n}`], [`seen:${n}`, '']], guards: [['lease', undefined]] }))
    )
    const winners = outcomes.flatMap((won, n) => (won ? [n] : []))
    expect(winners).toHaveLength(1)
    expect(await store.get('lease')).toBe(`${winners[0]}`)
    expect(await keysOf(store, 'seen:')).toEqual([`seen:${winners[0]}`])
  })

  it('H7: loses no increment of two writers that guard what they have read', async () => {
    const { store } = await open()
    const increment = async (): Promise<void> => {
      for (;;) {
        const before = await store.get('n')
        if (await store.commit({ puts: [['n', `${Number(before ?? 0) + 1}`]], guards: [['n', before]] })) return
      }
    }
    const writer = async (): Promise<void> => {
      for (let i = 0; i < 25; i++) await increment()
    }
    await Promise.all([writer(), writer()])
    expect(await store.get('n')).toBe('50')
  })
}

function describeLists(open: Open): void {
  it('lists the keys with a prefix, in the order of their UTF-16 code units', async () => {
    const { store, reopen } = await open()
    await store.commit({ puts: TRICKY_KEYS.map(key => [key, `of ${key}`]) })
    const sorted = [...TRICKY_KEYS].sort()
    for (const time of ['before reopening', 'after it']) {
      const from = time === 'after it' ? await reopen() : store
      for (const prefix of ['', 'a', 'a:', 'a:b', 'a:b:c:', 'b', 'c', '\ud83d', '\uffff', '\0', 'x'.repeat(3000)]) {
        const expected = sorted.filter(key => key.startsWith(prefix))
        expect(await from.list(prefix)).toEqual(expected.map(key => [key, `of ${key}`]))
        for (const after of [...TRICKY_KEYS, '', 'a:a', 'zzz', '\ud83d', 'a'.repeat(3000), `a:b${'\uffff'.repeat(2000)}`]) {
          expect(await keysOf(from, prefix, { after })).toEqual(expected.filter(key => key > after))
        }
      }
    }
  })

  it('lists no more than the limit, and 1000 when none is given', async () => {
    const { store } = await open()
    const keys = Array.from({ length: 1500 }, (_, n) => `k:${String(n).padStart(4, '0')}`)
    await store.commit({ puts: keys.map(key => [key, key]) })
    expect(await keysOf(store, 'k:', {})).toEqual(keys.slice(0, 1000))
    expect(await keysOf(store, 'k:')).toEqual(keys)
    expect(await keysOf(store, 'k:', { limit: 0 })).toEqual([])
    expect(await keysOf(store, 'k:', { limit: 1 })).toEqual(keys.slice(0, 1))
    expect(await keysOf(store, 'k:', { after: 'k:0999', limit: 700 })).toEqual(keys.slice(1000))
    expect(await keysOf(store, 'k:12', { after: 'k:1210', limit: 5 })).toEqual(keys.slice(1211, 1216))
  })

  it('agrees with a sorted map, whatever batches it is given', async () => {
    const key = fc.constantFrom('a', 'a:', 'a:1', 'a:2', 'a:2:x', 'a;', 'b', 'é', '😀', '\uffff')
    const put = fc.tuple(key, fc.string({ maxLength: 3 }))
    const batch = fc.record({ puts: fc.array(put, { maxLength: 6 }), deletes: fc.array(key, { maxLength: 3 }), guard: fc.option(put, { nil: undefined }) })
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { maxLength: 8 }), async batches => {
        const { store, reopen } = await open()
        const model = new Map<string, string>()
        for (const { puts, deletes, guard } of batches) {
          const gone = deletes.filter(deleted => !puts.some(([name]) => name === deleted))
          const holds = guard === undefined || model.get(guard[0]) === guard[1]
          expect(await store.commit({ puts, deletes: gone, ...(guard === undefined ? {} : { guards: [guard] }) })).toBe(holds)
          if (!holds) continue
          for (const [name, value] of puts) model.set(name, value)
          for (const name of gone) model.delete(name)
        }
        const again = await reopen()
        const expected = [...model].sort(([a], [b]) => (a < b ? -1 : 1))
        expect(await again.list('')).toEqual(expected)
        expect(await again.list('a:')).toEqual(expected.filter(([name]) => name.startsWith('a:')))
      }),
      { numRuns: 30 }
    )
  })
}

function describeManyKeys(open: Open): void {
  it('holds 100,000 keys, lists them in pages, and lets them go again', async () => {
    const { store, reopen } = await open()
    // A permutation: 100,003 is a prime, so the keys arrive in no order.
    const keys = Array.from({ length: 100_000 }, (_, n) => `log:transfer:${String((n * 48_271) % 100_003).padStart(6, '0')}`)
    for (let at = 0; at < keys.length; at += 5000) {
      expect(await store.commit({ puts: keys.slice(at, at + 5000).map(key => [key, key.slice(-6)]) })).toBe(true)
    }
    await store.commit({ puts: [['log:balance', '7'], ['log:transfer', '7'], ['log:transfer;', '7']] })
    const sorted = [...keys].sort()
    const again = await reopen()
    const listed: string[] = []
    for (let after: string | undefined = ''; after !== undefined; after = listed.length % 1000 === 0 ? listed.at(-1) : undefined) {
      const page = await again.list('log:transfer:', { after })
      if (page.length === 0) break
      expect(page.every(([key, value]) => key.endsWith(value))).toBe(true)
      listed.push(...page.map(([key]) => key))
    }
    expect(listed).toEqual(sorted)
    expect(await keysOf(again, 'log:transfer:05', { limit: 3 })).toEqual(sorted.filter(key => key.startsWith('log:transfer:05')).slice(0, 3))
    for (let at = 0; at < keys.length - 10; at += 5000) {
      await again.commit({ deletes: keys.slice(at, Math.min(at + 5000, keys.length - 10)) })
    }
    expect(await keysOf(again)).toEqual(['log:balance', 'log:transfer', ...keys.slice(-10).sort(), 'log:transfer;'])
  }, 120_000)
}

function describeLimits(open: Open): void {
  const wrong: Array<[what: string, batch: Batch]> = [
    ['an empty key', { puts: [['', '1']] }],
    ['a key of 1979 bytes', { puts: [['k'.repeat(1979), '1']] }],
    ['a key of more than 1978 bytes as UTF-8', { puts: [['é'.repeat(990), '1']] }],
    ['a key with half a surrogate pair', { puts: [['a\ud83d', '1']] }],
    ['a value with half a surrogate pair', { puts: [['a', '\ude00']] }],
    ['a value that is no string', { puts: [['a', 1 as never]] }],
    ['a key that is no string', { puts: [[1 as never, '1']] }],
    ['a delete of what is no key', { deletes: [''] }],
    ['a guard on what is no key', { guards: [['', undefined]] }],
    ['a guard that is neither a string nor undefined', { guards: [['b', null as never]] }],
    ['a key that is both put and deleted', { puts: [['a', '1']], deletes: ['a'] }]
  ]
  it.each(wrong)('refuses %s, and writes nothing of its batch', async (_what, { puts = [], ...rest }) => {
    const { store } = await open()
    await store.commit({ puts: [['b', '1']] })
    await expect(store.commit({ puts: [['before', '1'], ...puts], ...rest })).rejects.toBeInstanceOf(InvalidFieldsError)
    expect(await store.list('')).toEqual([['b', '1']])
    expect(await store.commit({ puts: [['b', '2']] })).toBe(true)
    expect(await store.list('')).toEqual([['b', '2']])
  })

  it('takes keys up to 1978 bytes', async () => {
    const { store } = await open()
    const keys = ['k'.repeat(1978), 'é'.repeat(989), '😀'.repeat(329)]
    await store.commit({ puts: keys.map(key => [key, 'long']) })
    for (const key of keys) expect(await store.get(key)).toBe('long')
    expect(await keysOf(store)).toEqual([...keys].sort())
    expect(await keysOf(store, '', { after: 'k'.repeat(1979) })).toEqual(keys.filter(key => key > 'k'.repeat(1979)).sort())
  })

  it('refuses to read what is no key, and to list with a wrong limit', async () => {
    const { store } = await open()
    for (const key of ['', '\ud83d', 'k'.repeat(1979), 1 as never]) await expect(store.get(key)).rejects.toBeInstanceOf(InvalidFieldsError)
    for (const limit of [-1, 0.5, NaN, '5' as never]) await expect(store.list('', { limit })).rejects.toBeInstanceOf(InvalidFieldsError)
    await expect(store.list(1 as never)).rejects.toBeInstanceOf(InvalidFieldsError)
    await expect(store.list('', { after: 1 as never })).rejects.toBeInstanceOf(InvalidFieldsError)
  })
}

function describeLife(open: Open): void {
  it('holds after reopening what it held before, and goes on from there', async () => {
    const { store, reopen } = await open()
    await store.commit({ puts: [['a', '1'], ['b', '1'], ['c', '1']] })
    await store.commit({ puts: [['b', '2']], deletes: ['c'] })
    const again = await reopen()
    expect(await again.get('b')).toBe('2')
    expect(await again.list('')).toEqual([['a', '1'], ['b', '2']])
    expect(await again.commit({ puts: [['c', '3']], guards: [['b', '2'], ['c', undefined]] })).toBe(true)
    expect(await again.list('')).toEqual([['a', '1'], ['b', '2'], ['c', '3']])
  })

  it('ends what is under way when it is closed, and refuses what comes after', async () => {
    const { store } = await open()
    await store.commit({ puts: [['a', '1']] })
    const underWay = store.commit({ puts: [['a', '2']] })
    const closed = store.close()
    const late = [store.get('a'), store.list(''), store.commit({ puts: [['a', '3']] })].map(call => expect(call).rejects.toBeInstanceOf(StoreError))
    await Promise.all(late)
    await closed
    // Whether it was taken before the close or refused after it: it is settled now.
    await underWay.catch((error: unknown) => expect(error).toBeInstanceOf(StoreError))
    await store.close()
    await expect(store.get('a')).rejects.toBeInstanceOf(StoreError)
  })
}

function describeFailures(open: Open<FailingStoreHarness>): void {
  it('H7: stays as it was when a write fails, and takes the next one', async () => {
    const { store, failNextWrite, reopen } = await open()
    await store.commit({ puts: [['a', '1'], ['b', '1']] })
    failNextWrite()
    await expect(store.commit({ puts: [['a', '2'], ['c', '2']], deletes: ['b'] })).rejects.toBeInstanceOf(StoreError)
    expect(await store.list('')).toEqual([['a', '1'], ['b', '1']])
    expect(await store.get('c')).toBeUndefined()
    expect(await store.commit({ puts: [['c', '3']], guards: [['a', '1'], ['c', undefined]] })).toBe(true)
    const again = await reopen()
    expect(await again.list('')).toEqual([['a', '1'], ['b', '1'], ['c', '3']])
  })
}
