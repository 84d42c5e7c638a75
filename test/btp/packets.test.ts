/** The packet codec against literal bytes, against the rules of RFC 23 and RFC 30, and against hostile bytes. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex, toUtf8 } from '../../src/core/bytes.js'
import { InvalidFieldsError, PacketError } from '../../src/core/errors.js'
import { ContentType, decodePacket, encodePacket, ERROR_DATA_LIMIT } from '../../src/btp/packets.js'
import type { Packet, PreparePacket, SubProtocol } from '../../src/btp/packets.js'
import { fromHex } from '../support/hex.js'
import { packets } from '../support/packets.js'

const ID = 'b4c838f6-80b1-47f8-a82e-b1fcfbed89d5'
const ID_HEX = 'b4c838f680b147f8a82eb1fcfbed89d5'
const BYTES_32_HEX = 'bb3a18c772babbe36dea46636cde8a987d320117e1923f5ed7b7907e949e07b5'
const BYTES_32 = 'uzoYx3K6u-Nt6kZjbN6KmH0yARfhkj9e17eQfpSeB7U'
const ilp: SubProtocol = { protocolName: 'ilp', contentType: ContentType.octetStream, data: fromHex('0102') }

const ascii = (text: string) => toHex(toUtf8(text))
/** One byte of length before what is given as hex. */
const prefixed = (hex: string) => (hex.length / 2).toString(16).padStart(2, '0') + hex
const ILP_HEX = `0101${prefixed(ascii('ilp'))}00${prefixed('0102')}`
const TIME_HEX = prefixed(ascii('20171224161432.279Z'))
const TIME = new Date('2017-12-24T16:14:32.279Z')

/** The envelope of a request 0x01020304. */
const frame = (type: number, bodyHex: string) => fromHex(`0${type}01020304${prefixed(bodyHex)}`)
const prepareWith = (timestamp: string) => frame(3, `${ID_HEX}00000000000003e8${BYTES_32_HEX}${prefixed(ascii(timestamp))}0100`)
const errorWith = (timestamp: string) => frame(2, `${ascii('F00')}${prefixed(ascii('x'))}${prefixed(ascii(timestamp))}000100`)

const thrownBy = (action: () => unknown): unknown => {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

describe('Each type of packet', () => {
  const head = { requestId: 0x01020304, protocolData: [ilp] }
  const literal: Record<string, [packet: Packet, bytes: Uint8Array]> = {
    response: [{ type: 'response', ...head }, frame(1, ILP_HEX)],
    error: [
      { type: 'error', ...head, code: 'F05', name: 'DuplicateIdError', triggeredAt: TIME, data: '{"message":"é"}' },
      frame(2, `${ascii('F05')}${prefixed(ascii('DuplicateIdError'))}${TIME_HEX}${prefixed(ascii('{"message":"é"}'))}${ILP_HEX}`)
    ],
    prepare: [
      { type: 'prepare', ...head, transferId: ID, amount: '1000', executionCondition: BYTES_32, expiresAt: TIME },
      frame(3, `${ID_HEX}00000000000003e8${BYTES_32_HEX}${TIME_HEX}${ILP_HEX}`)
    ],
    fulfill: [{ type: 'fulfill', ...head, transferId: ID, fulfillment: BYTES_32 }, frame(4, `${ID_HEX}${BYTES_32_HEX}${ILP_HEX}`)],
    reject: [{ type: 'reject', ...head, transferId: ID }, frame(5, `${ID_HEX}${ILP_HEX}`)],
    message: [{ type: 'message', ...head }, frame(6, ILP_HEX)],
    transfer: [{ type: 'transfer', ...head, amount: '18446744073709551615' }, frame(7, `ffffffffffffffff${ILP_HEX}`)]
  }
  for (const [name, [packet, bytes]] of Object.entries(literal)) {
    it(`C1, C2, C8: writes a ${name} as these bytes, and reads them`, () => {
      expect(toHex(encodePacket(packet))).toBe(toHex(bytes))
      expect(decodePacket(bytes)).toEqual(packet)
    })
  }

  it('is read as it was written, whatever its fields', () => {
    fc.assert(fc.property(packets(), packet => {
      expect(decodePacket(encodePacket(packet))).toEqual(packet)
    }), { numRuns: 1000 })
  })

  it('H34: is written into a buffer of exactly its length, so that no other bytes can be sent with it', () => {
    fc.assert(fc.property(packets(), packet => {
      const bytes = encodePacket(packet)
      expect(bytes.buffer.byteLength).toBe(bytes.byteLength)
      expect(Object.getPrototypeOf(bytes)).toBe(Uint8Array.prototype)
    }))
  })

  it('H34: writes just the view where data is part of a larger buffer, and reads frames that are', () => {
    const data = new Uint8Array([9, 9, 1, 2, 9]).subarray(2, 4)
    for (const type of ['message', 'reject'] as const) {
      const bytes = encodePacket({ type, requestId: 1, transferId: ID, protocolData: [{ ...ilp, data }] })
      const larger = new Uint8Array(bytes.length + 20).fill(0xee)
      larger.set(bytes, 7)
      expect(decodePacket(larger.subarray(7, 7 + bytes.length)).protocolData).toEqual([ilp])
    }
  })

  it('C3: writes every length in the fewest bytes', () => {
    for (const [size, prefix] of [[0, '00'], [127, '7f'], [128, '8180'], [255, '81ff'], [256, '820100'], [65_536, '83010000']] as const) {
      for (const type of ['message', 'fulfill'] as const) {
        const data = new Uint8Array(size)
        const bytes = encodePacket({ type, requestId: 1, transferId: ID, fulfillment: BYTES_32, protocolData: [{ ...ilp, data }] })
        expect(toHex(bytes.subarray(bytes.length - size - prefix.length / 2, bytes.length - size))).toBe(prefix)
      }
    }
  })

  it('carries more than 255 sub-protocols', () => {
    const protocolData = Array.from({ length: 300 }, (_, i) => ({ ...ilp, protocolName: `name${i}` }))
    for (const packet of [{ type: 'message', requestId: 1, protocolData }, { type: 'reject', requestId: 1, transferId: ID, protocolData }] as const) {
      expect(decodePacket(encodePacket(packet))).toEqual(packet)
    }
  })

  it('H37: carries sub-protocols named like members of Object.prototype', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf']
    const protocolData = names.map(protocolName => ({ ...ilp, protocolName }))
    for (const packet of [{ type: 'response', requestId: 1, protocolData }, { type: 'fulfill', requestId: 1, transferId: ID, fulfillment: BYTES_32, protocolData }] as const) {
      expect(decodePacket(encodePacket(packet))).toEqual(packet)
    }
    expect(({} as Record<string, unknown>)['contentType']).toBeUndefined()
  })

  it('C8: keeps amounts exact where a number would not', () => {
    for (const amount of ['0', '4294967296', '9007199254740991', '9007199254740993', '18014398509481983', '18446744073709551615']) {
      const prepared = { transferId: ID, executionCondition: BYTES_32, expiresAt: TIME }
      for (const type of ['transfer', 'prepare'] as const) {
        expect(decodePacket(encodePacket({ type, requestId: 1, amount, ...prepared, protocolData: [] }))).toHaveProperty('amount', amount)
      }
    }
  })

  it('C9: keeps a content type that it does not know', () => {
    const packet: Packet = { type: 'message', requestId: 1, protocolData: [{ ...ilp, contentType: 255 }] }
    expect(decodePacket(encodePacket(packet))).toEqual(packet)
  })
})

describe('Reading', () => {
  it('C4: ignores bytes after the last known field of a body, and after the body', () => {
    for (const type of [1, 6]) expect(decodePacket(frame(type, `${ILP_HEX}ffff`)).protocolData).toEqual([ilp])
    expect(decodePacket(frame(5, `${ID_HEX}${ILP_HEX}00`)).protocolData).toEqual([ilp])
    expect(decodePacket(fromHex(`${toHex(frame(6, ILP_HEX))}ffff`)).protocolData).toEqual([ilp])
  })

  it('C3: takes lengths and counts that are longer than need be', () => {
    const name = `8103${ascii('ilp')}`
    const sub = `${name}0084000000020102`
    for (const count of ['0101', '810101', '020001', '0800000000000000' + '01']) {
      expect(decodePacket(frame(6, `${count}${sub}`)).protocolData).toEqual([ilp])
    }
    expect(decodePacket(fromHex(`060102030482000a${ILP_HEX}`)).protocolData).toEqual([ilp])
  })

  it('C3: refuses lengths of a form that does not exist, and counts of no bytes', () => {
    for (const length of ['80', `ff${'00'.repeat(126)}02`]) expect(() => decodePacket(fromHex(`0601020304${length}0100`))).toThrow(PacketError)
    expect(() => decodePacket(frame(6, '00'))).toThrow(PacketError)
  })

  it('C6: reads timestamps with a fraction and without', () => {
    const expiresAt = (timestamp: string) => (decodePacket(prepareWith(timestamp)) as PreparePacket).expiresAt.toISOString()
    expect(expiresAt('20171224161432.279Z')).toBe('2017-12-24T16:14:32.279Z')
    expect(expiresAt('20171224161432Z')).toBe('2017-12-24T16:14:32.000Z')
    expect(expiresAt('20171224161432.2Z')).toBe('2017-12-24T16:14:32.200Z')
    expect(expiresAt('20160229000000.27Z')).toBe('2016-02-29T00:00:00.270Z')
    expect(expiresAt('99991231235959.999Z')).toBe('9999-12-31T23:59:59.999Z')
  })

  const noTimes = [
    '20171324161432.279Z', '20170024161432.279Z', '20170231161432.279Z', '20170229000000.000Z', '20171200161432.279Z', '20171232161432.279Z',
    '20171231240000.000Z', '20171231250000.000Z', '20171224166032.279Z', '20171224161460.000Z', '20171224161432.279', '20171224161432.279z',
    '20171224161432.279+0100', '20171224161432+00', '20171224161432.2790Z', '20171224161432.Z', '20171224161432,279Z', '201712241614Z', '20171224Z',
    '171224161432Z', '+20171224161432Z', ' 20171224161432Z', '20171224161432Z\n', '2017-12-24T16:14:32.279Z', ''
  ]
  for (const timestamp of noTimes) {
    it(`C6, H39: refuses the time ${JSON.stringify(timestamp)}, with the request's id so that it can be answered`, () => {
      expect(thrownBy(() => decodePacket(prepareWith(timestamp)))).toMatchObject({ name: 'PacketError', code: 'F01', requestId: 0x01020304 })
      const inAnswer = thrownBy(() => decodePacket(errorWith(timestamp)))
      expect(inAnswer).toBeInstanceOf(PacketError)
      expect(inAnswer).toHaveProperty('requestId', undefined)
    })
  }

  it('C22: gives no request id where the bytes are no packet, so that silence is the answer', () => {
    const whole = prepareWith('20171324161432.279Z')
    for (let length = 0; length < whole.length; length++) {
      const error = thrownBy(() => decodePacket(whole.subarray(0, length)))
      expect(error).toBeInstanceOf(PacketError)
      expect(error).toHaveProperty('requestId', undefined)
    }
    for (const type of [0, 8, 9]) expect(thrownBy(() => decodePacket(frame(type, '0100')))).toHaveProperty('requestId', undefined)
  })

  it('C5: reads sub-protocols that share a name, for the session to refuse', () => {
    const sub = ILP_HEX.slice(4)
    expect(decodePacket(frame(6, `0102${sub}${sub}`)).protocolData).toEqual([ilp, ilp])
  })

  it('H39: never reads a name with a byte above 0x7f as another name', () => {
    // 0xe9 is 'i' with the highest bit set.
    const [sub] = decodePacket(frame(6, `010103e96c700000`)).protocolData
    expect(sub?.protocolName).toBe('\u00e9lp')
  })

  it('C7: reads at most 8192 bytes of an Error\'s data, in whole characters', () => {
    const data = toHex(toUtf8(`x${'é'.repeat(5000)}`))
    const body = `${ascii('F00')}${prefixed(ascii('x'))}${TIME_HEX}822711${data}0100`
    const packet = decodePacket(fromHex(`020102030482${(body.length / 2).toString(16).padStart(4, '0')}${body}`))
    expect(packet).toMatchObject({ data: `x${'é'.repeat(4095)}` })
  })

  it('H39: reads data of an Error that is no UTF-8 as text with replacement characters', () => {
    const packet = decodePacket(frame(2, `${ascii('F00')}00${TIME_HEX}02c3280100`))
    expect(packet).toMatchObject({ name: '', data: '\ufffd(' })
  })
})

describe('Writing', () => {
  const prepare: PreparePacket = { type: 'prepare', requestId: 1, transferId: ID, amount: '1', executionCondition: BYTES_32, expiresAt: TIME, protocolData: [] }

  it('C6: writes three decimals, also where they are zeros', () => {
    const expiresAt = new Date('2017-12-24T16:14:32Z')
    const bytes = encodePacket({ ...prepare, expiresAt })
    expect(toHex(bytes)).toContain(ascii('20171224161432.000Z'))
    const error = encodePacket({ type: 'error', requestId: 1, code: 'T00', name: 'x', triggeredAt: expiresAt, data: '', protocolData: [] })
    expect(toHex(error)).toContain(ascii('20171224161432.000Z'))
  })

  it('C7: cuts the data of an Error to 8192 bytes, in whole characters', () => {
    for (const character of ['x', 'é', '€', '😀']) {
      const data = 'ab' + character.repeat(9000)
      const packet = decodePacket(encodePacket({ type: 'error', requestId: 1, code: 'T00', name: 'x', triggeredAt: TIME, data, protocolData: [] }))
      const written = packet.type === 'error' ? packet.data : ''
      expect(data.startsWith(written)).toBe(true)
      expect(toUtf8(written).length).toBeGreaterThan(ERROR_DATA_LIMIT - 4)
      expect(toUtf8(written).length).toBeLessThanOrEqual(ERROR_DATA_LIMIT)
    }
  })

  const refused: Array<[field: string, packet: Packet]> = [
    ['requestId', { ...prepare, requestId: -1 }],
    ['requestId', { ...prepare, requestId: 2 ** 32 }],
    ['requestId', { ...prepare, requestId: 1.5 }],
    ['transferId', { ...prepare, transferId: ID.slice(1) }],
    ['transferId', { ...prepare, transferId: `${ID.slice(0, -1)}g` }],
    ['amount', { ...prepare, amount: '18446744073709551616' }],
    ['amount', { ...prepare, amount: '-1' }],
    ['amount', { ...prepare, amount: '1e3' }],
    ['amount', { type: 'transfer', requestId: 1, amount: '18446744073709551616', protocolData: [] }],
    ['executionCondition', { ...prepare, executionCondition: BYTES_32.slice(1) }],
    ['fulfillment', { type: 'fulfill', requestId: 1, transferId: ID, fulfillment: `${BYTES_32}=`, protocolData: [] }],
    ['expiresAt', { ...prepare, expiresAt: new Date(NaN) }],
    ['expiresAt', { ...prepare, expiresAt: new Date('+010000-01-01T00:00:00Z') }],
    ['expiresAt', { ...prepare, expiresAt: new Date('0999-01-01T00:00:00Z') }],
    ['triggeredAt', { type: 'error', requestId: 1, code: 'F00', name: 'x', triggeredAt: new Date(NaN), data: '', protocolData: [] }],
    ['code', { type: 'error', requestId: 1, code: 'F0', name: 'x', triggeredAt: TIME, data: '', protocolData: [] }],
    ['name', { type: 'error', requestId: 1, code: 'F00', name: 'Błąd', triggeredAt: TIME, data: '', protocolData: [] }],
    ['protocolName', { type: 'message', requestId: 1, protocolData: [{ ...ilp, protocolName: 'ił' }] }],
    ['protocolName', { ...prepare, protocolData: [{ ...ilp, protocolName: '\u0169lp' }] }],
    ['contentType', { type: 'message', requestId: 1, protocolData: [{ ...ilp, contentType: 256 }] }],
    ['protocolData', { ...prepare, protocolData: new Array<SubProtocol>(65_536).fill(ilp) }]
  ]
  for (const [field, packet] of refused) {
    it(`refuses a ${packet.type} whose ${field} no packet can carry (${JSON.stringify(packet).slice(0, 60)}...)`, () => {
      const error = thrownBy(() => encodePacket(packet))
      expect(error).toBeInstanceOf(InvalidFieldsError)
      expect((error as InvalidFieldsError).message).toMatch(new RegExp(`^${field}`))
    })
  }
})

describe('H38: Hostile bytes', () => {
  /** Decodes, and hands back what was thrown if that is anything but a PacketError. */
  const surprise = (bytes: Uint8Array): unknown => {
    const error = thrownBy(() => decodePacket(bytes))
    return error instanceof PacketError ? undefined : error
  }

  it('give a PacketError or a packet, whatever they are', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), bytes => surprise(bytes) === undefined), { numRuns: 20_000 })
  })

  it('give a PacketError or a packet where only the body is random', () => {
    const body = fc.tuple(fc.integer({ min: 1, max: 7 }), fc.uint8Array({ maxLength: 127 }))
    fc.assert(fc.property(body, ([type, bytes]) => surprise(frame(type, toHex(bytes))) === undefined), { numRuns: 20_000 })
  })

  it('give a PacketError or a packet where a sound packet is damaged or cut', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 })
    fc.assert(fc.property(packets(), damage, fc.nat(), (packet, changes, cut) => {
      const bytes = encodePacket(packet)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      return surprise(bytes) === undefined && surprise(bytes.subarray(0, cut % (bytes.length + 1))) === undefined
    }), { numRuns: 10_000 })
  })

  it('allocate nothing by claiming to be long', () => {
    const claims = ['84ffffffff', '86ffffffffffff', `fe${'ff'.repeat(126)}`, '8300ffff', `8a${'ff'.repeat(10)}`]
    const frames = claims.flatMap(claim => [
      fromHex(`0601020304${claim}`),
      frame(6, `0101${claim}`),
      frame(6, `0101${prefixed(ascii('ilp'))}00${claim}`),
      frame(6, claim),
      frame(6, '04ffffffff'),
      frame(6, '06ffffffffffff'),
      frame(2, `${ascii('F00')}${claim}`)
    ])
    const before = process.memoryUsage().arrayBuffers
    for (const bytes of frames) expect(() => decodePacket(bytes)).toThrow(PacketError)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20)
  })
})
