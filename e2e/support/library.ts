/**
 * The packed package as e2e code holds it, in a page or in Node, and transfers to send through it.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { LedgerPluginV1 } from '../../src/plugin/lpi.js'

export interface Library {
  PaychanPlugin: new (options: object) => LedgerPluginV1
  MemoryStore: new () => object
  BtpListener: new (options: object) => { readonly port: number | undefined }
}

/** What both ends of a test need to know of a transfer. */
export interface Payment {
  id: string
  amount: string
  condition: string
  fulfillment: string
}

export function makePayment(amount: string): Payment {
  const preimage = randomBytes(32)
  const condition = createHash('sha256').update(preimage).digest('base64url')
  return { id: randomUUID(), amount, condition, fulfillment: preimage.toString('base64url') }
}
