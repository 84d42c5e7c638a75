/** A map that keeps its table. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NodeMap } from '../../src/platform/node-map.js'

/** Few, so that they meet again; and some that end alike, so that they are looked for in the same places. */
const keys = fc.oneof(fc.integer({ min: 0, max: 300 }).map(n => `${n * 7919}`), fc.integer({ min: 0, max: 60 }).map(n => `${n}-alike---`), fc.integer({ min: 0, max: 2 ** 32 - 1 }))

const calls = fc.array(fc.oneof(
  { weight: 3, arbitrary: fc.record({ name: fc.constant('set' as const), key: keys, value: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ name: fc.constant('delete' as const), key: keys }) },
  { weight: 1, arbitrary: fc.record({ name: fc.constant('get' as const), key: keys }) }
), { maxLength: 600, size: 'max' })

describe('a map for what comes and goes', () => {
  it('holds what any map does', () => {
    fc.assert(fc.property(calls, made => {
      const [map, model] = [new NodeMap<string | number, number>(), new Map<string | number, number>()]
      for (const call of made) {
        if (call.name === 'set') {
          map.set(call.key, call.value)
          model.set(call.key, call.value)
        } else if (call.name === 'delete') expect(map.delete(call.key)).toBe(model.delete(call.key))
        expect(map.get(call.key)).toBe(model.get(call.key))
        expect(map.has(call.key)).toBe(model.has(call.key))
        expect(map.size).toBe(model.size)
      }
      expect(new Set(map.keys())).toEqual(new Set(model.keys()))
      expect(map.keys().map(key => map.get(key))).toEqual(map.values())
      map.clear()
      expect([map.size, map.keys(), map.get(made[0]?.key ?? '')]).toEqual([0, [], undefined])
    }), { numRuns: 300 })
  })

  it('lists in the order in which keys were added, through growing and deleting', () => {
    const map = new NodeMap<string, number>()
    for (let n = 0; n < 1000; n++) {
      map.set(`key ${n}`, n)
      if (n >= 300) map.delete(`key ${n - 300}`)
    }
    map.set('key 800', -800)
    expect(map.values()).toEqual(Array.from({ length: 300 }, (_, n) => n + 700 === 800 ? -800 : n + 700))
  })

  it('is not slowed down by keys that were chosen to lie in the same place', () => {
    const map = new NodeMap<string, number>()
    const count = 20_000
    for (let n = 0; n < count; n++) map.set(`${n} the same end`, n)
    expect(map.size).toBe(count)
    // Far more steps than any test may take, were each searched for behind all others.
    for (let round = 0; round < 10; round++) for (let n = 0; n < count; n++) if (map.get(`${n} the same end`) !== n) expect.fail(`${n} is lost`)
  })
})
