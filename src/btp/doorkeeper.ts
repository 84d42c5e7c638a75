/**
 * The doorkeeper: looks after connections that have not authenticated yet, and shows each to the links in turn. Imports core.
 *
 * Whoever stands before this door is a stranger. It costs a bounded number of sockets, for a bounded time, and disturbs nobody
 * inside (H22, H23, H28, H47).
 */
import type { CancelTimer, Clock } from '../core/clock.js'
import { printable, printableMessage } from '../core/bytes.js'
import { InvalidFieldsError, NotAcceptedError, PacketError, PaychanError, UnreachableError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { Acceptor, Connection, ConnectionEvents } from '../core/transport.js'
import { Turns } from '../core/turns.js'
import { readAuthRequest } from './auth.js'
import type { Credentials, PeerFacts } from './auth.js'
import { decodePacket, encodePacket } from './packets.js'
import { errorPacket } from './session.js'

/** Who a connection is to a host: nobody it knows, its peer, or the host itself, whose own address it has dialled. */
export type Recognition = 'stranger' | 'peer' | 'ourselves'

/** Whom the doorkeeper lets peers in to: a link. */
export interface Host {
  /** Who this is to the host. Rejects when that cannot be told now. */
  recognises(credentials: Credentials, peer: PeerFacts): Promise<Recognition>
  /**
   * Takes the connection over and answers the request of that id. What it returns receives all that arrives from then on.
   * @throws UnreachableError when the host is about to close
   */
  accept(connection: Connection, requestId: number, peer: PeerFacts): ConnectionEvents
}

export interface DoorkeeperPorts {
  readonly clock: Clock
  readonly log: Logger
}

export interface DoorkeeperOptions {
  /** How long a connection may stay unauthenticated. Default 2000. */
  readonly authTimeoutMs?: number
  /** How many connections may be unauthenticated at a time; over it the oldest of them is dropped. Default 100. */
  readonly maxUnauthenticated?: number
  /** Where connections arrive by themselves. Without one they are handed to `receive`. */
  readonly acceptor?: Acceptor
}

/** How long a stranger that was shown the door may take to leave. */
const LEAVING_MS = 1000
/** What a client may send ahead while its credentials are looked at: old ones do not wait for the answer. */
const MOST_FRAMES_AHEAD = 16
const MOST_BYTES_AHEAD = 65_536

export class Doorkeeper {
  readonly #ports: DoorkeeperPorts
  readonly #acceptor: Acceptor | undefined
  readonly #authTimeoutMs: number
  readonly #maxUnauthenticated: number
  readonly #hosts: Host[] = []
  /** Those before the door, the oldest first. */
  readonly #visitors = new Set<Visitor>()
  /** Opening and closing the acceptor, one after the other. */
  readonly #turns = new Turns()
  #listening = false

  constructor(ports: DoorkeeperPorts, options: DoorkeeperOptions = {}) {
    this.#ports = ports
    this.#acceptor = options.acceptor
    this.#authTimeoutMs = options.authTimeoutMs ?? options.acceptor?.authTimeoutMs ?? 2000
    this.#maxUnauthenticated = options.maxUnauthenticated ?? options.acceptor?.maxUnauthenticated ?? 100
  }

  /** How many connections are before the door. */
  get unauthenticated(): number {
    return this.#visitors.size
  }

  /**
   * Adds a host, behind those that are there; listens when it is the first.
   * @throws UnreachableError when the port cannot be bound; the host is not added then
   */
  admit(host: Host): Promise<void> {
    return this.#turns.take(async () => {
      if (this.#hosts.includes(host)) return
      if (!this.#listening) {
        await this.#acceptor?.listen(connection => { this.receive(connection) })
        this.#listening = true
      }
      this.#hosts.push(host)
    })
  }

  /** Takes a host away; with the last one stops listening, which drops what is open. */
  dismiss(host: Host): Promise<void> {
    return this.#turns.take(async () => {
      const at = this.#hosts.indexOf(host)
      if (at < 0) return
      this.#hosts.splice(at, 1)
      if (this.#hosts.length > 0) return
      this.#listening = false
      for (const visitor of this.#visitors) visitor.drop()
      await this.#acceptor?.close()
    })
  }

  /** Looks after a connection that was accepted, until one of the hosts takes it. */
  receive(connection: Connection): void {
    const visitor: Visitor = new Visitor(connection, this.#ports, this.#authTimeoutMs, {
      judge: (credentials, peer) => this.#judge(credentials, peer),
      // A host that was dismissed while it was thinking does not get the connection any more.
      stillHere: host => this.#hosts.includes(host),
      gone: () => { this.#visitors.delete(visitor) }
    })
    this.#visitors.add(visitor)
    for (const oldest of this.#visitors) {
      if (this.#visitors.size <= this.#maxUnauthenticated) break
      oldest.drop()
    }
    visitor.arrive()
  }

  /** The first host that recognises the credentials. One that fails keeps nobody from the next. */
  async #judge(credentials: Credentials, peer: PeerFacts): Promise<Host> {
    let refusal: PaychanError = new NotAcceptedError('the credentials are not accepted')
    for (const host of [...this.#hosts]) {
      try {
        const recognition = await host.recognises(credentials, peer)
        if (recognition === 'peer') return host
        if (recognition === 'ourselves') refusal = new NotAcceptedError('this connection leads back to where it comes from')
      } catch (error) {
        this.#ports.log.warn(`the credentials cannot be checked now: ${printableMessage(error)}`)
        // Why is no stranger's business. It may come again: nothing has been decided.
        refusal = new UnreachableError('the credentials cannot be checked now')
      }
    }
    throw refusal
  }
}

const doorkeepers = new WeakMap<Acceptor, Doorkeeper>()

/** The doorkeeper of an acceptor: one for all who share it, made with the ports of whoever asks first. */
export function doorkeeperOf(acceptor: Acceptor, ports: DoorkeeperPorts): Doorkeeper {
  let doorkeeper = doorkeepers.get(acceptor)
  if (doorkeeper === undefined) {
    doorkeeper = new Doorkeeper(ports, { acceptor })
    doorkeepers.set(acceptor, doorkeeper)
  }
  return doorkeeper
}

interface Door {
  judge(credentials: Credentials, peer: PeerFacts): Promise<Host>
  stillHere(host: Host): boolean
  /** The visitor is before the door no more: inside, or gone. */
  gone(): void
}

/** One connection before the door. */
class Visitor implements ConnectionEvents {
  readonly #connection: Connection
  readonly #ports: DoorkeeperPorts
  readonly #door: Door
  readonly #ahead: Uint8Array[] = []
  #bytesAhead = 0
  /** silent: nothing was said; judged: the credentials are looked at; leaving: shown the door; inside: a host has it; gone. */
  #state: 'silent' | 'judged' | 'leaving' | 'inside' | 'gone' = 'silent'
  #inside: ConnectionEvents | undefined
  #cancelTimer: CancelTimer

  constructor(connection: Connection, ports: DoorkeeperPorts, authTimeoutMs: number, door: Door) {
    this.#connection = connection
    this.#ports = ports
    this.#door = door
    // One deadline for each connection, for all that it takes until it is let in (C14).
    this.#cancelTimer = ports.clock.setTimer(authTimeoutMs, () => { this.#leave('no authentication in time') })
  }

  arrive(): void {
    this.#connection.open(this)
  }

  /** Gone at once, without a word. */
  drop(): void {
    this.#connection.terminate()
    this.close('dropped')
  }

  message(frame: Uint8Array): void {
    if (this.#inside !== undefined) this.#inside.message(frame)
    else if (this.#state === 'silent') this.#hear(frame)
    else if (this.#state === 'judged') this.#keep(frame)
  }

  alive(): void {
    this.#inside?.alive()
  }

  close(reason: string): void {
    if (this.#inside !== undefined) {
      this.#inside.close(reason)
    } else if (this.#state !== 'gone') {
      this.#state = 'gone'
      this.#cancelTimer()
      this.#door.gone()
    }
  }

  /** The first frame: an auth Message, or the end (C12). */
  #hear(frame: Uint8Array): void {
    let requestId: number | undefined
    try {
      const packet = decodePacket(frame)
      requestId = packet.requestId
      const { credentials, peer } = readAuthRequest(packet)
      this.#state = 'judged'
      void this.#enter(requestId, credentials, peer)
    } catch (error) {
      if (error instanceof PacketError) requestId = error.requestId
      this.#refuse(requestId, error)
    }
  }

  async #enter(requestId: number, credentials: Credentials, peer: PeerFacts): Promise<void> {
    try {
      const host = await this.#door.judge(credentials, peer)
      // Read anew, since it may have left or been sent away while its credentials were looked at.
      if (this.#state !== 'judged') return
      if (!this.#door.stillHere(host)) throw new UnreachableError('this side is disconnecting')
      this.#inside = host.accept(this.#connection, requestId, peer)
      this.#state = 'inside'
      this.#cancelTimer()
      this.#door.gone()
      for (const frame of this.#ahead.splice(0)) this.#inside.message(frame)
    } catch (error) {
      this.#refuse(requestId, error)
    }
  }

  #keep(frame: Uint8Array): void {
    this.#ahead.push(frame)
    this.#bytesAhead += frame.length
    if (this.#ahead.length > MOST_FRAMES_AHEAD || this.#bytesAhead > MOST_BYTES_AHEAD) this.#leave('too much before authentication')
  }

  /** Error, then close (C12, C13). Bytes that are no packet get no answer (C22). */
  #refuse(requestId: number | undefined, thrown: unknown): void {
    if (this.#state === 'gone' || this.#state === 'leaving') return
    const error = thrown instanceof PaychanError ? thrown : new InvalidFieldsError('this cannot be read')
    const told = error instanceof PacketError ? new InvalidFieldsError(error.message) : error
    if (requestId !== undefined) this.#connection.send(encodePacket(errorPacket(requestId, told, this.#ports.clock)))
    this.#leave(told.message)
  }

  /** Closes politely, and for good when that takes too long. Until the connection is gone it counts as unauthenticated. */
  #leave(reason: string): void {
    this.#ports.log.debug(`refused ${printable(this.#connection.label)}: ${printable(reason)}`)
    this.#state = 'leaving'
    this.#ahead.length = 0
    this.#cancelTimer()
    this.#cancelTimer = this.#ports.clock.setTimer(LEAVING_MS, () => { this.drop() })
    this.#connection.close()
  }
}
