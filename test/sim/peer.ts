/**
 * A process of one of the two sides: a host with its plugin, through all its lives over one disk. What the host does with payments is in
 * host-v1.ts and host-v2.ts.
 */
import { EmptiedStoreError, InvalidFieldsError } from '../../src/core/errors.js'
import type { Role } from '../../src/plugin/account.js'
import type { Environment } from '../../src/plugin/environment.js'
import { Lease } from '../../src/plugin/lease.js'
import { pluginsFor } from '../../src/plugin/make-plugin.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import { wrapKeyValueStore } from '../../src/store/key-value.js'
import { MemoryStore } from '../../src/store/memory.js'
import { MemoryLog } from '../support/memory-log.js'
import { countingRandom } from '../support/peers.js'
import { OwnDisk, PlainDisk } from './disk.js'
import { Life } from './life.js'
import type { Side } from './side.js'
import { otherSide } from './world.js'

const SECRET = 'secret'

/** What a host does with a plugin. */
export interface Host {
  /** A new plugin, not connected yet. */
  meet(plugin: LedgerPlugin, life: Life): void
  /** It has connected, in whichever life. */
  connected(plugin: LedgerPlugin, life: Life): void
  /** Sends a payment of its own choice. */
  send(plugin: LedgerPlugin, life: Life): void
}

class QuietLog extends MemoryLog {
  override trace(): void {}
  override debug(): void {}
  override info(): void {}
  override warn(): void {}
  override error(): void {}
}

const SILENCE = new QuietLog()

export class Peer {
  readonly #side: Side
  readonly #number: number
  readonly #random: ReturnType<typeof countingRandom>
  #life: Life | undefined
  #plugin: LedgerPlugin | undefined
  #isStopped = false

  /** `number` tells those of one side apart. */
  constructor(side: Side, number: number) {
    this.#side = side
    this.#number = number
    this.#random = countingRandom(side.shared.world.seed + side.name.charCodeAt(0) + 1000 * number)
  }

  get now(): number {
    return this.#life?.now ?? 0
  }

  get isRunning(): boolean {
    return this.#life?.isAlive === true && !this.#isStopped
  }

  /** Whether it trades, and not the other one of its side. */
  get isHolder(): boolean {
    return this.#isA('holder')
  }

  get isStandby(): boolean {
    return this.#isA('standby')
  }

  #isA(role: Role): boolean {
    return this.#life?.isAlive === true && this.#plugin?.role === role
  }

  get plugin(): LedgerPlugin {
    if (this.#plugin === undefined) throw new TypeError(`${this.#side.name} has no plugin`)
    return this.#plugin
  }

  get life(): Life {
    if (this.#life === undefined) throw new TypeError(`${this.#side.name} does not live`)
    return this.#life
  }

  // ---- lives

  /** A new process over the same disk; it connects, and is started again whenever it dies. */
  start(): void {
    const { name, disk, host, setup, shared: { world, wires } } = this.#side
    const { fate } = world
    // Two processes of one side have one clock: the auditor asks but for one.
    const skews = setup.skewMs > 0 && !this.#side.isDouble && world.strikes('skewed clock', 0.9)
    const life: Life = new Life(world, name, {
      isFirst: this.#life === undefined,
      points: this.#pointsToLive(),
      skewMs: skews ? fate.upTo(2 * setup.skewMs) - setup.skewMs : 0,
      onDeath: () => {
        disk.crash(life)
        wires.died(name)
        this.#side.beginEra()
        world.clock.setTimer(20 + fate.upTo(world.isFaulty ? 1500 : 100), () => { if (this.#life === life) this.start() })
      }
    })
    world.note(name, () => `${this.#side.isDouble ? `${this.#number + 1} ` : ''}starts, its clock off by ${life.skewMs} ms`)
    this.#life = life
    this.#isStopped = false
    const plugin = this.#plugin = this.#make(life)
    host.meet(plugin, life)
    plugin.on('error', error => {
      this.#learn(error)
      life.end()
    })
    if (world.odd.emptiesInUse) plugin.on('role', role => { this.#mayHaveLost(role, plugin, life) })
    if (this.#side.isDouble) plugin.on('role', role => { this.#roleChanged(role, plugin, life) })
    this.#connect(plugin, life)
  }

  #pointsToLive(): number {
    const { name, shared: { world: { killAt, fate } } } = this.#side
    if (killAt !== undefined) return this.#life === undefined && killAt.side === name ? killAt.point : Infinity
    return fate.chance(0.75) ? 1 + fate.upTo(fate.chance(0.3) ? 60 : 400) : Infinity
  }

  #connect(plugin: LedgerPlugin, life: Life): void {
    this.#side.beginEra()
    plugin.connect({ timeout: Infinity }).then(() => {
      if (!life.isAlive) return
      // Until here a disconnect may have been at work still.
      this.#side.beginEra()
      this.#side.host.connected(plugin, life)
    }, (error: unknown) => {
      // A host that cannot connect ends, and is started again.
      if (life.isAlive) this.#learn(error)
      this.#side.shared.world.note(this.#side.name, () => `cannot connect: ${String(error)}`)
      if (!this.#isStopped) life.end()
    })
  }

  /** What a host tells its user, who agrees. */
  #learn(error: unknown): void {
    if (!(error instanceof EmptiedStoreError)) return
    this.#side.recovers = true
    // What came too late for books that were lost then counts all the same, and may be beyond them.
    const [, needed] = /(-[0-9]+) is below minBalance/.exec(error.message) ?? []
    if (needed !== undefined) this.#side.limits.minimum = Math.min(this.#side.limits.minimum, Number(needed))
  }

  /** A plugin that has disconnected by itself has lost its store to somebody: its host connects it again, or ends. */
  #mayHaveLost(role: Role, plugin: LedgerPlugin, life: Life): void {
    const { name, shared: { world } } = this.#side
    if (role !== 'disconnected' || this.#isStopped || !life.isAlive) return
    world.note(name, () => 'has lost its store')
    // After a fatal error the process ends by that.
    if (world.fate.chance(0.5)) world.clock.setTimer(world.fate.upTo(500), () => { if (life.isAlive && this.#life === life && !this.#isStopped) this.#connect(plugin, life) })
    else life.end()
  }

  #roleChanged(role: Role, plugin: LedgerPlugin, life: Life): void {
    const { name, host, shared: { world } } = this.#side
    if (!life.isAlive) return
    world.note(name, () => `${this.#number + 1} is ${role}`)
    this.#side.beginEra()
    // What the one before has in flight is this one's now.
    if (role === 'holder') host.connected(plugin, life)
  }

  /** Disconnects, and connects again some time later. */
  stop(): void {
    const { world } = this.#side.shared
    const [life, plugin] = [this.#life, this.#plugin]
    if (!this.isRunning || life === undefined || plugin === undefined) return
    world.count('disconnect')
    this.#isStopped = true
    this.#side.beginEra()
    plugin.disconnect({ drainMs: world.fate.pick([0, 0, 500]) }).catch(() => undefined)
    world.clock.setTimer(world.fate.upTo(1500), () => {
      if (this.#life !== life || !life.isAlive) return
      this.#isStopped = false
      this.#connect(plugin, life)
    })
  }

  #make(life: Life): LedgerPlugin {
    const { name, disk, limits, setup: { isV2, options, makeModule }, shared: { world, wires } } = this.#side
    const { isOneMachine } = world.odd
    const environment: Environment = {
      clock: life.clock,
      random: this.#random,
      dial: wires.dial(name, life),
      debugLogger: () => SILENCE,
      hostLogger: () => SILENCE,
      adoptSocket: () => { throw new InvalidFieldsError('there are no sockets here') },
      wrapKeyValueStore,
      memoryStore: () => new MemoryStore(),
      lease: leaseOptions => new Lease(leaseOptions, isOneMachine ? { own: life.name, isGone: other => world.dead.has(other) } : undefined)
    }
    const plugins = pluginsFor(environment)
    const Plugin = makeModule === undefined ? plugins.PaychanPlugin : plugins.makePaymentChannelPlugin(makeModule())
    const plain = disk instanceof PlainDisk ? disk.store(life) : undefined
    const store = disk instanceof OwnDisk ? { store: disk.store(life) } : plain === undefined || isV2 ? {} : { _store: plain }
    return new Plugin({
      ...(makeModule === undefined ? { prefix: 'test.sim.', info: {} } : {}),
      ...store,
      maxBalance: String(world.mutant.exceedsLimits === true ? 2 * limits.maximum : limits.maximum),
      minBalance: String(limits.minimum),
      heartbeatMs: 2000,
      heartbeatTimeoutMs: 1000,
      answerTimeoutMs: 1500,
      reconnectMinMs: 50,
      reconnectMaxMs: 800,
      ...(this.#side.recovers || world.mutant.recoversUnasked === true ? { recover: 'from-peer' as const } : {}),
      ...(world.mutant.hurries === true ? { graceMs: 0 } : {}),
      ...this.#waysOf(life),
      ...options
    }, isV2 ? { ...(plain === undefined ? {} : { store: plain }) } : undefined)
  }

  /** How it comes to its peer. */
  #waysOf(life: Life): Partial<PluginOptions> {
    const { name, shared: { world: { odd: { isSymmetric } }, wires } } = this.#side
    return {
      ...(name === 'alice' || isSymmetric ? { server: `btp+ws://:${SECRET}@${otherSide(name)}` } : {}),
      ...(name === 'bob' || isSymmetric ? { listener: wires.acceptor(name, life), incomingSecret: SECRET } : {})
    }
  }

  // ---- workload

  send(): void {
    if (this.isRunning && this.#life?.frozen === undefined && this.#life !== undefined && this.plugin.isConnected()) this.#side.host.send(this.plugin, this.#life)
  }

  /** The run is over, for good. */
  retire(): void {
    const life = this.#life
    this.#life = undefined
    life?.end()
  }
}
