/**
 * Two whole plugins, one dialling and one accepting, with everything between and around them in a test's hands: the time, the wire
 * frame by frame, the stores, and the moment at which a process dies. Imports src; no sockets, no real time.
 *
 * A side has lives. `crash` ends one as a power cut would: nothing of it runs, writes or arrives any more, and what is durable is
 * what the next life finds.
 */
import type { Clock } from '../../src/core/clock.js'
import { InvalidFieldsError, UnreachableError } from '../../src/core/errors.js'
import { toBase64url } from '../../src/core/bytes.js'
import { sha256 } from '../../src/core/hashes.js'
import { conditionOf } from '../../src/core/ids.js'
import type { Batch, ListOptions, Store } from '../../src/core/store.js'
import type { Acceptor, Connection, ConnectionEvents, Dial } from '../../src/core/transport.js'
import { decodePacket } from '../../src/btp/packets.js'
import type { Packet, RequestPacket } from '../../src/btp/packets.js'
import type { PluginEvents } from '../../src/plugin/account.js'
import type { Environment } from '../../src/plugin/environment.js'
import type { OutgoingTransfer } from '../../src/plugin/lpi.js'
import { pluginsFor } from '../../src/plugin/make-plugin.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { PluginOptions, PluginServices } from '../../src/plugin/options.js'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import { wrapKeyValueStore } from '../../src/store/key-value.js'
import { MemoryStore } from '../../src/store/memory.js'
import { connectionPair } from '../../src/transport/pair.js'
import { FaultyStore } from './faulty-store.js'
import { fromHex } from './hex.js'
import { MemoryLog } from './memory-log.js'
import { countingRandom } from './peers.js'
import { openRecords, storedTransfers } from './stored-transfers.js'
import { VirtualClock, settle } from './virtual-clock.js'

export { settle }

export type SideName = 'alice' | 'bob'

export const PREFIX = 'test.lab.'
const SECRET = 'secret'
const HOUR = 3_600_000

/** A frame on the wire: who sent it, and for an answer the request that it answers. */
export interface Carried {
  readonly from: SideName
  readonly packet: Packet
  readonly request: RequestPacket | undefined
}

export type Matches = (carried: Carried) => boolean

/** A request of that type. */
export const asks = (type: RequestPacket['type'], from?: SideName): Matches =>
  carried => carried.packet.type === type && (from === undefined || carried.from === from)

/** An answer to a request of that type, whoever gives it. */
export const answers = (type: RequestPacket['type']): Matches => ({ request }) => request?.type === type

interface Rule {
  readonly matches: Matches
  readonly withhold: (send: () => void) => void
  left: number
}

/** What a promise came to, without waiting for it. */
export interface Outcome<T> {
  state: 'pending' | 'resolved' | 'rejected'
  value?: T
  error?: Error & { outcome?: string; code?: string }
}

/** Watches a promise. */
export function watch<T>(promise: Promise<T>): Outcome<T> {
  const outcome: Outcome<T> = { state: 'pending' }
  promise.then(
    value => { Object.assign(outcome, { state: 'resolved', value }) },
    (error: unknown) => { Object.assign(outcome, { state: 'rejected', error }) }
  )
  return outcome
}

/** One time that a process runs. */
export class Life {
  alive = true
  readonly #cancels = new Set<() => void>()

  end(): void {
    this.alive = false
    for (const cancel of this.#cancels) cancel()
  }

  clock(base: VirtualClock, skewMs: number): Clock {
    return {
      now: () => base.now() + skewMs,
      setTimer: (delayMs, action) => {
        const cancel = base.setTimer(delayMs, () => {
          this.#cancels.delete(cancel)
          if (this.alive) action()
        })
        this.#cancels.add(cancel)
        return () => {
          this.#cancels.delete(cancel)
          cancel()
        }
      }
    }
  }
}

/** At which commit a life ends: before it reaches the store, or after it landed and before anybody was told. */
type DeathAt = { when: (batch: Batch) => boolean; moment: 'before' | 'after'; die: () => void }

/** The store as one life sees it: once that is over, no call has an effect or an end. */
class MortalStore implements Store {
  readonly #life: Life
  readonly #inner: Store
  death: DeathAt | undefined

  constructor(life: Life, inner: Store) {
    this.#life = life
    this.#inner = inner
  }

  get(key: string): Promise<string | undefined> {
    return this.#unlessDead(() => this.#inner.get(key))
  }

  list(prefix: string, options?: ListOptions): Promise<Array<[key: string, value: string]>> {
    return this.#unlessDead(() => this.#inner.list(prefix, options))
  }

  async commit(batch: Batch): Promise<boolean> {
    const death = this.death?.when(batch) === true ? this.death : undefined
    if (death?.moment === 'before') death.die()
    const landed = await this.#unlessDead(() => this.#inner.commit(batch))
    if (death !== undefined) {
      death.die()
      return never()
    }
    return landed
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  async #unlessDead<T>(call: () => Promise<T>): Promise<T> {
    if (!this.#life.alive) return never()
    try {
      const result = await call()
      return await (this.#isAlive() ? result : never<T>())
    } catch (error) {
      if (this.#isAlive()) throw error
      return never()
    }
  }

  #isAlive(): boolean {
    return this.#life.alive
  }
}

function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined)
}

/** One end of a wire, in the hands of one life of one side. */
class WireEnd implements Connection {
  readonly label: string
  readonly ping: () => void
  readonly #inner: Connection
  readonly #life: Life
  readonly #send: (frame: Uint8Array) => void

  constructor(inner: Connection, life: Life, send: (frame: Uint8Array) => void) {
    this.label = inner.label
    this.#inner = inner
    this.#life = life
    this.#send = send
    this.ping = () => { if (life.alive) inner.ping?.() }
  }

  get bufferedBytes(): number {
    return this.#inner.bufferedBytes
  }

  open(events: ConnectionEvents): void {
    const whileAlive = (raise: () => void): void => { if (this.#life.alive) raise() }
    this.#inner.open({
      message: frame => { whileAlive(() => { events.message(frame) }) },
      alive: () => { whileAlive(() => { events.alive() }) },
      close: reason => { whileAlive(() => { events.close(reason) }) }
    })
  }

  send(frame: Uint8Array): void {
    if (this.#life.alive) this.#send(frame)
  }

  close(): void {
    if (this.#life.alive) this.#inner.close()
  }

  terminate(): void {
    if (this.#life.alive) this.#inner.terminate()
  }
}

/** The wires between alice and bob, and what is done to the frames on them. */
export class Network {
  /** Whether bob can be reached. */
  isUp = true
  /** Everything that was sent, also what did not arrive. */
  readonly traffic: Carried[] = []
  readonly #rules: Rule[] = []
  readonly #requests = new Map<string, RequestPacket>()
  readonly #wires = new Set<Wire>()
  #door: { life: Life; onConnection: (connection: Connection) => void } | undefined

  /** Bob's door in one of his lives. A doorkeeper belongs to one acceptor, so each life has its own. */
  acceptor(life: Life = new Life()): Acceptor {
    let isOpen = false
    return {
      authTimeoutMs: 2000,
      maxUnauthenticated: 100,
      get port() { return isOpen ? 0 : undefined },
      listen: async onConnection => {
        isOpen = true
        this.#door = { life, onConnection }
      },
      close: async () => {
        isOpen = false
        // Another process of bob's may have opened it anew.
        if (this.#door?.life === life) this.#door = undefined
        this.cut()
      }
    }
  }

  /** Alice's way to bob's door, in one of her lives. */
  dial(life: Life): Dial {
    return (url, signal) => new Promise((resolve, reject) => {
      queueMicrotask(() => {
        const door = this.#door
        if (!this.isUp || !life.alive || door === undefined || signal.aborted) {
          reject(new UnreachableError(`cannot reach ${url}`))
          return
        }
        const wire = new Wire(url)
        this.#wires.add(wire)
        door.onConnection(this.#end(wire, 1, door.life))
        resolve(this.#end(wire, 0, life))
      })
    })
  }

  #end(wire: Wire, at: 0 | 1, life: Life): Connection {
    const inner = wire.ends[at]
    return new WireEnd(inner, life, frame => { this.#carry(at === 0 ? 'alice' : 'bob', frame, () => { inner.send(frame) }) })
  }

  #carry(from: SideName, frame: Uint8Array, send: () => void): void {
    const packet = decodePacket(frame)
    const isAnswer = packet.type === 'response' || packet.type === 'error'
    const asker = isAnswer === (from === 'alice') ? 'bob' : 'alice'
    const key = `${asker} ${packet.requestId}`
    if (!isAnswer) this.#requests.set(key, packet)
    const carried: Carried = { from, packet, request: isAnswer ? this.#requests.get(key) : undefined }
    this.traffic.push(carried)
    const rule = this.#rules.find(({ matches, left }) => left > 0 && matches(carried))
    if (rule === undefined) {
      send()
    } else {
      rule.left--
      rule.withhold(send)
    }
  }

  /** Frames that match are lost: so many of them, by default all. What is returned lets them pass again. */
  drop(matches: Matches, times = Infinity): () => void {
    const rule: Rule = { matches, left: times, withhold: () => undefined }
    this.#rules.push(rule)
    return () => { rule.left = 0 }
  }

  /** Frames that match wait until what is returned is called; if their wire is still there then, they go on. */
  hold(matches: Matches, times = Infinity): () => void {
    const held: Array<() => void> = []
    const rule: Rule = { matches, left: times, withhold: send => { held.push(send) } }
    this.#rules.push(rule)
    return () => {
      rule.left = 0
      for (const send of held.splice(0)) send()
    }
  }

  /** All rules of `drop` and `hold` are forgotten; what is held is lost. */
  clearRules(): void {
    this.#rules.length = 0
  }

  /** Drops the connection: both ends are told. */
  cut(): void {
    for (const wire of this.#wires) wire.ends[0].terminate()
    this.#wires.clear()
  }

  /** Nothing arrives on the present connection any more, and neither end is told. */
  freeze(): void {
    for (const wire of this.#wires) wire.isFrozen = true
  }

  /** How many frames were sent that match. */
  count(matches: Matches): number {
    return this.traffic.filter(matches).length
  }
}

class Wire {
  isFrozen = false
  readonly ends: readonly [Connection, Connection]

  constructor(label: string) {
    this.ends = connectionPair({ label, defer: deliver => { queueMicrotask(() => { if (!this.isFrozen) deliver() }) } })
  }
}

/** An event as a host saw it. */
export type Seen = { [E in keyof PluginEvents]: [E, ...Parameters<PluginEvents[E]>] }[keyof PluginEvents]

const EVENTS = [
  'connect', 'disconnect', 'error', 'info_change', 'dispute',
  ...(['prepare', 'fulfill', 'reject', 'cancel', 'request', 'response'] as const).flatMap(what => [`incoming_${what}`, `outgoing_${what}`] as const)
] as const satisfies ReadonlyArray<keyof PluginEvents>

export interface SideOptions {
  /** Added to the plugin's own options. */
  options?: Partial<PluginOptions>
  module?: AnyModule
  /** What marks a host of LPI v2. */
  services?: PluginServices
  /** How much this side's clock is ahead. */
  skewMs?: number
}

/** One of the two hosts, with its plugin and its store, through all its lives. */
export class Side {
  readonly name: SideName
  readonly log = new MemoryLog()
  /** What survives a crash. */
  readonly disk = new MemoryStore()
  /** Where a test makes the disk fail. */
  readonly store: FaultyStore
  /** The events of all lives. */
  readonly events: Seen[] = []
  /** What the host does in each life, before it connects: registers listeners. */
  onStart: (plugin: LedgerPlugin) => void = () => undefined
  readonly #lab: Lab
  readonly #given: SideOptions
  readonly #random: ReturnType<typeof countingRandom>
  #life = new Life()
  #mortal: MortalStore | undefined
  #plugin: LedgerPlugin | undefined

  constructor(lab: Lab, name: SideName, given: SideOptions) {
    this.#lab = lab
    this.name = name
    this.#given = given
    this.store = new FaultyStore(this.disk)
    this.#random = countingRandom(lab.seed + name.charCodeAt(0))
  }

  /** The plugin of the present life. */
  get plugin(): LedgerPlugin {
    if (this.#plugin === undefined) throw new InvalidFieldsError(`${this.name} was not made`)
    return this.#plugin
  }

  get isAlive(): boolean {
    return this.#plugin !== undefined && this.#life.alive
  }

  /** A new process over the same disk; not connected yet. */
  make(): LedgerPlugin {
    const life = new Life()
    this.#life = life
    this.#mortal = new MortalStore(life, this.store)
    const { clock, network } = this.#lab
    const environment: Environment = {
      clock: life.clock(clock, this.#given.skewMs ?? 0),
      random: this.#random,
      dial: network.dial(life),
      debugLogger: () => this.log,
      hostLogger: () => this.log,
      adoptSocket: () => { throw new InvalidFieldsError('the lab has no sockets') },
      wrapKeyValueStore,
      memoryStore: () => new MemoryStore()
    }
    const plugins = pluginsFor(environment)
    const { module } = this.#given
    const Plugin = module === undefined ? plugins.PaychanPlugin : plugins.makePaymentChannelPlugin(module)
    const plugin = new Plugin({
      prefix: PREFIX,
      info: {},
      store: this.#mortal,
      maxBalance: '1000000',
      minBalance: '-1000000',
      heartbeatMs: HOUR,
      reconnectMaxMs: 1000,
      ...(this.name === 'alice'
        ? { server: `btp+ws://:${SECRET}@bob` }
        : { listener: network.acceptor(life), incomingSecret: SECRET }),
      ...this.#given.options
    }, this.#given.services)
    for (const event of EVENTS) {
      plugin.on(event, (...args: unknown[]) => { if (life.alive) this.events.push([event, ...args] as Seen) })
    }
    this.#plugin = plugin
    this.onStart(plugin)
    return plugin
  }

  /** Makes a new process and connects it. */
  async start(): Promise<void> {
    await this.make().connect({ timeout: Infinity })
    await settle()
  }

  /** The process dies, with all that is not durable. */
  crash(): void {
    this.#life.end()
    this.#lab.network.cut()
  }

  /** The process dies, and all of its store is gone. What was there. */
  async empty(): Promise<Array<[string, string]>> {
    this.crash()
    await settle()
    const entries = await this.disk.list('', { limit: Infinity })
    await this.disk.commit({ deletes: entries.map(([key]) => key), guards: [] })
    return entries
  }

  /** Crashes and starts again; waits until the two are connected. */
  async restart(): Promise<void> {
    this.crash()
    await settle()
    const started = this.start()
    await this.#lab.reconnect()
    await started
  }

  /** The process dies when it commits what matches: before it is written, or after, when nobody has been told. */
  crashAtCommit(moment: 'before' | 'after', when: (batch: Batch) => boolean): void {
    if (this.#mortal !== undefined) this.#mortal.death = { moment, when, die: () => { this.crash() } }
  }

  /** The events of those names, or all that are about transfers. */
  seen<E extends keyof PluginEvents>(...names: E[]): Array<Extract<Seen, [E, ...unknown[]]>> {
    return this.events.filter(([name]) => (names as string[]).includes(name)) as Array<Extract<Seen, [E, ...unknown[]]>>
  }

  /** The names of the events about transfers, in order. */
  get story(): string[] {
    return this.events.map(([name]) => name).filter(name => /_(prepare|fulfill|reject|cancel)$|^dispute$/.test(name))
  }

  /** What is durable about transfers: the balance, the sums held in the open records, the state of each. */
  async durable(): Promise<{ balance: number; states: Record<string, string>; open: Record<string, string> }> {
    const read = async (key: string): Promise<number> => Number(await this.disk.get(key) ?? 0)
    const values = Object.fromEntries(await this.disk.list('', { limit: Infinity }))
    return {
      balance: await read(':tl:balance:if') - await read(':tl:balance:of'),
      states: Object.fromEntries(Object.entries(storedTransfers(values)).map(([id, { state }]) => [id, state])),
      open: Object.fromEntries(Object.entries(openRecords(values)).map(([id, { stage }]) => [id, stage]))
    }
  }
}

export interface LabOptions {
  alice?: SideOptions
  bob?: SideOptions
  seed?: number
  clock?: VirtualClock
}

/** A transfer as a host sends it, with its preimage. */
export interface Payment {
  readonly transfer: OutgoingTransfer
  readonly id: string
  readonly fulfillment: string
}

export class Lab {
  readonly clock: VirtualClock
  readonly network = new Network()
  readonly seed: number
  readonly alice: Side
  readonly bob: Side
  #payments = 0

  /** Makes both sides; nobody runs yet. */
  constructor(options: LabOptions = {}) {
    this.clock = options.clock ?? new VirtualClock()
    this.seed = options.seed ?? 1
    this.alice = new Side(this, 'alice', options.alice ?? {})
    this.bob = new Side(this, 'bob', options.bob ?? {})
  }

  /** Two peers that are connected. */
  static async open(options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(options)
    await lab.bob.start()
    await lab.alice.start()
    return lab
  }

  /** A payment to the other side that nobody has sent yet. Without a difference in the arguments only id and preimage differ. */
  payment({ to = 'bob', amount = '10', expiresInMs = 10_000, more = {} }: {
    to?: SideName; amount?: string; expiresInMs?: number; more?: Partial<OutgoingTransfer>
  } = {}): Payment {
    const number = ++this.#payments
    const fulfillment = sha256(Uint8Array.of(number & 255, (number >> 8) & 255, this.seed & 255, (this.seed >> 8) & 255, (this.seed >> 16) & 255))
    const id = `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`
    const transfer: OutgoingTransfer = {
      id,
      amount,
      to: `${PREFIX}${to === 'bob' ? 'server' : 'client'}`,
      executionCondition: conditionOf(fulfillment),
      expiresAt: new Date(this.clock.now() + expiresInMs).toISOString(),
      ...more
    }
    return { transfer, id, fulfillment }
  }

  /** Sends a payment of alice's and waits until bob holds it. */
  async prepared(options: Parameters<Lab['payment']>[0] = {}): Promise<Payment> {
    const payment = this.payment(options)
    await this[options.to === 'alice' ? 'bob' : 'alice'].plugin.sendTransfer(payment.transfer)
    await settle()
    return payment
  }

  /** Lets everything run that is ready, without any time passing. */
  settle(): Promise<void> {
    return settle()
  }

  /** Lets time pass until alice has dialled again. */
  async reconnect(): Promise<void> {
    await this.clock.advance(1000)
  }

  /** The durable balances of alice and bob. */
  async balances(): Promise<[number, number]> {
    return [(await this.alice.durable()).balance, (await this.bob.durable()).balance]
  }

  /** The amounts that a side holds now, incoming and outgoing. */
  held(side: Side): { incoming: number; outgoing: number } {
    const held = { incoming: 0, outgoing: 0 }
    for (const { transfer, isIncoming } of side.plugin.inFlight()) held[isIncoming ? 'incoming' : 'outgoing'] += Number(transfer.amount)
    return held
  }
}

/** A preimage that fits no payment. */
export const WRONG_PREIMAGE = toBase64url(fromHex('ee'.repeat(32)))
