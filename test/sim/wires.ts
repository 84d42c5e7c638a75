/**
 * The network between the two: connections whose frames take their time, each direction in order, and that are lost in every way that
 * connections are. One that an end takes for lost may still bring frames to the other end while the next one is up: so frames come out of
 * order across reconnects.
 */
import { decodePacket, encodePacket } from '../../src/btp/packets.js'
import { UnreachableError } from '../../src/core/errors.js'
import type { Acceptor, Connection, ConnectionEvents, Dial } from '../../src/core/transport.js'
import type { Life } from './life.js'
import { otherSide } from './world.js'
import type { SideName, World } from './world.js'

/** How long TCP repeats what nobody acknowledges. In earnest it is a quarter of an hour. */
const GIVEN_UP_AFTER_MS = 60_000

/** Who watches the frames. */
export interface Watcher {
  /** A process sends a frame: what it tells must be durable by now. `wire` names the connection. */
  sent(from: SideName, wire: number, frame: Uint8Array): void
  /** A process is about to get a frame. */
  arrives(to: SideName, wire: number, frame: Uint8Array, life: Life): void
}

type Parcel = { kind: 'frame'; frame: Uint8Array } | { kind: 'ping' | 'pong' | 'close' | 'reset' }

class End implements Connection {
  readonly label = 'sim'
  readonly bufferedBytes = 0
  readonly ping?: () => void
  readonly wire: Wire
  readonly side: SideName
  readonly life: Life
  #events: ConnectionEvents | undefined
  #kept: Uint8Array[] = []
  #gone: string | undefined
  #isClosing = false
  /** When the last parcel that was sent arrives. */
  #lastAt = 0

  constructor(wire: Wire, side: SideName, life: Life, canPing: boolean) {
    this.wire = wire
    this.side = side
    this.life = life
    if (canPing) this.ping = () => { if (life.isAlive) this.#carry({ kind: 'ping' }) }
  }

  get isGone(): boolean {
    return this.#gone !== undefined
  }

  open(events: ConnectionEvents): void {
    this.#events = events
    for (const frame of this.#kept.splice(0)) this.#hand(frame)
    if (this.#gone !== undefined) this.#raiseClose(this.#gone)
  }

  send(frame: Uint8Array): void {
    this.life.whenAwake(() => { this.#send(frame) })
  }

  #send(frame: Uint8Array): void {
    if (this.#isClosing || !this.life.survives('before a frame is sent')) return
    this.wire.watcher.sent(this.side, this.wire.number, frame)
    this.#carry({ kind: 'frame', frame: this.wire.world.odd.areForeign ? withoutOurs(frame) : frame.slice() })
    this.life.survives('after a frame is sent')
  }

  close(): void {
    this.life.whenAwake(() => { this.#close() })
  }

  #close(): void {
    if (this.#isClosing || !this.life.isAlive) return
    this.#carry({ kind: 'close' })
    this.#isClosing = true
  }

  terminate(): void {
    if (!this.life.isAlive) return
    this.#isClosing = true
    this.lost('terminated', 0)
    this.reset()
  }

  /** The other end hears that this one is gone, behind what is on its way, or at once. */
  reset(): void {
    this.#isClosing = true
    if (this.wire.world.fate.chance(0.5)) this.#carry({ kind: 'reset' })
    else this.wire.far(this).lost('reset by the peer', this.wire.world.fate.upTo(50))
  }

  /** This end is told, some time later, that the connection is lost. What arrives before that still counts. */
  lost(reason: string, delayMs: number): void {
    if (delayMs === 0) this.#end(reason)
    else this.wire.world.clock.setTimer(delayMs, () => { this.life.whenAwake(() => { this.#end(reason) }) })
  }

  #carry(parcel: Parcel): void {
    const { world } = this.wire
    if (parcel.kind === 'frame' && world.strikes('drop', 0.004)) return
    const delayMs = this.wire.delayMs + (world.isFaulty ? world.fate.upTo(10) : 0) + (world.strikes('late frame', 0.01) ? world.fate.upTo(3000) : 0)
    this.#lastAt = Math.max(this.#lastAt, world.clock.now() + delayMs)
    const far = this.wire.far(this)
    world.clock.setTimer(this.#lastAt - world.clock.now(), () => {
      if (this.wire.isFrozen || !far.life.isAlive) this.lost('given up', GIVEN_UP_AFTER_MS)
      else far.life.whenAwake(() => { far.#take(parcel) })
    })
  }

  #take(parcel: Parcel): void {
    if (this.#gone !== undefined || !this.life.isAlive) return
    switch (parcel.kind) {
      case 'ping': this.#carry({ kind: 'pong' }); break
      case 'pong': this.#events?.alive(); break
      case 'reset': this.#end('reset by the peer'); break
      case 'close': this.#closed(); break
      case 'frame':
        if (this.#events === undefined) this.#kept.push(parcel.frame)
        else this.#hand(parcel.frame)
    }
  }

  #hand(frame: Uint8Array): void {
    if (!this.life.survives('before a frame is taken')) return
    // What comes after this end has closed is for nobody.
    if (!this.#isClosing) this.wire.watcher.arrives(this.side, this.wire.number, frame, this.life)
    this.#events?.message(frame)
    this.life.survives('after a frame is taken')
  }

  #closed(): void {
    if (!this.#isClosing) {
      this.#carry({ kind: 'close' })
      this.#isClosing = true
    }
    this.#end('closed')
  }

  #end(reason: string): void {
    if (this.#gone !== undefined) return
    this.#gone = reason
    this.#isClosing = true
    if (this.#events !== undefined) this.#raiseClose(reason)
  }

  /** Later, as sockets do. */
  #raiseClose(reason: string): void {
    queueMicrotask(() => { if (this.life.isAlive) this.#events?.close(reason) })
  }
}

/** Without what only peers of ours know. */
function withoutOurs(frame: Uint8Array): Uint8Array {
  const packet = decodePacket(frame)
  return encodePacket({ ...packet, protocolData: packet.protocolData.filter(({ protocolName }) => protocolName !== 'paychan') })
}

class Wire {
  readonly world: World
  readonly watcher: Watcher
  readonly number: number
  readonly delayMs: number
  readonly ends: [End, End]
  /** Who has dialled. */
  readonly dialler: SideName
  /** Nothing arrives any more, and nobody is told. */
  isFrozen = false

  constructor(world: World, watcher: Watcher, number: number, dialler: SideName, lives: Record<SideName, Life>, canPing: boolean) {
    this.world = world
    this.watcher = watcher
    this.number = number
    this.dialler = dialler
    this.delayMs = world.fate.upTo(40)
    this.ends = [new End(this, 'alice', lives.alice, canPing), new End(this, 'bob', lives.bob, true)]
  }

  endOf(side: SideName): End {
    return this.ends[side === 'alice' ? 0 : 1]
  }

  far(end: End): End {
    return end === this.ends[0] ? this.ends[1] : this.ends[0]
  }

  get isOver(): boolean {
    return this.ends.every(end => end.isGone || !end.life.isAlive)
  }
}

export class Wires {
  /** Whether anybody can be reached. */
  isUp = true
  readonly #world: World
  readonly #watcher: Watcher
  /** Whether alice can send pings: no browser can. */
  readonly #canPing: boolean
  #wires: Wire[] = []
  #count = 0
  readonly #doors: Record<SideName, { life: Life; onConnection: (connection: Connection) => void } | undefined> = { alice: undefined, bob: undefined }

  constructor(world: World, watcher: Watcher, canPing: boolean) {
    this.#world = world
    this.#watcher = watcher
    this.#canPing = canPing
  }

  /** How many connections there ever were. */
  get count(): number {
    return this.#count
  }

  /** How many connections there are, as far as one of their ends knows. */
  get open(): number {
    return this.#wires.filter(wire => !wire.isOver).length
  }

  /** The door of one side in one of its lives. */
  acceptor(side: SideName, life: Life): Acceptor {
    const isOpen = (): boolean => this.#doors[side]?.life === life
    return {
      authTimeoutMs: 2000,
      maxUnauthenticated: 100,
      get port() { return isOpen() ? 0 : undefined },
      listen: async onConnection => { this.#doors[side] = { life, onConnection } },
      close: async () => {
        if (!isOpen()) return
        this.#doors[side] = undefined
        for (const wire of this.#wires) if (wire.dialler !== side) wire.endOf(side).terminate()
      }
    }
  }

  /** The way of one side to the other's door in one of its lives. */
  dial(side: SideName, life: Life): Dial {
    return async (url, signal) => {
      await this.#world.pause(this.#world.fate.upTo(30))
      const door = this.#doors[otherSide(side)]
      if (!life.isAlive || signal.aborted || !this.isUp || door?.life.isAlive !== true || this.#world.strikes('refused dial', 0.05)) {
        throw new UnreachableError(`cannot reach ${url}`)
      }
      const wire = new Wire(this.#world, this.#watcher, ++this.#count, side, side === 'alice' ? { alice: life, bob: door.life } : { alice: door.life, bob: life }, this.#canPing)
      this.#wires = [...this.#wires.filter(one => !one.isOver), wire]
      this.#world.note('', () => `wire ${wire.number} is up`)
      door.life.whenAwake(() => { door.onConnection(wire.endOf(otherSide(side))) })
      return wire.endOf(side)
    }
  }

  /** The connections are lost: each end hears of it at a time of its own, and until then may get what was on its way. */
  cut(): void {
    for (const { ends } of this.#wires) {
      for (const end of ends) end.lost('cut', 1 + (this.#world.fate.chance(0.5) ? 0 : this.#world.fate.upTo(2000)))
    }
  }

  /** The connections are lost, and both ends hear of it at once. */
  end(): void {
    for (const { ends } of this.#wires) for (const end of ends) end.lost('cut', 1)
  }

  /** Nothing arrives any more, and neither end is told. */
  freeze(): void {
    for (const wire of this.#wires) wire.isFrozen = true
  }

  /** A process is gone. Its machine tells the peer so, unless it is gone too. */
  died(side: SideName): void {
    const isTold = this.#world.fate.chance(0.7)
    for (const wire of this.#wires) {
      const end = wire.endOf(side)
      if (end.life.isAlive || end.isGone) continue
      if (isTold) end.reset()
      else this.#world.note(otherSide(side), () => `is not told that ${side} is gone`)
    }
  }
}
