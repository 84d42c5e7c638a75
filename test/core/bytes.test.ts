/** Bytes and their texts, against Node's own. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromBase64url, fromUtf8, printable, toBase64url } from '../../src/core/bytes.js'

describe('Base64url', () => {
  it('is written and read as Node does, from any view', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(3), (bytes, skipped) => {
      const view = bytes.subarray(Math.min(skipped, bytes.length))
      const text = Buffer.from(view).toString('base64url')
      expect(toBase64url(view)).toBe(text)
      expect(fromBase64url(text)).toEqual(Uint8Array.from(view))
    }))
  })

  it('is read in the other alphabet and with padding', () => {
    for (const text of ['_-8', '/+8', '_-8=', '/+8=', '_+8']) expect(fromBase64url(text)).toEqual(new Uint8Array([255, 239]))
    expect(fromBase64url('AA==')).toEqual(new Uint8Array([0]))
  })

  it('is nothing else', () => {
    for (const text of ['A', 'AAAAA', 'A=', 'A===', 'AA===', 'AA=A', 'A A', 'AA\n', 'é', 'ĀAAA', 'AA.A', '\u0000']) {
      expect([text, fromBase64url(text)]).toEqual([text, undefined])
    }
  })
})

describe('A peer\'s text', () => {
  it('H39: is text only where it is UTF-8', () => {
    expect(fromUtf8(new Uint8Array([0xef, 0xbb, 0xbf, 0xc3, 0xa9]))).toBe('\ufeffé')
    expect(fromUtf8(new Uint8Array([0xc3]))).toBeUndefined()
  })

  it('H32: is printable without control characters, and cut', () => {
    expect(printable('a\u001b[2J\nż')).toBe('a\\u001b[2J\\u000a\\u017c')
    expect(printable('x'.repeat(300))).toBe(`${'x'.repeat(200)}...`)
  })
})
