/**
 * The listener: where peers arrive in Node, over http or https. Imports core and the web socket connection. Only for Node.
 */
import { readFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import type { Server as HttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { InvalidFieldsError, messageOf, UnreachableError } from '../core/errors.js'
import type { Acceptor, Connection, ListenerOptions } from '../core/transport.js'
import { MAX_PAYLOAD, StreamPacing } from './node-socket.js'
import { adoptWebSocket } from './web-socket.js'

const DEFAULT_PORT = 4195
const DEFAULT_AUTH_TIMEOUT_MS = 2000
const DEFAULT_MAX_UNAUTHENTICATED = 100
const LONGEST_MS = 2 ** 31 - 1
const PEM = '-----BEGIN '

const ignore = (): void => undefined

/** What `listen` has opened, and `close` ends. */
interface Running {
  readonly server: HttpServer
  readonly sockets: WebSocketServer
  readonly strangers: Strangers
}

/**
 * Listens for web sockets. Several plugins may share one. Nothing that a stranger sends, or fails to send, ends the process (H22, H47).
 */
export class BtpListener implements Acceptor {
  readonly authTimeoutMs: number
  readonly maxUnauthenticated: number
  readonly #options: Readonly<ListenerOptions>
  #running: Running | undefined

  /** @throws InvalidFieldsError naming the option that is wrong */
  constructor(options: ListenerOptions = {}) {
    checkOptions(options)
    this.#options = { ...options }
    this.authTimeoutMs = options.authTimeoutMs ?? DEFAULT_AUTH_TIMEOUT_MS
    this.maxUnauthenticated = options.maxUnauthenticated ?? DEFAULT_MAX_UNAUTHENTICATED
  }

  /** The bound port; `undefined` while not listening. */
  get port(): number | undefined {
    const address = this.#running?.server.address()
    return typeof address === 'object' ? address?.port : undefined
  }

  /**
   * Begins to listen; resolves when the port is bound. May be called again after it failed, and after `close`.
   * @throws UnreachableError when the port cannot be bound, InvalidFieldsError naming `cert`, `key` or `ca` when it cannot be used
   */
  async listen(onConnection: (connection: Connection) => void): Promise<void> {
    if (this.#running !== undefined) throw new UnreachableError('this listener is listening already')
    const running = await this.#open(onConnection)
    this.#running = running
    try {
      await this.#bind(running.server)
    } catch (error) {
      this.#running = undefined
      running.sockets.close()
      throw error
    }
  }

  /** Stops listening and drops what is open. */
  async close(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    const { server, sockets, strangers } = running
    await new Promise<void>(resolve => {
      // Its only error is that it is not listening.
      server.close(() => { resolve() })
      for (const socket of sockets.clients) socket.terminate()
      sockets.close()
      strangers.drop()
      server.closeAllConnections()
    })
  }

  async #open(onConnection: (connection: Connection) => void): Promise<Running> {
    const server = await this.#createServer()
    const strangers = new Strangers(this.authTimeoutMs, this.maxUnauthenticated)
    server.on('connection', (socket: Socket) => { strangers.add(socket) })
    const { path, maxPayload = MAX_PAYLOAD } = this.#options
    const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload, ...(path === undefined ? {} : { path }) })
    sockets.on('connection', (socket, { socket: stream }) => {
      strangers.remove(stream)
      onConnection(adoptWebSocket(socket, nameOf(stream), new StreamPacing(stream, socket)))
    })
    // The server's errors come here too. Those of binding are heard in `#bind`; later ones are of single connections that could not be
    // taken: there will be others.
    sockets.on('error', ignore)
    return { server, sockets, strangers }
  }

  async #createServer(): Promise<HttpServer> {
    const { cert, key, ca } = this.#options
    const limits = { headersTimeout: this.authTimeoutMs, requestTimeout: this.authTimeoutMs }
    let server: HttpServer
    if (cert === undefined) {
      server = createHttpServer(limits)
    } else {
      const tls = { cert: await readPem(cert, 'cert'), key: await readPem(key, 'key'), ca: await readPem(ca, 'ca') }
      try {
        server = createHttpsServer({ ...limits, ...tls, handshakeTimeout: this.authTimeoutMs })
      } catch (error) {
        // OpenSSL's words name no content.
        throw new InvalidFieldsError(`listener.cert, key or ca cannot be used: ${messageOf(error)}`)
      }
    }
    return server.on('request', (_request, response) => {
      response.writeHead(426, { 'connection': 'close', 'content-type': 'text/plain', 'upgrade': 'websocket' })
      response.end('BTP is spoken over a web socket here.\n')
    })
  }

  #bind(server: HttpServer): Promise<void> {
    const { port = DEFAULT_PORT, host } = this.#options
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        const code = 'code' in error ? String(error.code) : error.message
        reject(new UnreachableError(`port ${port}${host === undefined ? '' : ` of ${host}`} cannot be bound: ${code}`, { cause: error }))
      }
      server.once('error', fail)
      server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
        server.off('error', fail)
        resolve()
      })
    })
  }
}

/**
 * TCP connections that have not become web sockets: as strange as those before the doorkeeper, and bounded as they are.
 */
class Strangers {
  readonly #timeoutMs: number
  readonly #most: number
  /** By address and port, the oldest first: under TLS the socket that is upgraded is another object than the one that was accepted. */
  readonly #sockets = new Map<string, { socket: Socket; timer: NodeJS.Timeout }>()

  constructor(timeoutMs: number, most: number) {
    this.#timeoutMs = timeoutMs
    this.#most = most
  }

  add(socket: Socket): void {
    const name = nameOf(socket)
    const timer = setTimeout(() => { socket.destroy() }, this.#timeoutMs).unref()
    this.#sockets.set(name, { socket, timer })
    socket.once('close', () => {
      if (this.#sockets.get(name)?.socket === socket) this.#forget(name)
    })
    for (const [oldest, { socket }] of this.#sockets) {
      if (this.#sockets.size <= this.#most) break
      this.#forget(oldest)
      socket.destroy()
    }
  }

  /** It is a web socket now, and the doorkeeper's to watch. */
  remove(stream: Duplex): void {
    this.#forget(nameOf(stream))
  }

  drop(): void {
    for (const [name, { socket }] of this.#sockets) {
      this.#forget(name)
      socket.destroy()
    }
  }

  #forget(name: string): void {
    clearTimeout(this.#sockets.get(name)?.timer)
    this.#sockets.delete(name)
  }
}

function nameOf(stream: Duplex & { remoteAddress?: string | undefined; remotePort?: number | undefined }): string {
  return `${stream.remoteAddress ?? 'unknown'}:${stream.remotePort ?? 0}`
}

async function readPem(value: string | Uint8Array | undefined, field: string): Promise<string | Buffer | undefined> {
  if (value === undefined) return undefined
  if (typeof value !== 'string') return Buffer.from(value)
  if (value.includes(PEM)) return value
  try {
    return await readFile(value)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    // Without the value: where it was meant to be a key's contents, it must not be shown.
    throw new InvalidFieldsError(`listener.${field} is neither PEM nor a file that can be read (${code})`)
  }
}

function checkOptions(options: ListenerOptions): void {
  if (typeof options !== 'object' || (options as unknown) === null) throw new InvalidFieldsError('listener must be an object')
  checkInteger(options.port, 'port', 0, 65_535)
  checkInteger(options.maxPayload, 'maxPayload', 1, 2 ** 30)
  checkInteger(options.authTimeoutMs, 'authTimeoutMs', 1, LONGEST_MS)
  checkInteger(options.maxUnauthenticated, 'maxUnauthenticated', 1, 1_000_000)
  checkText(options.host, 'host')
  checkText(options.path, 'path')
  if (options.path?.startsWith('/') === false) throw new InvalidFieldsError('listener.path must begin with a slash')
  for (const field of ['cert', 'key', 'ca'] as const) {
    const value: unknown = options[field]
    if (value !== undefined && !(value instanceof Uint8Array) && (typeof value !== 'string' || value === '')) {
      throw new InvalidFieldsError(`listener.${field} must be a path, or the contents in PEM`)
    }
  }
  if (options.cert !== undefined && options.key === undefined) throw new InvalidFieldsError('listener.key is missing beside cert')
  if (options.key !== undefined && options.cert === undefined) throw new InvalidFieldsError('listener.cert is missing beside key')
}

function checkInteger(value: unknown, field: string, least: number, most: number): void {
  if (value === undefined) return
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw new InvalidFieldsError(`listener.${field} must be an integer from ${least} to ${most}`)
  }
}

function checkText(value: unknown, field: string): void {
  if (value !== undefined && (typeof value !== 'string' || value === '')) throw new InvalidFieldsError(`listener.${field} must be a text`)
}
