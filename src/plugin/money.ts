/**
 * LPI v2's money (RFC 24) over BTP 2.0: settlements in Transfers, each with a claim of the payment channel module for all that was ever
 * settled, or between two who trust each other to have settled. Imports core, btp and ledger.
 *
 * Without a module nothing proves a settlement, and one that is believed gives the peer room below the maximum balance again: whoever may
 * log in could pay without end, and settle with words. So they are taken only where the options say that the peer is trusted. Taking no
 * more than what the peer owes would not help: it could owe as much again at once. ilp-plugin-btp refuses settlements too, until a
 * subclass knows how to check them.
 *
 * A settlement moves no balance: it is added to one of two sums, which limits count in. To a peer of ours it is stored before it is sent,
 * and sent until it is answered, one at a time, each under the next number: the peer credits a number once. To another peer it is sent
 * once, since that could not tell a repeat.
 */
import { formatAmount, parseAmount, parseSum } from '../core/amounts.js'
import type { Amount, Limit } from '../core/amounts.js'
import { printableMessage } from '../core/bytes.js'
import {
  InvalidFieldsError, MoneyHandlerAlreadyRegisteredError, NoSubscriptionsError, NotAcceptedError, PaychanError, UnreachableError, isTemporary, isUnknown
} from '../core/errors.js'
import { parseIfJson } from '../core/json.js'
import { Turns } from '../core/turns.js'
import { readSettlementMark, settlementMark } from '../btp/inquiry.js'
import { SUM } from '../btp/reconcile.js'
import type { SubProtocol, TransferPacket } from '../btp/packets.js'
import type { Session } from '../btp/session.js'
import type { Change, Group } from '../ledger/committer.js'
import { damaged } from '../ledger/records.js'
import { changeUntilDone, stoppedError } from './account.js'
import type { Account, Life } from './account.js'
import { Deferred } from './deferred.js'
import type { Generation } from './generation.js'
import { HandlerPlace } from './handler.js'
import type { MoneyHandler } from './lpi.js'
import type { MoneyClaims } from './money-claims.js'
import { MONEY_RECORD, OUTGOING_RECORD, toSubProtocol } from './settlement.js'

/** The most settlements that wait for the peer's answer. */
const MOST_WAITING = 100
/** What fits into a Transfer. */
const MOST_AT_ONCE = 2n ** 64n - 1n

/** A settlement that the peer has not answered. */
interface Sending {
  readonly number: number
  readonly amount: string
  /** Where a module proves it: the claim, as JSON. Made when it is its turn, and sent as it is from then on. */
  readonly claim?: string
  /** It is sent once, since the peer is none of ours. */
  readonly isOnce?: true
}

/** How a settlement has ended, and what its caller is told. */
interface End {
  readonly isSettled: boolean
  readonly error?: unknown
}

/** Where settlements are kept: in commits of the plugin's store. */
export interface MoneyRecords {
  read(name: string): Promise<string | undefined>
  put(group: Group, name: string, value: string): void
  /** Resolves when it is durable. @throws StoreError, StandbyError */
  submit(decide: (group: Group) => void): Promise<void>
  /** As that of the committer. */
  enqueue(change: Change<void>): void
}

/** What is stored of both directions. Never changed in place. */
interface State {
  /** The number of the last settlement that was sent. */
  readonly last: number
  /** Those that the peer has not answered, in the order of their numbers. */
  readonly sending: readonly Sending[]
  /** The greatest sum that a claim was made for, and the claim, as JSON. */
  readonly claimed?: string
  readonly latest?: string
  /** The number that was credited last, and the ledger of the peer that counts so. */
  readonly credited: { readonly ledger: string; readonly number: number } | undefined
}

const NOTHING: State = { last: 0, sending: [], credited: undefined }

/** What is owed is settled when the balance, with what was settled, falls below `threshold`: so that it is `target` then. */
export interface Thresholds {
  readonly threshold: Amount
  readonly target: Amount
}

export interface MoneyOptions {
  account: Account
  generation: Generation
  records: MoneyRecords
  /** Whether the host is one of LPI v2: an old one settles otherwise. */
  isV2Host: boolean
  /** Whether the peer is believed when it says that it has settled. */
  isTrusting: boolean
  /** What proves settlements, where a module does under a host of LPI v2. */
  claims: MoneyClaims | undefined
  /** When to settle, where the host does not decide. */
  automatic: Thresholds | undefined
}

export class Money {
  readonly #options: MoneyOptions
  readonly place = new HandlerPlace<MoneyHandler>('money', MoneyHandlerAlreadyRegisteredError)
  #state = NOTHING
  /** Counted before it is stored, so that no number is given twice. */
  #lastNumber = 0
  readonly #calls = new Map<number, Deferred<void>>()
  /** Settlements go one after the other: whoever comes waits for those before. */
  #turns = new Turns()
  /** Those of the peer that have a number are judged one after the other. */
  readonly #judgements = new Turns()
  /** What the peer was told last that it is not credited. */
  #refused: { readonly ledger: string; readonly number: number; readonly error: unknown } | undefined
  #life = { isOver: true }
  /** Those that are being stored. */
  #beginning = 0
  /** Those that may be stored yet, though their hosts were told that the store hangs: none of them is sent. */
  readonly #givenUp = new Set<number>()
  #isSettlingUp = false
  /** A payment was refused for want of a settlement since the last one. */
  #isWanting = false

  constructor(options: MoneyOptions) {
    this.#options = options
  }

  /** How many settlements the peer has not answered. */
  get pending(): number {
    return this.#calls.size
  }

  /** Reads what is stored. @throws StoreError; InvalidFieldsError where the ledger's claims were for another sum until now */
  async load(): Promise<void> {
    if (this.#options.claims !== undefined && await this.#options.records.read(OUTGOING_RECORD) !== undefined) {
      throw new InvalidFieldsError('this store was settled under a host of LPI v1: begin with a new store')
    }
    const text = await this.#options.records.read(MONEY_RECORD)
    this.#state = text === undefined ? NOTHING : parseState(text)
    this.#lastNumber = this.#state.last
  }

  resume(): void {
    const life = this.#life = { isOver: false }
    this.#turns = new Turns()
    this.#options.claims?.start()
    // Of those that are not there none will ever be, and their numbers are given again.
    const givenUp = this.#state.sending.filter(({ number }) => this.#givenUp.has(number))
    this.#givenUp.clear()
    for (const settlement of givenUp) this.#withdraw(settlement, life)
    for (const settlement of this.#state.sending) {
      if (settlement.isOnce !== true || givenUp.includes(settlement)) continue
      this.#options.account.log.warn(`the peer may have credited ${settlement.amount} before`)
      // Before any other is claimed for.
      void this.#turns.take(() => this.#end(settlement, settlement.claim !== undefined, life))
    }
  }

  /** There is a session: what a peer of ours has not answered is sent again. */
  sessionUp({ peer }: Session): void {
    if (peer.announced) {
      for (const settlement of this.#state.sending) {
        const { number, isOnce } = settlement
        if (isOnce !== true && !this.#calls.has(number) && !this.#givenUp.has(number)) this.#enqueue(settlement, this.#life).catch(() => undefined)
      }
    }
    void this.settleUp(false)
  }

  /** Resolves when the module has ended what it was called for; after 5 s also if it has not. */
  async idle(): Promise<void> {
    await this.#options.claims?.idle()
  }

  /** Ends all waiting. The records stay as they are. */
  stop(): void {
    this.#life.isOver = true
    this.#options.claims?.stop()
    for (const [number, call] of this.#calls) call.reject(stoppedError(`of settlement ${number}`))
    this.#calls.clear()
  }

  /** See `LedgerPlugin.sendMoney`. */
  async send(value: string): Promise<void> {
    const { account, generation } = this.#options
    const amount = formatAmount(parseAmount(value))
    if (account.settlement !== undefined) throw new NotAcceptedError('under a host of LPI v1 the module settles by itself')
    const session = account.session()
    if (session === undefined) throw new UnreachableError('not connected to the peer')
    account.mustTrade()
    generation.mustSpeak('2.0', session)
    if (amount === '0') return
    if (this.#calls.size + this.#beginning >= MOST_WAITING) throw new UnreachableError('too many settlements wait for the peer')
    const life = this.#life
    const settlement: Sending = { number: this.#nextNumber(), amount, ...(session.peer.announced ? {} : { isOnce: true }) }
    this.#beginning++
    await this.#begin(settlement).finally(() => { this.#beginning-- })
    if (life.isOver) throw stoppedError(`of settlement ${settlement.number}`)
    await this.#enqueue(settlement, life)
  }

  /** Beyond any before, also where the store is an older copy: the peer would take it for a repeat. */
  #nextNumber(): number {
    this.#lastNumber = Math.max(this.#lastNumber + 1, Math.floor(this.#options.account.clock.now()))
    return this.#lastNumber
  }

  /** Resolves when it is stored. One that is stored after its host was told that the store hangs is withdrawn. */
  #begin(settlement: Sending): Promise<void> {
    const { number } = settlement
    const begun = new Deferred<void>()
    this.#options.records.enqueue({
      decide: group => {
        const draft = this.#draftIn(group)
        draft.state = { ...draft.state, last: Math.max(draft.state.last, number), sending: [...draft.state.sending, settlement] }
      },
      resolve: () => {
        if (this.#givenUp.has(number)) this.#withdraw(settlement, this.#life)
        else begun.resolve()
      },
      reject: error => {
        if (!isUnknown(error)) this.#givenUp.delete(number)
        begun.reject(error)
      },
      overdue: error => {
        this.#givenUp.add(number)
        begun.reject(error)
      }
    })
    return begun.promise
  }

  /**
   * A host that was told of a failure may settle anew, so this one is not sent any more. Nothing is lost by that, since no claim was made
   * for it; sent after a later number it would pass for a repeat.
   */
  #withdraw(settlement: Sending, life: Life): void {
    const { number, amount } = settlement
    this.#options.account.log.warn(`a settlement of ${amount} is withdrawn`)
    this.#givenUp.add(number)
    void this.#end(settlement, false, life).then(isStored => { if (isStored) this.#givenUp.delete(number) })
  }

  /**
   * Where the host does not decide: settles what is owed when that is more than the threshold allows. `isWanting`: the peer refuses what
   * is sent for want of a settlement, or may have, so that anything that is owed is settled.
   */
  async settleUp(isWanting: boolean): Promise<void> {
    const { automatic, account } = this.#options
    if (automatic === undefined || this.#life.isOver) return
    this.#isWanting ||= isWanting
    if (this.#isSettlingUp) return
    this.#isSettlingUp = true
    try {
      // What is under way is in it, and what comes meanwhile is looked at when that has ended.
      for (;;) {
        await account.ledger.sums()
        const owed = least(automatic.target - account.ledger.position, account.ledger.roomBelowMaximum) - this.underWay
        const isDue = owed > automatic.target - automatic.threshold || (this.#isWanting && owed > 0n)
        this.#isWanting = false
        if (!isDue) break
        await this.send(formatAmount(owed < MOST_AT_ONCE ? owed : MOST_AT_ONCE))
      }
    } catch (error) {
      account.log.warn(`what is owed could not be settled: ${printableMessage(error)}`)
    }
    this.#isSettlingUp = false
  }

  /** Whether anything was ever settled, in either direction. */
  get hasBegun(): boolean {
    return this.#state !== NOTHING
  }

  /** The latest claim, as JSON. */
  get latestClaim(): string | undefined {
    return this.#state.latest
  }

  /** What the peer has not answered comes to. */
  get underWay(): Amount {
    return this.#state.sending.reduce((sum, { amount }) => sum + parseAmount(amount), 0n)
  }

  /** Resolves when the peer has credited it, and that is stored here. */
  #enqueue(settlement: Sending, life: Life): Promise<void> {
    const call = new Deferred<void>()
    this.#calls.set(settlement.number, call)
    void this.#turns.take(() => this.#deliver(settlement, call, life))
    return call.promise
  }

  async #deliver(settlement: Sending, call: Deferred<void>, life: Life): Promise<void> {
    const { number, amount, isOnce } = settlement
    if (life.isOver) return
    let end: End | undefined
    try {
      const claimed = await this.#claimOf(settlement, life)
      // Not stored: another life goes on with it.
      if (claimed === undefined) return
      const { claim } = claimed
      end = isOnce === true ? await this.#sendOnce(amount, claim, life) : await this.#sendUntilAnswered(number, amount, claim, life)
    } catch (error) {
      end = { isSettled: false, error }
    }
    if (end === undefined) {
      if (this.#calls.get(number) === call) this.#calls.delete(number)
      call.reject(stoppedError(`of settlement ${number}`))
      return
    }
    const { isSettled, error } = end
    if (!await this.#end(settlement, isSettled, life)) return
    this.#calls.delete(number)
    if (error === undefined) call.resolve()
    else call.reject(error)
  }

  /**
   * The claim that goes along, stored before it is sent: for all that was settled before and this, and for no less than the claim before,
   * which the peer may have, whether it has credited it or not. None where nothing proves it. Once made it is stored however long the store
   * fails, so that the module is asked for no less the next time (I6); `undefined` where that life is over.
   */
  async #claimOf({ number, amount, claim }: Sending, life: Life): Promise<{ claim?: string } | undefined> {
    const { account, claims, records } = this.#options
    if (claim !== undefined) return { claim }
    if (claims === undefined) return {}
    const sum = (await account.ledger.sums()).settledOut + parseAmount(amount)
    const before = parseSum(this.#state.claimed ?? '0', 'claimed')
    const claimed = sum > before ? sum : before
    const made = await claims.make(claimed)
    return changeUntilDone(account, async () => {
      await records.submit(group => {
        const draft = this.#draftIn(group)
        const sending = draft.state.sending.map(one => one.number === number ? { ...one, claim: made } : one)
        draft.state = { ...draft.state, claimed: formatAmount(claimed), latest: made, sending }
      })
      return { claim: made }
    }, () => life.isOver)
  }

  async #sendUntilAnswered(number: number, amount: string, claim: string | undefined, life: Life): Promise<End | undefined> {
    const { courier, session } = this.#options.account
    const delivered = await courier.deliver({ type: 'transfer', amount, protocolData: [...claimData(claim), settlementMark(number)] }, {
      wanted: () => !life.isOver && session()?.peer.announced === true
    })
    // Whoever called was told when it was stopped; without that, the peer is not one of ours any more.
    if (delivered.outcome === 'ended') return undefined
    return delivered.outcome === 'answered' ? { isSettled: true } : { isSettled: false, error: delivered.error }
  }

  /** To a peer that could not tell a repeat. Whether it has credited what it has not answered, nobody knows; but a claim is spent then. */
  async #sendOnce(amount: string, claim: string | undefined, life: Life): Promise<End | undefined> {
    // The next life decides what becomes of it.
    if (life.isOver) return undefined
    const session = this.#options.account.session()
    if (session === undefined) return { isSettled: false, error: new UnreachableError('the connection was lost before the settlement was sent') }
    try {
      await session.request({ type: 'transfer', amount, protocolData: claimData(claim) })
      return { isSettled: true }
    } catch (error) {
      if (!(error instanceof PaychanError) || error.fromPeer || !isTemporary(error)) return { isSettled: false, error }
      const unknown = new UnreachableError('the peer may have credited the settlement: its answer was lost', { cause: error, outcome: 'unknown' })
      return { isSettled: claim !== undefined, error: unknown }
    }
  }

  /**
   * Stores how a settlement has ended, however long the store takes, and tells whether it did. A change whose outcome was unknown may have
   * landed before: then it is there no more.
   */
  async #end({ number, amount }: Sending, isSettled: boolean, life: Life): Promise<boolean> {
    const { account, records } = this.#options
    const isThere = (group: Group): boolean => this.#draftIn(group).state.sending.some(one => one.number === number)
    const forget = (group: Group): void => {
      const draft = this.#draftIn(group)
      draft.state = { ...draft.state, sending: draft.state.sending.filter(one => one.number !== number) }
    }
    const stored = await changeUntilDone(account, async () => {
      if (isSettled) await account.ledger.settle('settledOut', parseAmount(amount), { most: Infinity, isWanted: isThere, also: forget })
      else await records.submit(forget)
      return true
    }, () => life.isOver)
    return stored === true
  }

  /**
   * The peer's settlement. Resolves when it is credited, durably; then our host hears of it.
   * @throws NotAcceptedError when this side takes none, when nothing proves it, or its minimum balance does not allow it;
   *   NoSubscriptionsError without a handler; what the module throws for a claim; StoreError
   */
  async receive(packet: TransferPacket, session: Session): Promise<SubProtocol[]> {
    const number = session.peer.announced ? readSettlementMark(packet.protocolData) : undefined
    if (number === undefined) await this.#credit(packet, session, undefined)
    else await this.#judgements.take(() => this.#judge(packet, session, number))
    return []
  }

  /**
   * What was refused stays refused: the peer has forgotten it then, and an earlier attempt may come yet, from a connection that it has given
   * up. No such connection outlives this process, so that nothing of it is stored.
   */
  async #judge(packet: TransferPacket, session: Session, number: number): Promise<void> {
    const ledger = ledgerOf(session)
    const refused = this.#refused
    if (refused?.ledger === ledger && number <= refused.number && isNew(this.#state, ledger, number)) throw refused.error
    try {
      await this.#credit(packet, session, number)
    } catch (error) {
      if (!isTemporary(error)) this.#refused = { ledger, number, error }
      throw error
    }
  }

  async #credit({ amount, protocolData }: TransferPacket, session: Session, number: number | undefined): Promise<void> {
    const { account, claims } = this.#options
    const ledger = ledgerOf(session)
    const { handler } = this.place
    // A repeat of what was credited is not judged anew.
    if (!isNew(this.#state, ledger, number)) return
    this.#checkTaking(handler)
    const secured = await claims?.check(protocolData)
    const isCredited = await account.ledger.settle('settledIn', parseAmount(amount), {
      most: secured ?? Infinity,
      isWanted: group => {
        // It comes again on the next one, unless its payer has lost its books: then ours were compared without it.
        if (number !== undefined && session.closed) throw new UnreachableError('the connection is gone')
        return isNew(this.#draftIn(group).state, ledger, number)
      },
      also: group => {
        const draft = this.#draftIn(group)
        if (number !== undefined) draft.state = { ...draft.state, credited: { ledger, number } }
      }
    })
    if (isCredited && amount !== '0' && handler !== undefined) void this.#tell(handler, amount)
  }

  #checkTaking(handler: MoneyHandler | undefined): void {
    const { account, isV2Host, isTrusting, claims } = this.#options
    if (account.settlement !== undefined) throw new NotAcceptedError('under a host of LPI v1 the module settles by itself')
    if (!isV2Host && handler === undefined) throw new NotAcceptedError('this side speaks BTP 1.0: it takes no Transfer')
    // What a module proves counts whether the host listens or not.
    if (claims !== undefined) return
    if (!isTrusting) throw new NotAcceptedError('this side does not trust its peer to have settled')
    if (handler === undefined) throw new NoSubscriptionsError('no money handler is registered')
  }

  async #tell(handler: MoneyHandler, amount: string): Promise<void> {
    try {
      await handler(amount)
    } catch (error) {
      this.#options.account.log.error(`the money handler failed: ${printableMessage(error)}`)
    }
  }

  /** The state as the changes of one group leave it: written once for all of them. */
  #draftIn(group: Group): { state: State } {
    return group.draft(this, () => {
      const before = this.#state
      const draft = { state: before }
      group.onSealed(() => { if (draft.state !== before) this.#options.records.put(group, MONEY_RECORD, JSON.stringify({ v: 1, ...draft.state })) })
      group.onDurable(() => { this.#state = draft.state })
      return draft
    })
  }
}

function least(owed: Amount, room: Limit): Amount {
  return room < owed ? room as Amount : owed
}

function ledgerOf({ peer: { ledgerId = '' } }: Session): string {
  return ledgerId
}

/** Whether a settlement of that number was not credited yet. One without a number cannot be told from any other. */
function isNew({ credited }: State, ledger: string, number: number | undefined): boolean {
  return number === undefined || credited?.ledger !== ledger || number > credited.number
}

function claimData(claim: string | undefined): SubProtocol[] {
  return claim === undefined ? [] : [toSubProtocol(claim)]
}

function parseState(text: string): State {
  const { v, last, sending, claimed, latest, credited } = (parseIfJson(text) ?? {}) as Partial<State> & { v?: unknown }
  const isSound = (one: Partial<Sending> | null): boolean => Number.isSafeInteger(one?.number) && SUM.test(String(one?.amount))
  if (v === 1 && typeof last === 'number' && Array.isArray(sending) && sending.every(isSound) && SUM.test(claimed ?? '0')) {
    return { last, sending, credited, ...(claimed === undefined ? {} : { claimed }), ...(latest === undefined ? {} : { latest }) }
  }
  throw damaged(`:paychan:${MONEY_RECORD}`, 'is of no known version')
}
