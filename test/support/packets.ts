/** Arbitrary packets for property tests: everything that a packet can carry. */
import fc from 'fast-check'
import { toBase64url } from '../../src/core/bytes.js'
import { transferIdOf } from '../../src/core/ids.js'
import type { Packet, SubProtocol } from '../../src/btp/packets.js'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const printableAscii = (maxLength: number) => fc.string({ unit: 'grapheme-ascii', maxLength })

export const transferIds = () => bytes(16).map(id => transferIdOf(id))
export const bytes32 = () => bytes(32).map(toBase64url)
export const amounts = () => fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String)
export const dates = () => fc.date({ min: new Date('1000-01-01T00:00:00.000Z'), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true })

export const subProtocols = (): fc.Arbitrary<SubProtocol> => fc.record({
  protocolName: fc.oneof(fc.constantFrom('ilp', 'custom', 'auth_token', '__proto__', 'constructor'), printableAscii(20)),
  contentType: fc.oneof(fc.constantFrom(0, 1, 2), fc.nat(255)),
  data: fc.uint8Array({ maxLength: 300 })
}, { noNullPrototype: true })

/** Packets of the given types, of all without. */
export function packets<T extends Packet['type'] = Packet['type']>(...types: T[]): fc.Arbitrary<Extract<Packet, { type: T }>> {
  const head = { requestId: fc.nat(0xffffffff), protocolData: fc.array(subProtocols(), { maxLength: 5 }) }
  const record = <R>(model: { [K in keyof R]: fc.Arbitrary<R[K]> }) => fc.record(model, { noNullPrototype: true })
  const all: { [K in Packet['type']]: fc.Arbitrary<Extract<Packet, { type: K }>> } = {
    response: record({ type: fc.constant('response'), ...head }),
    error: record({
      type: fc.constant('error'),
      ...head,
      code: fc.string({ unit: 'grapheme-ascii', minLength: 3, maxLength: 3 }),
      name: printableAscii(40),
      triggeredAt: dates(),
      // No lone surrogates: UTF-8 has no form for them.
      data: fc.string({ unit: 'binary', maxLength: 200 })
    }),
    prepare: record({
      type: fc.constant('prepare'),
      ...head,
      transferId: transferIds(),
      amount: amounts(),
      executionCondition: bytes32(),
      expiresAt: dates()
    }),
    fulfill: record({ type: fc.constant('fulfill'), ...head, transferId: transferIds(), fulfillment: bytes32() }),
    reject: record({ type: fc.constant('reject'), ...head, transferId: transferIds() }),
    message: record({ type: fc.constant('message'), ...head }),
    transfer: record({ type: fc.constant('transfer'), ...head, amount: amounts() })
  }
  const chosen = types.length > 0 ? types : (Object.keys(all) as T[])
  return fc.oneof(...chosen.map(type => all[type])) as fc.Arbitrary<Extract<Packet, { type: T }>>
}
