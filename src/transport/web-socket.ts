/**
 * Connections over web sockets, in browsers, workers and Node: dialled, or handed in by a host. Imports core.
 *
 * The socket types are structural: any object that behaves like a browser's WebSocket or like one of the `ws` package will do, so
 * neither DOM nor Node types are needed to use this.
 */
import WebSocket from 'isomorphic-ws'
import { InvalidFieldsError, messageOf, UnreachableError } from '../core/errors.js'
import type { Connection, ConnectionEvents, Dial } from '../core/transport.js'

/**
 * What a socket must have: `send`, and one of the two ways to listen. The rest is used where it is there. The parameters are left
 * open, so that the types of browsers, of `ws` and of hosts' own stand-ins all fit.
 */
export interface WebSocketLike {
  send(...data: never[]): unknown
  close?(code?: number): unknown
  terminate?(): unknown
  ping?(): unknown
  pause?(): unknown
  resume?(): unknown
  /** 0 connecting, 1 open, 2 closing, 3 closed; a socket without it is taken for open. */
  readonly readyState?: number
  readonly bufferedAmount?: number
  binaryType?: string
  /** Node style: `message` (data, isBinary), `close` (code), `error` (error), `open`, `pong`. */
  on?(...eventAndListener: never[]): unknown
  /** Browser style: `message` (with `data`), `close` (with `code`), `error`, `open`. */
  addEventListener?(...eventAndListener: never[]): unknown
}

/** How a socket is used whose style is known. */
interface NodeSocket {
  send(data: Uint8Array, options: object, done: () => void): unknown
  on(event: string, listener: (...args: never[]) => void): unknown
}

interface BrowserSocket {
  binaryType?: string
  send(data: Uint8Array): unknown
  addEventListener(event: string, listener: (event: never) => void): unknown
}

/** What is told of the traffic of a socket, to slow it down or to speed it up. */
export interface Pacing {
  /** A frame of so many bytes is about to be sent. */
  sending(bytes: number): void
  /** A frame has arrived. */
  received(): void
}

const CONNECTING = 0
const CLOSED = 3

const BINARY = { binary: true }
const ignore = (): void => undefined

/** What happens on a socket, the same for both styles. */
interface SocketEvents {
  open(): void
  message(data: unknown, isText: boolean): void
  close(reason: string): void
  error(reason: string): void
  pong(): void
}

class WebSocketConnection implements Connection {
  readonly label: string
  readonly ping?: () => void
  readonly #socket: WebSocketLike
  /** Sends in the socket's own style. */
  readonly #write: (frame: Uint8Array) => unknown
  #events: ConnectionEvents | undefined
  /** Frames that arrived before `open`. */
  #kept: Uint8Array[] = []
  /** Frames that were sent before the socket was open. */
  #unsent: Uint8Array[] | undefined
  #closing = false
  #gone: string | undefined
  #lastError = ''
  #pacing: Pacing | undefined

  constructor(socket: WebSocketLike, label: string) {
    this.label = label
    this.#socket = socket
    this.#write = writerOf(socket)
    if (socket.readyState === CONNECTING) this.#unsent = []
    if (typeof socket.ping === 'function' && isNodeStyle(socket)) this.ping = () => { attempt(() => socket.ping?.()) }
    attend(socket, {
      open: () => { this.#opened() },
      message: (data, isText) => { this.#received(data, isText) },
      close: reason => { this.#ended(this.#lastError === '' ? reason : `${reason}: ${this.#lastError}`) },
      // Always followed by a close.
      error: reason => { this.#lastError = reason },
      pong: () => { if (this.#gone === undefined) this.#events?.alive() }
    })
    if (socket.readyState === CLOSED) this.#ended('it was closed before')
  }

  get bufferedBytes(): number {
    const bytes = this.#socket.bufferedAmount ?? 0
    return this.#unsent === undefined ? bytes : this.#unsent.reduce((sum, frame) => sum + frame.length, bytes)
  }

  paceBy(pacing: Pacing): void {
    this.#pacing = pacing
  }

  open(events: ConnectionEvents): void {
    this.#events = events
    for (const frame of this.#kept.splice(0)) events.message(frame)
    if (this.#gone !== undefined) this.#raiseClose(this.#gone)
  }

  send(frame: Uint8Array): void {
    if (this.#closing || this.#gone !== undefined) return
    if (this.#unsent !== undefined) {
      this.#unsent.push(frame)
      return
    }
    this.#pacing?.sending(frame.length)
    attempt(() => this.#write(frame))
  }

  close(): void {
    if (this.#closing || this.#gone !== undefined) return
    this.#closing = true
    if (this.#unsent === undefined || this.#unsent.length === 0) this.#closeSocket()
  }

  terminate(): void {
    if (this.#gone !== undefined) return
    this.#closing = true
    if (typeof this.#socket.terminate === 'function') attempt(() => this.#socket.terminate?.())
    // A browser has no other way, and may take minutes for it when the network is gone: nobody waits for that here.
    else attempt(() => this.#socket.close?.(1000))
    this.#ended('terminated')
  }

  #closeSocket(): void {
    if (typeof this.#socket.close === 'function') attempt(() => this.#socket.close?.(1000))
    else this.#ended('closed')
  }

  #opened(): void {
    const unsent = this.#unsent ?? []
    this.#unsent = undefined
    for (const frame of unsent) attempt(() => this.#write(frame))
    if (this.#closing) this.#closeSocket()
  }

  #received(data: unknown, isText: boolean): void {
    // BTP is binary: to a text frame there is silence.
    const frame = isText ? undefined : toBytes(data)
    if (frame === undefined || this.#gone !== undefined) return
    this.#pacing?.received()
    if (this.#events === undefined) this.#kept.push(frame)
    else this.#events.message(frame)
  }

  #ended(reason: string): void {
    if (this.#gone !== undefined) return
    this.#gone = reason
    this.#unsent = undefined
    if (this.#events !== undefined) this.#raiseClose(reason)
  }

  /** Never while a caller of ours is still at work. */
  #raiseClose(reason: string): void {
    queueMicrotask(() => { this.#events?.close(reason) })
  }
}

/**
 * Takes a socket that somebody else opened: a browser's, one of `ws`, or anything that behaves like one of them (the old package asked
 * for `send(data, options, callback)` and `on('message')` only). It may be open or still opening. Set up at once: no frame is lost.
 *
 * @param label where it goes, for the log
 * @throws InvalidFieldsError when it has neither `on` nor `addEventListener`, or no `send`
 */
export function adoptWebSocket(socket: WebSocketLike, label = 'a given socket', pacing?: Pacing): Connection {
  checkSocket(socket)
  const connection = new WebSocketConnection(socket, label)
  if (pacing !== undefined) connection.paceBy(pacing)
  return connection
}

/** Dials a `ws://` or `wss://` URL by a socket that `create` makes, whose traffic may be paced from then on. */
export const dialBy = (create: (url: string, paceBy: (pacing: Pacing) => void) => WebSocket): Dial => (url, signal) => new Promise((resolve, reject) => {
  const label = withoutSecrets(url)
  const fail = (reason: string, cause?: unknown): void => {
    signal.removeEventListener('abort', abort)
    reject(new UnreachableError(`cannot reach ${label}: ${reason}`, { cause }))
  }
  let connection: WebSocketConnection | undefined
  const abort = (): void => {
    connection?.terminate()
    fail('given up')
  }
  signal.addEventListener('abort', abort)
  if (signal.aborted) {
    abort()
    return
  }
  try {
    const socket = create(url, pacing => { connection?.paceBy(pacing) })
    const opening = new WebSocketConnection(socket, label)
    connection = opening
    let lastError = ''
    attend(socket, {
      open: () => {
        signal.removeEventListener('abort', abort)
        resolve(opening)
      },
      close: reason => { fail(lastError === '' ? reason : lastError) },
      error: reason => { lastError = reason },
      message: ignore,
      pong: ignore
    })
  } catch (error) {
    fail(messageOf(error), error)
  }
})

/** As a browser dials. */
export const dialWebSocket = dialBy(url => new WebSocket(url))

function checkSocket(socket: unknown): asserts socket is WebSocketLike {
  const like = typeof socket === 'object' && socket !== null ? socket as Partial<WebSocketLike> : {}
  const listens = typeof like.on === 'function' || typeof like.addEventListener === 'function'
  if (typeof like.send !== 'function' || !listens) {
    throw new InvalidFieldsError('socket must be an object with send, and on or addEventListener')
  }
}

/** `ws` has both styles; its own tells text from bytes. */
function isNodeStyle<S extends object>(socket: S): socket is S & NodeSocket {
  return 'on' in socket && typeof socket.on === 'function'
}

/** Node style sockets take options and a callback; hosts' stand-ins call it without looking whether it is there. */
function writerOf(socket: WebSocketLike): (frame: Uint8Array) => unknown {
  if (isNodeStyle(socket)) return frame => socket.send(frame, BINARY, ignore)
  const browserSocket = socket as BrowserSocket
  return frame => browserSocket.send(frame)
}

/** Listens to a socket of either style. */
function attend(socket: WebSocketLike, events: SocketEvents): void {
  if (isNodeStyle(socket)) {
    socket.on('open', () => { events.open() })
    // Before its version 8, ws gave text as a string, and no second argument.
    socket.on('message', (data: unknown, isBinary?: boolean) => {
      events.message(data, typeof data === 'string' || isBinary === false)
    })
    socket.on('close', (code?: number) => { events.close(describeClose(code)) })
    socket.on('error', (error: unknown) => { events.error(describeError(error)) })
    socket.on('pong', () => { events.pong() })
    return
  }
  // Blobs could not be read in order without waiting for each.
  const target = socket as BrowserSocket
  attempt(() => { target.binaryType = 'arraybuffer' })
  target.addEventListener('open', () => { events.open() })
  target.addEventListener('message', ({ data }: { data: unknown }) => { events.message(data, typeof data === 'string') })
  target.addEventListener('close', (event: { code?: number } | undefined) => { events.close(describeClose(event?.code)) })
  target.addEventListener('error', (event: unknown) => { events.error(describeError(event)) })
}

function describeClose(code: number | undefined): string {
  return typeof code === 'number' ? `closed with code ${code}` : 'closed'
}

/** An error's message; where there is none (several addresses were tried, or it is a browser's event) at least its code. */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return ''
  if (error.message !== '') return error.message
  return 'code' in error ? String(error.code) : error.name
}

/** The bytes of a message, whatever the socket makes of them: ArrayBuffer, a view of one, or a list of them. */
function toBytes(data: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  // By its tag, since it may come from another realm (a frame, a worker, a test's window).
  if (Object.prototype.toString.call(data) === '[object ArrayBuffer]') return new Uint8Array(data as ArrayBuffer)
  if (!Array.isArray(data)) return undefined
  const parts = data.map(toBytes).filter(part => part !== undefined)
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Sending and closing never throw: a socket that fails is about to close, and that is told by its event. */
function attempt(action: () => unknown): void {
  try {
    action()
  } catch {
    // See above.
  }
}

/** A URL for logs and errors: neither credentials nor query (H43). */
function withoutSecrets(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url)
    return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
  } catch {
    return 'an invalid URL'
  }
}
