/**
 * ilp-connector 23 as a process. What it is up to is asked of its admin API.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { LedgerPlugin } from '../../../src/node.js'
import type { Report } from '../../crash/audit.js'
import { SECRET, freePort } from '../../support/hosts.js'
import { HostProcess } from './host-process.js'

const require = createRequire(import.meta.url)
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** A plugin whose books can be asked for. */
export const WITH_BOOKS = here('paychan-with-books.cjs')
const FILE_STORE = here('file-store.cjs')
export const { booksOf } = require('./books.cjs') as { booksOf: (plugin: LedgerPlugin) => Promise<Report> }

/** An account as `CONNECTOR_ACCOUNTS` has it, as far as the tests change it. */
interface Account {
  readonly relation: string
  readonly plugin: string
  readonly maxPacketAmount?: string | undefined
  readonly options: Readonly<Record<string, unknown>>
}

/** What the documentation shows, and the tests run with other ports. */
const DOCUMENTED = JSON.parse(readFileSync(here('connector-accounts.json'), 'utf8')) as { wallet: Account; neighbour: Account }

type Changes = Partial<Omit<Account, 'options'>> & { options?: Record<string, unknown> }

/** The documented account of a client, at that port. */
export function listeningAccount(port: number, { options, ...more }: Changes = {}): Account {
  const { wallet } = DOCUMENTED
  return { ...wallet, ...more, options: { ...wallet.options, listener: { port, host: '127.0.0.1' }, incomingSecret: SECRET, ...options } }
}

/** The documented account of one whom the connector dials, at that port. */
export function diallingAccount(port: number, { options, ...more }: Changes = {}): Account {
  const { neighbour } = DOCUMENTED
  return { ...neighbour, ...more, options: { ...neighbour.options, server: `btp+ws://:${SECRET}@127.0.0.1:${port}`, ...options } }
}

interface Status {
  connected: Record<string, boolean>
  localRoutingTable: Record<string, unknown>
}

export interface ConnectorOptions {
  ilpAddress: string
  accounts: Readonly<Record<string, Account>>
  /** From `installPackage`. */
  NODE_PATH: string
  /** Where its store writes; without, it keeps what it has in memory. */
  storePath?: string
}

export class Connector extends HostProcess {
  readonly #adminPort: number

  private constructor(environment: Readonly<Record<string, string>>, adminPort: number) {
    super(require.resolve('ilp-connector'), environment)
    this.#adminPort = adminPort
  }

  /** Starts one; it may not be ready yet. */
  static async start({ ilpAddress, accounts, NODE_PATH, storePath }: ConnectorOptions): Promise<Connector> {
    const adminPort = await freePort()
    const connector = new Connector({
      NODE_PATH,
      CONNECTOR_ENV: 'test',
      CONNECTOR_ILP_ADDRESS: ilpAddress,
      CONNECTOR_ACCOUNTS: JSON.stringify(accounts),
      CONNECTOR_BACKEND: 'one-to-one',
      CONNECTOR_SPREAD: '0',
      CONNECTOR_ADMIN_API: 'true',
      CONNECTOR_ADMIN_API_PORT: String(adminPort),
      ...(storePath !== undefined && { CONNECTOR_STORE: FILE_STORE, CONNECTOR_STORE_PATH: storePath })
    }, adminPort)
    connector.begin()
    return connector
  }

  /** Until these accounts have a connection each, and routes to these places are known. */
  async until({ connected = [], routes = [] }: { connected?: string[]; routes?: string[] }): Promise<void> {
    let status: Status | undefined
    await this.waitUntil(async () => {
      status = await this.#status()
      const { connected: up = {}, localRoutingTable: table = {} } = status ?? {}
      return status !== undefined && connected.every(account => up[account] === true) && routes.every(route => route in table)
    }, () => `${[...connected, ...routes].join(', ')}, but ${JSON.stringify(status)}`)
  }

  /** What the plugin of an account has in its ledger, if it is one with books. */
  async books(account: string): Promise<Report> {
    const { info } = await this.#ask(`/accounts/${account}`) as { info: Report }
    return info
  }

  /** Undefined as long as nothing answers. */
  #status(): Promise<Status | undefined> {
    return this.#ask('/status').then(status => status as Status, () => undefined)
  }

  async #ask(path: string): Promise<unknown> {
    const response = await fetch(`http://127.0.0.1:${this.#adminPort}${path}`)
    const text = await response.text()
    if (!response.ok) throw new Error(`${path}: ${text}`)
    return JSON.parse(text)
  }
}
