/** What is told by hashes. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalInConstantTime } from '../../src/core/hashes.js'

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
