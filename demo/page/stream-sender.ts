/**
 * One payment by STREAM, from an account of our plugin to who takes such payments. Loaded with its card only.
 */
import { Buffer } from 'buffer'
import { Type } from 'ilp-packet'
import { createConnection } from 'ilp-protocol-stream'
import type { Connection, DataAndMoneyStream } from 'ilp-protocol-stream'
import type { LedgerPlugin } from 'ilp-plugin-paychan'
import { carrierOf } from './stream-carrier.js'

/** How long a packet may take, in milliseconds. */
const PACKET_TIME_MS = 10_000

/** How far a payment has come. Amounts in base units. */
export interface Progress {
  readonly sent: string
  readonly delivered: string
  /** Packets of money that were fulfilled, and those that were refused: STREAM begins with some of these, to learn what the way takes. */
  readonly fulfilled: number
  readonly refused: number
}

export interface SenderOptions {
  readonly plugin: LedgerPlugin
  /** Base units. */
  readonly amount: string
  /** From the receiver. The secret is in base64url. */
  readonly destination: string
  readonly secret: string
  onProgress(): void
}

export class StreamSender {
  readonly #options: SenderOptions
  #connection: Connection | undefined
  #stream: DataAndMoneyStream | undefined
  #isStopped = false
  #fulfilled = 0
  #refused = 0
  /** Why the last packet was refused that was. */
  #reason = ''
  readonly #stopped = withResolver()

  constructor(options: SenderOptions) {
    this.#options = options
  }

  get progress(): Progress {
    return {
      sent: this.#connection?.totalSent ?? '0',
      delivered: this.#connection?.totalDelivered ?? '0',
      fulfilled: this.#fulfilled,
      refused: this.#refused
    }
  }

  /** Pays all of it; resolves when that is done, or when it was stopped. @throws Error when the receiver cannot be paid */
  async run(): Promise<void> {
    const { plugin, amount, destination, secret } = this.#options
    try {
      const connecting = createConnection({
        plugin: carrierOf(plugin, (answer, error) => { this.#answered(answer, error) }),
        destinationAccount: destination,
        sharedSecret: Buffer.from(secret, 'base64'),
        getExpiry: () => new Date(Date.now() + PACKET_TIME_MS)
      })
      const connection = await Promise.race([connecting, this.#stopped.promise])
      if (connection === undefined) {
        connecting.then(late => late.destroy(), () => undefined)
        return
      }
      this.#connection = connection
      await this.#pay(connection, amount)
    } catch (error) {
      if (!this.#isStopped) throw new Error(this.#reason === '' ? messageOf(error) : this.#reason, { cause: error })
    }
  }

  /** Sends nothing more. What is under way comes to its end. */
  stop(): void {
    this.#isStopped = true
    if (this.#stream?.isOpen() === true) this.#stream.setSendMax(this.#stream.totalSent)
    this.#stopped.resolve()
  }

  async #pay(connection: Connection, amount: string): Promise<void> {
    const stream = connection.createStream()
    this.#stream = stream
    stream.on('error', () => undefined)
    const ended = new Promise<void>((resolve, reject) => {
      stream.on('outgoing_money', () => {
        this.#fulfilled++
        // The sums of the connection follow in the same turn.
        queueMicrotask(() => { this.#options.onProgress() })
        if (BigInt(stream.totalSent) >= BigInt(amount)) resolve()
      })
      connection.on('error', reject)
      connection.once('close', () => { reject(new Error('the receiver has closed the connection')) })
    })
    stream.setSendMax(amount)
    await Promise.race([ended, this.#stopped.promise])
    // Whether the other side hears of the end does not matter any more.
    await connection.end().catch(() => undefined)
  }

  #answered(answer: Uint8Array, error?: unknown): void {
    if (answer[0] !== Type.TYPE_ILP_FULFILL) this.#refused++
    this.#reason = error === undefined ? '' : messageOf(error)
    this.#options.onProgress()
  }
}

function withResolver(): { promise: Promise<undefined>; resolve: () => void } {
  let resolve = (): void => undefined
  const promise = new Promise<undefined>(settle => { resolve = () => { settle(undefined) } })
  return { promise, resolve }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
