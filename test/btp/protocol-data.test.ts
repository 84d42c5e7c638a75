/** Sub-protocols: what LPI v1 puts into them, and how little of a stranger's is believed. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromUtf8, toHex, toUtf8 } from '../../src/core/bytes.js'
import { InvalidFieldsError } from '../../src/core/errors.js'
import { ContentType, ERROR_DATA_LIMIT } from '../../src/btp/packets.js'
import {
  decodeBalance, decodeErrorData, encodeBalance, encodeErrorData, find, fromProtocolData, hasDuplicateNames, json, JSON_DEPTH_LIMIT, JSON_LENGTH_LIMIT, octets, readJson,
  readText, text, toProtocolData
} from '../../src/btp/protocol-data.js'
import type { JsonValue } from '../../src/btp/protocol-data.js'

const rawJson = (source: string, protocolName = 'claim') => ({ protocolName, contentType: ContentType.json, data: toUtf8(source) })

describe('A sub-protocol', () => {
  it('C9: is built with the content type of what it carries', () => {
    expect(octets('ilp', new Uint8Array([1]))).toEqual({ protocolName: 'ilp', contentType: 0, data: new Uint8Array([1]) })
    expect(text('auth_token', 'é')).toEqual({ protocolName: 'auth_token', contentType: 1, data: new Uint8Array([0xc3, 0xa9]) })
    expect(json('custom', { a: [1] })).toEqual({ protocolName: 'custom', contentType: 2, data: toUtf8('{"a":[1]}') })
  })

  it('is found by its exact name', () => {
    const subs = [text('auth', ''), text('auth_token', 'x')]
    expect(find(subs, 'auth_token')).toBe(subs[1])
    expect(find(subs, 'auth_')).toBeUndefined()
    expect(find(subs, 'constructor')).toBeUndefined()
  })

  it('C5: is told to be a duplicate by its name alone', () => {
    expect(hasDuplicateNames([])).toBe(false)
    expect(hasDuplicateNames([text('a', 'x'), text('b', 'x'), text('__proto__', 'x')])).toBe(false)
    expect(hasDuplicateNames([text('a', 'x'), text('b', 'x'), json('a', 1)])).toBe(true)
  })

  it('H39: is no text where it is no UTF-8, and says which one', () => {
    expect(readText(text('auth_token', 'żółw\u0000'))).toBe('żółw\u0000')
    for (const bytes of [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
      expect(() => readText(octets('auth_token', new Uint8Array(bytes)))).toThrow(new InvalidFieldsError('auth_token must be UTF-8'))
    }
  })

  it('H32: is named in an error without its control characters', () => {
    expect(() => readJson(octets('a\u001b[31m', new Uint8Array()))).toThrow('a\\u001b[31m must be JSON')
  })
})

describe('JSON', () => {
  it('is read as it was written', () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 6 }).filter(value => !JSON.stringify(value).includes('"__proto__"')), value => {
      const source = JSON.parse(JSON.stringify(value)) as JsonValue
      expect(readJson(json('claim', value))).toEqual(source)
    }))
  })

  it('is refused where it is none, with the name of the sub-protocol', () => {
    for (const source of ['', '{', 'undefined', '{"a":1}}', '\ufeff{}', '01', "{'a':1}"]) {
      expect(() => readJson(rawJson(source))).toThrow(new InvalidFieldsError('claim must be JSON'))
    }
    expect(() => readJson({ ...rawJson(''), data: new Uint8Array([0x22, 0xff, 0x22]) })).toThrow(new InvalidFieldsError('claim must be UTF-8'))
  })

  it('H38: may be as deep as the limit and no deeper, read or written', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
    const mixed = (depth: number) => '{"a":['.repeat(depth / 2) + ']}'.repeat(depth / 2)
    for (const source of [nested(JSON_DEPTH_LIMIT), mixed(JSON_DEPTH_LIMIT)]) {
      expect(JSON.stringify(readJson(rawJson(source)))).toBe(source)
      expect(fromUtf8(json('claim', JSON.parse(source)).data)).toBe(source)
    }
    for (const source of [nested(JSON_DEPTH_LIMIT + 1), mixed(JSON_DEPTH_LIMIT + 2), '['.repeat(60_000), '{"a":'.repeat(10_000)]) {
      expect(() => readJson(rawJson(source))).toThrow(/^claim must be at most 100 levels deep$/)
    }
    expect(() => json('claim', JSON.parse(nested(JSON_DEPTH_LIMIT + 1)))).toThrow(InvalidFieldsError)
  })

  it('H38: a hundred thousand levels deep is refused, and blows no stack', () => {
    let deep: unknown = []
    for (let i = 0; i < 100_000; i++) deep = [deep]
    expect(() => json('claim', deep)).toThrow(InvalidFieldsError)
    expect(() => readJson(rawJson('['.repeat(100_000)))).toThrow(InvalidFieldsError)
  })

  it('counts no brackets within strings as depth', () => {
    const value = { a: '['.repeat(200), '{{{\\"{{[': `\\"${'{"'.repeat(200)}`, b: ['\\', '\\\\['] }
    expect(readJson(json('claim', value))).toEqual(value)
  })

  it('H38: is refused beyond its length, read or written', () => {
    const most = 'x'.repeat(JSON_LENGTH_LIMIT - 2)
    expect(readJson(json('claim', most))).toBe(most)
    expect(() => json('claim', `${most}x`)).toThrow(/^claim must be at most/)
    expect(() => readJson(rawJson(`"${most}x"`))).toThrow(/^claim must be at most/)
  })

  it('H37: with a key __proto__ is refused at any depth and in any spelling', () => {
    for (const source of ['{"__proto__":{"polluted":1}}', '[{"a":{"__proto__":null}}]', '{"\\u005f_proto__":{}}', '{"_\\u005Fproto\\u005f_":[]}']) {
      expect(() => readJson(rawJson(source))).toThrow(new InvalidFieldsError('claim must not have a key __proto__'))
      expect(() => fromProtocolData([rawJson(source, 'custom')])).toThrow(InvalidFieldsError)
    }
  })

  it('H37: may speak of __proto__ and have keys like constructor, and these reach no prototype', () => {
    const source = '{"constructor":{"prototype":{"polluted":1}},"toString":1,"a":"__proto__","b\\u0041":"\\"__proto__\\":"}'
    const target = Object.assign({}, readJson(rawJson(source)))
    expect(Object.getPrototypeOf(target)).toBe(Object.prototype)
    expect(Object.keys(target)).toEqual(['constructor', 'toString', 'a', 'bA'])
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it('that cannot be written is refused with the name of the sub-protocol', () => {
    const cycle: unknown[] = []
    cycle.push(cycle)
    const throwing = { toJSON: () => { throw new TypeError('not now') } }
    for (const value of [undefined, () => 1, Symbol('x'), 1n, cycle, throwing]) {
      expect(() => json('claim', value)).toThrow(InvalidFieldsError)
      expect(() => json('claim', value)).toThrow(/^claim must be JSON/)
    }
  })
})

describe('What LPI v1 sends', () => {
  const claim = json('claim', { amount: '5' })

  it('C38: has ilp first, custom last, and the others between in their order', () => {
    const subs = toProtocolData({ custom: { a: 1 }, sub: [claim, text('info', 'x')], ilp: '_-8' })
    expect(subs.map(sub => [sub.protocolName, sub.contentType])).toEqual([['ilp', 0], ['claim', 2], ['info', 1], ['custom', 2]])
    expect(toHex(subs[0]?.data ?? new Uint8Array())).toBe('ffef')
  })

  it('C38: leaves out what is absent, and an empty ilp', () => {
    expect(toProtocolData({})).toEqual([])
    expect(toProtocolData({ ilp: '', custom: undefined, sub: undefined })).toEqual([])
    expect(toProtocolData({ custom: {} }).map(sub => sub.protocolName)).toEqual(['custom'])
  })

  it('C38: comes out again as it went in', () => {
    const ilps = fc.uint8Array({ minLength: 1, maxLength: 600 }).map(bytes => Buffer.from(bytes).toString('base64url'))
    const customs = fc.dictionary(fc.string().filter(key => key !== '__proto__'), fc.oneof(fc.string(), fc.integer(), fc.boolean()), { noNullPrototype: true })
    fc.assert(fc.property(fc.option(ilps, { nil: undefined }), fc.option(customs, { nil: undefined }), (ilp, custom) => {
      const { other, ...read } = fromProtocolData(toProtocolData({ ilp, custom, sub: [claim] }))
      expect(read).toEqual({ ...(ilp === undefined ? {} : { ilp }), ...(custom === undefined ? {} : { custom }) })
      expect(other).toEqual([claim])
    }))
  })

  it('C38: reads ilp in the other alphabet and with padding too', () => {
    expect(toProtocolData({ ilp: '/+8=' })).toEqual(toProtocolData({ ilp: '_-8' }))
  })

  it('refuses an ilp that is no base64url', () => {
    for (const ilp of ['a', 'abcde', '?', 'ab c', 'ab===', 'é', 5, {}, null, new Uint8Array(2)]) {
      expect(() => toProtocolData({ ilp: ilp as string })).toThrow(new InvalidFieldsError('ilp must be a base64url string'))
    }
  })

  it('C44: refuses a custom that is no object', () => {
    for (const custom of ['x', 5, true, null, [], () => 1]) {
      expect(() => toProtocolData({ custom: custom as object })).toThrow(new InvalidFieldsError('custom must be an object'))
    }
  })

  it('C5: refuses names that are there twice', () => {
    expect(() => toProtocolData({ custom: {}, sub: [claim, claim] })).toThrow(InvalidFieldsError)
    expect(() => toProtocolData({ ilp: 'AA', sub: [text('ilp', 'x')] })).toThrow(InvalidFieldsError)
  })
})

describe('What LPI v1 receives', () => {
  it('C38: has an ilp of whatever content type', () => {
    for (const contentType of [0, 1, 2, 77]) {
      expect(fromProtocolData([{ protocolName: 'ilp', contentType, data: new Uint8Array([255, 239]) }])).toEqual({ ilp: '_-8', other: [] })
    }
    expect(fromProtocolData([octets('ilp', new Uint8Array())])).toEqual({ other: [] })
  })

  it('C38: has ilp and custom wherever they stand, and the others in their order', () => {
    const others = [text('b', 'x'), octets('__proto__', new Uint8Array()), text('a', 'y')]
    const [first, ...rest] = others
    expect(fromProtocolData([...others.slice(0, 1), json('custom', { x: 1 }), ...rest, octets('ilp', new Uint8Array([0]))])).toEqual({ ilp: 'AA', custom: { x: 1 }, other: [first, ...rest] })
  })

  it('refuses a custom that is no JSON object', () => {
    for (const sub of [json('custom', 'x'), json('custom', null), json('custom', [1]), text('custom', '{}'), octets('custom', new Uint8Array([1]))]) {
      expect(() => fromProtocolData([sub])).toThrow(new InvalidFieldsError('custom must be a JSON object'))
    }
    expect(() => fromProtocolData([rawJson('{', 'custom')])).toThrow(new InvalidFieldsError('custom must be JSON'))
  })
})

describe('A balance', () => {
  it('C36: is eight bytes, signed, the greatest first', () => {
    const known: Array<[string, string]> = [
      ['0', '0000000000000000'], ['1', '0000000000000001'], ['-1', 'ffffffffffffffff'], ['4294967296', '0000000100000000'],
      ['9223372036854775807', '7fffffffffffffff'], ['-9223372036854775808', '8000000000000000']
    ]
    for (const [value, hex] of known) {
      expect(toHex(encodeBalance(value))).toBe(hex)
      expect(decodeBalance(octets('balance', encodeBalance(value)))).toBe(value)
    }
  })

  it('C36: comes out as it went in, also from within a larger buffer', () => {
    fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), balance => {
      const larger = new Uint8Array(20)
      larger.set(encodeBalance(String(balance)), 5)
      expect(decodeBalance(octets('balance', larger.subarray(5, 13)))).toBe(String(balance))
    }))
  })

  it('C36: that does not fit is refused and never wraps around', () => {
    for (const value of ['9223372036854775808', '-9223372036854775809', '18446744073709551615', '1.5', '1e3', 'Infinity', '', ' 1', '0x10', '--1', '9'.repeat(1000)]) {
      expect(() => encodeBalance(value)).toThrow(InvalidFieldsError)
    }
  })

  it('C36, H21: is also read as a JSON string, and zero is never negative', () => {
    expect(decodeBalance(json('balance', '-5'))).toBe('-5')
    expect(decodeBalance(json('balance', '-0'))).toBe('0')
    expect(decodeBalance(json('balance', '99999999999999999999999'))).toBe('99999999999999999999999')
  })

  it('is refused in any other form, with the name of the sub-protocol', () => {
    const wrong = [
      octets('balance', new Uint8Array(7)), octets('balance', new Uint8Array(9)), octets('balance', new Uint8Array()), text('balance', '5'),
      json('balance', 5), json('balance', '1.5'), json('balance', '1e3'), json('balance', ''), json('balance', { value: '5' }), rawJson('{', 'balance')
    ]
    for (const sub of wrong) {
      expect(() => decodeBalance(sub)).toThrow(InvalidFieldsError)
      expect(() => decodeBalance(sub)).toThrow(/^balance /)
    }
  })
})

describe('The data of an Error', () => {
  it('C25: is JSON with the message', () => {
    expect(encodeErrorData('no "such" transfer')).toBe('{"message":"no \\"such\\" transfer"}')
    expect(decodeErrorData(encodeErrorData('no "such" transfer'))).toBe('no "such" transfer')
  })

  it('C7: is valid JSON of at most 8192 bytes, however long the message and whatever its characters', () => {
    const messages = ['x', 'é', '€', '😀', '"', '\\', '\u0000', '\ud83d', 'a"', '\u0000x'.repeat(3) + 'y'.repeat(3000)]
    for (const start of ['', 'a', 'ab', 'abc', 'abcd', 'abcde']) {
      for (const message of messages) {
        const whole = start + message.repeat(9000)
        const data = encodeErrorData(whole)
        const bytes = toUtf8(data).length
        expect(bytes).toBeLessThanOrEqual(ERROR_DATA_LIMIT)
        expect(bytes).toBeGreaterThan(ERROR_DATA_LIMIT - 20)
        const { message: cut } = JSON.parse(data) as { message: string }
        expect(whole.startsWith(cut)).toBe(true)
        // What was whole stays whole: no half of a surrogate pair at the end.
        if (message === '😀') expect(cut.endsWith('😀')).toBe(true)
      }
    }
  })

  it('C7: is cut only where it must be', () => {
    const overhead = '{"message":""}'.length
    const most = 'x'.repeat(ERROR_DATA_LIMIT - overhead)
    expect(encodeErrorData(most)).toBe(`{"message":"${most}"}`)
    expect(encodeErrorData(`${most}x`)).toBe(`{"message":"${most}"}`)
  })

  it('is read as the text that it is where it is no JSON object with a message', () => {
    for (const data of ['', 'plain text', '{', '5', 'null', '["message"]', '{"message":5}', '{"error":"x"}', '['.repeat(1000), '{"__proto__":{"message":"x"}}']) {
      expect(decodeErrorData(data)).toBe(data)
    }
  })
})
