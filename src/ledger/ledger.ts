/**
 * One ledger: its transfers, sums, holds and limits, in memory and in the store. Imports core.
 *
 * Knows nothing of time, peers or modules: what may happen to a transfer at all is in `stages.ts`, when it happens is decided by
 * the callers, in changes that the committer runs one after the other. Memory holds what is durable: what is open, and a bounded
 * cache of what was last touched.
 */
import type { Amount, Limit } from '../core/amounts.js'
import { InvalidFieldsError } from '../core/errors.js'
import type { StoreError } from '../core/errors.js'
import { passingMap } from '../core/passing-map.js'
import type { Committer, Group } from './committer.js'
import { Draft, HISTORY_SPAN_MS, STORED_SUMS, hold, inFlightOf, positionOf } from './draft.js'
import type { Adopted, Entry, Layout, Limits, Memory, Sums, View } from './draft.js'
import { OpenPages } from './open-pages.js'
import {
  afterFinal, damaged, headOf, historyPageOf, ledgerKeys, parseHistoryPage, parseOpenPage, parseStored, parseStoredLimit, parseStoredSum, parseTransferRecord
} from './records.js'
import type { LedgerKeys, LoggedTransfer, Moment, OpenRecord, StoredOpen, TransferWithInfo } from './records.js'
import { STATE_OF, UNSETTLED, isOfPackets } from './stages.js'
import type { Stage } from './stages.js'

/** Final transfers kept in memory, for repeats of what was just done: at least half as many, at most so many. */
const CACHE_LIMIT = 256
/** Records read at once. */
const PAGE = 100

/** Hears that the store hangs: see `Change.overdue`. */
type Overdue = ((error: StoreError) => void) | undefined

/** What a change returns that has to know first what the store has. */
const UNREAD = Symbol('unread')

/** What was read of a transfer that memory did not know, for as long as changes wait that asked for it, in their order. */
interface Reading<T extends LoggedTransfer> {
  done: Promise<void>
  isDone: boolean
  entry: Entry<T> | undefined
  waiting: number
}

interface RecordOptions<T extends LoggedTransfer> {
  keepsPackets?: boolean
  headOf?: Layout<T>['headOf'] | undefined
  /** Throws for what the store has as a transfer about which something is still to be done, and cannot be one. */
  check?: (entry: Entry) => void
}

/** Where the history names a transfer. */
interface HistoryPlace {
  at: number
  id: string
  cursor: string
}

export interface SettleOptions {
  /** What the sum may be at most. */
  most: Limit
  isWanted: (group: Group) => boolean
  also: (group: Group) => void
}

export interface HistoryPage<T extends LoggedTransfer = LoggedTransfer> {
  entries: Array<TransferWithInfo<T> & { preparedAt: number; cursor: string }>
}

export class Ledger<T extends LoggedTransfer = LoggedTransfer> {
  readonly #committer: Committer
  readonly #keys: LedgerKeys
  readonly #defaults: Limits
  readonly #layout: Omit<Layout<T>, 'isOld'>
  readonly #check: ((entry: Entry) => void) | undefined
  /** Counts the take-overs: what was read before one is not kept after it. */
  #generation = 0
  #loading: Promise<void> | undefined
  #lastReading: Promise<void> | undefined
  #nextReading: Promise<void> | undefined
  #loaded = false
  #sums: Sums = emptySums()
  #limits: Limits
  #open = passingMap<string, Entry<T>>()
  #pages: OpenPages
  /** How many of them are in flight. */
  #inFlight = 0
  /** See `withhold`: all of it, and what was there when some went last. */
  #withheld = 0n
  #withheldBefore = 0n
  #conceded = 0n
  /** Final ones, in two generations, the older of which goes as a whole. To find the first of a map takes longer the more went before it. */
  #cache = new Map<string, Entry<T>>()
  #olderCache = new Map<string, Entry<T>>()
  #readings = new Map<string, Reading<T>>()
  /** Final ones of which the store still has what was kept while they were open. */
  #closing = passingMap<string, Entry<T> | undefined>()
  /** Ids of which the store has to be asked before a change of theirs is decided. */
  #unread = new Set<string>()

  /** `limits` hold where the store has none: stored limits win. */
  constructor(committer: Committer, key: string, limits: Limits, { keepsPackets = false, headOf: write = headOf, check }: RecordOptions<T> = {}) {
    this.#committer = committer
    this.#keys = ledgerKeys(key)
    this.#defaults = limits
    this.#limits = limits
    this.#layout = { keepsPackets, headOf: write }
    this.#check = check
    this.#pages = new OpenPages(this.#keys)
    committer.onTakeOver(() => { this.#forget() })
  }

  #forget(): void {
    this.#generation++
    this.#loading = undefined
    this.#loaded = false
    this.#open = passingMap()
    this.#pages = new OpenPages(this.#keys)
    this.#inFlight = 0
    this.#cache = new Map()
    this.#olderCache = new Map()
    this.#readings = new Map()
    this.#closing = passingMap()
    this.#unread = new Set()
  }

  /**
   * Reads the sums, the limits and what is open: once, and again after the store was taken over.
   * @throws StoreError when the store fails, or a record does not parse, which it names
   */
  async load(): Promise<void> {
    while (!this.#loaded) {
      const loading = this.#loading ??= this.#read()
      try {
        await loading
      } finally {
        if (this.#loading === loading) this.#loading = undefined
      }
    }
  }

  /**
   * Reads anew what another owner may have changed. Calls share the next reading, and none that has begun before them.
   * @throws as `load`
   */
  refresh(): Promise<void> {
    return this.#nextReading ??= (this.#lastReading ?? Promise.resolve()).catch(() => undefined).then(async () => {
      this.#lastReading = this.#nextReading
      this.#nextReading = undefined
      if (!this.#committer.owns) await this.#read()
      // Where it was taken over here meanwhile, that counts.
      await this.load()
    })
  }

  /** Whoever owns the store knows what is in it. Anybody else has to look. */
  #loadFresh(): Promise<void> {
    return this.#committer.owns ? this.load() : this.refresh()
  }

  async #read(): Promise<void> {
    const keys = this.#keys
    const generation = this.#generation
    const sums = await this.#readSums()
    const [maximum, minimum] = await Promise.all([keys.maximum, keys.minimum].map(key => this.#committer.get(key)))
    const open = passingMap<string, Entry<T>>()
    const pages = new OpenPages(keys)
    for await (const [key, text] of this.#listAll(keys.openPrefix)) {
      const stored = parseOpenPage(key, text)
      pages.add(Number(key.slice(keys.openPrefix.length)), stored.map(({ id }) => id))
      for (const entry of await Promise.all(stored.map(one => this.#readOpen(key, one)))) open.set(entry.id, entry)
    }
    for (const entry of open.values()) hold(sums, entry, 1)
    const limits: Limits = {
      maximum: maximum === undefined ? this.#defaults.maximum : parseStoredLimit(keys.maximum, maximum),
      minimum: minimum === undefined ? this.#defaults.minimum : parseStoredLimit(keys.minimum, minimum)
    }
    // Where the store was taken over meanwhile, some of this may be older than that.
    if (generation !== this.#generation) return
    this.#sums = sums
    this.#limits = limits
    this.#open = open
    this.#pages = pages
    this.#inFlight = [...open.values()].filter(inFlightOf).length
    this.#cache = new Map()
    this.#olderCache = new Map()
    this.#loaded = true
  }

  /** Both sums of the balance in one listing, where another owner could write between two readings. */
  async #readSums(): Promise<Sums> {
    const keys = this.#keys
    const sums = emptySums()
    // What the old package wrote is in no listing, and no other process writes there.
    const readings = this.#committer.opensInOldPackage
      ? STORED_SUMS.map(async sum => [[keys[sum], await this.#committer.get(keys[sum])] as const])
      : [keys.balancePrefix, keys.settledPrefix].map(prefix => this.#committer.list(prefix, { limit: PAGE }))
    const found = new Map((await Promise.all<ReadonlyArray<readonly [string, string | undefined]>>(readings)).flat())
    for (const sum of STORED_SUMS) sums[sum] = parseStoredSum(keys[sum], found.get(keys[sum]) ?? '0')
    return sums
  }

  async * #listAll(prefix: string): AsyncGenerator<[string, string]> {
    let after: string | undefined
    for (;;) {
      const page = await this.#committer.list(prefix, after === undefined ? { limit: PAGE } : { after, limit: PAGE })
      yield * page
      after = page.at(-1)?.[0]
      if (page.length < PAGE) return
    }
  }

  /** An open transfer lies in its open record, or has a record of its own; one that was offered may have become final in that one only. */
  async #readOpen(openKey: string, { id, open, info }: StoredOpen): Promise<Entry<T>> {
    if (info !== undefined && open.stage !== 'offered') return this.#entryOf(id, openKey, info, open)
    const key = this.#keys.transfer(id)
    const text = await this.#committer.get(key)
    if (text === undefined) {
      if (info === undefined) throw damaged(key, 'is missing')
      return this.#entryOf(id, openKey, info, open)
    }
    const own = parseTransferRecord(key, text)
    const isAhead = open.stage === 'offered' && own.state !== 'prepared'
    return this.#entryOf(id, key, own, isAhead ? afterFinal(open, own) : open)
  }

  /** A transfer that is not open. */
  async #readClosed(id: string): Promise<Entry<T> | undefined> {
    const key = this.#keys.transfer(id)
    const text = await this.#committer.get(key)
    return text === undefined ? undefined : this.#entryOf(id, key, parseTransferRecord(key, text), undefined)
  }

  async #entryOf(id: string, key: string, record: TransferWithInfo, open: OpenRecord | undefined): Promise<Entry<T>> {
    const info = record as TransferWithInfo<T>
    const amount = parseStoredSum(key, info.transfer.amount)
    let stage: Stage = open?.stage ?? (info.state === 'prepared' ? 'held' : info.state)
    // The old package kept nothing beside the record: what it left prepared was held. A dispute is told from a cancellation by its evidence.
    if (stage === 'cancelled' && info.isIncoming && await this.#committer.get(this.#keys.disputed(id)) !== undefined) stage = 'disputed'
    // Whatever is wanted by now, a record that is there stays, and one that was not written when it was due never will be.
    const isKept = key === this.#keys.transfer(id) || !isOfPackets(stage) || (this.#layout.keepsPackets && info.state === 'prepared')
    const entry: Entry<T> = { id, info, amount, head: headOf(info.transfer, info.isIncoming), stage, isKept, open }
    if (open !== undefined || info.state === 'prepared') parseStored(key, () => this.#check?.(entry))
    return entry
  }

  // ---- reading

  async sums(): Promise<Readonly<Sums>> {
    await this.#loadFresh()
    return this.#sums
  }

  async limits(): Promise<Readonly<Limits>> {
    await this.#loadFresh()
    return this.#limits
  }

  /** As `limits`, once they have been read. */
  get currentLimits(): Readonly<Limits> {
    return this.#limits
  }

  /** As `sums`, once they have been read. */
  get currentSums(): Readonly<Sums> {
    return this.#sums
  }

  /** What limits act on, once it has been read: the balance, with what was settled. */
  get position(): Amount {
    return positionOf(this.#sums)
  }

  /**
   * Takes room below the maximum for what has left it in a dispute: else a peer could have as much again and again, and dispute all of it
   * (I9). It counts nowhere else, and is forgotten with the process. `later` calls what it is given after a time: between once and twice
   * that time it is taken, however many disputes there are by one timer.
   */
  withhold(amount: Amount, later: (action: () => void) => void): void {
    const release = (): void => {
      this.#withheld -= this.#withheldBefore
      this.#withheldBefore = this.#withheld
      if (this.#withheld > 0n) later(release)
    }
    if (this.#withheld === 0n && amount > 0n) later(release)
    this.#conceded += amount
    this.#withheld += amount
  }

  /** All that was ever withheld in this process: by so much, at most, an incoming sum has become less. */
  get conceded(): Amount {
    return this.#conceded
  }

  /** How much the position may rise by a settlement of ours, so that all that is held can still be fulfilled within the maximum (I5). */
  get roomBelowMaximum(): Limit {
    const { maximum } = this.#limits
    return typeof maximum === 'bigint' ? maximum - this.position - this.#sums.incomingHeld : maximum
  }

  /** What has not come to its end yet, and final ones whose event may not have been raised. */
  get open(): ReadonlyArray<Entry<T>> {
    return [...this.#open.values()]
  }

  /** The entry of an open transfer, or of one touched lately, without waiting. */
  peek(id: string): Entry<T> | undefined {
    return this.#open.get(id) ?? this.#cache.get(id) ?? this.#olderCache.get(id) ?? this.#readings.get(id)?.entry
  }

  async find(id: string): Promise<Entry<T> | undefined> {
    await this.#loadFresh()
    return this.#find(id)
  }

  async #find(id: string): Promise<Entry<T> | undefined> {
    return this.peek(id) ?? await this.#readClosed(id)
  }

  /**
   * Newest first. `before` is the cursor of the last entry of the page before. Reads no more than it needs, give or take a record of
   * the store; a page shorter than `limit` is the last one.
   */
  async history(before: string | undefined, limit: number): Promise<HistoryPage<T>> {
    await this.#loadFresh()
    const entries: HistoryPage<T>['entries'] = []
    let places: HistoryPlace[] = []
    const take = async (): Promise<void> => {
      const found = await Promise.all(places.map(({ id }) => this.#find(id)))
      // Absent where it was pruned since its page was read: the next ones make this page full.
      for (const [index, { at, cursor }] of places.entries()) {
        const entry = found[index]
        if (entry !== undefined) entries.push({ ...entry.info, preparedAt: at, cursor })
      }
      places = []
    }
    for await (const place of this.#historyFrom(before, limit)) {
      places.push(place)
      if (entries.length + places.length === limit) await take()
      if (entries.length === limit) break
    }
    await take()
    return { entries }
  }

  /** A cursor is the place of an entry in its page, and the key of that. */
  async * #historyFrom(before: string | undefined, limit: number): AsyncGenerator<HistoryPlace> {
    const { historyPrefix } = this.#keys
    let after: string | undefined
    if (before !== undefined) {
      const dot = before.indexOf('.')
      after = historyPrefix + before.slice(dot + 1)
      const text = await this.#committer.get(after)
      if (text !== undefined) yield * this.#placesIn(after, text, Number(before.slice(0, dot)) + 1)
    }
    for (;;) {
      const pages = await this.#committer.list(historyPrefix, after === undefined ? { limit } : { after, limit })
      for (const [key, text] of pages) yield * this.#placesIn(key, text, 0)
      if (pages.length < limit) return
      after = pages.at(-1)?.[0]
    }
  }

  * #placesIn(key: string, text: string, from: number): Generator<HistoryPlace> {
    const { historyPrefix } = this.#keys
    for (const [place, moment] of parseHistoryPage(key, text, historyPrefix).entries()) {
      if (place >= from && moment !== null) yield { at: moment[0], id: moment[1], cursor: `${place}.${key.slice(historyPrefix.length)}` }
    }
  }

  // ---- changing

  /**
   * Runs one change on one transfer. Changes of one id are decided in the order of the calls. `decide` may be called again, when it
   * was decided on too little or the store refused it: it must do nothing but through the view. `isPatient`: waits for a store that hangs.
   * @throws what `decide` throws, and what the committer throws
   */
  change<R>(id: string, decide: (view: View<T>) => R, isPatient = true): Promise<R> {
    return new Promise<R>((resolve, reject) => { this.#change(id, decide, resolve, reject, isPatient ? undefined : reject) })
  }

  /**
   * As `change`, for who needs no promise: calls one of the two, in the turn in which others hear of the same commit. They must not throw.
   * `overdue`: as that of the committer's changes.
   */
  changeThen<R>(id: string, decide: (view: View<T>) => R, resolve: (value: R) => void, reject: (error: unknown) => void, overdue?: Overdue): void {
    this.#change(id, decide, resolve, reject, overdue)
  }

  #change<R>(id: string, decide: (draft: Draft<T>) => R, resolve: (value: R) => void, reject: (error: unknown) => void, overdue?: Overdue): void {
    const reading = this.#readings.get(id)
    if (reading === undefined && this.#isReady()) this.#enqueue(id, decide, resolve, reject, overdue)
    else this.#changeAfterReading(id, decide, resolve, reject, overdue)
  }

  /** Whether memory holds what is open, so that changes can be decided. */
  #isReady(): boolean {
    return this.#loaded && this.#committer.owns
  }

  #knows(id: string): boolean {
    return this.#open.has(id) || this.#cache.has(id) || this.#olderCache.has(id) || this.#readings.get(id)?.isDone === true
  }

  /** Changes of one id queue behind its reading, which lasts until the last of them is answered. */
  #changeAfterReading<R>(id: string, decide: (draft: Draft<T>) => R, resolve: (value: R) => void, reject: (error: unknown) => void, overdue: Overdue): void {
    const reading = this.#readings.get(id) ?? this.#startReading(id)
    const leave = (): void => {
      if (--reading.waiting > 0 || this.#readings.get(id) !== reading) return
      this.#readings.delete(id)
      this.#unread.delete(id)
    }
    reading.waiting++
    reading.done.then(() => {
      if (!this.#isReady() || !this.#knows(id)) {
        // What was read before the store changed hands is of no use, to nobody who waits for it: each would find it again, for ever.
        if (this.#readings.get(id) === reading) this.#readings.delete(id)
        this.#changeAfterReading(id, decide, resolve, reject, overdue)
        return
      }
      this.#enqueue(id, decide, value => { leave(); resolve(value) }, error => { leave(); reject(error) }, overdue)
    }, (error: unknown) => { leave(); reject(error) })
  }

  #enqueue<R>(id: string, decide: (draft: Draft<T>) => R, resolve: (value: R) => void, reject: (error: unknown) => void, overdue: Overdue): void {
    this.#committer.enqueue({
      overdue,
      decide: group => this.#decide(group, id, decide),
      resolve: result => {
        if (result === UNREAD) this.#changeAfterReading(id, decide, resolve, reject, overdue)
        else resolve(result)
      },
      reject: error => {
        // Unless others wait behind a reading of it already.
        if (!this.#readings.has(id)) this.#unread.delete(id)
        reject(error)
      }
    })
  }

  /**
   * Of an id that memory does not know, most are new: such a transfer is created, and the store itself refuses the group where there is
   * a final one of that id. Whatever else is to be done about an unknown id is done after reading.
   */
  #decide<R>(group: Group, id: string, decide: (draft: Draft<T>) => R): R | typeof UNREAD {
    const draft = this.#draftIn(group)
    if (draft.knows(id)) return decide(draft)
    if (this.#unread.has(id)) return UNREAD
    try {
      const result = decide(draft)
      if (draft.knows(id)) {
        // The random id of a packet that this side sends, and keeps no record of, is nobody's.
        const entry = draft.get(id)
        if (entry?.isKept !== false || entry.info.isIncoming) group.expectAbsent(this.#keys.transfer(id), () => { this.#unread.add(id) })
        return result
      }
    } catch {
      // Decided on what memory does not know: again when it does.
    }
    // Changes of the same id that come behind must not overtake this one.
    this.#unread.add(id)
    return UNREAD
  }

  #startReading(id: string): Reading<T> {
    const reading: Reading<T> = { done: Promise.resolve(), isDone: false, entry: undefined, waiting: 0 }
    this.#readings.set(id, reading)
    reading.done = this.#readForChange(id, reading)
    return reading
  }

  async #readForChange(id: string, reading: Reading<T>): Promise<void> {
    if (!this.#committer.owns) await this.#committer.ready()
    if (!this.#loaded) await this.load()
    const generation = this.#generation
    const entry = this.#knows(id) ? undefined : await this.#readClosed(id)
    if (generation !== this.#generation) return
    // What memory holds by now is newer.
    if (!this.#knows(id)) reading.entry = entry
    reading.isDone = true
  }

  /** Sets a limit. It is kept in the store, where it wins over options. What is held already may be over it. */
  async setLimit(which: keyof Limits, value: Limit): Promise<void> {
    await this.#committer.ready()
    await this.load()
    await this.#committer.submit(group => { this.#draftIn(group).setLimit(which, value) })
  }

  /**
   * Adds to what was settled, where it is wanted, up to `most` in all; what `also` writes lands in the same commit. Tells whether it was
   * wanted, however long a store hangs: who counts on it hears of it once it is there.
   * @throws NotAcceptedError when `most` or the minimum does not allow it; StoreError, StandbyError
   */
  async settle(which: 'settledIn' | 'settledOut', amount: Amount, { isWanted, also, most }: SettleOptions): Promise<boolean> {
    await this.#committer.ready()
    await this.load()
    const decide = (group: Group): boolean => {
      if (!isWanted(group)) return false
      this.#draftIn(group).settle(which, amount, most)
      also(group)
      return true
    }
    return new Promise<boolean>((resolve, reject) => { this.#committer.enqueue({ decide, resolve, reject }) })
  }

  /**
   * Takes sums over from the peer's books, and outgoing transfers with them, whatever the limits are. `check` throws where what is there
   * forbids it; what `also` writes lands in the same commit.
   * @throws UnreachableError where an id is known; what `check` throws; StoreError, StandbyError
   */
  async adopt(check: (sums: Readonly<Sums>) => void, sums: Partial<Sums>, transfers: ReadonlyArray<Adopted<T>>, also?: (group: Group) => void): Promise<void> {
    await this.#committer.submit(group => {
      this.#draftIn(group).adopt(check, sums, transfers)
      also?.(group)
    })
  }

  #draftIn(group: Group): Draft<T> {
    return group.draft(this, () => new Draft<T>(this.#memory(), group, this.#keys, { isOld: this.#committer.opensInOldPackage, ...this.#layout }))
  }

  #memory(): Memory<T> {
    return {
      sums: this.#sums,
      limits: this.#limits,
      inFlight: this.#inFlight,
      pages: this.#pages,
      closing: this.#closing,
      withheld: this.#withheld,
      knows: id => this.#knows(id),
      get: id => this.peek(id),
      apply: (sums, limits, entries) => { this.#apply(sums, limits, entries) }
    }
  }

  #apply(sums: Sums, limits: Limits, entries: Map<string, Entry<T> | undefined>): void {
    this.#sums = sums
    this.#limits = limits
    entries.forEach((entry, id) => {
      const reading = this.#readings.get(id)
      if (reading !== undefined) reading.entry = entry
      this.#inFlight += inFlightOf(entry) - inFlightOf(this.#open.get(id))
      if (entry?.open === undefined) this.#open.delete(id)
      else this.#open.set(id, entry)
      if (entry !== undefined && entry.open === undefined) this.#remember(entry)
      else {
        this.#cache.delete(id)
        this.#olderCache.delete(id)
      }
    })
  }

  /**
   * Nothing is left to be done about a final transfer: `open` lists it no more. What was kept for that in the store goes along with
   * a later commit, so a restart before that lists it again. `isInDoubt`: whether the peer may still ask about it, so that it gets a record
   * if it has none.
   */
  close(id: string, isInDoubt = false): void {
    const entry = this.#open.get(id)
    if (entry === undefined || STATE_OF[entry.stage] === 'prepared') return
    this.#open.delete(id)
    this.#inFlight -= inFlightOf(entry)
    this.#remember(entry)
    this.#closing.set(id, isInDoubt && !entry.isKept ? entry : undefined)
    this.#committer.submitLater(this.#keys.openPrefix, this.#deleteClosed)
  }

  /** A draft deletes by itself what is closing. */
  readonly #deleteClosed = (group: Group): void => {
    this.#draftIn(group)
    const closing = [...this.#closing.keys()]
    group.onDurable(() => { for (const id of closing) this.#closing.delete(id) })
  }

  /** Keeps what is closed for repeats. */
  #remember({ id, info, amount, stage, isKept }: Entry<T>): void {
    this.#cache.set(id, { id, info, amount, head: '', stage: closedStage(stage), isKept, open: undefined })
    if (this.#cache.size < CACHE_LIMIT / 2) return
    this.#olderCache = this.#cache
    this.#cache = new Map()
  }

  /**
   * Removes the records of transfers that were prepared before `before` (milliseconds since 1970; Infinity for all) and are final,
   * where `mayGo` agrees. Sums stay, and so does what is disputed or has an event that may not have been raised.
   * Returns how many went.
   * @throws InvalidFieldsError when `before` is no number; what `mayGo` throws; StoreError, StandbyError
   */
  async prune(before: number, mayGo: (info: TransferWithInfo<T>) => boolean): Promise<number> {
    if (typeof before !== 'number' || Number.isNaN(before)) throw new InvalidFieldsError('before must be milliseconds since 1970')
    await this.#committer.ready()
    await this.load()
    const { historyPrefix } = this.#keys
    if (before <= 0) return 0
    // A page may have begun a little later.
    let after: string | undefined = this.#keys.history(Math.ceil(before) - 1 + HISTORY_SPAN_MS, '')
    let pruned = 0
    while (after !== undefined) {
      const pages: Array<[string, string]> = await this.#committer.list(historyPrefix, { after, limit: PAGE })
      for (const [key, text] of pages) pruned += await this.#prunePage(key, parseHistoryPage(key, text, historyPrefix), before, mayGo)
      after = pages.length < PAGE ? undefined : pages.at(-1)?.[0]
    }
    return pruned
  }

  /** The transfers go first: where that is interrupted, the page is left with the ids of some that are not there any more. */
  async #prunePage(key: string, moments: Array<Moment | null>, before: number, mayGo: (info: TransferWithInfo<T>) => boolean): Promise<number> {
    const outcomes = await Promise.all(moments.map(async moment => {
      if (moment === null) return 'unknown'
      return moment[0] < before ? this.#pruneOne(moment[1], mayGo) : 'stays'
    }))
    const left = moments.map((moment, place) => outcomes[place] === 'stays' ? moment : null)
    if (left.some((moment, place) => moment !== moments[place])) {
      await this.#committer.submit(group => {
        if (left.every(moment => moment === null)) group.delete(key)
        else group.put(key, historyPageOf(left))
      })
    }
    return outcomes.filter(outcome => outcome === 'pruned').length
  }

  #pruneOne(id: string, mayGo: (info: TransferWithInfo<T>) => boolean): Promise<'pruned' | 'stays' | 'unknown'> {
    const decide = (draft: Draft<T>): 'pruned' | 'stays' | 'unknown' => {
      const entry = draft.get(id)
      if (entry === undefined) return 'unknown'
      const isDone = entry.open === undefined && (entry.stage === 'fulfilled' || entry.stage === 'cancelled')
      if (!isDone || !mayGo(entry.info)) return 'stays'
      draft.erase(entry)
      return 'pruned'
    }
    return new Promise((resolve, reject) => { this.#change(id, decide, resolve, reject, reject) })
  }
}

/** What a final stage is when nothing is left to be done about it. */
function closedStage(stage: Stage): Stage {
  if (!UNSETTLED.has(stage)) return stage
  return STATE_OF[stage] === 'fulfilled' ? 'fulfilled' : 'cancelled'
}

function emptySums(): Sums {
  return { incomingFulfilled: 0n, outgoingFulfilled: 0n, incomingHeld: 0n, outgoingHeld: 0n, settledIn: 0n, settledOut: 0n }
}
