import { beforeEach, describe, expect, it } from 'vitest'
import { InvalidFieldsError, StoreError } from '../../src/core/errors.js'
import type { Batch, KeyValueStore, Store } from '../../src/core/store.js'
import { wrapKeyValueStore } from '../../src/store/key-value.js'
import { describeFailingWrites, describeStore, type FailingStoreHarness } from '../contract/store.js'
import { type HostFlavour, HostStore } from '../support/host-store.js'
import { settle } from '../support/virtual-clock.js'

const FLAVOURS: Array<[name: string, flavour: HostFlavour]> = [
  ['that resolves undefined for what is absent', {}],
  ['that resolves null for what is absent', { absent: 'null' }],
  ['that rejects for what is absent, as LevelUP does', { absent: 'notFound' }],
  ['that rejects by name for what is absent', { absent: 'NotFoundError' }],
  ['that gives bytes', { values: 'bytes' }],
  ['that answers at once, without promises', { values: 'bytes', synchronous: true }]
]

for (const [name, flavour] of FLAVOURS) {
  const title = `wrapKeyValueStore over a host's store ${name}`
  const open = (): Promise<FailingStoreHarness> => {
    const host = new HostStore(flavour)
    let store = wrapKeyValueStore(host)
    const reopen = async (): Promise<Store> => {
      await store.close()
      store = wrapKeyValueStore(host)
      return store
    }
    const failNextWrite = (): void => host.failWrites(1)
    return Promise.resolve({ store, reopen, failNextWrite, dispose: () => store.close() })
  }
  describeStore(title, open, { large: flavour.absent === undefined && flavour.values === undefined })
  describeFailingWrites(title, open)
}

const NO_STORES: Array<[field: string, store: unknown]> = [
  ['store', undefined],
  ['store', null],
  ['store', 'text'],
  ['store.get', { put: String, del: String }],
  ['store.put', { get: String, del: String }],
  ['store.del', { get: String, put: String, del: true }]
]

describe('wrapKeyValueStore', () => {
  it.each(NO_STORES)('refuses what is no store and names %s', (field, store) => {
    const wrap = (): Store => wrapKeyValueStore(store as never)
    expect(wrap).toThrow(InvalidFieldsError)
    expect(wrap).toThrow(field)
  })

  it('has what comes after a close wait for what was being written: it does not land behind that', async () => {
    const values = new Map<string, string>()
    let land = (): void => undefined
    const host: KeyValueStore = {
      get: async key => values.get(key),
      put: async (key, value) => {
        if (key === 'sum' && value === '1') await new Promise<void>(resolve => { land = resolve })
        values.set(key, value)
      },
      del: async key => { values.delete(key) }
    }
    const first = wrapKeyValueStore(host)
    await first.commit({ puts: [['sum', '0']] })
    const slow = first.commit({ puts: [['sum', '1']], guards: [['sum', '0']] })
    await settle()
    const closed = first.close()
    const second = wrapKeyValueStore(host)
    expect(second).not.toBe(first)
    const next = second.commit({ puts: [['sum', '2']], guards: [['sum', '1']] })
    await settle()
    land()
    await closed
    expect([await slow, await next, await second.get('sum'), values.get('sum')]).toEqual([true, true, '2', '2'])
    await second.close()
  })

  it('gives the same wrapper for the same object, until that is closed', async () => {
    const host = new HostStore()
    const store = wrapKeyValueStore(host)
    expect(wrapKeyValueStore(host)).toBe(store)
    expect(wrapKeyValueStore(new HostStore())).not.toBe(store)
    await store.close()
    const next = wrapKeyValueStore(host)
    expect(next).not.toBe(store)
    await store.close()
    expect(wrapKeyValueStore(host)).toBe(next)
  })

  it('puts exactly the values that it was given, and only keys of its own beside them', async () => {
    const host = new HostStore()
    const store = wrapKeyValueStore(host)
    await store.commit({ puts: [['log:tl:balance:if', '5'], ['log:mvt:maximum', '{"value":"5","data":null}']] })
    await store.close()
    const [own, others] = [[...host.data].filter(([key]) => key.startsWith('paychan:store:')), [...host.data].filter(([key]) => !key.startsWith('paychan:store:'))]
    expect(new Map(others)).toEqual(new Map([['log:tl:balance:if', '5'], ['log:mvt:maximum', '{"value":"5","data":null}']]))
    // The journal is gone once its batch stands.
    expect(own.map(([key]) => key)).toEqual(['paychan:store:index:0'])
  })

  it('shows nothing of its own keys, and lets nobody else write them', async () => {
    const store = wrapKeyValueStore(new HostStore())
    await store.commit({ puts: [['paychan:lease', '1'], ['a', '1']] })
    expect(await store.list('')).toEqual([['a', '1'], ['paychan:lease', '1']])
    const key = 'paychan:store:journal'
    for (const batch of [{ puts: [[key, '1']] }, { deletes: [key] }, { guards: [[key, undefined]] }] satisfies Batch[]) {
      await expect(store.commit(batch)).rejects.toBeInstanceOf(InvalidFieldsError)
    }
    await expect(store.get(key)).rejects.toBeInstanceOf(InvalidFieldsError)
  })

  it('works in a store whose host puts an account before every key', async () => {
    const data = new Map<string, string>()
    const hostFor = (account: string): KeyValueStore => ({
      get: (key): unknown => data.get(account + key),
      put: (key, value): unknown => data.set(account + key, value),
      del: (key): unknown => data.delete(account + key)
    })
    const [alice, bob] = [wrapKeyValueStore(hostFor('alice')), wrapKeyValueStore(hostFor('bob'))]
    await Promise.all([alice.commit({ puts: [[':tl:balance:if', '1']] }), bob.commit({ puts: [[':tl:balance:if', '2']] })])
    expect(await alice.list('')).toEqual([[':tl:balance:if', '1']])
    expect(await bob.list('')).toEqual([[':tl:balance:if', '2']])
  })

  it('H9: gives strings, also where the host has parsed the JSON', async () => {
    const host = new HostStore({ values: 'parsed' })
    const store = wrapKeyValueStore(host)
    const value = JSON.stringify({ transfer: { amount: '5' }, isIncoming: true })
    await store.commit({ puts: [['a', value], ['b', '5'], ['c', 'text'], ['d', 'true']] })
    expect(await store.list('')).toEqual([['a', value], ['b', '5'], ['c', 'text'], ['d', 'true']])
    expect(await store.commit({ puts: [['a', '6']], guards: [['a', value], ['b', '5']] })).toBe(true)
  })

  it('rejects with StoreError where the host gives what is no text', async () => {
    const noText: Record<string, unknown> = { a: () => 0, b: 5n, c: new Uint8Array([255]) }
    const store = wrapKeyValueStore({ get: key => noText[key], put: () => 0, del: () => 0 })
    for (const key of ['a', 'b', 'c']) await expect(store.get(key)).rejects.toBeInstanceOf(StoreError)
    expect(await store.get('d')).toBeUndefined()
  })

  it('H8: is not held up by another store that is broken, or hangs', async () => {
    const hanging = wrapKeyValueStore({ get: (): unknown => new Promise(() => undefined), put: (): unknown => 0, del: (): unknown => 0 })
    const broken = new HostStore()
    broken.failWrites(Infinity)
    void hanging.commit({ puts: [['a', '1']] })
    await expect(wrapKeyValueStore(broken).commit({ puts: [['a', '1']] })).rejects.toBeInstanceOf(StoreError)
    const store = wrapKeyValueStore(new HostStore())
    expect(await store.commit({ puts: [['a', '1']] })).toBe(true)
    expect(await store.get('a')).toBe('1')
  })

  it('writes to the host one key at a time', async () => {
    const host = new HostStore()
    const store = wrapKeyValueStore(host)
    await Promise.all(Array.from({ length: 20 }, (_, n) => store.commit({ puts: [[`a:${n}`, '1'], [`b:${n}`, '1']] })))
    expect(host.mostWritesAtOnce).toBe(1)
  })

  it('reads what is open without reading what is finished', async () => {
    const host = new HostStore()
    const store = wrapKeyValueStore(host)
    for (let at = 0; at < 10_000; at += 1000) {
      await store.commit({ puts: Array.from({ length: 1000 }, (_, n) => [`log:tl:transfer:${String((at + n) * 7919 % 10_007).padStart(6, '0')}`, 'final']) })
    }
    await store.commit({ puts: ['x', 'y'].map(id => [`log:tl:open:${id}`, 'held']) })
    await store.close()
    host.reads = 0
    expect(await wrapKeyValueStore(host).list('log:tl:open:')).toEqual([['log:tl:open:x', 'held'], ['log:tl:open:y', 'held']])
    // The journal, the pages from the root to a leaf (and at most one neighbour), and the two values.
    expect(host.reads).toBeLessThanOrEqual(8)
    host.reads = 0
    expect(await wrapKeyValueStore(host).list('log:tl:transfer:0050', { limit: 10 })).toHaveLength(10)
    expect(host.reads).toBeLessThanOrEqual(150)
  })

  it('keeps the pages of its index bounded', async () => {
    const host = new HostStore()
    const store = wrapKeyValueStore(host)
    const keys = Array.from({ length: 5000 }, (_, n) => `k:${String(n).padStart(5, '0')}`)
    // Both directions, and each key for itself as well as many at once.
    await store.commit({ puts: keys.slice(2500).map(key => [key, '']) })
    for (const key of keys.slice(2000, 2500).reverse()) await store.commit({ puts: [[key, '']] })
    for (const key of keys.slice(0, 2000)) await store.commit({ puts: [[key, '']] })
    const pages = [...host.data].filter(([key]) => key.startsWith('paychan:store:index:')).map(([, text]) => (JSON.parse(text) as { keys: string[] }).keys.length)
    expect(Math.max(...pages)).toBeLessThanOrEqual(200)
    expect((await store.list('', { limit: Infinity })).map(([key]) => key)).toEqual(keys)
    await store.commit({ deletes: keys })
    await store.close()
    expect([...host.data.keys()]).toEqual(['paychan:store:index:0'])
  })
})

const OLD_KEYS = Array.from({ length: 130 }, (_, n) => `log:tl:transfer:${100 + n}`)
const OLD: Batch = { puts: OLD_KEYS.map(key => [key, 'old']) }

/** What a batch can be to the index and the keys. */
const BATCHES: Array<[what: string, batch: Batch]> = [
  ['of new keys that split pages', { puts: Array.from({ length: 90 }, (_, n) => [`log:tl:transfer:1${100 + n}`, 'new']) }],
  ['of changes', { puts: [['log:tl:transfer:100', 'new'], ['log:tl:balance:if', '7'], ['log:tl:transfer:229', 'new']] }],
  ['that deletes whole pages', { deletes: OLD_KEYS.slice(10, 110), puts: [['zzz', 'new']] }],
  ['that deletes everything', { deletes: OLD_KEYS }]
]

describe('wrapKeyValueStore: crashes', () => {
  it.each(BATCHES)('H6: finds all or nothing of a batch %s, wherever the process died', async (_what, batch) => {
    const [old, whole] = [await contentAfter(OLD), await contentAfter(OLD, batch)]
    const writes = await writesOf(batch)
    expect(writes).toBeGreaterThan(4)
    for (let done = 0; done < writes; done++) {
      const survivor = await crashed(await prepared(), done, batch)
      const store = wrapKeyValueStore(survivor)
      // Nothing before the journal has landed, everything after it; and the keys themselves hold it, for the old package.
      expect(await store.list('', { limit: Infinity })).toEqual(done === 0 ? old : whole)
      expect(ownContent(survivor)).toEqual(done === 0 ? old : whole)
      expect(await store.commit({ puts: [['~next', '1']], deletes: ['log:tl:transfer:100'] })).toBe(true)
      await store.close()
      expect(survivor.data.has('paychan:store:journal')).toBe(false)
      const rest = (done === 0 ? old : whole).filter(([key]) => key !== 'log:tl:transfer:100')
      expect(await wrapKeyValueStore(survivor.copy()).list('', { limit: Infinity })).toEqual([...rest, ['~next', '1']])
    }
  }, 60_000)

  it('H6: finds all of a batch when the process dies again while it completes it', async () => {
    const batch = BATCHES[1]?.[1] ?? {}
    const whole = await contentAfter(OLD, batch)
    const writes = await writesOf(batch)
    for (let done = 1; done < writes; done++) {
      for (let again = 0; again < writes - 1; again++) {
        const survivor = await crashed(await crashed(await prepared(), done, batch), again, {})
        expect(await wrapKeyValueStore(survivor).list('', { limit: Infinity })).toEqual(whole)
      }
    }
  })

  it('takes a journal that was cut short for none, since nothing of its batch can have begun', async () => {
    const host = await prepared()
    host.data.set('paychan:store:journal', '{"version":1,"id":7,"writes":[["log:tl:bal')
    const store = wrapKeyValueStore(host)
    expect(await store.list('', { limit: Infinity })).toEqual(await contentAfter(OLD))
    expect(await store.commit({ puts: [['a', '1']] })).toBe(true)
  })

  it.each([
    ['paychan:store:journal', '{"version":2,"id":7,"writes":[]}'],
    ['paychan:store:journal', '[]'],
    ['paychan:store:index:0', '{"version":2,"keys":[]}'],
    ['paychan:store:index:0', '{"version":1,"keys":["a",'],
    ['paychan:store:index:0', 'null'],
    ['paychan:store:index:0', '{"version":1,"keys":[""],"children":[77]}']
  ])('rejects with StoreError, and changes nothing, where %s holds %s', async (key, text) => {
    const host = await prepared()
    host.data.set(key, text)
    const content = new Map(host.data)
    const store = wrapKeyValueStore(host)
    await expect(store.list('')).rejects.toBeInstanceOf(StoreError)
    await expect(store.commit({ puts: [['a', '1']] })).rejects.toBeInstanceOf(StoreError)
    await store.close()
    expect(host.data).toEqual(content)
  })
})

describe('wrapKeyValueStore: faults', () => {
  let host: HostStore
  let store: Store
  beforeEach(async () => {
    host = new HostStore()
    store = wrapKeyValueStore(host)
    await store.commit({ puts: [['a', '1'], ['b', '1']] })
    await store.list('')
  })
  const batch: Batch = { puts: [['a', '2'], ['c', '2']], deletes: ['b'] }
  const OLD_CONTENT = [['a', '1'], ['b', '1']]
  const NEW_CONTENT = [['a', '2'], ['c', '2']]

  it('H7: refuses a batch whose journal did not land, and goes on', async () => {
    host.fault = (method, key) => (method === 'put' && key === 'paychan:store:journal' ? 'fails' : undefined)
    const error: unknown = await store.commit(batch).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(StoreError)
    expect(error).toMatchObject({ message: expect.stringContaining('the disk is on fire') as unknown, cause: expect.any(Error) as unknown })
    expect(error).toHaveProperty('outcome', undefined)
    expect(await store.list('')).toEqual(OLD_CONTENT)
    host.fault = () => undefined
    expect(await store.commit(batch)).toBe(true)
    expect(await store.list('')).toEqual(NEW_CONTENT)
  })

  it('lets a batch count whose journal landed although its put rejected', async () => {
    host.fault = (method, key) => (method === 'put' && key === 'paychan:store:journal' ? 'lands' : undefined)
    expect(await store.commit(batch)).toBe(true)
    expect(ownContent(host)).toEqual(NEW_CONTENT)
    expect(await store.list('')).toEqual(NEW_CONTENT)
  })

  it.each([
    ['landed', 'lands', '2', NEW_CONTENT],
    ['did not land', 'fails', '1', OLD_CONTENT]
  ] as const)('says that the outcome is unknown when the journal cannot be read back, and then finds that it %s', async (_what, fault, a, content) => {
    host.fault = (method, key) => (key !== 'paychan:store:journal' ? undefined : method === 'put' ? fault : 'fails')
    await expect(store.commit(batch)).rejects.toMatchObject({ name: 'StoreError', outcome: 'unknown' })
    await expect(store.get('a')).rejects.toBeInstanceOf(StoreError)
    await expect(store.commit({ puts: [['d', '1']] })).rejects.toBeInstanceOf(StoreError)
    host.fault = () => undefined
    expect(await store.get('a')).toBe(a)
    expect(await store.list('')).toEqual(content)
    expect(ownContent(host)).toEqual(content)
    expect(await store.commit({ puts: [['d', '1']], guards: [['a', a]] })).toBe(true)
    expect(await store.list('')).toEqual([...content, ['d', '1']])
  })

  it('tries the writes that follow the journal again', async () => {
    const failed = new Set<string>()
    host.fault = (method, key) => {
      if (method === 'get' || key === 'paychan:store:journal' || failed.has(key)) return undefined
      failed.add(key)
      return 'fails'
    }
    expect(await store.commit(batch)).toBe(true)
    expect(failed.size).toBe(4)
    expect(ownContent(host)).toEqual(NEW_CONTENT)
  })

  it.each(['a', 'b', 'c', 'paychan:store:index:0'])('never calls a batch refused that is in the journal, when %s cannot be written', async key => {
    host.fault = (method, name) => (method !== 'get' && name === key ? 'fails' : undefined)
    expect(await store.commit(batch)).toBe(true)
    expect(await store.list('')).toEqual(NEW_CONTENT)
    expect(await store.get('b')).toBeUndefined()
    expect(await store.get('a')).toBe('2')
    // A second journal would take the place of the first: so nothing more until the first is done.
    await expect(store.commit({ puts: [['d', '3']] })).rejects.toBeInstanceOf(StoreError)
    // It survives a crash,
    expect(await wrapKeyValueStore(host.copy()).list('')).toEqual(NEW_CONTENT)
    // and is completed as soon as that is possible.
    host.fault = () => undefined
    expect(await store.commit({ puts: [['d', '3']], guards: [['a', '2'], ['b', undefined]] })).toBe(true)
    expect(ownContent(host)).toEqual([...NEW_CONTENT, ['d', '3']])
    expect(await store.list('')).toEqual([...NEW_CONTENT, ['d', '3']])
  })

  it('is not disturbed by a journal that cannot be deleted', async () => {
    host.fault = (method, key) => (method === 'del' && key === 'paychan:store:journal' ? 'fails' : undefined)
    expect(await store.commit(batch)).toBe(true)
    expect(await store.commit({ puts: [['a', '3']] })).toBe(true)
    expect(await store.commit({ puts: [['a', '4']], deletes: ['c'] })).toBe(true)
    expect(await wrapKeyValueStore(host.copy()).list('')).toEqual([['a', '4']])
  })

  it('does not take an older journal, which could not be deleted, for the one that did not land', async () => {
    const fresh = new HostStore()
    const noDelete = (method: string, key: string): 'fails' | undefined =>
      key === 'paychan:store:journal' && method === 'del' ? 'fails' : undefined
    const noJournal = (method: string, key: string): 'fails' | undefined =>
      key === 'paychan:store:journal' && method !== 'get' ? 'fails' : undefined
    // In the same process, and in the next one, whose first journal must not be numbered like the last one's first.
    for (const restart of [false, true]) {
      fresh.fault = noDelete
      const first = wrapKeyValueStore(fresh)
      expect(await first.commit({ puts: [['a', '1']] })).toBe(true)
      if (restart) await first.close()
      fresh.fault = noJournal
      await expect(wrapKeyValueStore(fresh).commit({ puts: [['a', '2']] })).rejects.toBeInstanceOf(StoreError)
      expect(await wrapKeyValueStore(fresh).get('a')).toBe('1')
      await wrapKeyValueStore(fresh).close()
      fresh.data.clear()
    }
  })

  it('H7: rejects a call that cannot read, and answers the next one', async () => {
    host.fault = method => (method === 'get' ? 'fails' : undefined)
    await expect(store.get('a')).rejects.toBeInstanceOf(StoreError)
    await expect(store.list('')).rejects.toBeInstanceOf(StoreError)
    await expect(store.commit({ puts: [['a', '2']], guards: [['a', '1']] })).rejects.toBeInstanceOf(StoreError)
    host.fault = () => undefined
    expect(await store.get('a')).toBe('1')
    expect(await store.commit({ puts: [['a', '2']], guards: [['a', '1']] })).toBe(true)
  })

  it('knows nothing any more of a store that was emptied behind it, once a guard has told so', async () => {
    const host = new HostStore()
    const store = wrapKeyValueStore(host)
    const many = Array.from({ length: 1000 }, (_none, n): [string, string] => [`log:${String(n).padStart(4, '0')}`, 'old'])
    await store.commit({ puts: [['head', '1'], ...many] })
    host.data.clear()
    expect(await store.commit({ puts: [['head', '2']], guards: [['head', '1']] })).toBe(false)
    await store.commit({ puts: [['head', '1'], ['log:0500', 'new']], guards: [['head', undefined]] })
    for (const one of [store, wrapKeyValueStore(host.copy())]) expect(await one.list('')).toEqual([['head', '1'], ['log:0500', 'new']])
  })

  it('writes nothing behind a write that hangs, which could undo it when it takes effect at last; then all goes on', async () => {
    const host = new HostStore()
    let land = (): void => undefined
    let hangs = true
    const store = wrapKeyValueStore({
      get: key => host.get(key),
      del: key => host.del(key),
      put: async (key, value) => {
        if (hangs) await new Promise<void>(resolve => { land = resolve })
        await host.put(key, value)
      }
    })
    const first = store.commit({ puts: [['balance', '1']] })
    const second = store.commit({ puts: [['balance', '2']], guards: [['balance', '1']] })
    await settle()
    expect(host.writes).toBe(0)
    hangs = false
    land()
    await expect(Promise.all([first, second])).resolves.toEqual([true, true])
    expect([await store.get('balance'), host.data.get('balance')]).toEqual(['2', '2'])
  })

  it('answers reads while a commit hangs, with what is durable', async () => {
    const reached = host.dieAfterWrites(0)
    void store.commit(batch)
    await reached
    expect(await store.get('a')).toBe('1')
    expect(await store.get('b')).toBe('1')
    expect(await store.get('c')).toBeUndefined()
  })
})

/** A host that holds the old keys. */
async function prepared(): Promise<HostStore> {
  const host = new HostStore({ synchronous: true })
  const store = wrapKeyValueStore(host)
  await store.commit(OLD)
  await store.close()
  return host
}

/** What a host holds after a process that commits `batch` has died when `writes` writes were done. */
async function crashed(host: HostStore, writes: number, batch: Batch): Promise<HostStore> {
  const dead = host.dieAfterWrites(writes)
  const committed = wrapKeyValueStore(host).commit(batch)
  await Promise.race([dead, committed])
  return host.copy()
}

/** How many writes a commit is to the host before it resolves. */
async function writesOf(batch: Batch): Promise<number> {
  const host = await prepared()
  const before = host.writes
  const store = wrapKeyValueStore(host)
  await store.commit(batch)
  await store.close()
  return host.writes - before
}

async function contentAfter(...batches: Batch[]): Promise<Array<[string, string]>> {
  const store = wrapKeyValueStore(new HostStore())
  for (const batch of batches) await store.commit(batch)
  return store.list('', { limit: Infinity })
}

/** What stands in the host under keys that are not the wrapper's own. */
function ownContent(host: HostStore): Array<[string, string]> {
  return [...host.data].filter(([key]) => !key.startsWith('paychan:store:')).sort(([a], [b]) => (a < b ? -1 : 1))
}
