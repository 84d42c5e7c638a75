/** The example modules in two real plugins, which pay each other over a real socket and settle on the small ledger. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import PaychanPlugin, { MemoryStore, makePaymentChannelPlugin } from '../../src/node.js'
import type { LedgerPlugin, PluginOptions } from '../../src/node.js'
import { CLOSING_ROUNDS, TestLedger } from '../support/test-ledger.js'
import { claimModule } from './claim-module.js'
import { paymentModule } from './payment-module.js'
import { PluginTestLedger } from './readme-module.js'

const running: LedgerPlugin[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map(plugin => plugin.disconnect()))
})

type Side = 'payer' | 'payee'

/**
 * Two connected plugins: the payer dials, the payee listens, and both fulfill whatever comes. `pay` resolves when the receiver has
 * fulfilled and its module was handed the claim. `start...` starts one again, over the store that it had.
 */
async function connectTwo(make: (side: Side, options: PluginOptions) => LedgerPlugin) {
  const stores = { payer: new MemoryStore(), payee: new MemoryStore() }
  const transfers = new Map<string, { fulfillment: string; secured: () => void }>()
  const start = async (side: Side, options: PluginOptions) => {
    const plugin = make(side, { ...options, maxBalance: '1000000', store: stores[side] })
    running.push(plugin)
    plugin.on('incoming_prepare', ({ id }) => {
      const transfer = transfers.get(id)
      plugin.fulfillCondition(id, transfer?.fulfillment ?? '').then(transfer?.secured, () => undefined)
    })
    await plugin.connect()
    return plugin
  }
  const startPayee = (port: number) => start('payee', { listener: { port }, incomingSecret: 'secret' })
  const startPayer = (port: number) => start('payer', { server: `btp+ws://:secret@localhost:${port}` })
  const pay = async (from: LedgerPlugin, amount: string) => {
    const preimage = randomBytes(32)
    const id = randomUUID()
    const secured = new Promise<void>(resolve => {
      transfers.set(id, { fulfillment: preimage.toString('base64url'), secured: resolve })
    })
    await from.sendTransfer({
      id,
      to: from.getPeerAccount(),
      amount,
      executionCondition: createHash('sha256').update(preimage).digest('base64url'),
      expiresAt: new Date(Date.now() + 10_000).toISOString()
    })
    await secured
  }
  const payee = await startPayee(0)
  const port = payee.port ?? 0
  return { payee, payer: await startPayer(port), port, pay, startPayer, startPayee }
}

describe.each(['readme', 'claims'] as const)('the module with claims (%s) in two plugins', kind => {
  async function start() {
    const ledger = new TestLedger()
    const wallets = { payer: ledger.createWallet('5000000'), payee: ledger.createWallet('5000000') }
    const PluginClaims = makePaymentChannelPlugin(claimModule())
    const two = await connectTwo((side, options) => {
      const wallet = wallets[side]
      const peer = wallets[side === 'payer' ? 'payee' : 'payer'].address
      return kind === 'readme'
        ? new PluginTestLedger({ ...options, ledger, wallet, peer, maxUnsecured: '100' })
        : new PluginClaims({ ...options, ledger, wallet, peerAddress: peer, maxUnsecured: '100', channelAmount: '1000000' })
    })
    return { ledger, wallets, ...two }
  }

  it('C39: each fulfill secures what it moved, so that paying can go on beyond what may be unsecured', async () => {
    const { ledger, wallets, payer, payee, pay } = await start()
    for (let i = 0; i < 5; i++) await pay(payer, '90')
    expect(await payer.getBalance()).toBe('-450')
    expect(await payee.getBalance()).toBe('450')
    await payee.disconnect()
    expect(ledger.balanceOf(wallets.payee.address)).toBe('4000450')
  })

  it('a transfer that exceeds what may be unsecured is refused, and counts nowhere', async () => {
    const { payer, payee, pay } = await start()
    await expect(pay(payer, '101')).rejects.toMatchObject({ name: 'NotAcceptedError' })
    expect(payer.inFlight()).toEqual([])
    expect(await payee.getBalance()).toBe('0')
    await pay(payer, '100')
  })

  it('I6: both ways at once, all of two hundred transfers are secured', async () => {
    const { ledger, wallets, payer, payee, pay } = await start()
    await Promise.all(Array.from({ length: 100 }, () => Promise.all([pay(payer, '1'), pay(payee, '1')])))
    expect(await payer.getBalance()).toBe('0')
    await Promise.all([payer.disconnect(), payee.disconnect()])
    expect([ledger.balanceOf(wallets.payer.address), ledger.balanceOf(wallets.payee.address)]).toEqual(['4000100', '4000100'])
  })

  it('after a restart of both sides the claims go on from the same sums', async () => {
    const { ledger, wallets, payer, payee, port, pay, startPayer, startPayee } = await start()
    await pay(payer, '90')
    await Promise.all([payer.disconnect(), payee.disconnect()])
    const payeeAgain = await startPayee(port)
    await pay(await startPayer(port), '90')
    expect(await payeeAgain.getBalance()).toBe('180')
    await payeeAgain.disconnect()
    expect(ledger.balanceOf(wallets.payee.address)).toBe('4000180')
  })

  it('H20: the peer closes its channel in the middle of the session, and keeps nothing that it has promised', async () => {
    const { ledger, wallets, payer, pay } = await start()
    await pay(payer, '90')
    const channel = await ledger.findChannel(wallets.payer.address, wallets.payee.address)
    await ledger.requestClose(wallets.payer, channel?.id ?? '')
    await vi.waitFor(() => { expect(ledger.balanceOf(wallets.payee.address)).toBe('4000090') })
    for (let round = 0; round < CLOSING_ROUNDS; round++) ledger.closeRound()
    expect(ledger.balanceOf(wallets.payer.address)).toBe('4999910')
  })

  it('info, account and prefix come from the module, on both sides alike', async () => {
    const { payer, payee } = await start()
    expect(payer.getInfo()).toEqual(payee.getInfo())
    expect(payer.getAccount()).toBe(payee.getPeerAccount())
    expect(payer).toBeInstanceOf(kind === 'readme' ? PluginTestLedger : Object)
    expect(payer).not.toBeInstanceOf(PaychanPlugin)
  })
})

describe('the module with payments in two plugins', () => {
  async function start() {
    const ledger = new TestLedger()
    const wallets = { payer: ledger.createWallet('5000'), payee: ledger.createWallet('5000') }
    const PluginPayments = makePaymentChannelPlugin(paymentModule())
    const two = await connectTwo((side, options) => {
      const peerAddress = wallets[side === 'payer' ? 'payee' : 'payer'].address
      return new PluginPayments({ ...options, ledger, wallet: wallets[side], peerAddress, maxUnsecured: '100', confirmations: 1 })
    })
    return { ledger, wallets, ...two }
  }

  it('H19: a payment that is confirmed after its claim came is credited by itself, since the claim comes again', async () => {
    const { ledger, wallets, payer, pay } = await start()
    await pay(payer, '90')
    await expect(pay(payer, '20')).rejects.toMatchObject({ name: 'NotAcceptedError' })
    ledger.closeRound()
    expect(ledger.balanceOf(wallets.payee.address)).toBe('5090')
    await vi.waitFor(() => pay(payer, '20'), { timeout: 10_000, interval: 100 })
  })

  it('H19: a payer whose payment went out, and which heard nothing of it, has paid once and tells after its restart', async () => {
    const { ledger, payer, port, pay, startPayer } = await start()
    ledger.onStep = step => step === 'after payment' ? Promise.reject(new Error('connection lost')) : Promise.resolve()
    await pay(payer, '90')
    expect(ledger.payments).toHaveLength(1)
    await payer.disconnect()
    ledger.onStep = () => Promise.resolve()
    ledger.closeRound()
    const again = await startPayer(port)
    await vi.waitFor(() => pay(again, '20'), { timeout: 10_000, interval: 100 })
    expect(ledger.payments.map(payment => payment.amount)).toEqual(['90', '20'])
  })
})
