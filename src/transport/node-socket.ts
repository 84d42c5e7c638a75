/**
 * Web sockets in Node: dialled with the options of `ws`, and paced by the stream below, so that many small frames cost little, and one
 * peer does not keep the others waiting. Imports core.
 */
import WebSocket from 'isomorphic-ws'
import { dialBy } from './web-socket.js'
import type { Pacing, WebSocketLike } from './web-socket.js'

/** The stream below a socket, which can hold back what is written for a moment, so that it leaves in one piece. */
interface Corkable {
  cork(): void
  uncork(): void
}

/** The largest frame that is taken, in bytes. */
export const MAX_PAYLOAD = 65_536
/** How long opening a connection may take, TLS and the upgrade included. */
const HANDSHAKE_MS = 10_000

/**
 * The most frames that are taken from one socket in a turn of the event loop, give or take those that were read already. The system
 * hands over megabytes at once: small requests by the ten thousand, for whose answers all other sockets would wait (H35).
 */
const FRAMES_PER_TURN = 500

/**
 * How many bytes are held back at most until the turn ends. Where many frames are made in one turn the peer reads the first of them
 * while the last are still being made: else the two sides would take turns, and each idle half of the time.
 */
const GATHERED_BYTES = 2048

/** Dials a `ws://` or `wss://` URL. Compression is off: frames are small and mostly random bytes. */
export const dialFromNode = dialBy((url, paceBy) => {
  const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: MAX_PAYLOAD, handshakeTimeout: HANDSHAKE_MS })
  socket.on('upgrade', ({ socket: stream }) => { paceBy(new StreamPacing(stream, socket)) })
  return socket
})

/**
 * Lets frames that are sent in one turn of the event loop leave together, in one call to the system instead of one for each; and
 * takes no more than a portion of what arrives in a turn.
 */
export class StreamPacing implements Pacing {
  readonly #stream: Corkable
  readonly #socket: WebSocketLike
  #corked = false
  /** Bytes held back. */
  #gathered = 0
  /** How many frames came since the last pause. */
  #taken = 0

  constructor(stream: Corkable, socket: WebSocketLike) {
    this.#stream = stream
    this.#socket = socket
  }

  sending(bytes: number): void {
    const stream = this.#stream
    if (!this.#corked) {
      this.#corked = true
      this.#gathered = 0
      stream.cork()
      setImmediate(() => {
        this.#corked = false
        stream.uncork()
      })
    } else if (this.#gathered >= GATHERED_BYTES) {
      this.#gathered = 0
      stream.uncork()
      stream.cork()
    }
    this.#gathered += bytes
  }

  /** Counts across turns: a hook in each of them would cost more than all the counting. */
  received(): void {
    this.#taken++
    if (this.#taken < FRAMES_PER_TURN) return
    this.#taken = 0
    this.#socket.pause?.()
    setImmediate(() => { this.#socket.resume?.() })
  }
}
