/**
 * This browser's account with the demo's connector, and the payment by STREAM that is made from it. Loaded with its card only.
 */
import { signal } from '@preact/signals'
import PaychanPlugin, { IndexedDBStore } from 'ilp-plugin-paychan'
import type { LedgerPlugin } from 'ilp-plugin-paychan'
import { CURRENCY, formatAmount } from '../shared/ledger.js'
import type { WalletAccount } from './account.js'
import { readIlp } from './ilp-words.js'
import type { PacketLog } from './packet-log.js'
import { StreamSender } from './stream-sender.js'
import type { Progress } from './stream-sender.js'

/** The shortest time between two looks at how the payment goes, in milliseconds. */
const LOOK_MS = 100
/** How long until the connector is asked again that does not agree yet. */
const ASK_AGAIN_MS = 400

/** `standby`: another tab holds this account. */
export type LinkState = 'connecting' | 'connected' | 'standby' | 'lost'

export interface StreamPayment extends Progress {
  readonly state: 'starting' | 'paying' | 'stopping' | 'done' | 'stopped' | 'failed'
  /** What is to be paid, in base units. */
  readonly amount: string
  /** How long it has taken so far, in milliseconds. */
  readonly tookMs: number
  /** What came of it, when it has ended. */
  readonly end: string
}

export class StreamAccount {
  readonly link = signal<LinkState>('connecting')
  readonly payment = signal<StreamPayment | undefined>(undefined)
  /** Base units; `undefined` until they are known. */
  readonly balance = signal<string | undefined>(undefined)
  /** The same in the connector's books. */
  readonly peerBalance = signal<string | undefined>(undefined)
  readonly #plugin: LedgerPlugin
  #sender: StreamSender | undefined
  /** The lowest balance that the connector lets this side have. */
  #limit: string | undefined
  #isLooking = false
  #mustLook = false

  constructor({ id, token }: WalletAccount, packets: PacketLog) {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
    // The second argument says that the host, this page, speaks LPI v2.
    this.#plugin = new PaychanPlugin({
      server: `btp+${scheme}://:${token}@${location.host}/connector/${id}`,
      store: new IndexedDBStore({ name: `paychan-demo-connector-${id}` }),
      reconnectMaxMs: 2000
    }, {})
    packets.watch(this.#plugin, readIlp)
    for (const event of ['connect', 'disconnect', 'role'] as const) this.#plugin.on(event, () => { this.#showLink() })
  }

  /** Connects, and stays connected from then on. @throws Error for what is no matter of time */
  async open(): Promise<void> {
    await this.#plugin.connect({ timeout: Infinity })
    this.#showLink()
  }

  /** Pays the receiver; `payment` tells how it goes. */
  async pay(amount: string): Promise<void> {
    this.payment.value = { state: 'starting', amount, tookMs: 0, end: '', sent: '0', delivered: '0', fulfilled: 0, refused: 0 }
    try {
      await this.#checkLimit(amount)
      await this.#send(amount)
    } catch (error) {
      const sent = this.payment.value.sent
      const paid = sent === '0' ? 'Nothing was paid' : `Only ${formatAmount(sent)} ${CURRENCY} were paid`
      this.#change({ state: 'failed', end: `${paid}: ${error instanceof Error ? error.message : String(error)}` })
    }
    this.#sender = undefined
    this.#changed()
  }

  /** Ends the payment. What is under way comes to its end. */
  stop(): void {
    this.#change({ state: 'stopping' })
    this.#sender?.stop()
  }

  async #checkLimit(amount: string): Promise<void> {
    if (this.#limit === undefined) return
    const left = BigInt(await this.#plugin.getBalance()) - BigInt(this.#limit)
    if (left <= 0n) throw new Error('nothing more can be paid now')
    if (left < BigInt(amount)) throw new Error(`only ${formatAmount(left)} ${CURRENCY} can be paid now`)
  }

  async #send(amount: string): Promise<void> {
    const { destination_account: destination, shared_secret: secret } = await askReceiver()
    const sender = new StreamSender({ plugin: this.#plugin, amount, destination, secret, onProgress: () => { this.#progress(start) } })
    const start = performance.now()
    this.#sender = sender
    if (this.payment.value?.state === 'stopping') sender.stop()
    try {
      await sender.run()
    } finally {
      this.#progress(start)
    }
    const { sent, delivered, fulfilled } = sender.progress
    const isAll = BigInt(sent) >= BigInt(amount)
    const end = `${isAll ? 'Paid' : 'Stopped after'} ${formatAmount(delivered)} ${CURRENCY} in ${fulfilled} ${fulfilled === 1 ? 'packet' : 'packets'}`
    this.#change({ state: isAll ? 'done' : 'stopped', end })
  }

  #progress(start: number): void {
    const { payment } = this
    if (this.#sender === undefined || payment.value === undefined) return
    const state = payment.value.state === 'starting' && this.#sender.progress.fulfilled > 0 ? 'paying' : payment.value.state
    this.#change({ ...this.#sender.progress, state, tookMs: performance.now() - start })
    this.#changed()
  }

  #change(change: Partial<StreamPayment>): void {
    if (this.payment.value !== undefined) this.payment.value = { ...this.payment.value, ...change }
  }

  #showLink(): void {
    const isUp = this.#plugin.isConnected()
    if (isUp) this.#plugin.getLimit().then(limit => { this.#limit = limit }, () => undefined)
    if (this.#plugin.role === 'standby') this.link.value = 'standby'
    else if (isUp) this.link.value = 'connected'
    else if (this.link.value !== 'connecting') this.link.value = 'lost'
    this.#changed()
  }

  /** The balances may have changed: they are read soon, and again after that when more changes meanwhile. */
  #changed(): void {
    this.#mustLook = true
    if (!this.#isLooking) void this.#look()
  }

  /** Reads both balances, until they agree and nothing has changed. */
  async #look(): Promise<void> {
    this.#isLooking = true
    try {
      while (this.#mustLook || this.balance.value !== this.peerBalance.value) {
        const waitMs = this.#mustLook ? LOOK_MS : ASK_AGAIN_MS
        this.#mustLook = false
        this.balance.value = await this.#plugin.getBalance()
        if (this.link.value !== 'connected') break
        this.peerBalance.value = await this.#plugin.getPeerBalance()
        await new Promise(resolve => { setTimeout(resolve, waitMs) })
      }
    } catch {
      // After the next connect they are read again.
    }
    this.#isLooking = false
    if (this.#mustLook) this.#changed()
  }
}

async function askReceiver(): Promise<{ destination_account: string; shared_secret: string }> {
  const response = await fetch('/receiver', { headers: { accept: 'application/spsp4+json' } }).catch(() => undefined)
  if (response?.ok !== true) throw new Error('the receiver gave no address')
  return await response.json() as { destination_account: string; shared_secret: string }
}
