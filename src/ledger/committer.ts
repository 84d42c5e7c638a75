/**
 * Group commit: the one way in which anything of a plugin reaches its store. Imports core.
 *
 * Changes queue up while a commit is under way. When it is done, the waiting ones are decided, one after the other and without
 * any await between them, against what is durable plus what those before them in the same group decided; then the group is
 * committed. So nobody ever decides on what may still fail: a group that fails leaves memory as it was, and whatever gathered
 * behind it has not been decided yet.
 *
 * Each commit is guarded by, and rewrites, one key: the head. It names the owner and counts epochs and attempts. Whoever takes the
 * store over writes a new epoch, which refuses all later commits of the owner before; and reading the head back tells whether a
 * group of unknown outcome has landed. No two attempts write the same head, so none is mistaken for another.
 */
import { StandbyError, StoreError, messageOf } from '../core/errors.js'
import { parseIfJson } from '../core/json.js'
import type { Clock } from '../core/clock.js'
import type { Logger } from '../core/log.js'
import { OverdueError, callStore } from '../core/patience.js'
import type { Batch, ListOptions, Store } from '../core/store.js'
import { sleep, waitAtMost } from '../core/timers.js'

const HEAD_KEY = 'paychan:head'
const TAKEN_OVER = 'another process or tab has taken the store over'
/** Changes in one group. Bounds the memory and the time of one commit. */
const GROUP_LIMIT = 1000
/** How long to wait between attempts to read back a group of unknown outcome, in milliseconds. */
const READ_BACK_MS = 1000
/** How long `settle` waits for a store that hangs, in milliseconds. */
const SETTLE_LIMIT_MS = 5000

/** What the head says, and the text of it that a guard expects. */
interface Head {
  readonly owner: string
  readonly epoch: number
  readonly text: string
}

/** The writes of the group that is being decided. */
export interface Group {
  put(key: string, value: string): void
  delete(key: string): void
  /** Lets the group land only while this side owns the store, also where it writes nothing. */
  mustOwn(): void
  /** What to write once all changes of the group are decided: a sum, say, that several of them move. Must not throw. */
  onSealed(write: () => void): void
  /** What to do to memory when the group is durable. Must not throw. */
  onDurable(apply: () => void): void
  /**
   * Lets the group land only where the store has nothing under `key`. Where it has, `onPresent` is called, and all changes of the group
   * are decided again. Must not throw.
   */
  expectAbsent(key: string, onPresent: () => void): void
  /** An overlay of a participant for the time of this group: made on the first call, the same object on the later ones. */
  draft<D>(participant: object, make: () => D): D
}

/** Decides one change: synchronously, checking everything before it writes anything. What it throws rejects the change alone. */
export type Decide<T> = (group: Group) => T

/** A change, from the call until it is answered by one of its two. */
export interface Change<T> {
  readonly decide: Decide<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
  /**
   * Given by whoever does not wait longer for a store than that it hangs: called, once or more often, when it may yet have been made, and
   * answered later all the same. Where it has not been decided by then it is rejected instead, and never made. Must not throw.
   */
  readonly overdue?: ((error: StoreError) => void) | undefined
}

/** What a change decided: a value, or what it threw. */
interface Decision {
  readonly value: unknown
  readonly threw: boolean
}

class GroupInProgress implements Group {
  readonly writes = new Map<string, string | undefined>()
  /** Whether it must be committed. */
  isGuarded = false
  /** What must be absent, and whom to tell that it is not. */
  readonly expectations: Array<readonly [key: string, onPresent: () => void]> = []
  /** The changes in this group that nobody waits for: to be tried again when it fails. */
  later: ReadonlyMap<string, Decide<void>> = new Map()
  readonly changes: ReadonlyArray<Change<unknown>>
  readonly #decisions: readonly Decision[]
  readonly #drafts = new Map<object, unknown>()
  readonly #seals: Array<() => void> = []
  readonly #applies: Array<() => void> = []
  readonly #log: Logger
  isAnswered = false

  /** Decides the changes in their order, and those that were put off. */
  constructor(changes: ReadonlyArray<Change<unknown>>, later: ReadonlyMap<string, Decide<void>>, log: Logger) {
    this.changes = changes
    this.#log = log
    this.#decisions = changes.map(change => this.#decide(change))
    if (later.size > 0) {
      this.later = later
      for (const decide of later.values()) decide(this)
    }
    for (const seal of this.#seals) seal()
  }

  mustOwn(): void {
    this.isGuarded = true
  }

  put(key: string, value: string): void {
    this.writes.set(key, value)
  }

  delete(key: string): void {
    this.writes.set(key, undefined)
  }

  onSealed(write: () => void): void {
    this.#seals.push(write)
  }

  onDurable(apply: () => void): void {
    this.#applies.push(apply)
  }

  expectAbsent(key: string, onPresent: () => void): void {
    this.expectations.push([key, onPresent])
  }

  draft<D>(participant: object, make: () => D): D {
    let draft = this.#drafts.get(participant) as D | undefined
    if (draft === undefined) {
      draft = make()
      this.#drafts.set(participant, draft)
    }
    return draft
  }

  #decide(change: Change<unknown>): Decision {
    try {
      return { value: change.decide(this), threw: false }
    } catch (error) {
      // It may have been refused because of an earlier change in this group, so it too is answered when the group is durable.
      return { value: error, threw: true }
    }
  }

  landed(): void {
    for (const apply of this.#applies) apply()
    if (this.isAnswered) return
    for (let index = 0; index < this.changes.length; index++) {
      const [change, decision] = [this.changes[index], this.#decisions[index]]
      this.#tell(decision?.threw === true ? change?.reject : change?.resolve, decision?.value)
    }
  }

  /** A fault of one caller must keep the others from nothing, nor the groups behind. */
  #tell(hear: ((value: unknown) => void) | undefined, value: unknown): void {
    try {
      hear?.(value)
    } catch (error) {
      this.#log.error(`a listener failed: ${messageOf(error)}`)
    }
  }

  /** Nobody is told twice: what lands after it was given up only becomes known here. */
  failed(error: unknown): void {
    if (this.isAnswered) return
    this.isAnswered = true
    for (const { reject } of this.changes) this.#tell(reject, error)
  }
}

/** Who took each store object over last, in this process: the one before hears of it at once. */
const owners = new WeakMap<Store, Committer>()

export interface CommitterOptions {
  store: Store
  /** How long the store is waited for, in milliseconds. */
  storeTimeoutMs: number
  clock: Clock
  log: Logger
  /** Names this owner in the head: random, unique to this instance. */
  owner: string
  /** Another owner has taken the store over: nothing can be written any more until `takeOver` is called again. */
  onLost: () => void
}

export class Committer {
  readonly #options: CommitterOptions
  readonly #queue: Array<Change<unknown>> = []
  readonly #resetters: Array<() => void> = []
  #later = new Map<string, Decide<void>>()
  #running = false
  /** The group whose commit is under way. */
  #group: GroupInProgress | undefined
  readonly #idle: Array<() => void> = []
  #head: Head | undefined
  #attempts = 0
  #taking: Promise<void> | undefined
  #lost = false
  /** The head as `release` left it; what writes without taking the store over on purpose does so only while it is still there. */
  #left: Head | undefined

  constructor(options: CommitterOptions) {
    this.#options = options
  }

  /** As the store's. What a store throws when it is read may be anything, and a peer that is told of it must know that it passes. @throws StoreError */
  get(key: string): Promise<string | undefined> {
    return this.#read(() => this.#options.store.get(key))
  }

  /** As the store's. @throws StoreError */
  list(prefix: string, options: ListOptions): Promise<Array<[key: string, value: string]>> {
    return this.#read(() => this.#options.store.list(prefix, options))
  }

  #read<T>(call: () => Promise<T>): Promise<T> {
    return callStore(this.#options.clock, this.#options.storeTimeoutMs, 'read', call)
  }

  #write(batch: Batch): Promise<boolean> {
    const { store, clock, storeTimeoutMs } = this.#options
    return callStore(clock, storeTimeoutMs, 'write', () => store.commit(batch))
  }

  /** As the store's. */
  get opensInOldPackage(): boolean {
    return this.#options.store.opensInOldPackage === true
  }

  /** Whether this instance owns the store now. */
  get owns(): boolean {
    return this.#head !== undefined && !this.#lost
  }

  /** The epoch of this owner, and a text that changes with each write; `undefined` while it does not own the store. */
  get head(): Readonly<{ epoch: number; text: string }> | undefined {
    return this.owns ? this.#head : undefined
  }

  /** Another instance owns the store: nothing is written here, until `takeOver` is called. */
  standBy(): void {
    this.#lost = true
  }

  /** Called whenever the store is taken over: what was read before may be stale, so participants read anew. */
  onTakeOver(reset: () => void): void {
    this.#resetters.push(reset)
  }

  /**
   * Makes this instance the owner, once for all who ask meanwhile. Another owner's later commits are refused from now on.
   * @throws StoreError when the store fails; StandbyError when another one takes it over at the same moment
   */
  async takeOver(): Promise<void> {
    this.#left = undefined
    // Also where it was taken for a write before: another one may have had it since.
    await this.#takeOnce()
  }

  /**
   * As `takeOver`, for the first write: but what was lost is not taken back, nor what another one took after a release.
   * @throws StandbyError, StoreError
   */
  async ready(): Promise<void> {
    if (this.#lost) throw new StandbyError(TAKEN_OVER)
    if (!this.owns) await this.#takeOnce()
  }

  #takeOnce(): Promise<void> {
    this.#taking ??= this.#take().finally(() => { this.#taking = undefined })
    return this.#taking
  }

  async #take(): Promise<void> {
    const { store } = this.#options
    // What is still under way belongs to the time before: it is answered first, and applied before anything is read anew.
    await this.#untilIdle()
    const before = await this.get(HEAD_KEY)
    if (this.#left !== undefined && this.#left.text !== before) {
      throw new StandbyError(TAKEN_OVER)
    }
    const head = this.#nextHead(before === undefined ? 1 : parseEpoch(before) + 1)
    const taken = await this.#write({ puts: [[HEAD_KEY, head.text]], guards: [[HEAD_KEY, before]] })
    if (!taken) throw new StandbyError(TAKEN_OVER)
    this.#head = head
    this.#lost = false
    this.#left = undefined
    // What was put off goes by what is read from now on.
    this.#later.clear()
    for (const reset of this.#resetters) reset()
    const displaced = owners.get(store)
    owners.set(store, this)
    if (displaced !== undefined && displaced !== this) displaced.#displaced()
  }

  /**
   * Finds out from the store itself whether another owner has taken it over, of which this one hears by itself only when it writes.
   * @throws StandbyError when that is so, now or before; StoreError
   */
  async checkNotLost(): Promise<void> {
    const head = this.#head
    if (head !== undefined && !this.#lost) {
      const found = await this.get(HEAD_KEY)
      if (found !== undefined && this.#head?.epoch === head.epoch && parseEpoch(found) > head.epoch) this.#displaced()
    }
    if (this.#lost) throw new StandbyError(TAKEN_OVER)
  }

  /** Another owner is there. */
  #displaced(): void {
    if (!this.owns) return
    this.#lost = true
    const { log, onLost } = this.#options
    log.warn(TAKEN_OVER)
    try {
      onLost()
    } catch (thrown) {
      log.error(`a listener failed: ${messageOf(thrown)}`)
    }
  }

  #nextHead(epoch: number): Head {
    const { owner } = this.#options
    return { owner, epoch, text: JSON.stringify({ v: 1, owner, epoch, attempt: ++this.#attempts }) }
  }

  /**
   * Queues a change; resolves with what it decided when it is durable. A change that writes nothing is answered when all that
   * it may have looked at is durable.
   * @throws what `decide` throws; StoreError when the commit failed (`outcome: 'unknown'` where the store hangs, or was given up before that
   *   could be found out); StandbyError when the store has another owner (`outcome: 'unknown'` when the change may have landed before)
   */
  submit<T>(decide: Decide<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => { this.enqueue({ decide, resolve, reject, overdue: reject }) })
  }

  /** As `submit`, for who needs no promise. */
  enqueue<T>(change: Change<T>): void {
    if (!this.owns) {
      change.reject(new StandbyError(TAKEN_OVER))
      return
    }
    this.#queue.push(change as Change<unknown>)
    this.#wake()
  }

  /**
   * Makes a change that nobody waits for, along with a later group; `settle` makes what is left. It must not throw, and takes the
   * place of another one under the same key. It may never happen: what is not durable when the process ends is forgotten.
   */
  submitLater(key: string, decide: Decide<void>): void {
    this.#later.set(key, decide)
  }

  /**
   * Waits until nothing is queued, and writes what was put off. Errors were told to those who queued. A store that does not answer
   * is waited for for 5 s; then those who wait are told what is known.
   */
  async settle(): Promise<void> {
    if (this.owns && this.#later.size > 0) this.submit(() => undefined).catch(() => undefined)
    if (!this.#running) return
    if (await waitAtMost(this.#options.clock, SETTLE_LIMIT_MS, this.#untilIdle()) === 'overdue') this.#giveUp()
  }

  #giveUp(): void {
    this.#group?.failed(new StoreError('the store was given up before it told whether it wrote', { outcome: 'unknown' }))
    for (const { reject } of this.#queue.splice(0)) reject(notDecided())
  }

  async #untilIdle(): Promise<void> {
    if (this.#running) await new Promise<void>(resolve => this.#idle.push(resolve))
  }

  /** Gives the store up: whoever wants to write here again calls `takeOver`. What is queued behind the running group is refused. */
  release(): void {
    this.#left = this.#head ?? this.#left
    this.#head = undefined
  }

  #wake(): void {
    if (this.#running) return
    this.#running = true
    // A turn later, so that what is queued in the same turn shares the first group.
    void Promise.resolve().then(() => this.#run())
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const changes = this.#queue.splice(0, GROUP_LIMIT)
      const head = this.#head
      if (head === undefined || this.#lost) {
        // Not even decided: what memory holds may be stale.
        for (const { reject } of changes) reject(new StandbyError(TAKEN_OVER))
        continue
      }
      const later = this.#later
      if (later.size > 0) this.#later = new Map()
      const group = new GroupInProgress(changes, later, this.#options.log)
      if (group.writes.size === 0 && !group.isGuarded) group.landed()
      else {
        this.#group = group
        await this.#commit(group, head)
        this.#group = undefined
      }
    }
    this.#running = false
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  async #commit(group: GroupInProgress, current: Head): Promise<void> {
    const next = this.#nextHead(current.epoch)
    const puts: Array<[string, string]> = [[HEAD_KEY, next.text]]
    const deletes: string[] = []
    group.writes.forEach((value, key) => {
      if (value === undefined) deletes.push(key)
      else puts.push([key, value])
    })
    const guards: Array<[string, string | undefined]> = [[HEAD_KEY, current.text]]
    for (const [key] of group.expectations) guards.push([key, undefined])
    const { clock, storeTimeoutMs } = this.#options
    try {
      const landed = await this.#write({ puts, deletes, guards })
      if (landed) this.#landed(group, current, next)
      else if (await this.#isExpected(group, current)) this.#decideAgain(group)
      else this.#lose(group, current, new StandbyError(TAKEN_OVER))
    } catch (cause) {
      if (cause instanceof StoreError && cause.outcome === 'unknown') {
        // By timers, since the wall clock may jump: where the store has said itself that it does not know, counted from here on.
        let isOverdue = cause instanceof OverdueError
        const cancelTimer = clock.setTimer(storeTimeoutMs, () => { isOverdue = true })
        await this.#findOut(group, current, next, cause, () => isOverdue)
        cancelTimer()
      } else this.#failed(group, cause)
    }
  }

  /** Why a group was refused: whether this instance owns the store still, and the group expected to be absent what is there. */
  async #isExpected(group: GroupInProgress, current: Head): Promise<boolean> {
    return group.expectations.length > 0 && await this.get(HEAD_KEY) === current.text
  }

  #decideAgain(group: GroupInProgress): void {
    for (const [, onPresent] of group.expectations) onPresent()
    this.#putOffAgain(group)
    // Unless they were given up: nobody waits for them any more, and they must not be made behind their callers' backs.
    if (!group.isAnswered) this.#queue.unshift(...group.changes)
  }

  #landed(group: GroupInProgress, current: Head, next: Head): void {
    this.#advance(current, next)
    group.landed()
  }

  #advance(current: Head, next: Head): void {
    // Where the store was given up meanwhile, it stays given up.
    if (this.#head === current) this.#head = next
    else if (this.#left === current) this.#left = next
  }

  #failed(group: GroupInProgress, cause: unknown): void {
    this.#putOffAgain(group)
    group.failed(new StoreError(`nothing was changed: ${messageOf(cause)}`, { cause }))
  }

  #putOffAgain(group: GroupInProgress): void {
    for (const [key, decide] of group.later) if (!this.#later.has(key)) this.#later.set(key, decide)
  }

  /**
   * Reads the head back until it tells what became of a group of unknown outcome; nothing else is decided before that, and nobody is
   * answered but those who will not wait any longer. Where the group has not landed, another head is written in its place, so that it
   * never will.
   */
  async #findOut(group: GroupInProgress, current: Head, next: Head, cause: StoreError, isOverdue: () => boolean): Promise<void> {
    const { clock, log } = this.#options
    log.error('the store failed: reading it back')
    const fence = this.#nextHead(current.epoch)
    const tellOverdue = (): void => { if (isOverdue()) this.#tellOverdue(group) }
    tellOverdue()
    for (;;) {
      try {
        const found = await this.get(HEAD_KEY)
        if (found === next.text) {
          this.#landed(group, current, next)
          return
        }
        if (found === fence.text) {
          this.#advance(current, fence)
          this.#failed(group, cause)
          return
        }
        if (found !== current.text) {
          this.#lose(group, current, new StandbyError(TAKEN_OVER, { cause, outcome: 'unknown' }))
          return
        }
        await this.#write({ puts: [[HEAD_KEY, fence.text]], guards: [[HEAD_KEY, current.text]] })
      } catch {
        tellOverdue()
        if (this.#head !== current) {
          group.failed(new StoreError('the store was given up before it told whether it wrote', { cause, outcome: 'unknown' }))
          return
        }
        await sleep(clock, READ_BACK_MS)
      }
    }
  }

  /** The store hangs. What waits behind the group has not been decided: whoever does not wait for it any longer takes it back. */
  #tellOverdue(group: GroupInProgress): void {
    // Unless they were given up: then they were told so.
    if (!group.isAnswered) for (const { overdue } of group.changes) overdue?.(new StoreError('the store does not answer', { outcome: 'unknown' }))
    for (const change of this.#queue.splice(0)) {
      if (change.overdue === undefined) this.#queue.push(change)
      else change.reject(notDecided())
    }
  }

  #lose(group: GroupInProgress, current: Head, error: StandbyError): void {
    group.failed(error)
    // Unless the store was given up meanwhile.
    if (this.#head === current) this.#displaced()
  }
}

function notDecided(): StoreError {
  return new StoreError('the store does not answer: nothing was changed')
}

function parseEpoch(text: string): number {
  const head = parseIfJson(text) as { v?: unknown; epoch?: unknown } | null | undefined
  if (head?.v === 1 && Number.isSafeInteger(head.epoch)) return head.epoch as number
  throw new StoreError(`the record under '${HEAD_KEY}' does not parse`)
}
