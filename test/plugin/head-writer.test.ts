import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { headOf } from '../../src/ledger/records.js'
import { headWriter } from '../../src/plugin/head-writer.js'
import { checkTransfer } from '../../src/plugin/lpi-checks.js'
import type { OutgoingTransfer } from '../../src/plugin/lpi.js'

const base64url = (size: number) => fc.uint8Array({ minLength: size, maxLength: size }).map(bytes => Buffer.from(bytes).toString('base64url'))
const json = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 2 })

const addresses = fc.record({ account: fc.string({ unit: 'binary', minLength: 1 }), peer: fc.string({ unit: 'binary', minLength: 1 }), prefix: fc.string({ unit: 'binary' }) })

const transfers = fc.record({
  id: fc.oneof(fc.uuid(), fc.uuid().map(id => id.toUpperCase())),
  amount: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
  executionCondition: base64url(32),
  expiresAt: fc.date({ min: new Date(0), max: new Date('9999-12-31T00:00:00Z'), noInvalidDate: true }).map(date => date.toISOString()),
  ilp: fc.option(fc.uint8Array().chain(bytes => fc.constantFrom(...(['base64', 'base64url'] as const).map(of => Buffer.from(bytes).toString(of)))), { nil: undefined }),
  custom: fc.option(json, { nil: undefined }),
  data: fc.option(json, { nil: undefined }),
  noteToSelf: fc.option(json, { nil: undefined }),
  direction: fc.constantFrom(undefined, 'outgoing' as const)
}, { requiredKeys: ['id', 'amount', 'executionCondition', 'expiresAt'] })

describe('how the record of a transfer begins, written by hand', () => {
  it('is what JSON makes of it, for whatever passes the checks, in both directions and for changing accounts', () => {
    const write = headWriter()
    fc.assert(fc.property(fc.array(addresses, { minLength: 1, maxLength: 2 }), fc.array(fc.tuple(transfers, fc.boolean(), fc.nat(1)), { minLength: 1 }), (accounts, list) => {
      for (const [transfer, isIncoming, which] of list) {
        const own = accounts[which % accounts.length] ?? { account: 'a', peer: 'b', prefix: '' }
        const checked = checkTransfer({ ...transfer, to: own.peer } as OutgoingTransfer, own)
        expect(write(checked, isIncoming)).toBe(headOf(checked, isIncoming))
      }
    }), { numRuns: 300 })
  })
})
