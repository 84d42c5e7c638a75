/**
 * A peer behind bob's door in the lab that speaks BTP by hand. By default it is an old one: it announces nothing, and answers a
 * repeated Fulfill with F00 and a TypeError, whatever became of the transfer. Imports src.
 */
import type { ErrorPacket, Packet, RequestPacket, SubProtocol } from '../../src/btp/packets.js'
import { decodePacket, encodePacket } from '../../src/btp/packets.js'
import { announcement } from '../../src/btp/auth.js'
import { encodeBalance, encodeErrorData, json, octets } from '../../src/btp/protocol-data.js'
import type { RequestBody } from '../../src/btp/session.js'
import type { Connection } from '../../src/core/transport.js'
import { PREFIX } from './lab.js'
import type { Lab } from './lab.js'

/** What answers a request: the Response's data, an Error, or nothing at all. */
export type Answer = SubProtocol[] | { code: string; name: string; message?: string } | 'silence'

/** What the old package answers to a Fulfill that it has seen before. */
export const OLD_REPEAT: Answer = { code: 'F00', name: 'NotAcceptedError', message: 'TypeError: Cannot read property of undefined' }

const BLANK = { incomingFulfilled: '0', outgoingFulfilled: '0', settledIn: '0', settledOut: '0', incomingHeld: '0', fulfilling: '0', sent: '0', settling: '0' }

/** What a peer of ours has in its books: nothing but those. */
export const report = (parts: object): object => ({ ...BLANK, ...parts })

export class ScriptedPeer {
  /** All requests but those of authentication, in order. */
  readonly received: RequestPacket[] = []
  /** Its balance, from its own point of view. */
  balance = 0
  /** What it does with a request; `undefined` does the usual. */
  script: (packet: RequestPacket) => Answer | undefined = () => undefined
  readonly #lab: Lab
  readonly #announces: boolean
  readonly #amounts = new Map<string, number>()
  readonly #booked = new Set<string>()
  readonly #asked = new Map<number, (answer: Packet) => void>()
  #connection: Connection | undefined
  #requestId = 1000

  constructor(lab: Lab, { announces = false } = {}) {
    this.#lab = lab
    this.#announces = announces
  }

  /** Takes bob's place. */
  async listen(): Promise<void> {
    await this.#lab.network.acceptor().listen(connection => {
      this.#connection = connection
      connection.open({ message: frame => { this.#receive(decodePacket(frame)) }, alive: () => undefined, close: () => undefined })
    })
  }

  /** Asks alice. */
  ask(body: RequestBody, requestId = this.#requestId++): Promise<Packet> {
    return new Promise(resolve => {
      this.#asked.set(requestId, resolve)
      this.#connection?.send(encodePacket({ ...body, requestId }))
    })
  }

  /** Sends alice a Prepare of so much; its Fulfill will be booked. */
  async prepare(
    payment: { id: string; transfer: { amount: string; executionCondition: string; expiresAt: string } }, requestId?: number
  ): Promise<Packet> {
    const { amount, executionCondition, expiresAt } = payment.transfer
    this.#amounts.set(payment.id, Number(amount))
    const expiry = new Date(expiresAt)
    return this.ask({ type: 'prepare', transferId: payment.id, amount, executionCondition, expiresAt: expiry, protocolData: [] }, requestId)
  }

  /** Books a transfer that it sent. */
  book(id: string): void {
    this.#booked.add(id)
    this.balance -= this.#amounts.get(id) ?? 0
  }

  /** The requests of that type. */
  requests<T extends RequestPacket['type']>(type: T): Array<Extract<RequestPacket, { type: T }>> {
    return this.received.filter(packet => packet.type === type) as Array<Extract<RequestPacket, { type: T }>>
  }

  #receive(packet: Packet): void {
    if (packet.type === 'response' || packet.type === 'error') {
      this.#asked.get(packet.requestId)?.(packet)
      this.#asked.delete(packet.requestId)
      return
    }
    const name = packet.protocolData[0]?.protocolName
    if (packet.type === 'message' && name === 'auth') {
      this.#answer(packet, this.#announces ? [announcement('cc'.repeat(16))] : [])
      return
    }
    this.received.push(packet)
    this.#answer(packet, this.script(packet) ?? this.#usual(packet, name))
  }

  #usual(packet: RequestPacket, name: string | undefined): Answer {
    if (packet.type === 'fulfill') {
      if (this.#booked.has(packet.transferId)) return OLD_REPEAT
      this.book(packet.transferId)
      return []
    }
    if (packet.type !== 'message') return []
    if (name === 'balance') return [octets('balance', encodeBalance(String(this.balance)))]
    if (name === 'info') return [json('info', { prefix: PREFIX })]
    return []
  }

  #answer({ requestId }: RequestPacket, answer: Answer): void {
    if (answer === 'silence') return
    this.#connection?.send(encodePacket(Array.isArray(answer)
      ? { type: 'response', requestId, protocolData: answer }
      : this.#error(requestId, answer)))
  }

  #error(requestId: number, { code, name, message = name }: Exclude<Answer, SubProtocol[] | string>): ErrorPacket {
    return {
      type: 'error', requestId, code, name, data: encodeErrorData(message), triggeredAt: new Date(this.#lab.clock.now()), protocolData: []
    }
  }
}
