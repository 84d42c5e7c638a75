/**
 * Ours against the published old package when something goes wrong: credentials, lost answers, clocks, restarts.
 */
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import PaychanPlugin, { MemoryStore, errors } from '../../src/node.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import { INFO, PREFIX, SECRET, balances, connectPair, next, payment, uri } from '../support/old-pair.js'
import type { OldRole, Pair } from '../support/old-pair.js'
import { OldPlugin, forgetClosedSockets, freePort, oldErrorOf, oldMemoryStore } from '../support/old-plugin.js'
import type { Relayed } from '../support/wire-tap.js'

const withStore = () => ({ _store: oldMemoryStore(), maxBalance: '1000000', minBalance: '-1000000' })

const isAnswerTo = (type: string) => ({ request }: Relayed): boolean => request?.type === type

describe('credentials', () => {
  it('C13, C41, H30: an old listener refuses our token: NotAcceptedError, at once', async () => {
    const port = await freePort()
    const old = new OldPlugin({ listener: { port }, prefix: PREFIX, info: INFO, incomingSecret: SECRET })
    await old.connect()
    const ours = new PaychanPlugin({ server: uri(port, 'wrong') })
    await expect(ours.connect()).rejects.toThrow(errors.NotAcceptedError)
    expect(ours.isConnected()).toBe(false)
    await old.disconnect()
  })

  it('C13: we refuse the token of an old peer that dials, and a good one is taken after it', async () => {
    const ours = new PaychanPlugin({ listener: { port: 0 }, prefix: PREFIX, info: INFO, incomingSecret: SECRET })
    await ours.connect()
    const old = new OldPlugin({ server: uri(ours.port) })
    // By addSocket, since when its own client is refused that is a rejection which nobody handles (H30).
    const refused = new WebSocket(`ws://localhost:${ours.port}`)
    await once(refused, 'open')
    const closed = once(refused, 'close')
    expect(await oldErrorOf(old.addSocket(refused, { username: '', token: 'wrong' }))).toMatchObject({ code: 'F00', name: 'NotAcceptedError' })
    await closed
    expect(ours.isConnected()).toBe(false)
    forgetClosedSockets(old)
    await old.connect()
    expect(ours.isConnected()).toBe(true)
    await ours.disconnect()
    await old.disconnect()
  })

  it('C11: incomingSecret judges the token alone, whatever name an old peer gives', async () => {
    const ours = new PaychanPlugin({ listener: { port: 0 }, prefix: PREFIX, info: INFO, incomingSecret: SECRET })
    await ours.connect()
    const old = new OldPlugin({ server: uri(ours.port, SECRET, 'somebody') })
    await old.connect()
    expect(ours.isConnected()).toBe(true)
    await ours.disconnect()
    await old.disconnect()
  })

  it('C11: authCheck is given the name and the token of an old peer', async () => {
    const asked: string[][] = []
    const ours = new PaychanPlugin({
      listener: { port: 0 },
      prefix: PREFIX,
      info: INFO,
      authCheck: async (...credentials) => {
        asked.push(credentials)
        return true
      }
    })
    await ours.connect()
    const old = new OldPlugin({ server: uri(ours.port, SECRET, 'somebody') })
    await old.connect()
    expect(asked).toEqual([['somebody', SECRET]])
    await ours.disconnect()
    await old.disconnect()
  })
})

describe('answers that are lost', () => {
  let pair: Pair

  afterEach(() => pair.end())

  /** The first answer to a request of that type is lost, with its connection. */
  const loseFirstAnswerTo = (type: string): void => {
    let isLost = false
    pair.tap.decide = relayed => {
      if (isLost || !isAnswerTo(type)(relayed)) return true
      isLost = true
      pair.tap.cut()
      return false
    }
  }

  it.each([{ state: 'a store', options: withStore() }, { state: 'no store', options: {} }])(
    'H15, C31: the Response to our Fulfill is lost, and the balance of an old peer with $state decides: fulfilled', async ({ options }) => {
      pair = await connectPair('listens', { tapped: true, old: options })
      const { ours, old, tap } = pair
      const { transfer, fulfillment } = payment(old.getPeerAccount(), '5')
      await old.sendTransfer(transfer)
      loseFirstAnswerTo('fulfill')
      await ours.fulfillCondition(transfer.id, fulfillment)
      expect(tap.seen.filter(({ packet }) => packet.type === 'fulfill').length).toBeGreaterThan(1)
      expect(tap.seen.filter(isAnswerTo('fulfill')).map(({ packet }) => packet.type)).toEqual(['response', 'error'])
      expect(await ours.getBalance()).toBe('5')
      expect(await ours.getPeerBalance()).toBe('5')
      expect(ours.inFlight()).toEqual([])
    })

  it('H15: several are in doubt at once, one more comes meanwhile, and the balances agree', async () => {
    pair = await connectPair('listens', { tapped: true, old: withStore() })
    const { ours, old, tap } = pair
    const payments = ['1', '2', '4'].map(amount => payment(old.getPeerAccount(), amount))
    for (const { transfer } of payments) await old.sendTransfer(transfer)
    let lost = 0
    tap.decide = relayed => {
      if (lost >= payments.length || !isAnswerTo('fulfill')(relayed)) return true
      if (++lost === payments.length) tap.cut()
      return false
    }
    const connected = next(ours, 'connect')
    const fulfilled = Promise.all(payments.map(({ transfer, fulfillment }) => ours.fulfillCondition(transfer.id, fulfillment)))
    await connected
    forgetClosedSockets(old)
    const late = payment(old.getPeerAccount(), '8')
    await old.sendTransfer(late.transfer)
    await ours.fulfillCondition(late.transfer.id, late.fulfillment)
    await fulfilled
    expect(await balances(pair)).toEqual({ ours: '15', askedByOurs: '15', old: '-15', askedByOld: '-15' })
    expect(ours.inFlight()).toEqual([])
  })

  it('H2, H11: the Response to our Prepare is lost: it is not sent twice to an old peer, and its Fulfill is honoured', async () => {
    pair = await connectPair('listens', { tapped: true, old: withStore() })
    const { ours, old, tap } = pair
    const { transfer, fulfillment } = payment(ours.getPeerAccount(), '5')
    let told = 0
    old.on('incoming_prepare', () => { told++ })
    loseFirstAnswerTo('prepare')
    const connected = next(ours, 'connect')
    const sent = ours.sendTransfer(transfer)
    await connected
    forgetClosedSockets(old)
    await old.fulfillCondition(transfer.id, fulfillment)
    // The Fulfill says that the Prepare had arrived.
    await sent
    expect(told).toBe(1)
    expect(tap.seen.filter(({ packet }) => packet.type === 'prepare')).toHaveLength(1)
    expect(await balances(pair)).toEqual({ ours: '-5', askedByOurs: '-5', old: '5', askedByOld: '5' })
  })

  it('H11: the Response to our Prepare is lost and the old peer never fulfills: the hold ends with the transfer', async () => {
    pair = await connectPair('listens', { tapped: true })
    const { ours } = pair
    loseFirstAnswerTo('prepare')
    await expect(ours.sendTransfer(payment(ours.getPeerAccount(), '5', { expiresInMs: 500 }).transfer)).rejects.toThrow(errors.UnreachableError)
    expect(ours.inFlight()).toEqual([])
    expect(await ours.getBalance()).toBe('0')
  })
})

describe('transfers that end too late', () => {
  let pair: Pair

  afterEach(() => pair.end())

  /** Our Fulfill arrives when the time is over. */
  const holdFulfillUntil = (time: string): void => {
    pair.tap.decide = ({ packet }) => packet.type !== 'fulfill' || new Promise(resolve => { setTimeout(resolve, Date.parse(time) + 50 - Date.now()) })
  }

  it('C25, H14: an old sender without a store answers AlreadyRolledBackError under a number of its own: disputed, and nobody counts it', async () => {
    pair = await connectPair('listens', { tapped: true, ours: { expiryMarginMs: 0 } })
    const { ours, old, tap } = pair
    const { transfer, fulfillment } = payment(old.getPeerAccount(), '5', { expiresInMs: 400 })
    await old.sendTransfer(transfer)
    holdFulfillUntil(transfer.expiresAt)
    const disputed = next(ours, 'dispute')
    await expect(ours.fulfillCondition(transfer.id, fulfillment)).rejects.toThrow(errors.AlreadyRolledBackError)
    const answer = tap.seen.find(isAnswerTo('fulfill'))?.packet
    expect(answer).toMatchObject({ type: 'error', code: 'F05', name: 'AlreadyRolledBackError' })
    expect((await disputed)[0]).toMatchObject({ id: transfer.id, amount: '5', fulfillment })
    expect(await balances(pair)).toMatchObject({ ours: '0', askedByOurs: '0' })
    expect(ours.inFlight()).toEqual([])
  })

  it('H14: an old sender with a store has cancelled it, its balance says so: disputed, and nobody counts it', async () => {
    pair = await connectPair('listens', { tapped: true, old: withStore(), ours: { expiryMarginMs: 0 } })
    const { ours, old, tap } = pair
    const { transfer, fulfillment } = payment(old.getPeerAccount(), '5', { expiresInMs: 400 })
    await old.sendTransfer(transfer)
    holdFulfillUntil(transfer.expiresAt)
    const disputed = next(ours, 'dispute')
    await expect(ours.fulfillCondition(transfer.id, fulfillment)).rejects.toThrow(errors.AlreadyRolledBackError)
    expect(tap.seen.find(isAnswerTo('fulfill'))?.packet).toMatchObject({ type: 'error', code: 'F00', name: 'TypeError' })
    expect((await disputed)[0]).toMatchObject({ id: transfer.id, fulfillment })
    expect(await balances(pair)).toEqual({ ours: '0', askedByOurs: '0', old: '0', askedByOld: '-0' })
    expect(ours.inFlight()).toEqual([])
  })

  it('C29, C34: the old sender\'s clock is ahead and it sends R00 for its own transfer: refused, and the hold stays until it ends here', async () => {
    pair = await connectPair('listens', { tapped: true, old: withStore() })
    const { ours, old, tap } = pair
    const { transfer } = payment(old.getPeerAccount(), '5', { expiresInMs: 700 })
    await old.sendTransfer(transfer)
    await old._expireTransfer(transfer.id)
    expect(tap.seen.find(isAnswerTo('reject'))?.packet).toMatchObject({ type: 'error', code: 'F00', name: 'NotAcceptedError' })
    expect(ours.inFlight()).toHaveLength(1)
    const [cancelled] = await next(ours, 'incoming_cancel')
    expect(cancelled.id).toBe(transfer.id)
    expect(ours.inFlight()).toEqual([])
  })

  it('I4: the old receiver\'s Fulfill arrives within our grace: honoured', async () => {
    pair = await connectPair('listens', { tapped: true, old: {}, ours: { graceMs: 5000 } })
    const { ours, old } = pair
    const { transfer, fulfillment } = payment(ours.getPeerAccount(), '5', { expiresInMs: 400 })
    await ours.sendTransfer(transfer)
    holdFulfillUntil(transfer.expiresAt)
    await old.fulfillCondition(transfer.id, fulfillment)
    expect(await balances(pair)).toMatchObject({ ours: '-5', askedByOurs: '-5' })
  })

  it('C25: an id that the old peer knows and our new store does not: DuplicateIdError by its name, under a number of its own', async () => {
    pair = await connectPair('listens', { tapped: true, old: withStore() })
    const { transfer } = payment(pair.ours.getPeerAccount(), '5')
    await pair.ours.sendTransfer(transfer)
    await pair.ours.disconnect()
    pair.ours = new PaychanPlugin({ ...pair.options, store: new MemoryStore() })
    await pair.ours.connect()
    await expect(pair.ours.sendTransfer({ ...transfer, amount: '6' })).rejects.toThrow(errors.DuplicateIdError)
    expect(pair.tap.seen.filter(isAnswerTo('prepare')).at(-1)?.packet).toMatchObject({ type: 'error', code: 'F04', name: 'DuplicateIdError' })
    expect(pair.ours.inFlight()).toEqual([])
  })
})

describe.each<{ oldRole: OldRole; state: string; options: () => object }>([
  { oldRole: 'dials', state: 'a store', options: withStore },
  { oldRole: 'dials', state: 'no store', options: () => ({}) },
  { oldRole: 'listens', state: 'a store', options: withStore },
  { oldRole: 'listens', state: 'no store', options: () => ({}) }
])('we restart, and an old peer with $state that $oldRole stays', ({ oldRole, options }) => {
  let pair: Pair

  afterEach(() => pair.end())

  /** Another life of ours over the same store. */
  const restart = async (): Promise<void> => {
    await pair.ours.disconnect()
    pair.ours = new PaychanPlugin(pair.options)
    const connected = next(pair.ours, 'connect')
    await pair.ours.connect()
    // An old peer that dials does so at its next request.
    forgetClosedSockets(pair.old)
    if (oldRole === 'dials') await pair.old.getPeerBalance()
    await connected
  }

  it('H5: balances, holds and their ends survive on our side', async () => {
    pair = await connectPair(oldRole, { old: options(), ours: { store: new MemoryStore() } satisfies PluginOptions })
    const { old } = pair
    const [done, incoming, outgoing] = [
      payment(old.getPeerAccount(), '100'), payment(old.getPeerAccount(), '10'), payment(pair.ours.getPeerAccount(), '1')
    ]
    await old.sendTransfer(done.transfer)
    await pair.ours.fulfillCondition(done.transfer.id, done.fulfillment)
    await old.sendTransfer(incoming.transfer)
    await pair.ours.sendTransfer(outgoing.transfer)
    await restart()
    expect(await pair.ours.getBalance()).toBe('100')
    expect(Object.fromEntries(pair.ours.inFlight().map(({ transfer, isIncoming }) => [transfer.id, isIncoming])))
      .toEqual({ [incoming.transfer.id]: true, [outgoing.transfer.id]: false })
    await pair.ours.fulfillCondition(incoming.transfer.id, incoming.fulfillment)
    await old.fulfillCondition(outgoing.transfer.id, outgoing.fulfillment)
    expect(await balances(pair)).toEqual({ ours: '109', askedByOurs: '109', old: '-109', askedByOld: '-109' })
    expect(pair.ours.inFlight()).toEqual([])
  })

  it('H5, C33: what was held before can be rejected after, and a new transfer goes through', async () => {
    pair = await connectPair(oldRole, { old: options() })
    const { old } = pair
    const { transfer } = payment(old.getPeerAccount(), '10')
    await old.sendTransfer(transfer)
    await restart()
    const told = next(old, 'outgoing_reject')
    await pair.ours.rejectIncomingTransfer(transfer.id)
    await told
    const fresh = payment(old.getPeerAccount(), '3')
    await old.sendTransfer(fresh.transfer)
    await pair.ours.fulfillCondition(fresh.transfer.id, fresh.fulfillment)
    expect(await balances(pair)).toEqual({ ours: '3', askedByOurs: '3', old: '-3', askedByOld: '-3' })
  })
})
