/**
 * Messages between the two hosts, and the sorting of everything that the peer asks. Imports core and btp.
 */
import { printableMessage, toBase64url } from '../core/bytes.js'
import { InvalidFieldsError, NoSubscriptionsError, NotAcceptedError, RequestHandlerAlreadyRegisteredError, messageOf } from '../core/errors.js'
import { encodeIlpError, senderOf } from '../btp/ilp-error.js'
import type { MessagePacket, RequestPacket, SubProtocol } from '../btp/packets.js'
import { encodeErrorData, find, fromProtocolData, toProtocolData } from '../btp/protocol-data.js'
import type { Reply, Session } from '../btp/session.js'
import { PAYCHAN } from '../btp/auth.js'
import type { Account } from './account.js'
import type { Data } from './data.js'
import type { Generation } from './generation.js'
import { HandlerPlace } from './handler.js'
import type { Identity } from './identity.js'
import type { Incoming } from './incoming.js'
import { checkAnswer } from './lpi-checks.js'
import type { Message, OutgoingMessage, RequestHandler } from './lpi.js'
import type { Money } from './money.js'
import type { Outgoing } from './outgoing.js'
import type { Reconcile } from './reconcile.js'
import type { Rpc, SendMessage } from './rpc.js'
import { CLAIM } from './settlement.js'
import { answerSideProtocol } from './side-protocols.js'

export interface RequestsOptions {
  account: Account
  identity: Identity
  incoming: Incoming
  outgoing: Outgoing
  data: Data
  money: Money
  generation: Generation
  reconcile: Reconcile
  rpc: Rpc
  send: SendMessage
}

export class Requests {
  readonly #options: RequestsOptions
  readonly place = new HandlerPlace<RequestHandler>('request', RequestHandlerAlreadyRegisteredError)

  constructor(options: RequestsOptions) {
    this.#options = options
  }

  /** Sends a message of the host, which has been validated, and resolves with the peer's. */
  async ask(message: OutgoingMessage): Promise<Message> {
    const { account, send } = this.#options
    const protocolData = toProtocolData(message)
    account.emit('outgoing_request', message)
    const response = await send({ type: 'message', protocolData })
    const answer = this.#messageOf(response.protocolData)
    account.emit('incoming_response', answer)
    return answer
  }

  /**
   * Answers a request of the peer: what it resolves with is the Response, what it throws becomes an Error; `undefined` where `reply` is
   * told instead. `arrivedAt` is given where the request had to wait.
   */
  handle(packet: RequestPacket, session: Session, reply: Reply, arrivedAt?: number): Promise<SubProtocol[]> | undefined {
    const { incoming, outgoing, money, generation } = this.#options
    generation.hear(packet, session)
    switch (packet.type) {
      case 'prepare': {
        incoming.handlePrepare(packet, reply)
        return undefined
      }
      case 'fulfill': {
        outgoing.handleFulfill(packet, reply, arrivedAt)
        return undefined
      }
      case 'reject': return outgoing.handleReject(packet)
      case 'message': {
        // `ilp` is primary wherever it is (C38).
        if (!this.#options.data.isForHost(packet)) return this.#handleMessage(packet, session)
        this.#options.data.handle(packet, session, reply)
        return undefined
      }
      case 'transfer': return money.receive(packet, session)
    }
  }

  /** The primary sub-protocol decides (C23). */
  async #handleMessage(packet: MessagePacket, session: Session): Promise<SubProtocol[]> {
    const { account, data, identity, rpc } = this.#options
    const { requestId, protocolData } = packet
    const [primary] = protocolData
    if (primary === undefined) throw new InvalidFieldsError('a Message must have a sub-protocol')
    const hasIlp = find(protocolData, 'ilp') !== undefined
    if (primary.protocolName === PAYCHAN) return await this.#options.reconcile.handle(primary, session) ?? data.handleInquiry(primary, session)
    if (primary.protocolName === 'custom' || hasIlp) {
      return this.#handleRequest({ ...this.#messageOf(protocolData), id: String(requestId) })
    }
    if (primary.protocolName === CLAIM) {
      if (account.settlement === undefined) throw new NotAcceptedError('this side takes no claims')
      await account.settlement.receive(primary)
      return []
    }
    return await answerSideProtocol(primary, identity, account.ledger) ?? rpc.handle(protocolData)
  }

  #messageOf(protocolData: readonly SubProtocol[]): Message {
    const { account, identity } = this.#options
    const { ilp, custom } = fromProtocolData(protocolData)
    return {
      to: account.address(),
      from: account.peerAddress(),
      ledger: identity.prefix,
      ...(ilp === undefined ? {} : { ilp }),
      ...(custom === undefined ? {} : { custom })
    }
  }

  async #handleRequest(message: Message): Promise<SubProtocol[]> {
    const { account } = this.#options
    account.emit('incoming_request', message)
    const handler = this.place.handler
    if (handler === undefined) throw new NoSubscriptionsError('no request handler is registered')
    let response: OutgoingMessage
    try {
      response = checkAnswer(await handler(message), message)
    } catch (error) {
      account.log.debug(`the request handler failed: ${printableMessage(error)}`)
      response = this.#failure(message, error)
    }
    account.emit('outgoing_response', response)
    return toProtocolData({ ilp: response.ilp, custom: response.custom })
  }

  /** What the peer's host gets when our host's handler fails (C34). */
  #failure(message: Message, error: unknown): OutgoingMessage {
    const { account, identity } = this.#options
    const ilp = encodeIlpError({
      code: 'F00',
      name: 'Bad Request',
      triggeredBy: senderOf(account.address()),
      forwardedBy: [],
      triggeredAt: new Date(account.clock.now()),
      data: encodeErrorData(messageOf(error))
    })
    return { to: message.from, from: message.to, ledger: identity.prefix, ilp: toBase64url(ilp) }
  }
}
