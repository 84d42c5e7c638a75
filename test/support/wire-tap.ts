/**
 * A web socket relay between a peer that dials and one that listens, which loses or holds back what a test names, or cuts the
 * connection. For peers whose own sockets a test cannot reach. Imports the codec, to know what it relays.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import { decodePacket } from '../../src/btp/packets.js'
import type { Packet, RequestPacket } from '../../src/btp/packets.js'

/** A frame on its way, and for an answer the request that it answers. */
export interface Relayed {
  readonly fromDialler: boolean
  readonly packet: Packet
  readonly request: RequestPacket | undefined
}

/** What becomes of a frame: it goes on (true), is lost (false), or goes on when the promise resolves. */
export type Decide = (relayed: Relayed) => boolean | Promise<void>

export class WireTap {
  /** Everything that was sent, lost or not. */
  readonly seen: Relayed[] = []
  /** Asked for each frame. */
  decide: Decide = () => true
  readonly #server: WebSocketServer
  readonly #sockets = new Set<WebSocket>()
  readonly #requests = new Map<string, RequestPacket>()

  private constructor(server: WebSocketServer, target: number) {
    this.#server = server
    server.on('connection', near => { this.#relay(near, new WebSocket(`ws://localhost:${target}`, { perMessageDeflate: false })) })
  }

  /** Relays what arrives at a port of its own to the target port of this machine. */
  static async to(target: number): Promise<WireTap> {
    const server = new WebSocketServer({ port: 0, perMessageDeflate: false })
    await once(server, 'listening')
    return new WireTap(server, target)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Drops all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.terminate()
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #relay(near: WebSocket, far: WebSocket): void {
    const opened = once(far, 'open')
    opened.catch(() => { near.terminate() })
    for (const [from, to, fromDialler] of [[near, far, true], [far, near, false]] as const) {
      this.#sockets.add(from)
      from.on('message', (data: Buffer) => { void this.#pass(data, fromDialler, async () => {
        if (fromDialler) await opened
        to.send(data)
      }) })
      from.on('error', () => { from.terminate() })
      from.on('close', () => {
        this.#sockets.delete(from)
        to.terminate()
      })
    }
  }

  async #pass(data: Buffer, fromDialler: boolean, send: () => Promise<void>): Promise<void> {
    const packet = decodePacket(new Uint8Array(data))
    const isAnswer = packet.type === 'response' || packet.type === 'error'
    const key = `${String(isAnswer !== fromDialler)} ${packet.requestId}`
    if (!isAnswer) this.#requests.set(key, packet)
    const relayed: Relayed = { fromDialler, packet, request: isAnswer ? this.#requests.get(key) : undefined }
    this.seen.push(relayed)
    const decision = this.decide(relayed)
    if (decision === false) return
    if (decision !== true) await decision
    await send().catch(() => undefined)
  }
}
