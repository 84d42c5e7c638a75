/**
 * A link: everything that connects this side with one peer. It dials, takes what the doorkeeper lets in, and decides which session
 * carries the traffic. Imports core.
 */
import type { CancelTimer } from '../core/clock.js'
import { printableMessage } from '../core/bytes.js'
import { InvalidFieldsError, messageOf, NotAcceptedError, UnreachableError } from '../core/errors.js'
import type { Connection, ConnectionEvents, Dial } from '../core/transport.js'
import { Turns } from '../core/turns.js'
import type { Credentials } from './auth.js'
import { Dialler } from './dialler.js'
import type { Host, Recognition } from './doorkeeper.js'
import { elect } from './election.js'
import type { ResponsePacket } from './packets.js'
import { Session } from './session.js'
import type { Load, PeerFacts, RequestBody, RequestOptions, SessionOptions } from './session.js'

export type { Credentials } from './auth.js'

export interface LinkOptions extends SessionOptions {
  /** Whom to dial, and with what. Credentials are asked for at each attempt; `url` is `ws://` or `wss://`, without them. */
  readonly dial?: {
    readonly dial: Dial
    readonly url: string
    credentials(): Credentials | Promise<Credentials>
  }
  /** Whether these are our peer's credentials. Absent: accepted connections are refused. */
  authenticate?(credentials: Credentials): boolean | Promise<boolean>
  /** A session carries the traffic from now on. Strictly in turn with `onDown`. */
  onUp(session: Session): void
  /** It does no more. `reason` is for the log. */
  onDown(session: Session, reason: string): void
  /** The bounds of the wait before dialling again. */
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
}

const TAKEN_OVER = 'another connection has taken over'

/** A `connect()` that has not ended. */
interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  readonly cancelTimer: CancelTimer | undefined
}

/**
 * The connection with one peer, which is one session at any time (or none), whatever sockets come and go.
 *
 * Two sessions can be there for a moment: both sides dialled at once, or the peer lost one that still looks alive here. Then
 * `elect` decides. Until it has, both are served; the one that loses closes after its answers.
 */
export class Link implements Host {
  readonly #options: LinkOptions
  readonly #dialler: Dialler
  readonly #waiters = new Set<Waiter>()
  /** Every session whose connection is not gone yet. */
  readonly #sessions = new Set<Session>()
  /** However often the peer connects anew. */
  readonly #load: Load = { requests: 0, bytes: 0 }
  #current: Session | undefined
  /** A session that takes over if the current one does not answer the probe that is under way. */
  #candidate: Session | undefined
  /** Whether the current session has lasted, so that the next dialling begins anew; by a timer, since the wall clock may jump. */
  #hasLasted = false
  #cancelLasting: CancelTimer | undefined
  /** Whether dialling goes on for ever: after `start`, or once a `connect` has succeeded. */
  #persistent = false
  /** Why the last attempt failed, for the error of a `connect` that runs out of time. */
  #lastFailure: unknown
  #stopping: Promise<void> | undefined
  /** Client sides authenticate one after another: which of two connections is the newer must be the same on both sides. */
  readonly #authenticating = new Turns()

  constructor(options: LinkOptions) {
    this.#options = options
    this.#dialler = new Dialler({
      ...options,
      needed: () => options.dial !== undefined && this.#current === undefined && (this.#persistent || this.#waiters.size > 0),
      attempt: signal => this.#attempt(signal)
    })
  }

  /** The session that carries the traffic. */
  get session(): Session | undefined {
    return this.#current
  }

  /**
   * Resolves when there is a session: dials, again and again with growing waits, until authenticated. Afterwards a session that is
   * lost is replaced without being asked, until `stop`. Calls share one attempt (H45). A failed `connect` leaves nothing running
   * and can be repeated (H30).
   *
   * @param timeoutMs `Infinity` waits for ever
   * @throws NotAcceptedError at once when the credentials are refused, InvalidFieldsError when there are none; UnreachableError at
   * the time-out, with the last failure as its cause
   */
  async connect(timeoutMs: number): Promise<void> {
    // Without a wait where there is nothing to wait for: a stop in between would miss this one.
    if (this.#stopping !== undefined) await this.#stopping
    if (this.#current !== undefined) return
    await new Promise<void>((resolve, reject) => {
      const timeOut = (): void => {
        this.#waiters.delete(waiter)
        const why = this.#lastFailure === undefined ? '' : `: ${messageOf(this.#lastFailure)}`
        reject(new UnreachableError(`no connection within ${timeoutMs} ms${why}`, { cause: this.#lastFailure }))
        if (this.#waiters.size === 0 && !this.#persistent) this.#dialler.halt()
      }
      const cancelTimer = timeoutMs === Infinity
        ? undefined
        : this.#options.clock.setTimer(timeoutMs, timeOut, { keepsProcessAlive: true })
      const waiter: Waiter = { resolve, reject, cancelTimer }
      this.#waiters.add(waiter)
      this.#lastFailure = undefined
      this.#dialler.begin()
    })
  }

  /** Dials in the background, for ever. Credentials that are refused are logged, and tried again at the slowest pace. */
  start(): void {
    if (this.#stopping !== undefined) {
      void this.#stopping.then(() => { this.start() })
      return
    }
    this.#persistent = true
    this.#dialler.begin()
  }

  /**
   * Stops dialling and ends all sessions: requests of ours fail at once, those of the peer are answered first, for at most
   * `answerTimeoutMs`. Resolves when all connections are gone; `connect` and `start` work again afterwards.
   */
  stop(): Promise<void> {
    if (this.#stopping !== undefined) return this.#stopping
    const reason = 'disconnected'
    const stopping = Promise.resolve()
      .then(() => Promise.all([...this.#sessions].map(session => session.shutDown(reason))))
      .then(() => { this.#stopping = undefined })
    // First of all, so that nothing that the lines below set off brings a new session up.
    this.#stopping = stopping
    this.#persistent = false
    this.#failWaiters(new UnreachableError(`${reason} while connecting`))
    this.#dialler.halt()
    this.#candidate = undefined
    this.#down(reason)
    return stopping
  }

  /**
   * Sends a request on the session that carries the traffic.
   * @throws UnreachableError when there is none; otherwise as `Session.request`
   */
  request(body: RequestBody, options?: RequestOptions): Promise<ResponsePacket> {
    if (this.#current === undefined) return Promise.reject(new UnreachableError('not connected to the peer'))
    return this.#current.request(body, options)
  }

  /**
   * Authenticates as the client on a connection that somebody else opened; then it is a session like a dialled one.
   * @throws NotAcceptedError when the credentials are refused, UnreachableError when there is no answer
   */
  async addClientSocket(connection: Connection, credentials: Credentials): Promise<void> {
    await this.#stopping
    await this.#authenticate(connection, credentials)
  }

  /** Host: whether a connection with these credentials is our peer's. */
  async recognises(credentials: Credentials, peer: PeerFacts): Promise<Recognition> {
    const options = this.#options
    if (await options.authenticate?.(credentials) !== true) return 'stranger'
    return peer.ledgerId === options.ledgerId ? 'ourselves' : 'peer'
  }

  /** Host: takes a connection that `recognises` has confirmed, and answers its auth Message. */
  accept(connection: Connection, requestId: number, peer: PeerFacts): ConnectionEvents {
    if (this.#stopping !== undefined) throw new UnreachableError('this side is disconnecting')
    const session = this.#newSession(connection, false)
    session.accept(requestId, peer)
    this.#join(session)
    return session
  }

  #newSession(connection: Connection, dialled: boolean): Session {
    const session = new Session(connection, dialled, this.#options, (closed, reason) => { this.#closed(closed, reason) }, this.#load)
    this.#sessions.add(session)
    return session
  }

  /** One attempt to dial. Never rejects: what went wrong is kept, logged, and told to those who wait where no retry mends it. */
  async #attempt(signal: AbortSignal): Promise<'again' | 'rarely'> {
    try {
      await this.#dial(signal)
      return 'again'
    } catch (error) {
      this.#lastFailure = error
      const failure = `no connection: ${printableMessage(error)}`
      if (!isFinal(error)) {
        this.#options.log.debug(failure)
        return 'again'
      }
      this.#options.log.warn(failure)
      this.#failWaiters(error)
      return 'rarely'
    }
  }

  async #dial(signal: AbortSignal): Promise<void> {
    const { dial } = this.#options
    if (dial === undefined) return
    const credentials = await askCredentials(() => dial.credentials(), signal)
    const connection = await dial.dial(dial.url, signal)
    await this.#authenticate(connection, credentials, signal)
  }

  #authenticate(connection: Connection, credentials: Credentials, signal?: AbortSignal): Promise<void> {
    return this.#authenticating.take(async () => {
      // A side that has a session does not dial: the peer came first, and nothing was said on this connection yet.
      if (signal !== undefined && (signal.aborted || this.#current !== undefined)) {
        connection.terminate()
        return
      }
      const session = this.#newSession(connection, true)
      const abort = (): void => { session.terminate('given up') }
      signal?.addEventListener('abort', abort, { once: true })
      try {
        await session.authenticate(credentials, () => { this.#join(session) })
      } finally {
        signal?.removeEventListener('abort', abort)
      }
    })
  }

  /** A session has been authenticated, by either side. */
  #join(newer: Session): void {
    const older = this.#current
    if (older === undefined) {
      this.#up(newer)
      return
    }
    const verdict = elect(contender(older), contender(newer), this.#options.ledgerId)
    this.#options.log.debug(`two connections, ${older.label} and ${newer.label}: ${verdict} stays`)
    // Whatever waited for the older one's failure loses: to the winner, or to a newer one from its own side.
    this.#candidate?.leave()
    this.#candidate = undefined
    if (verdict === 'newer') this.#takeOver(older, newer)
    else void this.#probe(older, newer)
  }

  #takeOver(older: Session, newer: Session): void {
    this.#down(TAKEN_OVER)
    older.leave()
    this.#up(newer)
  }

  async #probe(older: Session, newer: Session): Promise<void> {
    this.#candidate = newer
    const alive = await older.probe()
    // Meanwhile the older one may be gone, or a third one may be there: then this has been decided.
    if (this.#current !== older || this.#candidate !== newer) return
    if (alive) {
      this.#candidate = undefined
      newer.leave()
    } else {
      older.terminate('no sign of life')
    }
  }

  #closed(session: Session, reason: string): void {
    this.#sessions.delete(session)
    if (session === this.#candidate) this.#candidate = undefined
    if (session !== this.#current) return
    this.#down(reason)
    const candidate = this.#candidate
    this.#candidate = undefined
    if (candidate !== undefined) this.#up(candidate)
    else this.#dialler.beginLater(this.#hasLasted)
  }

  #up(session: Session): void {
    if (this.#stopping !== undefined) return
    this.#current = session
    const { ledgerId } = session.peer
    for (const other of this.#sessions) {
      // What may arrive there yet is from books that are gone.
      if (ledgerId !== undefined && ![ledgerId, undefined].includes(other.peer.ledgerId)) other.terminate(TAKEN_OVER)
    }
    this.#hasLasted = false
    this.#cancelLasting = this.#options.clock.setTimer(this.#options.reconnectMaxMs, () => { this.#hasLasted = true })
    if (this.#waiters.size > 0) this.#persistent = true
    this.#dialler.rest()
    this.#options.log.debug(`connected: ${session.label}`)
    this.#tell(() => { this.#options.onUp(session) })
    for (const { resolve, cancelTimer } of this.#waiters) {
      cancelTimer?.()
      resolve()
    }
    this.#waiters.clear()
  }

  #down(reason: string): void {
    const session = this.#current
    if (session === undefined) return
    this.#current = undefined
    this.#cancelLasting?.()
    this.#options.log.debug(`disconnected: ${session.label}: ${reason}`)
    this.#tell(() => { this.#options.onDown(session, reason) })
  }

  /** What a listener throws must not end up in the socket whose packet has set it off. */
  #tell(action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#options.log.error(`a listener failed: ${printableMessage(error)}`)
    }
  }

  #failWaiters(error: Error): void {
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const { reject, cancelTimer } of waiters) {
      cancelTimer?.()
      reject(error)
    }
  }
}

function contender(session: Session): Parameters<typeof elect>[0] {
  return { dialled: session.dialled, peerLedgerId: session.peer.ledgerId }
}

/**
 * What the host's credentials function gives, unless the signal aborts first.
 * @throws InvalidFieldsError and NotAcceptedError as the function threw them; UnreachableError for all else: it may work next time
 */
function askCredentials(ask: () => Credentials | Promise<Credentials>, signal: AbortSignal): Promise<Credentials> {
  return new Promise((resolve, reject) => {
    const failed = (cause: unknown): void => {
      // What else went wrong is the cause's to say: its text may hold the very secret.
      reject(isFinal(cause) ? cause : new UnreachableError('the credentials cannot be had now', { cause }))
    }
    signal.addEventListener('abort', () => { failed(undefined) }, { once: true })
    Promise.resolve().then(ask).then(resolve, failed)
  })
}

/** Whether trying again is of no use until the user has changed something. */
function isFinal(error: unknown): error is NotAcceptedError | InvalidFieldsError {
  return error instanceof NotAcceptedError || error instanceof InvalidFieldsError
}
