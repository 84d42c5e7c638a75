/**
 * Group commit: the one way in which anything of a plugin reaches its store. Imports core.
 *
 * Changes queue up while a commit is under way. When it is done, the waiting ones are decided, one after the other and without
 * any await between them, against what is durable plus what those before them in the same group decided; then the group is
 * committed. So nobody ever decides on what may still fail: a group that fails leaves memory as it was, and whatever gathered
 * behind it has not been decided yet.
 *
 * Each commit is guarded by, and rewrites, one key: the head. It names the owner and counts epochs and groups. Whoever takes the
 * store over writes a new epoch, which refuses all later commits of the owner before; and reading the head back tells whether a
 * group of unknown outcome has landed.
 */
import { StandbyError, StoreError, messageOf } from '../core/errors.js'
import type { Clock } from '../core/clock.js'
import type { Logger } from '../core/log.js'
import type { Store } from '../core/store.js'

const HEAD_KEY = 'paychan:head'
/** Changes in one group. Bounds the memory and the time of one commit. */
const GROUP_LIMIT = 1000
/** How long to wait between attempts to read back a group of unknown outcome, in milliseconds. */
const READ_BACK_MS = 1000

interface Head {
  v: 1
  owner: string
  epoch: number
  group: number
}

/** The writes of the group that is being decided. */
export interface Group {
  put(key: string, value: string): void
  delete(key: string): void
  /** What to do to memory when the group is durable. Must not throw. */
  onDurable(apply: () => void): void
  /** An overlay of a participant for the time of this group: made on the first call, the same object on the later ones. */
  draft<D>(participant: object, make: () => D): D
}

/** Decides one change: synchronously, checking everything before it writes anything. What it throws rejects the change alone. */
export type Decide<T> = (group: Group) => T

interface Waiting {
  decide: Decide<unknown>
  resolve(value: unknown): void
  reject(error: unknown): void
}

interface Answer {
  settle(): void
  fail(error: unknown): void
}

class GroupInProgress implements Group {
  readonly writes = new Map<string, string | undefined>()
  readonly answers: Answer[] = []
  /** The deletions of this group that were put off until now. */
  readonly lazy = new Map<string, () => void>()
  readonly #drafts = new Map<object, unknown>()
  readonly #applies: Array<() => void> = []

  put(key: string, value: string): void {
    this.writes.set(key, value)
  }

  delete(key: string): void {
    this.writes.set(key, undefined)
  }

  onDurable(apply: () => void): void {
    this.#applies.push(apply)
  }

  draft<D>(participant: object, make: () => D): D {
    if (!this.#drafts.has(participant)) this.#drafts.set(participant, make())
    return this.#drafts.get(participant) as D
  }

  decideOne(waiting: Waiting): void {
    try {
      const value = waiting.decide(this)
      this.answers.push({ settle: () => { waiting.resolve(value) }, fail: waiting.reject })
    } catch (error) {
      // It may have been refused because of an earlier change in this group, so it too is answered when the group is durable.
      this.answers.push({ settle: () => { waiting.reject(error) }, fail: waiting.reject })
    }
  }

  landed(): void {
    for (const apply of this.#applies) apply()
    for (const answer of this.answers) answer.settle()
  }

  failed(error: unknown): void {
    for (const answer of this.answers) answer.fail(error)
  }
}

export interface CommitterOptions {
  store: Store
  clock: Clock
  log: Logger
  /** Names this owner in the head: random, unique to this instance. */
  owner: string
  /** Another owner has taken the store over: nothing can be written any more until `takeOver` is called again. */
  onLost(): void
}

export class Committer {
  readonly #options: CommitterOptions
  readonly #queue: Waiting[] = []
  readonly #resetters: Array<() => void> = []
  readonly #lazy = new Map<string, () => void>()
  #running = false
  readonly #idle: Array<() => void> = []
  #head: { head: Head; text: string } | undefined
  #taking: Promise<void> | undefined
  #lost = false

  constructor(options: CommitterOptions) {
    this.#options = options
  }

  get store(): Store {
    return this.#options.store
  }

  /** Whether this instance owns the store now. */
  get owns(): boolean {
    return this.#head !== undefined && !this.#lost
  }

  /** Called whenever the store is taken over: what was read before may be stale, so participants read anew. */
  onTakeOver(reset: () => void): void {
    this.#resetters.push(reset)
  }

  /**
   * Makes this instance the owner, once. Another owner's later commits are refused from now on.
   * @throws StoreError when the store fails; StandbyError when another one takes it over at the same moment
   */
  async takeOver(): Promise<void> {
    if (this.owns) return
    this.#taking ??= this.#take().finally(() => { this.#taking = undefined })
    await this.#taking
  }

  /** As `takeOver`, for the first write: but what was lost is not taken back. @throws StandbyError, StoreError */
  async ready(): Promise<void> {
    if (this.#lost) throw new StandbyError('another process or tab has taken the store over')
    await this.takeOver()
  }

  async #take(): Promise<void> {
    const { store, owner } = this.#options
    const before = await this.#guarded(() => store.get(HEAD_KEY))
    const epoch = before === undefined ? 1 : parseHead(before).epoch + 1
    const head: Head = { v: 1, owner, epoch, group: 0 }
    const text = JSON.stringify(head)
    const taken = await this.#guarded(() => store.commit({ puts: [[HEAD_KEY, text]], guards: [[HEAD_KEY, before]] }))
    if (!taken) throw new StandbyError('another owner took the store at the same moment')
    this.#head = { head, text }
    this.#lost = false
    for (const reset of this.#resetters) reset()
  }

  async #guarded<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (cause) {
      throw cause instanceof StoreError ? cause : new StoreError(`the store failed: ${messageOf(cause)}`, { cause })
    }
  }

  /**
   * Queues a change; resolves with what it decided when it is durable. A change that writes nothing is answered when all that
   * it may have looked at is durable.
   * @throws what `decide` throws; StoreError when the commit failed (`outcome: 'unknown'` where that is not even known);
   *   StandbyError when the store has another owner
   */
  submit<T>(decide: Decide<T>): Promise<T> {
    if (!this.owns) {
      return Promise.reject(new StandbyError('this instance does not own its store: another process or tab has taken it over'))
    }
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ decide, resolve: resolve as (value: unknown) => void, reject })
      this.#wake()
    })
  }

  /** Deletes a key some time later, along with another group; `close` deletes what is left. `apply` is called when it is durable. */
  deleteLazily(key: string, apply: () => void): void {
    this.#lazy.set(key, apply)
  }

  /** Waits until nothing is queued, and writes what was put off. Errors were told to those who queued. */
  async settle(): Promise<void> {
    if (this.owns && this.#lazy.size > 0) await this.submit(() => undefined).catch(() => undefined)
    if (this.#running) await new Promise<void>(resolve => this.#idle.push(resolve))
  }

  /** Gives the store up: whoever wants to write here again calls `takeOver`. */
  release(): void {
    this.#head = undefined
  }

  #wake(): void {
    if (this.#running) return
    this.#running = true
    // A turn later, so that what is queued in the same turn shares the first group.
    queueMicrotask(() => { void this.#run() })
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const group = new GroupInProgress()
      for (const waiting of this.#queue.splice(0, GROUP_LIMIT)) group.decideOne(waiting)
      this.#addLazy(group)
      if (group.writes.size === 0) group.landed()
      else await this.#commit(group)
    }
    this.#running = false
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  #addLazy(group: GroupInProgress): void {
    for (const [key, apply] of this.#lazy) {
      group.delete(key)
      group.onDurable(apply)
      group.lazy.set(key, apply)
    }
    this.#lazy.clear()
  }

  #putBackLazy(group: GroupInProgress): void {
    for (const [key, apply] of group.lazy) this.#lazy.set(key, apply)
  }

  async #commit(group: GroupInProgress): Promise<void> {
    const current = this.#head
    if (current === undefined || this.#lost) {
      group.failed(new StandbyError('another owner has taken the store over'))
      return
    }
    const head: Head = { ...current.head, group: current.head.group + 1 }
    const text = JSON.stringify(head)
    const puts: Array<[string, string]> = [[HEAD_KEY, text]]
    const deletes: string[] = []
    for (const [key, value] of group.writes) {
      if (value === undefined) deletes.push(key)
      else puts.push([key, value])
    }
    let found: string | undefined
    try {
      const landed = await this.#options.store.commit({ puts, deletes, guards: [[HEAD_KEY, current.text]] })
      found = landed ? text : undefined
    } catch (cause) {
      const unknown = cause instanceof StoreError && cause.outcome === 'unknown'
      if (unknown) this.#options.log.error('the store failed and did not say whether it wrote: reading back until that is known')
      found = unknown ? await this.#readBack() : current.text
      if (found === current.text) {
        this.#putBackLazy(group)
        group.failed(new StoreError(`the store failed, nothing was changed: ${messageOf(cause)}`, { cause }))
        return
      }
    }
    if (found === text) {
      this.#head = { head, text }
      group.landed()
    } else {
      this.#lose(group)
    }
  }

  /** Nobody is answered, and nothing else is decided, before the outcome of the group is known. */
  async #readBack(): Promise<string | undefined> {
    for (;;) {
      try {
        return await this.#options.store.get(HEAD_KEY)
      } catch {
        await new Promise<void>(resolve => { this.#options.clock.setTimer(READ_BACK_MS, resolve) })
      }
    }
  }

  #lose(group: GroupInProgress): void {
    this.#lost = true
    group.failed(new StandbyError('another owner has taken the store over, nothing was changed'))
    this.#options.log.warn('another owner has taken the store over: this instance only reads from now on')
    this.#options.onLost()
  }
}

function parseHead(text: string): Head {
  try {
    const head = JSON.parse(text) as Partial<Head> | null
    if (typeof head === 'object' && head !== null && head.v === 1 && typeof head.epoch === 'number') return head as Head
  } catch {
    // Falls through to the error below.
  }
  throw new StoreError(`the record under '${HEAD_KEY}' does not parse`)
}
