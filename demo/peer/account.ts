/**
 * One wallet's account on the Node side: a plugin with a durable store of its own, which pays the wallet when it is asked to.
 */
import PaychanPlugin, { LmdbStore } from 'ilp-plugin-paychan'
import type { BtpListener, LedgerPlugin } from 'ilp-plugin-paychan'
import { CURRENCY, LIMIT, SCALE } from '../shared/ledger.js'
import { Payments } from '../shared/payments.js'
import type { EndedPayment } from '../shared/payments.js'

/** What a wallet needs to find its account again, and what this side needs to serve it. */
export interface AccountRecord {
  /** 16 hex characters. */
  readonly id: string
  /** What the wallet authenticates with. */
  readonly token: string
  /** Of this side's invoices. */
  readonly secret: string
}

/** What is told to the console. */
export interface AccountEvents {
  connected(id: string): void
  disconnected(id: string): void
  payment(id: string, payment: EndedPayment, balance: string, inFlight: number): void
  trouble(id: string, message: string): void
}

export class Account {
  readonly id: string
  /** What the wallet authenticates with. */
  readonly token: string
  readonly #store: LmdbStore
  readonly #plugin: LedgerPlugin
  readonly #payments: Payments

  constructor({ id, token, secret }: AccountRecord, folder: string, listener: BtpListener, events: AccountEvents) {
    this.id = id
    this.token = token
    this.#store = new LmdbStore({ path: folder })
    const prefix = `test.demo.${id}.`
    const tell = (message: unknown): void => { events.trouble(id, String(message)) }
    this.#plugin = new PaychanPlugin({
      listener,
      incomingSecret: token,
      prefix,
      info: { prefix, currencyCode: CURRENCY, currencyScale: SCALE, connectors: [] },
      maxBalance: LIMIT,
      minBalance: `-${LIMIT}`,
      store: this.#store,
      // What goes wrong is shown, as when another `npm start` has the store; DEBUG=ilp-plugin-* shows everything instead.
      ...(process.env['DEBUG'] === undefined ? { _log: { trace: ignore, debug: ignore, info: ignore, warn: tell, error: tell } } : {})
    })
    this.#payments = new Payments(this.#plugin, {
      secret,
      paysOnRequest: true,
      onChange: ignore,
      onEnd: payment => { void this.#tell(payment, events) },
      onTrouble: message => { events.trouble(id, message) }
    })
    this.#plugin.on('connect', () => { events.connected(id) })
    this.#plugin.on('disconnect', () => { events.disconnected(id) })
    this.#plugin.on('error', error => { events.trouble(id, `the account cannot go on: ${error.message}`) })
  }

  /** Whether this is what its wallet authenticates with. */
  accepts(token: string): boolean {
    return token === this.token
  }

  /** Resolves when the listener knows the account. */
  open(): Promise<void> {
    return this.#plugin.connect()
  }

  /** Gives transfers in flight a moment to end, then lets go of the listener and the store. */
  async close(): Promise<void> {
    this.#payments.stream.stop()
    await this.#plugin.disconnect({ drainMs: 1000 })
    this.#payments.forgetReleases()
    await this.#store.close()
  }

  async #tell(payment: EndedPayment, events: AccountEvents): Promise<void> {
    const { balance, inFlight } = await this.#payments.status()
    events.payment(this.id, payment, balance, inFlight)
  }
}

function ignore(): void {
  // Nobody is there to be told.
}
