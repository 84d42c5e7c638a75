/**
 * What logs and trackers must do over every store: random histories against a model that is too simple to be wrong, while the store fails,
 * hangs, lands late and changes hands; and an auditor that computes the sums on its own after every commit.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Batch, ListOptions, Store } from '../../src/core/store.js'
import { PaychanError, StandbyError, StoreError } from '../../src/core/errors.js'
import { openRecords, storedTransfers } from '../support/stored-transfers.js'
import { contents, open } from '../ledger/setup.js'
import type { StoreHarness } from './store.js'

type State = 'prepared' | 'fulfilled' | 'cancelled'

const [MAXIMUM, MINIMUM] = [60n, -40n]
const IDS = ['a', 'b', 'c', 'd', 'e', 'f']
/** Within so many seconds it is known what became of a commit, however many of those that find out hang too: there are four at most. */
const FOUND_OUT_S = 50
/** More than memory keeps of what is final. */
const CROWD = 300
let crowded = 0

/** What a restart finds in the store of the log named `log`: computed from the transfers alone, and held against the stored sums. */
function audit(values: Record<string, string>): { incoming: bigint; outgoing: bigint; incomingHeld: bigint; outgoingHeld: bigint } {
  const sums = { incoming: 0n, outgoing: 0n, incomingHeld: 0n, outgoingHeld: 0n }
  const open = openRecords(values, 'log')
  for (const [id, { transfer, isIncoming, state }] of Object.entries(storedTransfers(values, 'log'))) {
    const amount = BigInt(transfer.amount)
    if (state === 'fulfilled') sums[isIncoming ? 'incoming' : 'outgoing'] += amount
    if (state === 'prepared') sums[isIncoming ? 'incomingHeld' : 'outgoingHeld'] += amount
    expect(id in open).toBe(state === 'prepared')
  }
  expect(BigInt(values['log:tl:balance:if'] ?? '0')).toBe(sums.incoming)
  expect(BigInt(values['log:tl:balance:of'] ?? '0')).toBe(sums.outgoing)
  expect(sums.incoming - sums.outgoing + sums.incomingHeld <= MAXIMUM).toBe(true)
  expect(sums.incoming - sums.outgoing - sums.outgoingHeld >= MINIMUM).toBe(true)
  return sums
}

/** Audits what a store holds after every commit. */
class AuditedStore implements Store {
  broken: unknown
  readonly #inner: Store
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(inner: Store) {
    this.#inner = inner
  }

  get opensInOldPackage(): boolean {
    return this.#inner.opensInOldPackage === true
  }

  get(key: string): Promise<string | undefined> {
    return this.#noted(this.#inner.get(key))
  }

  list(prefix: string, options?: ListOptions): Promise<Array<[key: string, value: string]>> {
    return this.#noted(this.#inner.list(prefix, options))
  }

  commit(batch: Batch): Promise<boolean> {
    return this.#noted(this.#commit(batch))
  }

  /** Resolves when the store has answered all that it was asked. */
  async quiet(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay)
  }

  #noted<T>(call: Promise<T>): Promise<T> {
    this.#underWay.add(call)
    const forget = (): void => { this.#underWay.delete(call) }
    call.then(forget, forget)
    return call
  }

  async #commit(batch: Batch): Promise<boolean> {
    const landed = await this.#inner.commit(batch)
    try {
      audit(await contents(this.#inner))
    } catch (error) {
      this.broken ??= error
    }
    return landed
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}

function start(inner: AuditedStore) {
  const opened = open(inner)
  const log = opened.backend.getTransferLog({ key: 'log', maximum: String(MAXIMUM), minimum: String(MINIMUM) })
  return { ...opened, log, tracker: opened.backend.getMaxValueTracker<number>('claims') }
}

interface Real {
  readonly harness: StoreHarness
  inner: AuditedStore
  now: ReturnType<typeof start>
}

interface Model {
  transfers: Map<string, { amount: bigint; isIncoming: boolean; state: State }>
  best: { value: bigint; data: number | null }
}

const balanceOf = (model: Model, ...states: Array<[isIncoming: boolean, state: State]>): bigint =>
  [...model.transfers.values()].filter(({ isIncoming, state }) => states.some(([one, other]) => one === isIncoming && other === state))
    .reduce((sum, { amount, isIncoming }) => isIncoming ? sum + amount : sum - amount, 0n)

/** What befalls a commit: the store says that it failed, or does not know, or never says anything. */
const FAULTS = ['none', 'none', 'none', 'none', 'fail', 'landed', 'not landed', 'late', 'hangs, landed', 'hangs, not landed'] as const
type Fault = typeof FAULTS[number]

function strike({ now: { store } }: Real, fault: Fault): void {
  if (fault === 'fail') store.failNextCommit()
  if (fault === 'landed') store.loseNextCommit('now')
  if (fault === 'not landed') store.loseNextCommit('never')
  if (fault === 'late') store.loseNextCommit('later')
  if (fault === 'hangs, landed') store.swallowNextCommit('now')
  if (fault === 'hangs, not landed') store.swallowNextCommit('never')
}

/** Moves the clock until all is answered: a fault may strike the very commit that finds out what became of another. */
async function finish<T>(real: Real, calls: Array<Promise<T>>): Promise<Array<PromiseSettledResult<T>>> {
  const state = { isDone: false }
  const all = Promise.allSettled(calls).finally(() => { state.isDone = true })
  await real.now.clock.advance(0)
  while (!state.isDone) await passASecond(real)
  return all
}

/** A store outside of this process takes time that is not the clock's. */
async function passASecond({ now: { clock }, inner }: Real): Promise<void> {
  await inner.quiet()
  await clock.advance(1000)
}

const isHang = (fault: Fault): boolean => fault.startsWith('hangs')

/** Whoever was told that nobody knows what became of a commit was told so before anybody did. */
async function findOut(real: Real): Promise<void> {
  for (let seconds = 0; seconds < FOUND_OUT_S; seconds++) await passASecond(real)
}

/** What came of a call with a fault at hand. */
interface Attempt {
  /** The name of what it threw. */
  readonly error: string | undefined
  /** Whether it met the fault, and whether that struck down what it wrote. */
  readonly met: boolean
  readonly struck: boolean
  /** What it must have thrown where it would have succeeded. */
  readonly expected: 'StoreError' | undefined
}

async function attempt(real: Real, fault: Fault, call: () => Promise<unknown>): Promise<Attempt> {
  await real.now.committer.takeOver()
  const before = real.now.store.counts.commit
  strike(real, fault)
  const [result] = await finish(real, [call()])
  if (isHang(fault)) await findOut(real)
  await real.now.store.landLate()
  const met = real.now.store.counts.commit > before && fault !== 'none'
  real.now.store.clearFaults()
  const struck = met && fault !== 'landed' && fault !== 'hangs, landed'
  const error = result?.status === 'rejected' ? (result.reason as Error).name : undefined
  return { error, met, struck, expected: struck || (met && isHang(fault)) ? 'StoreError' : undefined }
}

async function compare(model: Model, { now: { log, tracker }, inner }: Real): Promise<void> {
  expect(inner.broken).toBeUndefined()
  expect(await log.getBalance()).toBe(String(balanceOf(model, [true, 'fulfilled'], [false, 'fulfilled'])))
  expect(await log.getIncomingFulfilledAndPrepared()).toBe(String(balanceOf(model, [true, 'fulfilled'], [true, 'prepared'])))
  expect(await log.getOutgoingFulfilledAndPrepared()).toBe(String(-balanceOf(model, [false, 'fulfilled'], [false, 'prepared'])))
  for (const id of IDS) {
    expect(await log.get(id).then(({ state }) => state, () => undefined)).toBe(model.transfers.get(id)?.state)
  }
  expect(await tracker.getMax()).toEqual({ value: String(model.best.value), data: model.best.data })
}

abstract class Command implements fc.AsyncCommand<Model, Real> {
  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    await this.act(model, real)
    await compare(model, real)
  }

  abstract act(model: Model, real: Real): Promise<void>
  abstract toString(): string
}

class Prepare extends Command {
  constructor(readonly id: string, readonly amount: number, readonly isIncoming: boolean, readonly fault: Fault) { super() }

  async act(model: Model, real: Real): Promise<void> {
    const amount = BigInt(this.amount)
    const known = model.transfers.get(this.id)
    const room = this.isIncoming
      ? MAXIMUM - balanceOf(model, [true, 'fulfilled'], [false, 'fulfilled'], [true, 'prepared'])
      : balanceOf(model, [true, 'fulfilled'], [false, 'fulfilled'], [false, 'prepared']) - MINIMUM
    const { error, met, struck, expected } = await attempt(real, this.fault, () => real.now.log.prepare({ id: this.id, amount: String(this.amount) }, this.isIncoming))
    if (known !== undefined) {
      // Where memory does not know the id any more, the store is what tells that it is no new one: by a guard, so that nothing lands.
      const answers = [known.amount === amount && known.isIncoming === this.isIncoming ? undefined : 'DuplicateIdError', ...met ? ['StoreError'] : []]
      expect(answers).toContain(error)
    } else if (amount > room) {
      expect(error).toBe('NotAcceptedError')
    } else {
      expect(error).toBe(expected)
      if (!struck) model.transfers.set(this.id, { amount, isIncoming: this.isIncoming, state: 'prepared' })
    }
  }

  toString = () => `prepare(${this.id}, ${this.amount}, ${this.isIncoming ? 'in' : 'out'}, ${this.fault})`
}

class Finish extends Command {
  constructor(readonly id: string, readonly state: 'fulfilled' | 'cancelled', readonly fault: Fault) { super() }

  async act(model: Model, real: Real): Promise<void> {
    const known = model.transfers.get(this.id)
    const { error, struck, expected } = await attempt(real, this.fault, () =>
      this.state === 'fulfilled' ? real.now.log.fulfill(this.id, 'preimage') : real.now.log.cancel(this.id))
    if (known === undefined) {
      expect(error).toBe('TransferNotFoundError')
    } else if (known.state !== 'prepared') {
      expect(error).toBe(known.state === this.state ? undefined : this.state === 'fulfilled' ? 'AlreadyRolledBackError' : 'AlreadyFulfilledError')
    } else {
      expect(error).toBe(expected)
      if (!struck) known.state = this.state
    }
  }

  toString = () => `${this.state}(${this.id}, ${this.fault})`
}

class SetIfMax extends Command {
  constructor(readonly value: number, readonly fault: Fault) { super() }

  async act(model: Model, real: Real): Promise<void> {
    const { error, struck, expected } = await attempt(real, this.fault, () => real.now.tracker.setIfMax({ value: String(this.value), data: this.value }))
    const greater = BigInt(this.value) > model.best.value
    expect(error).toBe(greater ? expected : undefined)
    if (greater && !struck) model.best = { value: BigInt(this.value), data: this.value }
  }

  toString = () => `setIfMax(${this.value}, ${this.fault})`
}

/** So many that memory forgets which were there before. */
class Crowd extends Command {
  async act(_model: Model, real: Real): Promise<void> {
    await real.now.committer.takeOver()
    const ids = Array.from({ length: CROWD }, () => `crowd ${++crowded}`)
    const { log } = real.now
    await finish(real, ids.map(async id => {
      await log.prepare({ id, amount: '0' }, true)
      await log.cancel(id)
    }))
  }

  toString = () => 'crowd'
}

class Restart extends Command {
  async act(_model: Model, real: Real): Promise<void> {
    expect(real.inner.broken).toBeUndefined()
    real.inner = new AuditedStore(await real.harness.reopen())
    real.now = start(real.inner)
  }

  toString = () => 'restart'
}

/** Another owner takes over; the one before is refused from then on, and can tell nothing new. */
class ChangeHands extends Command {
  async act(_model: Model, real: Real): Promise<void> {
    const before = real.now
    await before.committer.takeOver()
    real.now = start(real.inner)
    await real.now.committer.takeOver()
    await expect(before.log.prepare({ id: 'z', amount: '0' }, true)).rejects.toThrow(StandbyError)
  }

  toString = () => 'changeHands'
}

class ReleaseAndTakeOver extends Command {
  async act(_model: Model, { now: { committer } }: Real): Promise<void> {
    await committer.takeOver()
    committer.release()
    await committer.takeOver()
  }

  toString = () => 'releaseAndTakeOver'
}

const id = fc.constantFrom(...IDS)
const fault = fc.constantFrom(...FAULTS)

type Call =
  | { kind: 'prepare'; id: string; amount: number; isIncoming: boolean }
  | { kind: 'fulfilled' | 'cancelled'; id: string }
  | { kind: 'max'; value: number }

/** The auditor found nothing; what was answered is so; memory is what a restart finds. */
async function check({ inner, now }: Real, calls: Call[], results: Array<PromiseSettledResult<unknown>>, hangs: boolean): Promise<void> {
  expect(inner.broken).toBeUndefined()
  const values = await contents(inner)
  const sums = audit(values)
  expect(await now.log.getBalance()).toBe(String(sums.incoming - sums.outgoing))
  expect(await now.log.getIncomingFulfilledAndPrepared()).toBe(String(sums.incoming + sums.incomingHeld))
  expect(await now.log.getOutgoingFulfilledAndPrepared()).toBe(String(sums.outgoing + sums.outgoingHeld))
  const { value: best } = await now.tracker.getMax()
  expect((JSON.parse(values['claims:mvt:maximum'] ?? '{"value":"0"}') as { value: string }).value).toBe(best)
  for (const [n, call] of calls.entries()) {
    const result = results[n]
    if (result?.status === 'rejected') {
      expect(result.reason).toBeInstanceOf(PaychanError)
      if (result.reason instanceof StoreError && !hangs) expect(result.reason.outcome).toBeUndefined()
    } else if (call.kind === 'max') expect(Number(best)).toBeGreaterThanOrEqual(call.value)
    else {
      const state = storedTransfers(values, 'log')[call.id]?.state
      expect([call.id, call.kind === 'prepare' ? state !== undefined : state === call.kind]).toEqual([call.id, true])
    }
  }
}

function make({ now: { log, tracker } }: Real, call: Call): Promise<unknown> {
  switch (call.kind) {
    case 'prepare': return log.prepare({ id: call.id, amount: String(call.amount) }, call.isIncoming)
    case 'fulfilled': return log.fulfill(call.id, 'preimage')
    case 'cancelled': return log.cancel(call.id)
    case 'max': return tracker.setIfMax({ value: String(call.value), data: call.value })
  }
}

/** A store of its own for one run. */
async function using(open: () => Promise<StoreHarness>, run: (real: Real) => Promise<void>): Promise<void> {
  const harness = await open()
  try {
    const inner = new AuditedStore(harness.store)
    await run({ harness, inner, now: start(inner) })
  } finally {
    await harness.dispose()
  }
}

/** Plays so many random histories of each of the two kinds over stores that `open` makes. */
export function describeLedger(name: string, open: () => Promise<StoreHarness>, { runs }: { runs: number }): void {
  describe(`${name}: logs and trackers`, () => {
    it('I2, I3, I5, H1, H4 to H7: a log and a tracker do what the model does, over failures, restarts and changes of owner', async () => {
      const commands = fc.commands([
        fc.tuple(id, fc.constantFrom(0, 7, 20, 33), fc.boolean(), fault).map(args => new Prepare(...args)),
        fc.tuple(id, fc.constantFrom(0, 7, 20, 33), fc.boolean(), fault).map(args => new Prepare(...args)),
        fc.tuple(id, fc.constantFrom('fulfilled' as const, 'cancelled' as const), fault).map(args => new Finish(...args)),
        fc.tuple(id, fc.constantFrom('fulfilled' as const, 'cancelled' as const), fault).map(args => new Finish(...args)),
        fc.tuple(fc.nat(20), fault).map(args => new SetIfMax(...args)),
        fc.constant(new Crowd()), fc.constant(new Restart()), fc.constant(new ChangeHands()), fc.constant(new ReleaseAndTakeOver())
      ], { maxCommands: 40 })
      await fc.assert(fc.asyncProperty(commands, list => using(open, async real => {
        await fc.asyncModelRun(() => ({ model: { transfers: new Map(), best: { value: 0n, data: null } } satisfies Model, real }), list)
      })), { numRuns: runs })
    })

    it('I5, H6, H7: whatever calls are made at once and whichever commits fail, the store is sound after each, and memory equals it', async () => {
      const call: fc.Arbitrary<Call> = fc.oneof(
        fc.record({ kind: fc.constant('prepare' as const), id, amount: fc.constantFrom(0, 7, 20, 33), isIncoming: fc.boolean() }),
        fc.record({ kind: fc.constantFrom('fulfilled' as const, 'cancelled' as const), id }),
        fc.record({ kind: fc.constant('max' as const), value: fc.nat(20) })
      )
      const rounds = fc.array(fc.record({ calls: fc.array(call, { maxLength: 12 }), faults: fc.array(fault, { maxLength: 4 }) }), { maxLength: 8 })
      await fc.assert(fc.asyncProperty(rounds, list => using(open, async real => {
        await real.now.committer.takeOver()
        for (const { calls, faults } of list) {
          for (const one of faults) strike(real, one)
          const results = await finish(real, calls.map(one => make(real, one)))
          const hangs = faults.some(isHang)
          if (hangs) await findOut(real)
          real.now.store.clearFaults()
          await real.now.store.landLate()
          await check(real, calls, results, hangs)
        }
      })), { numRuns: runs })
    })
  })
}
