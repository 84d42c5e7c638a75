/**
 * Sends a request until it is answered: again on the same session, later each time, and at once on the next session. Imports core
 * and btp.
 *
 * What is sent this way is derived from the ledger's records. A courier keeps nothing that a restart would lose.
 */
import type { Clock } from '../core/clock.js'
import { PaychanError, UnreachableError, isTemporary } from '../core/errors.js'
import type { ResponsePacket } from '../btp/packets.js'
import type { RequestBody, Session } from '../btp/session.js'

/** The delay before the second attempt on one session; it doubles each time (RFC 23: 1 to 60 s). */
const FIRST_DELAY_MS = 1000
const LAST_DELAY_MS = 60_000

/** How a delivery ended: `ended` when it was not wanted any more, or the courier was stopped. */
export type Delivered =
  | { outcome: 'answered'; response: ResponsePacket; attempts: number }
  | { outcome: 'refused'; error: PaychanError; attempts: number }
  | { outcome: 'ended' }

export interface DeliveryOptions {
  /** Asked before each attempt, with the number of those before. */
  wanted(attempts: number): boolean
  /** When the waiting ends, in milliseconds since 1970, also while there is no session. Default: never. */
  endsAt?: number
  /** Whether the peer's explicit error ends the delivery. Default: when it is not temporary. */
  final?: (error: PaychanError, attempts: number) => boolean
}

/** A request under way. */
interface Delivery {
  readonly body: RequestBody
  readonly options: DeliveryOptions
  readonly ended: (delivered: Delivered) => void
  attempts: number
  /** Before the next attempt on the same session. */
  delayMs: number
}

export interface CourierOptions {
  clock: Clock
  session(): Session | undefined
}

export class Courier {
  readonly #options: CourierOptions
  readonly #waiting = new Set<() => void>()
  #stopped = false

  constructor(options: CourierOptions) {
    this.#options = options
  }

  /** There is a session: whoever waits tries again now. */
  sessionUp(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  /** Ends every delivery. A courier that was stopped may be started again with `start`. */
  stop(): void {
    this.#stopped = true
    this.sessionUp()
  }

  start(): void {
    this.#stopped = false
  }

  deliver(body: RequestBody, options: DeliveryOptions): Promise<Delivered> {
    return new Promise(resolve => { this.deliverThen(body, options, resolve) })
  }

  /**
   * As `deliver`, for who needs no promise. Calls `ended` once: perhaps before this returns, or in the middle of reading what has arrived.
   * It must not throw.
   */
  deliverThen(body: RequestBody, options: DeliveryOptions, ended: (delivered: Delivered) => void): void {
    this.#begin({ body, options, ended, attempts: 0, delayMs: FIRST_DELAY_MS })
  }

  #begin(delivery: Delivery): void {
    const { endsAt = Infinity } = delivery.options
    // Nearly always there is one, and nobody has to wait.
    const session = this.#openSession(endsAt)
    if (session !== undefined) this.#attempt(delivery, session)
    else void this.#nextSession(endsAt).then(next => { this.#attempt(delivery, next) })
  }

  #attempt(delivery: Delivery, session: Session | undefined): void {
    const { body, options, ended } = delivery
    if (session === undefined || !options.wanted(delivery.attempts)) {
      ended({ outcome: 'ended' })
      return
    }
    delivery.attempts++
    session.ask(body, response => { ended({ outcome: 'answered', response, attempts: delivery.attempts }) }, error => {
      void this.#failed(delivery, session, sendingError(error))
    })
  }

  async #failed(delivery: Delivery, session: Session, error: PaychanError): Promise<void> {
    const { options, ended, attempts } = delivery
    const { endsAt = Infinity, final = isFinal } = options
    // A turn later: whoever failed it is still at work.
    await Promise.resolve()
    // What could not even be sent, for its form, never will be.
    if (error.fromPeer ? final(error, attempts) : isFinal(error)) {
      ended({ outcome: 'refused', error, attempts })
      return
    }
    if (this.#options.session() === session) {
      if (!options.wanted(attempts)) {
        ended({ outcome: 'ended' })
        return
      }
      await this.#pause(Math.min(delivery.delayMs, endsAt - this.#options.clock.now()))
      delivery.delayMs = Math.min(delivery.delayMs * 2, LAST_DELAY_MS)
    }
    this.#begin(delivery)
  }

  #openSession(endsAt: number): Session | undefined {
    if (this.#stopped || endsAt - this.#options.clock.now() <= 0) return undefined
    const session = this.#options.session()
    return session === undefined || session.closed ? undefined : session
  }

  async #nextSession(endsAt: number): Promise<Session | undefined> {
    for (;;) {
      const session = this.#openSession(endsAt)
      if (session !== undefined) return session
      const leftMs = endsAt - this.#options.clock.now()
      if (this.#stopped || leftMs <= 0) return undefined
      await this.#pause(leftMs)
    }
  }

  /** Waits for the next session or for a time, whatever comes first. */
  #pause(delayMs: number): Promise<void> {
    return new Promise(resolve => {
      const cancel = delayMs === Infinity ? undefined : this.#options.clock.setTimer(delayMs, () => { wake() })
      const wake = (): void => {
        cancel?.()
        this.#waiting.delete(wake)
        resolve()
      }
      this.#waiting.add(wake)
    })
  }
}

/** What a request has failed with. What is no error of ours is a fault of the sending. */
export function sendingError(thrown: unknown): PaychanError {
  return thrown instanceof PaychanError ? thrown : new UnreachableError('the request could not be sent', { cause: thrown })
}

function isFinal(error: PaychanError): boolean {
  return !isTemporary(error)
}
