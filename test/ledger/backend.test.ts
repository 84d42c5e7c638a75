/** Where a module gets its logs and trackers from. */
import { describe, expect, it } from 'vitest'
import { InvalidFieldsError } from '../../src/core/errors.js'
import { contents, open, prepare, sums } from './setup.js'

describe('getTransferLog', () => {
  it('H10: a string is the key, and its log is apart from the plugin\'s own', async () => {
    const { backend, ledger, inner } = open()
    const log = backend.getTransferLog('settlements')
    await log.prepare({ id: 'a', amount: '5' }, true)
    await log.fulfill('a', 'preimage')
    await prepare(ledger, 'a', '7', false)
    expect(await log.getBalance()).toBe('5')
    expect(await sums(ledger)).toEqual({ if: '0', of: '0', ih: '0', oh: '7' })
    expect(Object.keys(await contents(inner)).filter(key => /:tl:|:open:/.test(key)))
      .toEqual([':paychan:open:000000000001', 'settlements:tl:balance:if', 'settlements:tl:transfer:a'])
  })

  it('the same key gives the same object, as a string or in options', () => {
    const { backend } = open()
    const log = backend.getTransferLog('a')
    expect(backend.getTransferLog({ key: 'a' })).toBe(log)
    expect(backend.getTransferLog('b')).not.toBe(log)
    const tracker = backend.getMaxValueTracker('a')
    expect(backend.getMaxValueTracker({ key: 'a' })).toBe(tracker)
    expect(backend.getMaxValueTracker('b')).not.toBe(tracker)
  })

  it('H10: refuses an empty key, one outside of base64url, and what is no key', () => {
    const { backend } = open()
    for (const key of ['', 'a:b', 'a b', 'ä', 'x'.repeat(201), 5, null, undefined, {}, []]) {
      for (const options of [key, { key }]) {
        expect(() => backend.getTransferLog(options as string), JSON.stringify(options)).toThrow(InvalidFieldsError)
        expect(() => backend.getMaxValueTracker(options as string), JSON.stringify(options)).toThrow(InvalidFieldsError)
      }
    }
    for (const key of ['__proto__', 'constructor', 'a-_9', 'x'.repeat(200)]) {
      expect(backend.getTransferLog(key)).toBe(backend.getTransferLog({ key }))
    }
  })

  it('C44: refuses limits that are no integer strings, naming them', () => {
    const { backend } = open()
    expect(() => backend.getTransferLog({ key: 'a', maximum: '1.5' })).toThrow(/maximum/)
    expect(() => backend.getTransferLog({ key: 'a', minimum: 'x' })).toThrow(/minimum/)
    expect(() => backend.getTransferLog({ key: 'a', maximum: 5 as unknown as string })).toThrow(InvalidFieldsError)
    backend.getTransferLog({ key: 'a', maximum: '-5', minimum: '-Infinity' })
  })

  it('the longest key and the longest id fit into every store', async () => {
    const { backend } = open()
    const log = backend.getTransferLog('x'.repeat(200))
    await log.prepare({ id: '\u20ac'.repeat(500), amount: '1' }, true)
    await log.fulfill('\u20ac'.repeat(500), 'preimage')
    expect(await log.getBalance()).toBe('1')
  })
})
