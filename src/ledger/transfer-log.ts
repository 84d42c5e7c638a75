/**
 * The documented TransferLog: what a module author sees of a ledger. Imports core.
 *
 * Concerned with storage and limits only: fulfillments are not compared with conditions, nothing expires, nothing is sent.
 */
import { formatAmount, parseAmount, parseLimit } from '../core/amounts.js'
import { printable } from '../core/bytes.js'
import { AlreadyFulfilledError, AlreadyRolledBackError, DuplicateIdError, InvalidFieldsError } from '../core/errors.js'
import { checkLogId, copyOf, found, sameTransfer } from './records.js'
import type { Entry, View } from './draft.js'
import type { Ledger } from './ledger.js'
import type { LoggedTransfer, TransferWithInfo } from './records.js'

/** A log of transfers with limits on their sum. All amounts and sums are integer strings in base units. */
export class TransferLog<T extends LoggedTransfer = LoggedTransfer> {
  readonly #ledger: Ledger<T>
  readonly #now: () => number

  /** @internal made by the backend */
  constructor(ledger: Ledger<T>, now: () => number) {
    this.#ledger = ledger
    this.#now = now
  }

  /**
   * Sets how high the balance may go: fulfilled transfers and prepared incoming ones. Kept in the store, where it wins over options.
   * @throws InvalidFieldsError unless `max` is an integer string, 'Infinity' or '-Infinity'; StoreError
   */
  async setMaximum(max: string): Promise<void> {
    await this.#ledger.setLimit('maximum', parseLimit(max, 'maximum'))
  }

  /**
   * Sets how low the balance may go: fulfilled transfers and prepared outgoing ones. Kept in the store, where it wins over options.
   * @throws InvalidFieldsError unless `min` is an integer string, 'Infinity' or '-Infinity'; StoreError
   */
  async setMinimum(min: string): Promise<void> {
    await this.#ledger.setLimit('minimum', parseLimit(min, 'minimum'))
  }

  /** The highest balance allowed; 'Infinity' unless set. */
  async getMaximum(): Promise<string> {
    return formatAmount((await this.#ledger.limits()).maximum)
  }

  /** The lowest balance allowed; '-Infinity' unless set. */
  async getMinimum(): Promise<string> {
    return formatAmount((await this.#ledger.limits()).minimum)
  }

  /** The sum of fulfilled incoming transfers minus that of fulfilled outgoing ones. For display: prepared ones are not in it. */
  async getBalance(): Promise<string> {
    const { incomingFulfilled, outgoingFulfilled } = await this.#ledger.sums()
    return formatAmount(incomingFulfilled - outgoingFulfilled)
  }

  /** The sum of all fulfilled incoming transfers. */
  async getIncomingFulfilled(): Promise<string> {
    return formatAmount((await this.#ledger.sums()).incomingFulfilled)
  }

  /** The sum of all incoming transfers, fulfilled or prepared. */
  async getIncomingFulfilledAndPrepared(): Promise<string> {
    const { incomingFulfilled, incomingHeld } = await this.#ledger.sums()
    return formatAmount(incomingFulfilled + incomingHeld)
  }

  /** The sum of all fulfilled outgoing transfers. */
  async getOutgoingFulfilled(): Promise<string> {
    return formatAmount((await this.#ledger.sums()).outgoingFulfilled)
  }

  /** The sum of all outgoing transfers, fulfilled or prepared. */
  async getOutgoingFulfilledAndPrepared(): Promise<string> {
    const { outgoingFulfilled, outgoingHeld } = await this.#ledger.sums()
    return formatAmount(outgoingFulfilled + outgoingHeld)
  }

  /**
   * The transfer with this id, in a copy of the caller's own.
   * @throws TransferNotFoundError
   */
  async get(id: string): Promise<TransferWithInfo<T>> {
    checkLogId(id)
    const entry = await this.#ledger.find(id)
    return structuredClone(found(entry, id).info)
  }

  /**
   * Adds a transfer in the prepared state, or does nothing when the same one is there already.
   * Of the transfer only `id` (a string of 1 to 500 characters) and `amount` are looked at; the rest is whatever has a JSON.
   * @throws InvalidFieldsError for these; DuplicateIdError when the id has other content or another direction;
   *   NotAcceptedError when a limit does not allow it; StoreError
   */
  async prepare(transfer: T, isIncoming: boolean): Promise<void> {
    // A copy, so that it is the checked one that is stored, whatever the caller does to his until then.
    const copy = copyOf(transfer)
    const id = checkedId(copy)
    if (typeof isIncoming !== 'boolean') throw new InvalidFieldsError('isIncoming must be true or false')
    await this.#ledger.change(id, view => {
      const entry = view.get(id)
      if (entry === undefined) {
        view.create(id, copy, isIncoming, { v: 1, stage: 'held', at: this.#now() })
      } else if (entry.info.isIncoming !== isIncoming || !sameTransfer(entry.info.transfer, copy)) {
        throw new DuplicateIdError(`id ${printable(id)} belongs to another transfer`)
      }
    }, false)
  }

  /**
   * Makes a prepared transfer fulfilled. One that is fulfilled stays as it is.
   * The fulfillment is stored and not compared with anything: that is the caller's business.
   * @throws InvalidFieldsError when it is no string; TransferNotFoundError; AlreadyRolledBackError when it is cancelled; StoreError
   */
  async fulfill(transferId: string, fulfillment: string): Promise<void> {
    checkLogId(transferId)
    if (typeof fulfillment !== 'string') throw new InvalidFieldsError('fulfillment must be a string')
    await this.#finish(transferId, (view, entry) => {
      if (entry.info.state === 'cancelled') throw new AlreadyRolledBackError(`transfer ${printable(transferId)} is rolled back`)
      if (entry.info.state === 'prepared') view.move(entry, 'fulfilled', { fulfillment })
    })
  }

  /**
   * Makes a prepared transfer cancelled. One that is cancelled stays as it is.
   * @throws TransferNotFoundError; AlreadyFulfilledError when it is fulfilled; StoreError
   */
  async cancel(transferId: string): Promise<void> {
    checkLogId(transferId)
    await this.#finish(transferId, (view, entry) => {
      if (entry.info.state === 'fulfilled') throw new AlreadyFulfilledError(`transfer ${printable(transferId)} is fulfilled`)
      if (entry.info.state === 'prepared') view.move(entry, 'cancelled')
    })
  }

  async #finish(id: string, decide: (view: View<T>, entry: Entry<T>) => void): Promise<void> {
    await this.#ledger.change(id, view => { decide(view, found(view.get(id), id)) }, false)
  }
}

/** The id of a transfer that a log may take. @throws InvalidFieldsError naming `id` or `amount` */
function checkedId(transfer: unknown): string {
  const { id, amount } = (transfer ?? {}) as Partial<Record<keyof LoggedTransfer, unknown>>
  checkLogId(id)
  parseAmount(amount)
  return id
}
