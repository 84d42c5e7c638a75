/** Our codecs against the published ones: what either writes, the other reads alike. */
import { createRequire } from 'node:module'
import * as btp2 from 'btp-packet'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeIlpError, encodeIlpError } from '../../src/btp/ilp-error.js'
import type { IlpError } from '../../src/btp/ilp-error.js'
import { decodePacket, encodePacket } from '../../src/btp/packets.js'
import type { Packet, SubProtocol } from '../../src/btp/packets.js'
import { dates, packets } from '../support/packets.js'

/** What either version of btp-packet makes of a frame. */
interface Published {
  type: number
  requestId: number
  data: Record<string, unknown> & { protocolData: SubProtocol[] }
}

interface PublishedCodec {
  serialize(packet: object): Buffer
  deserialize(frame: Buffer): Published
}

const require = createRequire(import.meta.url)
const btp1 = require('btp-packet-1') as PublishedCodec
const ilp1 = require('ilp-packet-1') as {
  serializeIlpError(error: IlpError): Buffer
  deserializeIlpError(bytes: Buffer): IlpError
}

const TYPES = { response: 1, error: 2, prepare: 3, fulfill: 4, reject: 5, message: 6, transfer: 7 } as const

/** Our packet as the published codecs have it: numbered, its fields apart, data as Buffers. */
function toPublished({ type, requestId, ...fields }: Packet): Published {
  const protocolData = fields.protocolData.map(sub => ({ ...sub, data: Buffer.from(sub.data) }))
  return { type: TYPES[type], requestId, data: { ...fields, protocolData } }
}

/** btp-packet finds these names by inheritance and cannot write them; ours to theirs is tested with them. */
const writable = (packet: Packet) => packet.protocolData.every(sub => !(sub.protocolName in Object.prototype))

/** Version 1.2.1 has all seven types: Transfer as an extension of its own, which 2.0 then took over. */
const ofVersion1 = () => packets()
const ofVersion2 = () => packets('response', 'error', 'message', 'transfer')

function holdAgainst(codec: PublishedCodec, some: () => fc.Arbitrary<Packet>): void {
  it('reads what we write', () => {
    fc.assert(fc.property(some(), packet => {
      expect(codec.deserialize(Buffer.from(encodePacket(packet)))).toEqual(toPublished(packet))
    }), { numRuns: 1000 })
  })

  it('writes what we read', () => {
    fc.assert(fc.property(some().filter(writable), packet => {
      expect(decodePacket(codec.serialize(toPublished(packet)))).toEqual(packet)
    }), { numRuns: 1000 })
  })

  it('writes the very bytes that we write', () => {
    fc.assert(fc.property(some().filter(writable), packet => {
      expect(Buffer.from(encodePacket(packet)).equals(codec.serialize(toPublished(packet)))).toBe(true)
    }), { numRuns: 300 })
  })
}

describe('C1, C2, C6, C8, C9: btp-packet 1.2.1', () => {
  holdAgainst(btp1, ofVersion1)
})

describe('C1, C2, C6, C9: btp-packet 2.2.1', () => {
  holdAgainst(btp2 as unknown as PublishedCodec, ofVersion2)
})

describe('C34: ilp-packet 1.7', () => {
  const ascii = (maxLength: number) => fc.string({ unit: 'grapheme-ascii', maxLength })
  const errors = (): fc.Arbitrary<IlpError> => fc.record({
    code: fc.string({ unit: 'grapheme-ascii', minLength: 3, maxLength: 3 }),
    name: ascii(40),
    triggeredBy: ascii(300),
    forwardedBy: fc.array(ascii(40), { maxLength: 5 }),
    // It takes the first millisecond of 1970 for no date at all.
    triggeredAt: dates().filter(date => date.getTime() !== 0),
    data: ascii(300)
  }, { noNullPrototype: true })

  it('reads the errors that we write', () => {
    fc.assert(fc.property(errors(), error => {
      expect(ilp1.deserializeIlpError(Buffer.from(encodeIlpError(error)))).toEqual(error)
    }), { numRuns: 1000 })
  })

  it('writes the errors that we read, in the very bytes that we write', () => {
    fc.assert(fc.property(errors(), error => {
      const theirs = ilp1.serializeIlpError(error)
      expect(decodeIlpError(theirs)).toEqual(error)
      expect(Buffer.from(encodeIlpError(error)).equals(theirs)).toBe(true)
    }), { numRuns: 1000 })
  })
})
