/**
 * The cable between the wallets and the listener, which can be cut: web sockets that arrive at the page's own port are handed on,
 * byte by byte, and a wallet's cable is cut without a word of goodbye to either end, as when a phone loses its network.
 */
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'

/** The path of a wallet's web socket. */
const PATH = /^\/btp\/([0-9a-f]{16})$/

export class Cable {
  readonly #target: () => number | undefined
  /** The open sockets of each wallet. */
  readonly #sockets = new Map<string, Set<Duplex>>()
  /** The wallets whose cable is cut. */
  readonly #cut = new Set<string>()

  /** @param target the port to hand on to */
  constructor(target: () => number | undefined) {
    this.#target = target
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
    const [, id] = PATH.exec(request.url ?? '') ?? []
    const port = this.#target()
    if (id === undefined || port === undefined || this.#cut.has(id)) {
      socket.destroy()
      return
    }
    const inner = connect(port, '127.0.0.1')
    const ends = this.#sockets.get(id) ?? new Set<Duplex>()
    this.#sockets.set(id, ends.add(socket))
    for (const [end, other] of [[socket, inner], [inner, socket]] as const) {
      // Each end hears of the other's failure by its end.
      end.on('error', () => undefined)
      end.on('close', () => {
        other.destroy()
        ends.delete(end)
      })
    }
    inner.write(`${request.method ?? 'GET'} ${request.url ?? '/'} HTTP/1.1\r\n${headersOf(request)}\r\n`)
    inner.write(head)
    socket.pipe(inner).pipe(socket)
  }

  /** Cuts everything, for good. */
  close(): void {
    for (const id of this.#sockets.keys()) this.cut(id)
  }
}

function headersOf({ rawHeaders }: IncomingMessage): string {
  let lines = ''
  for (let i = 0; i < rawHeaders.length; i += 2) lines += `${rawHeaders[i] ?? ''}: ${rawHeaders[i + 1] ?? ''}\r\n`
  return lines
}
