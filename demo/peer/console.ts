/**
 * What the Node side prints: a line for each thing that happens, and while many payments pass one line that tells how it goes. On a
 * terminal that line is rewritten in place; in a file or a pipe there is at most one a second.
 */
import { formatAmount, CURRENCY } from '../shared/ledger.js'
import type { EndedPayment } from '../shared/payments.js'
import type { AccountEvents } from './account.js'

/** From so many payments in a second on they are no longer told one by one. */
const BUSY_PER_SECOND = 4
const SECOND_MS = 1000

export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
}

export interface ConsoleOptions {
  readonly output: Output
  /** Milliseconds since 1970. */
  now(): number
  /** Calls `action` every `everyMs`; returns what stops it. */
  repeat(everyMs: number, action: () => void): () => void
}

/** What passed while the load lasts. */
interface Load {
  readonly since: number
  readonly stop: () => void
  count: number
  failed: number
}

export class Console implements AccountEvents {
  readonly #options: ConsoleOptions
  readonly #wallets = new Set<string>()
  /** When the payments of the last second ended. */
  #recent: number[] = []
  #load: Load | undefined
  #last = { wallet: '', balance: '0', inFlight: 0 }
  /** Whether the progress line is the last one on the terminal. */
  #isLineOpen = false

  constructor(options: ConsoleOptions) {
    this.#options = options
  }

  connected(id: string): void {
    this.#wallets.add(id)
    this.line(`${nameOf(id)} connected`)
  }

  disconnected(id: string): void {
    this.#wallets.delete(id)
    this.line(`${nameOf(id)} disconnected`)
  }

  trouble(id: string, message: string): void {
    this.line(`${nameOf(id)} ! ${message}`)
  }

  payment(id: string, payment: EndedPayment, balance: string, inFlight: number): void {
    const now = this.#options.now()
    this.#last = { wallet: id, balance, inFlight }
    this.#recent = [...this.#recent.filter(time => time > now - SECOND_MS), now]
    if (this.#load === undefined && this.#recent.length > BUSY_PER_SECOND) this.#begin(now)
    if (this.#load === undefined) {
      this.line(`${nameOf(id)} ${describe(payment)}, balance ${formatAmount(balance)}`)
      return
    }
    this.#load.count++
    if (payment.failed !== undefined) this.#load.failed++
  }

  /** Prints a line with the time before it. */
  line(text: string): void {
    this.#closeLine()
    this.#options.output.write(`${clock(this.#options.now())}  ${text}\n`)
  }

  /** Prints text as it is. */
  plain(text: string): void {
    this.#closeLine()
    this.#options.output.write(`${text}\n`)
  }

  #begin(now: number): void {
    const everyMs = this.#options.output.isTTY === true ? SECOND_MS / 4 : SECOND_MS
    this.#load = { since: now, stop: this.#options.repeat(everyMs, () => { this.#progress() }), count: 0, failed: 0 }
  }

  #progress(): void {
    const load = this.#load
    if (load === undefined) return
    const now = this.#options.now()
    this.#recent = this.#recent.filter(time => time > now - SECOND_MS)
    if (this.#recent.length <= 1) {
      this.#end(load, now)
      return
    }
    const { wallet, balance, inFlight } = this.#last
    const text = `${nameOf(wallet)} ${this.#recent.length} payments/s, ${load.count} so far, balance ${formatAmount(balance)}, ${inFlight} in flight`
    if (this.#options.output.isTTY === true) {
      this.#options.output.write(`\r\u001b[2K${clock(now)}  ${text}`)
      this.#isLineOpen = true
    } else {
      this.line(text)
    }
  }

  #end(load: Load, now: number): void {
    load.stop()
    this.#load = undefined
    const { wallet, balance } = this.#last
    const seconds = Math.max(1, Math.round((now - load.since) / SECOND_MS))
    const failed = load.failed > 0 ? `, ${load.failed} of them failed` : ''
    if (this.#isLineOpen) this.#options.output.write('\r\u001b[2K')
    this.#isLineOpen = false
    this.line(`${nameOf(wallet)} ${load.count} payments in ${seconds} s${failed}, balance ${formatAmount(balance)}`)
  }

  #closeLine(): void {
    if (this.#isLineOpen) this.#options.output.write('\n')
    this.#isLineOpen = false
  }
}

function nameOf(id: string): string {
  return `wallet ${id.slice(0, 4)}`
}

function describe({ direction, amount, failed }: EndedPayment): string {
  const what = `${direction === 'in' ? 'pays' : 'is paid'} ${formatAmount(amount)} ${CURRENCY}`
  return failed === undefined ? what : `${what}: failed, ${failed}`
}

/** The time of day. */
function clock(now: number): string {
  return new Date(now).toTimeString().slice(0, 8)
}
