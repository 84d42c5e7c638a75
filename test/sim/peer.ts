/**
 * One of the two: a host with its plugin and its disk, through all its lives. What the host does with payments is in host-v1.ts and
 * host-v2.ts.
 */
import { InvalidFieldsError } from '../../src/core/errors.js'
import type { Environment } from '../../src/plugin/environment.js'
import { pluginsFor } from '../../src/plugin/make-plugin.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import { wrapKeyValueStore } from '../../src/store/key-value.js'
import { MemoryStore } from '../../src/store/memory.js'
import { MemoryLog } from '../support/memory-log.js'
import { countingRandom } from '../support/peers.js'
import type { Auditor, Observed } from './auditor.js'
import { OwnDisk, PlainDisk } from './disk.js'
import { Life } from './life.js'
import { otherSide } from './world.js'
import type { SideName, World } from './world.js'
import type { Wires } from './wires.js'

const SECRET = 'secret'
export const GRACE_MS = 500

export interface PeerSetup {
  readonly isV2: boolean
  readonly hasPlainStore: boolean
  readonly limits: { readonly maximum: number; readonly minimum: number }
  readonly options: Partial<PluginOptions>
  readonly makeModule: (() => AnyModule) | undefined
  /** How far a clock of this side may be off. */
  readonly skewMs: number
}

export interface Shared {
  readonly world: World
  readonly wires: Wires
  readonly auditor: Auditor
}

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

export class Peer implements Observed {
  readonly name: SideName
  readonly disk: OwnDisk | PlainDisk
  readonly graceMs: number
  readonly limits: { maximum: number; minimum: number }
  era: object = {}
  readonly #shared: Shared
  readonly #setup: PeerSetup
  readonly #host: Host
  readonly #random: ReturnType<typeof countingRandom>
  #life: Life | undefined
  #plugin: LedgerPlugin | undefined
  #isStopped = false

  constructor(name: SideName, shared: Shared, setup: PeerSetup, host: Host) {
    this.name = name
    this.#shared = shared
    this.#setup = setup
    this.#host = host
    this.limits = setup.limits
    this.graceMs = setup.isV2 ? 0 : GRACE_MS
    const { world, auditor } = shared
    const onDurable = auditor.durable.bind(auditor, name)
    // Hosts of LPI v2 put what is theirs right before each key, so the plugin puts a separator there.
    this.disk = setup.hasPlainStore ? new PlainDisk(world, name, setup.isV2 ? ':' : '', onDurable) : new OwnDisk(world, name, onDurable)
    this.#random = countingRandom(world.seed + name.charCodeAt(0))
    auditor.observed[name] = this
  }

  get now(): number {
    return this.#life?.now ?? 0
  }

  get putBackMs(): number {
    return this.#life?.putBackMs ?? 0
  }

  get storeFailures(): number {
    return this.disk.failures
  }

  get isRunning(): boolean {
    return this.#life?.isAlive === true && !this.#isStopped
  }

  get plugin(): LedgerPlugin {
    if (this.#plugin === undefined) throw new TypeError(`${this.name} has no plugin`)
    return this.#plugin
  }

  get life(): Life {
    if (this.#life === undefined) throw new TypeError(`${this.name} does not live`)
    return this.#life
  }

  // ---- lives

  /** A new process over the same disk; it connects, and is started again whenever it dies. */
  start(): void {
    const { world, wires } = this.#shared
    const { fate } = world
    const skews = this.#setup.skewMs > 0 && world.strikes('skewed clock', 0.9)
    const life: Life = new Life(world, this.name, {
      isFirst: this.#life === undefined,
      points: this.#pointsToLive(),
      skewMs: skews ? fate.upTo(2 * this.#setup.skewMs) - this.#setup.skewMs : 0,
      onDeath: () => {
        this.disk.crash()
        wires.died(this.name)
        world.clock.setTimer(20 + fate.upTo(world.isFaulty ? 1500 : 100), () => { if (this.#life === life) this.start() })
      }
    })
    world.note(this.name, () => `starts, its clock off by ${life.skewMs} ms`)
    this.#life = life
    this.#isStopped = false
    const plugin = this.#plugin = this.#make(life)
    this.#host.meet(plugin, life)
    this.#connect(plugin, life)
  }

  #pointsToLive(): number {
    const { killAt, fate } = this.#shared.world
    if (killAt !== undefined) return this.#life === undefined && killAt.side === this.name ? killAt.point : Infinity
    return fate.chance(0.75) ? 1 + fate.upTo(fate.chance(0.3) ? 60 : 400) : Infinity
  }

  #connect(plugin: LedgerPlugin, life: Life): void {
    this.era = {}
    plugin.connect({ timeout: Infinity }).then(() => {
      if (!life.isAlive) return
      // Until here a disconnect may have been at work still.
      this.era = {}
      this.#host.connected(plugin, life)
    }, (error: unknown) => {
      // A host that cannot connect ends, and is started again.
      this.#shared.world.note(this.name, () => `cannot connect: ${String(error)}`)
      if (!this.#isStopped) life.end()
    })
  }

  /** Disconnects, and connects again some time later. */
  stop(): void {
    const { world } = this.#shared
    const [life, plugin] = [this.#life, this.#plugin]
    if (!this.isRunning || life === undefined || plugin === undefined) return
    world.count('disconnect')
    this.#isStopped = true
    this.era = {}
    plugin.disconnect({ drainMs: world.fate.pick([0, 0, 500]) }).catch(() => undefined)
    world.clock.setTimer(world.fate.upTo(1500), () => {
      if (this.#life !== life || !life.isAlive) return
      this.#isStopped = false
      this.#connect(plugin, life)
    })
  }

  #make(life: Life): LedgerPlugin {
    const { world, wires } = this.#shared
    const { isV2, limits, options, makeModule } = this.#setup
    const { isSymmetric } = world.odd
    const environment: Environment = {
      clock: life.clock,
      random: this.#random,
      dial: wires.dial(this.name, life),
      debugLogger: () => SILENCE,
      hostLogger: () => SILENCE,
      adoptSocket: () => { throw new InvalidFieldsError('there are no sockets here') },
      wrapKeyValueStore,
      memoryStore: () => new MemoryStore()
    }
    const plugins = pluginsFor(environment)
    const Plugin = makeModule === undefined ? plugins.PaychanPlugin : plugins.makePaymentChannelPlugin(makeModule())
    const { disk } = this
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
      ...(world.mutant.hurries === true ? { graceMs: 0 } : {}),
      ...(this.name === 'alice' || isSymmetric ? { server: `btp+ws://:${SECRET}@${otherSide(this.name)}` } : {}),
      ...(this.name === 'bob' || isSymmetric ? { listener: wires.acceptor(this.name, life), incomingSecret: SECRET } : {}),
      ...options
    }, isV2 ? { ...(plain === undefined ? {} : { store: plain }) } : undefined)
  }

  // ---- workload

  send(): void {
    if (this.isRunning && this.#life !== undefined && this.plugin.isConnected()) this.#host.send(this.plugin, this.#life)
  }

  /** The run is over, for good. */
  retire(): void {
    const life = this.#life
    this.#life = undefined
    life?.end()
  }
}
