/** The ILP error packet, and the reasons of LPI v1 that travel in it. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromUtf8, toHex, toUtf8 } from '../../src/core/bytes.js'
import { InvalidFieldsError, PacketError } from '../../src/core/errors.js'
import { decodeIlpError, encodeIlpError, ilpErrorToRejectionReason, rejectionReasonToIlpError } from '../../src/btp/ilp-error.js'
import type { IlpError } from '../../src/btp/ilp-error.js'
import { fromHex } from '../support/hex.js'

const NOW = new Date('2017-12-24T16:14:32.279Z')
const ACCOUNT = 'peer.usd.server'
const PEER = 'peer.usd.client'

const expired: IlpError = { code: 'R00', name: 'Transfer Timed Out', triggeredBy: ACCOUNT, forwardedBy: [], triggeredAt: NOW, data: 'expired' }
const ascii = (text: string) => toHex(toUtf8(text))
const prefixed = (hex: string) => (hex.length / 2).toString(16).padStart(2, '0') + hex
const bodyOf = (time: string) =>
  ascii('R00') + prefixed(ascii('Transfer Timed Out')) + prefixed(ascii(ACCOUNT)) + '0100' + prefixed(ascii(time)) + prefixed(ascii('expired')) + '00'
const EXPIRED_HEX = `08${prefixed(bodyOf('20171224161432.279Z'))}`

/** What the peer's host is told when this side's host gives that reason. */
const overTheWire = (reason: unknown) => ilpErrorToRejectionReason(rejectionReasonToIlpError(reason, ACCOUNT, NOW), ACCOUNT, new Date(0))
const written = (reason: unknown) => decodeIlpError(rejectionReasonToIlpError(reason, ACCOUNT, NOW))

describe('An ILP error packet', () => {
  it('C34: is written as these bytes, and read', () => {
    expect(toHex(encodeIlpError(expired))).toBe(EXPIRED_HEX)
    expect(decodeIlpError(fromHex(EXPIRED_HEX))).toEqual(expired)
    const forwarded = { ...expired, forwardedBy: ['a.b', 'a.c'], data: '' }
    expect(toHex(encodeIlpError(forwarded))).toContain(`010203${ascii('a.b')}03${ascii('a.c')}`)
    expect(decodeIlpError(encodeIlpError(forwarded))).toEqual(forwarded)
  })

  it('H34: is written into a buffer of exactly its length', () => {
    const bytes = encodeIlpError(expired)
    expect(bytes.buffer.byteLength).toBe(bytes.byteLength)
  })

  it('C4: is read with bytes after its last field, and without the extensions', () => {
    expect(decodeIlpError(fromHex(`${EXPIRED_HEX}ffff`))).toEqual(expired)
    const body = bodyOf('20171224161432.279Z').slice(0, -2)
    expect(decodeIlpError(fromHex(`08${prefixed(body)}`))).toEqual(expired)
    expect(decodeIlpError(fromHex(`08${prefixed(`${body}0103010203`)}`))).toEqual(expired)
  })

  it('C6: is read with a time to the second, and refused with a time that is none', () => {
    expect(decodeIlpError(fromHex(`08${prefixed(bodyOf('20171224161432Z'))}`)).triggeredAt).toEqual(new Date('2017-12-24T16:14:32Z'))
    expect(() => decodeIlpError(fromHex(`08${prefixed(bodyOf('20171324161432Z'))}`))).toThrow(PacketError)
  })

  it('H38: is a PacketError where it is cut, damaged, random or of another type', () => {
    const sound = fromHex(EXPIRED_HEX)
    const isSafe = (bytes: Uint8Array) => {
      try {
        decodeIlpError(bytes)
      } catch (error) {
        return error instanceof PacketError
      }
      return true
    }
    for (let length = 0; length < sound.length; length++) expect(() => decodeIlpError(sound.subarray(0, length))).toThrow(PacketError)
    expect(() => decodeIlpError(fromHex(`01${EXPIRED_HEX.slice(2)}`))).toThrow(PacketError)
    expect(() => decodeIlpError(fromHex(`080f${ascii('R00')}000004ffffffff${'00'.repeat(5)}`))).toThrow(PacketError)
    expect(() => decodeIlpError(fromHex(`0811${ascii('R00')}000006ffffffffffff${'00'.repeat(5)}`))).toThrow(PacketError)
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), bytes => isSafe(bytes) && isSafe(new Uint8Array([8, bytes.length, ...bytes]))), { numRuns: 10_000 })
    fc.assert(fc.property(fc.nat(sound.length - 1), fc.nat(255), (at, value) => isSafe(Uint8Array.from(sound, (byte, i) => (i === at ? value : byte)))), { numRuns: 5000 })
  })

  const refused: Array<[field: string, error: Partial<IlpError>]> = [
    ['code', { code: 'F0' }], ['code', { code: 'Ł00' }], ['name', { name: 'Błąd' }], ['triggeredBy', { triggeredBy: 'peer.ł' }],
    ['forwardedBy', { forwardedBy: ['a', 'ł'] }], ['triggeredAt', { triggeredAt: new Date(NaN) }], ['data', { data: 'é'.repeat(4097) }]
  ]
  for (const [field, change] of refused) {
    it(`is refused where its ${field} is ${JSON.stringify(Object.values(change)[0]).slice(0, 20)}`, () => {
      const write = () => encodeIlpError({ ...expired, ...change })
      expect(write).toThrow(InvalidFieldsError)
      expect(write).toThrow(new RegExp(`^${field}`))
    })
  }
})

describe('The reason of a rejection', () => {
  const reason = {
    code: 'F99', name: 'Application Error', triggered_by: 'test.alice', forwarded_by: 'test.bob', triggered_at: new Date('2017-01-02T03:04:05.006Z'),
    additional_info: { a: ['ż', 1], message: 'no, thanks' }
  }

  it('C34: reaches the peer\'s host as it was given', () => {
    expect(overTheWire(reason)).toEqual({ ...reason, message: 'no, thanks' })
  })

  it('C34: has additional_info as JSON in the packet\'s data, in ASCII as old peers read it', () => {
    const { data } = written({ ...reason, additional_info: { text: 'żółw 😀\u007f' } })
    expect(data).toMatch(/^[\x20-\x7e]*$/)
    expect(JSON.parse(data)).toEqual({ text: 'żółw 😀\u007f' })
  })

  it('C34: is forwarded by a list, by one, or by the own account', () => {
    expect(written({ ...reason, forwarded_by: ['a.b', 'a.c'] }).forwardedBy).toEqual(['a.b', 'a.c'])
    expect(written({ ...reason, forwarded_by: 'a.b' }).forwardedBy).toEqual(['a.b'])
    expect(written({ ...reason, forwarded_by: undefined }).forwardedBy).toEqual([ACCOUNT])
    expect(written({ ...reason, forwarded_by: [] }).forwardedBy).toEqual([])
  })

  it('C34: is read as forwarded by the last in the list', () => {
    expect(overTheWire({ ...reason, forwarded_by: ['a.b', 'a.c'] }).forwarded_by).toBe('a.c')
    expect(overTheWire({ ...reason, forwarded_by: [] })).not.toHaveProperty('forwarded_by')
  })

  for (const absent of [undefined, null, {}]) {
    it(`H13: may be ${JSON.stringify(absent)}`, () => {
      expect(overTheWire(absent)).toEqual({
        code: 'F00', name: 'Bad Request', triggered_by: ACCOUNT, forwarded_by: ACCOUNT, triggered_at: NOW, additional_info: {}
      })
    })
  }

  it('H13: may lack additional_info, and then its message travels instead', () => {
    expect(overTheWire({ ...reason, additional_info: undefined })).toMatchObject({ additional_info: {} })
    expect(overTheWire({ ...reason, additional_info: undefined, message: 'why not' })).toMatchObject({ message: 'why not', additional_info: { message: 'why not' } })
    expect(overTheWire({ ...reason, additional_info: 0 })).toMatchObject({ additional_info: 0 })
  })

  it('H13: may be a text or an Error', () => {
    expect(overTheWire('no money')).toMatchObject({ code: 'F00', message: 'no money' })
    expect(overTheWire(new TypeError('no money'))).toMatchObject({ code: 'F00', name: 'TypeError', message: 'no money' })
  })

  it('H13: may have triggered_at as a Date, as an ISO string, or not at all', () => {
    for (const time of [NOW, '2017-12-24T16:14:32.279Z', '2017-12-24T17:14:32.279+01:00', undefined, null]) {
      expect(written({ ...reason, triggered_at: time }).triggeredAt).toEqual(NOW)
    }
  })

  it('names the code where it has one and no name', () => {
    expect(written({ code: 'T99' })).toMatchObject({ code: 'T99', name: 'T99' })
  })

  it('reaches the peer also from a module whose account is no ILP address', () => {
    expect(rejectionReasonToIlpError(undefined, 'rŁ:5', NOW)).toBeInstanceOf(Uint8Array)
    expect(rejectionReasonToIlpError(undefined, '', NOW)).toBeInstanceOf(Uint8Array)
  })

  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  const refused: Array<[field: string, reason: unknown]> = [
    ['reason', 5], ['reason', true], ['reason', []], ['reason', () => 1], ['reason.code', { code: 5 }], ['reason.code', { code: 'F000' }],
    ['reason.code', { code: 'Ł00' }], ['reason.name', { name: 'Błąd' }], ['reason.name', { name: {} }], ['reason.triggered_by', { triggered_by: 'a b' }],
    ['reason.triggered_by', { triggered_by: 5 }], ['reason.triggered_by', { triggered_by: 'a'.repeat(1024) }], ['reason.forwarded_by', { forwarded_by: 'a\u0000' }],
    ['reason.forwarded_by', { forwarded_by: {} }], ['reason.forwarded_by', { forwarded_by: ['a', 5] }], ['reason.forwarded_by', { forwarded_by: ['a', ''] }],
    ['reason.forwarded_by', { forwarded_by: new Array<string>(33).fill('a') }], ['reason.triggered_at', { triggered_at: 'yesterday' }],
    ['reason.triggered_at', { triggered_at: new Date(NaN) }], ['reason.triggered_at', { triggered_at: 5 }], ['reason.triggered_at', { triggered_at: '2017-13-01T00:00:00Z' }],
    ['reason.triggered_at', { triggered_at: new Date(9e14) }], ['reason.additional_info', { additional_info: cycle }], ['reason.additional_info', { additional_info: 1n }],
    ['reason.additional_info', { additional_info: 'é'.repeat(2000) }], ['reason.message', { message: 'x'.repeat(9000) }]
  ]
  for (const [index, [field, odd]] of refused.entries()) {
    it(`H13: is refused with the name of its field where that is wrong: ${field} (${index})`, () => {
      const write = () => rejectionReasonToIlpError(odd, ACCOUNT, NOW)
      expect(write).toThrow(InvalidFieldsError)
      expect(write).toThrow(new RegExp(`^${field} `))
    })
  }

  it('H13: gives a packet or an InvalidFieldsError, whatever its fields are', () => {
    const field = () => fc.oneof(fc.anything(), fc.string(), fc.date(), fc.constant(undefined))
    const odd = fc.oneof(fc.anything(), fc.record({
      code: field(), name: field(), message: field(), triggered_by: field(), forwarded_by: field(), triggered_at: field(), additional_info: field()
    }, { requiredKeys: [] }))
    fc.assert(fc.property(odd, given => {
      try {
        decodeIlpError(rejectionReasonToIlpError(given, ACCOUNT, NOW))
      } catch (error) {
        return error instanceof InvalidFieldsError
      }
      return true
    }), { numRuns: 3000 })
  })
})

describe('A rejection of the peer', () => {
  it('C34: is read with all that the packet says', () => {
    expect(ilpErrorToRejectionReason(fromHex(EXPIRED_HEX), PEER, new Date(0))).toEqual({
      code: 'R00', name: 'Transfer Timed Out', message: 'expired', triggered_by: ACCOUNT, triggered_at: NOW, additional_info: 'not JSON'
    })
  })

  for (const [what, ilp] of [['missing', undefined], ['empty', new Uint8Array()], ['garbled', fromHex('08050102030405')], ['of another type', fromHex('0100')]] as const) {
    it(`has a sensible reason where its packet is ${what}`, () => {
      expect(ilpErrorToRejectionReason(ilp, PEER, NOW)).toMatchObject({ code: 'F00', name: 'Bad Request', triggered_by: PEER, triggered_at: NOW })
    })
  }

  it('leaves additional_info out where there is no data', () => {
    expect(ilpErrorToRejectionReason(encodeIlpError({ ...expired, data: '' }), PEER, NOW)).toEqual({
      code: 'R00', name: 'Transfer Timed Out', triggered_by: ACCOUNT, triggered_at: NOW
    })
  })

  it('H37, H38: has no additional_info that pollutes or is too deep', () => {
    for (const data of ['{"__proto__":{"polluted":1}}', '['.repeat(5000)]) {
      expect(ilpErrorToRejectionReason(encodeIlpError({ ...expired, data }), PEER, NOW)).toMatchObject({ additional_info: 'not JSON', message: data })
    }
  })

  it('H39: has no address that is none', () => {
    const odd = encodeIlpError({ ...expired, triggeredBy: 'not an address', forwardedBy: ['a', '<script>'] })
    const reason = ilpErrorToRejectionReason(odd, PEER, NOW)
    expect(reason).not.toHaveProperty('triggered_by')
    expect(reason).not.toHaveProperty('forwarded_by')
  })

  it('never throws, whatever the bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), bytes => ilpErrorToRejectionReason(new Uint8Array([8, bytes.length, ...bytes]), PEER, NOW).code.length === 3), { numRuns: 5000 })
  })

  it('H39: is read with replacement characters where its data is no UTF-8', () => {
    const bytes = encodeIlpError(expired)
    bytes[bytes.length - 2] = 0xff
    expect(fromUtf8(bytes)).toBeUndefined()
    expect(ilpErrorToRejectionReason(bytes, PEER, NOW)).toMatchObject({ message: 'expire\ufffd' })
  })
})
