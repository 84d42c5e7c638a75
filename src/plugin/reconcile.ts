/**
 * Compares the books of two peers of ours on each session, and stops new outgoing value where they differ by more than what is in flight
 * explains. Imports core, btp and ledger.
 *
 * Each sum of ours has its counterpart with the peer. One of the two counts a transfer first, and whatever it counts alone is in flight
 * with the other, or with itself: so the difference at the instant of the peer's answer lies in a span, which PROTOCOL.md derives. A
 * difference that is not 0 at any place of that span was made by nothing that is in flight. One that hides in it is found when the span has
 * become narrow: it is asked again until then.
 */
import type { Amount } from '../core/amounts.js'
import { printableMessage } from '../core/bytes.js'
import type { CancelTimer } from '../core/clock.js'
import { DisputeError, EmptiedStoreError, InvalidFieldsError, NotAcceptedError, UnreachableError, isTemporary } from '../core/errors.js'
import { parseIfJson } from '../core/json.js'
import { sleep } from '../core/timers.js'
import { Turns } from '../core/turns.js'
import { COUNTERPART, HELD_IN_A_PAGE, SUM_NAMES, pageAnswer, readComparison, readReport, reportMessage } from '../btp/reconcile.js'
import type { Report, SumName } from '../btp/reconcile.js'
import type { SubProtocol } from '../btp/packets.js'
import type { Session } from '../btp/session.js'
import { damaged } from '../ledger/records.js'
import { changeUntilDone } from './account.js'
import type { Account, BalanceDispute } from './account.js'
import { recover } from './recovery.js'
import type { Money, MoneyRecords } from './money.js'
import { toSubProtocol } from './settlement.js'

const RECORD = 'reconcile'
const FIRST_DELAY_MS = 1000
const LAST_DELAY_MS = 60_000
/** How long a peer whose books are new has to fill them from ours, before our host is told. */
const RECOVERY_MS = 10_000

/** What is told of a difference, and stored: integer strings, base units. */
type Numbers = Pick<BalanceDispute, 'ours' | 'theirs'>

export interface ReconcileOptions {
  account: Account
  money: Money
  records: Pick<MoneyRecords, 'read' | 'put' | 'submit'>
  /** Whether this side has a store: else it takes the peer's word, and there is nothing to compare. */
  keepsBooks: boolean
  /** Whether an emptied store is filled from the peer's books. */
  recovers: boolean
  /** See `MoneyOptions`. */
  isTrusting: boolean
  /** The books were filled from the peer's: what is in flight there is to be taken up. */
  onFilled: () => void
  /** The peer has lost its books, or never had any. */
  onPeerNew: () => void
}

/** What both sides had, ours before the question and after the answer. */
interface Comparison {
  readonly before: Report
  readonly now: Report
  readonly theirs: Report
  /** What was conceded to the peer meanwhile, so that it left a sum. */
  readonly conceded: Amount
}

/** Between which numbers lies by how much the peer's sum exceeds ours. */
interface Span {
  readonly low: Amount
  readonly high: Amount
}

export class Reconcile {
  readonly #options: ReconcileOptions
  /** Nothing was ever in these books, and no peer has said that there should be. */
  #isNew = false
  /** Differences that nobody has decided about. */
  readonly #open = new Map<SumName, Numbers>()
  /** Differences that our host has accepted. */
  #accepted = new Map<SumName, Amount>()
  /** By how much they differed, as the host was told in this life. */
  readonly #told = new Map<SumName, Amount>()
  /** On which the peer has said that its books are new, and may be about to take our word. Our host has not been told yet. */
  #newOn: Session | undefined
  /** On which the peer has said so in a question, last. */
  #toldNewBy: Session | undefined
  /** Ends how long it may say so. By a timer: the wall clock may jump. */
  #cancelPatience: CancelTimer | undefined
  #isImpatient = false
  /** Pages of the books are told one after the other. */
  readonly #pages = new Turns()
  /** What is stored is written in turn: each time all that is known by then. */
  readonly #writing = new Turns()
  /** What the peer said last. */
  #heard = ''
  #isAsking = false
  /** Something has changed since the question was sent. */
  #asksAgain = false
  #delayMs = FIRST_DELAY_MS
  #cancelTimer: CancelTimer | undefined
  #life = { isOver: false }

  constructor(options: ReconcileOptions) {
    this.#options = options
  }

  /** Reads what is stored; after the ledger and the settlements. @throws StoreError */
  async load(): Promise<void> {
    const { account: { ledger }, money, records, keepsBooks } = this.#options
    this.#life = { isOver: false }
    this.#endPatience()
    this.#told.clear()
    this.#open.clear()
    this.#accepted.clear()
    if (!keepsBooks) return
    const text = await records.read(RECORD)
    if (text !== undefined) this.#parse(text)
    const sums = this.#report()
    const isBlank = text === undefined && !money.hasBegun && SUM_NAMES.every(name => sums[name] === 0n) && ledger.open.length === 0
    // What came to nothing left its trace.
    this.#isNew = isBlank && (await ledger.history(undefined, 1)).entries.length === 0
  }

  stop(): void {
    this.#life.isOver = true
    this.#endPatience()
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  /** Whether nothing may move before the peer was asked: these books are new, or were emptied. */
  isDue(session: Session | undefined): boolean {
    return this.#compares(session) && this.#isBlank()
  }

  /** With a peer that nothing is compared with, what is new may have been traded on. */
  #isBlank(): boolean {
    const { currentSums, open } = this.#options.account.ledger
    return this.#isNew &&= open.length === 0 && SUM_NAMES.every(name => currentSums[name] === 0n)
  }

  #compares(session: Session | undefined): session is Session {
    return this.#options.keepsBooks && session?.peer.announced === true && session.peer.keepsNoBooks !== true
  }

  /** @throws DisputeError, UnreachableError: no new value may be sent */
  mustTrade(): void {
    if (this.#open.size > 0) throw new DisputeError(`the balances differ, and resolveDispute has not been called: ${this.#text()}`)
    if (this.#isPeerNew) throw new UnreachableError('the peer has lost its books')
    if (this.isDue(this.#options.account.session())) throw new UnreachableError('the books are not compared yet')
  }

  /** There is a session, and these books are none that may have been emptied. */
  sessionUp(session: Session): void {
    if (!this.#compares(session)) return
    this.#delayMs = FIRST_DELAY_MS
    void this.#ask(session)
  }

  /** A transfer of ours counts with the peer only, which its host was told. */
  differs(amount: Amount): void {
    const { account } = this.#options
    if (!this.#compares(account.session())) return
    const ours = this.#report().outgoingFulfilled
    const known = this.#open.get('outgoingFulfilled')
    const numbers = { ours: String(ours), theirs: String((known === undefined ? ours : BigInt(known.theirs)) + amount) }
    this.#open.set('outgoingFulfilled', numbers)
    this.#told.set('outgoingFulfilled', differenceOf(numbers))
    void this.#write()
  }

  /**
   * Has the peer asked before anything moves, where it is due, and fills the books from its own where that is wanted.
   * @throws EmptiedStoreError; UnreachableError when the peer cannot tell now; StoreError
   */
  async check(session: Session): Promise<void> {
    const { account, recovers, isTrusting, onFilled } = this.#options
    const theirs = await this.#compare(session).then(comparison => comparison.theirs, (error: unknown) => {
      if (isTemporary(error)) throw error
      account.log.debug(`the books cannot be compared: ${printableMessage(error)}`)
      return undefined
    })
    if (theirs !== undefined && (theirs.incomingHeld > 0n || SUM_NAMES.some(name => theirs[name] > 0n))) {
      const what = `the store is empty, but the peer's balance is ${theirs.incomingFulfilled - theirs.outgoingFulfilled}`
      if (!recovers) throw new EmptiedStoreError(`${what}: give the store back that was used before, or the option recover: 'from-peer'`)
      account.log.warn(`${what}: taking its word`)
      await recover(session, account, isTrusting, onFilled)
    }
    this.#isNew = false
  }

  get #isPeerNew(): boolean {
    return this.#newOn !== undefined && this.#newOn === this.#options.account.session()
  }

  #endPatience(): void {
    this.#newOn = undefined
    this.#cancelPatience?.()
    this.#cancelPatience = undefined
    this.#isImpatient = false
  }

  // ---- asking

  async #ask(session: Session): Promise<void> {
    this.#asksAgain = this.#isAsking
    if (this.#isAsking) return
    this.#isAsking = true
    const { account } = this.#options
    let isDone = false
    try {
      const comparison = await this.#compare(session)
      // What was decided meanwhile was decided on other numbers.
      const counts = account.session() === session && !this.#life.isOver && !this.#asksAgain
      if (counts) isDone = await this.#judge(comparison)
    } catch (error) {
      account.log.debug(`the books cannot be compared: ${printableMessage(error)}`)
      // An older one of ours, that knows nothing of this.
      isDone = !isTemporary(error)
      if (isDone) this.#endPatience()
    }
    this.#isAsking = false
    const current = account.session()
    if ((current !== session || this.#asksAgain) && this.#compares(current)) void this.#ask(current)
    else if (!isDone && current !== undefined) {
      this.#askIn(this.#delayMs)
      this.#delayMs = Math.min(this.#delayMs * 2, LAST_DELAY_MS)
    }
  }

  #askIn(delayMs: number): void {
    const { clock, session } = this.#options.account
    this.#cancelTimer?.()
    this.#cancelTimer = this.#life.isOver ? undefined : clock.setTimer(delayMs, () => {
      const current = session()
      if (this.#compares(current)) void this.#ask(current)
    })
  }

  async #compare(session: Session): Promise<Comparison> {
    const { ledger } = this.#options.account
    const conceded = ledger.conceded
    const before = this.#report()
    const { protocolData } = await session.request({ type: 'message', protocolData: [reportMessage(before)] })
    const theirs = readReport(protocolData)
    this.#heard = textOf(theirs)
    return { before, now: this.#report(), theirs, conceded: ledger.conceded - conceded }
  }

  /** What is durable at this instant. */
  #report(): Report {
    const { account: { ledger }, money } = this.#options
    const { incomingFulfilled, outgoingFulfilled, settledIn, settledOut, incomingHeld } = ledger.currentSums
    let [fulfilling, sent] = [0n, 0n]
    for (const { stage, amount } of ledger.open) {
      if (stage === 'fulfilling') fulfilling += amount
      if (stage === 'sent' || stage === 'unsure') sent += amount
    }
    return { incomingFulfilled, outgoingFulfilled, settledIn, settledOut, incomingHeld, fulfilling, sent, settling: money.underWay, isNew: this.#isBlank() }
  }

  /** Tells whether there is nothing left to be found out on this session. */
  async #judge(comparison: Comparison): Promise<boolean> {
    const { account: { log, emit, clock, session } } = this.#options
    const { now, theirs } = comparison
    const spans = SUM_NAMES.map(name => [name, spanOf(name, comparison)] as const)
    const isAgreed = ([name, span]: readonly [SumName, Span]): boolean => has(span, 0n) || has(span, this.#accepted.get(name) ?? 0n)
    // It may be about to take our word.
    if (theirs.isNew && !spans.every(isAgreed) && this.#open.size === 0 && !this.#isImpatient) {
      this.#newOn = session()
      this.#cancelPatience ??= clock.setTimer(RECOVERY_MS, () => { this.#isImpatient = true })
      return false
    }
    this.#endPatience()
    const before = this.#record()
    const untold: BalanceDispute[] = []
    for (const [name, span] of spans) {
      if (isAgreed([name, span])) this.#agree(name, span)
      else {
        const numbers = { ours: String(now[name]), theirs: String(theirs[COUNTERPART[name]]) }
        const difference = differenceOf(numbers)
        if (this.#told.get(name) !== difference) untold.push({ sum: name, ...numbers })
        this.#told.set(name, difference)
        this.#open.set(name, numbers)
      }
    }
    // What another owner of the store has moved on is that one's to tell.
    if (this.#record() !== before && !await this.#write()) return true
    if (untold.length > 0) log.warn(`the balances differ, and resolveDispute has not been called: ${this.#text()}`)
    for (const dispute of untold) emit('dispute', dispute)
    return spans.every(([, { low, high }]) => low === high)
  }

  /** A difference is over only where it is certain. */
  #agree(name: SumName, { low, high }: Span): void {
    if (low !== high) return
    if (low === 0n) this.#accepted.delete(name)
    this.#told.delete(name)
    if (this.#open.delete(name)) this.#options.account.log.info(`the two sides agree on ${name} again`)
  }

  // ---- deciding

  /** See `LedgerPlugin.resolveDispute`. */
  async resolve(choice: unknown): Promise<void> {
    const { account } = this.#options
    if (choice !== 'ours' && choice !== 'theirs') throw new InvalidFieldsError("resolveDispute takes 'ours' or 'theirs'")
    if (this.#open.size === 0) return
    const decided = new Map(this.#open)
    // Needs no peer: one that tells nothing, or nonsense, must not keep the account stopped.
    if (choice === 'ours') await this.#decide(decided, new Map([...decided].map(([name, numbers]) => [name, differenceOf(numbers)])))
    else await this.#takeTheirs(decided)
    // What the peer hears may be what it waits for.
    const session = account.session()
    if (session !== undefined) this.sessionUp(session)
  }

  /** Takes what the host was told, and nothing that the peer says since. */
  async #takeTheirs(decided: ReadonlyMap<SumName, Numbers>): Promise<void> {
    const session = this.#options.account.session()
    if (!this.#compares(session)) throw new UnreachableError('not connected to the peer')
    const comparison = await this.#compare(session)
    const sums: Partial<Record<SumName, Amount>> = {}
    for (const [name, numbers] of decided) {
      const { low, high } = spanOf(name, comparison)
      if (low !== high) throw new UnreachableError('transfers are in flight: try again when they have ended')
      // It has taken ours meanwhile.
      if (low === 0n) continue
      if (low !== differenceOf(numbers)) {
        this.sessionUp(session)
        throw new DisputeError(`${name} of the peer is not ${numbers.theirs} any more: the event dispute tells`)
      }
      sums[name] = comparison.now[name] + low
    }
    await this.#decide(decided, new Map(), sums, comparison.now)
  }

  /** Stores a decision about these, in one commit with the sums. What has come up since stays open. */
  async #decide(decided: ReadonlyMap<SumName, Numbers>, accepted: ReadonlyMap<SumName, Amount>, sums: Partial<Record<SumName, Amount>> = {}, expected: Partial<Report> = {}): Promise<void> {
    const { account, records } = this.#options
    const stays = ([name, numbers]: [SumName, Numbers]): boolean => decided.get(name) !== numbers
    const acceptedBy = (): Array<[SumName, Amount]> => [...[...this.#accepted].filter(([name]) => !decided.has(name)), ...accepted]
    await this.#writing.take(() => account.ledger.adopt(current => {
      const hasChanged = (Object.keys(sums) as SumName[]).some(name => current[name] !== expected[name])
      if (hasChanged) throw new UnreachableError('the balance has changed: try again')
    }, sums, [], group => {
      records.put(group, RECORD, textOfRecord([...this.#open].filter(stays), acceptedBy()))
      group.onDurable(() => {
        this.#accepted = new Map(acceptedBy())
        for (const entry of [...this.#open]) if (!stays(entry)) this.#open.delete(entry[0])
        for (const name of decided.keys()) if (!this.#open.has(name)) this.#told.delete(name)
      })
    }))
  }

  // ---- answering

  /** Answers what a peer asks about books; `undefined` for anything else. @throws InvalidFieldsError; NotAcceptedError */
  async handle(primary: SubProtocol, session: Session): Promise<SubProtocol[] | undefined> {
    const asked = session.peer.announced ? readComparison(primary) : undefined
    if (asked === undefined) return undefined
    if (!this.#compares(session)) throw new NotAcceptedError('there is nothing to compare')
    // What came from the books that are gone counts with them, also where it is being stored, or the store has to be asked once more.
    if ('after' in asked || asked.report.isNew) {
      await this.#options.records.submit(() => undefined)
      if (this.#options.account.retries > 0) throw new UnreachableError('the store has not taken all yet')
    }
    if ('after' in asked) {
      // Each in a turn of its own: thousands may be asked for at once, and each is some work.
      return this.#pages.take(async () => {
        await sleep(this.#options.account.clock, 0)
        return session.closed ? [] : this.#page(asked.after)
      })
    }
    const heard = textOf(asked.report)
    if ((this.#open.size > 0 || this.#isPeerNew) && heard !== this.#heard) this.#askIn(0)
    this.#heard = heard
    if (asked.report.isNew && this.#toldNewBy !== session) {
      this.#toldNewBy = session
      this.#options.onPeerNew()
    }
    return [reportMessage(this.#report())]
  }

  #page(after: string): SubProtocol[] {
    const { account: { ledger, settlement }, money } = this.#options
    const left = ledger.open
      .filter(({ id, info }) => info.isIncoming && info.state === 'prepared' && id > after)
      .sort((a, b) => a.id < b.id ? -1 : 1)
    const held = left.slice(0, HELD_IN_A_PAGE).map(({ id, stage, open, info: { transfer: { amount, executionCondition, expiresAt } } }) => ({
      id, amount, executionCondition, expiresAt: new Date(expiresAt),
      ...(stage === 'handed' ? { isPacket: true } : {}),
      ...(stage === 'fulfilling' && open?.fulfillment !== undefined ? { fulfillment: open.fulfillment } : {})
    }))
    const claim = settlement?.latestClaim ?? money.latestClaim
    const page = pageAnswer({ report: this.#report(), held, hasMore: left.length > held.length })
    return claim === undefined || after !== '' ? [page] : [page, toSubProtocol(claim)]
  }

  // ---- what is stored

  #text(): string {
    return [...this.#open].map(([name, { ours, theirs }]) => `${name} is ${ours} here, ${theirs} with the peer`).join('; ')
  }

  #record(): string {
    return textOfRecord([...this.#open], [...this.#accepted])
  }

  /** Tells whether it is stored, and this life is not over. */
  async #write(): Promise<boolean> {
    const { account, records } = this.#options
    const life = this.#life
    // A turn for each try: while the store fails nobody else has to wait for what is tried again.
    const stored = await changeUntilDone(account, () => this.#writing.take(async () => {
      await records.submit(group => { records.put(group, RECORD, this.#record()) })
      return true
    }), () => life.isOver)
    return stored === true && !life.isOver
  }

  #parse(text: string): void {
    const { v, open, accepted } = (parseIfJson(text) ?? {}) as { v?: unknown; open?: Array<[SumName, Numbers]>; accepted?: Array<[SumName, string]> }
    const key = `:paychan:${RECORD}`
    if (v !== 1 || !Array.isArray(open) || !Array.isArray(accepted)) throw damaged(key, 'is of no known version')
    try {
      for (const [name, { ours, theirs }] of open) this.#open.set(name, { ours: String(BigInt(ours)), theirs: String(BigInt(theirs)) })
      for (const [name, amount] of accepted) this.#accepted.set(name, BigInt(amount))
    } catch (cause) {
      throw damaged(key, 'does not parse', cause)
    }
  }
}

function textOfRecord(open: Array<[SumName, Numbers]>, accepted: Array<[SumName, Amount]>): string {
  return JSON.stringify({ v: 1, open, accepted: accepted.map(([name, amount]) => [name, String(amount)]) })
}

/** By how much the peer's number exceeds ours. */
function differenceOf({ ours, theirs }: Numbers): Amount {
  return BigInt(theirs) - BigInt(ours)
}

function textOf(report: Report): string {
  return [...SUM_NAMES.map(name => report[name]), report.isNew].join()
}

function has({ low, high }: Span, difference: Amount): boolean {
  return low <= difference && difference <= high
}

/** See PROTOCOL.md, "Comparing the books". */
function spanOf(name: SumName, { before, now, theirs, conceded }: Comparison): Span {
  /** What the peer may count less than we did before the question, and more than we do after the answer. */
  const slack: Record<SumName, readonly [less: Amount, more: Amount]> = {
    outgoingFulfilled: [theirs.fulfilling, before.sent + now.sent],
    incomingFulfilled: [theirs.sent + conceded, now.fulfilling + conceded],
    settledOut: [0n, before.settling + now.settling],
    settledIn: [theirs.settling, 0n]
  }
  const [less, more] = slack[name]
  const sum = theirs[COUNTERPART[name]]
  return { low: sum - now[name] - more, high: sum - before[name] + less }
}
