/**
 * LPI v2's data (RFC 24) over BTP 2.0: ILP packets in Messages. A Prepare with an amount goes through the ledger, anything else goes
 * past it. Imports core and btp.
 */
import { AlreadyRolledBackError, DataHandlerAlreadyRegisteredError, InvalidFieldsError, NoSubscriptionsError, NotAcceptedError, UnreachableError } from '../core/errors.js'
import { readIlpPrepare, writeIlpReject } from '../btp/ilp-packets.js'
import type { IlpPrepare } from '../btp/ilp-packets.js'
import { fatesAnswer, readInquiry, readTransferMark } from '../btp/inquiry.js'
import { asBuffer } from '../btp/oer.js'
import type { MessagePacket, RequestPacket, SubProtocol } from '../btp/packets.js'
import { find, octets } from '../btp/protocol-data.js'
import type { Reply, Session } from '../btp/session.js'
import type { Account } from './account.js'
import { DataIncoming, answerOf, askHandler } from './data-incoming.js'
import { DataOutgoing } from './data-outgoing.js'
import type { Generation } from './generation.js'
import { HandlerPlace } from './handler.js'
import type { Bytes, DataHandler } from './lpi.js'

/** How long the answer to a packet without an expiry is waited for. */
const ANSWER_MS = 35_000
/** The largest packet that is sent, in bytes: a frame has 64 KiB. */
const PACKET_LIMIT = 60_000

export interface DataOptions {
  account: Account
  generation: Generation
  /** Whether the host is one of LPI v2: then ILP packets are for its data handler only. */
  isV2Host: boolean
  /** More is owed now; `isWanting`: a packet was refused, as it is for want of a settlement. */
  onOwed: (isWanting: boolean) => void
}

export class Data {
  readonly #options: DataOptions
  readonly #outgoing: DataOutgoing
  readonly #incoming: DataIncoming
  readonly place = new HandlerPlace<DataHandler>('data', DataHandlerAlreadyRegisteredError)

  constructor(options: DataOptions) {
    this.#options = options
    this.#outgoing = new DataOutgoing(options.account, { isOnlyFace: options.isV2Host, onOwed: options.onOwed })
    this.#incoming = new DataIncoming(options.account)
  }

  /** Whether ILP packets of the peer are for LPI v2: an old host that registers no data handler has its request handler. */
  get takesPackets(): boolean {
    return this.#options.isV2Host || this.place.handler !== undefined
  }

  /** Whether a request brings a packet that the data handler would have. */
  isForHost(packet: RequestPacket): boolean {
    return this.takesPackets && packet.type === 'message' && find(packet.protocolData, 'ilp') !== undefined
  }

  /** How many packets are on their way. */
  get pending(): number {
    return this.#outgoing.pending + this.#incoming.pending
  }

  resume(): void {
    this.#outgoing.resume()
    this.#incoming.resume()
  }

  stop(): void {
    this.#outgoing.stop()
    this.#incoming.stop()
  }

  sessionUp(session: Session): void {
    this.#outgoing.sessionUp(session)
  }

  /** See `LedgerPlugin.sendData`. Calls one of the two when it is answered, or throws what it rejects with. */
  send(data: Uint8Array, resolve: (answer: Bytes) => void, reject: (error: unknown) => void): void {
    if (!(data instanceof Uint8Array)) throw new InvalidFieldsError('data must be a Buffer')
    if (data.length > PACKET_LIMIT) throw new InvalidFieldsError(`data must be at most ${PACKET_LIMIT} bytes`)
    const { account, generation } = this.#options
    const prepare = readIlpPrepare(data)
    if (prepare === undefined || prepare.amount === '0') {
      this.#pass(data, prepare).then(answer => { resolve(asBuffer(answer)) }, reject)
      return
    }
    generation.mustSpeak('2.0', account.session())
    this.#outgoing.send(data, prepare, answer => { resolve(asBuffer(answer)) }, reject)
  }

  /** Moves nothing, so the ledger knows nothing of it (C57). */
  async #pass(data: Uint8Array, prepare: IlpPrepare | undefined): Promise<Uint8Array> {
    const { clock, session } = this.#options.account
    const current = session()
    if (current === undefined) throw new UnreachableError('not connected to the peer')
    const timeoutMs = prepare === undefined ? ANSWER_MS : prepare.expiresAt.getTime() - clock.now()
    if (timeoutMs <= 0) throw new AlreadyRolledBackError('the packet has expired')
    try {
      const { protocolData } = await current.request({ type: 'message', protocolData: [octets('ilp', data)] }, { timeoutMs })
      return find(protocolData, 'ilp')?.data ?? new Uint8Array()
    } catch (error) {
      const isExpired = prepare !== undefined && clock.now() >= prepare.expiresAt.getTime()
      if (isExpired && error instanceof UnreachableError && !error.fromPeer) throw new AlreadyRolledBackError('the packet expired before it was answered', { cause: error })
      throw error
    }
  }

  /**
   * Answers a Message with an ILP packet.
   * @throws NoSubscriptionsError without a handler, and nothing is kept (C54); InvalidFieldsError for a mark that is none
   */
  handle({ protocolData }: MessagePacket, session: Session, reply: Reply): void {
    const handler = this.place.handler
    const packet = find(protocolData, 'ilp')?.data ?? new Uint8Array()
    if (handler === undefined) throw new NoSubscriptionsError('no data handler is registered')
    const answered = (answer: Uint8Array): void => { reply.answer(answer.length === 0 ? [] : [octets('ilp', answer)]) }
    let prepare: IlpPrepare | undefined
    try {
      prepare = readIlpPrepare(packet)
    } catch {
      answered(writeIlpReject('F01', 'the packet is malformed'))
      return
    }
    if (prepare === undefined) {
      // What the handler throws is for the peer.
      askHandler(handler, packet).then(answered, reply.refuse)
    } else if (prepare.amount === '0') {
      answerOf(handler, packet, this.#options.account, answered)
    } else {
      const mark = session.peer.announced ? readTransferMark(protocolData) : undefined
      this.#incoming.handle({ packet, prepare, mark, session, currentHandler: () => this.place.handler, answered, refused: reply.refuse })
    }
  }

  /** What a peer of ours asks or tells about packets. @throws NotAcceptedError for a foreign peer; InvalidFieldsError; StoreError */
  async handleInquiry(primary: SubProtocol, session: Session): Promise<SubProtocol[]> {
    if (!session.peer.announced) throw new NotAcceptedError('only an announced peer may ask that')
    const inquiry = readInquiry(primary)
    if (inquiry.what === 'ask') return [fatesAnswer(await this.#incoming.tell(inquiry.ids, inquiry.isLast, session))]
    await this.#incoming.concede(inquiry.id)
    return []
  }
}
