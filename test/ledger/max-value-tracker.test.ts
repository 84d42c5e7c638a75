/** The documented MaxValueTracker. */
import { describe, expect, it } from 'vitest'
import { InvalidFieldsError, StandbyError, StoreError } from '../../src/core/errors.js'
import type { Store } from '../../src/core/store.js'
import { MemoryStore } from '../../src/store/memory.js'
import { settle } from '../support/virtual-clock.js'
import { open } from './setup.js'

const tracker = (inner: Store = new MemoryStore()) => {
  const opened = open(inner)
  return { ...opened, tracker: opened.backend.getMaxValueTracker('claims') }
}

describe('setIfMax', () => {
  it('keeps a greater value and returns the one before; gives anything else back', async () => {
    const { tracker: it } = tracker()
    expect(await it.getMax()).toEqual({ value: '0', data: null })
    expect(await it.setIfMax({ value: '5', data: { claim: 'a' } })).toEqual({ value: '0', data: null })
    expect(await it.setIfMax({ value: '7', data: 'b' })).toEqual({ value: '5', data: { claim: 'a' } })
    expect(await it.setIfMax({ value: '7', data: 'c' })).toEqual({ value: '7', data: 'c' })
    expect(await it.setIfMax({ value: '6', data: 'd' })).toEqual({ value: '6', data: 'd' })
    expect(await it.getMax()).toEqual({ value: '7', data: 'b' })
  })

  it('compares as numbers, of any length', async () => {
    const { tracker: it } = tracker()
    const [small, large] = ['9'.repeat(40), `1${'0'.repeat(40)}`]
    await it.setIfMax({ value: large, data: null })
    await it.setIfMax({ value: small, data: null })
    await it.setIfMax({ value: '9', data: null })
    expect((await it.getMax()).value).toBe(large)
  })

  it('a value of 0 is not greater than none', async () => {
    const { tracker: it } = tracker()
    expect(await it.setIfMax({ value: '0', data: 'x' })).toEqual({ value: '0', data: 'x' })
    expect(await it.getMax()).toEqual({ value: '0', data: null })
  })

  it('concurrent calls see each other in the order of the calls', async () => {
    const { tracker: it } = tracker()
    const returned = await Promise.all(['3', '1', '5', '4', '6'].map(value => it.setIfMax({ value, data: `d${value}` })))
    expect(returned.map(({ value }) => value)).toEqual(['0', '1', '3', '4', '5'])
    expect(await it.getMax()).toEqual({ value: '6', data: 'd6' })
  })

  it('I7, H7: is durable when it resolves; a failed write leaves the maximum as it was, and the next goes through', async () => {
    const { tracker: it, store, inner } = tracker()
    await it.setIfMax({ value: '5', data: null })
    store.failNextCommit()
    await expect(it.setIfMax({ value: '7', data: null })).rejects.toThrow(StoreError)
    expect((await it.getMax()).value).toBe('5')
    await it.setIfMax({ value: '6', data: null })
    expect(await inner.get('claims:mvt:maximum')).toBe('{"value":"6","data":null}')
    expect((await tracker(inner).tracker.getMax()).value).toBe('6')
  })

  it('H8: one that cannot be read or written breaks no other', async () => {
    const inner = new MemoryStore()
    await inner.commit({ puts: [['broken:mvt:maximum', '{']] })
    const { backend } = open(inner)
    const results = await Promise.allSettled(['broken', 'sound'].map(key => backend.getMaxValueTracker(key).setIfMax({ value: '1', data: null })))
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
    expect(results[0]).toMatchObject({ reason: { name: 'StoreError', message: expect.stringContaining('broken:mvt:maximum') as string } })
  })

  it('C44: refuses what is no integer string of 0 or more, and data that has no JSON', async () => {
    const { tracker: it, inner } = tracker()
    for (const value of ['', '-1', '1.5', '1e3', 'Infinity', ' 1', 5, null, undefined, '1'.repeat(101)]) {
      await expect(it.setIfMax({ value: value as string, data: null }), String(value)).rejects.toThrow(InvalidFieldsError)
    }
    for (const entry of [undefined, null, '5']) {
      await expect(it.setIfMax(entry as unknown as { value: string; data: null })).rejects.toThrow(InvalidFieldsError)
    }
    await expect(it.setIfMax({ value: '1', data: 1n })).rejects.toThrow(InvalidFieldsError)
    expect(await inner.list('')).toEqual([])
  })

  it('keeps a copy: neither what was given nor what was returned reaches it', async () => {
    const { tracker: it } = tracker()
    const data = { claim: ['a'] }
    await it.setIfMax({ value: '5', data })
    data.claim.push('changed')
    const got = await it.getMax()
    ;(got.data as typeof data).claim.push('changed')
    expect(await it.getMax()).toEqual({ value: '5', data: { claim: ['a'] } })
  })
})

describe('stored maxima', () => {
  it('of the old package are read: a number, a large value, absent data', async () => {
    for (const [text, expected] of [
      ['{"value":5,"data":{"a":1}}', { value: '5', data: { a: 1 } }],
      ['{"value":"1e+21","data":null}', { value: '1000000000000000000000', data: null }],
      ['{"value":"12"}', { value: '12', data: null }]
    ] as const) {
      const inner = new MemoryStore()
      await inner.commit({ puts: [['claims:mvt:maximum', text]] })
      const { tracker: it } = tracker(inner)
      expect(await it.getMax()).toEqual(expected)
      const less = { value: '4', data: null }
      expect(await it.setIfMax(less)).toEqual(less)
    }
  })

  it('that do not parse are StoreError naming the key, and are never overwritten (I6)', async () => {
    for (const text of ['', '{', 'null', '[]', '{"value":"x"}', '{"value":"1.5"}', '{"value":"-1"}', '{"data":1}', '{"value":{}}']) {
      const inner = new MemoryStore()
      await inner.commit({ puts: [['claims:mvt:maximum', text]] })
      const { tracker: it } = tracker(inner)
      await expect(it.getMax(), text).rejects.toThrow(/claims:mvt:maximum/)
      await expect(it.setIfMax({ value: '1000', data: null }), text).rejects.toThrow(StoreError)
      expect(await inner.get('claims:mvt:maximum')).toBe(text)
    }
  })
})

describe('owners', () => {
  it('I6: a reading that began before the take-over does not hide a greater value of another owner', async () => {
    const inner = new MemoryStore()
    const [first, second] = [tracker(inner), tracker(inner)]
    const release = first.store.holdGet('claims:mvt:maximum')
    const early = first.tracker.getMax()
    await settle()
    await second.tracker.setIfMax({ value: '100', data: null })
    await first.committer.takeOver()
    release()
    await early
    const entry = { value: '50', data: null }
    expect(await first.tracker.setIfMax(entry)).toEqual(entry)
    expect(await inner.get('claims:mvt:maximum')).toContain('"100"')
  })

  it('I6: a value that was read before the store changed hands is read again before it is compared', async () => {
    const inner = new MemoryStore()
    const [first, second] = [tracker(inner), tracker(inner)]
    await first.committer.takeOver()
    const release = first.store.holdGet('claims:mvt:maximum')
    const change = first.tracker.setIfMax({ value: '50', data: null })
    await settle()
    await second.tracker.setIfMax({ value: '100', data: null })
    first.committer.release()
    await first.committer.takeOver()
    first.store.passGets()
    release()
    expect(await change).toEqual({ value: '50', data: null })
    expect(await inner.get('claims:mvt:maximum')).toContain('"100"')
  })

  it('a fenced tracker writes nothing and shows nothing of it', async () => {
    const inner = new MemoryStore()
    const [first, second] = [tracker(inner), tracker(inner)]
    await first.tracker.setIfMax({ value: '5', data: null })
    await second.tracker.setIfMax({ value: '6', data: null })
    await expect(first.tracker.setIfMax({ value: '7', data: null })).rejects.toThrow(StandbyError)
    expect((await first.tracker.getMax()).value).toBe('5')
    expect((await second.tracker.getMax()).value).toBe('6')
    await first.committer.takeOver()
    expect((await first.tracker.getMax()).value).toBe('6')
  })
})
