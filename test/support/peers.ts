/**
 * What session and link tests need on the other side of a connection: a scripted peer that speaks packets, links over a network in
 * memory whose wires can be cut, and ports that do the same in each run.
 */
import { Doorkeeper } from '../../src/btp/doorkeeper.js'
import { Link } from '../../src/btp/link.js'
import type { LinkOptions } from '../../src/btp/link.js'
import { decodePacket, encodePacket } from '../../src/btp/packets.js'
import type { Packet, RequestPacket, SubProtocol } from '../../src/btp/packets.js'
import { octets, text } from '../../src/btp/protocol-data.js'
import type { RequestBody, Session, SessionOptions } from '../../src/btp/session.js'
import { UnreachableError } from '../../src/core/errors.js'
import type { Random } from '../../src/core/random.js'
import type { Connection, ConnectionEvents, Dial } from '../../src/core/transport.js'
import { connectionPair } from '../../src/transport/pair.js'
import { MemoryLog } from './memory-log.js'
import { VirtualClock } from './virtual-clock.js'

export const OUR_LEDGER = 'aa'.repeat(16)
export const THEIR_LEDGER = 'bb'.repeat(16)

/** Not random at all, but different at each call. */
export function countingRandom(seed = 1): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 24
  }
  return { bytes: length => Uint8Array.from({ length }, next) }
}

export const hello = (data = 'hello'): RequestBody => ({ type: 'message', protocolData: [text('greeting', data)] })

export function authData(token: string, username = '', ...more: SubProtocol[]): SubProtocol[] {
  return [octets('auth', new Uint8Array()), text('auth_username', username), text('auth_token', token), ...more]
}

/** Session options with time that stands still. What is not given answers each request with its own protocol data. */
export function sessionOptions(overrides: Partial<SessionOptions> = {}): SessionOptions & { clock: VirtualClock; log: MemoryLog } {
  const clock = new VirtualClock()
  return {
    clock,
    random: countingRandom(),
    log: new MemoryLog(),
    ledgerId: OUR_LEDGER,
    handleRequest: packet => Promise.resolve(packet.protocolData),
    answerTimeoutMs: 5000,
    heartbeatMs: Infinity,
    heartbeatTimeoutMs: 3000,
    maxRequests: 10_000,
    maxBufferedBytes: 16_777_216,
    ...overrides
  } as SessionOptions & { clock: VirtualClock; log: MemoryLog }
}

/** The other end of a connection, spoken by hand. */
export class WirePeer implements ConnectionEvents {
  readonly received: Packet[] = []
  closed: string | undefined
  readonly #connection: Connection
  readonly #waiting: Array<(packet: Packet) => void> = []
  #read = 0

  constructor(connection: Connection) {
    this.#connection = connection
    connection.open(this)
  }

  message(frame: Uint8Array): void {
    this.received.push(decodePacket(frame))
    this.#hand()
  }

  alive(): void {
    // Not counted.
  }

  close(reason: string): void {
    this.closed = reason
  }

  /** The next packet that was not asked for yet. */
  next(): Promise<Packet> {
    return new Promise(resolve => {
      this.#waiting.push(resolve)
      this.#hand()
    })
  }

  send(packet: Packet): void {
    this.#connection.send(encodePacket(packet))
  }

  sendBytes(...bytes: number[]): void {
    this.#connection.send(Uint8Array.from(bytes))
  }

  /** Answers a request with a Response. */
  respond({ requestId }: Packet, protocolData: SubProtocol[] = []): void {
    this.send({ type: 'response', requestId, protocolData })
  }

  /** Closes politely. */
  leave(): void {
    this.#connection.close()
  }

  #hand(): void {
    while (this.#waiting.length > 0 && this.#read < this.received.length) {
      const packet = this.received[this.#read++]
      if (packet !== undefined) this.#waiting.shift()?.(packet)
    }
  }
}

/** One connection of the network. */
export interface Wire {
  readonly from: string
  readonly near: Connection
  readonly far: Connection
  /** From now on nothing gets through, and neither end is told: a network that went away. */
  lose(): void
}

/** Connects links in memory. `schedule` decides when what travels arrives. */
export class Network {
  readonly wires: Wire[] = []
  readonly #doors = new Map<string, Doorkeeper>()
  readonly #schedule: (deliver: () => void) => void
  readonly #canPing: boolean

  constructor(schedule: (deliver: () => void) => void = queueMicrotask, canPing = true) {
    this.#schedule = schedule
    this.#canPing = canPing
  }

  /** Whether connections to that address arrive. */
  open(address: string, doorkeeper: Doorkeeper | undefined): void {
    if (doorkeeper === undefined) this.#doors.delete(address)
    else this.#doors.set(address, doorkeeper)
  }

  dialFrom(from: string): Dial {
    return (url, signal) => new Promise((resolve, reject) => {
      this.#schedule(() => {
        const door = this.#doors.get(url)
        if (door === undefined || signal.aborted) {
          reject(new UnreachableError(`cannot reach ${url}`))
          return
        }
        let lost = false
        const defer = (deliver: () => void): void => { this.#schedule(() => { if (!lost) deliver() }) }
        const [near, far] = connectionPair({ defer, label: `${from} to ${url}`, canPing: this.#canPing })
        this.wires.push({ from, near, far, lose: () => { lost = true } })
        door.receive(far)
        resolve(near)
      })
    })
  }
}

/** A link with what it has told, and the door through which its peer comes. */
export class TestPeer {
  readonly link: Link
  readonly door: Doorkeeper
  readonly log = new MemoryLog()
  readonly requests: RequestPacket[] = []
  /** `up` and `down: <reason>`, in order. */
  readonly history: string[] = []
  onUp: (session: Session) => void = () => undefined

  constructor(name: string, network: Network, clock: VirtualClock, overrides: Partial<LinkOptions> & { server?: string; token?: string }) {
    const { server, token = 'secret', ...options } = overrides
    this.link = new Link({
      ...sessionOptions({ clock, log: this.log, random: countingRandom(name.charCodeAt(0)) }),
      authenticate: credentials => credentials.token === 'secret',
      handleRequest: packet => {
        this.requests.push(packet)
        return Promise.resolve(packet.protocolData)
      },
      onUp: session => {
        this.history.push('up')
        this.onUp(session)
      },
      onDown: (_session, reason) => { this.history.push(`down: ${reason}`) },
      reconnectMinMs: 100,
      reconnectMaxMs: 10_000,
      ...(server === undefined ? {} : { dial: { dial: network.dialFrom(name), url: server, credentials: () => ({ username: '', token }) } }),
      ...options
    })
    this.door = new Doorkeeper({ clock, log: this.log })
  }

  /** Lets connections to that address in to this peer. */
  async listen(network: Network, address: string): Promise<void> {
    await this.door.admit(this.link)
    network.open(address, this.door)
  }
}
