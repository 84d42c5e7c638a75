/**
 * One ledger: its transfers, sums, holds and limits, in memory and in the store. Imports core.
 *
 * Knows nothing of time, peers or modules: what may happen to a transfer at all is in `stages.ts`, when it happens is decided by
 * the callers, in changes that the committer runs one after the other. Memory holds what is durable: what is open, and a bounded
 * cache of what was last touched.
 */
import equal from 'fast-deep-equal'
import { ZERO, formatAmount, parseAmount, parseLimit, parseSum } from '../core/amounts.js'
import type { Amount } from '../core/amounts.js'
import { InvalidFieldsError, NotAcceptedError, StoreError } from '../core/errors.js'
import type { Committer, Group } from './committer.js'
import { ledgerKeys, parseHistoryCursor, parseOpenRecord, parseTransferRecord } from './records.js'
import type { LedgerKeys, LoggedTransfer, OpenRecord, TransferWithInfo } from './records.js'
import { MOVES, STATE_OF } from './stages.js'
import type { Stage } from './stages.js'

/** Final transfers kept in memory, for repeats of what was just done. */
const CACHE_LIMIT = 10_000
const PAGE = 500

/** A transfer as the ledger knows it. Never changed in place: a change makes a new one. */
export interface Entry<T extends LoggedTransfer = LoggedTransfer> {
  readonly id: string
  readonly info: TransferWithInfo<T>
  readonly amount: Amount
  readonly stage: Stage
  /** Present while anything about the transfer is still to be done. */
  readonly open: OpenRecord | undefined
}

interface Sums {
  incomingFulfilled: Amount
  outgoingFulfilled: Amount
  incomingHeld: Amount
  outgoingHeld: Amount
}

interface Limits {
  maximum: Amount
  minimum: Amount
}

/** What a change sees and does: durable memory, with the changes of the same group laid over it. */
export interface View<T extends LoggedTransfer = LoggedTransfer> {
  /** The transfer with this id; only the id that the change was made for can be asked. */
  get(id: string): Entry<T> | undefined
  /**
   * Adds a transfer in its first stage.
   * @throws NotAcceptedError when a limit does not allow it; nothing is kept then
   */
  create(id: string, transfer: T, isIncoming: boolean, open: OpenRecord): Entry<T>
  /** Moves a transfer on. `details` replaces what is kept about it while it is open; without a report, a final one closes. */
  move(entry: Entry<T>, stage: Stage, details?: Omit<OpenRecord, 'v' | 'stage' | 'at'>): Entry<T>
  /** Forgets a transfer that was never prepared: the module refused it. */
  remove(entry: Entry<T>): void
  setLimit(which: keyof Limits, value: Amount): void
}

export interface HistoryPage<T extends LoggedTransfer = LoggedTransfer> {
  entries: Array<TransferWithInfo<T> & { preparedAt: number; cursor: string }>
}

export class Ledger<T extends LoggedTransfer = LoggedTransfer> {
  readonly #committer: Committer
  readonly #keys: LedgerKeys
  readonly #defaults: Limits
  #loading: Promise<void> | undefined
  #loaded = false
  #sums: Sums = { incomingFulfilled: ZERO, outgoingFulfilled: ZERO, incomingHeld: ZERO, outgoingHeld: ZERO }
  #limits: Limits
  #open = new Map<string, Entry<T>>()
  /** Final ones, oldest first; `undefined` for an id that is known to be unknown. */
  #cache = new Map<string, Entry<T> | undefined>()
  readonly #pinned = new Map<string, number>()

  /** `limits` hold where the store has none: stored limits win. */
  constructor(committer: Committer, key: string, limits: Limits) {
    this.#committer = committer
    this.#keys = ledgerKeys(key)
    this.#defaults = limits
    this.#limits = limits
    committer.onTakeOver(() => { this.#forget() })
  }

  #forget(): void {
    this.#loading = undefined
    this.#loaded = false
    this.#open = new Map()
    this.#cache = new Map()
  }

  /** Reads the sums, the limits and what is open: once, and again after the store was taken over. */
  async load(): Promise<void> {
    if (this.#loaded) return
    this.#loading ??= this.#read().catch((error: unknown) => {
      this.#loading = undefined
      throw error
    })
    await this.#loading
  }

  async #read(): Promise<void> {
    const { store } = this.#committer
    const keys = this.#keys
    const [incoming, outgoing, maximum, minimum] = await Promise.all(
      [keys.incomingFulfilled, keys.outgoingFulfilled, keys.maximum, keys.minimum].map(key => store.get(key)))
    const open = new Map<string, Entry<T>>()
    for await (const [key, text] of this.#listAll(keys.openPrefix)) {
      const entry = await this.#readEntry(key.slice(keys.openPrefix.length), parseOpenRecord(key, text))
      if (entry !== undefined) open.set(entry.id, entry)
    }
    const sums: Sums = {
      incomingFulfilled: parseSum(incoming ?? '0', keys.incomingFulfilled),
      outgoingFulfilled: parseSum(outgoing ?? '0', keys.outgoingFulfilled),
      incomingHeld: ZERO,
      outgoingHeld: ZERO
    }
    for (const entry of open.values()) hold(sums, entry, 1)
    this.#sums = sums
    this.#limits = {
      maximum: maximum === undefined ? this.#defaults.maximum : parseLimit(maximum, keys.maximum),
      minimum: minimum === undefined ? this.#defaults.minimum : parseLimit(minimum, keys.minimum)
    }
    this.#open = open
    this.#loaded = true
  }

  async * #listAll(prefix: string): AsyncGenerator<[string, string]> {
    let after: string | undefined
    for (;;) {
      const page = await this.#committer.store.list(prefix, after === undefined ? { limit: PAGE } : { after, limit: PAGE })
      yield * page
      after = page.at(-1)?.[0]
      if (page.length < PAGE) return
    }
  }

  async #readEntry(id: string, open: OpenRecord | undefined): Promise<Entry<T> | undefined> {
    const key = this.#keys.transfer(id)
    const text = await this.#committer.store.get(key)
    if (text === undefined) {
      if (open !== undefined) throw new StoreError(`the record under '${key}' is missing, though its transfer is open`)
      return undefined
    }
    const info = parseTransferRecord(key, text) as TransferWithInfo<T>
    // The old package kept nothing beside the record: what it left prepared was held.
    const stage = open?.stage ?? (info.state === 'prepared' ? 'held' : info.state)
    return { id, info, amount: parseAmount(info.transfer.amount), stage, open }
  }

  // ---- reading

  async sums(): Promise<Readonly<Sums>> {
    await this.load()
    return this.#sums
  }

  async limits(): Promise<Readonly<Limits>> {
    await this.load()
    return this.#limits
  }

  /** What has not come to its end yet, and final ones whose event may not have been raised. */
  get open(): Iterable<Entry<T>> {
    return this.#open.values()
  }

  get openCount(): number {
    return this.#open.size
  }

  /** The entry of an open transfer, or of one touched lately, without waiting. */
  peek(id: string): Entry<T> | undefined {
    return this.#open.get(id) ?? this.#cache.get(id)
  }

  async find(id: string): Promise<Entry<T> | undefined> {
    await this.load()
    return this.peek(id) ?? await this.#readEntry(id, undefined)
  }

  /** Newest first. `before` is the cursor of the last entry of the page before. Reads one page from the store. */
  async history(before: string | undefined, limit: number): Promise<HistoryPage<T>> {
    await this.load()
    const { historyPrefix } = this.#keys
    const keys = await this.#committer.store.list(historyPrefix, before === undefined ? { limit } : { after: historyPrefix + before, limit })
    const entries = await Promise.all(keys.map(async ([key]) => {
      const cursor = key.slice(historyPrefix.length)
      const { at, id } = parseHistoryCursor(cursor)
      const entry = await this.find(id)
      return entry === undefined ? [] : [{ ...entry.info, preparedAt: at, cursor }]
    }))
    return { entries: entries.flat() }
  }

  // ---- changing

  /**
   * Runs one change on one transfer. An open transfer's change is queued before this returns, so that changes are decided in
   * the order of the calls.
   * @throws what `decide` throws, and what the committer throws
   */
  change<R>(id: string, decide: (view: View<T>) => R): Promise<R> {
    if (this.#loaded && this.#committer.owns && this.#knows(id)) return this.#submit(decide)
    return this.#changeAfterReading(id, decide)
  }

  #knows(id: string): boolean {
    return this.#open.has(id) || this.#cache.has(id)
  }

  async #changeAfterReading<R>(id: string, decide: (view: View<T>) => R): Promise<R> {
    await this.#committer.ready()
    await this.load()
    this.#pin(id, 1)
    try {
      if (!this.#knows(id)) {
        const entry = await this.#readEntry(id, undefined)
        // Another change of the same id may have read, or even changed it meanwhile: what memory holds is newer.
        if (!this.#knows(id)) this.#remember(id, entry)
      }
      return await this.#submit(decide)
    } finally {
      this.#pin(id, -1)
    }
  }

  #submit<R>(decide: (view: View<T>) => R): Promise<R> {
    return this.#committer.submit(group => decide(this.#draftIn(group)))
  }

  #draftIn(group: Group): Draft<T> {
    return group.draft(this, () => new Draft<T>(this.#memory(), group, this.#keys))
  }

  #memory(): Memory<T> {
    return {
      sums: this.#sums,
      limits: this.#limits,
      get: id => this.peek(id),
      apply: (sums, limits, entries) => { this.#apply(sums, limits, entries) }
    }
  }

  #apply(sums: Sums, limits: Limits, entries: Map<string, Entry<T> | undefined>): void {
    this.#sums = sums
    this.#limits = limits
    for (const [id, entry] of entries) {
      if (entry?.open !== undefined) {
        this.#open.set(id, entry)
        this.#cache.delete(id)
      } else {
        this.#open.delete(id)
        this.#remember(id, entry)
      }
    }
  }

  /**
   * Nothing is left to be done about a final transfer: `open` lists it no more. What was kept for that in the store goes along with
   * a later commit, so a restart before that lists it again.
   */
  close(id: string): void {
    const entry = this.#open.get(id)
    if (entry === undefined || STATE_OF[entry.stage] === 'prepared') return
    this.#open.delete(id)
    this.#remember(id, { ...entry, stage: entry.stage === 'rejecting' ? 'cancelled' : entry.stage, open: undefined })
    const key = this.#keys.open(id)
    this.#committer.submitLater(key, group => {
      // Unless something has become open about it since.
      if (this.#draftIn(group).get(id)?.open === undefined) group.delete(key)
    })
  }

  #pin(id: string, by: 1 | -1): void {
    const pins = (this.#pinned.get(id) ?? 0) + by
    if (pins === 0) this.#pinned.delete(id)
    else this.#pinned.set(id, pins)
  }

  #remember(id: string, entry: Entry<T> | undefined): void {
    this.#cache.delete(id)
    this.#cache.set(id, entry)
    if (this.#cache.size <= CACHE_LIMIT) return
    for (const oldest of this.#cache.keys()) {
      if (this.#pinned.has(oldest)) continue
      this.#cache.delete(oldest)
      return
    }
  }

  /**
   * Removes the records of transfers that were prepared before `before` and are final, where `mayGo` agrees. Sums stay.
   * Returns how many went.
   */
  async prune(before: number, mayGo: (info: TransferWithInfo<T>) => boolean): Promise<number> {
    await this.#committer.ready()
    await this.load()
    const { historyPrefix } = this.#keys
    let after = this.#keys.history(before - 1, '')
    let pruned = 0
    for (;;) {
      const page = await this.#committer.store.list(historyPrefix, { after, limit: PAGE })
      const last = page.at(-1)
      if (last === undefined) return pruned
      after = last[0]
      const gone = await Promise.all(page.map(([key]) => this.#pruneOne(key, mayGo)))
      pruned += gone.filter(Boolean).length
    }
  }

  async #pruneOne(historyKey: string, mayGo: (info: TransferWithInfo<T>) => boolean): Promise<boolean> {
    const { id } = parseHistoryCursor(historyKey.slice(this.#keys.historyPrefix.length))
    const entry = await this.find(id)
    if (entry === undefined || entry.open !== undefined || entry.stage === 'disputed' || !mayGo(entry.info)) return false
    return this.#committer.submit(group => {
      if (this.#open.has(id)) return false
      group.delete(this.#keys.transfer(id))
      group.delete(historyKey)
      group.onDurable(() => { if (!this.#open.has(id)) this.#cache.set(id, undefined) })
      return true
    })
  }
}

interface Memory<T extends LoggedTransfer> {
  readonly sums: Sums
  readonly limits: Limits
  get(id: string): Entry<T> | undefined
  apply(sums: Sums, limits: Limits, entries: Map<string, Entry<T> | undefined>): void
}

/** The changes of one group, laid over memory until the group is durable. */
class Draft<T extends LoggedTransfer> implements View<T> {
  readonly #memory: Memory<T>
  readonly #group: Group
  readonly #keys: LedgerKeys
  readonly #entries = new Map<string, Entry<T> | undefined>()
  readonly #sums: Sums
  readonly #limits: Limits

  constructor(memory: Memory<T>, group: Group, keys: LedgerKeys) {
    this.#memory = memory
    this.#group = group
    this.#keys = keys
    this.#sums = { ...memory.sums }
    this.#limits = { ...memory.limits }
    group.onDurable(() => { memory.apply(this.#sums, this.#limits, this.#entries) })
  }

  get(id: string): Entry<T> | undefined {
    return this.#entries.has(id) ? this.#entries.get(id) : this.#memory.get(id)
  }

  create(id: string, transfer: T, isIncoming: boolean, open: OpenRecord): Entry<T> {
    const entry: Entry<T> = {
      id,
      // A copy in the form in which it will be read again, out of the caller's reach.
      info: { transfer: JSON.parse(JSON.stringify(transfer)) as T, isIncoming, state: 'prepared' },
      amount: parseAmount(transfer.amount),
      stage: open.stage,
      open
    }
    this.#checkLimits(entry)
    hold(this.#sums, entry, 1)
    this.#group.put(this.#keys.history(open.at, id), '')
    this.#write(entry, true)
    return entry
  }

  /** Checks a balance with all holds of one direction against the limit there (I5). */
  #checkLimits(entry: Entry<T>): void {
    const { incomingFulfilled, outgoingFulfilled, incomingHeld, outgoingHeld } = this.#sums
    const highest = incomingFulfilled.minus(outgoingFulfilled).plus(incomingHeld)
    const lowest = incomingFulfilled.minus(outgoingFulfilled).minus(outgoingHeld)
    const exceeds = entry.info.isIncoming
      ? highest.plus(entry.amount).gt(this.#limits.maximum)
      : lowest.minus(entry.amount).lt(this.#limits.minimum)
    if (!exceeds) return
    const [limit, value] = entry.info.isIncoming ? ['maximum', this.#limits.maximum] as const : ['minimum', this.#limits.minimum] as const
    throw new NotAcceptedError(`transfer ${entry.id} of ${entry.info.transfer.amount} would exceed the ${limit} balance of ${formatAmount(value)}`)
  }

  move(entry: Entry<T>, stage: Stage, details: Omit<OpenRecord, 'v' | 'stage' | 'at'> = {}): Entry<T> {
    if (!MOVES[entry.stage].includes(stage)) {
      throw new NotAcceptedError(`transfer ${entry.id} cannot go from ${entry.stage} to ${stage}`)
    }
    const state = STATE_OF[stage]
    const fulfillment = state === 'fulfilled' ? details.fulfillment ?? entry.open?.fulfillment : undefined
    const info: TransferWithInfo<T> = {
      transfer: entry.info.transfer,
      isIncoming: entry.info.isIncoming,
      state,
      ...(fulfillment === undefined ? {} : { fulfillment })
    }
    const staysOpen = state === 'prepared' || stage === 'rejecting' || details.report !== undefined
    // A final record holds the fulfillment itself.
    const { fulfillment: pending, ...kept } = details
    const open: OpenRecord | undefined = staysOpen
      ? { v: 1, stage, at: entry.open?.at ?? 0, ...kept, ...(pending === undefined || state !== 'prepared' ? {} : { fulfillment: pending }) }
      : undefined
    const moved: Entry<T> = { id: entry.id, info, amount: entry.amount, stage, open }
    // What the old package left prepared has no open record, and was never counted here.
    if (entry.open !== undefined && state !== 'prepared') hold(this.#sums, entry, -1)
    if (state === 'fulfilled' && entry.info.state !== 'fulfilled') this.#credit(moved)
    if (stage === 'disputed') this.#group.put(this.#keys.disputed(entry.id), JSON.stringify(entry.open))
    this.#write(moved, state !== entry.info.state)
    return moved
  }

  #credit(entry: Entry<T>): void {
    const sum = entry.info.isIncoming ? 'incomingFulfilled' : 'outgoingFulfilled'
    this.#sums[sum] = this.#sums[sum].plus(entry.amount)
    this.#group.put(this.#keys[sum], formatAmount(this.#sums[sum]))
  }

  remove(entry: Entry<T>): void {
    hold(this.#sums, entry, -1)
    this.#group.delete(this.#keys.transfer(entry.id))
    this.#group.delete(this.#keys.open(entry.id))
    if (entry.open !== undefined) this.#group.delete(this.#keys.history(entry.open.at, entry.id))
    this.#entries.set(entry.id, undefined)
  }

  #write(entry: Entry<T>, stateChanged: boolean): void {
    // The members in the old package's order: its records compare as texts.
    if (stateChanged) this.#group.put(this.#keys.transfer(entry.id), JSON.stringify(entry.info))
    if (entry.open === undefined) this.#group.delete(this.#keys.open(entry.id))
    else this.#group.put(this.#keys.open(entry.id), JSON.stringify(entry.open))
    this.#entries.set(entry.id, entry)
  }

  setLimit(which: keyof Limits, value: Amount): void {
    this.#limits[which] = value
    this.#group.put(this.#keys[which], formatAmount(value))
  }
}

/** Counts an entry in the holds, or takes it out of them. What does not read as prepared is not in them. */
function hold(sums: Sums, entry: Entry, sign: 1 | -1): void {
  if (STATE_OF[entry.stage] !== 'prepared') return
  const held = entry.info.isIncoming ? 'incomingHeld' : 'outgoingHeld'
  sums[held] = sign === 1 ? sums[held].plus(entry.amount) : sums[held].minus(entry.amount)
}

/** Whether two transfers are the same to the last field, as JSON sees them. */
export function sameTransfer(a: LoggedTransfer, b: LoggedTransfer): boolean {
  return equal(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)))
}

/** @throws InvalidFieldsError for an id that no log takes */
export function checkLogId(id: unknown): asserts id is string {
  if (typeof id !== 'string' || id === '') throw new InvalidFieldsError('id must be a string, and not empty')
}
