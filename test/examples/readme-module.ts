/**
 * Example: the module that the README shows. Signed claims on a payment channel, as short as can be; `claim-module.ts` does it with
 * every check and comment.
 */
import { errors, makePaymentChannelPlugin } from '../../src/node.js'
import type { MaxValueTracker, PluginContext } from '../../src/node.js'
import type { TestLedger, Wallet } from '../support/test-ledger.js'

interface Options { ledger: TestLedger; wallet: Wallet; peer: string; maxUnsecured: string }
interface State extends Options { best: MaxValueTracker<{ channel: string; signature: string }>; channel: string }

// README: from here
async function submit({ state: { ledger, best } }: PluginContext<State>) {
  const { value, data } = await best.getMax()
  if (data) await ledger.submitClaim(data.channel, value, data.signature)
}

export const PluginTestLedger = makePaymentChannelPlugin<State, Options>({
  pluginName: 'test-ledger',
  constructor(ctx, options) {
    Object.assign(ctx.state, options, { best: ctx.backend.getMaxValueTracker('incoming_claim') })
  },
  async connect(ctx) {
    const { ledger, wallet, peer } = ctx.state
    const channel = await ledger.findChannel(wallet.address, peer) ?? await ledger.openChannel(wallet, peer, '1000000')
    ctx.state.channel = channel.id
    ledger.onClosing(({ source }) => { if (source === peer) submit(ctx).catch(console.error) })
  },
  disconnect: submit,
  getInfo: () => ({ prefix: 'test.ledger.', currencyCode: 'TST', currencyScale: 6, connectors: [] }),
  getAccount: ctx => 'test.ledger.' + ctx.state.wallet.address,
  getPeerAccount: ctx => 'test.ledger.' + ctx.state.peer,
  async handleIncomingPrepare(ctx, transfer) {
    const owed = BigInt(await ctx.transferLog.getIncomingFulfilledAndPrepared()) - BigInt((await ctx.state.best.getMax()).value)
    if (owed > BigInt(ctx.state.maxUnsecured)) throw new errors.NotAcceptedError(`${transfer.id} exceeds what may be unsecured`)
  },
  createOutgoingClaim({ state: { ledger, wallet, channel } }, balance) {
    return { channel, amount: balance, signature: ledger.signClaim(wallet, channel, balance) }
  },
  async handleIncomingClaim({ state: { ledger, wallet, peer, best } }, claim) {
    const { channel, amount, signature } = claim as { channel: string; amount: string; signature: string }
    const { source, destination, capacity = '0' } = await ledger.getChannel(channel) ?? {}
    const isOurs = source === peer && destination === wallet.address && BigInt(amount) <= BigInt(capacity)
    if (!isOurs || !ledger.verifyClaim(channel, amount, signature)) throw new errors.NotAcceptedError('this is no claim on your channel')
    await best.setIfMax({ value: amount, data: { channel, signature } })
  }
})
// README: to here
