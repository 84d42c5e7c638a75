/**
 * ILPv4 Prepares that our host sends: held in the ledger, carried in one BTP Message, then settled by the Fulfill or released. Imports
 * core, btp and ledger.
 *
 * A Prepare is stored before it is sent, and sent at most once. Its answer counts until `expiresAt`; there the host above answers R00
 * by itself, so no grace is given. Where the answer is lost with its connection, a peer of ours is asked what became of the packet;
 * when it has fulfilled what is cancelled here, it is told so, and books it as disputed.
 */
import { fromBase64url } from '../core/bytes.js'
import {
  AlreadyRolledBackError, InsufficientBalanceError, InvalidFulfillmentError, NotAcceptedError, TransferNotFoundError, UnreachableError, isTemporary
} from '../core/errors.js'
import type { PaychanError } from '../core/errors.js'
import { conditionOf, randomTransferId } from '../core/ids.js'
import { passingMap } from '../core/passing-map.js'
import { Timers } from '../core/timers.js'
import { parseIlpReply } from '../btp/ilp-packets.js'
import type { IlpPrepare } from '../btp/ilp-packets.js'
import { lateMessage, transferMark } from '../btp/inquiry.js'
import type { Fates } from '../btp/inquiry.js'
import type { SubProtocol } from '../btp/packets.js'
import { find, octets } from '../btp/protocol-data.js'
import type { Session } from '../btp/session.js'
import type { Entry } from '../ledger/draft.js'
import { changeTransferThen, createOutgoing, reportDispute, stoppedError, transferOfPrepare } from './account.js'
import type { Account } from './account.js'
import { sendingError } from './courier.js'
import { Inquirer } from './inquirer.js'
import type { Transfer } from './lpi.js'

const ignore = (): void => undefined

/** How long after its expiry an answer is still listened for: to tell the peer that its Fulfill came too late. */
const LISTEN_MS = 30_000

/** How many packets that are over are remembered beside as many as are not. */
const MOST_OVER = 1000

/** What memory knows of a packet beyond its record. */
interface Flight {
  readonly id: string
  readonly executionCondition: string
  readonly expiresAt: number
  /** Takes the packet that answers the host, or why there is none: the first of them counts. */
  readonly resolve: (packet: Uint8Array) => void
  readonly reject: (error: unknown) => void
  /** The session on which it was sent, as long as an answer may come there. */
  session: Session | undefined
  /** Which of the packets it was that were sent there. */
  number: number
  /** Whether nothing of it is left to be done, durably. */
  isOver: boolean
  /** Whether its end is known and being stored: then its time does not run out any more. */
  isDecided: boolean
  /** Whether the peer is being told that its Fulfill came too late. */
  isLate: boolean
}

interface DataOutgoingOptions {
  /** Whether the host moves value by packets only, so that there may be some from a life before. */
  isOnlyFace: boolean
  /** See `DataOptions`. */
  onOwed: (isWanting: boolean) => void
}

export class DataOutgoing {
  readonly #account: Account
  readonly #flights = passingMap<string, Flight>()
  readonly #timers: Timers<string>
  readonly #inquirer: Inquirer
  /** From one `resume` to the next `stop`: what waits across both must not carry on in the next one. */
  #life = { isOver: false }

  readonly #onOwed: DataOutgoingOptions['onOwed']
  /** What was sent to a peer of ours on the session that there is, in that order, from the first on that is not over. */
  #sent: { session: Session; number: number; flights: Flight[] } | undefined

  constructor(account: Account, { isOnlyFace, onOwed }: DataOutgoingOptions) {
    this.#account = account
    this.#onOwed = onOwed
    this.#timers = new Timers(account.clock, id => {
      const flight = this.#flights.get(id)
      if (flight !== undefined) void this.#expire(flight)
    })
    this.#inquirer = new Inquirer({
      clock: account.clock,
      log: account.log,
      session: account.session,
      hasBegun: isOnlyFace,
      unresolved: session => [...this.#flights.values()].filter(flight => flight.session !== session).map(({ id }) => id),
      learn: fates => { this.#learn(fates) }
    })
  }

  /** How many packets the host waits for. */
  get pending(): number {
    return this.#flights.size
  }

  /** Takes up what the store holds: nobody waits for these answers any more, but the sums do. */
  resume(): void {
    this.#life = { isOver: false }
    for (const { id, info, stage } of this.#account.ledger.open) {
      if (stage !== 'sent' && stage !== 'unsure') continue
      const { executionCondition, expiresAt } = info.transfer
      const flight = this.#begin({ id, executionCondition, expiresAt: Date.parse(expiresAt), resolve: ignore, reject: ignore })
      if (stage === 'sent') this.#timers.setFor(id, flight.expiresAt)
    }
  }

  /** Ends all waiting. The records stay as they are. */
  stop(): void {
    this.#life.isOver = true
    this.#timers.cancelAll()
    this.#inquirer.stop()
    for (const { id, reject } of this.#flights.values()) reject(stoppedError(id))
    this.#flights.clear()
    this.#sent = undefined
  }

  /** There is a session: a peer of ours is asked what became of packets that were sent before, and told when that is all. */
  sessionUp(session: Session): void {
    if (session.peer.announced) this.#inquirer.sessionUp()
    else this.#forgetUnsure()
  }

  /** A peer that is not ours neither can be asked nor told: what is cancelled here is all that there will ever be. */
  #forgetUnsure(): void {
    for (const flight of this.#flights.values()) {
      if (this.#account.ledger.peek(flight.id)?.stage === 'unsure') this.#cancel(flight)
    }
  }

  /**
   * Sends a Prepare, and calls one of the two with what comes of it: the packet that answers it, or AlreadyRolledBackError when its time is
   * over; InsufficientBalanceError; InvalidFulfillmentError; what the peer answered as a BTP Error; UnreachableError with
   * `outcome: 'unknown'` at a disconnect; StoreError.
   * @throws UnreachableError without a session, or when too much is in flight; AlreadyRolledBackError: nothing is stored then
   */
  send(packet: Uint8Array, prepare: IlpPrepare, resolve: (packet: Uint8Array) => void, reject: (error: unknown) => void): void {
    const { ledger, clock, random, session, maxInFlight } = this.#account
    const expiresAt = prepare.expiresAt.getTime()
    if (session() === undefined) throw new UnreachableError('not connected to the peer')
    if (expiresAt <= clock.now()) throw new AlreadyRolledBackError('the packet has expired')
    if (this.#flights.size >= maxInFlight) throw new UnreachableError('too much is in flight')
    const id = randomTransferId(random)
    const transfer = transferOfPrepare(this.#account, id, prepare, false)
    let isGivenUp = false
    ledger.changeThen(id, view => createOutgoing(this.#account, view, id, transfer, 'sent'), () => {
      if (this.#life.isOver) {
        reject(stoppedError(id))
        return
      }
      this.#inquirer.begin()
      const flight = this.#begin({ id, executionCondition: prepare.executionCondition, expiresAt, resolve, reject })
      this.#timers.setFor(id, expiresAt)
      // A host that was told of a failure rejects what came before the packet.
      if (isGivenUp) this.#cancel(flight)
      else this.#carry(flight, packet)
    }, error => {
      if (error instanceof InsufficientBalanceError) this.#onOwed(true)
      reject(error)
    }, error => {
      isGivenUp = true
      reject(error)
    })
  }

  #begin(begun: Omit<Flight, 'session' | 'number' | 'isOver' | 'isDecided' | 'isLate'>): Flight {
    const { id, executionCondition, expiresAt, resolve, reject } = begun
    const flight: Flight = { id, executionCondition, expiresAt, resolve, reject, session: undefined, number: 0, isOver: false, isDecided: false, isLate: false }
    this.#flights.set(id, flight)
    return flight
  }

  /** Sends the packet, once, and takes what comes back. */
  #carry(flight: Flight, packet: Uint8Array): void {
    const { clock } = this.#account
    const session = this.#account.session()
    const leftMs = flight.expiresAt - clock.now()
    if (session === undefined || leftMs <= 0) {
      this.#cancel(flight, new UnreachableError('the packet could not be sent in time'))
      return
    }
    const protocolData = [octets('ilp', packet)]
    if (session.peer.announced) protocolData.push(this.#markOf(flight, session))
    flight.session = session
    session.ask({ type: 'message', protocolData }, answer => {
      flight.session = undefined
      this.#answered(flight, find(answer.protocolData, 'ilp')?.data)
    }, thrown => {
      // A turn later: whoever failed it is still at work.
      void Promise.resolve().then(() => { this.#failed(flight, sendingError(thrown)) })
    }, { timeoutMs: leftMs + LISTEN_MS })
  }

  /** Tells the peer along with each packet how far it need not remember any more. */
  #markOf(flight: Flight, session: Session): SubProtocol {
    if (this.#sent?.session !== session) this.#sent = { session, number: 0, flights: [] }
    const sent = this.#sent
    let over = 0
    while (sent.flights[over]?.isOver === true) over++
    if (over > 0) sent.flights.splice(0, over)
    // One whose end is long in coming must not have all behind it remembered.
    if (sent.flights.length > 2 * this.#flights.size + MOST_OVER) sent.flights = sent.flights.filter(({ isOver }) => !isOver)
    flight.number = sent.number++
    sent.flights.push(flight)
    return transferMark({ id: flight.id, number: flight.number, final: sent.flights[0]?.number ?? 0 })
  }

  /** Nothing is left to be done about it. */
  #end(flight: Flight): void {
    flight.isOver = true
    this.#flights.delete(flight.id)
  }

  /** There was no Response. */
  #failed(flight: Flight, error: PaychanError): void {
    flight.session = undefined
    // Neither the peer's word nor a fault of the packet: it may have arrived, and its answer may have been lost.
    if (!error.fromPeer && isTemporary(error)) this.#lost(flight)
    else this.#cancel(flight, error)
  }

  /** No answer comes where it was sent. A peer that is not ours cannot be asked. */
  #lost(flight: Flight): void {
    const { ledger, session } = this.#account
    if (this.#flights.get(flight.id) !== flight) return
    const isForeign = session()?.peer.announced === false
    if (isForeign && ledger.peek(flight.id)?.stage === 'unsure') this.#cancel(flight)
    else this.#inquirer.wake()
  }

  /** The peer's answer, from wherever it was had. */
  #answered(flight: Flight, packet: Uint8Array | undefined): void {
    if (this.#flights.get(flight.id) !== flight || flight.isDecided || flight.isLate) return
    const reply = packet === undefined ? undefined : parseIlpReply(packet)
    if (packet === undefined || reply === undefined) {
      this.#cancel(flight, new NotAcceptedError("the peer's answer is no Fulfill or Reject"))
    } else if (reply.type === 'reject') {
      this.#cancel(flight, packet)
      if (reply.code === 'T04') this.#onOwed(true)
    } else if (conditionOf(reply.fulfillment) !== flight.executionCondition) {
      this.#cancel(flight, new InvalidFulfillmentError('the fulfillment does not match the condition'))
    } else if (this.#account.clock.now() > flight.expiresAt) {
      void this.#expire(flight).then(isStored => { if (isStored) void this.#tellLate(flight, reply.fulfillment) })
    } else {
      this.#fulfill(flight, reply.fulfillment, packet)
    }
  }

  /** It came in time, so it is honoured (I4), however long the store takes. */
  #fulfill(flight: Flight, fulfillment: string, packet: Uint8Array): void {
    flight.isDecided = true
    this.#move(flight, 'fulfilled', { fulfillment }, entry => {
      if (entry === undefined) return
      // Its time had run out in the moment before.
      if (entry.stage === 'unsure') {
        void this.#tellLate(flight, fulfillment)
        return
      }
      this.#end(flight)
      flight.resolve(packet)
      this.#onOwed(false)
    })
  }

  /** The hold is given back, for good: then the host gets its answer, a packet or an error. One that is cancelled already is only closed. */
  #cancel(flight: Flight, end?: Uint8Array | PaychanError): void {
    if (this.#flights.get(flight.id) !== flight || flight.isDecided) return
    flight.isDecided = true
    this.#move(flight, 'cancelled', {}, entry => {
      if (entry === undefined) return
      this.#end(flight)
      if (end instanceof Uint8Array) flight.resolve(end)
      else flight.reject(end ?? expiredError())
    })
  }

  /** The time is over. Unless it is known that the peer has nothing to claim, the packet stays open. Tells whether that is stored. */
  async #expire(flight: Flight): Promise<boolean> {
    const { session } = this.#account
    if (this.#flights.get(flight.id) !== flight || flight.isDecided) return false
    const cannotAsk = (flight.session ?? session())?.peer.announced === false
    const entry = await new Promise(resolve => { this.#move(flight, cannotAsk ? 'cancelled' : 'unsure', {}, resolve) })
    if (entry === undefined) return false
    if (cannotAsk) this.#end(flight)
    flight.reject(expiredError())
    if (!cannotAsk && flight.session === undefined) this.#inquirer.wake()
    return true
  }

  /** The peer has fulfilled what is cancelled here: it is told until it has answered. */
  async #tellLate(flight: Flight, fulfillment: string): Promise<void> {
    const { courier, ledger, log, session } = this.#account
    const life = this.#life
    if (flight.isLate || this.#flights.get(flight.id) !== flight) return
    flight.isLate = true
    flight.isDecided = false
    log.warn(`the fulfill of ${flight.id} came too late`)
    const delivered = await courier.deliver({ type: 'message', protocolData: [lateMessage(flight.id)] }, {
      wanted: () => !life.isOver && session()?.peer.announced === true
    })
    if (life.isOver) return
    const entry = ledger.peek(flight.id)
    // One that it has lost with its books does not count there.
    const isDisputed = delivered.outcome === 'refused' && !(delivered.error instanceof TransferNotFoundError)
    if (isDisputed && entry !== undefined) reportDispute(this.#account, entry, fulfillment, delivered.error.message)
    this.#cancel(flight)
  }

  /** What a peer of ours says of packets whose answers were lost. */
  #learn({ fulfilled, cancelled }: Fates): void {
    for (const [id, packet] of fulfilled) {
      const flight = this.#flights.get(id)
      if (flight !== undefined) this.#answered(flight, fromBase64url(packet))
    }
    for (const id of cancelled) {
      const flight = this.#flights.get(id)
      if (flight !== undefined) this.#cancel(flight, new UnreachableError('the packet was lost with its connection'))
    }
  }

  /** Moves a packet on, however long the store takes; one that has moved already stays where it is. Tells `done` what it is then. */
  #move(
    { id }: Flight, stage: 'fulfilled' | 'cancelled' | 'unsure', details: { fulfillment?: string }, done: (entry: Entry<Transfer> | undefined) => void
  ): void {
    this.#timers.cancel(id)
    changeTransferThen<Entry<Transfer> | undefined>(this.#account, this.#life, id, view => {
      const known = view.get(id)
      const isOpen = known?.stage === 'sent' || (known?.stage === 'unsure' && stage === 'cancelled')
      return isOpen ? view.move(known, stage, details) : known
    }, done)
  }
}

function expiredError(): AlreadyRolledBackError {
  return new AlreadyRolledBackError('the packet expired before it was answered')
}
