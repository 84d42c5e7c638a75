/** The documented example with claims, by itself: over a store that survives, and a ledger that does not care who crashes. */
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { InvalidFieldsError, NotAcceptedError } from '../../src/core/errors.js'
import type { IncomingTransfer } from '../../src/plugin/lpi.js'
import { MemoryStore } from '../../src/store/memory.js'
import { startModule } from '../support/module-context.js'
import { CLOSING_ROUNDS, TestLedger } from '../support/test-ledger.js'
import type { Wallet } from '../support/test-ledger.js'
import { settle } from '../support/virtual-clock.js'
import { claimModule } from './claim-module.js'

let ledger: TestLedger
let alice: Wallet
let bob: Wallet
let store: MemoryStore

beforeEach(() => {
  ledger = new TestLedger()
  alice = ledger.createWallet('10000')
  bob = ledger.createWallet('10000')
  store = new MemoryStore()
})

const options = (wallet: Wallet, peer: Wallet) =>
  ({ ledger, wallet, peerAddress: peer.address, maxUnsecured: '100', channelAmount: '1000' })

async function startBoth() {
  const payer = await startModule(claimModule(), new MemoryStore(), options(alice, bob))
  const payee = await startModule(claimModule(), store, options(bob, alice))
  /** What the payer's module makes, as it reaches the payee's. */
  const claim = async (balance: string) => {
    const made = await payer.runner.createOutgoingClaim(balance)
    await payee.runner.handleIncomingClaim(made ?? null)
    return made as { channel: string; amount: string; signature: string }
  }
  return { payer, payee, claim }
}

const transfer = (amount: string): IncomingTransfer => ({
  id: `t${amount}`, amount, executionCondition: '', expiresAt: '', from: '', to: '', ledger: ''
})

describe('the example with claims', () => {
  it('opens a channel once, and finds it again after a restart', async () => {
    await startModule(claimModule(), store, options(alice, bob))
    await startModule(claimModule(), store, options(alice, bob), 'second')
    expect(ledger.balanceOf(alice.address)).toBe('9000')
  })

  it('both sides agree on the prefix, and on who is who', async () => {
    const { payer, payee } = await startBoth()
    expect(payer.runner.getInfo()).toEqual(payee.runner.getInfo())
    expect(payer.runner.getAccount()).toBe(payee.runner.getPeerAccount())
    expect(payee.runner.getAccount()).toBe(payer.runner.getPeerAccount())
  })

  it('a claim is kept, and submitted at disconnect', async () => {
    const { payee, claim } = await startBoth()
    await claim('70')
    await claim('120')
    expect(ledger.balanceOf(bob.address)).toBe('9000')
    await payee.runner.disconnect()
    expect(ledger.balanceOf(bob.address)).toBe('9120')
    await payee.runner.disconnect()
    expect(ledger.balanceOf(bob.address)).toBe('9120')
  })

  it('I6: the best claim survives a restart, and an older one does not replace it', async () => {
    const { payer, claim } = await startBoth()
    const older = await payer.runner.createOutgoingClaim('50')
    await claim('120')
    const payee = await startModule(claimModule(), store, options(bob, alice), 'second')
    await payee.runner.handleIncomingClaim(older ?? null)
    await payee.runner.disconnect()
    expect(ledger.balanceOf(bob.address)).toBe('9120')
  })

  it('extends its channel when the claims outgrow it', async () => {
    const { payee, claim } = await startBoth()
    await claim('1500')
    await payee.runner.disconnect()
    expect(ledger.balanceOf(bob.address)).toBe('10500')
    expect(ledger.balanceOf(alice.address)).toBe('7500')
  })

  it('refuses a transfer that would leave more unsecured than allowed', async () => {
    const { payee, claim } = await startBoth()
    await payee.transferLog.prepare(transfer('100'), true)
    await payee.runner.handleIncomingPrepare(transfer('100'))
    await payee.transferLog.prepare(transfer('1'), true)
    await expect(payee.runner.handleIncomingPrepare(transfer('1'))).rejects.toThrow(NotAcceptedError)
    await claim('1')
    await payee.runner.handleIncomingPrepare(transfer('1'))
  })

  it('I6: refuses every claim that is not signed by the peer, on its channel to us, and covered', async () => {
    const { payer, payee } = await startBoth()
    const good = await payer.runner.createOutgoingClaim('70') as { channel: string; amount: string; signature: string }
    const stranger = ledger.createWallet('5000')
    const foreign = await ledger.openChannel(stranger, bob.address, '5000')
    const elsewhere = await ledger.openChannel(alice, stranger.address, '500')
    const refused = [
      { ...good, amount: '71' },
      { ...good, signature: good.signature.replace(/^../, good.signature.startsWith('00') ? '01' : '00') },
      { ...good, channel: 'none' },
      { channel: foreign.id, amount: '70', signature: ledger.signClaim(stranger, foreign.id, '70') },
      { channel: elsewhere.id, amount: '70', signature: ledger.signClaim(alice, elsewhere.id, '70') },
      { channel: good.channel, amount: '1001', signature: ledger.signClaim(alice, good.channel, '1001') }
    ]
    for (const claim of refused) await expect(payee.runner.handleIncomingClaim(claim)).rejects.toThrow(NotAcceptedError)
    const wrongFields = [{ amount: 70 }, { amount: '0x46' }, { amount: '-70' }, { signature: 'zz' }]
    const malformed = ['text', 5, [], {}, ...wrongFields.map(wrong => ({ ...good, ...wrong }))]
    for (const claim of malformed) await expect(payee.runner.handleIncomingClaim(claim)).rejects.toThrow(InvalidFieldsError)
    await payee.runner.disconnect()
    expect(ledger.balanceOf(bob.address)).toBe('9000')
  })

  it('H20: a peer that closes its channel in the middle of the session keeps nothing that it has promised', async () => {
    const { payee, claim } = await startBoth()
    const { channel } = await claim('700')
    await ledger.requestClose(alice, channel)
    await settle()
    expect(ledger.balanceOf(bob.address)).toBe('9700')
    await expect(payee.runner.handleIncomingPrepare(transfer('1'))).rejects.toThrow('closing')
    for (let round = 0; round < CLOSING_ROUNDS; round++) ledger.closeRound()
    expect(ledger.balanceOf(alice.address)).toBe('9300')
    await payee.runner.disconnect()
  })

  it('H20: a claim that comes while the channel is closing is submitted at once', async () => {
    const { payer, claim } = await startBoth()
    const { channel } = await payer.runner.createOutgoingClaim('1') as { channel: string }
    await ledger.requestClose(alice, channel)
    await claim('700')
    expect(ledger.balanceOf(bob.address)).toBe('9700')
  })

  it('H20: a channel that began to close while we were away is looked after at connect', async () => {
    const { claim } = await startBoth()
    const { channel } = await claim('700')
    const reported = vi.spyOn(console, 'error').mockReturnValue()
    ledger.onStep = () => Promise.reject(new Error('the ledger is out of reach'))
    await ledger.requestClose(alice, channel)
    await settle()
    expect(reported).toHaveBeenCalledOnce()
    reported.mockRestore()
    ledger.onStep = () => Promise.resolve()
    await startModule(claimModule(), store, options(bob, alice), 'second')
    expect(ledger.balanceOf(bob.address)).toBe('9700')
  })

  it('wrong options are refused at construction', async () => {
    await expect(startModule(claimModule(), store, { ...options(alice, bob), maxUnsecured: 'lots' })).rejects.toThrow('maxUnsecured')
  })
})
