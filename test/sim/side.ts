/**
 * One of the two sides: its disk, and the process over it; or two processes, of which one trades and the other stands by. What the auditor
 * may know of it.
 */
import type { AnyModule } from '../../src/plugin/module.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import type { Auditor, Observed } from './auditor.js'
import { OwnDisk, PlainDisk } from './disk.js'
import type { Life } from './life.js'
import { Peer } from './peer.js'
import type { Host } from './peer.js'
import type { Wires } from './wires.js'
import type { SideName, World } from './world.js'

const GRACE_MS = 500

export interface SideSetup {
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

export class Side implements Observed {
  readonly name: SideName
  readonly shared: Shared
  readonly setup: SideSetup
  readonly host: Host
  readonly disk: OwnDisk | PlainDisk
  readonly graceMs: number
  readonly limits: { maximum: number; minimum: number }
  era: object = {}
  /** Whether the user has agreed to take the books from the peer. */
  recovers = false
  #peers: readonly Peer[]

  constructor(name: SideName, shared: Shared, setup: SideSetup, host: Host) {
    this.name = name
    this.shared = shared
    this.setup = setup
    this.host = host
    this.limits = setup.limits
    this.graceMs = setup.isV2 ? 0 : GRACE_MS
    const { world, auditor } = shared
    const onDurable = auditor.durable.bind(auditor, name)
    // Hosts of LPI v2 put what is theirs right before each key, so the plugin puts a separator there.
    this.disk = setup.hasPlainStore ? new PlainDisk(world, name, setup.isV2 ? ':' : '', onDurable) : new OwnDisk(world, name, onDurable)
    auditor.observed[name] = this
    this.#peers = this.isDouble ? [new Peer(this, 0), new Peer(this, 1)] : [new Peer(this, 0)]
  }

  /** Whether two processes share the disk. */
  get isDouble(): boolean {
    return this.shared.world.odd.shares === this.name
  }

  /** Whoever trades, as far as it knows itself. Of two that think so the disk is one's: the other stands still, and will find out. */
  get peer(): Peer {
    const [first] = this.#peers
    if (first === undefined) throw new TypeError(`nobody is ${this.name}`)
    const holders = this.#peers.filter(({ isHolder }) => isHolder)
    return holders.find(({ life }) => life === this.disk.owner) ?? holders[0] ?? first
  }

  /** Whether the other one waits for its turn. */
  get hasStandby(): boolean {
    return this.#peers.some(({ isStandby }) => isStandby)
  }

  get plugin(): LedgerPlugin {
    return this.peer.plugin
  }

  start(): void {
    for (const peer of this.#peers) peer.start()
  }

  /** The process that trades is gone for good: the other one is left. */
  loseHolder(): void {
    const { peer } = this
    this.#peers = this.#peers.filter(one => one !== peer)
    peer.retire()
  }

  /** Its disk is emptied, while it is dead or while it lives; of a plain one nobody can tell what is left of a batch that is being written. */
  loseStore(): void {
    const { world, auditor } = this.shared
    const isInUse = world.odd.emptiesInUse && this.life.isAlive && (this.disk instanceof OwnDisk || this.disk.isQuiet)
    world.count(isInUse ? 'store emptied in use' : 'emptied store')
    if (this.life.isAlive && !isInUse) this.life.kill()
    this.disk.empty()
    auditor.emptied(this.name, isInUse)
    this.recovers = world.fate.chance(0.5)
  }

  /** The run is over, for good. */
  retire(): void {
    for (const peer of this.#peers) peer.retire()
  }

  // ---- what the auditor may know

  get now(): number {
    return this.peer.now
  }

  get life(): Life {
    return this.peer.life
  }

  get putBackMs(): number {
    return this.life.putBackMs
  }

  /** What began before may end otherwise. */
  beginEra(): void {
    this.era = {}
  }
}
