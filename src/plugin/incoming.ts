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
import type { PreparePacket } from '../btp/packets.js'
import { fromProtocolData, octets } from '../btp/protocol-data.js'
import type { Reply, RequestBody } from '../btp/session.js'
import { found, sameTransfer } from '../ledger/records.js'
import type { Entry, View } from '../ledger/draft.js'
import type { Stage } from '../ledger/stages.js'
import { changeTransferThen, changeTransfer, changeUntilDone, checkInFlight, copyOf, ilpData, moveToDisputed, rejectionMessage, reportDisputed, stoppedError, timeoutIlpError, transferOfPrepare } from './account.js'
import type { Account, Life } from './account.js'
import type { Delivered, DeliveryOptions } from './courier.js'
import { Deferred } from './deferred.js'
import type { Waiter } from './deferred.js'
import { Doubts } from './doubts.js'
import type { Verdict } from './doubts.js'
import type { IncomingTransfer, RejectionReason, Transfer } from './lpi.js'

export class Incoming {
  readonly #account: Account
  /** The module's answers that are awaited: repeats of a Prepare wait for the same one. */
  readonly #checks = new Map<string, Deferred<void>>()
  /** The Fulfills and Rejects that the sender has not answered, with those who wait for that. */
  readonly #deliveries = new Map<string, Waiter[]>()
  readonly #timers: Timers<string>
  readonly #doubts: Doubts
  /** From one `resume` to the next `stop`: what waits across both must not carry on in the next one. */
  #life = { isOver: false }

  constructor(account: Account) {
    this.#account = account
    this.#timers = new Timers(account.clock, id => { void this.#expire(id) })
    this.#doubts = new Doubts(account)
  }

  /** How many answers of the sender are awaited. */
  get pending(): number {
    return this.#deliveries.size
  }

  /** Takes up what the store holds: the module is asked again, expiries are armed, Fulfills and Rejects are sent again. */
  resume(): void {
    this.#life = { isOver: false }
    for (const entry of this.#account.ledger.open) {
      if (!entry.info.isIncoming) continue
      if (entry.stage === 'checking') this.#check(entry).catch(() => undefined)
      if (entry.stage === 'held') this.#armExpiry(entry)
      if (entry.stage === 'fulfilling') this.#deliverFulfill(entry)
      if (entry.stage === 'rejecting') this.#deliverReject(entry)
      // Of either generation.
      if (entry.stage === 'disputed') reportDisputed(this.#account, entry.id)
    }
  }

  /** Ends all waiting. The records stay as they are. */
  stop(): void {
    this.#life.isOver = true
    this.#timers.cancelAll()
    this.#doubts.stop()
    for (const [id, waiting] of this.#deliveries) for (const { reject } of waiting.splice(0)) reject(stoppedError(id))
    for (const [id, check] of this.#checks) check.reject(stoppedError(id))
    this.#deliveries.clear()
    this.#checks.clear()
  }

  // ---- prepare

  /** The peer's Prepare. Answered when it is held, durably (C26), with the protocol data of the Response: none. */
  handlePrepare(packet: PreparePacket, reply: Reply): void {
    const { ledger, clock, module } = this.#account
    const transfer = this.#transferOf(packet)
    const id = packet.transferId
    const expiresAt = packet.expiresAt.getTime()
    ledger.changeThen(id, view => {
      const known = view.get(id)
      if (known !== undefined) return repeated(known, transfer)
      if (expiresAt <= clock.now()) throw new NotAcceptedError(`transfer ${id} has expired`)
      checkInFlight(this.#account, view, packet.amount, NotAcceptedError)
      // Without a module nobody is asked, so it is held at once.
      return view.create(id, transfer, true, { v: 1, stage: module === undefined ? 'held' : 'checking', at: clock.now() })
    }, entry => {
      if (entry?.stage === 'checking') {
        this.#checked(entry, transfer).then(() => { reply.answer([]) }, reply.refuse)
        return
      }
      if (entry !== undefined) this.#hold(entry, expiresAt)
      reply.answer([])
    }, reply.refuse)
  }

  /** Ends with the module's judgement on a transfer: as it came with this very packet, or with one before. */
  async #checked(entry: Entry<Transfer>, transfer: Transfer): Promise<void> {
    // The module is asked at the next connect.
    if (this.#life.isOver) throw stoppedError(entry.id)
    // Made of this very packet it is new. The check of one that was refused a moment ago may still be there: it is not this one's.
    const check = entry.info.transfer === transfer ? undefined : this.#checks.get(entry.id)
    await (check?.promise ?? this.#check(entry))
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
  #hold(entry: Entry<Transfer>, expiresAt?: number): void {
    if (!this.#life.isOver) this.#armExpiry(entry, expiresAt)
    this.#account.emit('incoming_prepare', hostCopy(entry))
  }

  // ---- fulfill

  /**
   * Fulfills a held transfer. The waiter hears when the sender has taken the preimage and its claim was handed to the module.
   * Again with the same fulfillment: waits for, or has, the same result.
   */
  fulfill(id: string, fulfillment: string, ilp: string | undefined, waiter: Waiter): void {
    const life = this.#life
    const condition = conditionOf(fulfillment)
    let before: Stage | undefined
    this.#account.ledger.changeThen(id, view => {
      const known = received(view.get(id), id, 'fulfill')
      before = known.stage
      return this.#fulfilling(view, known, condition, ilp === undefined ? { fulfillment } : { fulfillment, ilp })
    }, entry => {
      if (before === 'held') {
        this.#timers.cancel(id)
        this.#deliverFulfill(entry)
      }
      this.#answered(entry, life, waiter)
    }, waiter.reject, waiter.reject)
  }

  #fulfilling(view: View<Transfer>, known: Entry<Transfer>, condition: string, details: { fulfillment: string; ilp?: string }): Entry<Transfer> {
    const { clock, expiryMarginMs } = this.#account
    const { id } = known
    if (known.info.transfer.executionCondition !== condition) {
      throw new NotAcceptedError(`the fulfillment does not match the condition of transfer ${id}`)
    }
    if (known.stage === 'fulfilled' || known.stage === 'fulfilling') return known
    if (known.info.state === 'cancelled') throw new AlreadyRolledBackError(`transfer ${id} is rolled back`)
    if (known.stage === 'checking') throw new NotAcceptedError(`transfer ${id} is not prepared yet`)
    if (clock.now() >= Date.parse(known.info.transfer.expiresAt) - expiryMarginMs) {
      throw new AlreadyRolledBackError(`it is too late to fulfill transfer ${id}`)
    }
    return view.move(known, 'fulfilling', details)
  }

  /** Has somebody wait for the sender's answer, where there has been none. */
  #answered({ id, stage }: Entry<Transfer>, life: Life, waiter: Waiter): void {
    const delivery = this.#deliveries.get(id)
    if (delivery !== undefined) delivery.push(waiter)
    // What was under way when the change was decided may have been stopped since: nobody waits for its answer then.
    else if (life.isOver && (stage === 'fulfilling' || stage === 'rejecting')) waiter.reject(stoppedError(id))
    else waiter.resolve()
  }

  /**
   * Sends a Fulfill or a Reject until the sender answers, or it is not wanted any more. Then `conclude` does the rest, and tells how that
   * ended to the one that it is given.
   */
  #deliver({ id }: Entry<Transfer>, body: RequestBody, options: DeliveryOptions, conclude: (delivered: Delivered, ended: Waiter) => void): void {
    const waiting: Waiter[] = []
    this.#deliveries.set(id, waiting)
    const forget = (): void => { if (this.#deliveries.get(id) === waiting) this.#deliveries.delete(id) }
    this.#account.courier.deliverThen(body, options, delivered => {
      conclude(delivered, {
        resolve: () => {
          forget()
          for (const { resolve } of waiting) resolve()
        },
        reject: error => {
          forget()
          for (const { reject } of waiting) reject(error)
        }
      })
    })
  }

  #deliverFulfill(entry: Entry<Transfer>): void {
    const life = this.#life
    const fulfillment = entry.open?.fulfillment ?? ''
    const body: RequestBody = { type: 'fulfill', transferId: entry.id, fulfillment, protocolData: ilpData(entry.open?.ilp) }
    this.#deliver(entry, body, { wanted: () => !life.isOver }, (delivered, ended) => {
      if (delivered.outcome === 'ended') ended.reject(stoppedError(entry.id))
      else if (delivered.outcome === 'refused') this.#refused(entry, fulfillment, delivered.error).then(ended.resolve, ended.reject)
      else {
        const { settlement } = this.#account
        this.#book(entry, fulfillment, settlement === undefined ? ended : {
          resolve: () => { settlement.receiveOnResponse(delivered.response.protocolData).then(ended.resolve, ended.reject) },
          reject: ended.reject
        })
      }
    })
  }

  async #refused(entry: Entry<Transfer>, fulfillment: string, error: PaychanError): Promise<void> {
    const verdict = this.#verdictOf(error) ?? await this.#doubts.settle(entry, error)
    if (verdict === undefined) throw stoppedError(entry.id)
    if (verdict === 'disputed') await this.#dispute(entry, error)
    else await new Promise<void>((resolve, reject) => { this.#book(entry, fulfillment, { resolve, reject }) })
  }

  /** What the sender's error says of a transfer that we fulfilled; `undefined` where it decides nothing. */
  #verdictOf(error: PaychanError): Verdict | undefined {
    if (error instanceof AlreadyFulfilledError) return 'fulfilled'
    if (error instanceof AlreadyRolledBackError) return 'disputed'
    // A sender without a store has forgotten it at a restart, and takes its balance from us: it began in time, so it counts.
    const forgotten = error instanceof TransferNotFoundError && this.#account.session()?.peer.keepsNoBooks === true
    return forgotten ? 'fulfilled' : undefined
  }

  #book(entry: Entry<Transfer>, fulfillment: string, booked: Waiter): void {
    this.#end(entry, (view, known) => { view.move(known, 'fulfilled', { fulfillment }) }, {
      resolve: isFirst => {
        if (isFirst) this.#account.emit('incoming_fulfill', hostCopy(entry), fulfillment)
        booked.resolve()
      },
      reject: booked.reject
    })
  }

  async #dispute(entry: Entry<Transfer>, error: PaychanError): Promise<void> {
    await new Promise((resolve, reject) => {
      this.#end(entry, (view, known) => { moveToDisputed(view, known, error.message) }, { resolve, reject })
    })
    reportDisputed(this.#account, entry.id)
    throw new AlreadyRolledBackError(`transfer ${entry.id} is rolled back by its sender: ${error.message}`, { cause: error })
  }

  /** Ends a transfer that is being fulfilled. Tells whether it had not ended before. */
  #end({ id }: Entry<Transfer>, move: (view: View<Transfer>, known: Entry<Transfer>) => void, ended: Waiter<boolean>): void {
    const life = this.#life
    changeTransferThen(this.#account, life, id, view => {
      const known = view.get(id)
      if (known?.stage !== 'fulfilling') return false
      move(view, known)
      return true
    }, isFirst => {
      if (isFirst === undefined) ended.reject(stoppedError(id))
      else ended.resolve(isFirst)
    })
  }

  // ---- reject

  /** Rejects a held transfer. The waiter hears when the sender has answered, or has let it expire. */
  reject(id: string, reason: RejectionReason | undefined, waiter: Waiter): void {
    const { ledger, clock, address, emit } = this.#account
    const life = this.#life
    const packet = toBase64url(rejectionReasonToIlpError(reason, address(), new Date(clock.now())))
    ledger.changeThen(id, view => {
      const known = received(view.get(id), id, 'reject')
      if (known.stage === 'fulfilled' || known.stage === 'fulfilling') throw new AlreadyFulfilledError(`transfer ${id} is fulfilled`)
      if (known.info.state === 'cancelled') return { before: known.stage, entry: known }
      if (known.stage === 'checking') throw new NotAcceptedError(`transfer ${id} is not prepared yet`)
      return { before: known.stage, entry: view.move(known, 'rejecting', { ilp: packet }) }
    }, ({ before, entry }) => {
      if (before === 'held') {
        this.#timers.cancel(id)
        emit('incoming_reject', hostCopy(entry), rejectionMessage(this.#account, packet, address()))
        this.#deliverReject(entry)
      }
      this.#answered(entry, life, waiter)
    }, waiter.reject, waiter.reject)
  }

  #deliverReject(entry: Entry<Transfer>): void {
    const life = this.#life
    const endsAt = Date.parse(entry.info.transfer.expiresAt) + this.#account.graceMs
    const body: RequestBody = { type: 'reject', transferId: entry.id, protocolData: ilpData(entry.open?.ilp) }
    // Once the sender's own time is over it has cancelled by itself.
    this.#deliver(entry, body, { wanted: () => !life.isOver, endsAt }, (delivered, ended) => {
      if (life.isOver) {
        ended.reject(stoppedError(entry.id))
        return
      }
      this.#account.ledger.close(entry.id)
      if (delivered.outcome === 'refused' && delivered.error instanceof AlreadyFulfilledError) ended.reject(delivered.error)
      else ended.resolve()
    })
  }

  // ---- time

  #armExpiry(entry: Entry<Transfer>, expiresAt = Date.parse(entry.info.transfer.expiresAt)): void {
    this.#timers.setFor(entry.id, expiresAt)
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
  if (!entry.info.isIncoming) throw new NotAcceptedError(`transfer ${id} was sent by this side: only the peer may ${action} it`)
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
