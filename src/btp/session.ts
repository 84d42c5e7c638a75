/**
 * A session: one authenticated connection, requests and answers in both directions, and the watch over its life. Imports core.
 *
 * It owns its requests: an answer counts only on the connection that carried the request (H27), and what is still unanswered
 * fails at once when the connection goes (H26). Which of several sessions carries traffic is the link's business.
 */
import { printable, printableMessage } from '../core/bytes.js'
import type { CancelTimer, Clock } from '../core/clock.js'
import {
  errorFromPeer, InvalidFieldsError, isTemporary, isUnknown, messageOf, NotAcceptedError, PacketError, PaychanError, UnreachableError
} from '../core/errors.js'
import type { Logger } from '../core/log.js'
import { passingMap } from '../core/passing-map.js'
import type { Random } from '../core/random.js'
import { randomUint32 } from '../core/random.js'
import { Timers } from '../core/timers.js'
import type { Connection, ConnectionEvents } from '../core/transport.js'
import { announcement, authRequest, isProbe, probeRequest, readAnnouncement } from './auth.js'
import type { Credentials, PeerFacts } from './auth.js'
import { decodePacket, encodePacket } from './packets.js'
import type { AnswerPacket, ErrorPacket, Packet, RequestPacket, ResponsePacket, SubProtocol } from './packets.js'
import { decodeErrorData, encodeErrorData, hasDuplicateNames } from './protocol-data.js'

export type { PeerFacts } from './auth.js'

type WithoutId<P> = P extends RequestPacket ? Omit<P, 'requestId'> : never

/** A request before it has its id. */
export type RequestBody = WithoutId<RequestPacket>

export interface RequestOptions {
  /** How long to wait for the answer. Default: the session's `answerTimeoutMs`; `Infinity` waits as long as the connection lives. */
  timeoutMs?: number
}

/** Takes the answer to one request of the peer, once. */
export interface Reply {
  /** The Response. */
  readonly answer: (protocolData: SubProtocol[]) => void
  /** An Error, or silence. */
  readonly refuse: (error: unknown) => void
}

export interface SessionOptions {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Our ledger's random id, 32 hex characters. */
  readonly ledgerId: string
  /** Whether our ledger is gone with this process, as that of a client without a store. Default false. */
  readonly keepsNoBooks?: boolean
  /**
   * Answers a request of the peer: what it resolves with is the Response, what it rejects with becomes an Error. An error with
   * `outcome: 'unknown'` is met with silence: the peer would take an Error for a decision. `undefined`, now or later, leaves that to
   * `reply`: what is asked most needs no promise.
   */
  handleRequest(packet: RequestPacket, session: Session, reply: Reply): Promise<SubProtocol[] | undefined> | undefined
  /** Sees each packet of the session when it was read, or just before it is sent; not those by which the session began. */
  observe?(direction: 'in' | 'out', packet: Packet): void
  /** How long an answer is waited for, and a session that ends waits for its last answers. */
  readonly answerTimeoutMs: number
  /** After how long a silence the peer is probed. `Infinity` never probes. */
  readonly heartbeatMs: number
  /** How long a probe may stay unanswered. */
  readonly heartbeatTimeoutMs: number
  /** The most requests of the peer that are handled at a time; over it they are refused for now. */
  readonly maxRequests: number
  /** What may wait to be sent, in bytes. A peer that asks and asks, and never reads the answers, is let go. */
  readonly maxBufferedBytes: number
  /** The largest frame that is sent, in bytes. Default 65536: what peers take. A larger one would cost the connection. */
  readonly maxFrameBytes?: number
}

/** What is being handled of what a peer has asked, on all its sessions. */
export interface Load {
  requests: number
  bytes: number
}

/** What a session may do in each state, whether its packets are shown to who observes, and which states may follow. */
const STATES = {
  /** Dialled; the auth Message waits for its answer, and nothing else counts. */
  authenticating: { asks: false, serves: false, shows: false, next: ['open', 'closing', 'closed'] },
  open: { asks: true, serves: true, shows: true, next: ['leaving', 'draining', 'closed'] },
  /** Another session has taken over. The peer may not know yet, so what it still asks here is served. */
  leaving: { asks: false, serves: true, shows: true, next: ['draining', 'closing', 'closed'] },
  /** Answers only what was asked before; closes when nothing is owed or awaited. */
  draining: { asks: false, serves: false, shows: true, next: ['closing', 'closed'] },
  /** The transport says goodbye. */
  closing: { asks: false, serves: false, shows: false, next: ['closed'] },
  closed: { asks: false, serves: false, shows: false, next: [] }
} as const satisfies Record<string, { asks: boolean; serves: boolean; shows: boolean; next: readonly string[] }>

type State = keyof typeof STATES

/** How long a session that lost to another still serves: long enough for the peer to have learnt of it. */
const LEAVING_MS = 500
/** How long the transport may take to close politely. */
const CLOSING_MS = 1000
/** How large all requests may be together that are being handled: many of the largest frames would fill the memory behind a slow handler. */
const MOST_BYTES_AT_ONCE = 32 * 1024 * 1024
const DEFAULT_MAX_FRAME_BYTES = 65_536

interface Pending {
  /** How long the answer is waited for. */
  readonly timeoutMs: number
  readonly answered: (packet: AnswerPacket) => void
  readonly failed: (error: PaychanError) => void
}

export class Session implements ConnectionEvents {
  /** Whether we dialled. */
  readonly dialled: boolean
  /** Where the connection goes, for the log. */
  readonly label: string
  readonly #connection: Connection
  readonly #options: SessionOptions
  readonly #onClosed: (session: Session, reason: string) => void
  readonly #pending = passingMap<number, Pending>()
  /** How long each of them waits for its answer. */
  readonly #timeOuts: Timers<number>
  readonly #closedWaiters: Array<() => void> = []
  /** Those who wait for a sign of life. */
  #watchers: Array<(alive: boolean) => void> = []
  #state: State = 'authenticating'
  #peer: PeerFacts = { announced: false, ledgerId: undefined }
  /** Requests of the peer on this session that have not been answered. */
  #owed = 0
  readonly #load: Load
  #lastHeard: number
  #answersProbes = false
  /** Whether a request was not answered in time, and nothing was heard since. */
  #isOverdue = false
  /** Of our next request. The first is random, so that no answer to an earlier session's fits. */
  #nextId: number
  #cancelHeartbeat: CancelTimer | undefined
  #cancelEnd: CancelTimer | undefined

  constructor(
    connection: Connection,
    dialled: boolean,
    options: SessionOptions,
    onClosed: (session: Session, reason: string) => void,
    load: Load = { requests: 0, bytes: 0 }
  ) {
    this.#connection = connection
    this.#load = load
    this.dialled = dialled
    this.label = printable(connection.label)
    this.#options = options
    this.#onClosed = onClosed
    this.#timeOuts = new Timers(options.clock, requestId => { this.#timedOut(requestId) })
    this.#lastHeard = options.clock.now()
    this.#nextId = randomUint32(options.random)
  }

  /** What the peer said of itself when the session began. */
  get peer(): PeerFacts {
    return this.#peer
  }

  /** When the peer gave its last sign of life. */
  get lastHeard(): number {
    return this.#lastHeard
  }

  /** Whether the connection is gone. */
  get closed(): boolean {
    return this.#state === 'closed'
  }

  /**
   * Authenticates on a connection that we dialled. `onOpen` is called the moment the peer's Response is read, before any packet
   * behind it.
   * @throws NotAcceptedError when the peer refuses, or is ourselves; UnreachableError when it does not answer (C15)
   */
  authenticate(credentials: Credentials, onOpen: () => void): Promise<void> {
    this.#connection.open(this)
    return new Promise<void>((resolve, reject) => {
      const failed = (error: PaychanError): void => {
        reject(error)
        this.#hangUp()
      }
      const answered = (packet: AnswerPacket): void => {
        const peer = readAuthAnswer(packet, this.#options.ledgerId)
        if (peer instanceof PaychanError) {
          failed(peer)
          return
        }
        this.#opened(peer)
        onOpen()
        resolve()
      }
      const { ledgerId, keepsNoBooks } = this.#options
      this.#ask(authRequest(credentials, ledgerId, keepsNoBooks), this.#options.answerTimeoutMs, answered, failed)
    })
  }

  /** Begins on a connection that the peer dialled and authenticated by the request of that id, and answers it. */
  accept(requestId: number, peer: PeerFacts): void {
    this.#opened(peer)
    const protocolData = peer.announced ? [announcement(this.#options.ledgerId, this.#options.keepsNoBooks)] : []
    this.#transmit(encodePacket({ type: 'response', requestId, protocolData }))
  }

  /**
   * Sends a request and resolves with the peer's Response.
   * @throws UnreachableError when there is no answer in time, or the connection goes; the error that the peer answered with, by
   * its name; InvalidFieldsError when the request cannot be written, is too large, or the Response has a name twice
   */
  request(body: RequestBody, options?: RequestOptions): Promise<ResponsePacket> {
    return new Promise((resolve, reject) => { this.ask(body, resolve, reject, options) })
  }

  /**
   * As `request`, for who needs no promise: calls one of the two, once. Either may be called before this returns, or in the middle of
   * reading what has arrived, and must not throw.
   */
  ask(body: RequestBody, answered: (response: ResponsePacket) => void, failed: (error: PaychanError) => void, options?: RequestOptions): void {
    if (!STATES[this.#state].asks) {
      failed(new UnreachableError(`the session with ${this.label} has ended`))
      return
    }
    this.#ask(body, options?.timeoutMs ?? this.#options.answerTimeoutMs, packet => {
      if (packet.type === 'error') failed(readError(packet))
      else if (hasDuplicateNames(packet.protocolData)) failed(new InvalidFieldsError('sub-protocol names must be unique'))
      else answered(packet)
    }, failed)
  }

  /** Whether the peer gives a sign of life within `heartbeatTimeoutMs`. Asks for one, by ping where the transport can. */
  probe(): Promise<boolean> {
    if (!STATES[this.#state].asks) return Promise.resolve(false)
    return new Promise(resolve => {
      const cancelTimer = this.#options.clock.setTimer(this.#options.heartbeatTimeoutMs, () => { heard(false) })
      const heard = (alive: boolean): void => {
        cancelTimer()
        this.#watchers = this.#watchers.filter(watcher => watcher !== heard)
        resolve(alive)
      }
      this.#watchers.push(heard)
      if (this.#connection.ping !== undefined) {
        this.#connection.ping()
        return
      }
      const answered = (): void => { this.#answersProbes = true }
      // Unanswered is told by the watcher's timer.
      this.#ask(probeRequest(this.#peer), this.#options.heartbeatTimeoutMs, answered, unheard)
    })
  }

  /** Another session has taken over: serves on for a moment, waits for the last answers on both sides, then closes. */
  leave(): void {
    if (this.#state !== 'open') return
    this.#move('leaving')
    this.#end(Math.max(LEAVING_MS, this.#options.answerTimeoutMs))
    this.#cancelHeartbeat = this.#options.clock.setTimer(LEAVING_MS, () => {
      this.#move('draining')
      this.#closeWhenDone()
    })
  }

  /** Ends it: what we asked fails at once, what we were asked is answered first. Resolves when the connection is gone. */
  shutDown(reason: string): Promise<void> {
    if (this.#state === 'closed') return Promise.resolve()
    const gone = new Promise<void>(resolve => { this.#closedWaiters.push(resolve) })
    if (this.#state === 'authenticating') {
      this.terminate(reason)
      return gone
    }
    if (this.#state === 'open' || this.#state === 'leaving') {
      this.#move('draining')
      this.#end(this.#options.answerTimeoutMs)
    }
    this.#failPending(reason)
    this.#closeWhenDone()
    return gone
  }

  /** Drops the connection at once. */
  terminate(reason: string): void {
    if (this.#state === 'closed') return
    this.#connection.terminate()
    this.close(reason)
  }

  /** ConnectionEvents: a frame arrived. */
  message(frame: Uint8Array): void {
    if (this.#state === 'closed') return
    this.alive()
    let packet: Packet
    try {
      packet = decodePacket(frame)
    } catch (error) {
      // Silence for what is no packet (C22); where only a value of a request is wrong, the peer is told.
      if (error instanceof PacketError && error.requestId !== undefined && STATES[this.#state].serves) {
        this.#refuse(error.requestId, new InvalidFieldsError(error.message))
      } else {
        this.#options.log.debug(`unreadable packet from ${this.label}`)
      }
      return
    }
    this.#observe('in', packet)
    if (packet.type === 'response' || packet.type === 'error') this.#take(packet)
    else if (STATES[this.#state].serves) this.#receive(packet, frame.length)
  }

  /** ConnectionEvents: a sign of life. */
  alive(): void {
    this.#lastHeard = this.#options.clock.now()
    this.#isOverdue = false
    if (this.#watchers.length > 0) for (const heard of this.#watchers) heard(true)
  }

  /** ConnectionEvents: the connection is gone. */
  close(reason: string): void {
    if (this.#state === 'closed') return
    this.#move('closed')
    this.#cancelHeartbeat?.()
    this.#cancelEnd?.()
    for (const heard of this.#watchers) heard(false)
    this.#failPending(reason)
    for (const resolve of this.#closedWaiters) resolve()
    this.#onClosed(this, printable(reason))
  }

  #opened(peer: PeerFacts): void {
    this.#peer = peer
    this.#move('open')
    this.#armHeartbeat(this.#options.heartbeatMs)
  }

  #move(to: State): void {
    const next: readonly State[] = STATES[this.#state].next
    if (!next.includes(to)) throw new NotAcceptedError(`a session cannot go from ${this.#state} to ${to}`)
    this.#state = to
  }

  /** Whatever happens, in that time the connection begins to close. */
  #end(withinMs: number): void {
    this.#cancelHeartbeat?.()
    this.#cancelEnd?.()
    this.#cancelEnd = this.#options.clock.setTimer(withinMs, () => { this.#hangUp() })
  }

  #closeWhenDone(): void {
    if (this.#state === 'draining' && this.#owed === 0 && this.#pending.size === 0) this.#hangUp()
  }

  #hangUp(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    if (this.#state === 'open') this.#move('draining')
    this.#move('closing')
    this.#cancelHeartbeat?.()
    this.#cancelEnd?.()
    this.#failPending('the session has ended')
    this.#connection.close()
    this.#cancelEnd = this.#options.clock.setTimer(CLOSING_MS, () => { this.terminate('closed') })
  }

  #failPending(reason: string): void {
    if (this.#pending.size === 0) return
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    const error = new UnreachableError(`the connection to ${this.label} is gone: ${printable(reason)}`)
    this.#timeOuts.cancelAll()
    for (const { failed } of pending) failed(error)
  }

  /** Sends a request. What awaits its answer is in place before it is sent (H27). */
  #ask(
    body: RequestBody,
    timeoutMs: number,
    answered: (packet: AnswerPacket) => void,
    failed: (error: PaychanError) => void
  ): void {
    while (this.#pending.has(this.#nextId)) this.#nextId = (this.#nextId + 1) >>> 0
    const requestId = this.#nextId
    this.#nextId = (requestId + 1) >>> 0
    const packet: Packet = { ...body, requestId }
    let frame: Uint8Array
    try {
      frame = this.#encode(packet)
    } catch (error) {
      failed(error instanceof PaychanError ? error : new InvalidFieldsError(messageOf(error), { cause: error }))
      return
    }
    if (timeoutMs !== Infinity) this.#timeOuts.set(requestId, timeoutMs)
    this.#pending.set(requestId, { timeoutMs, answered, failed })
    this.#trace('to', body.type, requestId)
    this.#send(packet, frame)
  }

  #timedOut(requestId: number): void {
    const pending = this.#pending.get(requestId)
    if (pending === undefined) return
    this.#pending.delete(requestId)
    if (pending.failed !== unheard) this.#isOverdue = true
    pending.failed(new UnreachableError(`no answer from ${this.label} within ${pending.timeoutMs} ms`))
    this.#closeWhenDone()
  }

  #take(packet: AnswerPacket): void {
    const pending = this.#pending.get(packet.requestId)
    // An answer that nobody waits for: silence (C21).
    if (pending === undefined) return
    this.#pending.delete(packet.requestId)
    this.#timeOuts.cancel(packet.requestId)
    this.#trace('from', packet.type, packet.requestId)
    pending.answered(packet)
    this.#closeWhenDone()
  }

  #receive(packet: RequestPacket, bytes: number): void {
    const { requestId } = packet
    this.#trace('from', packet.type, requestId)
    if (hasDuplicateNames(packet.protocolData)) this.#refuse(requestId, new InvalidFieldsError('sub-protocol names must be unique'))
    else if (isProbe(packet)) this.#respond(requestId, [])
    else if (this.#load.requests < this.#options.maxRequests && this.#load.bytes < MOST_BYTES_AT_ONCE) this.#serve(packet, bytes)
    else this.#refuse(requestId, new UnreachableError('too many requests at once'))
  }

  /** Each request is served by itself: a slow one holds up no other (H35). */
  #serve(packet: RequestPacket, bytes: number): void {
    const { requestId } = packet
    this.#owed++
    this.#load.requests++
    this.#load.bytes += bytes
    const reply: Reply = {
      answer: protocolData => {
        try {
          this.#respond(requestId, protocolData)
          this.#trace('to', 'response', requestId)
        } catch (error) {
          this.#refuse(requestId, error)
        }
        this.#served(bytes)
      },
      refuse: error => {
        if (isUnknown(error)) this.#options.log.warn(`a request stays unanswered: ${messageOf(error)}`)
        else this.#refuse(requestId, error)
        this.#served(bytes)
      }
    }
    try {
      this.#options.handleRequest(packet, this, reply)?.then(protocolData => { if (protocolData !== undefined) reply.answer(protocolData) }, reply.refuse)
    } catch (error) {
      reply.refuse(error)
    }
  }

  #served(bytes: number): void {
    this.#owed--
    this.#load.requests--
    this.#load.bytes -= bytes
    this.#closeWhenDone()
  }

  /** Answers with an Error: one of ours by its name and code, anything else as NotAcceptedError. Never throws. */
  #refuse(requestId: number, thrown: unknown): void {
    const message = printableMessage(thrown, 1000)
    const ours = thrown instanceof PaychanError
    if (ours) this.#trace('to', thrown.name, requestId)
    else this.#options.log.warn(`a request from ${this.label} failed: ${message}`)
    const { name, code } = ours ? thrown : new NotAcceptedError(message)
    const packet = errorPacket(requestId, { name, code, message }, this.#options.clock)
    this.#send(packet, encodePacket(packet))
  }

  #encode(packet: Packet): Uint8Array {
    const frame = encodePacket(packet)
    const limit = this.#options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES
    if (frame.length > limit) throw new InvalidFieldsError(`the ${packet.type} must be at most ${limit} bytes`)
    return frame
  }

  #respond(requestId: number, protocolData: SubProtocol[]): void {
    const packet: Packet = { type: 'response', requestId, protocolData }
    this.#send(packet, this.#encode(packet))
  }

  #send(packet: Packet, frame: Uint8Array): void {
    this.#observe('out', packet)
    this.#transmit(frame)
  }

  #observe(direction: 'in' | 'out', packet: Packet): void {
    if (STATES[this.#state].shows) this.#options.observe?.(direction, packet)
  }

  #transmit(frame: Uint8Array): void {
    this.#connection.send(frame)
    if (this.#connection.bufferedBytes > this.#options.maxBufferedBytes) this.terminate('the peer does not read')
  }

  #armHeartbeat(delayMs: number): void {
    if (delayMs === Infinity) return
    this.#cancelHeartbeat = this.#options.clock.setTimer(delayMs, () => { void this.#beat() })
  }

  /** One timer for the whole session, not one reset by each frame: when it fires, it looks how long the silence has been. */
  async #beat(): Promise<void> {
    const { clock, heartbeatMs } = this.#options
    const silentMs = clock.now() - this.#lastHeard
    // Negative when the clock was put back: then nothing is known, and the peer is asked.
    if (silentMs >= 0 && silentMs < heartbeatMs) {
      this.#armHeartbeat(heartbeatMs - silentMs)
      return
    }
    const heard = await this.probe()
    if (this.#state !== 'open') return
    // A ping is answered by the peer's transport, a probe by any peer of ours. A foreign one that never answered a Message of that kind
    // may be one that does not, so its silence proves nothing, unless it owes another answer too.
    const judged = this.#connection.ping !== undefined || this.#peer.announced || this.#answersProbes || this.#isOverdue
    if (heard || !judged) this.#armHeartbeat(heartbeatMs)
    else this.terminate('no sign of life')
  }

  #trace(direction: 'from' | 'to', what: string, requestId: number): void {
    const { log } = this.#options
    if (log.enabled !== false) log.trace(`${what} ${requestId} ${direction} ${this.label}`)
  }
}

/** How a probe fails: its watcher tells. */
const unheard = (): void => undefined

/** The Error that answers a request. */
export function errorPacket(requestId: number, error: Pick<PaychanError, 'name' | 'code' | 'message'>, clock: Clock): ErrorPacket {
  const { name, code, message } = error
  const triggeredAt = new Date(clock.now())
  return { type: 'error', requestId, code, name, triggeredAt, data: encodeErrorData(printable(message, 1000)), protocolData: [] }
}

/** The error that the peer answered with. Its text is a stranger's (H32). */
function readError(packet: ErrorPacket): PaychanError {
  const { name, code, data } = packet
  return errorFromPeer({ name: printable(name), code: printable(code), message: printable(decodeErrorData(data), 1000) })
}

/** Reads the answer to our auth Message: what it tells of the peer, or why there is no session. */
function readAuthAnswer(packet: AnswerPacket, ledgerId: string): PeerFacts | PaychanError {
  if (packet.type === 'error') {
    const cause = readError(packet)
    if (isTemporary(cause)) return new UnreachableError(`the peer cannot take the credentials now: ${cause.message}`, { cause })
    return new NotAcceptedError(`the peer refused the credentials: ${cause.message}`, { cause })
  }
  const peer = readAnnouncement(packet.protocolData)
  return peer.ledgerId === ledgerId ? new NotAcceptedError('this connection leads back to where it comes from') : peer
}
