/**
 * Incoming transfers: checked by the module, held, then fulfilled or rejected by our host, or cancelled by time. Imports core, btp
 * and ledger.
 *
 * A fulfill is stored as *fulfilling* before it is sent, and is booked only when the sender has taken it: so the two balances never
 * part (H14). From then on it does not expire here; it is sent until the sender answers.
 */
import { conditionOf } from '../core/ids.js'
import { toBase64url } from '../core/bytes.js'
import {
  AlreadyFulfilledError, AlreadyRolledBackError, DuplicateIdError, NotAcceptedError, PaychanError, TransferNotFoundError,
  messageOf
} from '../core/errors.js'
import { Timers } from '../core/timers.js'
import { rejectionReasonToIlpError } from '../btp/ilp-error.js'
import type { PreparePacket, SubProtocol } from '../btp/packets.js'
import { fromProtocolData, octets } from '../btp/protocol-data.js'
import { found, sameTransfer } from '../ledger/records.js'
import type { Entry } from '../ledger/draft.js'
import { changeTransfer, changeUntilDone, checkInFlight, copyOf, ilpData, rejectionMessage, reportDispute, stoppedError, timeoutIlpError, transferOfPrepare } from './account.js'
import type { Account, Life } from './account.js'
import { Deferred } from './deferred.js'
import { Doubts } from './doubts.js'
import type { Verdict } from './doubts.js'
import type { IncomingTransfer, RejectionReason, Transfer } from './lpi.js'

export class Incoming {
  readonly #account: Account
  /** The module's answers that are awaited: repeats of a Prepare wait for the same one. */
  readonly #checks = new Map<string, Deferred<void>>()
  /** The Fulfills and Rejects that the sender has not answered. */
  readonly #deliveries = new Map<string, Deferred<void>>()
  readonly #timers: Timers<string>
  readonly #doubts: Doubts
  /** From one `resume` to the next `stop`: what waits across both must not carry on in the next one. */
  #life = { isOver: false }

  constructor(account: Account) {
    this.#account = account
    this.#timers = new Timers(account.clock)
    this.#doubts = new Doubts(account)
  }

  /** How many answers of the sender are awaited. */
  get pending(): number {
    return this.#deliveries.size
  }

  /** Takes up what the store holds: the module is asked again, expiries are armed, Fulfills and Rejects are sent again. */
  resume(): void {
    this.#life = { isOver: false }
    for (const entry of [...this.#account.ledger.open]) {
      if (!entry.info.isIncoming) continue
      if (entry.stage === 'checking') this.#check(entry).catch(() => undefined)
      if (entry.stage === 'held') this.#armExpiry(entry)
      if (entry.stage === 'fulfilling') this.#startDelivery(entry, () => this.#deliverFulfill(entry))
      if (entry.stage === 'rejecting') this.#startDelivery(entry, () => this.#deliverReject(entry))
    }
  }

  /** Ends all waiting. The records stay as they are. */
  stop(): void {
    this.#life.isOver = true
    this.#timers.cancelAll()
    this.#doubts.stop()
    for (const waiting of [this.#deliveries, this.#checks]) {
      for (const [id, answer] of waiting) answer.reject(stoppedError(id))
      waiting.clear()
    }
  }

  // ---- prepare

  /** The peer's Prepare. Resolves when it is held, durably (C26), with the protocol data of the Response: none. */
  async handlePrepare(packet: PreparePacket): Promise<SubProtocol[]> {
    const { ledger, clock, module } = this.#account
    const transfer = this.#transferOf(packet)
    const id = packet.transferId
    const entry = await ledger.change(id, view => {
      const known = view.get(id)
      if (known !== undefined) return repeated(known, transfer)
      if (packet.expiresAt.getTime() <= clock.now()) throw new NotAcceptedError(`transfer ${id} has expired already`)
      checkInFlight(this.#account, view, packet.amount, NotAcceptedError)
      // Without a module nobody is asked, so it is held at once.
      return view.create(id, transfer, true, { v: 1, stage: module === undefined ? 'held' : 'checking', at: clock.now() })
    })
    if (entry === undefined) return []
    if (entry.stage !== 'checking') {
      this.#hold(entry)
      return []
    }
    // The module is asked at the next connect.
    if (this.#life.isOver) throw stoppedError(id)
    // Made of this very packet it is new. The check of one that was refused a moment ago may still be there: it is not this one's.
    const check = entry.info.transfer === transfer ? undefined : this.#checks.get(id)
    await (check?.promise ?? this.#check(entry))
    return []
  }

  #transferOf(packet: PreparePacket): Transfer {
    const { ilp, custom } = fromProtocolData(packet.protocolData)
    const transfer = transferOfPrepare(this.#account, packet.transferId, packet, true)
    if (ilp !== undefined) transfer.ilp = ilp
    if (custom !== undefined) transfer.custom = custom
    return transfer
  }

  /** Ends with the module's judgement, or with the transfer's time: then nobody waits for the module any more. */
  #check(entry: Entry<Transfer>): Promise<void> {
    const { id } = entry
    const check = new Deferred<void>()
    const isCurrent = (): boolean => this.#checks.get(id) === check
    this.#checks.set(id, check)
    this.#armExpiry(entry)
    this.#askModule(entry, isCurrent)
      .finally(() => { if (isCurrent()) this.#checks.delete(id) })
      .then(() => { check.resolve() }, (error: unknown) => { check.reject(error) })
    return check.promise
  }

  /**
   * Has the module judge. Its judgement is stored before anybody is answered, however long the store fails: what the sender was told
   * is refused must not come to life again at a restart. Where this side stopped meanwhile, the module will be asked again.
   */
  async #askModule(entry: Entry<Transfer>, isCurrent: () => boolean): Promise<void> {
    const { ledger, module } = this.#account
    const { id } = entry
    let refusal: PaychanError | undefined
    try {
      await module?.handleIncomingPrepare(hostCopy(entry))
    } catch (error) {
      refusal = error instanceof PaychanError ? error : new NotAcceptedError(messageOf(error), { cause: error })
    }
    const isStopped = (): boolean => !isCurrent()
    if (isStopped()) throw stoppedError(id)
    const judged = await changeUntilDone(this.#account, () => ledger.change(id, view => {
      const known = view.get(id)
      if (known?.stage !== 'checking') return 'expired'
      if (refusal === undefined) return view.move(known, 'held')
      view.remove(known)
      return 'refused'
    }), isStopped)
    if (judged === undefined) throw stoppedError(id)
    if (judged === 'expired') throw new AlreadyRolledBackError(`transfer ${id} expired before it was accepted`)
    if (judged !== 'refused') {
      this.#hold(judged)
      return
    }
    if (isCurrent()) this.#timers.cancel(id)
    throw refusal ?? new NotAcceptedError(`transfer ${id} is refused`)
  }

  /** Raised once in a transfer's life: whoever moved it to *held* gets here, nobody else. */
  #hold(entry: Entry<Transfer>): void {
    if (!this.#life.isOver) this.#armExpiry(entry)
    this.#account.emit('incoming_prepare', hostCopy(entry))
  }

  // ---- fulfill

  /**
   * Fulfills a held transfer. Resolves when the sender has taken the preimage and its claim was handed to the module.
   * Again with the same fulfillment: waits for, or has, the same result.
   */
  async fulfill(id: string, fulfillment: string, ilp: string | undefined): Promise<void> {
    const { ledger, clock, expiryMarginMs } = this.#account
    const life = this.#life
    const condition = conditionOf(fulfillment)
    const { before, entry } = await ledger.change(id, view => {
      const known = received(view.get(id), id, 'fulfill')
      if (known.info.transfer.executionCondition !== condition) {
        throw new NotAcceptedError(`the fulfillment does not match the condition of transfer ${id}`)
      }
      if (known.stage === 'fulfilled' || known.stage === 'fulfilling') return { before: known.stage, entry: known }
      if (known.info.state === 'cancelled') throw new AlreadyRolledBackError(`transfer ${id} is rolled back`)
      if (known.stage === 'checking') throw new NotAcceptedError(`transfer ${id} is not prepared yet`)
      if (clock.now() >= Date.parse(known.info.transfer.expiresAt) - expiryMarginMs) {
        throw new AlreadyRolledBackError(`it is too late to fulfill transfer ${id}`)
      }
      return { before: known.stage, entry: view.move(known, 'fulfilling', { fulfillment, ...(ilp === undefined ? {} : { ilp }) }) }
    })
    if (before === 'held') {
      this.#timers.cancel(id)
      this.#startDelivery(entry, () => this.#deliverFulfill(entry))
    }
    await this.#answered(entry, life)
  }

  /** Waits for the sender's answer, where there has been none. */
  #answered({ id, stage }: Entry<Transfer>, life: Life): Promise<void> | undefined {
    const delivery = this.#deliveries.get(id)
    // What was under way when the change was decided may have been stopped since: nobody waits for its answer then.
    if (delivery === undefined && life.isOver && (stage === 'fulfilling' || stage === 'rejecting')) throw stoppedError(id)
    return delivery?.promise
  }

  #startDelivery(entry: Entry<Transfer>, deliver: () => Promise<void>): void {
    const delivery = new Deferred<void>()
    this.#deliveries.set(entry.id, delivery)
    const forget = (): void => { if (this.#deliveries.get(entry.id) === delivery) this.#deliveries.delete(entry.id) }
    deliver().then(() => {
      forget()
      delivery.resolve()
    }, (error: unknown) => {
      forget()
      delivery.reject(error)
    })
  }

  async #deliverFulfill(entry: Entry<Transfer>): Promise<void> {
    const { id } = entry
    const life = this.#life
    const fulfillment = entry.open?.fulfillment ?? ''
    const delivered = await this.#account.courier.deliver(
      { type: 'fulfill', transferId: id, fulfillment, protocolData: ilpData(entry.open?.ilp) },
      { wanted: () => !life.isOver }
    )
    if (delivered.outcome === 'ended') throw stoppedError(id)
    if (delivered.outcome === 'answered') {
      await this.#book(entry, fulfillment)
      await this.#account.settlement?.receiveOnResponse(delivered.response.protocolData)
      return
    }
    const { error } = delivered
    const verdict = this.#verdictOf(error) ?? await this.#doubts.settle(entry, error)
    if (verdict === undefined) throw stoppedError(id)
    if (verdict === 'fulfilled') await this.#book(entry, fulfillment)
    else await this.#dispute(entry, fulfillment, error)
  }

  /** What the sender's error says of a transfer that we fulfilled; `undefined` where it decides nothing. */
  #verdictOf(error: PaychanError): Verdict | undefined {
    if (error instanceof AlreadyFulfilledError) return 'fulfilled'
    if (error instanceof AlreadyRolledBackError) return 'disputed'
    // A sender without a store has forgotten it at a restart, and takes its balance from us: it began in time, so it counts.
    const forgotten = error instanceof TransferNotFoundError && this.#account.session()?.peer.keepsNoBooks === true
    return forgotten ? 'fulfilled' : undefined
  }

  async #book(entry: Entry<Transfer>, fulfillment: string): Promise<void> {
    if (await this.#end(entry, 'fulfilled', fulfillment)) this.#account.emit('incoming_fulfill', hostCopy(entry), fulfillment)
  }

  async #dispute(entry: Entry<Transfer>, fulfillment: string, error: PaychanError): Promise<void> {
    await this.#end(entry, 'disputed', fulfillment)
    reportDispute(this.#account, entry, fulfillment, error.message)
    throw new AlreadyRolledBackError(`the sender had rolled transfer ${entry.id} back: ${error.message}`, { cause: error })
  }

  /** Ends a transfer that is being fulfilled. Whether it had not ended before. */
  async #end({ id }: Entry<Transfer>, stage: 'fulfilled' | 'disputed', fulfillment: string): Promise<boolean> {
    const life = this.#life
    const ended = await changeTransfer(this.#account, life, id, view => {
      const known = view.get(id)
      return known?.stage === 'fulfilling' ? view.move(known, stage, { fulfillment }) : undefined
    })
    if (ended === undefined && life.isOver) throw stoppedError(id)
    return ended !== undefined
  }

  // ---- reject

  /** Rejects a held transfer. Resolves when the sender has answered, or has let it expire. */
  async reject(id: string, reason: RejectionReason | undefined): Promise<void> {
    const { ledger, clock, address, emit } = this.#account
    const life = this.#life
    const packet = toBase64url(rejectionReasonToIlpError(reason, address(), new Date(clock.now())))
    const { before, entry } = await ledger.change(id, view => {
      const known = received(view.get(id), id, 'reject')
      if (known.stage === 'fulfilled' || known.stage === 'fulfilling') throw new AlreadyFulfilledError(`transfer ${id} is fulfilled`)
      if (known.info.state === 'cancelled') return { before: known.stage, entry: known }
      if (known.stage === 'checking') throw new NotAcceptedError(`transfer ${id} is not prepared yet`)
      return { before: known.stage, entry: view.move(known, 'rejecting', { ilp: packet }) }
    })
    if (before === 'held') {
      this.#timers.cancel(id)
      emit('incoming_reject', hostCopy(entry), rejectionMessage(this.#account, packet, address()))
      this.#startDelivery(entry, () => this.#deliverReject(entry))
    }
    await this.#answered(entry, life)
  }

  async #deliverReject(entry: Entry<Transfer>): Promise<void> {
    const { courier, graceMs, ledger, log } = this.#account
    const life = this.#life
    const delivered = await courier.deliver(
      { type: 'reject', transferId: entry.id, protocolData: ilpData(entry.open?.ilp) },
      // Once the sender's own time is over it has cancelled by itself.
      { wanted: () => !life.isOver, endsAt: Date.parse(entry.info.transfer.expiresAt) + graceMs }
    )
    if (life.isOver) throw stoppedError(entry.id)
    ledger.close(entry.id)
    if (delivered.outcome === 'refused') {
      if (delivered.error instanceof AlreadyFulfilledError) throw delivered.error
      log.debug(`the peer answered the reject of ${entry.id} with ${delivered.error.name}: there is nothing left to reject`)
    }
  }

  // ---- time

  #armExpiry(entry: Entry<Transfer>): void {
    this.#timers.setFor(entry.id, Date.parse(entry.info.transfer.expiresAt), () => { void this.#expire(entry.id) })
  }

  async #expire(id: string): Promise<void> {
    const { emit, session } = this.#account
    const outcome = await changeTransfer(this.#account, this.#life, id, view => {
      const entry = view.get(id)
      if (entry?.stage !== 'held' && entry?.stage !== 'checking') return undefined
      return { wasHeld: entry.stage === 'held', cancelled: view.move(entry, 'cancelled') }
    })
    if (outcome === undefined) return
    const { cancelled, wasHeld } = outcome
    // Whatever the module still says, it is too late.
    this.#checks.get(id)?.reject(new AlreadyRolledBackError(`transfer ${id} expired before it was accepted`))
    this.#checks.delete(id)
    const ilp = timeoutIlpError(this.#account)
    // The host has not heard of one that the module has not judged.
    if (wasHeld) emit('incoming_cancel', hostCopy(cancelled), rejectionMessage(this.#account, toBase64url(ilp), cancelled.info.transfer.to))
    // It releases the sender's hold early; nothing hangs on it (C34).
    session()?.request({ type: 'reject', transferId: id, protocolData: [octets('ilp', ilp)] }).catch(() => undefined)
  }
}

function received(known: Entry<Transfer> | undefined, id: string, action: string): Entry<Transfer> {
  const entry = found(known, id)
  if (!entry.info.isIncoming) throw new NotAcceptedError(`transfer ${id} was sent by this side: only its receiver may ${action} it`)
  return entry
}

/** What a Prepare with a known id means (C27): wait with the first one, an acknowledgement (nothing to return), or an error. */
function repeated(known: Entry<Transfer>, transfer: Transfer): Entry<Transfer> | undefined {
  if (!known.info.isIncoming || !sameOnTheWire(known.info.transfer, transfer)) {
    throw new DuplicateIdError(`id ${known.id} belongs to another transfer`)
  }
  if (known.info.state === 'fulfilled') throw new AlreadyFulfilledError(`transfer ${known.id} is fulfilled`)
  if (known.info.state === 'cancelled') throw new AlreadyRolledBackError(`transfer ${known.id} is rolled back`)
  return known.stage === 'checking' ? known : undefined
}

/** Compares what a Prepare carries: the accounts' names are this side's. */
function sameOnTheWire(a: Transfer, b: Transfer): boolean {
  const wire = ({ id, amount, executionCondition, expiresAt, ilp, custom }: Transfer): Transfer =>
    ({ id, amount, executionCondition, expiresAt, to: '', from: '', ledger: '', ...(ilp === undefined ? {} : { ilp }), ...(custom === undefined ? {} : { custom }) })
  return sameTransfer(wire(a), wire(b))
}

/** The transfer for a host or a module. What a Prepare carried is JSON. */
function hostCopy(entry: Entry<Transfer>): IncomingTransfer {
  return copyOf(entry.info.transfer) as IncomingTransfer
}
