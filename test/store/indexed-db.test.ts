/** What IndexedDBStore does where there is no IndexedDB. The rest needs a browser: e2e/indexed-db.test.ts. */
import { describe, expect, it } from 'vitest'
import { InvalidFieldsError, StoreError } from '../../src/core/errors.js'
import { IndexedDBStore } from '../../src/store/indexed-db.js'

describe('IndexedDBStore', () => {
  it.each([
    ['name', {}],
    ['name', { name: '' }],
    ['name', { name: 5 }],
    ['name', undefined],
    ['name', null],
    ['path', { name: 'wallet', path: 'wallet' }],
    ['log', { name: 'wallet', log: 'console' }],
    ['log', { name: 'wallet', log: null }]
  ])('refuses wrong options and names %s', (field, options) => {
    const make = (): IndexedDBStore => new IndexedDBStore(options as never)
    expect(make).toThrow(InvalidFieldsError)
    expect(make).toThrow(field)
  })

  it('can be made where there is no IndexedDB, and says so when it is used', async () => {
    const store = new IndexedDBStore({ name: 'wallet' })
    for (const call of [() => store.get('a'), () => store.list(''), () => store.commit({ puts: [['a', '1']] })]) {
      const error: unknown = await call().catch((error: unknown) => error)
      expect(error).toBeInstanceOf(StoreError)
      expect(error).toMatchObject({ message: expect.stringMatching(/wallet: there is no IndexedDB here/) as string, outcome: undefined })
    }
    expect(await store.persistence()).toBe('unknown')
    await store.close()
    await expect(store.get('a')).rejects.toThrow('the store is closed')
    await store.close()
  })

  it('refuses what is no key or batch before it looks for a database', async () => {
    const store = new IndexedDBStore({ name: 'wallet' })
    await expect(store.get('')).rejects.toBeInstanceOf(InvalidFieldsError)
    await expect(store.list('', { limit: -1 })).rejects.toBeInstanceOf(InvalidFieldsError)
    await expect(store.commit({ puts: [['', '1']] })).rejects.toBeInstanceOf(InvalidFieldsError)
  })
})
