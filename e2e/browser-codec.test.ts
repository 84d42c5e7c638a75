/**
 * The codecs and the arithmetic as browsers get them, over what stands in for packages and over parts of others, give what they
 * give in Node.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { rollup } from 'rollup'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { forBrowser } from '../rollup.config.mjs'
import { root } from '../scripts/setup.mjs'
import * as inNode from '../src/btp/packets.js'
import * as errorsInNode from '../src/btp/ilp-error.js'
import * as amountsInNode from '../src/core/amounts.js'
import * as bytesInNode from '../src/core/bytes.js'
import { dates, packets } from '../test/support/packets.js'

type Codec = typeof inNode & typeof errorsInNode & typeof bytesInNode & typeof amountsInNode

let folder: string
let bundled: Codec

beforeAll(async () => {
  folder = mkdtempSync(join(root, '.build', 'codec-'))
  const entry = {
    name: 'entry',
    resolveId: (id: string) => (id === 'entry' ? id : null),
    load: (id: string) => {
      const modules = ['btp/packets', 'btp/ilp-error', 'core/bytes', 'core/amounts'].map(path => join(root, '.build', 'js', `${path}.js`))
      return id === 'entry' ? modules.map(path => `export * from ${JSON.stringify(path)}`).join('\n') : null
    }
  }
  const bundle = await rollup({ input: 'entry', plugins: [entry, ...forBrowser()] })
  const file = join(folder, 'codec.mjs')
  await bundle.write({ file, format: 'es' })
  await bundle.close()
  bundled = (await import(/* @vite-ignore */ file)) as Codec
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

/** What a call came to, for comparison: values with plain bytes, errors by name and message. */
function outcome(run: () => unknown): unknown {
  try {
    return plain(run())
  } catch (error) {
    const { name, message } = error as Error
    return { name, message }
  }
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify({ value }, (_key, inner: unknown) => (inner instanceof Uint8Array ? Array.from(inner) : inner)))
}

describe("the browser bundles' codecs", () => {
  it('write and read every packet alike', () => {
    fc.assert(
      fc.property(packets(), packet => {
        const frame = inNode.encodePacket(packet)
        expect(Array.from(bundled.encodePacket(packet))).toEqual(Array.from(frame))
        expect(outcome(() => bundled.decodePacket(frame))).toEqual(outcome(() => inNode.decodePacket(frame)))
      }),
      { numRuns: 500 }
    )
  })

  it('refuse damaged packets alike', () => {
    fc.assert(
      fc.property(packets(), fc.nat(), fc.nat(255), fc.nat(), (packet, at, byte, end) => {
        const frame = Uint8Array.from(inNode.encodePacket(packet))
        frame[at % frame.length] = byte
        const cut = frame.subarray(0, end % (frame.length + 1))
        for (const damaged of [frame, cut]) {
          expect(outcome(() => bundled.decodePacket(damaged))).toEqual(outcome(() => inNode.decodePacket(damaged)))
        }
      }),
      { numRuns: 500 }
    )
  })

  it('write and read ILP errors alike', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 300 })
    const address = fc.stringMatching(/^[a-z]{1,8}(\.[a-z]{1,8}){0,3}$/)
    const reasons = fc.record({ code: fc.constantFrom('F00', 'T00', 'R00'), name: fc.constant('x'), message: text, forwarded_by: address }, { requiredKeys: [] })
    fc.assert(
      fc.property(reasons, address, dates(), (reason, account, now) => {
        const ilp = errorsInNode.rejectionReasonToIlpError(reason, account, now)
        expect(plain(bundled.rejectionReasonToIlpError(reason, account, now))).toEqual(plain(ilp))
        expect(outcome(() => bundled.ilpErrorToRejectionReason(ilp, account, now))).toEqual(outcome(() => errorsInNode.ilpErrorToRejectionReason(ilp, account, now)))
      })
    )
  })

  it('read any text as base64 alike', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.stringMatching(/^[\w-]{0,50}={0,2}$/)), text => {
        expect(outcome(() => bundled.fromBase64url(text))).toEqual(outcome(() => bytesInNode.fromBase64url(text)))
      }),
      { numRuns: 1000 }
    )
  })

  it('read and write amounts alike', () => {
    const amount = fc.oneof(fc.bigInt(-(10n ** 40n), 10n ** 40n).map(String), fc.constantFrom('0', '1', '-1', '-0', '5.0', '1e+21', '1.5e+3', '1.5', 'Infinity', '-Infinity'))
    const results = ({ parseAmount, parseLimit, parseSum, formatAmount, negate }: typeof amountsInNode, text: string) =>
      [...[parseAmount, parseSum, parseLimit].map(parse => outcome(() => formatAmount(parse(text, 'it')))), outcome(() => negate(text))]
    fc.assert(fc.property(amount, text => { expect(results(bundled, text)).toEqual(results(amountsInNode, text)) }), { numRuns: 1000 })
  })
})
