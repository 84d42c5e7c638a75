/**
 * The cable between the wallets and who listens for them, the peer or the connector, which can be cut: web sockets that arrive at the
 * page's own port are handed on, byte by byte, and a wallet's cable is cut without a word of goodbye to either end, as when a phone
 * loses its network.
 */
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'

/** The path of a wallet's web socket to its peer, or to the connector. */
const PATH = /^\/(btp|connector)\/([0-9a-f]{16})$/

/** Finds the port to hand on to; `undefined` when there is none. */
export type FindPort = (to: 'peer' | 'connector', id: string) => Promise<number | undefined>

export class Cable {
  readonly #findPort: FindPort
  /** The open sockets of each wallet. */
  readonly #sockets = new Map<string, Set<Duplex>>()
  /** The wallets whose cable is cut. */
  readonly #cut = new Set<string>()

  constructor(findPort: FindPort) {
    this.#findPort = findPort
  }

  isCut(id: string): boolean {
    return this.#cut.has(id)
  }

  /** Drops what is connected, and lets nothing new through until `mend`. */
  cut(id: string): void {
    this.#cut.add(id)
    for (const socket of this.#sockets.get(id) ?? []) socket.destroy()
  }

  mend(id: string): void {
    this.#cut.delete(id)
  }

  /** Hands an upgrade to a web socket on, with its headers as they came. */
  connect(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const [, to, id] = PATH.exec(request.url ?? '') ?? []
    if (id === undefined || this.#cut.has(id)) {
      socket.destroy()
      return
    }
    const ends = this.#sockets.get(id) ?? new Set<Duplex>()
    this.#sockets.set(id, ends.add(socket))
    // Each end hears of the other's failure by its end.
    socket.on('error', () => undefined)
    socket.on('close', () => { ends.delete(socket) })
    this.#findPort(to === 'btp' ? 'peer' : 'connector', id).then(
      port => {
        if (port === undefined) socket.destroy()
        else if (!socket.destroyed) join(request, socket, head, port)
      },
      () => { socket.destroy() }
    )
  }

  /** Cuts everything, for good. */
  close(): void {
    for (const id of this.#sockets.keys()) this.cut(id)
  }
}

function join(request: IncomingMessage, socket: Duplex, head: Buffer, port: number): void {
  const inner = connect(port, '127.0.0.1')
  inner.on('error', () => undefined)
  inner.on('close', () => { socket.destroy() })
  socket.on('close', () => { inner.destroy() })
  inner.write(`${request.method ?? 'GET'} ${request.url ?? '/'} HTTP/1.1\r\n${headersOf(request)}\r\n`)
  inner.write(head)
  socket.pipe(inner).pipe(socket)
}

function headersOf({ rawHeaders }: IncomingMessage): string {
  let lines = ''
  for (let i = 0; i < rawHeaders.length; i += 2) lines += `${rawHeaders[i] ?? ''}: ${rawHeaders[i + 1] ?? ''}\r\n`
  return lines
}
