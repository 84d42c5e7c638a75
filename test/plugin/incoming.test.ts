/** Incoming transfers: what the peer's Prepare, our host's fulfill and reject, the module and the time make of them. */
import { describe, expect, it } from 'vitest'
import {
  AlreadyFulfilledError, AlreadyRolledBackError, InvalidFieldsError, NotAcceptedError, TransferNotFoundError, UnreachableError
} from '../../src/core/errors.js'
import { decodeIlpError } from '../../src/btp/ilp-error.js'
import type { Packet } from '../../src/btp/packets.js'
import { find, json, octets } from '../../src/btp/protocol-data.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { IncomingTransfer } from '../../src/plugin/lpi.js'
import { Lab, PREFIX, WRONG_PREIMAGE, answers, asks, settle, watch } from '../support/lab.js'
import type { LabOptions, Payment, Side } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'

const UNKNOWN = '00000000-0000-4000-8000-00000000ffff'

/** Alice, to whom a peer sends whose words are the test's. */
async function openScripted({ announces = false, ...options }: LabOptions & { announces?: boolean } = {}) {
  const lab = new Lab(options)
  const peer = new ScriptedPeer(lab, { announces })
  await peer.listen()
  await lab.alice.start()
  const payment = (more: Parameters<Lab['payment']>[0] = {}): Payment => lab.payment({ to: 'alice', ...more })
  return { lab, peer, alice: lab.alice, payment }
}

/** A module whose judgement of a transfer the test gives: `undefined` accepts it, an error refuses it. */
function judge() {
  const asked: IncomingTransfer[] = []
  const waiting: Array<(error?: Error) => void> = []
  const module: AnyModule = {
    connect: () => undefined,
    disconnect: () => undefined,
    getAccount: () => `${PREFIX}server`,
    getPeerAccount: () => `${PREFIX}client`,
    getInfo: () => ({ prefix: PREFIX }),
    handleIncomingPrepare: (_ctx, transfer) => {
      asked.push(transfer)
      return new Promise<void>((resolve, reject) => {
        waiting.push(error => {
          if (error === undefined) resolve()
          else reject(error)
        })
      })
    },
    createOutgoingClaim: () => undefined,
    handleIncomingClaim: () => undefined
  }
  return {
    module,
    asked,
    /** Answers the oldest question that is open. */
    judge: async (error?: Error) => {
      waiting.shift()?.(error)
      await settle()
    }
  }
}

const errorName = (packet: Packet): string => packet.type === 'error' ? packet.name : packet.type
const nameOf = async (side: Side, call: (plugin: Side['plugin']) => Promise<unknown>): Promise<string> =>
  call(side.plugin).then(() => 'resolved', (error: unknown) => (error as Error).name)

describe("the peer's Prepare", () => {
  it('C26, I7: is answered and reported when it is durable, not before', async () => {
    const { peer, alice, payment } = await openScripted()
    const release = alice.store.holdCommits()
    const answer = watch(peer.prepare(payment()))
    await settle()
    expect([answer.state, alice.story]).toEqual(['pending', []])
    release()
    await settle()
    expect(answer.value?.type).toBe('response')
    expect(alice.story).toEqual(['incoming_prepare'])
  })

  it('H17: is refused, and nothing kept, when it has expired already', async () => {
    const { peer, alice, payment } = await openScripted()
    for (const expiresInMs of [0, -1, -100_000]) {
      expect(errorName(await peer.prepare(payment({ expiresInMs })))).toBe('NotAcceptedError')
    }
    expect(errorName(await peer.prepare(payment({ expiresInMs: 1 })))).toBe('response')
    expect(Object.keys((await alice.durable()).states)).toHaveLength(1)
  })

  it('C20: is told from others by its transfer id: under one request id two are two, under two the same is one', async () => {
    const { peer, alice, payment } = await openScripted()
    const [one, two] = [payment(), payment()]
    const given = [await peer.prepare(one, 7), await peer.prepare(two, 7), await peer.prepare(one, 8)]
    expect(given.map(({ type, requestId }) => [type, requestId])).toEqual([['response', 7], ['response', 7], ['response', 8]])
    expect(alice.plugin.inFlight().map(({ transfer }) => transfer.id).sort()).toEqual([one.id, two.id].sort())
    expect(alice.story).toEqual(['incoming_prepare', 'incoming_prepare'])
  })

  it('C27, H2: an exact repeat while it is prepared is answered, and reported no second time', async () => {
    const { peer, alice, payment } = await openScripted()
    const one = payment()
    const given = await Promise.all([peer.prepare(one), peer.prepare(one)])
    given.push(await peer.prepare(one))
    await alice.restart()
    given.push(await peer.prepare(one))
    expect(given.map(errorName)).toEqual(Array(4).fill('response'))
    expect(alice.story).toEqual(['incoming_prepare'])
    expect(alice.plugin.inFlight()).toHaveLength(1)
  })

  it('C27, H4: the same id with other content is DuplicateIdError, prepared or final', async () => {
    const { lab, peer, alice, payment } = await openScripted()
    const one = payment()
    await peer.prepare(one)
    const others = [
      { ...one, transfer: { ...one.transfer, amount: '11' } },
      { ...one, transfer: { ...one.transfer, executionCondition: payment().transfer.executionCondition } },
      { ...one, transfer: { ...one.transfer, expiresAt: new Date(lab.clock.now() + 9000).toISOString() } }
    ]
    for (const other of others) expect(errorName(await peer.prepare(other))).toBe('DuplicateIdError')
    await alice.plugin.fulfillCondition(one.id, one.fulfillment)
    for (const other of others) expect(errorName(await peer.prepare(other))).toBe('DuplicateIdError')
    expect(alice.story).toEqual(['incoming_prepare', 'incoming_fulfill'])
  })

  it('C27: differs by its protocol data too', async () => {
    const { lab, peer, payment } = await openScripted()
    const { id: transferId, transfer: { amount, executionCondition, expiresAt } } = payment()
    const prepare = async (...protocolData: Array<ReturnType<typeof octets>>) => errorName(await peer.ask({
      type: 'prepare', transferId, amount, executionCondition, expiresAt: new Date(expiresAt), protocolData
    }))
    expect(await prepare(octets('ilp', Uint8Array.of(1)), json('custom', { a: 1, b: 2 }))).toBe('response')
    expect(await prepare(octets('ilp', Uint8Array.of(1)), json('custom', { b: 2, a: 1 }))).toBe('response')
    expect(await prepare(octets('ilp', Uint8Array.of(2)), json('custom', { a: 1, b: 2 }))).toBe('DuplicateIdError')
    expect(await prepare(octets('ilp', Uint8Array.of(1)))).toBe('DuplicateIdError')
    expect(lab.alice.story).toEqual(['incoming_prepare'])
  })

  it('C27: an exact repeat of a final one is the error that names its final state', async () => {
    const { lab, peer, alice, payment } = await openScripted()
    const [fulfilled, rejected, expired] = [payment(), payment(), payment({ expiresInMs: 1000 })]
    for (const one of [fulfilled, rejected, expired]) await peer.prepare(one)
    await alice.plugin.fulfillCondition(fulfilled.id, fulfilled.fulfillment)
    await alice.plugin.rejectIncomingTransfer(rejected.id)
    await lab.clock.advance(1000)
    const given = [await peer.prepare(fulfilled), await peer.prepare(rejected), await peer.prepare(expired)]
    expect(given.map(errorName)).toEqual(['AlreadyFulfilledError', 'AlreadyRolledBackError', 'AlreadyRolledBackError'])
  })

  it('C27: an exact repeat while its Fulfill is under way is acknowledged', async () => {
    const { peer, alice, payment } = await openScripted({ announces: true })
    peer.script = packet => packet.type === 'fulfill' ? 'silence' : undefined
    const one = payment()
    await peer.prepare(one)
    watch(alice.plugin.fulfillCondition(one.id, one.fulfillment))
    await settle()
    expect(errorName(await peer.prepare(one))).toBe('response')
    expect((await alice.durable()).open).toEqual({ [one.id]: 'fulfilling' })
  })

  it('C28, H1: beyond the limit is NotAcceptedError; nothing is kept, and the same again is refused again', async () => {
    const { peer, alice, payment } = await openScripted({ alice: { options: { maxBalance: '25' } } })
    const [fits, exceeds] = [payment({ amount: '20' }), payment({ amount: '6' })]
    await peer.prepare(fits)
    expect([await peer.prepare(exceeds), await peer.prepare(exceeds)].map(errorName)).toEqual(['NotAcceptedError', 'NotAcceptedError'])
    expect(await nameOf(alice, plugin => plugin.fulfillCondition(exceeds.id, exceeds.fulfillment))).toBe('TransferNotFoundError')
    expect(errorName(await peer.prepare(payment({ amount: '5' })))).toBe('response')
    await alice.plugin.rejectIncomingTransfer(fits.id)
    expect(errorName(await peer.prepare(exceeds))).toBe('response')
  })

  it('I9, H38: ten thousand can be in flight, however small their amounts and distant their ends; one more is NotAcceptedError', async () => {
    const { peer, alice, lab, payment } = await openScripted({ announces: true })
    const far = { amount: '0', expiresInMs: 2 ** 40 }
    const answers = await Promise.all(Array.from({ length: 10_000 }, () => peer.prepare(payment(far))))
    expect(answers.filter(({ type }) => type !== 'response')).toEqual([])
    const first = alice.plugin.inFlight()[0]?.transfer.id ?? ''
    const more = payment(far)
    expect(await peer.prepare(more)).toMatchObject({ type: 'error', name: 'NotAcceptedError', code: 'F00' })
    expect(alice.plugin.inFlight()).toHaveLength(10_000)
    await alice.plugin.rejectIncomingTransfer(first)
    await lab.clock.advance(0)
    expect((await peer.prepare(more)).type).toBe('response')
  })

  it('I9: what our host has rejected counts among what is in flight until the peer has answered the Reject', { timeout: 60_000 }, async () => {
    const { peer, alice, payment } = await openScripted({ announces: true })
    peer.script = packet => packet.type === 'reject' ? 'silence' : undefined
    const far = { amount: '0', expiresInMs: 30 * 365 * 86_400_000 }
    let rejected = 0
    alice.plugin.on('incoming_prepare', ({ id }) => {
      rejected++
      alice.plugin.rejectIncomingTransfer(id, { code: 'F00', message: 'no' }).catch(() => undefined)
    })
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 1000 }, () => peer.prepare(payment(far))))
      await settle()
    }
    expect([rejected, alice.plugin.inFlight()]).toEqual([10_000, []])
    expect(await peer.prepare(payment(far))).toMatchObject({ type: 'error', name: 'NotAcceptedError' })
  })

  it('I5: of many at once those are taken that fit, whatever comes of the others, and never more is held', async () => {
    const lab = await Lab.open({ bob: { options: { maxBalance: '100' } }, alice: { options: { minBalance: '-130' } } })
    let most = { incoming: 0, outgoing: 0 }
    lab.bob.plugin.on('incoming_prepare', ({ id }) => {
      most = { incoming: Math.max(most.incoming, lab.held(lab.bob).incoming), outgoing: Math.max(most.outgoing, lab.held(lab.alice).outgoing) }
      const payment = payments.find(one => one.id === id)
      if (Number(id.slice(-2)) % 3 === 0 && payment !== undefined) void lab.bob.plugin.fulfillCondition(id, payment.fulfillment)
    })
    const payments = Array.from({ length: 30 }, () => lab.payment())
    const sent = payments.map(({ transfer }) => watch(lab.alice.plugin.sendTransfer(transfer)))
    await settle()
    const errors = sent.flatMap(({ error }) => error === undefined ? [] : [error.name])
    expect(errors.filter(name => name === 'InsufficientBalanceError')).toHaveLength(17)
    expect(errors.filter(name => name === 'NotAcceptedError')).toHaveLength(3)
    expect(most.incoming).toBeLessThanOrEqual(100)
    expect(most.outgoing).toBeLessThanOrEqual(130)
    const [ofAlice, ofBob] = await lab.balances()
    expect(ofAlice).toBe(-ofBob)
    expect(ofBob + lab.held(lab.bob).incoming).toBe(100)
  })

  it('H7, I7: one that could not be stored is answered T00, nothing is counted or reported, and the next is taken', async () => {
    const { peer, alice, payment } = await openScripted()
    alice.store.failNextCommit()
    const one = payment()
    const answer = await peer.prepare(one)
    expect(answer).toMatchObject({ type: 'error', code: 'T00', name: 'StoreError' })
    expect([alice.story, alice.plugin.inFlight(), (await alice.durable()).states]).toEqual([[], [], {}])
    expect(errorName(await peer.prepare(one))).toBe('response')
    expect(alice.story).toEqual(['incoming_prepare'])
  })

  it('one of unknown outcome is answered when it was read back: by what came of it', async () => {
    for (const [lands, answered] of [['now', 'response'], ['never', 'StoreError']] as const) {
      const { lab, peer, alice, payment } = await openScripted()
      alice.store.loseNextCommit(lands)
      const answer = watch(peer.prepare(payment()))
      await lab.clock.advance(2000)
      expect(answer.value && errorName(answer.value)).toBe(answered)
      expect(lab.held(alice).incoming).toBe(answered === 'response' ? 10 : 0)
    }
  })

  it('one whose outcome is known to another owner of the store alone is answered by nothing', async () => {
    const { lab, peer, alice, payment } = await openScripted()
    const release = alice.store.holdCommits()
    alice.store.loseNextCommit('never')
    const answer = watch(peer.prepare(payment()))
    await settle()
    await alice.disk.commit({ puts: [['paychan:head', JSON.stringify({ v: 1, owner: 'another', epoch: 99, attempt: 1 })]] })
    release()
    await lab.clock.advance(1000)
    expect(alice.plugin.isConnected()).toBe(false)
    expect([answer.state, alice.story]).toEqual(['pending', []])
  })

  it('C52: a listener that changes what it is given changes nothing of ours', async () => {
    const { peer, alice, payment } = await openScripted()
    alice.plugin.on('incoming_prepare', transfer => { Object.assign(transfer, { id: 'x', amount: '999', executionCondition: 'y' }) })
    const one = payment()
    await peer.prepare(one)
    await alice.plugin.fulfillCondition(one.id, one.fulfillment)
    expect((await alice.durable()).balance).toBe(10)
    expect(alice.seen('incoming_fulfill')[0]?.[1]).toMatchObject({ id: one.id, amount: '10' })
  })
})

describe('fulfillCondition', () => {
  it('C48: names what is wrong, and changes nothing', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    const own = await lab.prepared({ to: 'alice' })
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition('x', fulfillment))).toBe('InvalidFieldsError')
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(id, 'x'))).toBe('InvalidFieldsError')
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(id, fulfillment, '!'))).toBe('InvalidFieldsError')
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(UNKNOWN, fulfillment))).toBe('TransferNotFoundError')
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(id, WRONG_PREIMAGE))).toBe('NotAcceptedError')
    // C29: bob sent this one.
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(own.id, own.fulfillment))).toBe('NotAcceptedError')
    expect(lab.network.count(asks('fulfill'))).toBe(0)
    await lab.bob.plugin.rejectIncomingTransfer(id)
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(id, fulfillment))).toBe('AlreadyRolledBackError')
    expect(await lab.balances()).toEqual([0, 0])
  })

  it('C48: again with the same fulfillment it succeeds, while under way and when fulfilled, and changes nothing', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    const pass = lab.network.hold(answers('fulfill'))
    const calls = [watch(lab.bob.plugin.fulfillCondition(id, fulfillment)), watch(lab.bob.plugin.fulfillCondition(id, fulfillment))]
    await settle()
    calls.push(watch(lab.bob.plugin.fulfillCondition(id.toUpperCase(), fulfillment)))
    await settle()
    expect(calls.map(({ state }) => state)).toEqual(['pending', 'pending', 'pending'])
    pass()
    await settle()
    calls.push(watch(lab.bob.plugin.fulfillCondition(id, fulfillment)))
    await settle()
    expect(calls.map(({ state }) => state)).toEqual(Array(4).fill('resolved'))
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(id, WRONG_PREIMAGE))).toBe('NotAcceptedError')
    expect(lab.network.count(asks('fulfill'))).toBe(1)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_fulfill'])
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('H14: books only when the sender has taken it', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    lab.network.drop(asks('fulfill'), 1)
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await settle()
    expect(await lab.bob.durable()).toMatchObject({ balance: 0, open: { [id]: 'fulfilling' }, states: { [id]: 'prepared' } })
    expect(lab.held(lab.bob).incoming).toBe(10)
    expect(lab.bob.story).toEqual(['incoming_prepare'])
    await lab.clock.advance(6000)
    expect(fulfilled.state).toBe('resolved')
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('H15: the lost Response of a Fulfill is no error: it is sent again, booked once on both sides', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    lab.network.drop(answers('fulfill'), 1)
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await settle()
    lab.network.cut()
    await lab.reconnect()
    expect(fulfilled.state).toBe('resolved')
    expect(lab.network.count(asks('fulfill'))).toBe(2)
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_fulfill'])
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_fulfill'])
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('with no session the preimage is stored, the call stays pending, and the Fulfill goes out on the next session', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    lab.network.isUp = false
    lab.network.cut()
    await settle()
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await settle()
    expect((await lab.bob.durable()).open).toEqual({ [id]: 'fulfilling' })
    expect(fulfilled.state).toBe('pending')
    lab.network.isUp = true
    await lab.reconnect()
    expect(fulfilled.state).toBe('resolved')
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('I7: the Fulfill leaves when the preimage is durable; a store that fails rejects the call, and changes nothing', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    const release = lab.bob.store.holdCommits()
    lab.bob.store.failNextCommit()
    const first = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await settle()
    expect(lab.network.count(asks('fulfill'))).toBe(0)
    release()
    await settle()
    expect(first.error?.name).toBe('StoreError')
    expect(lab.network.count(asks('fulfill'))).toBe(0)
    expect((await lab.bob.durable()).open).toEqual({ [id]: 'held' })
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('H7: booking is tried again while the store fails; the call resolves and the event is raised when it is stored', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    const pass = lab.network.hold(answers('fulfill'))
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await settle()
    lab.bob.store.failNextCommit()
    lab.bob.store.failNextCommit()
    pass()
    await lab.clock.advance(1500)
    expect([fulfilled.state, lab.bob.story]).toEqual(['pending', ['incoming_prepare']])
    await lab.clock.advance(1000)
    expect([fulfilled.state, lab.bob.story]).toEqual(['resolved', ['incoming_prepare', 'incoming_fulfill']])
    expect(lab.network.count(asks('fulfill'))).toBe(1)
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('the margin: a fulfill is begun only before expiresAt minus the margin', async () => {
    for (const [atMs, options, answer] of [
      [1499, {}, 'resolved'], [1500, {}, 'AlreadyRolledBackError'], [1999, {}, 'AlreadyRolledBackError'], [2000, {}, 'AlreadyRolledBackError'],
      [1999, { expiryMarginMs: 0 }, 'resolved'], [2000, { expiryMarginMs: 0 }, 'AlreadyRolledBackError'],
      [999, { expiryMarginMs: 1000 }, 'resolved'], [1000, { expiryMarginMs: 1000 }, 'AlreadyRolledBackError']
    ] as const) {
      const lab = await Lab.open({ bob: { options } })
      const { id, fulfillment } = await lab.prepared({ expiresInMs: 2000 })
      await lab.clock.advance(atMs)
      expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(id, fulfillment))).toBe(answer)
      expect(await lab.balances()).toEqual(answer === 'resolved' ? [-10, 10] : [0, 0])
    }
  })

  it('within the margin it can still be rejected, and at expiresAt it expires', async () => {
    const lab = await Lab.open()
    const rejected = await lab.prepared({ expiresInMs: 2000 })
    const expiring = await lab.prepared({ expiresInMs: 2000 })
    await lab.clock.advance(1600)
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(expiring.id, expiring.fulfillment))).toBe('AlreadyRolledBackError')
    await lab.bob.plugin.rejectIncomingTransfer(rejected.id)
    await lab.clock.advance(400)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_prepare', 'incoming_reject', 'incoming_cancel'])
  })

  it('I4: begun in time, it is honoured after expiresAt, up to the end of the grace', async () => {
    for (const [delayMs, isHonoured] of [[990, true], [1010, false]] as const) {
      const lab = await Lab.open()
      const { id, fulfillment } = await lab.prepared({ expiresInMs: 2000 })
      await lab.clock.advance(1499)
      const pass = lab.network.hold(asks('fulfill'))
      const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
      await lab.clock.advance(delayMs)
      expect(lab.bob.story).toEqual(['incoming_prepare'])
      pass()
      await settle()
      expect(fulfilled.state).toBe(isHonoured ? 'resolved' : 'rejected')
      expect(await lab.balances()).toEqual(isHonoured ? [-10, 10] : [0, 0])
    }
  })

  it('H14: the sender had cancelled: dispute once, not counted, evidence kept, and the call tells', async () => {
    const lab = await Lab.open()
    const { id, fulfillment, transfer } = await lab.prepared({ expiresInMs: 2000 })
    await lab.clock.advance(1000)
    lab.network.isUp = false
    lab.network.cut()
    await settle()
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(5000)
    lab.network.isUp = true
    await lab.clock.advance(2000)
    expect(fulfilled.error).toBeInstanceOf(AlreadyRolledBackError)
    expect(fulfilled.error?.outcome).toBeUndefined()
    expect(lab.bob.story).toEqual(['incoming_prepare', 'dispute'])
    expect(lab.bob.seen('dispute')[0]?.[1]).toMatchObject({
      id, amount: '10', fulfillment, executionCondition: transfer.executionCondition, expiresAt: transfer.expiresAt
    })
    expect(lab.held(lab.bob).incoming).toBe(0)
    await lab.bob.plugin.disconnect()
    expect(await lab.bob.durable()).toEqual({ balance: 0, states: { [id]: 'cancelled' }, open: {} })
    // Of both sides: the transfer and its preimage, and what the sender said.
    const { reason } = lab.bob.seen('dispute')[0]?.[1] as { reason: string }
    const evidence: unknown = JSON.parse(await lab.bob.disk.get(`:paychan:disputed:${id}`) ?? '')
    expect(evidence).toMatchObject({ transfer: { id, executionCondition: transfer.executionCondition }, fulfillment, reason: expect.stringContaining(id) as string })
    expect(evidence).toMatchObject({ reason })
    await lab.bob.restart()
    await lab.clock.advance(60_000)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'dispute'])
    expect(await nameOf(lab.bob, plugin => plugin.fulfillCondition(id, fulfillment))).toBe('AlreadyRolledBackError')
    expect(await nameOf(lab.bob, plugin => plugin.getFulfillment(id))).toBe('AlreadyRolledBackError')
    expect(JSON.parse(await lab.bob.disk.get(`:paychan:disputed:${id}`) ?? '')).toMatchObject({ fulfillment })
  })

  it('C24: temporary Errors are retried, later each time', async () => {
    const { lab, peer, alice, payment } = await openScripted({ announces: true })
    const began = lab.clock.now()
    const times: number[] = []
    peer.script = packet => {
      if (packet.type !== 'fulfill') return undefined
      times.push((lab.clock.now() - began) / 1000)
      return times.length < 9 ? { code: 'T00', name: times.length % 2 === 0 ? 'UnreachableError' : 'SomethingElse' } : []
    }
    const { id, fulfillment, ...rest } = payment()
    await peer.prepare({ id, ...rest })
    const fulfilled = watch(alice.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(200_000)
    expect(times).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183])
    expect(fulfilled.state).toBe('resolved')
    expect((await alice.durable()).balance).toBe(10)
  })

  it('AlreadyFulfilledError to a Fulfill means that it is booked there', async () => {
    const { peer, alice, payment } = await openScripted()
    peer.script = packet => packet.type === 'fulfill' ? { code: 'F07', name: 'AlreadyFulfilledError' } : undefined
    const one = payment()
    await peer.prepare(one)
    await alice.plugin.fulfillCondition(one.id, one.fulfillment)
    expect((await alice.durable()).balance).toBe(10)
  })

  it('C39, H20: hands the claim to the module with each fulfill, waits until it has taken it, but not for a claim that never ends', async () => {
    const claims: unknown[] = []
    let taken: () => void = () => undefined
    const module: AnyModule = {
      ...judge().module,
      getAccount: () => `${PREFIX}client`,
      getPeerAccount: () => `${PREFIX}server`,
      handleIncomingPrepare: () => undefined,
      handleIncomingClaim: (_ctx, claim) => {
        claims.push(claim)
        return new Promise<void>(resolve => { taken = resolve })
      }
    }
    const { lab, peer, alice, payment } = await openScripted({ alice: { module } })
    peer.script = packet => packet.type === 'fulfill' ? [json('claim', { sum: '10' })] : undefined
    const [one, two] = [payment(), payment()]
    await peer.prepare(one)
    await peer.prepare(two)
    const first = watch(alice.plugin.fulfillCondition(one.id, one.fulfillment))
    await settle()
    expect([first.state, claims]).toEqual(['pending', [{ sum: '10' }]])
    taken()
    await settle()
    expect(first.state).toBe('resolved')
    const second = watch(alice.plugin.fulfillCondition(two.id, two.fulfillment))
    await lab.clock.advance(499)
    expect(second.state).toBe('pending')
    await lab.clock.advance(1)
    expect(second.state).toBe('resolved')
    expect(alice.story.filter(name => name === 'incoming_fulfill')).toHaveLength(2)
  })
})

describe('rejectIncomingTransfer', () => {
  it('C49: names what is wrong, and changes nothing', async () => {
    const lab = await Lab.open()
    const fulfilled = await lab.prepared()
    const own = await lab.prepared({ to: 'alice' })
    await lab.bob.plugin.fulfillCondition(fulfilled.id, fulfilled.fulfillment)
    expect(await nameOf(lab.bob, plugin => plugin.rejectIncomingTransfer('x'))).toBe('InvalidFieldsError')
    expect(await nameOf(lab.bob, plugin => plugin.rejectIncomingTransfer(UNKNOWN))).toBe('TransferNotFoundError')
    expect(await nameOf(lab.bob, plugin => plugin.rejectIncomingTransfer(fulfilled.id))).toBe('AlreadyFulfilledError')
    expect(await nameOf(lab.bob, plugin => plugin.rejectIncomingTransfer(own.id))).toBe('NotAcceptedError')
    const { id } = await lab.prepared()
    expect(await nameOf(lab.bob, plugin => plugin.rejectIncomingTransfer(id, { code: 'too long' }))).toBe('InvalidFieldsError')
    expect(lab.held(lab.bob).incoming).toBe(10)
    expect(lab.network.count(asks('reject'))).toBe(0)
  })

  it('H13: any reason tells the peer: none, an empty one, additional_info missing, triggered_at as text or Date', async () => {
    const lab = await Lab.open()
    for (const reason of [undefined, {}, { message: 'no' }, { triggered_at: '2017-12-24T16:14:32.279Z' }, { triggered_at: new Date(0) }]) {
      const { id } = await lab.prepared()
      await lab.bob.plugin.rejectIncomingTransfer(id, reason)
      expect(lab.alice.seen('outgoing_reject').at(-1)?.[1].id).toBe(id)
      expect(lab.bob.seen('incoming_reject').at(-1)?.[1].id).toBe(id)
    }
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual([0, 0])
  })

  it('C34: the reason arrives: additional_info as JSON, forwarded_by the own account by default', async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared()
    await lab.bob.plugin.rejectIncomingTransfer(id, { code: 'F05', name: 'Wrong Condition', triggered_by: 'test.far', additional_info: { hop: 3 } })
    expect(lab.alice.seen('outgoing_reject')[0]?.[2]).toMatchObject({
      code: 'F05', name: 'Wrong Condition', triggered_by: 'test.far', forwarded_by: `${PREFIX}server`, additional_info: { hop: 3 }
    })
  })

  it('again: succeeds, is sent once, raises one event; and after the expiry it has nothing to do', async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared()
    await Promise.all([lab.bob.plugin.rejectIncomingTransfer(id), lab.bob.plugin.rejectIncomingTransfer(id)])
    await lab.bob.plugin.rejectIncomingTransfer(id)
    expect(lab.network.count(asks('reject'))).toBe(1)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_reject'])
    const expired = await lab.prepared({ expiresInMs: 1000 })
    await lab.clock.advance(1000)
    await lab.bob.plugin.rejectIncomingTransfer(expired.id)
    expect(lab.bob.story.slice(2)).toEqual(['incoming_prepare', 'incoming_cancel'])
  })

  it('while fulfilling it is AlreadyFulfilledError; and while rejecting a fulfill is AlreadyRolledBackError', async () => {
    const lab = await Lab.open()
    const [one, two] = [await lab.prepared(), await lab.prepared()]
    lab.network.hold(asks('fulfill'))
    lab.network.hold(asks('reject'))
    watch(lab.bob.plugin.fulfillCondition(one.id, one.fulfillment))
    watch(lab.bob.plugin.rejectIncomingTransfer(two.id))
    await settle()
    await expect(lab.bob.plugin.rejectIncomingTransfer(one.id)).rejects.toThrow(AlreadyFulfilledError)
    await expect(lab.bob.plugin.fulfillCondition(two.id, two.fulfillment)).rejects.toThrow(AlreadyRolledBackError)
  })

  it('I3: fulfill and reject in one turn: the first wins', async () => {
    for (const [order, story] of [[['fulfill', 'reject'], 'incoming_fulfill'], [['reject', 'fulfill'], 'incoming_reject']] as const) {
      const lab = await Lab.open()
      const { id, fulfillment } = await lab.prepared()
      const calls = order.map(what => nameOf(lab.bob, plugin => what === 'fulfill' ? plugin.fulfillCondition(id, fulfillment) : plugin.rejectIncomingTransfer(id)))
      expect(await Promise.all(calls)).toEqual(['resolved', order[0] === 'fulfill' ? 'AlreadyFulfilledError' : 'AlreadyRolledBackError'])
      expect(lab.bob.story).toEqual(['incoming_prepare', story])
      expect(lab.alice.story).toEqual(['outgoing_prepare', story.replace('incoming', 'outgoing')])
    }
  })

  it('stays pending over reconnects, is sent again until it is answered', async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared({ expiresInMs: 30_000 })
    lab.network.drop(asks('reject'), 2)
    const rejected = watch(lab.bob.plugin.rejectIncomingTransfer(id))
    await settle()
    lab.network.cut()
    await lab.reconnect()
    expect(rejected.state).toBe('pending')
    expect(lab.network.count(asks('reject'))).toBe(2)
    await lab.clock.advance(6000)
    expect(rejected.state).toBe('resolved')
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_reject'])
    expect((await lab.bob.durable()).states).toEqual({ [id]: 'cancelled' })
  })

  it("ends when the sender's own time is over, also with no session", async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared({ expiresInMs: 10_000 })
    lab.network.isUp = false
    lab.network.cut()
    await settle()
    const rejected = watch(lab.bob.plugin.rejectIncomingTransfer(id))
    await lab.clock.advance(10_499)
    expect(rejected.state).toBe('pending')
    await lab.clock.advance(1)
    expect(rejected.state).toBe('resolved')
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
    lab.network.isUp = true
    await lab.reconnect()
    expect(lab.network.count(asks('reject'))).toBe(0)
  })
})

describe('the end of time', () => {
  it('C34: at expiresAt it is cancelled and reported, and the Reject tells R00; its answer is not waited for', async () => {
    const { lab, peer, alice, payment } = await openScripted()
    peer.script = packet => packet.type === 'reject' ? 'silence' : undefined
    const one = payment({ expiresInMs: 2000 })
    await peer.prepare(one)
    await lab.clock.advance(1999)
    expect(alice.story).toEqual(['incoming_prepare'])
    await lab.clock.advance(1)
    expect(alice.story).toEqual(['incoming_prepare', 'incoming_cancel'])
    expect(alice.seen('incoming_cancel')[0]?.[2]).toMatchObject({ code: 'R00', name: 'Transfer Timed Out', triggered_by: `${PREFIX}client` })
    const [reject] = peer.requests('reject')
    expect(decodeIlpError(find(reject?.protocolData ?? [], 'ilp')?.data ?? new Uint8Array())).toEqual({
      code: 'R00', name: 'Transfer Timed Out', triggeredBy: `${PREFIX}client`, forwardedBy: [], triggeredAt: new Date(lab.clock.now()), data: 'expired'
    })
    await lab.clock.advance(60_000)
    expect(peer.requests('reject')).toHaveLength(1)
    expect(await nameOf(alice, plugin => plugin.fulfillCondition(one.id, one.fulfillment))).toBe('AlreadyRolledBackError')
  })

  it('C34: each side goes by its own clock', async () => {
    const lab = await Lab.open({ bob: { skewMs: 3000 } })
    const payment = lab.payment({ expiresInMs: 3000 })
    await expect(lab.alice.plugin.sendTransfer(payment.transfer)).rejects.toThrow(NotAcceptedError)
    await lab.prepared({ expiresInMs: 5000 })
    await lab.clock.advance(2000)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_cancel'])
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
  })

  it('C34: is told to the peer and the host also where the module calls its account what is no address', async () => {
    const { module, judge: answer } = judge()
    const { lab, peer, alice, payment } = await openScripted({ alice: { module: { ...withAccounts(module), getAccount: () => `${PREFIX}h\u00e9` } } })
    const one = payment({ expiresInMs: 2000 })
    watch(peer.prepare(one))
    await settle()
    await answer()
    await lab.clock.advance(2000)
    expect(alice.story).toEqual(['incoming_prepare', 'incoming_cancel'])
    const [rejected] = peer.requests('reject')
    expect(decodeIlpError(find(rejected?.protocolData ?? [], 'ilp')?.data ?? new Uint8Array())).toMatchObject({ code: 'R00', triggeredBy: 'unknown' })
  })

  it('a cancel that could not be stored is tried again, and reported then', async () => {
    const lab = await Lab.open()
    await lab.prepared({ expiresInMs: 2000 })
    lab.bob.store.failNextCommit()
    await lab.clock.advance(2000)
    expect(lab.bob.story).toEqual(['incoming_prepare'])
    expect(lab.network.count(asks('reject'))).toBe(0)
    await lab.clock.advance(1000)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_cancel'])
  })
})

describe('checking: the module judges', () => {
  it('is stored and counted before the module is asked; the peer is answered and the host told when it agreed', async () => {
    const { module, asked, judge: answer } = judge()
    const lab = await Lab.open({ bob: { module, options: { maxBalance: '15' } } })
    const one = lab.payment()
    const sent = watch(lab.alice.plugin.sendTransfer(one.transfer))
    await settle()
    expect((await lab.bob.durable()).open).toEqual({ [one.id]: 'checking' })
    expect([sent.state, lab.bob.story, asked.map(({ id }) => id)]).toEqual(['pending', [], [one.id]])
    await expect(lab.alice.plugin.sendTransfer(lab.payment().transfer)).rejects.toThrow(NotAcceptedError)
    await answer()
    expect([sent.state, lab.bob.story]).toEqual(['resolved', ['incoming_prepare']])
    expect((await lab.bob.durable()).open).toEqual({ [one.id]: 'held' })
  })

  it('it can be neither fulfilled nor rejected yet', async () => {
    const { module } = judge()
    const lab = await Lab.open({ bob: { module } })
    const { id, fulfillment, transfer } = lab.payment()
    watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    await expect(lab.bob.plugin.fulfillCondition(id, fulfillment)).rejects.toThrow(NotAcceptedError)
    await expect(lab.bob.plugin.rejectIncomingTransfer(id)).rejects.toThrow(NotAcceptedError)
  })

  it('H2, H3: a repeat waits for the same judgement: the module is asked once, all get one answer', async () => {
    for (const refusal of [undefined, new NotAcceptedError('no')]) {
      const { module, asked, judge: answer } = judge()
      const { peer, alice, payment } = await openScripted({ alice: { module: withAccounts(module) } })
      const one = payment()
      const given = [watch(peer.prepare(one)), watch(peer.prepare(one))]
      await settle()
      given.push(watch(peer.prepare(one)))
      await settle()
      expect(given.map(({ state }) => state)).toEqual(['pending', 'pending', 'pending'])
      await answer(refusal)
      expect(given.map(({ value }) => value && errorName(value))).toEqual(Array(3).fill(refusal === undefined ? 'response' : 'NotAcceptedError'))
      expect(asked).toHaveLength(1)
      expect(alice.story).toEqual(refusal === undefined ? ['incoming_prepare'] : [])
    }
  })

  it('H3: a repeat of one that was accepted is not judged again', async () => {
    const { module, asked, judge: answer } = judge()
    const { peer, alice, payment } = await openScripted({ alice: { module: withAccounts(module) } })
    const one = payment()
    const first = watch(peer.prepare(one))
    await settle()
    await answer()
    expect(first.value?.type).toBe('response')
    expect(errorName(await peer.prepare(one))).toBe('response')
    expect(asked).toHaveLength(1)
    expect((await alice.durable()).open).toEqual({ [one.id]: 'held' })
  })

  it('H1: refused, nothing is kept: the hold is free, the same again is judged again', async () => {
    const { module, asked, judge: answer } = judge()
    const { lab, peer, alice, payment } = await openScripted({ alice: { module: withAccounts(module) } })
    const one = payment()
    for (const [refusal, code, name] of [
      [new NotAcceptedError('too much'), 'F00', 'NotAcceptedError'], [new UnreachableError('later'), 'T00', 'UnreachableError'], [new Error('bug'), 'F00', 'NotAcceptedError']
    ] as const) {
      const given = watch(peer.prepare(one))
      await settle()
      await answer(refusal)
      expect(given.value).toMatchObject({ type: 'error', code, name })
      expect(await alice.durable()).toEqual({ balance: 0, states: {}, open: {} })
      expect(lab.held(alice).incoming).toBe(0)
    }
    const given = watch(peer.prepare(one))
    await settle()
    await answer()
    expect(given.value?.type).toBe('response')
    expect(asked).toHaveLength(4)
  })

  it('expires while it is checked: the sender is released, the host hears nothing, the judgement comes too late', async () => {
    const { module, judge: answer } = judge()
    const lab = await Lab.open({ bob: { module } })
    const { transfer, id } = lab.payment({ expiresInMs: 2000 })
    watch(lab.alice.plugin.sendTransfer(transfer))
    await lab.clock.advance(2000)
    expect(lab.held(lab.bob).incoming).toBe(0)
    expect(lab.held(lab.alice).outgoing).toBe(0)
    await answer()
    await lab.clock.advance(10_000)
    expect(lab.bob.story).toEqual([])
    expect(lab.alice.story.at(-1)).toBe('outgoing_cancel')
    expect((await lab.bob.durable()).states).toEqual({ [id]: 'cancelled' })
  })

  it('I8: a module that never answers holds nobody up beyond the expiry, nor a disconnect', async () => {
    const { module } = judge()
    const { lab, peer, alice, payment } = await openScripted({ alice: { module: withAccounts(module) } })
    const [one, other] = [payment({ expiresInMs: 2000 }), payment({ expiresInMs: 20_000 })]
    const given = [watch(peer.prepare(one)), watch(peer.prepare(one)), watch(peer.prepare(other))]
    await lab.clock.advance(3000)
    expect(given.map(({ value }) => value && errorName(value))).toEqual(['AlreadyRolledBackError', 'AlreadyRolledBackError', undefined])
    const stopped = watch(alice.plugin.disconnect())
    await lab.clock.advance(1500)
    expect([stopped.state, given[2]?.state]).toEqual(['resolved', 'pending'])
  })

  it('H1: the same that is decided right behind the refusal is judged by itself, and expires', async () => {
    const { module, asked, judge: answer } = judge()
    const { lab, peer, alice, payment } = await openScripted({ alice: { module: withAccounts(module) } })
    const one = payment({ expiresInMs: 20_000 })
    const first = watch(peer.prepare(one))
    await settle()
    // While this one is written, the refusal and the repeat wait for the next group.
    const release = alice.store.holdCommits()
    watch(peer.prepare(payment()))
    await settle()
    await answer(new NotAcceptedError('no'))
    const again = watch(peer.prepare(one))
    await settle()
    release()
    await settle()
    expect([first.value && errorName(first.value), again.state, asked.map(({ id }) => id)]).toEqual(['NotAcceptedError', 'pending', [one.id, asked[1]?.id, one.id]])
    await lab.clock.advance(30_000)
    expect([alice.plugin.inFlight(), again.value && errorName(again.value)]).toEqual([[], 'AlreadyRolledBackError'])
  })

  it('a judgement that the store does not take is stored before anybody is answered', async () => {
    for (const refusal of [undefined, new NotAcceptedError('no')]) {
      const { module, asked, judge: answer } = judge()
      const { lab, peer, alice, payment } = await openScripted({ alice: { module: withAccounts(module) } })
      const one = payment({ expiresInMs: 60_000 })
      const given = watch(peer.prepare(one))
      await settle()
      alice.store.failNextCommit()
      alice.store.failNextCommit()
      await answer(refusal)
      await lab.clock.advance(1500)
      expect(given.state).toBe('pending')
      await lab.clock.advance(1000)
      expect(given.value && errorName(given.value)).toBe(refusal === undefined ? 'response' : 'NotAcceptedError')
      expect((await alice.durable()).open).toEqual(refusal === undefined ? { [one.id]: 'held' } : {})
      expect(asked).toHaveLength(1)
    }
  })

  it('what stops while the store fails is answered by nothing: an Error would be taken for a refusal', async () => {
    const { module, judge: answer } = judge()
    const lab = await Lab.open({ bob: { module } })
    const { id, transfer } = lab.payment({ expiresInMs: 60_000 })
    const sent = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    lab.bob.store.failNextCommit()
    await answer()
    const stopped = lab.bob.plugin.disconnect()
    await lab.clock.advance(10_000)
    await stopped
    expect(lab.network.count(answers('prepare'))).toBe(0)
    expect([sent.state, lab.held(lab.alice).outgoing]).toEqual(['pending', 10])
    const connected = lab.bob.plugin.connect({ timeout: Infinity })
    await lab.clock.advance(2000)
    await connected
    await answer()
    await lab.clock.advance(2000)
    expect(sent.state).toBe('resolved')
    expect(lab.bob.story).toEqual(['incoming_prepare'])
    expect((await lab.bob.durable()).open).toEqual({ [id]: 'held' })
  })

  it('a judgement from before a disconnect decides nothing after the next connect', async () => {
    const { module, asked, judge: answer } = judge()
    const lab = await Lab.open({ bob: { module } })
    const { id, transfer } = lab.payment({ expiresInMs: 60_000 })
    const sent = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    const stopped = lab.bob.plugin.disconnect()
    await lab.clock.advance(10_000)
    await stopped
    const connected = lab.bob.plugin.connect({ timeout: Infinity })
    await lab.clock.advance(3000)
    await connected
    expect(asked).toHaveLength(2)
    await answer(new NotAcceptedError('old'))
    expect((await lab.bob.durable()).open).toEqual({ [id]: 'checking' })
    await answer()
    await lab.clock.advance(5000)
    expect([sent.state, lab.bob.story]).toEqual(['resolved', ['incoming_prepare']])
  })
})

/** The same module for alice. */
function withAccounts(module: AnyModule): AnyModule {
  return { ...module, getAccount: () => `${PREFIX}client`, getPeerAccount: () => `${PREFIX}server` }
}

describe('errors are classes that a host can tell apart', () => {
  it('H42: InvalidFieldsError, TransferNotFoundError, NotAcceptedError', async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared()
    await expect(lab.bob.plugin.fulfillCondition(id, '')).rejects.toBeInstanceOf(InvalidFieldsError)
    await expect(lab.bob.plugin.fulfillCondition(UNKNOWN, WRONG_PREIMAGE)).rejects.toBeInstanceOf(TransferNotFoundError)
    await expect(lab.bob.plugin.fulfillCondition(id, WRONG_PREIMAGE)).rejects.toBeInstanceOf(NotAcceptedError)
  })
})
