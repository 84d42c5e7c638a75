/**
 * Outgoing transfers: offered to the peer, then fulfilled or rejected by it, or cancelled by time. Imports core, btp and ledger.
 *
 * A transfer is stored before the Prepare is sent (I7), and keeps its hold until the peer's Fulfill or Reject is stored, or until
 * `expiresAt` plus the grace: whatever is lost on the way, a Fulfill that comes in time is honoured (I4).
 */
import { conditionOf } from '../core/ids.js'
import { toBase64url } from '../core/bytes.js'
import {
  AlreadyFulfilledError, AlreadyRolledBackError, DuplicateIdError, InvalidFieldsError, InvalidFulfillmentError,
  NotAcceptedError, StoreError, UnreachableError, isTemporary, isUnknown
} from '../core/errors.js'
import type { PaychanError } from '../core/errors.js'
import { passingMap } from '../core/passing-map.js'
import { Timers } from '../core/timers.js'
import type { FulfillPacket, RejectPacket, SubProtocol } from '../btp/packets.js'
import { find, toProtocolData } from '../btp/protocol-data.js'
import type { Reply, RequestBody } from '../btp/session.js'
import { found, sameTransfer } from '../ledger/records.js'
import type { Entry, View } from '../ledger/draft.js'
import { changeTransfer, copyOf, createOutgoing, isTimeout, rejectionMessage, stoppedError, timeoutIlpError } from './account.js'
import type { Account } from './account.js'
import type { Waiter } from './deferred.js'
import type { Transfer } from './lpi.js'

/** What memory knows of an offered transfer beyond its record. */
interface Flight {
  readonly id: string
  readonly transfer: Transfer
  readonly expiresAt: Date
  /** Those who wait until the peer acknowledges the transfer, or it is final. */
  readonly waiting: Waiter[]
  /** Offered before, in this life or another: then no answer is that to the only attempt. */
  resumed: boolean
  isAcknowledged: boolean
  /** Fulfills it: with what came in time, and the store did not take. */
  fulfill?: (view: View<Transfer>) => Entry<Transfer> | undefined
}

export class Outgoing {
  readonly #account: Account
  readonly #flights = passingMap<string, Flight>()
  readonly #timers: Timers<string>
  /** Those that may be stored yet, though their hosts were told that the store hangs: no later life offers them. */
  readonly #givenUp = new Set<string>()
  /** From one `resume` to the next `stop`: what waits across both must not carry on in the next one. */
  #life = { isOver: false }

  constructor(account: Account) {
    this.#account = account
    this.#timers = new Timers(account.clock, id => { void this.#expire(id) })
  }

  /** How many transfers the peer has not decided. */
  get pending(): number {
    return this.#flights.size
  }

  /** Takes up what the store holds: expiries are armed, offers are repeated, events that may have been lost are raised again. */
  resume(): void {
    this.#life = { isOver: false }
    const givenUp = new Set(this.#givenUp)
    this.#givenUp.clear()
    for (const entry of this.#account.ledger.open) {
      if (entry.info.isIncoming) continue
      if (entry.open?.report !== undefined) this.#report(entry)
      else if (givenUp.has(entry.id)) this.#withdraw(entry.id)
      else if (entry.stage === 'offered') this.#begin(entry, true)
    }
  }

  /** The peer has lost its books: what it had acknowledged is offered again, since its host may fulfill that still. */
  offerAgain(): void {
    for (const flight of this.#flights.values()) {
      if (!flight.isAcknowledged) continue
      flight.resumed = true
      flight.isAcknowledged = false
      this.#offer(flight)
    }
  }

  /** Ends all waiting. The records stay as they are. */
  stop(): void {
    this.#life.isOver = true
    this.#timers.cancelAll()
    for (const flight of this.#flights.values()) rejectAll(flight, stoppedError(flight.id))
    this.#flights.clear()
  }

  /**
   * Sends a transfer, which has been validated. The waiter hears when the peer has acknowledged it. An exact repeat of one that is in
   * flight waits for the same answer. `again`: this very call was made before, by another owner of the store, so that its transfer may
   * also have come to its end.
   */
  send(transfer: Transfer, again: boolean, waiter: Waiter): void {
    const { ledger, clock } = this.#account
    // Whether one that may have been sent before is new has to be found out first.
    if (!again) this.#mustBeConnected()
    const id = transfer.id.toLowerCase()
    const decide = (view: View<Transfer>): Entry<Transfer> => {
      const known = view.get(id)
      if (known !== undefined) {
        checkRepeat(known, transfer, again)
        return known
      }
      if (again) this.#mustBeConnected()
      if (Date.parse(transfer.expiresAt) <= clock.now()) throw new InvalidFieldsError(`expiresAt of transfer ${id} is past`)
      return createOutgoing(this.#account, view, id, transfer, 'offered')
    }
    let isGivenUp = false
    ledger.changeThen(id, decide, entry => {
      if (this.#life.isOver) {
        waiter.reject(stoppedError(id))
        return
      }
      if (isGivenUp) {
        this.#withdraw(id)
        return
      }
      // Of several calls that were decided together, whichever gets here first begins.
      const flight = this.#flights.get(id) ?? (ledger.peek(id)?.stage === 'offered' ? this.#begin(entry, false) : undefined)
      if (flight === undefined && ledger.peek(id)?.stage === 'cancelled') waiter.reject(rolledBack(id))
      else if (flight === undefined || flight.isAcknowledged) waiter.resolve()
      else flight.waiting.push(waiter)
    }, error => {
      if (!isUnknown(error)) this.#givenUp.delete(id)
      waiter.reject(error)
    }, error => {
      isGivenUp = true
      this.#givenUp.add(id)
      waiter.reject(error)
    })
  }

  /** A host that was told of a failure may have undone what came before the transfer: it is not sent any more, unless it was asked for again. */
  #withdraw(id: string): void {
    const life = this.#life
    this.#givenUp.add(id)
    void changeTransfer(this.#account, life, id, view => {
      const entry = view.get(id)
      return entry?.stage === 'offered' && !this.#flights.has(id) ? view.move(entry, 'cancelled', { report: 'cancel' }) : undefined
    }).then(cancelled => {
      if (cancelled !== undefined) this.#report(cancelled)
      if (!life.isOver) this.#givenUp.delete(id)
    })
  }

  #mustBeConnected(): void {
    if (this.#account.session() === undefined) throw new UnreachableError('not connected to the peer')
  }

  #begin(entry: Entry<Transfer>, resumed: boolean): Flight {
    const { transfer } = entry.info
    const expiresAt = new Date(transfer.expiresAt)
    const flight: Flight = { id: entry.id, transfer, expiresAt, waiting: [], resumed, isAcknowledged: false }
    this.#flights.set(entry.id, flight)
    this.#timers.setFor(entry.id, expiresAt.getTime() + this.#account.graceMs)
    this.#offer(flight)
    return flight
  }

  #offer(flight: Flight): void {
    const { courier, session, clock } = this.#account
    const expiresAt = flight.expiresAt.getTime()
    courier.deliverThen(prepareBody(flight), {
      // A peer that is not ours would raise a repeated Prepare to its host twice: there the hold waits for the Fulfill or the expiry.
      wanted: attempts => this.#flights.get(flight.id) === flight && !flight.isAcknowledged && clock.now() < expiresAt &&
        ((attempts === 0 && !flight.resumed) || session()?.peer.announced === true),
      final: (error, attempts) => (attempts === 1 && !flight.resumed) || !isTemporary(error)
    }, delivered => {
      if (this.#flights.get(flight.id) !== flight) return
      if (delivered.outcome === 'answered') this.#acknowledge(flight)
      else if (delivered.outcome === 'refused') void this.#refused(flight, delivered.error, delivered.attempts)
    })
  }

  async #refused(flight: Flight, error: PaychanError, attempts: number): Promise<void> {
    const isOnlyAttempt = attempts === 1 && !flight.resumed
    if (isOnlyAttempt || error instanceof AlreadyRolledBackError) {
      await this.#release(flight, error)
    } else if (error instanceof AlreadyFulfilledError) {
      this.#acknowledge(flight)
    } else {
      // An earlier attempt may have arrived all the same: the hold waits for the Fulfill or the expiry.
      this.#account.log.warn(`a repeat of ${flight.id} was refused: ${error.message}`)
    }
  }

  #acknowledge(flight: Flight): void {
    if (flight.isAcknowledged) return
    flight.isAcknowledged = true
    if (!flight.resumed) this.#account.emit('outgoing_prepare', copyOf(flight.transfer))
    for (const { resolve } of flight.waiting.splice(0)) resolve()
  }

  /** The peer holds nothing for this transfer. Where its sender still waits for `send`, that is told; else an event tells. */
  async #release(flight: Flight, error: PaychanError): Promise<void> {
    const cancelled = await changeTransfer(this.#account, this.#life, flight.id, view => {
      const entry = view.get(flight.id)
      if (entry?.stage !== 'offered') return undefined
      return view.move(entry, 'cancelled', flight.resumed ? { report: 'cancel' } : {})
    })
    if (cancelled === undefined) return
    this.#land(flight.id)
    rejectAll(flight, refusal(error))
    if (flight.resumed) this.#report(cancelled)
  }

  /** The transfer is final: nothing is waited for any more. */
  #land(id: string): void {
    this.#timers.cancel(id)
    this.#flights.delete(id)
  }

  /** The peer's Fulfill. The protocol data of the Response are the claim. What counts is when it arrived (I4). */
  handleFulfill(packet: FulfillPacket, reply: Reply, arrivedAt = this.#account.clock.now()): void {
    const { ledger, settlement, graceMs } = this.#account
    const condition = conditionOf(packet.fulfillment)
    const flight = this.#flights.get(packet.transferId)
    const isRight = flight?.transfer.executionCondition === condition
    // The first one that came in time counts, whenever the store takes it.
    const fulfill = (isRight ? flight.fulfill : undefined) ?? ((view: View<Transfer>) => this.#fulfilled(view, packet, condition, arrivedAt))
    ledger.changeThen(packet.transferId, fulfill, fulfilled => {
      if (fulfilled !== undefined) this.#finish(fulfilled)
      if (settlement === undefined) reply.answer([])
      else settlement.claimForResponse().then(reply.answer, reply.refuse)
    }, error => {
      // It may not come again in time.
      if (isRight && error instanceof StoreError && arrivedAt <= flight.expiresAt.getTime() + graceMs) flight.fulfill = fulfill
      reply.refuse(error)
    })
  }

  #fulfilled(view: View<Transfer>, packet: FulfillPacket, condition: string, arrivedAt: number): Entry<Transfer> | undefined {
    const id = packet.transferId
    const entry = ours(view.get(id), id, 'fulfill')
    if (entry.info.transfer.executionCondition !== condition) {
      throw new InvalidFulfillmentError(`the fulfillment does not match the condition of transfer ${id}`)
    }
    if (entry.info.state === 'fulfilled') return undefined
    if (entry.info.state === 'cancelled') throw rolledBack(id)
    const expiresAt = this.#flights.get(id)?.expiresAt.getTime() ?? Date.parse(entry.info.transfer.expiresAt)
    if (arrivedAt > expiresAt + this.#account.graceMs) throw new AlreadyRolledBackError(`transfer ${id} has expired`)
    const { fulfillment } = packet
    const ilp = find(packet.protocolData, 'ilp')
    const hasIlp = ilp !== undefined && ilp.data.length > 0
    return view.move(entry, 'fulfilled', hasIlp ? { fulfillment, report: 'fulfill', ilp: toBase64url(ilp.data) } : { fulfillment, report: 'fulfill' })
  }

  /** The peer's Reject; by the host there, or because the time is over. */
  async handleReject(packet: RejectPacket): Promise<SubProtocol[]> {
    const id = packet.transferId
    const ilp = find(packet.protocolData, 'ilp')?.data
    const rejected = await this.#account.ledger.change(id, view => {
      const entry = ours(view.get(id), id, 'reject')
      if (entry.info.state === 'fulfilled') throw new AlreadyFulfilledError(`transfer ${id} is fulfilled`)
      if (entry.info.state === 'cancelled') return undefined
      return view.move(entry, 'cancelled', {
        report: isTimeout(ilp) ? 'cancel' : 'reject',
        ...(ilp === undefined ? {} : { ilp: toBase64url(ilp) })
      })
    })
    if (rejected !== undefined) this.#finish(rejected)
    return []
  }

  async #expire(id: string): Promise<void> {
    const flight = this.#flights.get(id)
    const ended = await changeTransfer(this.#account, this.#life, id, view => {
      const entry = view.get(id)
      return entry?.info.state === 'prepared' ? flight?.fulfill?.(view) ?? view.move(entry, 'cancelled', { report: 'cancel' }) : undefined
    })
    if (ended === undefined) return
    if (flight?.isAcknowledged === false && ended.info.state === 'cancelled') {
      flight.isAcknowledged = true
      rejectAll(flight, new UnreachableError(`transfer ${id} expired before it was answered: it is rolled back`))
    }
    this.#finish(ended)
  }

  #finish(entry: Entry<Transfer>): void {
    const flight = this.#flights.get(entry.id)
    // Its Fulfill or Reject overtook the Response: the peer has it, so it is acknowledged.
    if (flight !== undefined) this.#acknowledge(flight)
    this.#land(entry.id)
    this.#report(entry)
  }

  /** Raises the event of a final transfer, and lets go of it. */
  #report(entry: Entry<Transfer>): void {
    const { emit, ledger } = this.#account
    const { fulfillment } = entry.info
    // For the host, which may do with it what it likes.
    const transfer = copyOf(entry.info.transfer)
    const { report, ilp } = entry.open ?? {}
    if (report === 'fulfill' && fulfillment !== undefined) {
      if (ilp === undefined) emit('outgoing_fulfill', transfer, fulfillment)
      else emit('outgoing_fulfill', transfer, fulfillment, ilp)
    } else if (report === 'reject') {
      emit('outgoing_reject', transfer, rejectionMessage(this.#account, ilp, transfer.to))
    } else {
      emit('outgoing_cancel', transfer, rejectionMessage(this.#account, ilp ?? toBase64url(timeoutIlpError(this.#account)), transfer.from))
    }
    ledger.close(entry.id)
  }
}

function rejectAll(flight: Flight, error: unknown): void {
  for (const { reject } of flight.waiting.splice(0)) reject(error)
}

/** Only the sender's side answers a Fulfill or Reject: for a transfer that it sent (C29). */
function ours(known: Entry<Transfer> | undefined, id: string, action: string): Entry<Transfer> {
  const entry = found(known, id)
  if (entry.info.isIncoming) throw new NotAcceptedError(`transfer ${id} was sent to this side: only this side may ${action} it`)
  if (entry.stage === 'sent' || entry.stage === 'unsure') throw new NotAcceptedError(`transfer ${id} is an ILPv4 packet: its answer ends it`)
  return entry
}

/**
 * An exact repeat of a transfer in flight is that transfer; anything else under a known id is refused. A call that is made again is told
 * what became of its transfer: one that the peer has fulfilled was acknowledged.
 */
function checkRepeat(known: Entry<Transfer>, transfer: Transfer, again: boolean): void {
  const { isIncoming, state } = known.info
  if (isIncoming || (state !== 'prepared' && !again) || !sameTransfer(known.info.transfer, transfer)) {
    throw new DuplicateIdError(`id ${known.id} was used before`)
  }
  if (state === 'cancelled') throw rolledBack(known.id)
}

function rolledBack(id: string): AlreadyRolledBackError {
  return new AlreadyRolledBackError(`transfer ${id} is rolled back`)
}

function prepareBody({ id, transfer, expiresAt }: Flight): RequestBody {
  return {
    type: 'prepare',
    transferId: id,
    amount: transfer.amount,
    executionCondition: transfer.executionCondition,
    expiresAt,
    protocolData: toProtocolData({ ilp: transfer.ilp, custom: transfer.custom })
  }
}

/** What `sendTransfer` rejects with when the peer refuses (C45). */
function refusal(error: PaychanError): PaychanError {
  if (error instanceof DuplicateIdError) return error
  if (isTemporary(error)) return new UnreachableError(`the peer cannot take the transfer now: ${error.message}`, { cause: error })
  return new NotAcceptedError(`the peer refused the transfer: ${error.message}`, { cause: error })
}
