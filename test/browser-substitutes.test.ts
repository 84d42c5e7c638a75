/**
 * What stands in the place of packages in the browser bundles does what they do, and has all that our sources ask of them. That
 * the codecs work over it is shown by e2e/browser-codec.test.ts, over the bundle itself.
 */
import { readdirSync } from 'node:fs'
import { posix } from 'node:path'
import * as sha256 from '@stablelib/sha256'
import { BigNumber } from 'bignumber.js'
import * as btp from 'btp-packet'
import createDebug from 'debug'
import fc from 'fast-check'
import { Reader, Writer } from 'oer-utils'
import ts from 'typescript'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { BigNumber as SubstituteNumber } from '../scripts/browser/bignumber.js'
import * as substituteBtp from '../scripts/browser/btp-packet.js'
import { Buffer as Substitute } from '../scripts/browser/buffer.js'
import createSubstituteDebug, { isEnabled } from '../scripts/browser/debug.js'
import * as oer from '../scripts/browser/oer-utils.js'
import * as substituteSha256 from '../scripts/browser/sha256.js'

const bytes = fc.uint8Array({ maxLength: 40 })
const same = (ours: Uint8Array, nodes: Uint8Array) => expect(Array.from(ours)).toEqual(Array.from(nodes))

/** Runs both; either both throw, or both give the same. */
function alike(ours: () => unknown, real: () => unknown): void {
  const outcome = (run: () => unknown) => {
    try {
      const value = run()
      return { value: value instanceof Uint8Array ? Array.from(value) : value }
    } catch {
      return 'threw'
    }
  }
  expect(outcome(ours)).toEqual(outcome(real))
}

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts') && !/^(node\.ts|transport.listener\.ts|store.lmdb\.ts)$/.test(name))
  .map(name => posix.join('src', name.replaceAll('\\', '/')))
const { config } = ts.readConfigFile('tsconfig.json', name => ts.sys.readFile(name)) as { config: { compilerOptions: object } }
const program = ts.createProgram(sources, ts.convertCompilerOptionsFromJson(config.compilerOptions, '.').options)

/** The names of members that our browser sources access on the classes of these names, on their instances or themselves. */
function membersAsked(...classes: string[]): Set<string> {
  const checker = program.getTypeChecker()
  const found = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node)) {
      const type = checker.getTypeAtLocation(node.expression)
      const owners = (type.isUnion() ? type.types : [type]).map(one => one.symbol as ts.Symbol | undefined)
      if (owners.some(owner => owner !== undefined && classes.includes(owner.name))) found.add(node.name.text)
    }
    ts.forEachChild(node, visit)
  }
  for (const path of sources) {
    const source = program.getSourceFile(path)
    if (source !== undefined) visit(source)
  }
  return found
}

describe("the browser bundles' Buffer", () => {
  it.each(['utf8', 'latin1', 'hex', 'base64', 'base64url'] as const)('reads and writes %s as the real one does', encoding => {
    fc.assert(
      fc.property(bytes, value => {
        const text = Buffer.from(value).toString(encoding)
        expect(Substitute.from(value).toString(encoding)).toBe(text)
        same(Substitute.from(text, encoding), Buffer.from(text, encoding))
      })
    )
  })

  it.each(['hex', 'base64', 'base64url'] as const)('reads %s as leniently as the real one where it is damaged at its end', encoding => {
    fc.assert(
      fc.property(bytes, fc.nat(3), (value, cut) => {
        const text = Buffer.from(value).toString(encoding)
        const damaged = text.slice(0, Math.max(0, text.length - cut))
        same(Substitute.from(damaged, encoding), Buffer.from(damaged, encoding))
      })
    )
  })

  it('reads any text as UTF-8 and Latin-1 as the real one does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        same(Substitute.from(text), Buffer.from(text))
        same(Substitute.from(text, 'latin1'), Buffer.from(text, 'latin1'))
      })
    )
  })

  it('cuts and copies as the real one does', () => {
    fc.assert(
      fc.property(bytes, fc.integer({ min: -5, max: 45 }), fc.integer({ min: -5, max: 45 }), (value, from, to) => {
        const [ours, nodes] = [Substitute.from(value), Buffer.from(value)]
        // eslint-disable-next-line @typescript-eslint/no-deprecated -- what stands in for oer-utils calls it
        same(ours.slice(from, to), nodes.subarray(from, to))
        const [ourTarget, nodesTarget] = [Substitute.alloc(30), Buffer.alloc(30)]
        const start = Math.min(Math.abs(from), 30)
        expect(ours.copy(ourTarget, start)).toBe(nodes.copy(nodesTarget, start))
        same(ourTarget, nodesTarget)
      })
    )
  })

  it('shares the memory that it is a view of', () => {
    const shared = new Uint8Array([1, 2, 3, 4]).buffer
    const view = Substitute.from(shared, 1, 2)
    view.subarray(1)[0] = 9
    expect(Array.from(new Uint8Array(shared))).toEqual([1, 2, 9, 4])
    expect(Substitute.isBuffer(view.subarray(0))).toBe(true)
    expect(Substitute.isBuffer(new Uint8Array(1))).toBe(false)
  })

  it('reads and writes integers as the real one does, and throws where that throws', () => {
    const width = fc.integer({ min: 1, max: 6 })
    const value = fc.integer({ min: -(2 ** 49), max: 2 ** 49 })
    fc.assert(
      fc.property(width, fc.nat(8), fc.oneof(value, fc.integer({ min: -300, max: 300 })), fc.bigInt(-1n, 2n ** 65n), (length, offset, number, big) => {
        const [ours, nodes] = [Substitute.alloc(9), Buffer.alloc(9)]
        alike(() => ours.writeUIntBE(number, offset, length), () => nodes.writeUIntBE(number, offset, length))
        alike(() => ours.readUIntBE(offset, length), () => nodes.readUIntBE(offset, length))
        alike(() => ours.writeBigUInt64BE(big, offset), () => nodes.writeBigUInt64BE(big, offset))
        same(ours, nodes)
      })
    )
  })

  it('writes texts in place as the real one does', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9a-f]{0,12}$/), fc.nat(9), (text, offset) => {
        const [ours, nodes] = [Substitute.alloc(10), Buffer.alloc(10)]
        const even = text.slice(0, text.length - (text.length % 2))
        expect(ours.write(even, offset, 'hex')).toBe(nodes.write(even, offset, 'hex'))
        expect(ours.write(text, offset, 'latin1')).toBe(nodes.write(text, offset, 'latin1'))
        same(ours, nodes)
      })
    )
  })

  it('has every method of Buffer that our sources use', () => {
    const asked = membersAsked('Buffer', 'BufferConstructor')
    expect(asked.size).toBeGreaterThan(3)
    const missing = [...asked].filter(name => !(name in Substitute || name in Substitute.prototype))
    expect(missing).toEqual([])
  })
})

describe("the browser bundles' oer-utils", () => {
  const octets = fc.oneof(bytes, fc.nat(70_000).map(length => new Uint8Array(length).fill(7)))
  const uint = fc.oneof(fc.integer({ min: -2, max: 300 }), fc.integer({ min: 0, max: 2 ** 48 + 1 }))
  /** Calls of a Writer by name, with what is given to them. */
  const calls = fc.array(
    fc.oneof(
      fc.tuple(fc.constant('writeUInt8' as const), uint),
      fc.tuple(fc.constant('writeUInt32' as const), uint),
      fc.tuple(fc.constant('writeUInt64' as const), fc.bigInt(-1n, 2n ** 64n - 1n).map(String)),
      fc.tuple(fc.constant('writeUInt' as const), uint, fc.integer({ min: 1, max: 6 })),
      fc.tuple(fc.constant('writeVarUInt' as const), fc.integer({ min: 0, max: 2 ** 48 - 1 })),
      fc.tuple(fc.constant('writeVarOctetString' as const), octets),
      fc.tuple(fc.constant('write' as const), octets)
    ),
    { maxLength: 8 }
  )

  /** Applies calls to a Writer; octets as the Buffer that it takes. */
  function perform(target: object, list: ReadonlyArray<readonly [string, ...unknown[]]>, toBuffer: (value: Uint8Array) => Uint8Array): void {
    for (const [name, ...args] of list) {
      const method = (target as Record<string, (...args: unknown[]) => void>)[name]
      method?.apply(target, args.map(value => (value instanceof Uint8Array ? toBuffer(value) : value)))
    }
  }

  it('writes as the real one does, and throws where that throws', () => {
    fc.assert(
      fc.property(calls, list => {
        alike(
          () => {
            const writer = new oer.Writer()
            perform(writer, list, value => Substitute.from(value))
            return writer.getBuffer()
          },
          () => {
            const writer = new Writer()
            perform(writer, list, value => Buffer.from(value))
            return writer.getBuffer()
          }
        )
      })
    )
  })

  it('has every member that our sources use', () => {
    const inherited = ['readUInt8Number', 'readLengthPrefix', 'ensureAvailable']
    const [reader, writer] = [new oer.Reader(Substitute.alloc(1)), new oer.Writer()]
    const readers = [...membersAsked('Reader', 'OerReader')].filter(name => name in Reader.prototype)
    expect(readers.filter(name => !(name in reader) && !inherited.includes(name))).toEqual([])
    const writers = [...membersAsked('Writer')]
    expect(writers.filter(name => !(name in writer))).toEqual([])
    expect([readers.length, writers.length].every(count => count > 0)).toBe(true)
  })
})

describe("the browser bundles' bignumber.js", () => {
  it('reads every sum that is read by ours as the real one does', () => {
    const digits = fc.stringMatching(/^[0-9]{1,30}$/)
    const sum = fc.tuple(fc.constantFrom('', '-'), digits, fc.option(digits), fc.option(fc.nat(999)))
      .map(([sign, whole, fraction, exponent]) => `${sign}${whole}${fraction === null ? '' : `.${fraction}`}${exponent === null ? '' : `e+${exponent}`}`)
    const whole = fc.tuple(fc.bigInt(-(10n ** 40n), 10n ** 40n), fc.nat(40)).map(([value, digits]) => new BigNumber(value.toString()).toExponential(digits))
    fc.assert(
      fc.property(fc.oneof(sum, whole), text => {
        const [ours, real] = [new SubstituteNumber(text), new BigNumber(text)]
        expect(ours.isInteger()).toBe(real.isInteger())
        if (real.isInteger()) expect(BigInt(ours.toFixed())).toBe(BigInt(real.toFixed()))
      }),
      { numRuns: 2000 }
    )
  })

  it('has what our sources call', () => {
    const asked = membersAsked('BigNumber')
    expect([...asked].filter(name => !(name in SubstituteNumber.prototype))).toEqual([])
    expect(asked.size).toBeGreaterThan(0)
  })
})

describe("the browser bundles' btp-packet", () => {
  const ascii = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map(code => String.fromCharCode(code)), maxLength: 20 })
  const protocolData = fc.array(fc.record({ protocolName: ascii.filter(name => !(name in Object.prototype)), contentType: fc.nat(255), data: bytes }), { maxLength: 300, size: '+1' })
  const buffers = (list: Array<{ protocolName: string; contentType: number; data: Uint8Array }>) => list.map(one => ({ ...one, data: Buffer.from(one.data) }))
  const requestId = fc.nat(0xffffffff)

  it('writes Transfers as the real one does', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n).map(String), requestId, protocolData, (amount, id, list) => {
        same(substituteBtp.serializeTransfer({ amount }, id, buffers(list)), btp.serializeTransfer({ amount }, id, buffers(list)))
      })
    )
  })

  it('writes Errors as the real one does', () => {
    const date = fc.date({ min: new Date('1000-01-01'), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }).map(value => value.toISOString())
    const code = fc.string({ unit: fc.constantFrom('F', 'T', 'R', '0', '1'), minLength: 3, maxLength: 3 })
    const error = fc.record({ code, name: ascii, triggeredAt: date, data: fc.string({ unit: 'grapheme', maxLength: 200, size: 'max' }) })
    fc.assert(
      fc.property(error, requestId, protocolData, (fields, id, list) => {
        same(substituteBtp.serializeError(fields, id, buffers(list)), btp.serializeError(fields, id, buffers(list)))
      })
    )
  })

  it('takes a name as its bytes, which the real one does not look up in an object', () => {
    const data = [{ protocolName: new TextEncoder().encode('constructor') as unknown as string, contentType: 1, data: Buffer.alloc(0) }]
    same(substituteBtp.serializeTransfer({ amount: '1' }, 1, data), btp.serializeTransfer({ amount: '1' }, 1, data))
  })

  it('has what our sources call', () => {
    const imported = sources.flatMap(path => [...(ts.sys.readFile(path) ?? '').matchAll(/^import \{(.*)\} from 'btp-packet'/gm)].flatMap(([, names = '']) => names.split(',').map(name => name.trim())))
    expect(imported.sort()).toEqual(Object.keys(substituteBtp).sort())
  })
})

describe("the browser bundles' SHA-256", () => {
  it.each([...Array(200).keys(), 1000, 65_536])('hashes %i bytes as the real one does', length => {
    const message = Uint8Array.from({ length }, (_none, i) => (i * 151 + length) % 256)
    same(substituteSha256.hash(message), sha256.hash(message))
  })

  it('hashes any bytes as the real one does, and leaves them as they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), message => {
        const before = message.slice()
        same(substituteSha256.hash(message), sha256.hash(message))
        same(message, before)
      })
    )
  })

  it('has what our sources call', () => {
    const imported = sources.flatMap(path => [...(ts.sys.readFile(path) ?? '').matchAll(/^import \{(.*)\} from '@stablelib\/sha256'/gm)].flatMap(([, names = '']) => names.split(',').map(name => name.trim())))
    expect(imported.sort()).toEqual(Object.keys(substituteSha256).sort())
  })
})

describe("the browser bundles' debug", () => {
  afterEach(() => {
    vi.unstubAllGlobals()
    vi.restoreAllMocks()
  })

  it('takes in and leaves out what the real one does', () => {
    const template = fc.string({ unit: fc.constantFrom('a', 'b', '-', ':', '*', '.', ',', ' ', '\n'), maxLength: 12 })
    const namespace = fc.string({ unit: fc.constantFrom('a', 'b', '-', ':', '.'), minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(namespace, template, (name, templates) => {
        createDebug.enable(templates)
        expect(isEnabled(name, templates)).toBe(createDebug.enabled(name))
      }),
      { numRuns: 2000 }
    )
    createDebug.enable('')
  })

  it('writes a line to console.debug when localStorage.debug asks for it, the text untouched', () => {
    vi.stubGlobal('localStorage', { debug: 'ilp-plugin-*' })
    const lines = vi.spyOn(console, 'debug').mockImplementation(() => undefined)
    createSubstituteDebug('ilp-plugin-paychan')('warning: %s', '100 %s')
    createSubstituteDebug('another')('%s', 'silence')
    expect(lines).toHaveBeenCalledOnce()
    expect(lines.mock.lastCall?.[0]).toMatch(/^ilp-plugin-paychan warning: %s \+\d+ms$/)
    expect(lines.mock.lastCall?.[1]).toBe('100 %s')
  })

  it('is silent where there is nothing to read, or the page may not read it', () => {
    expect(createSubstituteDebug('ilp-plugin-paychan').enabled).toBe(false)
    vi.stubGlobal('localStorage', new Proxy({}, { get: () => { throw new Error('denied') } }))
    expect(createSubstituteDebug('ilp-plugin-paychan').enabled).toBe(false)
  })
})
