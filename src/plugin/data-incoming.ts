/**
 * ILPv4 Prepares that the peer sends: held in the ledger before our host has them, then settled by its Fulfill or released. Imports
 * core, btp and ledger.
 *
 * Exactly one of two things happens: the preimage is durable in time, and leaves with the answer; or the hold is released, and the
 * sender is answered with a Reject, whatever our host says later.
 */
import { printableMessage, toBase64url } from '../core/bytes.js'
import {
  AlreadyFulfilledError, AlreadyRolledBackError, DuplicateIdError, NotAcceptedError, StoreError, TransferNotFoundError, UnreachableError
} from '../core/errors.js'
import { formatAmount } from '../core/amounts.js'
import type { Amount } from '../core/amounts.js'
import { conditionOf, randomTransferId } from '../core/ids.js'
import { passingMap } from '../core/passing-map.js'
import { Timers } from '../core/timers.js'
import { amountTooLargeData, parseIlpReply, writeIlpFulfill, writeIlpReject } from '../btp/ilp-packets.js'
import type { IlpPrepare } from '../btp/ilp-packets.js'
import type { Fates, TransferMark } from '../btp/inquiry.js'
import { asBuffer } from '../btp/oer.js'
import type { Session } from '../btp/session.js'
import type { Entry, View } from '../ledger/draft.js'
import { MOST_REMEMBERED, changeTransfer, changeTransferThen, checkInFlight, copyOf, moveToDisputed, reportDisputed, stoppedError, transferOfPrepare } from './account.js'
import type { Account } from './account.js'
import { Disputable } from './disputable.js'
import type { DataHandler, IncomingTransfer, Transfer } from './lpi.js'

/** The largest answer of the host that is passed on, in bytes: what a frame of 64 KiB has room for beside its own fields. */
const ANSWER_BYTES = 65_000

/**
 * How much the answer to a question may hold of packets, in characters: so much has room in a frame beside the ids of a question. Any
 * Fulfill that RFC 27 allows, with its 32 KiB of data, does.
 */
const TOLD_CHARACTERS = 56_000

const SETTLED = Promise.resolve()

/** A Fulfill that says no more than its preimage: made again of that, where it is needed. */
const BARE_FULFILL_BYTES = 35

/** A Prepare, and who waits for what comes of it. */
interface Arrival {
  readonly packet: Uint8Array
  readonly prepare: IlpPrepare
  /** What a peer of ours tells of it. */
  readonly mark: TransferMark | undefined
  /** Where the answer goes. */
  readonly session: Session
  /** Asked when it is needed: a host may take its handler away. */
  readonly currentHandler: () => DataHandler | undefined
  /** Takes the packet that answers the sender: the host's Fulfill when it is durable, or a Reject. */
  readonly answered: (packet: Uint8Array) => void
  readonly refused: (error: unknown) => void
}

/** A packet that our host has, or will have. */
interface Handling {
  readonly id: string
  readonly transfer: Transfer
  readonly expiresAt: number
  readonly session: Session
  /** See `TransferMark`. */
  readonly number: number
  /** What limits act on, when it was taken. */
  position: Amount
  readonly arrival: Arrival
}

/** What the end of a packet is: the answer to the sender, and with the preimage where it is fulfilled. */
interface End {
  readonly packet: Uint8Array
  readonly fulfillment?: string
}

export class DataIncoming {
  readonly #account: Account
  readonly #handlings = passingMap<string, Handling>()
  readonly #timers: Timers<string>
  readonly #disputable: Disputable
  /** Ids that the sender was told are cancelled, the latest last: none of them is taken any more, should it still be on its way. */
  readonly #refused = new Set<string>()
  /** From one `resume` to the next `stop`: what waits across both must not carry on in the next one. */
  #life = { isOver: false }

  constructor(account: Account) {
    this.#account = account
    this.#timers = new Timers(account.clock, id => { void this.#expire(id) })
    this.#disputable = new Disputable(account)
  }

  /** How many packets the host has. */
  get pending(): number {
    return this.#handlings.size
  }

  /** Takes up what the store holds. Whoever had the packets that are held is gone with the life before: they are cancelled. */
  resume(): void {
    this.#life = { isOver: false }
    for (const { id, stage, amount } of this.#account.ledger.open) {
      if (stage === 'handed') void this.#cancel(id)
      if (stage === 'answered') this.#disputable.add(id, amount)
    }
  }

  /** Ends all waiting. The records stay as they are. */
  stop(): void {
    this.#life.isOver = true
    this.#timers.cancelAll()
    this.#disputable.stop()
    for (const { id, arrival } of this.#handlings.values()) arrival.refused(stoppedError(id))
    this.#handlings.clear()
  }

  /** Takes a Prepare. It is refused with DuplicateIdError, StoreError, or UnreachableError at a disconnect. */
  handle(arrival: Arrival): void {
    const { ledger, clock, random } = this.#account
    const { mark, prepare, session, answered } = arrival
    if (mark !== undefined) this.#disputable.settled(session, mark.final)
    const expiresAt = prepare.expiresAt.getTime()
    if (expiresAt <= clock.now()) {
      answered(writeIlpReject('R00', 'the packet has expired'))
      return
    }
    const id = mark?.id ?? randomTransferId(random)
    const transfer = transferOfPrepare(this.#account, id, prepare, true)
    const handling: Handling = { id, transfer, expiresAt, session, number: mark?.number ?? Infinity, position: 0n, arrival }
    ledger.changeThen(id, view => { this.#hold(view, handling) }, () => { this.#held(handling) }, error => { this.#notHeld(handling, error) })
  }

  #held(handling: Handling): void {
    const { id, arrival, expiresAt } = handling
    if (this.#life.isOver) {
      arrival.refused(stoppedError(id))
      return
    }
    handling.position = this.#account.ledger.position
    this.#handlings.set(id, handling)
    this.#timers.setFor(id, expiresAt)
    this.#ask(handling)
  }

  #notHeld(handling: Handling, error: unknown): void {
    const { id, arrival, transfer, expiresAt } = handling
    if (error instanceof NotAcceptedError || error instanceof UnreachableError) {
      const [code, message] = error instanceof UnreachableError ? ['T03', error.message] as const : ['T04', 'the balance does not allow the amount now'] as const
      this.#refusal(transfer, code, message).then(arrival.answered, arrival.refused)
      return
    }
    // The store cannot tell whether it holds the packet, so the sender gets no answer; if it does, that ends with its time.
    if (error instanceof StoreError && error.outcome === 'unknown') this.#timers.setFor(id, expiresAt)
    arrival.refused(error)
  }

  #hold(view: View<Transfer>, { id, transfer }: Handling): void {
    if (view.get(id) !== undefined) throw new DuplicateIdError(`id ${id} belongs to another transfer`)
    if (this.#refused.has(id)) throw new AlreadyRolledBackError(`transfer ${id} is rolled back`)
    checkInFlight(this.#account, view, transfer.amount, UnreachableError)
    view.create(id, transfer, true, { v: 1, stage: 'handed', at: this.#account.clock.now() })
  }

  /** Whether a smaller amount could be taken, or this one later. */
  async #refusal({ amount }: Transfer, code: string, message: string): Promise<Uint8Array> {
    const { maxInFlightAmount } = this.#account
    const { maximum } = await this.#account.ledger.limits()
    const most = maxInFlightAmount < maximum ? maxInFlightAmount : maximum
    if (BigInt(amount) <= most) return writeIlpReject(code, message)
    return writeIlpReject('F08', 'the amount exceeds the maximum', amountTooLargeData(amount, most < 0n ? '0' : formatAmount(most)))
  }

  async #expire(id: string): Promise<void> {
    // Otherwise the host's answer was stored in the moment before.
    if (await this.#cancel(id) !== true) return
    const handling = this.#handlings.get(id)
    if (handling !== undefined) this.#finish(handling, writeIlpReject('R00', 'the packet expired'))
  }

  /** Gives the hold back. Whether there was one. */
  #cancel(id: string): Promise<boolean | undefined> {
    return this.#change(id, view => {
      const entry = view.get(id)
      if (entry?.stage !== 'handed') return false
      view.move(entry, 'cancelled')
      return true
    })
  }

  // ---- what the host says

  #ask(handling: Handling): void {
    const { module, clock } = this.#account
    // Also where there is no module: the host is asked in a turn of its own, not in that of the commit.
    const judged = module === undefined ? SETTLED : module.handleIncomingPrepare(copyOf(handling.transfer) as IncomingTransfer)
    judged.then(() => {
      const { packet, currentHandler } = handling.arrival
      // Whoever has heard of the end, or will at once, must not have the host pay on.
      if (this.#handlings.get(handling.id) !== handling || clock.now() >= handling.expiresAt) return
      const handler = currentHandler()
      if (handler === undefined) this.#conclude(handling, { packet: writeIlpReject('T01', 'no data handler is registered') })
      else answerOf(handler, packet, this.#account, answer => { this.#conclude(handling, this.#endOf(handling, answer)) })
    }, (error: unknown) => {
      this.#conclude(handling, { packet: writeIlpReject('T04', printableMessage(error)) })
    })
  }

  /** What the host's answer comes to. What has no room in a frame loses its data, not its meaning: a preimage is valid without them. */
  #endOf({ transfer }: Handling, packet: Uint8Array): End {
    const reply = parseIlpReply(packet)
    if (reply === undefined) return { packet: writeIlpReject('T00', "the host's answer is no Fulfill or Reject") }
    const fits = packet.length <= ANSWER_BYTES
    if (reply.type === 'reject') return { packet: fits ? packet : writeIlpReject(reply.code, "the host's answer is too large") }
    const { fulfillment } = reply
    if (conditionOf(fulfillment) === transfer.executionCondition) return { packet: fits ? packet : writeIlpFulfill(fulfillment), fulfillment }
    return { packet: writeIlpReject('F05', 'the fulfillment does not match the condition') }
  }

  /** Stores the end before the sender is told, however long the store fails; but a Fulfill that is not stored in time comes too late. */
  #conclude(handling: Handling, end: End): void {
    const { id } = handling
    const life = this.#life
    if (this.#handlings.get(id) !== handling) return
    changeTransferThen(this.#account, life, id, view => this.#decideEnd(view, handling, end), concluded => {
      // Whatever has landed after the end is taken up by the next life.
      if (concluded === undefined || life.isOver) return
      if (concluded.stage === 'answered') this.#disputable.add(id, concluded.amount, handling)
      const isFulfilled = concluded.info.state === 'fulfilled'
      this.#finish(handling, isFulfilled || end.fulfillment === undefined ? end.packet : writeIlpReject('R00', 'the fulfillment came too late'))
    })
  }

  #decideEnd(view: View<Transfer>, { id, session, expiresAt }: Handling, { packet, fulfillment }: End): Entry<Transfer> | undefined {
    const { clock, expiryMarginMs } = this.#account
    const entry = view.get(id)
    if (entry?.stage !== 'handed') return entry
    if (fulfillment === undefined || clock.now() >= expiresAt - expiryMarginMs) return view.move(entry, 'cancelled')
    if (!session.peer.announced) return view.move(entry, 'fulfilled', { fulfillment })
    return view.move(entry, 'answered', packet.length === BARE_FULFILL_BYTES ? { fulfillment } : { fulfillment, ilp: toBase64url(packet) })
  }

  #finish(handling: Handling, packet: Uint8Array): void {
    if (this.#handlings.get(handling.id) !== handling) return
    this.#handlings.delete(handling.id)
    this.#timers.cancel(handling.id)
    handling.arrival.answered(packet)
  }

  // ---- what the sender asks later

  /** Answers what became of packets. What has not arrived will not be taken any more. */
  async tell(ids: readonly string[], isLast: boolean, session: Session): Promise<Fates> {
    const fulfilled = new Map<string, string>()
    const [cancelled, held]: [string[], string[]] = [[], []]
    /** Also what is left out. Not what this side never had: a peer may ask about such without end. */
    const inDoubt: string[] = []
    let size = 0
    for (const id of ids) {
      this.#refuse(id)
      // In turn with what is being changed, so that it is durable.
      const entry = await this.#account.ledger.change(id, view => view.get(id))
      if (entry?.open !== undefined) inDoubt.push(id)
      if (entry?.stage === 'handed') held.push(id)
      else if (entry?.info.isIncoming === true && entry.info.state === 'fulfilled') {
        let packet = entry.open?.ilp
        if (packet === undefined || packet.length > TOLD_CHARACTERS) packet = toBase64url(writeIlpFulfill(entry.info.fulfillment ?? ''))
        size += packet.length
        // What is left out is asked again. The first one always has room.
        if (size > TOLD_CHARACTERS) continue
        fulfilled.set(id, packet)
        this.#disputable.told(id, session, Date.parse(entry.info.transfer.expiresAt))
      } else cancelled.push(id)
    }
    this.#disputable.asked(inDoubt, isLast, session)
    return { fulfilled, cancelled, held }
  }

  #refuse(id: string): void {
    this.#refused.add(id)
    if (this.#refused.size <= MOST_REMEMBERED) return
    const [oldest] = this.#refused
    if (oldest !== undefined) this.#refused.delete(oldest)
  }

  /**
   * The sender says that our Fulfill came too late: it is not counted any more, and kept as evidence.
   * @throws TransferNotFoundError; AlreadyFulfilledError when the sender could not be in doubt any more; NotAcceptedError; StoreError
   */
  async concede(id: string): Promise<void> {
    await this.#account.ledger.change(id, view => {
      const entry = view.get(id)
      if (entry?.info.isIncoming !== true) throw new TransferNotFoundError(`no packet has the id ${id}`)
      if (entry.info.state === 'cancelled') return
      if (entry.stage === 'fulfilled') throw new AlreadyFulfilledError(`transfer ${id} is fulfilled`)
      if (entry.stage !== 'answered') throw new NotAcceptedError(`transfer ${id} is ${entry.stage}`)
      moveToDisputed(view, entry, 'the sender says that the fulfill came too late')
    })
    this.#disputable.drop(id)
    reportDisputed(this.#account, id)
  }

  #change<R>(id: string, decide: (view: View<Transfer>) => R): Promise<R | undefined> {
    return changeTransfer(this.#account, this.#life, id, decide)
  }
}

/** Has the host's handler answer a Prepare: where it fails, by the Reject that its failure stands for. `answered` must not throw. */
export function answerOf(handler: DataHandler, packet: Uint8Array, { log }: Account, answered: (packet: Uint8Array) => void): void {
  askHandler(handler, packet).then(answered, (error: unknown) => {
    log.debug(`the data handler failed: ${printableMessage(error)}`)
    answered(rejectOf(error))
  })
}

/** Has the host's handler answer. @throws what it throws; TypeError when it returns no bytes */
export async function askHandler(handler: DataHandler, packet: Uint8Array): Promise<Uint8Array> {
  const answer: unknown = await handler(asBuffer(packet))
  if (!(answer instanceof Uint8Array)) throw new TypeError('the data handler must return a Buffer')
  return answer
}

/** The Reject that a host's failure stands for: with its own code where it has one, as connectors do it. */
function rejectOf(error: unknown): Uint8Array {
  const { ilpErrorCode: code } = Object(error) as { ilpErrorCode?: unknown }
  const isCode = typeof code === 'string' && /^[FTR][0-9]{2}$/.test(code)
  return writeIlpReject(isCode ? code : 'F00', printableMessage(error, 1000))
}
