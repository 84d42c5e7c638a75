/**
 * An ILPv4 packet in words, for the log of packets. Loaded with the card of STREAM payments only.
 */
import { Buffer } from 'buffer'
import * as IlpPacket from 'ilp-packet'
import { CURRENCY, formatAmount } from '../shared/ledger.js'
import { timeOfDay } from './clock.js'
import type { Field } from './packet-words.js'

/** What is inside of the sub-protocol `ilp`; `undefined` for what is no ILPv4 packet. */
export function readIlp(bytes: Uint8Array): { summary: string; fields: Field[] } | undefined {
  try {
    const { typeString, data } = IlpPacket.deserializeIlpPacket(Buffer.from(bytes))
    return { summary: `${(typeString ?? '').replace('ilp_', 'ILP ')} ${summarise(data)}`.trim(), fields: fieldsOf(data) }
  } catch {
    return undefined
  }
}

function summarise(data: IlpPacket.IlpPacket['data']): string {
  if ('amount' in data) return `${formatAmount(data.amount)} ${CURRENCY} to ${shortened(data.destination)}, until ${timeOfDay(data.expiresAt.getTime())}`
  return 'code' in data ? `${data.code} ${data.message}` : ''
}

function fieldsOf(data: IlpPacket.IlpPacket['data']): Field[] {
  return Object.entries(data).map(([name, value]: [string, unknown]) => ({ name: `ILP ${name}`, value: inWords(value) }))
}

function inWords(value: unknown): string {
  if (value instanceof Date) return value.toISOString()
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value)
}

/** The last part of a STREAM address is a secret of the receiver's, and long. */
function shortened(address: string): string {
  return address.length > 40 ? `${address.slice(0, 28)}\u2026` : address
}
