/**
 * Who pays whom in the demo, the same for the page and for the Node side: the payer asks the other side for an invoice, sends a
 * transfer that is held against its condition, and the receiver releases it with the preimage that only it knows.
 */
import type { LedgerPlugin, Message, OutgoingTransfer } from 'ilp-plugin-paychan'
import { makeInvoice, newTransferId, preimageFor } from './invoices.js'
import { CURRENCY, LIMIT, formatAmount } from './ledger.js'
import { readAmount, readHold, readRate, readStatus } from './requests.js'
import type { Status } from './requests.js'
import { PaymentStream } from './stream.js'

/** How long a payment may take, in milliseconds. */
const TRANSFER_TIME_MS = 15_000

/** What a limit refuses with: this side's own, and the other side's. */
const LIMIT_ERRORS = ['InsufficientBalanceError', 'NotAcceptedError']

/** A payment that came to its end. */
export interface EndedPayment {
  readonly direction: 'in' | 'out'
  /** Base units. */
  readonly amount: string
  /** Why it came to nothing. */
  readonly failed?: string
}

export interface PaymentsOptions {
  /** See `newSecret`. Kept for as long as the ledger is. */
  readonly secret: string
  /** Whether the other side may ask this one to pay. */
  readonly paysOnRequest: boolean
  /** The balance, what is in flight, or the stream may have changed. */
  onChange(): void
  onEnd(payment: EndedPayment): void
  /** Something went wrong that no payment tells of. */
  onTrouble(message: string): void
}

export class Payments {
  readonly stream: PaymentStream
  readonly #plugin: LedgerPlugin
  readonly #options: PaymentsOptions
  /** Those who wait for the end of a payment, by its transfer's id. */
  readonly #waiting = new Map<string, (payment: EndedPayment) => void>()
  /** The incoming transfers that this side is about to release. */
  readonly #releases = new Map<string, ReturnType<typeof setTimeout> | undefined>()

  constructor(plugin: LedgerPlugin, options: PaymentsOptions) {
    this.#plugin = plugin
    this.#options = options
    this.stream = new PaymentStream({
      pay: amount => this.pay(amount),
      // One that stands by has its payments made by the holder.
      isOpen: () => plugin.isConnected() || plugin.role === 'standby',
      onChange: refused => {
        if (refused !== undefined) options.onTrouble(`the stream has ended: ${refused}`)
        options.onChange()
      }
    })
    plugin.registerRequestHandler(message => this.#answer(message))
    plugin.on('incoming_prepare', transfer => {
      options.onChange()
      this.#receive(transfer, Date.now())
    })
    plugin.on('outgoing_prepare', () => { options.onChange() })
    plugin.on('incoming_fulfill', ({ id, amount }) => { this.#end(id, { direction: 'in', amount }) })
    plugin.on('outgoing_fulfill', ({ id, amount }) => { this.#end(id, { direction: 'out', amount }) })
    plugin.on('incoming_reject', ({ id, amount }, { message }) => { this.#end(id, { direction: 'in', amount, failed: message ?? 'rejected' }) })
    plugin.on('outgoing_reject', ({ id, amount }, { message }) => { this.#end(id, { direction: 'out', amount, failed: message ?? 'rejected' }) })
    plugin.on('incoming_cancel', ({ id, amount }) => { this.#end(id, { direction: 'in', amount, failed: 'its time was over' }) })
    plugin.on('outgoing_cancel', ({ id, amount }) => { this.#end(id, { direction: 'out', amount, failed: 'its time was over' }) })
    plugin.on('connect', () => { this.resume() })
  }

  /** Takes up what was on its way to this side: its event was raised in another life, or in another tab. */
  resume(): void {
    for (const { transfer, isIncoming, preparedAt } of this.#plugin.inFlight()) if (isIncoming) this.#receive(transfer, preparedAt)
    this.#options.onChange()
  }

  /** Leaves the incoming transfers that are held to the next life, or to the end of their time. */
  forgetReleases(): void {
    for (const timer of this.#releases.values()) clearTimeout(timer)
  }

  /**
   * Pays the other side an amount of base units. Resolves when the other side holds it; what came of it is told by `onEnd`, and by
   * `outcome`.
   * @param holdMs for how long the other side is asked to wait before it takes the payment
   * @param id of the transfer
   */
  async pay(amount: string, holdMs = 0, id = newTransferId()): Promise<void> {
    const { invoice, condition } = await this.#ask({ method: 'invoice', amount })
    if (typeof invoice !== 'string' || typeof condition !== 'string') throw new Error('the other side gave no invoice')
    const sent = this.#plugin.sendTransfer({
      id,
      to: this.#plugin.getPeerAccount(),
      amount,
      executionCondition: condition,
      expiresAt: new Date(Date.now() + TRANSFER_TIME_MS).toISOString(),
      custom: { invoice, holdMs }
    })
    await sent.catch(async (error: unknown) => { throw await this.#explain(error, amount) })
  }

  /** What a refusal is to who reads amounts in the currency and knows no transfer by its id. Only limits refuse here. */
  async #explain(error: unknown, amount: string): Promise<unknown> {
    if (!(error instanceof Error) || !LIMIT_ERRORS.includes(error.name)) return error
    const left = await this.#left()
    if (left <= 0n) return new Error('nothing more can be paid now', { cause: error })
    // What was too much a moment ago need not be any more.
    const isStill = left < BigInt(amount)
    return new Error(isStill ? `only ${formatAmount(left)} ${CURRENCY} can be paid now` : 'it was too much at that moment', { cause: error })
  }

  /** How much this side can still pay, in base units. */
  async #left(): Promise<bigint> {
    const held = this.#plugin.inFlight().filter(({ isIncoming }) => !isIncoming).map(({ transfer }) => BigInt(transfer.amount))
    return held.reduce((left, units) => left - units, BigInt(await this.#plugin.getBalance()) + BigInt(LIMIT))
  }

  /** Asks the other side to pay this one. Resolves when it is on its way. */
  async bePaid(amount: string, holdMs = 0, id = newTransferId()): Promise<void> {
    await this.#ask({ method: 'pay', amount, holdMs, id })
  }

  /** The end of the transfer of that id, whoever sends it. To be called before it is sent. */
  outcome(id: string): Promise<EndedPayment> {
    return new Promise(resolve => { this.#waiting.set(id, resolve) })
  }

  /** Asks the other side to pay this one again and again; not any more with 0. */
  async beStreamed(amount: string, perSecond: number): Promise<void> {
    await this.#ask({ method: 'stream', amount, perSecond })
  }

  /** This side's own view of the account. */
  async status(): Promise<Status> {
    return { balance: await this.#plugin.getBalance(), inFlight: this.#plugin.inFlight().length, stream: this.stream.settings, refused: this.stream.refused }
  }

  /** The other side's own view of it. */
  async peerStatus(): Promise<Status> {
    return readStatus(await this.#ask({ method: 'status' }))
  }

  /** Sends a request to the other side; resolves with its answer, rejects with its error. */
  async #ask(custom: object): Promise<Readonly<Record<string, unknown>>> {
    const answer = (await this.#plugin.sendRequest({ to: this.#plugin.getPeerAccount(), custom })).custom
    if (answer === undefined) throw new Error('the other side gave no answer')
    if (typeof answer['error'] === 'string') throw new Error(answer['error'])
    return answer
  }

  async #answer({ custom = {} }: Message): Promise<{ custom: object }> {
    try {
      return { custom: await this.#meet(custom) }
    } catch (error) {
      return { custom: { error: error instanceof Error ? error.message : String(error) } }
    }
  }

  async #meet({ method, amount, holdMs, perSecond, id }: Readonly<Record<string, unknown>>): Promise<object> {
    if (method === 'invoice') return makeInvoice(this.#options.secret, readAmount(amount))
    if (method === 'status') return this.status()
    if (!this.#options.paysOnRequest) throw new Error('this side pays on nobody\'s request')
    if (method === 'pay') await this.pay(readAmount(amount), readHold(holdMs), typeof id === 'string' ? id : undefined)
    else if (method === 'stream') this.#stream(readAmount(amount), readRate(perSecond))
    else throw new Error('there is no such method')
    return {}
  }

  #stream(amount: string, perSecond: number): void {
    if (perSecond === 0) this.stream.stop()
    else this.stream.start({ amount, perSecond })
  }

  /** Releases an incoming transfer with its preimage, when its time has come; refuses one that nobody asked for. */
  #receive(transfer: Omit<OutgoingTransfer, 'to'>, preparedAt: number): void {
    const { id, amount, executionCondition } = transfer
    const { invoice, holdMs }: { invoice?: unknown; holdMs?: unknown } = transfer.custom ?? {}
    // Of several tabs the holder answers, and whoever holds after it takes it up.
    if (this.#plugin.role === 'standby' || this.#releases.has(id)) return
    const preimage = preimageFor(this.#options.secret, invoice, amount, executionCondition)
    const answer = preimage === undefined
      ? () => this.#plugin.rejectIncomingTransfer(id, { code: 'F00', name: 'Bad Request', message: 'nobody asked for this' })
      : () => this.#plugin.fulfillCondition(id, preimage)
    const waitMs = Math.max(0, preparedAt + readHold(holdMs) - Date.now())
    const release = (): void => { answer().catch((error: unknown) => { this.#failed(id, error) }) }
    this.#releases.set(id, waitMs === 0 ? undefined : setTimeout(release, waitMs))
    if (waitMs === 0) release()
  }

  #failed(id: string, error: unknown): void {
    this.#releases.delete(id)
    const { name, message, outcome } = error as Error & { outcome?: string }
    // A time that is over has its own event, and what is unknown is decided after the next connect.
    if (name !== 'AlreadyRolledBackError' && outcome !== 'unknown') this.#options.onTrouble(message)
  }

  #end(id: string, payment: EndedPayment): void {
    clearTimeout(this.#releases.get(id))
    this.#releases.delete(id)
    this.#waiting.get(id)?.(payment)
    this.#waiting.delete(id)
    this.#options.onEnd(payment)
    this.#options.onChange()
  }
}
