/**
 * The tabs of one wallet, whose peer is the lab's bob: each a thread of its own that can hang, wake up and die, over one store, and
 * with the siblings that a browser gives them. Imports src; no real time.
 */
import type { Clock } from '../../src/core/clock.js'
import type { HoldEvents, HoldOptions, LetGo, Siblings } from '../../src/core/siblings.js'
import type { Batch, ListOptions, Store } from '../../src/core/store.js'
import { InvalidFieldsError } from '../../src/core/errors.js'
import type { Connection, Dial } from '../../src/core/transport.js'
import type { PluginEvents, Role } from '../../src/plugin/account.js'
import { pluginsFor } from '../../src/plugin/make-plugin.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import { wrapKeyValueStore } from '../../src/store/key-value.js'
import { MemoryStore } from '../../src/store/memory.js'
import { Life, PREFIX, settle } from './lab.js'
import type { Lab, Seen } from './lab.js'
import { MemoryLog } from './memory-log.js'
import { countingRandom } from './peers.js'

/** So many turns a task of a tab has for what it sets off, before the next task begins. */
const TURNS = 50

/** What a tab runs on. What reaches it while it hangs happens when it wakes up, one after the other; what reaches a dead one never does. */
export class Thread {
  state: 'running' | 'hung' | 'dead' = 'running'
  #waiting: Array<() => void> = []
  #isCatchingUp = false

  run(action: () => void): void {
    if (this.state === 'hung' || this.#isCatchingUp) this.#waiting.push(action)
    else if (this.state === 'running') action()
  }

  /** Resolves when the thread gets to it. */
  turn(): Promise<void> {
    return new Promise(resolve => { this.run(resolve) })
  }

  wake(): void {
    if (this.state !== 'hung') return
    this.state = 'running'
    if (!this.#isCatchingUp) void this.#catchUp()
  }

  async #catchUp(): Promise<void> {
    this.#isCatchingUp = true
    // It may hang again, or die, in the middle.
    while (this.state === 'running' && this.#waiting.length > 0) {
      this.#waiting.shift()?.()
      // Promises go before the next task.
      for (let turn = 0; turn < TURNS; turn++) await Promise.resolve()
    }
    this.#isCatchingUp = false
  }
}

interface Claim {
  readonly thread: Thread
  readonly events: HoldEvents
  isOver: boolean
}

interface Listener {
  readonly thread: Thread
  readonly onMessage: (text: string) => void
}

/** What a browser keeps for all tabs of one origin: locks and channels. */
export class Origin {
  /** Whether there are locks at all: a page on plain http has none. */
  hasLocks = true
  /** How long a message of a tab travels, in milliseconds. */
  delayMs: (from: Thread) => number = () => 0
  /** Which messages reach nobody. */
  loses: (text: string) => boolean = () => false
  /** Every message, whoever has heard it. */
  readonly said: string[] = []
  readonly #clock: Clock
  readonly #locks = new Map<string, Claim[]>()
  readonly #channels = new Map<string, Set<Listener>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  siblingsOf(thread: Thread): Siblings {
    return {
      hold: (name, events, options) => this.hasLocks ? this.#hold(thread, name, events, options) : this.#assume(thread, events, options),
      open: (name, onMessage) => {
        const listeners = this.#listeners(name)
        const listener = { thread, onMessage }
        listeners.add(listener)
        let [arrivesAt, saidAt] = [0, 0]
        return {
          post: text => {
            this.said.push(text)
            if (this.loses(text)) return
            const now = this.#clock.now()
            // What travels goes on by what passes, also where the clock was put back.
            if (now < saidAt) arrivesAt -= saidAt - now
            saidAt = now
            arrivesAt = Math.max(arrivesAt, now + this.delayMs(thread))
            for (const other of listeners) if (other !== listener) this.#carry(listeners, other, text, arrivesAt)
          },
          close: () => { listeners.delete(listener) }
        }
      }
    }
  }

  /** Says something to all tabs that is not from any of them. */
  say(text: string): void {
    for (const listeners of this.#channels.values()) {
      for (const listener of listeners) this.#carry(listeners, listener, text, 0)
    }
  }

  /** The tab is gone, and with it all that it had here. */
  forget(thread: Thread): void {
    for (const listeners of this.#channels.values()) {
      for (const listener of listeners) if (listener.thread === thread) listeners.delete(listener)
    }
    for (const [name, claims] of this.#locks) {
      for (const claim of [...claims]) if (claim.thread === thread) this.#end(name, claim)
    }
  }

  #carry(listeners: Set<Listener>, to: Listener, text: string, arrivesAt: number): void {
    const deliver = (): void => { to.thread.run(() => { if (listeners.has(to)) to.onMessage(text) }) }
    const delayMs = arrivesAt - this.#clock.now()
    if (delayMs > 0) this.#clock.setTimer(delayMs, deliver)
    else queueMicrotask(deliver)
  }

  #listeners(name: string): Set<Listener> {
    const listeners = this.#channels.get(name) ?? new Set()
    this.#channels.set(name, listeners)
    return listeners
  }

  /** The first claim of a name has the lock. */
  #hold(thread: Thread, name: string, events: HoldEvents, { steal = false }: HoldOptions = {}): LetGo {
    const claims = this.#locks.get(name) ?? []
    this.#locks.set(name, claims)
    const claim: Claim = { thread, events, isOver: false }
    const [holder] = claims
    if (steal && holder !== undefined) {
      claims.shift()
      queueMicrotask(() => { holder.thread.run(() => { if (!holder.isOver) holder.events.onLost() }) })
    }
    if (steal) claims.unshift(claim)
    else claims.push(claim)
    if (claims[0] === claim) this.#grant(claim)
    return () => { this.#end(name, claim) }
  }

  #grant(claim: Claim): void {
    queueMicrotask(() => { claim.thread.run(() => { if (!claim.isOver) claim.events.onGranted() }) })
  }

  #end(name: string, claim: Claim): void {
    claim.isOver = true
    const claims = this.#locks.get(name) ?? []
    const at = claims.indexOf(claim)
    if (at < 0) return
    claims.splice(at, 1)
    const [next] = claims
    if (at === 0 && next !== undefined) this.#grant(next)
  }

  /** As a browser without locks: whoever takes it by force has it, and nobody else ever. */
  #assume(thread: Thread, events: HoldEvents, { steal = false }: HoldOptions = {}): LetGo {
    const claim: Claim = { thread, events, isOver: false }
    if (steal) this.#grant(claim)
    return () => { claim.isOver = true }
  }
}

/** The store as one tab sees it. */
class TabStore implements Store {
  readonly shared = 'wallet'
  readonly #thread: Thread
  readonly #disk: Store

  constructor(thread: Thread, disk: Store) {
    this.#thread = thread
    this.#disk = disk
  }

  get(key: string): Promise<string | undefined> {
    return this.#call(() => this.#disk.get(key))
  }

  list(prefix: string, options?: ListOptions): Promise<Array<[key: string, value: string]>> {
    return this.#call(() => this.#disk.list(prefix, options))
  }

  commit(batch: Batch): Promise<boolean> {
    return this.#call(() => this.#disk.commit(batch))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    await this.#thread.turn()
    try {
      return await call()
    } finally {
      await this.#thread.turn()
    }
  }
}

const EVENTS = [
  'connect', 'disconnect', 'error', 'info_change', 'dispute', 'role',
  ...(['prepare', 'fulfill', 'reject', 'cancel', 'request', 'response'] as const).flatMap(what => [`incoming_${what}`, `outgoing_${what}`] as const)
] as const satisfies ReadonlyArray<keyof PluginEvents>

export interface TabOptions {
  options?: Partial<PluginOptions>
  module?: AnyModule
}

export class Tab {
  readonly name: string
  readonly thread = new Thread()
  readonly log = new MemoryLog()
  readonly plugin: LedgerPlugin
  readonly events: Seen[] = []
  readonly #tabs: Tabs
  readonly #life = new Life()
  readonly #connections: Connection[] = []

  constructor(tabs: Tabs, name: string, seed: number, { options, module }: TabOptions) {
    this.name = name
    this.#tabs = tabs
    const { lab, origin, disk } = tabs
    const plugins = pluginsFor({
      clock: {
        now: () => lab.clock.now(),
        setTimer: (delayMs, action) => {
          let isOver = false
          const cancel = lab.clock.setTimer(delayMs, () => { this.thread.run(() => { if (!isOver) action() }) })
          return () => {
            isOver = true
            cancel()
          }
        }
      },
      random: countingRandom(seed),
      dial: this.#dial(lab.network.dial(this.#life)),
      debugLogger: () => this.log,
      hostLogger: () => this.log,
      adoptSocket: () => { throw new InvalidFieldsError('these tabs have no sockets') },
      wrapKeyValueStore,
      memoryStore: () => new MemoryStore(),
      siblings: () => tabs.canHear ? origin.siblingsOf(this.thread) : undefined
    })
    const Plugin = module === undefined ? plugins.PaychanPlugin : plugins.makePaymentChannelPlugin(module)
    this.plugin = new Plugin({
      server: 'btp+ws://:secret@bob',
      store: new TabStore(this.thread, disk),
      maxBalance: '1000000',
      minBalance: '-1000000',
      heartbeatMs: 3_600_000,
      reconnectMaxMs: 1000,
      ...options
    })
    for (const event of EVENTS) this.plugin.on(event, (...args: unknown[]) => { this.events.push([event, ...args] as Seen) })
  }

  get isAlive(): boolean {
    return this.thread.state !== 'dead'
  }

  get role(): Role {
    return this.plugin.role
  }

  /** The events of those names. */
  seen<E extends keyof PluginEvents>(...names: E[]): Array<Extract<Seen, [E, ...unknown[]]>> {
    return this.events.filter(([name]) => (names as string[]).includes(name)) as Array<Extract<Seen, [E, ...unknown[]]>>
  }

  /** The names of the events about transfers, in order. */
  get story(): string[] {
    return this.events.map(([name]) => name).filter(name => /_(prepare|fulfill|reject|cancel)$|^dispute$/.test(name))
  }

  /** Nothing of it runs until it wakes up: a busy loop, a debugger, a page that the browser has frozen. */
  hang(): void {
    if (this.isAlive) this.thread.state = 'hung'
  }

  wake(): void {
    this.thread.wake()
  }

  /** It is closed, or its process dies: no code of it gets to know. */
  kill(): void {
    this.thread.state = 'dead'
    for (const connection of this.#connections) connection.terminate()
    this.#life.end()
    this.#tabs.origin.forget(this.thread)
  }

  #dial(dial: Dial): Dial {
    return async (url, signal) => {
      const connection = await dial(url, signal)
      this.#connections.push(connection)
      await this.thread.turn()
      return {
        label: connection.label,
        get bufferedBytes() { return connection.bufferedBytes },
        ping: () => { connection.ping?.() },
        send: frame => { connection.send(frame) },
        close: () => { connection.close() },
        terminate: () => { connection.terminate() },
        open: events => {
          connection.open({
            message: frame => { this.thread.run(() => { events.message(frame) }) },
            alive: () => { this.thread.run(() => { events.alive() }) },
            close: reason => { this.thread.run(() => { events.close(reason) }) }
          })
        }
      }
    }
  }
}

/** All tabs of alice's wallet. Bob is the lab's. */
export class Tabs {
  readonly lab: Lab
  readonly origin: Origin
  readonly disk: Store
  /** Whether tabs can hear each other at all. */
  canHear = true
  readonly all: Tab[] = []

  constructor(lab: Lab, disk: Store = lab.alice.disk) {
    this.lab = lab
    this.disk = disk
    this.origin = new Origin(lab.clock)
  }

  make(options: TabOptions = {}): Tab {
    const tab = new Tab(this, `tab ${this.all.length + 1}`, this.lab.seed + 100 + this.all.length, options)
    this.all.push(tab)
    return tab
  }

  /** Makes a tab, and connects it. */
  async open(options: TabOptions = {}): Promise<Tab> {
    const tab = this.make(options)
    await tab.plugin.connect()
    await settle()
    return tab
  }

  /** Those that run, by their roles. */
  withRole(role: Role): Tab[] {
    return this.all.filter(tab => tab.thread.state === 'running' && tab.role === role)
  }

  get peer(): string {
    return `${PREFIX}server`
  }
}
