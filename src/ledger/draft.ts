/**
 * The changes of one group, laid over a ledger's memory until the group is durable: what may be done to a transfer, and what of it
 * is written. Imports core.
 */
import { formatAmount, parseAmount } from '../core/amounts.js'
import type { Amount, Limit } from '../core/amounts.js'
import { DuplicateIdError, NotAcceptedError, StoreError, UnreachableError } from '../core/errors.js'
import type { PassingMap } from '../core/passing-map.js'
import type { Group } from './committer.js'
import type { OpenPages } from './open-pages.js'
import { headOf, historyPageOf, isImplied, openRecordOf } from './records.js'
import type { LedgerKeys, LoggedTransfer, Moment, OpenRecord, TransferWithInfo } from './records.js'
import { MOVES, STATE_OF, UNSETTLED, isOfPackets, isStored } from './stages.js'
import type { Stage, TransferState } from './stages.js'

/** A transfer as the ledger knows it. Never changed in place: a change makes a new one. */
export interface Entry<T extends LoggedTransfer = LoggedTransfer> {
  readonly id: string
  readonly info: TransferWithInfo<T>
  readonly amount: Amount
  /** What each of its records repeats (`headOf`); empty where hardly any will be written. */
  readonly head: string
  readonly stage: Stage
  /** Whether it has a record of its own, at the latest when it is final. An ILPv4 packet has none unless that is wanted, or it is disputed. */
  readonly isKept: boolean
  /** Present while anything about the transfer is still to be done. */
  readonly open: OpenRecord | undefined
}

export interface Sums {
  incomingFulfilled: Amount
  outgoingFulfilled: Amount
  incomingHeld: Amount
  outgoingHeld: Amount
  /** What the peer ever settled towards us, and we towards it: apart from the balance, and within the same limits. */
  settledIn: Amount
  settledOut: Amount
}

/** The sums that are stored; the holds follow from what is open. */
export const STORED_SUMS = ['incomingFulfilled', 'outgoingFulfilled', 'settledIn', 'settledOut'] as const

export interface Limits {
  maximum: Limit
  minimum: Limit
}

/** What is kept about a transfer beyond its stage while it is open. */
type Details = Omit<OpenRecord, 'v' | 'stage' | 'at'>

/** What a change sees and does: durable memory, with the changes of the same group laid over it. */
export interface View<T extends LoggedTransfer = LoggedTransfer> {
  /**
   * How many transfers have not come to their end, or still wait for the peer. What may be disputed (`answered`) or asked about (`unsure`)
   * is bounded by those who do that, and keeps nothing else out.
   */
  readonly inFlight: number
  /** What the incoming ones of them hold. */
  readonly incomingHeld: Amount
  /** The transfer with this id; only the id that the change was made for can be asked. */
  get(id: string): Entry<T> | undefined
  /**
   * Adds a transfer in its first stage. The ledger takes the object over: it must not be changed any more, and hold JSON only.
   * @throws DuplicateIdError when the id is known; NotAcceptedError when a limit does not allow it; InvalidFieldsError when it is no
   *   JSON or its amount no amount; nothing is kept then
   */
  create(id: string, transfer: T, isIncoming: boolean, open: OpenRecord): Entry<T>
  /**
   * Moves a transfer on. `details` replaces what is kept about it while it is open; without a report, a final one closes.
   * @throws NotAcceptedError when its stage has no such move, or when `entry` is not what `get` returns now
   */
  move(entry: Entry<T>, stage: Stage, details?: Details): Entry<T>
  /**
   * Forgets a transfer that was never prepared: the module refused it.
   * @throws NotAcceptedError when it is in another stage than `checking`, or when `entry` is not what `get` returns now
   */
  remove(entry: Entry<T>): void
}

/** An outgoing transfer that the peer has in its books; with its preimage, where it is fulfilled. */
export interface Adopted<T extends LoggedTransfer> {
  readonly transfer: T
  readonly open: OpenRecord
  readonly fulfillment: string | undefined
}

/** What is durable, and how what was decided gets there. */
export interface Memory<T extends LoggedTransfer> {
  readonly sums: Sums
  readonly limits: Limits
  readonly inFlight: number
  readonly pages: OpenPages
  /** Final transfers about which nothing is left to be done, and which lie in the pages still; with those that get a record now. */
  readonly closing: Pick<PassingMap<string, Entry<T> | undefined>, 'entries'>
  /** See `Ledger.withhold`. */
  readonly withheld: Amount
  knows(id: string): boolean
  get(id: string): Entry<T> | undefined
  apply(sums: Sums, limits: Limits, entries: Map<string, Entry<T> | undefined>): void
}

/** What has a record of its own. */
export interface Layout<T extends LoggedTransfer> {
  /** Whether that is each transfer, also while it is prepared: as the old package has it. */
  readonly isOld: boolean
  /** Whether that is an ILPv4 packet too, once it is final. */
  readonly keepsPackets: boolean
  /** `headOf`, or what does the same for such transfers in less time. */
  headOf(transfer: T, isIncoming: boolean): string
}

/** The most transfers in a page of the history, and the longest time between the first and the last of them. */
const HISTORY_PAGE = 32
export const HISTORY_SPAN_MS = 1000

/** The changes of one group. */
export class Draft<T extends LoggedTransfer> implements View<T> {
  inFlight: number
  readonly #memory: Memory<T>
  readonly #group: Group
  readonly #keys: LedgerKeys
  readonly #layout: Layout<T>
  readonly #entries = new Map<string, Entry<T> | undefined>()
  /** Whose open records change: written anew elsewhere, or gone. */
  readonly #leaving = new Set<string>()
  /** What was prepared. */
  readonly #prepared: Moment[] = []
  readonly #sums: Sums
  readonly #limits: Limits

  constructor(memory: Memory<T>, group: Group, keys: LedgerKeys, layout: Layout<T>) {
    this.#memory = memory
    this.#group = group
    this.#keys = keys
    this.#layout = layout
    this.#sums = { ...memory.sums }
    this.#limits = { ...memory.limits }
    this.inFlight = memory.inFlight
    group.onSealed(() => {
      this.#writeSums()
      this.#writeOpen()
      this.#writeHistory()
    })
    group.onDurable(() => { memory.apply(this.#sums, this.#limits, this.#entries) })
  }

  /** Whether it is known what there is under this id, if anything. */
  knows(id: string): boolean {
    return this.#entries.has(id) || this.#memory.knows(id)
  }

  get(id: string): Entry<T> | undefined {
    return this.#entries.get(id) ?? (this.#entries.has(id) ? undefined : this.#memory.get(id))
  }

  get incomingHeld(): Amount {
    return this.#sums.incomingHeld
  }

  create(id: string, transfer: T, isIncoming: boolean, open: OpenRecord): Entry<T> {
    if (this.get(id) !== undefined) throw new DuplicateIdError(`id ${id} belongs to another transfer`)
    const entry: Entry<T> = {
      id,
      info: { transfer, isIncoming, state: 'prepared' },
      amount: parseAmount(transfer.amount),
      head: this.#layout.headOf(transfer, isIncoming),
      stage: open.stage,
      isKept: this.#layout.keepsPackets || !isOfPackets(open.stage),
      open
    }
    this.#checkLimits(entry)
    hold(this.#sums, entry, 1)
    // What the module has not agreed to may be forgotten again, and so may what is only in memory.
    if (!isStored(open.stage)) this.#group.mustOwn()
    else if (open.stage !== 'checking' && entry.isKept) this.#prepared.push([open.at, id])
    this.#write(entry, undefined)
    return entry
  }

  /** Checks a balance with all holds of one direction against the limit there (I5). */
  #checkLimits(entry: Entry<T>): void {
    const { incomingHeld, outgoingHeld } = this.#sums
    const position = positionOf(this.#sums)
    const exceeds = entry.info.isIncoming
      ? position + incomingHeld + this.#memory.withheld + entry.amount > this.#limits.maximum
      : position - outgoingHeld - entry.amount < this.#limits.minimum
    if (!exceeds) return
    const [limit, value] = entry.info.isIncoming ? ['maximum', this.#limits.maximum] as const : ['minimum', this.#limits.minimum] as const
    throw new NotAcceptedError(`transfer ${entry.id} of ${entry.info.transfer.amount} would exceed the ${limit} balance of ${formatAmount(value)}`)
  }

  move(entry: Entry<T>, stage: Stage, details: Details = {}): Entry<T> {
    this.#checkCurrent(entry)
    if (!MOVES[entry.stage].includes(stage)) {
      throw new NotAcceptedError(`transfer ${entry.id} cannot go from ${entry.stage} to ${stage}`)
    }
    const state = STATE_OF[stage]
    const staysOpen = state === 'prepared' || UNSETTLED.has(stage) || details.report !== undefined
    const moved: Entry<T> = {
      id: entry.id,
      info: infoAfter(entry, state, details),
      amount: entry.amount,
      // What is fulfilled or cancelled, and may stay open for long, is written now: only a dispute writes it again.
      head: state === 'prepared' || !entry.isKept ? entry.head : '',
      stage,
      // By that its id is not taken again (I3).
      isKept: entry.isKept || stage === 'disputed',
      open: staysOpen ? { v: 1, stage, at: entry.open?.at ?? 0, ...details } : undefined
    }
    this.#count(entry, moved)
    this.#remember(entry, moved)
    this.#write(moved, entry)
    return moved
  }

  /** What the history has of it, and what proves a dispute. */
  #remember(entry: Entry<T>, { stage, open, info: { state } }: Entry<T>): void {
    if (entry.open === undefined) return
    const isFirstStored = entry.stage === 'checking' || (!isStored(entry.stage) && state === 'fulfilled')
    if (entry.isKept ? isFirstStored : stage === 'disputed') this.#prepared.push([entry.open.at, entry.id])
    if (stage === 'disputed') this.#group.put(this.#keys.disputed(entry.id), evidenceOf(entry, { ...entry.open, ...open }))
  }

  /** Moves the sums along with a transfer. */
  #count(entry: Entry<T>, moved: Entry<T>): void {
    const [before, after] = [entry.info.state, moved.info.state]
    // What the old package left prepared has no open record: it is counted from its first move on, whatever the limits are, since
    // the peer holds it too.
    const wasCounted = entry.open !== undefined && before === 'prepared'
    if (wasCounted && after !== 'prepared') hold(this.#sums, entry, -1)
    if (!wasCounted && after === 'prepared') hold(this.#sums, moved, 1)
    if (before === after) return
    if (after === 'fulfilled') this.#credit(moved, 1)
    if (before === 'fulfilled') this.#credit(moved, -1)
  }

  /** An entry that is not the newest has been moved already: moving it again would count it twice (I3). */
  #checkCurrent(entry: Entry<T>): void {
    if (this.get(entry.id) !== entry) throw new NotAcceptedError(`transfer ${entry.id} has changed meanwhile`)
  }

  #credit(entry: Entry<T>, sign: 1 | -1): void {
    const sum = entry.info.isIncoming ? 'incomingFulfilled' : 'outgoingFulfilled'
    this.#sums[sum] += sign === 1 ? entry.amount : -entry.amount
  }

  /**
   * Adds to what was settled.
   * @param most what the sum may be at most
   * @throws NotAcceptedError when it would be more; or, where nothing proves what the peer settles towards us, when by that we would owe it
   *   more than the minimum allows: what is proven was paid, and counts
   */
  settle(which: 'settledIn' | 'settledOut', amount: Amount, most: Limit): void {
    if (this.#sums[which] + amount > most) {
      throw new NotAcceptedError(`a settlement of ${formatAmount(amount)} would exceed the ${formatAmount(most)} that are secured`)
    }
    if (which === 'settledIn' && most === Infinity && positionOf(this.#sums) - this.#sums.outgoingHeld - amount < this.#limits.minimum) {
      throw new NotAcceptedError(`a settlement of ${formatAmount(amount)} would exceed the minimum balance of ${formatAmount(this.#limits.minimum)}`)
    }
    this.#sums[which] += amount
  }

  /** Once for the group, however many of its changes moved them. */
  #writeSums(): void {
    for (const sum of STORED_SUMS) {
      if (this.#sums[sum] !== this.#memory.sums[sum]) this.#group.put(this.#keys[sum], formatAmount(this.#sums[sum]))
    }
  }

  remove(entry: Entry<T>): void {
    this.#checkCurrent(entry)
    if (entry.stage !== 'checking' || entry.open === undefined) {
      throw new NotAcceptedError(`transfer ${entry.id} is ${entry.stage}`)
    }
    hold(this.#sums, entry, -1)
    this.erase(entry)
  }

  /** Deletes the records of a transfer that is not counted in the holds. */
  erase(entry: Entry<T>): void {
    // One that was never prepared has no record of its own, but where the old package's layout gives it one.
    if (entry.open === undefined || this.#layout.isOld) this.#group.delete(this.#keys.transfer(entry.id))
    this.#leaving.add(entry.id)
    this.#set(entry.id, undefined, entry)
  }

  #write(entry: Entry<T>, before: Entry<T> | undefined): void {
    const { id, open, stage, info: { state } } = entry
    this.#set(id, entry, before)
    // What was never stored leaves nothing behind when it is cancelled.
    if (!isStored(stage) || (before !== undefined && !isStored(before.stage) && state === 'cancelled')) return
    if (state !== before?.info.state && this.#hasOwnRecord(entry)) this.#group.put(this.#keys.transfer(id), recordOf(entry, before ?? entry))
    if (open === undefined || before?.stage !== 'offered' || !isImplied(open)) this.#leaving.add(id)
  }

  /** Otherwise it lies in what says that it is open. */
  #hasOwnRecord({ isKept, info: { state } }: Entry<T>): boolean {
    return isKept && (state !== 'prepared' || this.#layout.isOld)
  }

  #set(id: string, entry: Entry<T> | undefined, before: Entry<T> | undefined): void {
    this.inFlight += inFlightOf(entry) - inFlightOf(before)
    this.#entries.set(id, entry)
  }

  #writeOpen(): void {
    const leaving = this.#leaving
    // Before what is closing joins them, which arrives nowhere.
    const arriving = [...leaving].filter(id => this.#entries.get(id)?.open !== undefined)
    for (const [id, kept] of this.#memory.closing.entries()) {
      // Unless something has become open about it since.
      if (this.get(id)?.open !== undefined) continue
      leaving.add(id)
      if (kept === undefined) continue
      this.#group.put(this.#keys.transfer(id), recordOf(kept, kept))
      this.#prepared.push([kept.open?.at ?? 0, id])
    }
    this.#memory.pages.write(this.#group, { leaving, arriving, record: id => this.#openRecord(id) })
  }

  #openRecord(id: string): string {
    const entry = this.get(id)
    if (entry?.open === undefined) throw new StoreError(`transfer ${id} is not open`)
    return this.#hasOwnRecord(entry) ? `{${openRecordOf(id, entry.open)}` : evidenceOf(entry, entry.open)
  }

  #writeHistory(): void {
    const newestFirst = this.#prepared.reverse().sort(([a], [b]) => b - a)
    for (let page: Moment[] = []; newestFirst.length > 0; page = []) {
      const [at, id] = newestFirst[0] as Moment
      while (newestFirst[0] !== undefined && page.length < HISTORY_PAGE && at - newestFirst[0][0] < HISTORY_SPAN_MS) page.push(newestFirst.shift() as Moment)
      this.#group.put(this.#keys.history(at, id), historyPageOf(page))
    }
  }

  /**
   * Sets sums, and adds outgoing transfers beside them, whatever the limits are: the peer has both.
   * @throws UnreachableError where an id is known; what `check` throws: nothing is taken then
   */
  adopt(check: (sums: Readonly<Sums>) => void, sums: Partial<Sums>, transfers: ReadonlyArray<Adopted<T>>): void {
    check(this.#sums)
    if (transfers.some(({ transfer: { id } }) => this.get(id) !== undefined)) throw new UnreachableError('the transfers have changed: try again')
    const { maximum, minimum } = this.#limits
    Object.assign(this.#sums, sums)
    Object.assign(this.#limits, { maximum: Infinity, minimum: -Infinity })
    for (const { transfer, open, fulfillment } of transfers) {
      const entry = this.create(transfer.id, transfer, false, open)
      if (fulfillment !== undefined) this.move(entry, 'fulfilled', { fulfillment, report: 'fulfill' })
    }
    Object.assign(this.#limits, { maximum, minimum })
  }

  setLimit(which: keyof Limits, value: Limit): void {
    this.#limits[which] = value
    this.#group.put(this.#keys[which], formatAmount(value))
  }
}

/** What limits act on: the balance, with what was settled. Nothing is ever settled this way under a v1 host. */
export function positionOf({ incomingFulfilled, outgoingFulfilled, settledIn, settledOut }: Pick<Sums, (typeof STORED_SUMS)[number]>): Amount {
  return incomingFulfilled - outgoingFulfilled + settledOut - settledIn
}

/** Counts an entry in the holds, or takes it out of them. What does not read as prepared is not in them. */
export function hold(sums: Sums, entry: Entry, sign: 1 | -1): void {
  if (STATE_OF[entry.stage] !== 'prepared') return
  const held = entry.info.isIncoming ? 'incomingHeld' : 'outgoingHeld'
  sums[held] += sign === 1 ? entry.amount : -entry.amount
}

/** 1 for what counts as in flight, 0 for anything else. */
export function inFlightOf(entry: Entry | undefined): number {
  return entry?.open !== undefined && entry.stage !== 'answered' && entry.stage !== 'unsure' ? 1 : 0
}

/** What a move says of the transfer. A preimage stays with it once it is fulfilled, and is nobody's business before. */
function infoAfter<T extends LoggedTransfer>(entry: Entry<T>, state: TransferState, details: Details): TransferWithInfo<T> {
  const { transfer, isIncoming } = entry.info
  const fulfillment = state === 'fulfilled' ? details.fulfillment ?? entry.open?.fulfillment : undefined
  return fulfillment === undefined ? { transfer, isIncoming, state } : { transfer, isIncoming, state, fulfillment }
}

/** A transfer with all that is kept about it while it is open. */
function evidenceOf({ id, head, info: { transfer, isIncoming } }: Entry, open: OpenRecord): string {
  return `${head === '' ? headOf(transfer, isIncoming) : head},${openRecordOf(id, open)}`
}

/** The record of a transfer, as it was before: the members in the old package's order, since its records compare as texts. */
function recordOf({ info: { state, fulfillment } }: Entry, { head: begun, info: { transfer, isIncoming } }: Entry): string {
  const head = begun === '' ? headOf(transfer, isIncoming) : begun
  const end = fulfillment === undefined ? '' : `,"fulfillment":${JSON.stringify(fulfillment)}`
  return [head, ',"state":"', state, '"', end, '}'].join('')
}
