/**
 * ILPv4 packets (RFC 27), as far as a ledger must know them: what a Prepare holds, whether an answer fulfills, and the answers that
 * this side gives by itself. Imports core and oer-utils.
 *
 * ilp-packet does the same and more; it is held against this in the tests, and left out of the bundle, where it would bring a second
 * copy of Node's `assert` and of 64-bit arithmetic.
 */
import { Buffer } from 'buffer'
import { Writer } from 'oer-utils'
import { fromBase64url, toUtf8 } from '../core/bytes.js'
import { PacketError } from '../core/errors.js'
import { asBuffer, asBytes, dateOf, lengthBytes, OerReader } from './oer.js'

const TYPE_PREPARE = 12
const TYPE_FULFILL = 13
const TYPE_REJECT = 14

const BYTES_32 = 32
const CODE_BYTES = 3

/** What a Prepare asks the ledger to hold. */
export interface IlpPrepare {
  /** Base units, 0 <= amount < 2^64. */
  readonly amount: string
  readonly expiresAt: Date
  /** SHA-256 of the fulfillment: 32 bytes in base64url. */
  readonly executionCondition: string
}

/** The answer to a Prepare: with the preimage (32 bytes in base64url), or without. */
export type IlpReply = { readonly type: 'fulfill'; readonly fulfillment: string } | { readonly type: 'reject'; readonly code: string }

/** Whether the bytes are meant as an ILPv4 packet of any type. */
export function isIlp4(packet: Uint8Array): boolean {
  const type = packet[0] ?? 0
  return type >= TYPE_PREPARE && type <= TYPE_REJECT
}

/**
 * Reads a Prepare; `undefined` for a packet of another type.
 * @throws PacketError for what begins as one and is none
 */
export function readIlpPrepare(packet: Uint8Array): IlpPrepare | undefined {
  if (packet[0] !== TYPE_PREPARE) return undefined
  const body = bodyOf(packet)
  const amount = body.readAmount()
  // No separators, and no zone, since it is always UTC: `20171224161432279`.
  const expiresAt = dateOf(
    body.readDigits(4), body.readDigits(2), body.readDigits(2), body.readDigits(2), body.readDigits(2), body.readDigits(2), body.readDigits(3)
  )
  const executionCondition = body.readText(BYTES_32, 'base64url')
  body.skipVarBytes()
  body.skipVarBytes()
  if (expiresAt === undefined) throw new PacketError('expiresAt must be a UTC time, to the millisecond')
  return { amount, expiresAt, executionCondition }
}

/** Reads the answer to a Prepare; `undefined` for anything but a Fulfill or a Reject. */
export function parseIlpReply(packet: Uint8Array): IlpReply | undefined {
  try {
    return readIlpReply(packet)
  } catch {
    return undefined
  }
}

function readIlpReply(packet: Uint8Array): IlpReply | undefined {
  const body = bodyOf(packet)
  if (packet[0] === TYPE_FULFILL) {
    const fulfillment = body.readText(BYTES_32, 'base64url')
    body.skipVarBytes()
    return { type: 'fulfill', fulfillment }
  }
  if (packet[0] !== TYPE_REJECT) return undefined
  const code = body.readText(CODE_BYTES, 'latin1')
  body.skipVarBytes()
  body.skipVarBytes()
  body.skipVarBytes()
  return { type: 'reject', code }
}

/** A Fulfill without data. `fulfillment` is 32 bytes in base64url. */
export function writeIlpFulfill(fulfillment: string): Uint8Array {
  const body = new Writer()
  body.write(asBuffer(fromBase64url(fulfillment) ?? new Uint8Array(BYTES_32)))
  body.writeVarOctetString(Buffer.alloc(0))
  return packetOf(TYPE_FULFILL, body)
}

/**
 * A Reject. Who triggers it has no ILP address: an account between two peers is none that others know.
 * @param code three characters of RFC 27's table
 */
export function writeIlpReject(code: string, message: string, data: Uint8Array = new Uint8Array()): Uint8Array {
  const body = new Writer()
  body.write(Buffer.from(code, 'latin1'))
  body.writeVarOctetString(Buffer.alloc(0))
  body.writeVarOctetString(asBuffer(toUtf8(message)))
  body.writeVarOctetString(asBuffer(data))
  return packetOf(TYPE_REJECT, body)
}

/** The data of F08 (RFC 27): the amount that arrived, and the most that would have been taken. Senders size their packets by it. */
export function amountTooLargeData(received: string, maximum: string): Uint8Array {
  const data = new Uint8Array(16)
  const view = new DataView(data.buffer)
  view.setBigUint64(0, BigInt(received))
  view.setBigUint64(8, BigInt(maximum))
  return data
}

function bodyOf(packet: Uint8Array): IlpReader {
  const body = new IlpReader(packet)
  body.readUInt8Number()
  body.enter()
  return body
}

/** Takes no length that is longer than it need be: the hosts' ilp-packet throws at one, and what is settled must be readable there. */
class IlpReader extends OerReader {
  override readLengthPrefix(): number {
    const start = this.cursor
    const length = super.readLengthPrefix()
    if (this.cursor - start !== lengthBytes(length)) throw new PacketError('packet has a length in too many bytes')
    return length
  }
}

function packetOf(type: number, body: Writer): Uint8Array {
  const packet = new Writer()
  packet.writeUInt8(type)
  packet.writeVarOctetString(body.getBuffer())
  return asBytes(packet.getBuffer())
}
