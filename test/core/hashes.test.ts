/** What is told by hashes. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalInConstantTime, sha256 } from '../../src/core/hashes.js'
import { nodeSha256 } from '../../src/platform/node-hash.js'

describe('Two secrets', () => {
  const secrets = fc.string({ unit: 'grapheme', maxLength: 20 })

  it('H33: are equal only where each character is, wherever they differ', () => {
    fc.assert(fc.property(secrets, secrets, (a, b) => {
      expect(equalInConstantTime(a, b)).toBe(a === b)
      expect(equalInConstantTime(a, a)).toBe(true)
      expect([equalInConstantTime(a, `${a}x`), equalInConstantTime(`x${a}y`, `x${a}z`)]).toEqual([false, false])
    }))
  })
})

describe('SHA-256', () => {
  it('is the same everywhere: of what others have published, and of any bytes by each of the two', () => {
    // FIPS 180-4, the example "abc".
    expect(Buffer.from(sha256(Buffer.from('abc')), 'base64url').toString('hex')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => { expect(nodeSha256(bytes)).toBe(sha256(bytes)) }))
  })
})
