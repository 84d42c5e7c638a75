/**
 * What stands in the place of `buffer`, `long` and `dateformat` in the browser bundles does what they do, and has all that our
 * sources ask of a Buffer. That the codecs work over it is shown by e2e/browser-codec.test.ts, over the bundle itself.
 */
import { createRequire } from 'node:module'
import { readdirSync } from 'node:fs'
import { posix } from 'node:path'
import fc from 'fast-check'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { Buffer as Substitute } from '../scripts/browser/buffer.js'
import formatDate from '../scripts/browser/dateformat.js'
import SubstituteLong from '../scripts/browser/long.js'

const requireOf = (name: string) => createRequire(createRequire(import.meta.url).resolve(name))
const Long = requireOf('oer-utils')('long') as typeof SubstituteLong
const dateformat = requireOf('btp-packet')('dateformat') as (date: Date | string, mask: string) => string

const bytes = fc.uint8Array({ maxLength: 40 })
const same = (ours: Uint8Array, nodes: Uint8Array) => expect(Array.from(ours)).toEqual(Array.from(nodes))

/** Runs both; either both throw, or both give the same. */
function alike(ours: () => unknown, nodes: () => unknown): void {
  const outcome = (run: () => unknown) => {
    try {
      return { value: run() }
    } catch {
      return 'threw'
    }
  }
  expect(outcome(ours)).toEqual(outcome(nodes))
}

describe("the browser bundles' Buffer", () => {
  it.each(['utf8', 'latin1', 'ascii', 'hex', 'base64', 'base64url'] as const)('reads and writes %s as the real one does', encoding => {
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

  it('cuts, copies, joins and compares as the real one does', () => {
    fc.assert(
      fc.property(bytes, bytes, fc.integer({ min: -5, max: 45 }), fc.integer({ min: -5, max: 45 }), (one, other, from, to) => {
        const [ours, nodes] = [Substitute.from(one), Buffer.from(one)]
        // eslint-disable-next-line @typescript-eslint/no-deprecated -- oer-utils calls it
        same(ours.slice(from, to), nodes.subarray(from, to))
        same(Substitute.concat([ours, Substitute.from(other)]), Buffer.concat([one, other]))
        expect(ours.equals(Substitute.from(other))).toBe(nodes.equals(other))
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
        alike(() => ours.writeIntBE(number, offset, length), () => nodes.writeIntBE(number, offset, length))
        alike(() => ours.readIntBE(offset, length), () => nodes.readIntBE(offset, length))
        alike(() => ours.writeBigUInt64BE(big, offset), () => nodes.writeBigUInt64BE(big, offset))
        alike(() => ours.readBigUInt64BE(offset), () => nodes.readBigUInt64BE(offset))
        alike(() => ours.writeUInt32BE(number, offset), () => nodes.writeUInt32BE(number, offset))
        alike(() => ours.readUInt32BE(offset), () => nodes.readUInt32BE(offset))
        alike(() => ours.readUInt8(offset), () => nodes.readUInt8(offset))
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
    const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts') && !/^(node\.ts|transport.listener\.ts|store.lmdb\.ts)$/.test(name))
      .map(name => posix.join('src', name.replaceAll('\\', '/')))
    const asked = membersOfBuffer(files)
    expect(asked.size).toBeGreaterThan(3)
    const missing = [...asked].filter(name => !(name in Substitute || name in Substitute.prototype))
    expect(missing).toEqual([])
  })
})

/** The names of members that the given files access on Node's Buffer or on its class. */
function membersOfBuffer(files: readonly string[]): Set<string> {
  const { config } = ts.readConfigFile('tsconfig.json', name => ts.sys.readFile(name)) as { config: { compilerOptions: object } }
  const program = ts.createProgram(files, ts.convertCompilerOptionsFromJson(config.compilerOptions, '.').options)
  const checker = program.getTypeChecker()
  const found = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node)) {
      const name = checker.getTypeAtLocation(node.expression).symbol as ts.Symbol | undefined
      if (name?.name === 'Buffer' || name?.name === 'BufferConstructor') found.add(node.name.text)
    }
    ts.forEachChild(node, visit)
  }
  for (const file of files) {
    const source = program.getSourceFile(file)
    if (source !== undefined) visit(source)
  }
  return found
}

describe("the browser bundles' Long", () => {
  const int64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)
  const uint64 = fc.bigInt(0n, 2n ** 64n - 1n)
  const shown = (value: SubstituteLong) => [value.toString(), value.toString(16), value.unsigned, value.toNumber(), value.toBytesBE()]

  it.each([true, false])('computes as the real one does, unsigned: %s', unsigned => {
    const value = unsigned ? uint64 : int64
    fc.assert(
      fc.property(value, value, fc.integer({ min: 0, max: 63 }), fc.integer({ min: -256, max: 256 }), (one, other, bits, number) => {
        const apply = (L: typeof SubstituteLong) => {
          const [a, b] = [L.fromString(String(one), unsigned), L.fromString(String(other), unsigned)]
          const made = [a, a.shiftLeft(bits), a.shiftRightUnsigned(bits), a.add(b), L.fromNumber(number, unsigned)]
          // These are asked of signed ones only, and the real one forgets the sign when it multiplies zero.
          if (!unsigned) made.push(a.shiftRight(bits), a.multiply(b), a.multiply(256), a.add(number))
          return [made.map(shown), a.lessThanOrEqual(b), a.greaterThanOrEqual(b), L.isLong(a), L.isLong(5)]
        }
        expect(apply(SubstituteLong)).toEqual(apply(Long))
      })
    )
  })

  it.each([0, 1, -1, 2 ** 53, 2 ** 63, 2 ** 64, 2 ** 70, -(2 ** 63), -(2 ** 70)])('makes of the number %d what the real one does', number => {
    for (const unsigned of [true, false]) expect(shown(SubstituteLong.fromNumber(number, unsigned))).toEqual(shown(Long.fromNumber(number, unsigned)))
  })

  it('has the same constants', () => {
    for (const name of ['ZERO', 'UZERO', 'MIN_VALUE', 'MAX_VALUE', 'MAX_UNSIGNED_VALUE'] as const) {
      expect(shown(SubstituteLong[name])).toEqual(shown(Long[name]))
    }
  })
})

describe("the browser bundles' dateformat", () => {
  it('writes the one format that is asked of it as the real one does', () => {
    const date = fc.date({ min: new Date('1970-01-01'), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true })
    fc.assert(
      fc.property(date, value => {
        for (const form of [value, value.toISOString()]) expect(formatDate(form)).toBe(dateformat(form, "UTC:yyyymmddHHMMss.l'Z'"))
      })
    )
  })
})
