/**
 * What survives a process: a disk, behind a store of ours in memory or behind a host's plain one, and the faults of both. Whatever becomes
 * durable is told to the auditor, batch by batch, at the moment when it is.
 *
 * A plain store becomes durable as a whole with its journal: that a batch counts from there on is what its wrapper promises.
 */
import { StoreError } from '../../src/core/errors.js'
import type { Batch, KeyValueStore, ListOptions, Store } from '../../src/core/store.js'
import { MemoryStore } from '../../src/store/memory.js'
import { never } from './life.js'
import type { Life } from './life.js'
import type { SideName, World } from './world.js'

export type Writes = ReadonlyArray<readonly [key: string, value: string | undefined]>

/** Hears of each batch when it is durable. */
export type OnDurable = (writes: Writes) => void

/** The longest time that a call of a slow one takes. */
const SLOWEST_MS = 4200

const JOURNAL = 'paychan:store:journal'
const HEAD = 'paychan:head'
const LEASE = 'paychan:lease'

/** What befalls a call of the store. */
type Doom = 'none' | 'fails' | 'lands' | 'unknown: lands' | 'unknown: lost' | 'unknown: lands late'

/** A write that the disk has not taken yet. At a death it lands at once or never. */
interface UnderWay {
  readonly life: Life
  settle(): void
}

export abstract class Disk {
  protected readonly world: World
  protected readonly side: SideName
  readonly #underWay = new Set<UnderWay>()
  /** Who has taken the store over last, and with which epoch. */
  #owner: Life | undefined
  #epoch = 0
  /** While it fills up, everything fails until then. */
  #brokenUntil = 0

  constructor(world: World, side: SideName) {
    this.world = world
    this.side = side
  }

  /** Whatever is under way when its process dies. */
  crash(life: Life): void {
    for (const one of [...this.#underWay]) {
      if (one.life !== life) continue
      this.#underWay.delete(one)
      const lands = this.world.fate.chance(0.5)
      if (lands) one.settle()
    }
  }

  /** One process at a time has the store: what changes it carries the epoch of whoever has taken it over last. */
  protected checkOwner(writes: Writes, life: Life): void {
    const head = writes.find(([key]) => key === HEAD)?.[1]
    if (head === undefined) {
      const others = writes.filter(([key]) => !key.startsWith(LEASE))
      if (others.length > 0) this.world.violate('I3', `${this.side} writes ${others.map(([key]) => key).join(' ')} as if nobody else could`)
      return
    }
    const { epoch } = JSON.parse(head) as { epoch: number }
    if (epoch < this.#epoch || (epoch === this.#epoch && life !== this.#owner)) this.world.violate('I3', `two processes of ${this.side} write at once`)
    this.#owner = life
    this.#epoch = epoch
  }

  /** What was to land later lands now, if it still may. */
  async landLate(): Promise<void> {}

  /** Who has taken the store over last. */
  get owner(): Life | undefined {
    return this.#owner
  }

  /** Whether nothing is written on it at this moment. */
  get isQuiet(): boolean {
    return this.#underWay.size === 0
  }

  /** All that is on it is gone. */
  empty(): void {
    this.#owner = undefined
    this.#epoch = 0
  }

  /** All that is durable, by key. */
  abstract contents(): Promise<Map<string, string>>

  /** The disk fails for a while. */
  breakFor(ms: number): void {
    this.#brokenUntil = this.world.clock.now() + ms
  }

  protected get isBroken(): boolean {
    return this.world.isFaulty && this.world.clock.now() < this.#brokenUntil
  }

  /** How long a call takes: mostly no time at all. */
  protected delayMs(): number {
    const { fate, isFaulty } = this.world
    const hangsFor = this.world.hangsFor(0.012)
    if (hangsFor > 0) return hangsFor
    if (!isFaulty || fate.chance(0.7)) return 0
    if (this.world.strikes('slow store', 0.03)) return 200 + fate.upTo(SLOWEST_MS - 200)
    return fate.upTo(15)
  }

  /** Does a write at its time, unless the process dies before. Resolves with what `act` returns. */
  protected async write<T>(life: Life, name: string, act: () => T): Promise<T> {
    const delayMs = this.delayMs()
    if (life.frozen !== undefined) await life.frozen
    if (!life.survives(`before ${name}`)) return never()
    if (this.world.mutant.acknowledgesEarly === true) return this.#acknowledgeEarly(life, act)
    if (delayMs > 0 && !await this.#wait(life, delayMs, act)) return never()
    const result = act()
    if (life.frozen !== undefined) await life.frozen
    if (!life.survives(`after ${name}`)) return never()
    return result
  }

  /** Resolves with false where the process died meanwhile. */
  #wait(life: Life, delayMs: number, act: () => unknown): Promise<boolean> {
    return new Promise(resolve => {
      const underWay = {
        life,
        settle: () => {
          act()
          resolve(false)
        }
      }
      this.#underWay.add(underWay)
      this.world.clock.setTimer(delayMs, () => {
        this.#underWay.delete(underWay)
        resolve(life.isAlive)
      })
    })
  }

  #acknowledgeEarly<T>(life: Life, act: () => T): Promise<T> {
    this.world.clock.setTimer(20, () => { if (life.isAlive) act() })
    // What was asked for holds, as far as this store can say.
    return Promise.resolve(true as T)
  }

  protected async read<T>(life: Life, act: () => Promise<T> | T): Promise<T> {
    if (!life.survives('before a read')) return never()
    if (this.isBroken && this.world.fate.chance(0.2)) throw new Error('the disk cannot be read')
    const found = await act()
    const hangsFor = this.world.hangsFor(0.006)
    if (hangsFor > 0) await this.world.pause(hangsFor)
    if (life.frozen !== undefined) await life.frozen
    return life.survives('after a read') ? found : never()
  }
}

/** A store of ours. */
export class OwnDisk extends Disk {
  #memory = new MemoryStore()
  /** The same, where it can be looked at without waiting. */
  readonly #values = new Map<string, string>()
  readonly #onDurable: OnDurable
  readonly #late: Array<{ batch: Batch; life: Life }> = []

  constructor(world: World, side: SideName, onDurable: OnDurable) {
    super(world, side)
    this.#onDurable = onDurable
  }

  store(life: Life): Store {
    return {
      ...(this.world.odd.shares === this.side ? { shared: this.side } : {}),
      get: key => this.read(life, () => this.#memory.get(key)),
      list: (prefix: string, options?: ListOptions) => this.read(life, () => this.#memory.list(prefix, options)),
      commit: batch => this.#commit(life, batch),
      close: async () => undefined
    }
  }

  async #commit(life: Life, batch: Batch): Promise<boolean> {
    const doom = this.#doom()
    const isAnswered = this.world.hangsFor(0.012) === 0
    const landed = await this.write(life, 'a commit', () => doom === 'none' || doom === 'unknown: lands' ? this.#land(batch, life) : false)
    // Whatever became of it.
    if (!isAnswered) return never()
    if (doom === 'none') return landed
    if (doom === 'fails') throw new Error('disk full')
    if (doom === 'unknown: lands late') this.#late.push({ batch, life })
    this.world.clock.setTimer(this.world.fate.upTo(3000), () => { void this.landLate() })
    throw new StoreError('the disk does not answer', { outcome: 'unknown' })
  }

  #doom(): Doom {
    if (this.isBroken || this.world.strikes('failed store', 0.02)) return 'fails'
    if (!this.world.strikes('unknown commit', 0.015)) return 'none'
    return this.world.fate.pick(['unknown: lands', 'unknown: lost', 'unknown: lands late'])
  }

  /** Without an await, so that it is all there or nothing at any moment. */
  #land(batch: Batch, life: Life): boolean {
    const isOpen = (key: string): boolean => key === HEAD && this.world.mutant.forgetsOwners === true
    for (const [key, expected] of batch.guards ?? []) if (!isOpen(key) && this.#values.get(key) !== expected) return false
    const puts = this.#surviving(batch.puts ?? [])
    void this.#memory.commit({ ...batch, puts })
    const writes: Writes = [...puts, ...(batch.deletes ?? []).map(key => [key, undefined] as const)]
    for (const [key, value] of writes) {
      if (value === undefined) this.#values.delete(key)
      else this.#values.set(key, value)
    }
    this.checkOwner(writes, life)
    this.world.note(this.side, () => `commit ${writes.map(([key]) => key).join(' ')}`)
    this.#onDurable(writes)
    return true
  }

  #surviving(puts: NonNullable<Batch['puts']>): NonNullable<Batch['puts']> {
    if (this.world.mutant.losesPuts !== true || puts.length < 3 || !this.world.fate.chance(0.05)) return puts
    return puts.slice(0, -1)
  }

  override async landLate(): Promise<void> {
    for (const { batch, life } of this.#late.splice(0)) this.#land(batch, life)
  }

  override empty(): void {
    super.empty()
    this.#late.length = 0
    this.#memory = new MemoryStore()
    this.#values.clear()
  }

  async contents(): Promise<Map<string, string>> {
    return new Map(await this.#memory.list('', { limit: Infinity }))
  }
}

/** A host's plain store. */
export class PlainDisk extends Disk {
  readonly #values = new Map<string, string>()
  /** What all keys begin with there. */
  readonly #prefix: string
  readonly #onDurable: OnDurable

  constructor(world: World, side: SideName, prefix: string, onDurable: OnDurable) {
    super(world, side)
    this.#prefix = prefix
    this.#onDurable = onDurable
  }

  /** An object of each life's own, so that each gets a wrapper of its own. */
  store(life: Life): KeyValueStore {
    return {
      get: (key: string) => this.read(life, () => this.#values.get(key)),
      put: (key: string, value: string) => this.#write(life, key, value),
      del: (key: string) => this.#write(life, key, undefined)
    }
  }

  async #write(life: Life, key: string, value: string | undefined): Promise<void> {
    const doom = this.#doom()
    await this.write(life, `writing ${key}`, () => {
      if (doom !== 'fails') this.#land(key, value)
    })
    if (doom === 'none') return
    throw new Error('the disk is on fire')
  }

  #doom(): Doom {
    if (this.isBroken || this.world.strikes('failed store', 0.008)) return 'fails'
    return this.world.strikes('torn write', 0.008) ? 'lands' : 'none'
  }

  #land(key: string, value: string | undefined): void {
    const name = key.slice(this.#prefix.length)
    if (value === undefined) this.#values.delete(key)
    else this.#values.set(key, value)
    this.world.note(this.side, () => `${value === undefined ? 'del' : 'put'} ${name}`)
    if (value !== undefined && name === JOURNAL) this.#onDurable(writesOf(value))
  }

  override get isQuiet(): boolean {
    return super.isQuiet && !this.#values.has(this.#prefix + JOURNAL)
  }

  override empty(): void {
    super.empty()
    this.#values.clear()
  }

  async contents(): Promise<Map<string, string>> {
    const found = new Map([...this.#values].map(([key, value]) => [key.slice(this.#prefix.length), value]))
    const journal = found.get(JOURNAL)
    for (const [key, value] of journal === undefined ? [] : writesOf(journal)) {
      if (value === undefined) found.delete(key)
      else found.set(key, value)
    }
    found.delete(JOURNAL)
    return found
  }
}

function writesOf(journal: string): Writes {
  const { writes } = JSON.parse(journal) as { writes: Array<[string, string | null]> }
  return writes.map(([key, value]) => [key, value ?? undefined])
}
