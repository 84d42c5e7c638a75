/** ILPv4 packets as the ledger reads and writes them, held against ilp-packet. */
import fc from 'fast-check'
import * as IlpPacket from 'ilp-packet'
import { describe, expect, it } from 'vitest'
import { toBase64url } from '../../src/core/bytes.js'
import { PacketError } from '../../src/core/errors.js'
import { amountTooLargeData, isIlp4, parseIlpReply, readIlpPrepare, writeIlpFulfill, writeIlpReject } from '../../src/btp/ilp-packets.js'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map(array => Buffer.from(array))
const data = fc.uint8Array({ maxLength: 300 }).map(array => Buffer.from(array))
const amount = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String)
const date = fc.date({ min: new Date('1000-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true })
const prepare = fc.record({ amount, executionCondition: bytes(32), expiresAt: date, destination: fc.constantFrom('g.alice', 'test.x.y~z', 'peer.config'), data })

describe('a Prepare', () => {
  it('C56: is read as ilp-packet writes it', () => {
    fc.assert(fc.property(prepare, written => {
      const read = readIlpPrepare(IlpPacket.serializeIlpPrepare(written))
      expect(read).toEqual({ amount: written.amount, expiresAt: written.expiresAt, executionCondition: toBase64url(written.executionCondition) })
    }))
  })

  it('cut short anywhere, or with a time that is none, is a PacketError', () => {
    const packet = IlpPacket.serializeIlpPrepare(fc.sample(prepare, 1)[0]!)
    for (let length = 1; length < packet.length; length++) expect(() => readIlpPrepare(packet.subarray(0, length))).toThrow(PacketError)
    const wrong = Buffer.from(packet)
    // The month, behind type, length determinant and amount.
    wrong.write('13', packet.length - IlpPacket.deserializeEnvelope(packet).contents.length + 8 + 4)
    expect(() => readIlpPrepare(wrong)).toThrow(PacketError)
  })

  it('is what begins as one, and nothing else', () => {
    expect(readIlpPrepare(new Uint8Array())).toBeUndefined()
    expect(readIlpPrepare(writeIlpFulfill(toBase64url(new Uint8Array(32))))).toBeUndefined()
    expect([11, 12, 13, 14, 15].map(type => isIlp4(Uint8Array.of(type)))).toEqual([false, true, true, true, false])
  })
})

describe('an answer', () => {
  it('C56: is read as ilp-packet writes it, with a preimage or without', () => {
    fc.assert(fc.property(bytes(32), data, (fulfillment, more) => {
      expect(parseIlpReply(IlpPacket.serializeIlpFulfill({ fulfillment, data: more }))).toEqual({ type: 'fulfill', fulfillment: toBase64url(fulfillment) })
    }))
    fc.assert(fc.property(fc.constantFrom('F02', 'T04', 'R00'), fc.constantFrom('', 'g.bob'), fc.string(), data, (code, triggeredBy, message, more) => {
      expect(parseIlpReply(IlpPacket.serializeIlpReject({ code, triggeredBy, message, data: more }))).toEqual({ type: 'reject', code })
    }))
  })

  it('is nothing else, whatever the bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), random => {
      const reply = parseIlpReply(random)
      expect(reply === undefined || random[0] === 13 || random[0] === 14).toBe(true)
    }))
    const fulfill = writeIlpFulfill(toBase64url(new Uint8Array(32)))
    for (let length = 0; length < fulfill.length; length++) expect(parseIlpReply(fulfill.subarray(0, length))).toBeUndefined()
    expect(parseIlpReply(IlpPacket.serializeIlpPrepare(fc.sample(prepare, 1)[0]!))).toBeUndefined()
  })

  it('of ours is read by ilp-packet', () => {
    fc.assert(fc.property(bytes(32), fulfillment => {
      expect(IlpPacket.deserializeIlpFulfill(Buffer.from(writeIlpFulfill(toBase64url(fulfillment))))).toEqual({ fulfillment, data: Buffer.alloc(0) })
    }))
    fc.assert(fc.property(fc.string(), data, (message, more) => {
      const read = IlpPacket.deserializeIlpReject(Buffer.from(writeIlpReject('T04', message, more)))
      expect(read).toEqual({ code: 'T04', triggeredBy: '', message: Buffer.from(message).toString(), data: more })
    }))
  })

  it('F08 tells the amount and the most, in 8 bytes each', () => {
    expect(Buffer.from(amountTooLargeData('256', '18446744073709551615')).toString('hex')).toBe('0000000000000100ffffffffffffffff')
  })
})
