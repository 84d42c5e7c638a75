/** The documented example with payments, by itself: it pays exactly once whenever it dies, and believes only the ledger. */
import { beforeEach, describe, expect, it } from 'vitest'
import { InvalidFieldsError, NotAcceptedError, UnreachableError } from '../../src/core/errors.js'
import type { IncomingTransfer } from '../../src/plugin/lpi.js'
import { MemoryStore } from '../../src/store/memory.js'
import { startModule } from '../support/module-context.js'
import { TestLedger } from '../support/test-ledger.js'
import type { Step, Wallet } from '../support/test-ledger.js'
import { settle } from '../support/virtual-clock.js'
import { paymentModule } from './payment-module.js'

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
  ({ ledger, wallet, peerAddress: peer.address, maxUnsecured: '100', confirmations: 2 })

const startPayer = (owner = 'first') => startModule(paymentModule(), store, options(alice, bob), owner)
const startPayee = () => startModule(paymentModule(), new MemoryStore(), options(bob, alice))

function closeRounds(count: number): void {
  for (let round = 0; round < count; round++) ledger.closeRound()
}

const amounts = () => ledger.payments.filter(payment => payment.status !== 'failed').map(payment => payment.amount)
const incoming = (id: string, amount: string): IncomingTransfer =>
  ({ id, amount, executionCondition: '', expiresAt: '', from: '', to: '', ledger: '' })

describe('the payer of the example with payments', () => {
  it('pays what is owed beyond what it has paid, and names the payment', async () => {
    const { runner } = await startPayer()
    const first = await runner.createOutgoingClaim('70')
    closeRounds(1)
    await runner.createOutgoingClaim('100')
    expect(amounts()).toEqual(['70', '30'])
    expect(first).toEqual({ txid: ledger.payments[0]?.txid })
    expect(ledger.payments[1]?.memo).toBe(ledger.payments[0]?.txid)
  })

  it('the same sum again, after a restart too, pays nothing and names the same payment', async () => {
    const { runner } = await startPayer()
    const claim = await runner.createOutgoingClaim('70')
    const after = await startPayer('second')
    expect(await after.runner.createOutgoingClaim('70')).toEqual(claim)
    expect(amounts()).toEqual(['70'])
  })

  it.each<Step>(['before payment', 'after payment'])('H19: one that dies %s pays exactly once', async step => {
    const { runner } = await startPayer()
    ledger.onStep = at => at === step ? new Promise(() => undefined) : Promise.resolve()
    void runner.createOutgoingClaim('70')
    await settle()
    expect(amounts()).toEqual(step === 'before payment' ? [] : ['70'])

    ledger.onStep = () => Promise.resolve()
    const after = await startPayer('second')
    const claim = await after.runner.createOutgoingClaim('70')
    expect(amounts()).toEqual(['70'])
    expect(claim).toEqual({ txid: ledger.payments[0]?.txid })
    closeRounds(1)
    await after.runner.createOutgoingClaim('90')
    expect(amounts()).toEqual(['70', '20'])
  })

  it.each<Step>(['before payment', 'after payment'])('H19: one that dies %s and then owes more pays the sum of both', async step => {
    const { runner } = await startPayer()
    ledger.onStep = at => at === step ? new Promise(() => undefined) : Promise.resolve()
    void runner.createOutgoingClaim('70')
    await settle()
    ledger.onStep = () => Promise.resolve()
    const after = await startPayer('second')
    await after.runner.createOutgoingClaim('90').catch(() => undefined)
    closeRounds(1)
    await after.runner.createOutgoingClaim('90')
    expect(amounts()).toEqual(['70', '20'])
  })

  it('H19: one that dies before it has journalled has not paid, and pays all afterwards', async () => {
    const { runner } = await startPayer()
    // The store of the first belongs to the second from here on, so that the journal of the first does not land.
    const after = await startPayer('second')
    await expect(runner.createOutgoingClaim('70')).rejects.toThrow()
    expect(amounts()).toEqual([])
    await after.runner.createOutgoingClaim('70')
    expect(amounts()).toEqual(['70'])
  })

  it('a payment that the ledger refuses is made when it can be', async () => {
    const { runner } = await startPayer()
    await expect(runner.createOutgoingClaim('10001')).rejects.toThrow('not enough money')
    expect(amounts()).toEqual([])
    const rich = ledger.createWallet('1')
    await ledger.pay(rich, { to: alice.address, amount: '1', key: 'gift', memo: null })
    closeRounds(1)
    await runner.createOutgoingClaim('10001')
    expect(amounts()).toEqual(['1', '10001'])
  })

  it('a payment that failed on the ledger is made again before the next', async () => {
    const { runner } = await startPayer()
    const failed = await runner.createOutgoingClaim('70') as { txid: string }
    ledger.failPayment(failed.txid)
    await expect(runner.createOutgoingClaim('90')).rejects.toThrow(UnreachableError)
    closeRounds(1)
    await runner.createOutgoingClaim('90')
    expect(amounts()).toEqual(['70', '20'])
  })
})

describe('the payee of the example with payments', () => {
  it('refuses a transfer that would leave more unsecured than allowed, and takes it when it was paid', async () => {
    const payer = await startPayer()
    const payee = await startPayee()
    await payee.transferLog.prepare(incoming('a', '120'), true)
    await expect(payee.runner.handleIncomingPrepare(incoming('a', '120'))).rejects.toThrow(NotAcceptedError)
    const claim = await payer.runner.createOutgoingClaim('20')
    closeRounds(2)
    await payee.runner.handleIncomingClaim(claim ?? null)
    await payee.runner.handleIncomingPrepare(incoming('a', '120'))
  })

  it('H19: a payment that is not visible, or not confirmed yet, is a temporary error, and is credited later', async () => {
    const payer = await startPayer()
    const payee = await startPayee()
    const received = payee.context.backend.getTransferLog('payments_received')
    const claim = await payer.runner.createOutgoingClaim('70') ?? null
    for (let round = 0; round < 2; round++) {
      await expect(payee.runner.handleIncomingClaim(claim)).rejects.toThrow(UnreachableError)
      expect(await received.getIncomingFulfilledAndPrepared()).toBe('0')
      closeRounds(1)
    }
    await payee.runner.handleIncomingClaim(claim)
    expect(await received.getIncomingFulfilled()).toBe('70')
  })

  it('H19: a payment is credited once, however often its claim comes', async () => {
    const payer = await startPayer()
    const payee = await startPayee()
    const claim = await payer.runner.createOutgoingClaim('70') ?? null
    closeRounds(2)
    for (let i = 0; i < 3; i++) await payee.runner.handleIncomingClaim(claim)
    expect(await payee.context.backend.getTransferLog('payments_received').getIncomingFulfilled()).toBe('70')
  })

  it('H16: payments whose claims were lost are credited with the next claim', async () => {
    const payer = await startPayer()
    const payee = await startPayee()
    for (const balance of ['70', '90']) {
      await payer.runner.createOutgoingClaim(balance)
      closeRounds(1)
    }
    const claim = await payer.runner.createOutgoingClaim('100') ?? null
    closeRounds(1)
    // The last one lacks a confirmation: those before it count all the same.
    await expect(payee.runner.handleIncomingClaim(claim)).rejects.toThrow(UnreachableError)
    const received = payee.context.backend.getTransferLog('payments_received')
    expect(await received.getIncomingFulfilled()).toBe('90')
    closeRounds(1)
    await payee.runner.handleIncomingClaim(claim)
    expect(await received.getIncomingFulfilled()).toBe('100')
  })

  it('H19: a payment by somebody else, to somebody else, or failed, is refused', async () => {
    const payee = await startPayee()
    const stranger = ledger.createWallet('1000')
    const byStranger = await ledger.pay(stranger, { to: bob.address, amount: '500', key: 'a', memo: null })
    const toStranger = await ledger.pay(alice, { to: stranger.address, amount: '500', key: 'b', memo: null })
    const failed = await ledger.pay(alice, { to: bob.address, amount: '500', key: 'c', memo: null })
    ledger.failPayment(failed)
    closeRounds(3)
    for (const txid of [byStranger, toStranger, failed]) {
      await expect(payee.runner.handleIncomingClaim({ txid })).rejects.toThrow(NotAcceptedError)
    }
    expect(await payee.context.backend.getTransferLog('payments_received').getIncomingFulfilledAndPrepared()).toBe('0')
  })

  it.each([['text'], [5], [[]], [{}], [{ txid: 5 }], [{ txid: '../../etc' }]])('refuses the claim %j', async claim => {
    const payee = await startPayee()
    await expect(payee.runner.handleIncomingClaim(claim)).rejects.toThrow(InvalidFieldsError)
  })
})
