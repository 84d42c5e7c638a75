/**
 * A small ledger to settle on: wallets, payment channels with signed claims, and plain payments. In process and deterministic:
 * nothing happens until somebody calls, and a payment becomes visible and gains confirmations as rounds are closed.
 *
 * `onStep` is called at the points where a crash hurts: a test that never resolves it has killed whoever called.
 */
import { createHash, generateKeyPairSync, sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/** A key pair and the address that it owns. */
export interface Wallet {
  readonly address: string
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

/** A channel that pays from its source to its destination, up to its capacity. Amounts are integer strings. */
export interface Channel {
  readonly id: string
  readonly source: string
  readonly destination: string
  readonly capacity: string
  /** What the destination has been paid out of it. */
  readonly paid: string
  /** `closing`: the source wants the rest back, and gets it after `CLOSING_ROUNDS` rounds. */
  readonly status: 'open' | 'closing' | 'closed'
}

/** A plain payment. */
export interface Payment {
  readonly txid: string
  readonly from: string
  readonly to: string
  readonly amount: string
  /** Chosen by the payer, to find the payment again by. */
  readonly key: string
  /** Chosen by the payer, for the payee. */
  readonly memo: string | null
  /** `pending` until a round is closed, and visible to nobody but the payer until then. */
  readonly status: 'pending' | 'settled' | 'failed'
  /** How many rounds have been closed since it was settled, with that one. */
  readonly confirmations: number
}

export type Step = 'before payment' | 'after payment' | 'before submit' | 'after submit'

export const CLOSING_ROUNDS = 3

interface ChannelRecord {
  id: string
  source: Wallet
  destination: string
  capacity: bigint
  paid: bigint
  status: Channel['status']
  closesAt: number
}

interface PaymentRecord extends Omit<Payment, 'confirmations' | 'status'> {
  status: Payment['status']
  settledAt: number
}

export class TestLedger {
  /** Awaited at each step; replace it to crash there. */
  onStep: (step: Step) => Promise<void> = () => Promise.resolve()
  readonly #wallets = new Map<string, Wallet>()
  readonly #balances = new Map<string, bigint>()
  readonly #channels = new Map<string, ChannelRecord>()
  readonly #payments: PaymentRecord[] = []
  readonly #closingListeners = new Set<(channel: Channel) => void>()
  #round = 0

  /** A new wallet that holds `balance`. */
  createWallet(balance: string): Wallet {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const wallet = { address: `w${this.#wallets.size}`, publicKey, privateKey }
    this.#wallets.set(wallet.address, wallet)
    this.#balances.set(wallet.address, BigInt(balance))
    return wallet
  }

  balanceOf(address: string): string {
    return String(this.#balances.get(address) ?? 0n)
  }

  /** Closes a round: pending payments are settled, settled ones gain a confirmation, closing channels come closer to their end. */
  closeRound(): void {
    this.#round++
    for (const payment of this.#payments) {
      if (payment.status !== 'pending') continue
      payment.status = 'settled'
      payment.settledAt = this.#round
      this.#move(payment.to, BigInt(payment.amount))
    }
    for (const channel of this.#channels.values()) {
      if (channel.status !== 'closing' || channel.closesAt > this.#round) continue
      channel.status = 'closed'
      this.#move(channel.source.address, channel.capacity - channel.paid)
    }
  }

  // --- channels ---

  /** Opens a channel from the wallet to the destination, and takes its capacity from the wallet. */
  async openChannel(source: Wallet, destination: string, capacity: string): Promise<Channel> {
    this.#move(source.address, -BigInt(capacity))
    const id = `c${this.#channels.size}`
    this.#channels.set(id, { id, source, destination, capacity: BigInt(capacity), paid: 0n, status: 'open', closesAt: Infinity })
    return view(this.#channel(id))
  }

  /** The channel from one address to another that was opened last, if any. */
  async findChannel(source: string, destination: string): Promise<Channel | undefined> {
    const isMeant = (channel: ChannelRecord): boolean => channel.source.address === source && channel.destination === destination
    const found = [...this.#channels.values()].filter(isMeant).pop()
    return found === undefined ? undefined : view(found)
  }

  async getChannel(id: string): Promise<Channel | undefined> {
    return this.#channels.has(id) ? view(this.#channel(id)) : undefined
  }

  /** Adds to the capacity of an open channel. */
  async fundChannel(source: Wallet, id: string, amount: string): Promise<void> {
    const channel = this.#channel(id)
    if (channel.status !== 'open' || channel.source !== source) throw new Error('this channel cannot be funded')
    this.#move(source.address, -BigInt(amount))
    channel.capacity += BigInt(amount)
  }

  /** A claim: the source's signature under a cumulative amount. Touches nothing. */
  signClaim(source: Wallet, id: string, amount: string): string {
    return sign(null, Buffer.from(`${id}:${amount}`), source.privateKey).toString('hex')
  }

  /** Whether the channel's source has signed this. Touches nothing. */
  verifyClaim(id: string, amount: string, signature: string): boolean {
    const channel = this.#channels.get(id)
    return channel !== undefined && verify(null, Buffer.from(`${id}:${amount}`), channel.source.publicKey, Buffer.from(signature, 'hex'))
  }

  /** Pays the destination what the claim is worth beyond what it was paid before: maybe nothing. */
  async submitClaim(id: string, amount: string, signature: string): Promise<void> {
    await this.onStep('before submit')
    const channel = this.#channel(id)
    if (BigInt(amount) <= channel.paid) return
    if (channel.status === 'closed') throw new Error('the channel is closed')
    if (!this.verifyClaim(id, amount, signature) || BigInt(amount) > channel.capacity) throw new Error('the claim is not valid')
    this.#move(channel.destination, BigInt(amount) - channel.paid)
    channel.paid = BigInt(amount)
    await this.onStep('after submit')
  }

  /** The source asks for the rest of the capacity; the destination has `CLOSING_ROUNDS` rounds to submit its claim. */
  async requestClose(source: Wallet, id: string): Promise<void> {
    const channel = this.#channel(id)
    if (channel.status !== 'open' || channel.source !== source) throw new Error('this channel cannot be closed')
    channel.status = 'closing'
    channel.closesAt = this.#round + CLOSING_ROUNDS
    for (const listener of this.#closingListeners) listener(view(channel))
  }

  /** Tells of each channel that its source closes. Returns how to stop that. */
  onClosing(listener: (channel: Channel) => void): () => void {
    this.#closingListeners.add(listener)
    return () => { this.#closingListeners.delete(listener) }
  }

  // --- payments ---

  /** Pays; resolves with the transaction's id when it is on its way. The same call twice pays twice. */
  async pay(from: Wallet, payment: { to: string; amount: string; key: string; memo: string | null }): Promise<string> {
    await this.onStep('before payment')
    this.#move(from.address, -BigInt(payment.amount))
    const txid = createHash('sha256').update(`${this.#payments.length} ${JSON.stringify(payment)}`).digest('hex')
    this.#payments.push({ ...payment, from: from.address, txid, status: 'pending', settledAt: Infinity })
    await this.onStep('after payment')
    return txid
  }

  /** A payment that everybody can see: one that is not pending any more. */
  async getPayment(txid: string): Promise<Payment | undefined> {
    const found = this.#payments.find(payment => payment.txid === txid && payment.status !== 'pending')
    return found === undefined ? undefined : this.#viewPayment(found)
  }

  /** The payer's own look at what it sent, pending or not. */
  async findPayment(from: Wallet, key: string): Promise<Payment | undefined> {
    const found = this.#payments.find(payment => payment.from === from.address && payment.key === key && payment.status !== 'failed')
    return found === undefined ? undefined : this.#viewPayment(found)
  }

  /** The ledger gives up on a pending payment: it stays visible as `failed`, and the payer has its money back. */
  failPayment(txid: string): void {
    const payment = this.#payments.find(candidate => candidate.txid === txid)
    if (payment?.status !== 'pending') throw new Error('no such pending payment')
    payment.status = 'failed'
    this.#move(payment.from, BigInt(payment.amount))
  }

  /** Every payment ever sent. */
  get payments(): Payment[] {
    return this.#payments.map(payment => this.#viewPayment(payment))
  }

  #viewPayment({ settledAt, ...payment }: PaymentRecord): Payment {
    return { ...payment, confirmations: payment.status === 'settled' ? this.#round - settledAt + 1 : 0 }
  }

  #channel(id: string): ChannelRecord {
    const channel = this.#channels.get(id)
    if (channel === undefined) throw new Error('no such channel')
    return channel
  }

  #move(address: string, amount: bigint): void {
    const balance = (this.#balances.get(address) ?? 0n) + amount
    if (balance < 0n) throw new Error('not enough money')
    this.#balances.set(address, balance)
  }
}

function view({ id, source, destination, capacity, paid, status }: ChannelRecord): Channel {
  return { id, source: source.address, destination, capacity: String(capacity), paid: String(paid), status }
}
