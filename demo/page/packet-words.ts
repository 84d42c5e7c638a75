/**
 * A BTP packet in words: one line, and everything that it holds.
 */
import type { Packet, SubProtocol } from 'ilp-plugin-paychan'
import { CURRENCY, formatAmount } from '../shared/ledger.js'
import { timeOfDay } from './clock.js'

/** One field of a packet, or of its protocol data. */
export interface Field {
  readonly name: string
  readonly value: string
}

/** Reads an ILPv4 packet; `undefined` for what is none. */
export type ReadIlp = (bytes: Uint8Array) => { summary: string; fields: Field[] } | undefined

export const PACKET_TYPES = ['prepare', 'fulfill', 'reject', 'message', 'transfer', 'response', 'error'] as const satisfies ReadonlyArray<Packet['type']>

/** How much of one sub-protocol is shown, in bytes. */
const MOST_BYTES = 2048

/** What a packet is about, in one line. Of an answer, what was asked is to be added. */
export function summarise(packet: Packet, readIlp?: ReadIlp): string {
  switch (packet.type) {
    case 'prepare': return `${formatAmount(packet.amount)} ${CURRENCY}, transfer ${short(packet.transferId)}, until ${timeOfDay(packet.expiresAt.getTime())}`
    case 'fulfill': return `transfer ${short(packet.transferId)}, with its preimage`
    case 'reject': return `transfer ${short(packet.transferId)}`
    case 'message': return summariseData(packet.protocolData, readIlp)
    case 'transfer': return `${formatAmount(packet.amount)} ${CURRENCY}`
    case 'response': return packet.protocolData.length === 0 ? '' : summariseData(packet.protocolData, readIlp)
    case 'error': return `${packet.name} (${packet.code})`
  }
}

/** All that a packet holds, protocol data last. */
export function fieldsOf(packet: Packet, readIlp?: ReadIlp): Field[] {
  const { protocolData, ...fields } = packet
  return [
    ...Object.entries(fields).map(([name, value]) => ({ name, value: value instanceof Date ? value.toISOString() : String(value) })),
    ...protocolData.flatMap(sub => ilpOf(sub, readIlp)?.fields ?? []),
    ...protocolData.map(sub => ({ name: `${sub.protocolName} (${contentTypeOf(sub)})`, value: textOf(sub) }))
  ]
}

/** The ILPv4 packet in a sub-protocol, if that can be read here and is one. */
function ilpOf({ protocolName, data }: SubProtocol, readIlp: ReadIlp | undefined): ReturnType<ReadIlp> {
  return protocolName === 'ilp' ? readIlp?.(data) : undefined
}

function summariseData(protocolData: readonly SubProtocol[], readIlp: ReadIlp | undefined): string {
  return protocolData.map(sub => {
    const ilp = ilpOf(sub, readIlp)
    if (ilp !== undefined) return ilp.summary
    const value = sub.protocolName === 'custom' ? parse(textOf(sub)) : undefined
    return value === undefined ? sub.protocolName : Object.entries(value).map(([name, field]) => (name === 'method' ? brief(field) : `${name} ${brief(field)}`)).join(', ')
  }).join(', ')
}

function brief(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length > 20 ? `${text.slice(0, 12)}\u2026` : text
}

function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function contentTypeOf({ contentType, data }: SubProtocol): string {
  return `${['octets', 'text', 'JSON'][contentType] ?? `type ${contentType}`}, ${data.length} bytes`
}

function textOf({ contentType, data }: SubProtocol): string {
  const shown = data.subarray(0, MOST_BYTES)
  const text = contentType === 0
    ? Array.from(shown, byte => byte.toString(16).padStart(2, '0')).join(' ')
    : new TextDecoder().decode(shown)
  return shown.length < data.length ? `${text} \u2026` : text
}

function short(id: string): string {
  return id.slice(0, 8)
}
