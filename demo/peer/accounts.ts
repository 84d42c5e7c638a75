/**
 * The accounts of all wallets, on one listener. Each browser profile that opens the page is another wallet, with an account of its
 * own, so that nobody is surprised by somebody else's balance.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BtpListener } from 'ilp-plugin-paychan'
import { newSecret } from '../shared/invoices.js'
import { Account } from './account.js'
import type { AccountEvents, AccountRecord } from './account.js'

/** How many wallets there may be: each has a database. */
const MOST_ACCOUNTS = 100

export class Accounts {
  readonly #folder: string
  readonly #events: AccountEvents
  /** Inside of this machine: the page's server hands connections on to it. */
  readonly #listener = new BtpListener({ host: '127.0.0.1', port: 0 })
  readonly #accounts = new Map<string, Account>()

  constructor(folder: string, events: AccountEvents) {
    this.#folder = folder
    this.#events = events
    mkdirSync(folder, { recursive: true })
  }

  /** The port on which all accounts are reached by BTP; none is bound while there is no account. */
  get port(): number | undefined {
    return this.#listener.port
  }

  get size(): number {
    return this.#accounts.size
  }

  find(id: string): Account | undefined {
    return this.#accounts.get(id)
  }

  /** Opens the accounts that there are. What is none is left alone: opening may have been cut short, or somebody keeps notes there. */
  async open(): Promise<void> {
    for (const id of readdirSync(this.#folder)) {
      if (existsSync(this.#fileOf(id))) await this.#add(JSON.parse(readFileSync(this.#fileOf(id), 'utf8')) as AccountRecord)
    }
  }

  /**
   * Opens a new account; returns what its wallet needs.
   * @throws Error when there are too many
   */
  async create(): Promise<Pick<AccountRecord, 'id' | 'token'>> {
    if (this.#accounts.size >= MOST_ACCOUNTS) throw new Error(`there are ${MOST_ACCOUNTS} wallets already: remove some from ${this.#folder}`)
    const record = { id: randomBytes(8).toString('hex'), token: randomBytes(24).toString('base64url'), secret: newSecret() }
    mkdirSync(join(this.#folder, record.id))
    writeFileSync(this.#fileOf(record.id), JSON.stringify(record), { mode: 0o600 })
    await this.#add(record)
    return { id: record.id, token: record.token }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#accounts.values()].map(account => account.close()))
  }

  async #add(record: AccountRecord): Promise<void> {
    const account = new Account(record, join(this.#folder, record.id, 'store'), this.#listener, this.#events)
    this.#accounts.set(record.id, account)
    await account.open()
  }

  #fileOf(id: string): string {
    return join(this.#folder, id, 'account.json')
  }
}
