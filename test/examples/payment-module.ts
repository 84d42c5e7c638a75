/**
 * Example: a module that secures the balance with plain payments on a ledger that has no channels.
 *
 * A payment cannot be taken back, and the same call twice pays twice. So the payer journals each payment under a random key before it
 * makes it, and asks the ledger for that key before it makes it (again): whenever it dies, exactly one payment results. The payee
 * believes the ledger, not the claim.
 */
import { randomUUID } from 'node:crypto'
import { InvalidFieldsError, NotAcceptedError, TransferNotFoundError, UnreachableError } from '../../src/core/errors.js'
import type { MaxValueTracker } from '../../src/ledger/max-value-tracker.js'
import type { TransferLog } from '../../src/ledger/transfer-log.js'
import type { LedgerInfo } from '../../src/plugin/lpi.js'
import type { PaymentChannelModule, PluginContext } from '../../src/plugin/module.js'
import type { Payment, TestLedger, Wallet } from '../support/test-ledger.js'

/** The options of the module, beside those of the plugin. Amounts are integer strings in base units. */
export interface PaymentOptions {
  ledger: TestLedger
  /** The own wallet. */
  wallet: Wallet
  /** The peer's address on the ledger. */
  peerAddress: string
  /** How much more than it has paid the peer may owe us. */
  maxUnsecured: string
  /** How many confirmations a payment to us needs. */
  confirmations: number
  /** The token that both peers authenticate with. */
  authToken?: string
}

/** A payment that we are going to make. */
interface Intent {
  /** Random: finds the payment again on the ledger. */
  key: string
  amount: string
  /** The payment before this one. */
  previous: string | null
}

export interface PaymentState {
  options: PaymentOptions
  info: LedgerInfo
  /** What we set out to pay. The value is the sum of all payments, with this one. */
  journal: MaxValueTracker<Intent>
  /** The payments that we were credited with, by transaction: so none counts twice. */
  received: TransferLog
}

type Context = PluginContext<PaymentState>

/** More payments than this that we have not heard of are no oversight. */
const CATCH_UP_LIMIT = 1000

export function paymentModule(): PaymentChannelModule<PaymentState, PaymentOptions> {
  return {
    pluginName: 'example-payments',

    constructor(ctx, options) {
      if (!/^[0-9]+$/.test(options.maxUnsecured)) throw new InvalidFieldsError('maxUnsecured must be an integer string')
      ctx.state.options = options
      ctx.state.journal = ctx.backend.getMaxValueTracker('payments_intended')
      ctx.state.received = ctx.backend.getTransferLog('payments_received')
    },

    getAuthToken: ctx => ctx.state.options.authToken ?? '',

    connect(ctx) {
      const { wallet, peerAddress } = ctx.state.options
      // The same on both sides, and the same each time.
      const prefix = `test.payments.${[wallet.address, peerAddress].sort().join('-')}.`
      ctx.state.info = { prefix, currencyCode: 'TST', currencyScale: 6, connectors: [] }
    },

    disconnect() {},

    getInfo: ctx => ctx.state.info,
    getAccount: ctx => ctx.state.info.prefix + ctx.state.options.wallet.address,
    getPeerAccount: ctx => ctx.state.info.prefix + ctx.state.options.peerAddress,

    async handleIncomingPrepare(ctx, transfer) {
      // The transfer is in this sum already: it is the most that can be owed to us.
      const incoming = await ctx.transferLog.getIncomingFulfilledAndPrepared()
      const received = await ctx.state.received.getIncomingFulfilledAndPrepared()
      if (BigInt(incoming) - BigInt(received) > BigInt(ctx.state.options.maxUnsecured)) {
        throw new NotAcceptedError(`transfer ${transfer.id} exceeds what may be unsecured`)
      }
    },

    async createOutgoingClaim(ctx, balance) {
      const { journal } = ctx.state
      // First what a crash or a failure of the ledger left undone: the next payment must not cover it up.
      const last = await journal.getMax()
      const previous = last.data === null ? null : await carryOut(ctx, last.data)
      const amount = BigInt(balance) - BigInt(last.value)
      if (amount <= 0n) return previous === null ? undefined : { txid: previous.txid }
      if (previous?.status === 'pending') throw new UnreachableError('the payment before this one is not final yet')
      const intent = { key: randomUUID(), amount: String(amount), previous: previous?.txid ?? null }
      await journal.setIfMax({ value: balance, data: intent })
      const { txid } = await carryOut(ctx, intent)
      return { txid }
    },

    async handleIncomingClaim(ctx, claim) {
      if (!isClaim(claim)) throw new InvalidFieldsError('claim must have a txid')
      const { received, options: { ledger } } = ctx.state
      // A claim replaces the one before it, which may never have come: so we go back to the last payment that we know.
      const unknown: Array<Payment | undefined> = []
      let txid: string | null = claim.txid
      while (txid !== null && !await isCredited(received, txid)) {
        if (unknown.length >= CATCH_UP_LIMIT) throw new NotAcceptedError('too many payments that we have not heard of')
        const payment = await ledger.getPayment(txid)
        unknown.unshift(payment)
        txid = payment?.memo ?? null
      }
      for (const payment of unknown) {
        const { txid: id, amount } = checked(ctx, payment)
        await received.prepare({ id, amount }, true)
        await received.fulfill(id, id)
      }
    }
  }
}

/** Makes a journalled payment, unless a process that died later has made it. One that failed is made again. */
async function carryOut(ctx: Context, intent: Intent): Promise<{ txid: string; status: Payment['status'] }> {
  const { ledger, wallet, peerAddress } = ctx.state.options
  const made = await ledger.findPayment(wallet, intent.key)
  if (made !== undefined) return made
  const txid = await ledger.pay(wallet, { to: peerAddress, amount: intent.amount, key: intent.key, memo: intent.previous })
  return { txid, status: 'pending' }
}

/** The payment, if it is one from the peer to us, and final. An UnreachableError lets the claim come again later. */
function checked(ctx: Context, payment: Payment | undefined): Payment {
  const { wallet, peerAddress, confirmations } = ctx.state.options
  if (payment === undefined) throw new UnreachableError('the payment is not visible yet')
  if (payment.from !== peerAddress || payment.to !== wallet.address) throw new NotAcceptedError('the payment is not from you to us')
  if (payment.status === 'failed') throw new NotAcceptedError('the payment has failed')
  if (payment.confirmations < confirmations) throw new UnreachableError('the payment has too few confirmations yet')
  return payment
}

async function isCredited(received: TransferLog, txid: string): Promise<boolean> {
  try {
    const { state } = await received.get(txid)
    return state === 'fulfilled'
  } catch (error) {
    if (error instanceof TransferNotFoundError) return false
    throw error
  }
}

function isClaim(claim: unknown): claim is { txid: string } {
  return typeof claim === 'object' && claim !== null && /^[0-9a-f]{64}$/.test(String((claim as { txid?: unknown }).txid))
}
