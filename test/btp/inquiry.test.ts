/** The words by which peers of ours agree on packets whose answers were lost. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidFieldsError } from '../../src/core/errors.js'
import {
  IDS_IN_A_QUESTION, askMessage, fatesAnswer, lateMessage, readFates, readInquiry, readSettlementMark, readTransferMark, settlementMark, transferMark
} from '../../src/btp/inquiry.js'
import { json } from '../../src/btp/protocol-data.js'

const id = fc.uuid()
const ids = fc.uniqueArray(id, { maxLength: 20 })

describe('the marks beside packets and settlements', () => {
  it('are read as they are written, and absent where there is none', () => {
    const mark = fc.record({ id, number: fc.nat(), final: fc.nat() })
    fc.assert(fc.property(mark, one => { expect(readTransferMark([transferMark(one)])).toEqual(one) }))
    fc.assert(fc.property(id, one => { expect(readTransferMark([json('paychan', { transfer: one })])).toEqual({ id: one, number: Infinity, final: 0 }) }))
    fc.assert(fc.property(mark, fc.jsonValue(), (one, wrong) => {
      fc.pre(!Number.isSafeInteger(wrong))
      expect(readTransferMark([json('paychan', { final: wrong, transfer: one.id, n: one.number })])).toEqual({ id: one.id, number: Infinity, final: 0 })
    }))
    fc.assert(fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), n => { expect(readSettlementMark([settlementMark(n)])).toBe(n) }))
    expect([readTransferMark([]), readSettlementMark([])]).toEqual([undefined, undefined])
  })

  it.each([{ transfer: 'no uuid' }, { transfer: 1 }, {}, [], null, 'x'])('that are wrong are refused: %j', value => {
    expect(() => readTransferMark([json('paychan', value)])).toThrow(InvalidFieldsError)
  })

  it.each([{ settlement: 0 }, { settlement: 1.5 }, { settlement: '1' }, { settlement: 2 ** 60 }, {}])('numbers that are none are refused: %j', value => {
    expect(() => readSettlementMark([json('paychan', value)])).toThrow(InvalidFieldsError)
  })
})

describe('questions and answers', () => {
  it('are read as they are written', () => {
    fc.assert(fc.property(ids, fc.boolean(), (asked, isLast) => { expect(readInquiry(askMessage(asked, isLast))).toEqual({ what: 'ask', ids: asked, isLast }) }))
    fc.assert(fc.property(id, one => { expect(readInquiry(lateMessage(one))).toEqual({ what: 'late', id: one }) }))
    fc.assert(fc.property(ids, ids, ids, (one, cancelled, held) => {
      const fates = { fulfilled: new Map(one.map(key => [key, 'DQ'])), cancelled, held }
      expect(readFates([fatesAnswer(fates)])).toEqual(fates)
    }))
  })

  it('are bounded, and of ids only', () => {
    const many = Array.from({ length: IDS_IN_A_QUESTION + 1 }, () => '00000000-0000-4000-8000-000000000000')
    expect(() => readInquiry(askMessage(many, true))).toThrow(InvalidFieldsError)
    for (const value of [{ ask: 'x' }, { ask: [1] }, {}, { late: 'x' }, []]) expect(() => readInquiry(json('paychan', value))).toThrow(InvalidFieldsError)
    for (const value of [{ fulfilled: [], cancelled: [], held: [] }, { fulfilled: { x: 'DQ' }, cancelled: [], held: [] }, { fulfilled: {}, held: [] }]) {
      expect(() => readFates([json('paychan', value)])).toThrow(InvalidFieldsError)
    }
    expect(() => readFates([])).toThrow(InvalidFieldsError)
  })
})
