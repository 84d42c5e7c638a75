import { describe, expect, it } from 'vitest'
import { AccountNotFoundError, InvalidFieldsError } from '../../src/core/errors.js'
import { checkAnswer, checkFulfillment, checkIlp, checkMessage, checkTransfer } from '../../src/plugin/lpi-checks.js'
import type { OutgoingTransfer } from '../../src/plugin/lpi.js'

const ADDRESSES = { account: 'test.a.client', peer: 'test.a.server', prefix: 'test.a.' }
const CONDITION = 'A'.repeat(43)

const transfer = (changes: object = {}): OutgoingTransfer => ({
  id: 'AAAAAAAA-bbbb-4ccc-8ddd-eeeeeeeeeeee',
  amount: '5',
  executionCondition: CONDITION,
  expiresAt: '2030-01-02T03:04:05.678Z',
  to: 'test.a.server',
  ...changes
})
const check = (changes: object = {}): unknown => checkTransfer(transfer(changes), ADDRESSES)
const deep = (levels: number): unknown => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`)

describe('a transfer', () => {
  it('C52: comes out with both accounts and the prefix, and without what it does not know', () => {
    expect(check({ unknown: 1 })).toEqual({ ...transfer(), from: 'test.a.client', ledger: 'test.a.' })
    const more = { ilp: 'AAAA', custom: { a: 1 }, data: { b: 2 }, noteToSelf: { c: 3 } }
    expect(check({ ...more, from: 'test.a.client', ledger: 'test.a.' })).toEqual({ ...transfer(more), from: 'test.a.client', ledger: 'test.a.' })
  })

  it.each([
    ['0', '0'], ['1', '1'], ['5.0', '5'], ['5.000', '5'], ['18446744073709551615', '18446744073709551615'], ['18446744073709551615.0', '18446744073709551615']
  ])('C44: an amount of %s is %s', (amount, expected) => {
    expect(check({ amount })).toMatchObject({ amount: expected })
  })

  it.each([
    '', ' 5', '5 ', '-0', '-1', '+1', '1.5', '1e3', '0x10', '05', '00', '5.', '.5', 'Infinity', 'NaN', '18446744073709551616', '1'.repeat(1000), 5, 5n, null, undefined, ['5'],
    '５'
  ])('C44 H21: an amount of %o is an InvalidFieldsError', amount => {
    expect(() => check({ amount })).toThrow(InvalidFieldsError)
    expect(() => check({ amount })).toThrow(/^amount/)
  })

  it.each<[string, unknown[]]>([
    ['id', ['', 'not-a-uuid', 'aaaaaaaabbbb4ccc8dddeeeeeeeeeeee', 5, undefined, 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee\n', '__proto__']],
    ['executionCondition', ['', 'A'.repeat(42), 'A'.repeat(44), `${'A'.repeat(42)}B`, `${'A'.repeat(42)}=`, `${'A'.repeat(42)}+`, 5, undefined]],
    ['expiresAt', [
      '', 'tomorrow', '2030-13-01T00:00:00Z', '2030-02-30T00:00:00Z', '2030-01-01T24:00:00Z', '2030-01-01T00:00:00', '2030-01-01T00:00:00+01:00',
      '2030-01-01', '+012030-01-01T00:00:00Z', '1969-12-31T23:59:59Z', '2030-01-01T00:00:00.1234Z', 1893456000000, new Date(), undefined, null
    ]],
    ['to', ['', undefined, 5, null]],
    ['from', ['test.a.server', 5, null]],
    ['ledger', ['test.b.', 'test.a', 5, null]],
    ['ilp', ['?', 5, null, 'A']],
    ['custom', ['x', 5, null, [], { big: 5n }, { deep: deep(100) }, { long: 'x'.repeat(60_001) }]],
    ['data', ['x', 5, null, []]],
    ['noteToSelf', ['x', 5, null, []]]
  ])('C44 H39: %s is checked, and an InvalidFieldsError names it', (field, values) => {
    for (const value of values) {
      expect(() => check({ [field]: value }), JSON.stringify(value, (_key, inner: unknown) => typeof inner === 'bigint' ? 'big' : inner)).toThrow(InvalidFieldsError)
      expect(() => check({ [field]: value })).toThrow(new RegExp(`^(${field}|ilp and custom) `))
    }
  })

  it.each(['2030-01-02T03:04:05Z', '2030-01-02T03:04:05.6Z', '9999-12-31T23:59:59.999Z'])('C44: %s is a time', expiresAt => {
    expect(check({ expiresAt })).toMatchObject({ expiresAt })
  })

  it('H18: goes to the peer or to an address below it, and to none that only begins alike', () => {
    expect(check({ to: 'test.a.server.bob' })).toMatchObject({ to: 'test.a.server' })
    for (const to of ['test.a.server2', 'test.a.serve', 'test.a.client', 'test.a.', 'test.b.server', 'test.a.server/x', 'TEST.A.SERVER']) {
      expect(() => check({ to }), to).toThrow(AccountNotFoundError)
    }
    for (const from of ['test.a.client2', 'test.a.']) expect(() => check({ from }), from).toThrow(/^from/)
  })

  it("takes LPI's old name of the destination, account", () => {
    const { to: account, ...rest } = transfer()
    expect(checkTransfer({ ...rest, account } as never, ADDRESSES)).toMatchObject({ to: account })
  })

  it.each([undefined, null, 'x', [], 5])('C44: is an object, and not %o', value => {
    expect(() => checkTransfer(value as never, ADDRESSES)).toThrow(/^transfer/)
    expect(() => checkMessage(value as never, ADDRESSES)).toThrow(/^message/)
  })

  it.each(['custom', 'data', 'noteToSelf'])('C44: %s that is an object to JavaScript and none to JSON is refused', field => {
    for (const value of [new Date(0), { toJSON: () => [] }, { toJSON: () => undefined }]) {
      expect(() => check({ [field]: value })).toThrow(InvalidFieldsError)
    }
  })

  it('H38: what no peer could read is refused, before it is stored as something to be sent', () => {
    expect(check({ custom: { deep: deep(98) } })).toBeDefined()
    expect(() => check({ custom: { deep: deep(100) } })).toThrow(/^custom must be at most 100 levels deep/)
    const cyclic: { self?: object } = {}
    cyclic.self = cyclic
    expect(() => check({ custom: cyclic })).toThrow(/^custom/)
    expect(() => check({ ilp: 'A'.repeat(80_004) })).toThrow(/^ilp and custom/)
    expect(() => check({ ilp: 'A'.repeat(40_000), custom: { long: 'ä'.repeat(15_001) } })).toThrow(/^ilp and custom/)
  })
})

describe('the other values of a host', () => {
  it('C48: a fulfillment is 32 bytes in base64url, in the one way to write them', () => {
    expect(checkFulfillment(CONDITION)).toBe(CONDITION)
    for (const wrong of ['', 'A'.repeat(42), `${'A'.repeat(42)}B`, `${CONDITION}=`, undefined, 5]) expect(() => checkFulfillment(wrong)).toThrow(/^fulfillment/)
  })

  it('the ilp of a fulfillment is base64url, and fits into a frame', () => {
    expect(checkIlp('AAAA')).toBe('AAAA')
    for (const wrong of ['?', 5, null, 'A'.repeat(81_000)]) expect(() => checkIlp(wrong)).toThrow(InvalidFieldsError)
  })

  it("C47: a handler's answer is addressed to who asked, whatever it says itself", () => {
    const asked = { from: 'test.a.server', to: 'test.a.client', ledger: 'test.a.' }
    expect(checkAnswer({ to: 'test.x', from: 'test.y', ledger: 'z', ilp: 'AAAA' }, asked)).toEqual({ to: 'test.a.server', from: 'test.a.client', ledger: 'test.a.', ilp: 'AAAA' })
  })
})
