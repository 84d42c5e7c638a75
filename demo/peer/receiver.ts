/**
 * Who is paid by STREAM: a server of ilp-protocol-stream over our plugin, which dials the connector. Loaded only when there is one.
 */
import { Duplex, Readable } from 'node:stream'
import PaychanPlugin, { LmdbStore } from 'ilp-plugin-paychan'
import type { LedgerPlugin } from 'ilp-plugin-paychan'
import { createServer } from 'ilp-protocol-stream'
import type { Connection, DataAndMoneyStream, Server } from 'ilp-protocol-stream'

/** How long it may take to reach the connector, in milliseconds. */
const TIMEOUT_MS = 20_000
/** How long a demo that is about to end may keep the store, in milliseconds. */
const TAKEOVER_MS = 10_000
/** The most that is taken by one stream, in base units. */
const RECEIVE_MAX = Number.MAX_SAFE_INTEGER

/** What a payer needs, in the fields of SPSP's answer. */
export interface StreamDetails {
  readonly destination_account: string
  /** Base64url. */
  readonly shared_secret: string
}

export interface ReceiverOptions {
  /** Where the connector is dialled, with the credentials. */
  readonly server: string
  /** Where its books are kept. */
  readonly folder: string
  /** A payment came to its end. Amounts in base units; the balance is the receiver's own. */
  readonly onPaid: (amount: string, packets: number, balance: string) => void
}

export class Receiver {
  readonly #plugin: LedgerPlugin
  readonly #store: LmdbStore
  readonly #server: Server

  private constructor(plugin: LedgerPlugin, store: LmdbStore, server: Server) {
    this.#plugin = plugin
    this.#store = store
    this.#server = server
  }

  static async open({ server, folder, onPaid }: ReceiverOptions): Promise<Receiver> {
    letStreamsAssignClosed()
    const store = new LmdbStore({ path: folder })
    const plugin = new PaychanPlugin({ server, store, reconnectMaxMs: 2000 }, {})
    await plugin.connect({ timeout: TIMEOUT_MS })
    if (!plugin.isConnected()) await takeover(plugin, folder)
    const streams = await createServer({ plugin })
    streams.on('connection', (connection: Connection) => {
      take(connection, (amount, packets) => {
        void plugin.getBalance().then(balance => { onPaid(amount, packets, balance) }, () => undefined)
      })
    })
    return new Receiver(plugin, store, streams)
  }

  /** An address and a secret that no other payment has. */
  details(): StreamDetails {
    const { destinationAccount, sharedSecret } = this.#server.generateAddressAndSecret()
    return { destination_account: destinationAccount, shared_secret: sharedSecret.toString('base64url') }
  }

  async close(): Promise<void> {
    await this.#plugin.disconnect()
    await this.#store.close()
  }
}

/**
 * Resolves when a plugin that stands by has become the one that is connected.
 * @throws Error when whoever has the store keeps it
 */
async function takeover(plugin: LedgerPlugin, folder: string): Promise<void> {
  const signal = AbortSignal.timeout(TAKEOVER_MS)
  await new Promise<void>((resolve, reject) => {
    plugin.once('connect', resolve)
    signal.addEventListener('abort', () => { reject(new Error(`another demo uses ${folder}: end it, or choose another folder with --data`)) })
  })
}

/** Takes all that comes; `onEnd` is told how much that was. */
function take(connection: Connection, onEnd: (amount: string, packets: number) => void): void {
  let [amount, packets] = [0n, 0]
  connection.on('stream', (stream: DataAndMoneyStream) => {
    stream.setReceiveMax(RECEIVE_MAX)
    stream.on('money', (part: string) => {
      amount += BigInt(part)
      packets++
    })
  })
  // Who does not listen to it ends the process by it.
  connection.on('error', () => undefined)
  connection.once('close', () => { if (packets > 0) onEnd(amount.toString(), packets) })
}

/**
 * The streams of ilp-protocol-stream 2.7 assign to their own `closed`, which Node's have made a getter since. For whatever inherits from
 * Duplex the assignment is allowed here; the getter stays as it is for all who do not assign.
 */
function letStreamsAssignClosed(): void {
  const descriptor = Object.getOwnPropertyDescriptor(Readable.prototype, 'closed')
  Object.defineProperty(Duplex.prototype, 'closed', {
    ...descriptor,
    configurable: true,
    set(value: boolean) { Object.defineProperty(this, 'closed', { value, writable: true, configurable: true }) }
  })
}
