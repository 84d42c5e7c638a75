/**
 * Example: a module that secures the balance with signed claims on payment channels: one in each direction, for as long as the account
 * lives.
 *
 * Each claim is for everything that is owed, so the best one alone counts. It costs nothing to make and nothing to keep; the ledger
 * sees it when it is submitted: at the end, or as soon as the peer closes its channel.
 */
import { InvalidFieldsError, NotAcceptedError } from '../../src/core/errors.js'
import type { MaxValueTracker } from '../../src/ledger/max-value-tracker.js'
import type { LedgerInfo } from '../../src/plugin/lpi.js'
import type { PaymentChannelModule, PluginContext } from '../../src/plugin/module.js'
import type { Channel, TestLedger, Wallet } from '../support/test-ledger.js'

/** The options of the module, beside those of the plugin. Amounts are integer strings in base units. */
export interface ClaimOptions {
  ledger: TestLedger
  /** The own wallet. */
  wallet: Wallet
  /** The peer's address on the ledger. */
  peerAddress: string
  /** How much more than its best claim the peer may owe us. */
  maxUnsecured: string
  /** What a channel is opened with, and extended by when it is used up. */
  channelAmount: string
  /** The token that both peers authenticate with. */
  authToken?: string
}

export interface ClaimState {
  options: ClaimOptions
  info: LedgerInfo
  /** The peer's best claim: the amount, and the channel and signature that it takes to submit it. */
  best: MaxValueTracker<{ channel: string; signature: string }>
  /** The channel that we pay from. */
  outgoing: Channel
  /** The peer takes its channel back: nothing can be secured by it any more. */
  peerCloses: boolean
  stopWatching: () => void
}

type Context = PluginContext<ClaimState>

/** The claim as it travels. */
interface Claim {
  channel: string
  amount: string
  signature: string
}

export function claimModule(): PaymentChannelModule<ClaimState, ClaimOptions> {
  return {
    pluginName: 'example-claims',

    constructor(ctx, options) {
      if (!/^[0-9]+$/.test(options.maxUnsecured)) throw new InvalidFieldsError('maxUnsecured must be an integer string')
      ctx.state.options = options
      ctx.state.best = ctx.backend.getMaxValueTracker('incoming_claim')
    },

    getAuthToken: ctx => ctx.state.options.authToken ?? '',

    async connect(ctx) {
      const { ledger, wallet, peerAddress, channelAmount } = ctx.state.options
      ctx.state.outgoing = await ledger.findChannel(wallet.address, peerAddress) ??
        await ledger.openChannel(wallet, peerAddress, channelAmount)
      // The same on both sides, and the same each time.
      const prefix = `test.claims.${[wallet.address, peerAddress].sort().join('-')}.`
      ctx.state.info = { prefix, currencyCode: 'TST', currencyScale: 6, connectors: [] }
      const incoming = await ledger.findChannel(peerAddress, wallet.address)
      ctx.state.peerCloses = incoming !== undefined && incoming.status !== 'open'
      if (ctx.state.peerCloses) await submitBestClaim(ctx)
      // A peer that closes its channel in the middle of the session gets what it has not promised us, and no more (H20).
      ctx.state.stopWatching = ledger.onClosing(channel => {
        if (channel.source !== peerAddress || channel.destination !== wallet.address) return
        ctx.state.peerCloses = true
        submitInBackground(ctx)
      })
    },

    getInfo: ctx => ctx.state.info,
    getAccount: ctx => ctx.state.info.prefix + ctx.state.options.wallet.address,
    getPeerAccount: ctx => ctx.state.info.prefix + ctx.state.options.peerAddress,

    async handleIncomingPrepare(ctx, transfer) {
      if (ctx.state.peerCloses) {
        submitInBackground(ctx)
        throw new NotAcceptedError('your channel to us is closing')
      }
      // The transfer is in this sum already: it is the most that can be owed to us.
      const incoming = await ctx.transferLog.getIncomingFulfilledAndPrepared()
      const best = await ctx.state.best.getMax()
      if (BigInt(incoming) - BigInt(best.value) > BigInt(ctx.state.options.maxUnsecured)) {
        throw new NotAcceptedError(`transfer ${transfer.id} exceeds what may be unsecured`)
      }
    },

    async createOutgoingClaim(ctx, balance) {
      const { options: { ledger, wallet, channelAmount }, outgoing } = ctx.state
      if (BigInt(balance) > BigInt(outgoing.capacity)) {
        const missing = BigInt(balance) - BigInt(outgoing.capacity)
        await ledger.fundChannel(wallet, outgoing.id, String(missing + BigInt(channelAmount)))
        ctx.state.outgoing = await ledger.getChannel(outgoing.id) ?? outgoing
      }
      return { channel: outgoing.id, amount: balance, signature: ledger.signClaim(wallet, outgoing.id, balance) }
    },

    async handleIncomingClaim(ctx, claim) {
      if (!isClaim(claim)) throw new InvalidFieldsError('claim must have a channel, an amount and a signature')
      const { ledger, wallet, peerAddress } = ctx.state.options
      const channel = await ledger.getChannel(claim.channel)
      if (channel?.source !== peerAddress || channel.destination !== wallet.address || channel.status === 'closed') {
        throw new NotAcceptedError('the claim is on no channel from you to us')
      }
      if (BigInt(claim.amount) > BigInt(channel.capacity)) throw new NotAcceptedError('the claim exceeds what is in the channel')
      if (!ledger.verifyClaim(claim.channel, claim.amount, claim.signature)) throw new NotAcceptedError('the signature does not match')
      // An older or repeated claim changes nothing here.
      await ctx.state.best.setIfMax({ value: claim.amount, data: { channel: claim.channel, signature: claim.signature } })
      if (channel.status === 'closing') await submitBestClaim(ctx)
      return (await ctx.state.best.getMax()).value
    },

    async disconnect(ctx) {
      ctx.state.stopWatching()
      await submitBestClaim(ctx)
    }
  }
}

/** Not awaited by anybody: what fails now is tried again at the next transfer or claim, and at disconnect. */
function submitInBackground(ctx: Context): void {
  submitBestClaim(ctx).catch((error: unknown) => { console.error('the claim could not be submitted', error) })
}

/** Turns the peer's best claim into money. May be called at any time, and again. */
export async function submitBestClaim(ctx: Context): Promise<void> {
  const { value, data } = await ctx.state.best.getMax()
  if (data === null) return
  const channel = await ctx.state.options.ledger.getChannel(data.channel)
  if (channel === undefined || channel.status === 'closed' || BigInt(channel.paid) >= BigInt(value)) return
  await ctx.state.options.ledger.submitClaim(data.channel, value, data.signature)
}

function isClaim(claim: unknown): claim is Claim {
  if (typeof claim !== 'object' || claim === null) return false
  const { channel, amount, signature } = claim as Partial<Claim>
  return typeof channel === 'string' && typeof amount === 'string' && /^[0-9]{1,30}$/.test(amount) &&
    typeof signature === 'string' && /^[0-9a-f]{128}$/.test(signature)
}
