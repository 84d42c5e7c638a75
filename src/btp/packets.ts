/**
 * BTP packets as bytes and back (RFC 23: 1.0 and 2.0). Imports core and btp-packet.
 *
 * btp-packet writes BTP 2.0's Transfer and the Error. BTP 1.0's Prepare, Fulfill and Reject are written here, and so are Message and
 * Response, since each payment takes two or more of them. All reading is done here, since btp-packet takes neither timestamps without a fraction nor length
 * determinants that are longer than need be, and throws whatever it happens upon.
 */
import { Buffer } from 'buffer'
import { serializeError, serializeTransfer } from 'btp-packet'
import type { ProtocolData } from 'btp-packet'
import { formatAmount, parseAmount } from '../core/amounts.js'
import { toUtf8 } from '../core/bytes.js'
import { InvalidFieldsError, PacketError } from '../core/errors.js'
import { TRANSFER_ID_BYTES, parseBytes32, parseTransferId } from '../core/ids.js'
import { asBuffer, asBytes, checkAscii, formatTimestamp, lengthBytes, OerReader, TIMESTAMP_BYTES, toIsoTimestamp, writeLength } from './oer.js'

/** What the data of a sub-protocol is. Values that are read may be any other unsigned 8-bit integer. */
export const ContentType = { octetStream: 0, text: 1, json: 2 } as const
export type ContentType = (typeof ContentType)[keyof typeof ContentType]

/** One entry of a packet's protocol data. The first entry of a packet decides what is asked (RFC 23, "Sub-protocols"). */
export interface SubProtocol {
  /** ASCII. A name that was read may hold characters up to U+00FF, one for each byte. */
  readonly protocolName: string
  /** 0 for bytes, 1 for text in UTF-8, 2 for JSON. */
  readonly contentType: number
  /** What it says, in the form that `contentType` tells. */
  readonly data: Uint8Array
}

/** The positive answer to a request, under the request's own id. */
export interface ResponsePacket {
  /** Tells this packet from the others. */
  readonly type: 'response'
  /** The number of the request that this answers. */
  readonly requestId: number
  /** The sub-protocols, the one that decides first. */
  readonly protocolData: SubProtocol[]
}

/** The negative answer to a request, under the request's own id. */
export interface ErrorPacket {
  /** Tells this packet from the others. */
  readonly type: 'error'
  /** The number of the request that this answers. */
  readonly requestId: number
  /** Three characters. */
  readonly code: string
  /** The name in the table of RFC 23, in ASCII. */
  readonly name: string
  /** When it was found out, to the millisecond. */
  readonly triggeredAt: Date
  /** `{"message": "..."}` between us and the old package, any text from others. At most 8192 bytes of UTF-8, cut where longer. */
  readonly data: string
  /** The sub-protocols, the one that decides first. */
  readonly protocolData: SubProtocol[]
}

/** Asks the peer to hold an amount for us (BTP 1.0). */
export interface PreparePacket {
  /** Tells this packet from the others. */
  readonly type: 'prepare'
  /** The number by which the answer finds its request: an unsigned 32-bit integer. */
  readonly requestId: number
  /** A UUID in lower case. */
  readonly transferId: string
  /** Base units, 0 <= amount < 2^64. */
  readonly amount: string
  /** SHA-256 of the fulfillment: 32 bytes in base64url. */
  readonly executionCondition: string
  /** When the hold ends, to the millisecond. */
  readonly expiresAt: Date
  /** The sub-protocols, the one that decides first. */
  readonly protocolData: SubProtocol[]
}

/** Releases a hold to the sender of this packet, against the preimage (BTP 1.0). */
export interface FulfillPacket {
  /** Tells this packet from the others. */
  readonly type: 'fulfill'
  /** The number by which the answer finds its request: an unsigned 32-bit integer. */
  readonly requestId: number
  /** A UUID in lower case. */
  readonly transferId: string
  /** 32 bytes in base64url. */
  readonly fulfillment: string
  /** The sub-protocols, the one that decides first. */
  readonly protocolData: SubProtocol[]
}

/** Gives a hold back (BTP 1.0). The reason is an ILP error packet under the name `ilp`. */
export interface RejectPacket {
  /** Tells this packet from the others. */
  readonly type: 'reject'
  /** The number by which the answer finds its request: an unsigned 32-bit integer. */
  readonly requestId: number
  /** A UUID in lower case. */
  readonly transferId: string
  /** The sub-protocols, the one that decides first. */
  readonly protocolData: SubProtocol[]
}

/** Asks or tells anything that moves no value by itself. */
export interface MessagePacket {
  /** Tells this packet from the others. */
  readonly type: 'message'
  /** The number by which the answer finds its request: an unsigned 32-bit integer. */
  readonly requestId: number
  /** The sub-protocols, the one that decides first. */
  readonly protocolData: SubProtocol[]
}

/** Tells of a settlement (BTP 2.0). */
export interface TransferPacket {
  /** Tells this packet from the others. */
  readonly type: 'transfer'
  /** The number by which the answer finds its request: an unsigned 32-bit integer. */
  readonly requestId: number
  /** Base units, 0 <= amount < 2^64. */
  readonly amount: string
  /** The sub-protocols, the one that decides first. */
  readonly protocolData: SubProtocol[]
}

/** What is answered, by a Response or an Error. */
export type RequestPacket = PreparePacket | FulfillPacket | RejectPacket | MessagePacket | TransferPacket
/** What answers. */
export type AnswerPacket = ResponsePacket | ErrorPacket
/** Any BTP packet (RFC 23). */
export type Packet = RequestPacket | AnswerPacket

/** The most bytes that an Error's data may have (RFC 23, ASN.1). */
export const ERROR_DATA_LIMIT = 8192

const TYPE_RESPONSE = 1
const TYPE_ERROR = 2
const TYPE_PREPARE = 3
const TYPE_FULFILL = 4
const TYPE_REJECT = 5
const TYPE_MESSAGE = 6
const TYPE_TRANSFER = 7

const BYTES_32 = 32
const TRANSFER_ID_CHARACTERS = 36
const AMOUNT_BYTES = 8

/**
 * The bytes of a packet, in a backing buffer of exactly their length (H34).
 * @throws InvalidFieldsError naming the field that a packet cannot carry
 */
export function encodePacket(packet: Packet): Uint8Array {
  const { requestId } = packet
  if (requestId >>> 0 !== requestId) throw new InvalidFieldsError('requestId must be an unsigned 32-bit integer')
  checkProtocolData(packet.protocolData)
  switch (packet.type) {
    case 'response':
      return asBytes(layOut(TYPE_RESPONSE, packet, 0).frame)
    case 'message':
      return asBytes(layOut(TYPE_MESSAGE, packet, 0).frame)
    case 'transfer':
      // Checked, since the OER library lets 2^64 and more wrap around.
      return asBytes(serializeTransfer({ amount: formatAmount(parseAmount(packet.amount)) }, requestId, toLibrary(packet.protocolData)))
    case 'error':
      return encodeError(packet)
    case 'prepare':
      return encodePrepare(packet)
    case 'fulfill':
      return encodeFulfill(packet)
    case 'reject':
      return encodeReject(packet)
  }
}

/**
 * Reads a packet. Its data are views of the frame, which therefore must not change afterwards. Bytes behind the last known field
 * are ignored (C4).
 * @throws PacketError and nothing else. With `requestId`: a sound request in which a value is wrong, to be answered; without:
 * no packet, or an answer in which a value is wrong, to be met with silence
 */
export function decodePacket(frame: Uint8Array): Packet {
  const body = new OerReader(frame)
  const type = body.readUInt8Number()
  const requestId = body.readUInt32Number()
  body.enter()
  switch (type) {
    case TYPE_RESPONSE:
      return { type: 'response', requestId, protocolData: readProtocolData(body) }
    case TYPE_ERROR:
      return decodeError(requestId, body)
    case TYPE_PREPARE:
      return decodePrepare(requestId, body)
    case TYPE_FULFILL: {
      const transferId = body.readTransferId()
      const fulfillment = body.readText(BYTES_32, 'base64url')
      return { type: 'fulfill', requestId, transferId, fulfillment, protocolData: readProtocolData(body) }
    }
    case TYPE_REJECT: {
      const transferId = body.readTransferId()
      return { type: 'reject', requestId, transferId, protocolData: readProtocolData(body) }
    }
    case TYPE_MESSAGE:
      return { type: 'message', requestId, protocolData: readProtocolData(body) }
    case TYPE_TRANSFER: {
      const amount = body.readAmount()
      return { type: 'transfer', requestId, amount, protocolData: readProtocolData(body) }
    }
    default:
      throw new PacketError(`packet is of type ${type}, which is not of BTP`)
  }
}

function decodePrepare(requestId: number, body: OerReader): PreparePacket {
  const transferId = body.readTransferId()
  const amount = body.readAmount()
  const executionCondition = body.readText(BYTES_32, 'base64url')
  const expiresAt = body.readTimestamp()
  const protocolData = readProtocolData(body)
  if (expiresAt === undefined) throw new PacketError('expiresAt must be a UTC time, to the millisecond', { requestId })
  return { type: 'prepare', requestId, transferId, amount, executionCondition, expiresAt, protocolData }
}

function decodeError(requestId: number, body: OerReader): ErrorPacket {
  const code = body.readText(3, 'latin1')
  const name = body.readAscii()
  const triggeredAt = body.readTimestamp()
  const data = cutUtf8(asBuffer(body.readBytes())).toString('utf8')
  const protocolData = readProtocolData(body)
  // No requestId: an answer is never answered.
  if (triggeredAt === undefined) throw new PacketError('triggeredAt must be a UTC time, to the millisecond')
  return { type: 'error', requestId, code, name, triggeredAt, data, protocolData }
}

function readProtocolData(body: OerReader): SubProtocol[] {
  const count = body.readQuantity()
  const protocolData: SubProtocol[] = []
  for (let i = 0; i < count; i++) {
    const protocolName = body.readAscii()
    const contentType = body.readUInt8Number()
    protocolData.push({ protocolName, contentType, data: body.readBytes() })
  }
  return protocolData
}

function encodeError(packet: ErrorPacket): Uint8Array {
  const code = checkAscii(packet.code, 'code')
  if (code.length !== 3) throw new InvalidFieldsError('code must be three characters')
  const name = checkAscii(packet.name, 'name')
  const triggeredAt = toIsoTimestamp(packet.triggeredAt, 'triggeredAt')
  const data = cutUtf8(Buffer.from(packet.data, 'utf8')).toString('utf8')
  return asBytes(serializeError({ code, name, triggeredAt, data }, packet.requestId, toLibrary(packet.protocolData)))
}

function encodePrepare(packet: PreparePacket): Uint8Array {
  const { frame, at } = layOut(TYPE_PREPARE, packet, TRANSFER_ID_BYTES + AMOUNT_BYTES + BYTES_32 + 1 + TIMESTAMP_BYTES)
  writeTransferId(frame, at, packet.transferId)
  const afterId = at + TRANSFER_ID_BYTES
  frame.writeBigUInt64BE(parseAmount(packet.amount), afterId)
  writeBytes32(frame, afterId + AMOUNT_BYTES, packet.executionCondition, 'executionCondition')
  const afterCondition = afterId + AMOUNT_BYTES + BYTES_32
  frame[afterCondition] = TIMESTAMP_BYTES
  frame.write(formatTimestamp(packet.expiresAt, 'expiresAt'), afterCondition + 1, 'latin1')
  return asBytes(frame)
}

function encodeFulfill(packet: FulfillPacket): Uint8Array {
  const { frame, at } = layOut(TYPE_FULFILL, packet, TRANSFER_ID_BYTES + BYTES_32)
  writeTransferId(frame, at, packet.transferId)
  writeBytes32(frame, at + TRANSFER_ID_BYTES, packet.fulfillment, 'fulfillment')
  return asBytes(frame)
}

function encodeReject(packet: RejectPacket): Uint8Array {
  const { frame, at } = layOut(TYPE_REJECT, packet, TRANSFER_ID_BYTES)
  writeTransferId(frame, at, packet.transferId)
  return asBytes(frame)
}

/** Writes envelope and protocol data of a packet into one frame of exactly its size; its fields have room from `at` on. */
function layOut(type: number, { requestId, protocolData }: Packet, fieldBytes: number): { frame: Buffer; at: number } {
  const isShort = protocolData.length < 0x100
  let bodyBytes = fieldBytes + (isShort ? 2 : 3)
  for (const { protocolName, data } of protocolData) {
    bodyBytes += lengthBytes(protocolName.length) + protocolName.length + 1 + lengthBytes(data.length) + data.length
  }
  const frame = Buffer.alloc(5 + lengthBytes(bodyBytes) + bodyBytes)
  frame[0] = type
  frame.writeUIntBE(requestId, 1, 4)
  const at = writeLength(frame, 5, bodyBytes)
  let end = at + fieldBytes
  end = isShort ? frame.writeUIntBE(0x100 | protocolData.length, end, 2) : frame.writeUIntBE(0x20000 | protocolData.length, end, 3)
  for (const { protocolName, contentType, data } of protocolData) {
    end = writeLength(frame, end, protocolName.length)
    end += frame.write(protocolName, end, 'latin1')
    frame[end++] = contentType
    end = writeLength(frame, end, data.length)
    frame.set(data, end)
    end += data.length
  }
  return { frame, at }
}

/** The checks that the OER library leaves out, or makes with errors of its own. */
function checkProtocolData(protocolData: readonly SubProtocol[]): void {
  if (protocolData.length > 0xffff) throw new InvalidFieldsError('protocolData must have at most 65535 entries')
  for (const { protocolName, contentType } of protocolData) {
    checkAscii(protocolName, 'protocolName')
    if ((contentType & 0xff) !== contentType) throw new InvalidFieldsError('contentType must be an unsigned 8-bit integer')
  }
}

/**
 * Protocol data as btp-packet takes it. It looks names up in an object, where it finds `constructor` and other things that no
 * sub-protocol put there (H37); such a name goes in as its bytes, which it does not look up, and writes all the same.
 */
function toLibrary(protocolData: readonly SubProtocol[]): ProtocolData[] {
  return protocolData.map(({ protocolName, contentType, data }) => {
    const inherited = protocolName in Object.prototype
    const name = inherited ? (toUtf8(protocolName) as unknown as string) : protocolName
    return { protocolName: name, contentType, data: asBuffer(data) }
  })
}

function writeTransferId(frame: Buffer, at: number, transferId: string): void {
  const id = parseTransferId(transferId, 'transferId')
  let offset = at
  // Digit by digit: taking the dashes out first would cost more than all the rest.
  for (let i = 0; i < TRANSFER_ID_CHARACTERS; i += 2) {
    if (id[i] === '-') i++
    frame[offset++] = (hexDigit(id, i) << 4) | hexDigit(id, i + 1)
  }
}

/** The value of a hexadecimal digit in lower case. */
function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at)
  return code < 0x3a ? code - 0x30 : code - 0x57
}

function writeBytes32(frame: Buffer, at: number, value: string, field: string): void {
  frame.write(parseBytes32(value, field), at, 'base64url')
}

/** Cuts UTF-8 to what an Error's data may have, never within a character. */
function cutUtf8(data: Buffer): Buffer {
  if (data.length <= ERROR_DATA_LIMIT) return data
  let end = ERROR_DATA_LIMIT
  // 10xxxxxx continues a character. A character has at most three such bytes; more of them are no UTF-8 anyway.
  while (end > ERROR_DATA_LIMIT - 4 && ((data[end] ?? 0) & 0xc0) === 0x80) end--
  return data.subarray(0, end)
}
