/** What frames say, for the auditor and for whoever reads a trace. */
import * as IlpPacket from 'ilp-packet'
import type { Packet, RequestPacket, SubProtocol } from '../../src/btp/packets.js'

export type Ilp = { type: 'prepare'; condition: string; amount: string } | { type: 'fulfill'; fulfillment: string } | { type: 'reject'; code: string }

function find(protocolData: readonly SubProtocol[], name: string): Uint8Array | undefined {
  return protocolData.find(({ protocolName }) => protocolName === name)?.data
}

/** The ILPv4 packet in protocol data, if there is one. */
export function ilpOf(protocolData: readonly SubProtocol[]): Ilp | undefined {
  const bytes = find(protocolData, 'ilp')
  return bytes === undefined ? undefined : readIlp(bytes)
}

/** An ILPv4 packet, if it is one. */
export function readIlp(bytes: Uint8Array): Ilp | undefined {
  try {
    const { type, data } = IlpPacket.deserializeIlpPacket(Buffer.from(bytes))
    if (type === IlpPacket.Type.TYPE_ILP_PREPARE) return { type: 'prepare', condition: data.executionCondition.toString('base64url'), amount: data.amount }
    if (type === IlpPacket.Type.TYPE_ILP_FULFILL) return { type: 'fulfill', fulfillment: data.fulfillment.toString('base64url') }
    return { type: 'reject', code: data.code }
  } catch {
    // BTP 1.0 carries the errors of an older ILP.
    return undefined
  }
}

/** The JSON under a name. */
export function jsonOf(protocolData: readonly SubProtocol[], name: string): object | undefined {
  const bytes = find(protocolData, name)
  return bytes === undefined || bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes).toString()) as object
}

/** A packet in a few words; an answer with what it answers. */
export function nameOf(packet: Packet, request?: RequestPacket): string {
  if (packet.type === 'error') return `Error ${packet.name} to ${request === undefined ? '?' : nameOf(request)}`
  const parts = packet.protocolData.map(part => partOf(part, packet.protocolData)).join(', ')
  const beside = parts === '' ? '' : ` [${parts}]`
  switch (packet.type) {
    case 'response': return `Response to ${request === undefined ? '?' : nameOf(request)}${beside}`
    case 'message': return `Message${beside}`
    case 'transfer': return `Transfer of ${packet.amount}${beside}`
    case 'prepare': return `Prepare ${shortOf(packet.transferId)} of ${packet.amount}`
    case 'fulfill': return `Fulfill ${shortOf(packet.transferId)}`
    case 'reject': return `Reject ${shortOf(packet.transferId)}`
  }
}

function partOf({ protocolName, data }: SubProtocol, all: readonly SubProtocol[]): string {
  const ilp = protocolName === 'ilp' ? ilpOf(all) : undefined
  if (ilp !== undefined) return `ILP ${ilp.type}${ilp.type === 'prepare' ? ` of ${ilp.amount}` : ''}`
  // What authenticates is nobody's business, and a signature is no reading.
  const isShown = protocolName === 'paychan' || protocolName === 'claim'
  return isShown ? `${protocolName} ${Buffer.from(data).toString().replace(/[0-9a-f]{60,}/g, '...').slice(0, 160)}` : protocolName
}

function shortOf(id: string): string {
  return id.slice(-4)
}
