/** ILPv4 packets for tests, made by ilp-packet. */
import { createHash, randomUUID } from 'node:crypto'
import * as IlpPacket from 'ilp-packet'

export interface IlpPayment {
  readonly prepare: Buffer
  readonly fulfill: Buffer
  readonly amount: string
}

/** A Prepare and the Fulfill that answers it. `seed` makes the preimage. */
export function ilpPayment(seed: string, expiresAt: Date | number, amount = '10', data: Buffer = Buffer.alloc(0), destination = 'test.receiver'): IlpPayment {
  const fulfillment = createHash('sha256').update(seed).digest()
  const executionCondition = createHash('sha256').update(fulfillment).digest()
  const prepare = IlpPacket.serializeIlpPrepare({ amount, executionCondition, expiresAt: new Date(expiresAt), destination, data: Buffer.from(seed) })
  return { prepare, fulfill: IlpPacket.serializeIlpFulfill({ fulfillment, data }), amount }
}

/** One to an address, with a preimage of its own. */
export function ilpPaymentTo(destination: string, expiresAt: Date | number, amount = '10'): IlpPayment {
  return ilpPayment(randomUUID(), expiresAt, amount, undefined, destination)
}

/** The Fulfill of a Prepare that `ilpPayment` made. */
export function fulfillOf(prepare: Uint8Array, data: Buffer = Buffer.alloc(0)): Buffer {
  const { data: seed } = IlpPacket.deserializeIlpPrepare(Buffer.from(prepare))
  return IlpPacket.serializeIlpFulfill({ fulfillment: createHash('sha256').update(seed).digest(), data })
}

export function ilpReject(code: string, message = ''): Buffer {
  return IlpPacket.serializeIlpReject({ code, triggeredBy: 'test.receiver', message, data: Buffer.alloc(0) })
}

/** The code of a Reject; `fulfill` for a Fulfill. */
export function codeOf(packet: Uint8Array): string {
  const { type, data } = IlpPacket.deserializeIlpPacket(Buffer.from(packet))
  if (type === IlpPacket.Type.TYPE_ILP_REJECT) return data.code
  return type === IlpPacket.Type.TYPE_ILP_FULFILL ? 'fulfill' : 'prepare'
}
