/**
 * Ours against the published old package, over real sockets: in both roles, against an old peer with a store and one without.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { errors } from '../../src/node.js'
import { INFO, PREFIX, balances, connectPair, next, payment } from '../support/old-pair.js'
import type { OldRole, Pair, PairOptions } from '../support/old-pair.js'
import { oldErrorOf, oldMemoryStore, readIlpError } from '../support/old-plugin.js'

const ILP = Buffer.from('a packet of no matter what').toString('base64url')
const CUSTOM = { purpose: 'test', nested: [1, 'two', { three: null }] }

interface Variant {
  oldRole: OldRole
  hasStore: boolean
}

const VARIANTS: Variant[] = [
  { oldRole: 'dials', hasStore: true },
  { oldRole: 'dials', hasStore: false },
  { oldRole: 'listens', hasStore: true },
  { oldRole: 'listens', hasStore: false }
]

describe.each(VARIANTS)('an old peer that $oldRole, store: $hasStore', ({ oldRole, hasStore }) => {
  let pair: Pair

  const connect = async (given: PairOptions = {}): Promise<void> => {
    const state = hasStore ? { _store: oldMemoryStore(), maxBalance: '1000', minBalance: '-1000000' } : {}
    pair = await connectPair(oldRole, { ...given, old: { ...state, ...given.old } })
  }

  /** Ours pays the old peer, whose host fulfills. */
  const pay = async (amount: string): Promise<void> => {
    const { ours, old } = pair
    const { transfer, fulfillment } = payment(ours.getPeerAccount(), amount)
    const prepared = next(old, 'incoming_prepare')
    await ours.sendTransfer(transfer)
    await prepared
    await old.fulfillCondition(transfer.id, fulfillment)
  }

  /** The old peer pays ours, whose host fulfills. */
  const bePaid = async (amount: string): Promise<void> => {
    const { ours, old } = pair
    const { transfer, fulfillment } = payment(old.getPeerAccount(), amount)
    await old.sendTransfer(transfer)
    await ours.fulfillCondition(transfer.id, fulfillment)
  }

  beforeEach(() => connect())
  afterEach(() => pair.end())

  describe('what each tells of itself', () => {
    it('C35: info goes both ways, whoever asks', async () => {
      const { ours, old } = pair
      expect(ours.getInfo()).toEqual(INFO)
      expect(old.getInfo()).toEqual(INFO)
      const message = (what: number): Promise<{ protocolData: Array<{ contentType: number; data: Buffer }> }> =>
        old._rpc.message([{ protocolName: 'info', contentType: 0, data: Buffer.from([what]) }])
      const [full] = (await message(2)).protocolData
      expect(full?.contentType).toBe(2)
      expect(JSON.parse(full?.data.toString() ?? '')).toEqual(INFO)
      const [account] = (await message(0)).protocolData
      expect(account?.contentType).toBe(1)
      expect(account?.data.toString()).toBe(ours.getAccount())
    })

    it('H44: our account is named by who listens, whether there is a store or not', () => {
      const [own, peer] = oldRole === 'dials' ? ['server', 'client'] : ['client', 'server']
      expect(pair.ours.getAccount()).toBe(`${PREFIX}${own}`)
      expect(pair.ours.getPeerAccount()).toBe(`${PREFIX}${peer}`)
    })

    it('C37: each asks for the other\'s limit, from its own point of view', async () => {
      expect(await pair.ours.getLimit()).toBe(hasStore ? '-1000' : '-Infinity')
      expect(await pair.old.getLimit()).toBe('-1000000')
    })

    it('C36, H21: a balance of 0 is "0" to us', async () => {
      expect(await pair.ours.getBalance()).toBe('0')
      expect(await pair.ours.getPeerBalance()).toBe('0')
      expect(Number(await pair.old.getPeerBalance())).toBe(-0)
    })
  })

  describe('requests', () => {
    it('C38: ours asks with ilp and custom, and gets both back', async () => {
      const { ours, old } = pair
      const asked = next(old, 'incoming_request')
      old.registerRequestHandler(async message => ({ to: old.getPeerAccount(), ilp: message.ilp ?? '', custom: { echo: message.custom } }))
      const answer = await ours.sendRequest({ to: ours.getPeerAccount(), ilp: ILP, custom: CUSTOM })
      expect(answer).toEqual({ to: ours.getAccount(), from: ours.getPeerAccount(), ledger: PREFIX, ilp: ILP, custom: { echo: CUSTOM } })
      expect((await asked)[0]).toMatchObject({ ilp: ILP, custom: CUSTOM, from: old.getPeerAccount(), to: old.getAccount() })
    })

    it('C38: the old peer asks with ilp and custom, and gets both back', async () => {
      const { ours, old } = pair
      const asked = next(ours, 'incoming_request')
      ours.registerRequestHandler(async message => ({ to: ours.getPeerAccount(), ilp: message.ilp ?? '', custom: { echo: message.custom } }))
      const answer = await old.sendRequest({ to: old.getPeerAccount(), ilp: ILP, custom: CUSTOM })
      expect(answer).toMatchObject({ ilp: ILP, custom: { echo: CUSTOM } })
      expect((await asked)[0]).toMatchObject({ ilp: ILP, custom: CUSTOM, from: ours.getPeerAccount(), to: ours.getAccount(), ledger: PREFIX })
    })

    it.each([{ ilp: ILP }, { custom: CUSTOM }])('C38: one of the two alone goes both ways: %o', async content => {
      const { ours, old } = pair
      ours.registerRequestHandler(async ({ ilp, custom }) => ({ ...(ilp === undefined ? {} : { ilp }), ...(custom === undefined ? {} : { custom }) }))
      old.registerRequestHandler(async ({ ilp, custom }) =>
        ({ to: old.getPeerAccount(), ...(ilp === undefined ? {} : { ilp }), ...(custom === undefined ? {} : { custom }) }))
      expect(await ours.sendRequest({ to: ours.getPeerAccount(), ...content })).toMatchObject(content)
      expect(await old.sendRequest({ to: old.getPeerAccount(), ...content })).toMatchObject(content)
    })

    it('C34: our handler fails, and the old host gets an ILP error F00', async () => {
      const { ours, old } = pair
      ours.registerRequestHandler(() => { throw new Error('no such invoice') })
      const { ilp } = await old.sendRequest({ to: old.getPeerAccount(), ilp: ILP })
      const packet = readIlpError(ilp)
      expect(packet).toMatchObject({ code: 'F00', name: 'Bad Request', triggeredBy: ours.getAccount(), forwardedBy: [] })
      expect(JSON.parse(packet.data)).toEqual({ message: 'no such invoice' })
    })

    it('C34: the old handler fails, and our host gets its ILP error', async () => {
      const { ours, old } = pair
      old.registerRequestHandler(() => Promise.reject(new Error('no such invoice')))
      const { ilp } = await ours.sendRequest({ to: ours.getPeerAccount(), ilp: ILP })
      expect(readIlpError(ilp)).toMatchObject({ code: 'F00', triggeredBy: old.getAccount() })
    })

    it('C25, C47: without a handler the answer is an error, by its name', async () => {
      const { ours, old } = pair
      expect(await oldErrorOf(old.sendRequest({ to: old.getPeerAccount(), custom: CUSTOM }))).toMatchObject({ code: 'F00', name: 'NoSubscriptionsError' })
      await expect(ours.sendRequest({ to: ours.getPeerAccount(), custom: CUSTOM })).rejects.toThrow(errors.NotAcceptedError)
    })

    it('C38: a side protocol that nobody registered is refused both ways', async () => {
      const { old } = pair
      const call = old._rpc.message([{ protocolName: 'unheard_of', contentType: 2, data: Buffer.from('{}') }])
      expect((await oldErrorOf(call)).code).toMatch(/^F/)
    })
  })

  describe('transfers', () => {
    it('C26, C30, C32: ours pays: all is told on both sides, and all four balances agree', async () => {
      const { ours, old } = pair
      const { transfer, fulfillment } = payment(ours.getPeerAccount(), '10', { ilp: ILP, custom: CUSTOM })
      const prepared = next(old, 'incoming_prepare')
      const fulfilled = next(ours, 'outgoing_fulfill')
      const noteToSelf = { secret: 'ours alone' }
      await ours.sendTransfer({ ...transfer, noteToSelf })
      const [received] = await prepared
      expect(received).toEqual({ ...transfer, to: old.getAccount(), from: old.getPeerAccount(), ledger: PREFIX })
      await old.fulfillCondition(transfer.id, fulfillment, ILP)
      const sent = { ...transfer, noteToSelf, from: ours.getAccount(), ledger: PREFIX }
      expect(await fulfilled).toEqual([sent, fulfillment, ILP])
      expect(await balances(pair)).toEqual(
        { ours: '-10', askedByOurs: '-10', old: '10', askedByOld: '10' })
      expect(ours.inFlight()).toEqual([])
    })

    it('C26, C30, C32: ours is paid: all is told on both sides, and all four balances agree', async () => {
      const { ours, old } = pair
      const { transfer, fulfillment } = payment(old.getPeerAccount(), '20', { ilp: ILP, custom: CUSTOM })
      const prepared = next(ours, 'incoming_prepare')
      const booked = next(ours, 'incoming_fulfill')
      const fulfilled = next(old, 'outgoing_fulfill')
      await old.sendTransfer(transfer)
      const [received] = await prepared
      expect(received).toEqual({ ...transfer, to: ours.getAccount(), from: ours.getPeerAccount(), ledger: PREFIX })
      await ours.fulfillCondition(transfer.id, fulfillment, ILP)
      expect((await fulfilled).slice(1)).toEqual([fulfillment, ILP])
      expect(await booked).toEqual([received, fulfillment])
      expect(await balances(pair)).toEqual({ ours: '20', askedByOurs: '20', old: '-20', askedByOld: '-20' })
      expect(ours.inFlight()).toEqual([])
    })

    it('many go both ways at once, and the balances agree', async () => {
      const both = Array.from({ length: 20 }, (_, at) => at % 2 === 0 ? bePaid(String(at)) : pay(String(at)))
      // A payment of 0 is none to the old package.
      await expect(both[0]).rejects.toThrow()
      await Promise.all(both.slice(1))
      const paid = 2 + 4 + 6 + 8 + 10 + 12 + 14 + 16 + 18 - (1 + 3 + 5 + 7 + 9 + 11 + 13 + 15 + 17 + 19)
      expect(await balances(pair)).toEqual({ ours: `${paid}`, askedByOurs: `${paid}`, old: `${-paid}`, askedByOld: `${-paid}` })
    })

    it('C6: an expiry without a fraction is written as the old peer reads it', async () => {
      const { ours, old } = pair
      const expiresAt = new Date(Math.ceil(Date.now() / 1000) * 1000 + 30_000).toISOString().replace('.000', '')
      const prepared = next(old, 'incoming_prepare')
      await ours.sendTransfer({ ...payment(ours.getPeerAccount(), '1').transfer, expiresAt })
      expect((await prepared)[0]).toMatchObject({ expiresAt: expiresAt.replace('Z', '.000Z') })
    })

    it('C31: our host fulfills again: it succeeds and changes nothing', async () => {
      const { ours, old } = pair
      const { transfer, fulfillment } = payment(old.getPeerAccount(), '5')
      await old.sendTransfer(transfer)
      await ours.fulfillCondition(transfer.id, fulfillment)
      await ours.fulfillCondition(transfer.id, fulfillment)
      expect(await ours.getBalance()).toBe('5')
      expect(await ours.getPeerBalance()).toBe('5')
    })

    it('C30: a preimage that does not match is refused by us, and changes nothing', async () => {
      const { ours, old } = pair
      const { transfer } = payment(ours.getPeerAccount(), '5')
      await ours.sendTransfer(transfer)
      const wrong = payment('', '1').fulfillment
      const call = old._rpc.fulfill(transfer.id, wrong, [])
      expect(await oldErrorOf(call)).toMatchObject({ code: 'F04', name: 'InvalidFulfillmentError' })
      expect(await oldErrorOf(old._rpc.fulfill(payment('', '1').transfer.id, wrong, []))).toMatchObject({ code: 'F03', name: 'TransferNotFoundError' })
      expect(await ours.getBalance()).toBe('0')
      expect(ours.inFlight()).toHaveLength(1)
    })

    it('C27: a Prepare that the old peer sends again is held once, and told once', async () => {
      const { ours, old } = pair
      const { transfer } = payment(old.getPeerAccount(), '5')
      let told = 0
      ours.on('incoming_prepare', () => { told++ })
      await old.sendTransfer(transfer)
      await old._rpc.prepare(transfer, [])
      expect(told).toBe(1)
      expect(ours.inFlight()).toHaveLength(1)
      expect(await oldErrorOf(old._rpc.prepare({ ...transfer, amount: '6' }, []))).toMatchObject({ code: 'F05', name: 'DuplicateIdError' })
    })

    it('I1: fulfilled ones in either direction make balances that are equal and opposite', async () => {
      await pay('7')
      await bePaid('30')
      await pay('3')
      expect(await balances(pair)).toEqual({ ours: '20', askedByOurs: '20', old: '-20', askedByOld: '-20' })
    })
  })

  describe('limits', () => {
    it('C28: what would exceed our maximum is refused, and nothing of it is kept', async () => {
      await pair.end()
      await connect({ ours: { maxBalance: '100' } })
      const { ours, old } = pair
      const { transfer } = payment(old.getPeerAccount(), '101')
      expect(await oldErrorOf(old.sendTransfer(transfer))).toMatchObject({ code: 'F00', name: 'NotAcceptedError' })
      // Again, by the same packet: refused again (H1).
      expect(await oldErrorOf(old._rpc.prepare(transfer, []))).toMatchObject({ code: 'F00', name: 'NotAcceptedError' })
      expect(ours.inFlight()).toEqual([])
      expect(await old.getLimit()).toBe('-100')
      await bePaid('100')
      expect(await ours.getBalance()).toBe('100')
    })

    it('C45: our own minimum is InsufficientBalanceError, and nothing is sent', async () => {
      await pair.end()
      await connect({ ours: { minBalance: '-50' } })
      await expect(pair.ours.sendTransfer(payment(pair.ours.getPeerAccount(), '51').transfer)).rejects.toThrow(errors.InsufficientBalanceError)
      await pay('50')
      expect(await pair.ours.getPeerBalance()).toBe('-50')
    })

    // An old peer without a store has no limit.
    if (hasStore) it('C28, C45: what would exceed the old peer\'s maximum is NotAcceptedError, and releases our hold', async () => {
      const { ours } = pair
      await expect(ours.sendTransfer(payment(ours.getPeerAccount(), '1001').transfer)).rejects.toThrow(errors.NotAcceptedError)
      expect(ours.inFlight()).toEqual([])
      await pay('1000')
      expect(await ours.getPeerBalance()).toBe('-1000')
    })
  })

  describe('rejections', () => {
    const reason = {
      code: 'F02',
      name: 'Unreachable',
      triggered_by: `${PREFIX}far.away`,
      triggered_at: new Date('2026-01-02T03:04:05.678Z'),
      additional_info: { message: 'nobody home', detail: 1 }
    }

    it('C33: ours rejects with a full reason, and the old host is told all of it', async () => {
      const { ours, old } = pair
      const { transfer } = payment(old.getPeerAccount(), '5')
      const told = next(old, 'outgoing_reject')
      await old.sendTransfer(transfer)
      await ours.rejectIncomingTransfer(transfer.id, { ...reason, forwarded_by: ['test.one', 'test.two'] })
      expect((await told)[1]).toEqual({ ...reason, forwarded_by: 'test.two' })
      expect(await balances(pair)).toMatchObject({ ours: '0', askedByOurs: '0' })
      expect(ours.inFlight()).toEqual([])
    })

    it.each([
      ['no reason', undefined],
      ['no additional_info', { code: 'F02', name: 'Unreachable', triggered_by: 'test.a', triggered_at: new Date() }],
      ['triggered_at as a text', { ...reason, triggered_at: '2026-01-02T03:04:05.678Z' }],
      ['only a code', { code: 'T00' }]
    ])('H13: ours rejects with %s, and the old host is told', async (_name, given) => {
      const { ours, old } = pair
      const { transfer } = payment(old.getPeerAccount(), '5')
      const told = next(old, 'outgoing_reject')
      await old.sendTransfer(transfer)
      await ours.rejectIncomingTransfer(transfer.id, given)
      expect((await told)[0]).toMatchObject({ id: transfer.id })
      await expect(ours.fulfillCondition(transfer.id, payment('', '1').fulfillment)).rejects.toThrow()
      expect(ours.inFlight()).toEqual([])
    })

    it('C33, C34: the old peer rejects, and our host is told all of it', async () => {
      const { ours, old } = pair
      const { transfer } = payment(ours.getPeerAccount(), '5')
      const told = next(ours, 'outgoing_reject')
      await ours.sendTransfer(transfer)
      await old.rejectIncomingTransfer(transfer.id, { ...reason, forwarded_by: 'test.forwarder' })
      const [rejected, message] = await told
      expect(rejected).toMatchObject({ id: transfer.id })
      expect(message).toEqual({ ...reason, forwarded_by: 'test.forwarder', message: 'nobody home' })
      expect(ours.inFlight()).toEqual([])
      await expect(ours.getFulfillment(transfer.id)).rejects.toThrow(errors.AlreadyRolledBackError)
    })

    it('C34: the old peer names no forwarder, and its own account is taken', async () => {
      const { ours, old } = pair
      const { transfer } = payment(ours.getPeerAccount(), '5')
      const told = next(ours, 'outgoing_reject')
      await ours.sendTransfer(transfer)
      await old.rejectIncomingTransfer(transfer.id, reason)
      expect((await told)[1].forwarded_by).toBe(old.getAccount())
    })

    it('C29: the old sender rejects its own transfer: refused, and it changes nothing here', async () => {
      const { ours, old } = pair
      const { transfer, fulfillment } = payment(old.getPeerAccount(), '5')
      await old.sendTransfer(transfer)
      expect(await oldErrorOf(old._rpc.reject(transfer.id, []))).toMatchObject({ code: 'F00', name: 'NotAcceptedError' })
      expect(ours.inFlight().map(({ transfer: { id } }) => id)).toEqual([transfer.id])
      await ours.fulfillCondition(transfer.id, fulfillment)
      expect(await balances(pair)).toEqual({ ours: '5', askedByOurs: '5', old: '-5', askedByOld: '-5' })
    })
  })

  describe('expiry', () => {
    it('C34: one that ours holds expires, and both sides release it', async () => {
      const { ours, old } = pair
      const { transfer } = payment(old.getPeerAccount(), '5', { expiresInMs: 300 })
      const cancelled = next(ours, 'incoming_cancel')
      await old.sendTransfer(transfer)
      const [{ id }, why] = await cancelled
      expect(id).toBe(transfer.id)
      expect(why).toMatchObject({ code: 'R00', name: 'Transfer Timed Out', triggered_by: ours.getAccount() })
      expect(ours.inFlight()).toEqual([])
      // The old peer's hold is gone too, so that its limit is free again: all that it may owe can be prepared.
      await bePaid('9')
      expect(await balances(pair)).toEqual({ ours: '9', askedByOurs: '9', old: '-9', askedByOld: '-9' })
    })

    it('C34: one that the old peer holds expires, and both sides release it', async () => {
      const { ours } = pair
      const { transfer } = payment(ours.getPeerAccount(), '5', { expiresInMs: 300 })
      const cancelled = next(ours, 'outgoing_cancel')
      await ours.sendTransfer(transfer)
      const [{ id }, why] = await cancelled
      expect(id).toBe(transfer.id)
      expect(why).toMatchObject({ code: 'R00' })
      expect(ours.inFlight()).toEqual([])
      await pay('9')
      expect(await ours.getPeerBalance()).toBe('-9')
    })
  })
})
