/**
 * What our codec calls of btp-packet: the bytes of BTP 2.0's Transfer and of the Error (RFC 23). The browser builds have it in that
 * package's place, which writes every packet twice, the first time to count, and brings reading and the formats of dates along. Same
 * bytes; what is refused is checked by our codec before.
 */
import { Buffer } from './buffer.js'
import { Writer } from './oer-utils.js'

export function serializeTransfer({ amount }, requestId, protocolData) {
  return serialize(7, requestId, protocolData, body => {
    body.writeUInt64(amount)
  })
}

/** `triggeredAt` as ISO 8601 in UTC, with milliseconds. */
export function serializeError({ code, name, triggeredAt, data }, requestId, protocolData) {
  return serialize(2, requestId, protocolData, body => {
    body.write(Buffer.from(code, 'latin1'))
    for (const text of [name, triggeredAt.replace(/[-:T]/g, ''), data]) body.writeVarOctetString(Buffer.from(text))
  })
}

function serialize(type, requestId, protocolData, writeFields) {
  const body = new Writer()
  writeFields(body)
  body.writeVarUInt(protocolData.length)
  for (const { protocolName, contentType, data } of protocolData) {
    body.writeVarOctetString(Buffer.from(protocolName))
    body.writeUInt8(contentType)
    body.writeVarOctetString(data)
  }
  const packet = new Writer()
  packet.writeUInt8(type)
  packet.writeUInt32(requestId)
  packet.writeVarOctetString(body.getBuffer())
  return packet.getBuffer()
}
