/** The lease of a store that processes share: granted, renewed, let go, lost and taken, by clocks that agree on nothing. */
import { describe, expect, it } from 'vitest'
import { Lease } from '../../src/plugin/lease.js'
import type { Processes } from '../../src/plugin/lease.js'
import type { HolderState, KnownIdentity } from '../../src/plugin/sibling-messages.js'
import type { Batch, ListOptions, Store } from '../../src/core/store.js'
import { MemoryStore } from '../../src/store/memory.js'
import { chooser } from '../support/chooser.js'
import { watch } from '../support/lab.js'
import { MemoryLog } from '../support/memory-log.js'
import { VirtualClock, settle } from '../support/virtual-clock.js'

const identity: KnownIdentity = { info: { prefix: 'test.' }, account: 'test.client', peerAccount: 'test.server' }
const LEASE_KEY = 'paychan:lease'
/** What may pass from the last sign of life until another one holds. */
const TAKEOVER_MS = 2500

/** The store as one process sees it. */
class Access implements Store {
  readonly shared = 'file'
  state: 'works' | 'fails' | 'hangs' = 'works'
  /** As `state`, for what writes. */
  writes: 'works' | 'fails' | 'hangs' = 'works'
  commits = 0
  readonly #disk: Store
  #waiting: Array<() => void> = []

  constructor(disk: Store) {
    this.#disk = disk
  }

  /** What hangs goes on. */
  recover(): void {
    this.state = this.writes = 'works'
    for (const resume of this.#waiting.splice(0)) resume()
  }

  get(key: string): Promise<string | undefined> {
    return this.#call(this.state, () => this.#disk.get(key))
  }

  list(prefix: string, options?: ListOptions): Promise<Array<[key: string, value: string]>> {
    return this.#call(this.state, () => this.#disk.list(prefix, options))
  }

  commit(batch: Batch): Promise<boolean> {
    this.commits++
    return this.#call(this.state === 'works' ? this.writes : this.state, () => this.#disk.commit(batch))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  async #call<T>(state: 'works' | 'fails' | 'hangs', call: () => Promise<T>): Promise<T> {
    if (state === 'fails') throw new Error('disk full')
    if (state === 'hangs') await new Promise<void>(resolve => this.#waiting.push(resolve))
    return call()
  }
}

/** A clock that may be put right, by which no timer fires any sooner or later. */
class WallClock extends VirtualClock {
  aheadMs = 0

  override now(): number {
    return super.now() + this.aheadMs
  }
}

/** A process: it has a clock of its own, which stands still while it is stopped. */
class Machine {
  readonly store: Access
  readonly clock = new WallClock()
  readonly log = new MemoryLog()
  readonly events: string[] = []
  readonly learnt: KnownIdentity[] = []
  refreshed = 0
  readonly lease: Lease
  state: HolderState = {}
  isStopped = false
  stoppedMs = 0

  constructor(readonly name: string, disk: Store, processes?: Processes) {
    this.store = new Access(disk)
    this.lease = new Lease({
      store: this.store,
      storeTimeoutMs: 10_000,
      id: name,
      clock: this.clock,
      log: this.log,
      state: () => this.state,
      onHeld: () => { this.events.push('held') },
      onLost: () => { this.events.push('lost') },
      learn: identity => { this.learnt.push(identity) },
      refresh: () => {
        this.refreshed++
        return Promise.resolve()
      }
    }, processes)
  }
}

class World {
  readonly disk = new MemoryStore()
  readonly machines: Machine[] = []

  make(processes?: Processes): Machine {
    const machine = new Machine(`machine ${this.machines.length + 1}`, this.disk, processes)
    this.machines.push(machine)
    return machine
  }

  /** Real time passes for all that are not stopped, and never two of them hold that know of it. */
  async advance(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10) {
      for (const machine of this.machines) {
        if (machine.isStopped) machine.stoppedMs += 10
        else await machine.clock.advance(10)
      }
      expect(this.holders.length).toBeLessThan(2)
    }
  }

  /** Those that hold, and are not stopped. */
  get holders(): string[] {
    return this.machines.filter(({ isStopped, lease }) => !isStopped && lease.isHeld).map(({ name }) => name)
  }

  async join(machine: Machine): Promise<number> {
    const joining = watch(machine.lease.join())
    await settle()
    let passed = 0
    for (; joining.state === 'pending' && passed < 20_000; passed += 10) await this.advance(10)
    if (joining.state === 'rejected') throw joining.error as Error
    return passed
  }
}

async function pair(): Promise<[World, Machine, Machine]> {
  const world = new World()
  const [first, second] = [world.make(), world.make()]
  await world.join(first)
  await world.join(second)
  expect([first.lease.isHeld, second.lease.isHeld]).toEqual([true, false])
  return [world, first, second]
}

/** Until that one holds, in milliseconds. */
async function untilHeld(world: World, { lease }: Machine): Promise<number> {
  let passed = 0
  for (; !lease.isHeld && passed < 20_000; passed += 10) await world.advance(10)
  return passed
}

describe('the first', () => {
  it('has the lease at once: one reading and one write, and no further write while nobody waits', async () => {
    const world = new World()
    const first = world.make()
    expect(await world.join(first)).toBe(0)
    expect([first.events, first.store.commits]).toEqual([['held'], 1])
    await world.advance(60_000)
    expect([first.lease.isHeld, first.store.commits]).toEqual([true, 1])
  })

  it('writes once a second while somebody waits, and tells what it knows', async () => {
    const [world, first, second] = await pair()
    first.state = { epoch: 3, head: 'h', identity }
    const before = first.store.commits
    await world.advance(30_000)
    expect(first.store.commits - before).toBeGreaterThan(27)
    expect(first.store.commits - before).toBeLessThanOrEqual(30)
    expect(second.learnt.at(-1)).toEqual(identity)
    // Once for each change of what is stored.
    expect(second.refreshed).toBe(1)
    expect([first.events, second.events]).toEqual([['held'], []])
  })

  it('tells news at once where somebody waits', async () => {
    const [world, first, second] = await pair()
    await world.advance(100)
    first.state = { epoch: 4, identity }
    first.lease.announce()
    await world.advance(260)
    expect(second.learnt).toEqual([identity])
  })

  it('has it at once also where the one before has let go', async () => {
    const world = new World()
    const [first, second] = [world.make(), world.make()]
    await world.join(first)
    await first.lease.leave()
    expect(await world.disk.get(LEASE_KEY)).toBeUndefined()
    expect(await world.join(second)).toBe(0)
  })

  it('writes no more when those that waited have left', async () => {
    const [world, first, second] = await pair()
    await second.lease.leave()
    await world.advance(1000)
    const before = first.store.commits
    await world.advance(60_000)
    expect(first.store.commits).toBe(before)
  })

  it('leaves no timer and no record behind when it lets go', async () => {
    const [world, first, second] = await pair()
    await second.lease.leave()
    await first.lease.leave()
    expect([first.clock.pending, second.clock.pending, await world.disk.list('')]).toEqual([0, 0, []])
  })
})

describe('whoever waits', () => {
  it('knows within 1.25 s that another one holds', async () => {
    const world = new World()
    await world.join(world.make())
    await world.advance(12_345)
    expect(await world.join(world.make())).toBeLessThanOrEqual(1260)
  })

  it('takes the lease at its next look when it was let go', async () => {
    const [world, first, second] = await pair()
    await first.lease.leave()
    expect(await untilHeld(world, second)).toBeLessThanOrEqual(250)
  })

  it('takes it within 2.5 s when the holder stops or dies, and not before 2.25 s after its last beat', async () => {
    for (let after = 0; after < 1100; after += 100) {
      const [world, first, second] = await pair()
      await world.advance(after)
      first.isStopped = true
      const tookMs = await untilHeld(world, second)
      expect(tookMs).toBeLessThanOrEqual(TAKEOVER_MS)
      expect(tookMs).toBeGreaterThanOrEqual(2250 - 1000)
    }
  })

  it('takes it at its next look when the holder is known to be dead', async () => {
    const dead = new Set<string>()
    const processesOf = (own: string): Processes => ({ own, isGone: name => dead.has(name) })
    const world = new World()
    const [first, second] = [world.make(processesOf('1')), world.make(processesOf('2'))]
    await world.join(first)
    await world.join(second)
    first.isStopped = true
    dead.add('1')
    expect(await untilHeld(world, second)).toBeLessThanOrEqual(250)
    second.isStopped = true
    dead.add('2')
    expect(await world.join(world.make(processesOf('3')))).toBe(0)
  })

  it('finds out about a holder that died before it came', async () => {
    const world = new World()
    const [first, second] = [world.make(), world.make()]
    await world.join(first)
    first.isStopped = true
    expect(await world.join(second)).toBeLessThanOrEqual(TAKEOVER_MS)
    expect(second.lease.isHeld).toBe(true)
  })

  it('lets a record that does not parse be silent for as long', async () => {
    const world = new World()
    await world.disk.commit({ puts: [[LEASE_KEY, '{']] })
    const machine = world.make()
    expect(await world.join(machine)).toBeGreaterThan(2200)
    expect(machine.lease.isHeld).toBe(true)
  })

  it('does not count the time that it was asleep itself', async () => {
    const [world, , second] = await pair()
    second.isStopped = true
    await world.advance(60_000)
    second.isStopped = false
    second.clock.aheadMs += 60_000
    await world.advance(10_000)
    expect([second.lease.isHeld, second.events]).toEqual([false, []])
  })

  it.each([1e7, -1e7])('a clock that is put right by %d ms harms neither', async ms => {
    const [world, first, second] = await pair()
    second.clock.aheadMs += ms
    await world.advance(5000)
    first.clock.aheadMs += ms
    await world.advance(5000)
    expect([world.holders, first.events, second.events]).toEqual([['machine 1'], ['held'], []])
  })

  it('begins to count anew when the mark of who waits has changed: the holder may have found none in between', async () => {
    const [world, first, second] = await pair()
    first.isStopped = true
    await world.advance(1200)
    await world.disk.commit({ puts: [['paychan:lease:waiting', 'put back by another one']] })
    await world.advance(2000)
    expect(second.lease.isHeld).toBe(false)
    await world.advance(1000)
    expect(second.lease.isHeld).toBe(true)
  })

  it('of two one takes it, and the other goes on waiting', async () => {
    const [world, first, second] = await pair()
    const third = world.make()
    await world.join(third)
    // They look at the same moments.
    await world.advance(1000)
    first.isStopped = true
    await world.advance(TAKEOVER_MS)
    expect(second.events.length + third.events.length).toBe(1)
    await world.advance(20_000)
    expect(second.events.length + third.events.length).toBe(1)
    const [holder, other] = second.lease.isHeld ? [second, third] : [third, second]
    await holder.lease.leave()
    await world.advance(300)
    expect(other.lease.isHeld).toBe(true)
  })

  it('takes nothing while the store does not let it look, and goes on when it does', async () => {
    for (const state of ['fails', 'hangs'] as const) {
      const [world, first, second] = await pair()
      second.store.state = state
      await world.advance(30_000)
      second.store.recover()
      await world.advance(5000)
      expect([world.holders, second.events]).toEqual([['machine 1'], []])
      first.isStopped = true
      expect(await untilHeld(world, second)).toBeLessThanOrEqual(TAKEOVER_MS)
    }
  })

  it('is told when the store fails at its first look, and when it does not answer', async () => {
    const world = new World()
    const [first, second] = [world.make(), world.make()]
    first.store.state = 'fails'
    await expect(world.join(first)).rejects.toMatchObject({ name: 'StoreError', message: expect.stringContaining('disk full') as string })
    second.store.state = 'hangs'
    await expect(world.join(second)).rejects.toMatchObject({ name: 'StoreError' })
    expect([first.clock.pending, second.clock.pending]).toEqual([0, 0])
    first.store.recover()
    expect(await world.join(first)).toBe(0)
  })

  it('that leaves is not given the lease any more, and leaves none behind', async () => {
    const world = new World()
    const machine = world.make()
    machine.store.writes = 'hangs'
    void machine.lease.join()
    await settle()
    const left = machine.lease.leave()
    machine.store.recover()
    await world.advance(3000)
    await left
    expect([machine.events, machine.lease.isHeld, await world.disk.get(LEASE_KEY)]).toEqual([[], false, undefined])
  })
})

describe('a holder', () => {
  it.each(['fails', 'hangs'] as const)('whose store %s stops before another one takes the lease, and gets in line again', async state => {
    const [world, first, second] = await pair()
    first.store.state = state
    let passed = 0
    for (; first.lease.isHeld; passed += 10) await world.advance(10)
    expect(passed).toBeLessThanOrEqual(2010)
    expect(second.lease.isHeld).toBe(false)
    first.lease.requeue(0)
    expect(passed + await untilHeld(world, second)).toBeLessThanOrEqual(TAKEOVER_MS)
    first.store.recover()
    await world.advance(30_000)
    expect([world.holders, first.events]).toEqual([['machine 2'], ['held', 'lost']])
    await second.lease.leave()
    expect(await untilHeld(world, first)).toBeLessThanOrEqual(260)
  })

  it('that cannot write while somebody waits stops too; while nobody does it goes on', async () => {
    const world = new World()
    const [first, second] = [world.make(), world.make()]
    await world.join(first)
    first.store.writes = 'fails'
    await world.advance(10_000)
    expect(world.holders).toEqual(['machine 1'])
    await world.join(second)
    await world.advance(TAKEOVER_MS)
    expect([first.events, world.holders]).toEqual([['held', 'lost'], ['machine 2']])
  })

  it.each(['fails', 'hangs'] as const)('whose store %s for a second keeps the lease', async state => {
    const [world, first, second] = await pair()
    for (let time = 0; time < 20; time++) {
      first.store.state = state
      await world.advance(990)
      first.store.recover()
      await world.advance(1500)
    }
    expect([first.events, second.events]).toEqual([['held'], []])
  })

  it('whose store comes back while nobody has taken the lease has it again at once', async () => {
    const world = new World()
    const first = world.make()
    await world.join(first)
    first.store.state = 'hangs'
    await world.advance(5000)
    first.lease.requeue(0)
    first.store.recover()
    await world.advance(300)
    expect(first.events).toEqual(['held', 'lost', 'held'])
    await world.advance(10_000)
    expect(first.lease.isHeld).toBe(true)
  })

  it('that was stopped, and robbed meanwhile, finds out with its first beat; nothing of it lands', async () => {
    const [world, first, second] = await pair()
    first.isStopped = true
    await untilHeld(world, second)
    await world.advance(12_000)
    const record = await world.disk.get(LEASE_KEY)
    // It wakes up: the timers that are due run before anything else.
    await first.clock.advance(1000)
    first.isStopped = false
    expect(first.events).toEqual(['held', 'lost'])
    expect(await world.disk.get(LEASE_KEY)).toBe(record)
    first.lease.requeue(0)
    await world.advance(5000)
    expect(world.holders).toEqual(['machine 2'])
    second.isStopped = true
    expect(await untilHeld(world, first)).toBeLessThanOrEqual(TAKEOVER_MS)
  })

  it('that was stopped, and not robbed, goes on without a break', async () => {
    const world = new World()
    const first = world.make()
    await world.join(first)
    // All its timers are overdue, and run one after the other.
    first.clock.jump(60_000)
    await world.advance(5000)
    expect(first.events).toEqual(['held'])
  })

  it('is not robbed by a beat that lands late', async () => {
    const [world, first, second] = await pair()
    first.store.writes = 'hangs'
    expect(await untilHeld(world, second)).toBeGreaterThan(1000)
    const record = await world.disk.get(LEASE_KEY)
    first.store.recover()
    await settle()
    expect(await world.disk.get(LEASE_KEY)).toBe(record)
    await world.advance(5000)
    expect(world.holders).toEqual(['machine 2'])
  })

  it('that cannot release does not wait for it for ever: the lease ends by itself', async () => {
    const [world, first, second] = await pair()
    first.store.state = 'hangs'
    let isOver = false
    void first.lease.leave().then(() => { isOver = true })
    await world.advance(2010)
    expect(isOver).toBe(true)
    expect(await untilHeld(world, second)).toBeLessThanOrEqual(TAKEOVER_MS - 2000)
  })

  it('that gives up for a while lets the others have it', async () => {
    const [world, first, second] = await pair()
    first.lease.requeue(1000)
    await world.advance(300)
    expect(world.holders).toEqual(['machine 2'])
    await world.advance(10_000)
    expect([world.holders, first.events, second.events]).toEqual([['machine 2'], ['held'], ['held']])
  })
})

describe('whatever happens', () => {
  /** Hosts of the three, which do what a plugin does. */
  class Hosts {
    readonly world = new World()
    readonly machines = [this.world.make(), this.world.make(), this.world.make()]
    readonly #wanting = new Set<Machine>()

    join(machine: Machine): void {
      if (machine.isStopped || this.#wanting.has(machine)) return
      this.#wanting.add(machine)
      // A store that fails at the first look ends it, and the host may try again.
      machine.lease.join().catch(() => { this.#wanting.delete(machine) })
    }

    leave(machine: Machine): void {
      if (!machine.isStopped && this.#wanting.delete(machine)) void machine.lease.leave()
    }

    /** What is overdue runs before anything else, once: a look, or a beat and the end of the hold. */
    async wake(machine: Machine): Promise<void> {
      if (!machine.isStopped) return
      await machine.clock.advance(Math.min(machine.stoppedMs, machine.lease.isHeld ? 2010 : 250))
      machine.isStopped = false
      machine.stoppedMs = 0
    }

    /** Who has closed what it served gets in line again. */
    requeue(): void {
      for (const machine of this.machines) {
        if (machine.isStopped || machine.events.at(-1) !== 'lost') continue
        machine.events.push('closed')
        if (this.#wanting.has(machine)) machine.lease.requeue(0)
      }
    }
  }

  it.each(Array.from({ length: 10 }, () => Math.trunc(Math.random() * 2 ** 31)))('no two hold that run, and in the end one does (seed %d)', async seed => {
    const { upTo, pick } = chooser(seed)
    const hosts = new Hosts()
    const { world, machines } = hosts
    const wake = (machine: Machine): Promise<void> => hosts.wake(machine)
    const recover = ({ store }: Machine): void => { store.recover() }
    const join = (machine: Machine): void => { hosts.join(machine) }
    const deeds: ReadonlyArray<(machine: Machine) => unknown> = [
      machine => { machine.isStopped = true },
      ({ store }) => { store.state = pick(['fails', 'hangs'] as const) },
      ({ store }) => { store.writes = pick(['fails', 'hangs'] as const) },
      ({ clock }) => { clock.aheadMs += upTo(1e7) - 5e6 },
      machine => { hosts.leave(machine) },
      wake, wake, recover, recover, recover, recover, recover, recover, join, join, join, join
    ]
    let held = 0
    for (let step = 0; step < 150; step++) {
      await pick(deeds)(pick(machines))
      hosts.requeue()
      await world.advance(10 * upTo(100))
      held += world.holders.length
    }
    for (const machine of machines) {
      await hosts.wake(machine)
      machine.store.recover()
    }
    await settle()
    hosts.requeue()
    for (const machine of machines) hosts.join(machine)
    await world.advance(TAKEOVER_MS + 500)
    expect(world.holders).toHaveLength(1)
    // The test has tested something.
    expect(held).toBeGreaterThan(10)
  })
})
