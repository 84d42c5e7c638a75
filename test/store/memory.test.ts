import { expect, it } from 'vitest'
import { MemoryStore } from '../../src/store/memory.js'
import { describeStore } from '../contract/store.js'

// Memory survives the plugin that used it, and no more: the next plugin gets the same object.
describeStore('MemoryStore', () => {
  const store = new MemoryStore()
  return Promise.resolve({ store, reopen: () => Promise.resolve(store), dispose: () => store.close() })
})

it('H8: keeps stores apart', async () => {
  const [one, other] = [new MemoryStore(), new MemoryStore()]
  await one.commit({ puts: [['a', '1']] })
  expect(await other.get('a')).toBeUndefined()
  await one.close()
  expect(await other.commit({ puts: [['a', '2']] })).toBe(true)
})

it('changes nothing in a list that it gave out', async () => {
  const store = new MemoryStore()
  await store.commit({ puts: [['a', '1'], ['b', '1']] })
  const list = await store.list('')
  await store.commit({ puts: [['a', '2']], deletes: ['b'] })
  expect(list).toEqual([['a', '1'], ['b', '1']])
})
