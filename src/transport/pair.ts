/**
 * Connections in memory: two ends that carry frames to each other, and an acceptor for them. For tests, for simulation, and
 * for two peers in one process. Imports core.
 */
import { UnreachableError } from '../core/errors.js'
import type { Acceptor, Connection, ConnectionEvents, Dial } from '../core/transport.js'

export interface PairOptions {
  /**
   * Runs each delivery, later: by default in a microtask. A test that calls it in another order, late or never still gets the
   * frames of one direction in order, or loses all of them from a point on, as a network would.
   */
  defer?: (deliver: () => void) => void
  /** Whether the ends have `ping`. Default true; false is like a browser. */
  canPing?: boolean
  /** For the log. */
  label?: string
}

/** What travels from one end to the other. */
type Parcel = Uint8Array | 'ping' | 'pong' | 'close'

class PairEnd implements Connection {
  readonly label: string
  readonly ping?: () => void
  far: PairEnd | undefined
  ended: (() => void) | undefined
  readonly #defer: (deliver: () => void) => void
  readonly #underWay: Parcel[] = []
  #events: ConnectionEvents | undefined
  #kept: Uint8Array[] = []
  #gone: string | undefined
  #closing = false
  #buffered = 0

  constructor(options: PairOptions, label: string) {
    this.label = label
    this.#defer = options.defer ?? queueMicrotask
    if (options.canPing !== false) this.ping = () => { this.#carry('ping') }
  }

  get bufferedBytes(): number {
    return this.#buffered
  }

  open(events: ConnectionEvents): void {
    this.#events = events
    for (const frame of this.#kept.splice(0)) events.message(frame)
    if (this.#gone !== undefined) this.#raiseClose(this.#gone)
  }

  send(frame: Uint8Array): void {
    if (this.#closing) return
    this.#buffered += frame.length
    // A copy, since both sides may keep theirs.
    this.#carry(frame.slice())
  }

  close(): void {
    if (this.#closing) return
    this.#carry('close')
    this.#closing = true
  }

  terminate(): void {
    this.#closing = true
    this.#end('terminated')
    this.#underWay.length = 0
    this.#defer(() => { this.far?.dropped('connection lost') })
  }

  /** The other end, or the wire between, is gone. */
  dropped(reason: string): void {
    this.#closing = true
    this.#underWay.length = 0
    this.#end(reason)
  }

  #carry(parcel: Parcel): void {
    if (this.#closing) return
    this.#underWay.push(parcel)
    this.#defer(() => {
      const next = this.#underWay.shift()
      if (next !== undefined) this.#deliver(next)
    })
  }

  #deliver(parcel: Parcel): void {
    const far = this.far
    if (far === undefined || far.#gone !== undefined) return
    if (parcel === 'ping') far.#carry('pong')
    else if (parcel === 'pong') far.#events?.alive()
    else if (parcel === 'close') far.#closed()
    else {
      this.#buffered -= parcel.length
      if (far.#events === undefined) far.#kept.push(parcel)
      else far.#events.message(parcel)
    }
  }

  /** The far end's close arrived. What this end had sent before still reaches it, ahead of the answer to its close. */
  #closed(): void {
    if (this.#closing) {
      this.#end('closed')
      return
    }
    this.#carry('close')
    this.#closing = true
    this.#end('closed by the peer')
  }

  #end(reason: string): void {
    if (this.#gone !== undefined) return
    this.#gone = reason
    this.#buffered = 0
    this.ended?.()
    if (this.#events !== undefined) this.#raiseClose(reason)
  }

  /** Later, as sockets do: never while the caller of `close`, `terminate` or `open` is still at work. */
  #raiseClose(reason: string): void {
    queueMicrotask(() => { this.#events?.close(reason) })
  }
}

function pairedEnds(options: PairOptions): [PairEnd, PairEnd] {
  const label = options.label ?? 'memory'
  const near = new PairEnd(options, label)
  const far = new PairEnd(options, label)
  near.far = far
  far.far = near
  return [near, far]
}

/** Two connected ends in memory. What one sends, the other receives: later, in order, as a copy. */
export function connectionPair(options: PairOptions = {}): [Connection, Connection] {
  return pairedEnds(options)
}

export interface PairAcceptorOptions extends PairOptions {
  /** Default 2000. */
  authTimeoutMs?: number
  /** Default 100. */
  maxUnauthenticated?: number
}

/** An acceptor in memory: what `dial` opens arrives here, while it listens. */
export class PairAcceptor implements Acceptor {
  readonly authTimeoutMs: number
  readonly maxUnauthenticated: number
  readonly #options: PairOptions
  readonly #accepted = new Set<Connection>()
  #onConnection: ((connection: Connection) => void) | undefined

  constructor(options: PairAcceptorOptions = {}) {
    this.#options = options
    this.authTimeoutMs = options.authTimeoutMs ?? 2000
    this.maxUnauthenticated = options.maxUnauthenticated ?? 100
  }

  /** 0 while listening: there is no port in memory. */
  get port(): number | undefined {
    return this.#onConnection === undefined ? undefined : 0
  }

  listen(onConnection: (connection: Connection) => void): Promise<void> {
    this.#onConnection = onConnection
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.#onConnection = undefined
    for (const connection of [...this.#accepted]) connection.terminate()
    return Promise.resolve()
  }

  /** Opens a connection to this acceptor, whatever the URL. */
  readonly dial: Dial = (url, signal) => new Promise((resolve, reject) => {
    const refuse = (): void => { reject(new UnreachableError(`cannot reach ${url}`)) }
    signal.addEventListener('abort', refuse, { once: true })
    const arrive = (): void => {
      signal.removeEventListener('abort', refuse)
      if (signal.aborted || this.#onConnection === undefined) {
        refuse()
        return
      }
      const [near, far] = pairedEnds({ label: url, ...this.#options })
      this.#accepted.add(far)
      far.ended = () => { this.#accepted.delete(far) }
      this.#onConnection(far)
      resolve(near)
    }
    ;(this.#options.defer ?? queueMicrotask)(arrive)
  })
}
