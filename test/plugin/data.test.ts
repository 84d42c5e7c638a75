/** LPI v2's data: ILPv4 packets through the ledger of two whole plugins, whatever happens to the wire and to the processes. */
import { describe, expect, it } from 'vitest'
import { askMessage, lateMessage, readFates } from '../../src/btp/inquiry.js'
import type { Packet } from '../../src/btp/packets.js'
import { json, octets } from '../../src/btp/protocol-data.js'
import { DataHandlerAlreadyRegisteredError, InvalidFulfillmentError, NoSubscriptionsError } from '../../src/core/errors.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import type { DataHandler } from '../../src/plugin/lpi.js'
import { codeOf, fulfillOf, ilpPayment, ilpReject } from '../support/ilp.js'
import type { IlpPayment } from '../support/ilp.js'
import { Lab, answers, asks, settle, watch } from '../support/lab.js'
import type { LabOptions, Matches, Outcome, Side } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'

const MARGIN_MS = 500

/** Two hosts of LPI v2; bob's handler is given, alice sends. */
async function openLab(handler: DataHandler | undefined, options: LabOptions = {}): Promise<Lab> {
  const lab = new Lab({ alice: { services: {} }, bob: { services: {} }, ...options })
  lab.bob.onStart = plugin => { if (handler !== undefined) plugin.registerDataHandler(handler) }
  await lab.bob.start()
  await lab.alice.start()
  return lab
}

/** Alice beside a peer that speaks by hand; `handler` is hers. */
async function openBeside(handler: DataHandler, announces = false): Promise<{ lab: Lab; peer: ScriptedPeer }> {
  const lab = new Lab({ alice: { services: {} } })
  const peer = new ScriptedPeer(lab, { announces })
  await peer.listen()
  lab.alice.onStart = plugin => { plugin.registerDataHandler(handler) }
  await lab.alice.start()
  return { lab, peer }
}

/** None of what is optional under LPI v2. */
const BARE = { prefix: undefined, info: undefined, store: undefined, maxBalance: undefined, minBalance: undefined } as unknown as Partial<PluginOptions>

const fulfils: DataHandler = async packet => fulfillOf(packet)
/** Fulfills every other packet, the first one too. */
function alternates(): DataHandler {
  let count = 0
  return async packet => count++ % 2 === 0 ? fulfillOf(packet) : ilpReject('F99', 'in turn')
}

const hangs: DataHandler = () => new Promise(() => undefined)

let made = 0
const pay = (lab: Lab, expiresInMs = 10_000, amount = '10', data?: Buffer): IlpPayment => ilpPayment(`payment ${++made}`, lab.clock.now() + expiresInMs, amount, data)

/** What a sendData came to: the code of a Reject, `fulfill`, or the ilpErrorCode of what it threw. */
function endOf({ state, value, error }: Outcome<Uint8Array>): string {
  if (state === 'pending') return state
  return value === undefined ? `threw ${(error as { ilpErrorCode?: string } | undefined)?.ilpErrorCode ?? 'without a code'}` : codeOf(value)
}

async function send(lab: Lab, { prepare }: IlpPayment): Promise<Outcome<Uint8Array>> {
  const outcome = watch<Uint8Array>(lab.alice.plugin.sendData(prepare))
  await settle()
  return outcome
}

/** A handler whose answer a test gives, by hand. */
function byHand(): { handler: DataHandler; calls: number; packet: Buffer; answer: (packet: Buffer) => void } {
  const made: ReturnType<typeof byHand> = { calls: 0, packet: Buffer.alloc(0), answer: () => undefined, handler: hangs }
  made.handler = packet => new Promise(resolve => {
    made.calls++
    made.packet = packet
    made.answer = resolve
  })
  return made
}

const isHeld = (lab: Lab): [number, number] => [lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]
const question: Matches = ({ packet }) => packet.type === 'message' && packet.protocolData[0]?.protocolName === 'paychan'
const stagesOf = async (side: Side): Promise<string[]> => Object.values((await side.durable()).open)

describe('a Prepare with an amount', () => {
  it('C56: is held on both sides while the host has it, and settled by the Fulfill', async () => {
    const hand = byHand()
    const lab = await openLab(hand.handler)
    const payment = pay(lab)
    const sent = await send(lab, payment)
    expect([isHeld(lab), await lab.balances()]).toEqual([[10, 10], [0, 0]])
    expect([lab.alice.plugin.inFlight().length, lab.bob.plugin.inFlight().length]).toEqual([1, 1])
    // What the host dies with is in memory only.
    expect([await stagesOf(lab.alice), await stagesOf(lab.bob), await lab.bob.plugin.history()]).toEqual([['sent'], [], []])
    hand.answer(payment.fulfill)
    await settle()
    expect(sent).toEqual({ state: 'resolved', value: payment.fulfill })
    expect([isHeld(lab), await lab.balances()]).toEqual([[0, 0], [-10, 10]])
    expect([lab.alice.story, lab.bob.story]).toEqual([[], []])
  })

  it('leaves the sums, and no record, when it is over: however many there were', async () => {
    const lab = await openLab(alternates())
    const keysOf = async ({ disk }: Side): Promise<string[]> => (await disk.list('', { limit: Infinity })).map(([key]) => key)
    await send(lab, pay(lab))
    const [alices, bobs] = [await keysOf(lab.alice), await keysOf(lab.bob)]
    for (let n = 0; n < 201; n++) await send(lab, pay(lab))
    // Until the sender cannot be in doubt any more; then what is closed goes along with the next commit.
    await lab.clock.advance(100_000)
    for (let n = 0; n < 3; n++) {
      await send(lab, pay(lab))
      await lab.clock.advance(100_000)
    }
    expect([await keysOf(lab.alice), (await keysOf(lab.bob)).length]).toEqual([alices, bobs.length])
    expect([await lab.alice.plugin.history(), await lab.bob.plugin.history(), (await lab.balances())[0]]).toEqual([[], [], -1030])
  })

  it('stays in the history where that is wanted, also after a restart', async () => {
    const both = { services: {}, options: { packetHistory: true } }
    const lab = await openLab(alternates(), { alice: both, bob: both })
    for (let n = 0; n < 2; n++) await send(lab, pay(lab))
    for (const side of [lab.alice, lab.bob]) await side.restart()
    const statesOf = async ({ plugin }: Side): Promise<string[]> => (await plugin.history()).map(({ state }) => state).sort()
    expect([await statesOf(lab.alice), await statesOf(lab.bob)]).toEqual([['cancelled', 'fulfilled'], ['fulfilled']])
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('C56: is released by a Reject, which is passed on as it is', async () => {
    const reject = ilpReject('F02', 'no route')
    const lab = await openLab(async () => reject)
    expect(await send(lab, pay(lab))).toEqual({ state: 'resolved', value: reject })
    expect([isHeld(lab), await lab.balances()]).toEqual([[0, 0], [0, 0]])
    // Whatever is rejected leaves nothing in the receiver's store, however much of it comes.
    expect([(await lab.bob.durable()).states, await lab.bob.plugin.history()]).toEqual([{}, []])
  })

  it('I7: is durable on each side before it leaves it, and so is its end', async () => {
    const hand = byHand()
    const lab = await openLab(hand.handler)
    const packets = (): number => lab.network.count(({ packet }) => packet.protocolData[0]?.protocolName === 'ilp')
    const release = lab.alice.store.holdCommits()
    const releaseBob = lab.bob.store.holdCommits()
    const sent = await send(lab, pay(lab))
    expect([packets(), hand.calls]).toEqual([0, 0])
    release()
    await settle()
    expect([packets(), hand.calls]).toEqual([1, 0])
    releaseBob()
    await settle()
    const releaseAgain = lab.bob.store.holdCommits()
    hand.answer(fulfillOf(hand.packet))
    await settle()
    expect([packets(), hand.calls]).toEqual([1, 1])
    const releaseAlice = lab.alice.store.holdCommits()
    releaseAgain()
    await settle()
    expect([packets(), endOf(sent)]).toEqual([2, 'pending'])
    releaseAlice()
    await settle()
    expect(endOf(sent)).toBe('fulfill')
  })

  it('C56: over our own limit is T04, and never sent', async () => {
    const lab = await openLab(fulfils, { alice: { services: {}, options: { minBalance: '-15' } } })
    const before = lab.network.traffic.length
    expect(endOf(await send(lab, pay(lab, 10_000, '16')))).toBe('threw T04')
    expect(lab.network.traffic.length).toBe(before)
  })

  it("C56: over the receiver's limit is answered T04, over its maximum F08 with what it would take", async () => {
    const hand = byHand()
    const lab = await openLab(hand.handler, { bob: { services: {}, options: { maxBalance: '15' } } })
    await send(lab, pay(lab))
    expect(endOf(await send(lab, pay(lab)))).toBe('T04')
    const tooLarge = await send(lab, pay(lab, 10_000, '16'))
    expect(endOf(tooLarge)).toBe('F08')
    expect(Buffer.from(tooLarge.value ?? []).subarray(-16).toString('hex')).toBe('0000000000000010000000000000000f')
    expect([hand.calls, isHeld(lab)]).toEqual([1, [10, 10]])
  })

  it('C56: that is malformed is F01 here, and answered F01 there', async () => {
    const lab = await openLab(fulfils)
    const cut = pay(lab).prepare.subarray(0, 30)
    expect(endOf(await send(lab, { ...pay(lab), prepare: cut }))).toBe('threw F01')
    const beside = await openBeside(fulfils)
    const answer = await beside.peer.ask({ type: 'message', protocolData: [octets('ilp', cut)] })
    expect([answer.type, codeOf(answer.protocolData[0]!.data)]).toEqual(['response', 'F01'])
    expect(beside.lab.alice.plugin.inFlight()).toEqual([])
  })

  it('whose time is over is R00, here and there', async () => {
    const lab = await openLab(fulfils, { bob: { services: {}, skewMs: 20_000 } })
    expect(endOf(await send(lab, pay(lab, 0)))).toBe('threw R00')
    expect(endOf(await send(lab, pay(lab)))).toBe('R00')
  })

  it('I4: a preimage that does not match is F05 for the sender, and nobody has paid', async () => {
    const lab = await openLab(async () => ilpPayment('another', 0).fulfill)
    expect(endOf(await send(lab, pay(lab)))).toBe('F05')
    expect([isHeld(lab), await lab.balances()]).toEqual([[0, 0], [0, 0]])
  })

  it('I2: a Fulfill of the peer whose preimage does not match pays nothing', async () => {
    const { lab, peer } = await openBeside(fulfils, true)
    peer.script = () => [octets('ilp', ilpPayment('another', 0).fulfill)]
    const sent = await send(lab, pay(lab))
    expect(sent.error).toBeInstanceOf(InvalidFulfillmentError)
    expect([await lab.alice.plugin.getBalance(), lab.held(lab.alice).outgoing]).toEqual(['0', 0])
  })

  it.each([
    ['with a code of its own', () => { throw Object.assign(new Error('full'), { ilpErrorCode: 'T02' }) }, 'T02'],
    ['without', () => { throw new Error('broken') }, 'F00'],
    ['with a code that is none', () => { throw Object.assign(new Error('x'), { ilpErrorCode: 'toolong' }) }, 'F00'],
    ['by returning nothing', async () => undefined as never, 'F00'],
    ['by returning what is no packet', async () => Buffer.from('hello'), 'T00']
  ] as Array<[string, DataHandler, string]>)('a handler that fails %s becomes a Reject', async (_how, handler, code) => {
    const lab = await openLab(handler)
    expect(endOf(await send(lab, pay(lab)))).toBe(code)
    expect(isHeld(lab)).toEqual([0, 0])
  })

  it('C54: without a data handler is a BTP Error, and nothing is kept', async () => {
    const lab = await openLab(undefined)
    const sent = await send(lab, pay(lab))
    expect(sent.error).toBeInstanceOf(NoSubscriptionsError)
    expect([endOf(sent), isHeld(lab), await lab.bob.plugin.history()]).toEqual(['threw T01', [0, 0], []])
  })

  it('without a session fails at once, and nothing is stored', async () => {
    const lab = await openLab(fulfils)
    lab.network.isUp = false
    lab.network.cut()
    await settle()
    expect(endOf(await send(lab, pay(lab)))).toBe('threw T01')
    expect(await lab.alice.plugin.history()).toEqual([])
  })

  it('is neither fulfilled nor rejected through LPI v1', async () => {
    const lab = await openLab(hangs)
    await send(lab, pay(lab))
    const id = lab.bob.plugin.inFlight()[0]?.transfer.id ?? ''
    await expect(lab.bob.plugin.fulfillCondition(id, Buffer.alloc(32).toString('base64url'))).rejects.toThrow(/match/)
    await expect(lab.bob.plugin.rejectIncomingTransfer(id)).rejects.toThrow(/cannot go/)
    expect(isHeld(lab)).toEqual([10, 10])
  })
})

describe('the class', () => {
  it('C54: a second handler is refused until the first is taken away, and subclasses inherit the version', async () => {
    const lab = await openLab(fulfils)
    expect(() => { lab.bob.plugin.registerDataHandler(fulfils) }).toThrow(DataHandlerAlreadyRegisteredError)
    lab.bob.plugin.deregisterDataHandler()
    lab.bob.plugin.deregisterDataHandler()
    lab.bob.plugin.registerDataHandler(fulfils)
    expect(endOf(await send(lab, pay(lab)))).toBe('fulfill')
    expect(() => { lab.alice.plugin.registerDataHandler('x' as never) }).toThrow('must be a function')
    expect(Reflect.get(lab.alice.plugin.constructor, 'version')).toBe(2)
    await expect(lab.alice.plugin.sendData('x' as never)).rejects.toThrow('data must be a Buffer')
  })

  it('C54: under a host of LPI v2 needs neither prefix, info, limits nor a store, and still answers what it is asked', async () => {
    const lab = new Lab({ alice: { services: {}, options: BARE }, bob: { services: {}, options: BARE } })
    lab.bob.onStart = plugin => { plugin.registerDataHandler(fulfils) }
    await lab.bob.start()
    await lab.alice.start()
    expect(endOf(await send(lab, pay(lab, 10_000, '18446744073709551615')))).toBe('fulfill')
    const { plugin } = lab.alice
    expect([plugin.getInfo(), plugin.getAccount(), plugin.getPeerAccount(), await plugin.getBalance()])
      .toEqual([{ prefix: 'peer.' }, 'peer.client', 'peer.server', '-18446744073709551615'])
    expect(lab.network.count(({ packet }) => packet.protocolData[0]?.protocolName === 'info')).toBe(0)
  })
})

describe('the time of a Prepare', () => {
  it('that runs out while the host has it is R00 for the sender, and what the host says later is ignored', async () => {
    const hand = byHand()
    const lab = await openLab(hand.handler)
    const payment = pay(lab)
    const sent = await send(lab, payment)
    await lab.clock.advance(10_000)
    expect(endOf(sent)).toMatch(/R00/)
    hand.answer(payment.fulfill)
    await lab.clock.advance(100_000)
    expect([await lab.balances(), isHeld(lab), await stagesOf(lab.alice)]).toEqual([[0, 0], [0, 0], []])
  })

  it('I3: within the margin a Fulfill of the host comes too late: the sender is answered R00, and never both', async () => {
    const hand = byHand()
    const lab = await openLab(hand.handler)
    const payment = pay(lab)
    const sent = await send(lab, payment)
    await lab.clock.advance(10_000 - MARGIN_MS)
    hand.answer(payment.fulfill)
    await settle()
    expect([endOf(sent), await lab.balances()]).toEqual(['R00', [0, 0]])
  })

  it('that runs out before a Fulfill arrives: the receiver is told, and books it as disputed', async () => {
    const lab = await openLab(fulfils)
    const letGo = lab.network.hold(answers('message'))
    const sent = await send(lab, pay(lab))
    await lab.clock.advance(10_000)
    expect([endOf(sent), await lab.balances(), await stagesOf(lab.alice)]).toEqual(['threw R00', [0, 10], ['unsure']])
    letGo()
    await settle()
    expect([await lab.balances(), await stagesOf(lab.alice)]).toEqual([[0, 0], []])
    expect([lab.bob.story, lab.alice.story]).toEqual([['dispute'], []])
    expect(lab.bob.seen('dispute')[0]?.[1]).toMatchObject({ direction: 'incoming', amount: '10', fulfillment: expect.stringMatching(/^.{43}$/) as string })
    // The evidence stays, whether or not there was to be a record.
    await lab.bob.restart()
    expect(await lab.bob.plugin.history()).toMatchObject([{ state: 'cancelled', isIncoming: true, transfer: { amount: '10' } }])
  })

  it.each([[true, false], [false, true]])('is disputed as it should be, where packets were kept (%s) and are now (%s)', async (before, after) => {
    const options: Partial<PluginOptions> = { packetHistory: before }
    const lab = await openLab(fulfils, { bob: { services: {}, options } })
    lab.network.drop(answers('message'), 1)
    await send(lab, pay(lab))
    await send(lab, pay(lab))
    lab.network.drop(question)
    options.packetHistory = after
    await lab.bob.restart()
    await lab.clock.advance(10_000)
    lab.network.clearRules()
    lab.network.cut()
    // What was in one page leaves it one by one.
    await lab.reconnect()
    await lab.clock.advance(2000)
    await send(lab, pay(lab, 10_000, '1'))
    await lab.bob.restart()
    const history = (await lab.bob.plugin.history()).map(({ state }) => state).sort()
    expect([await lab.balances(), history]).toEqual([[-11, 11], before ? ['cancelled', 'fulfilled'] : ['cancelled', 'fulfilled']])
    expect(lab.bob.story).toEqual(['dispute'])
  })

  it('I9: that the peer refuses to call late is a dispute here: it counts there, and the host hears of it', async () => {
    const { lab, peer } = await openBeside(fulfils, true)
    peer.script = ({ protocolData: [first] }) => {
      if (first?.protocolName === 'ilp') return [octets('ilp', fulfillOf(Buffer.from(first.data)))]
      return { code: 'F00', name: 'AlreadyFulfilledError', message: 'for good' }
    }
    const letGo = lab.network.hold(answers('message'))
    const payment = pay(lab)
    const sent = await send(lab, payment)
    await lab.clock.advance(10_000)
    letGo()
    await settle()
    expect([endOf(sent), await lab.alice.plugin.getBalance(), await stagesOf(lab.alice)]).toEqual(['threw R00', '0', []])
    const fulfillment = payment.fulfill.subarray(-33, -1).toString('base64url')
    expect(lab.alice.seen('dispute').map(([, dispute]) => dispute)).toEqual([
      expect.objectContaining({ direction: 'outgoing', amount: '10', fulfillment, reason: expect.stringContaining('for good') as string })
    ])
  })

  it('that is late is told again on the next session, and after a restart', async () => {
    const lab = await openLab(fulfils)
    lab.network.hold(answers('message'), 1)
    await send(lab, pay(lab))
    lab.network.drop(question)
    await lab.clock.advance(10_000)
    lab.network.cut()
    await lab.reconnect()
    expect(await lab.balances()).toEqual([0, 10])
    lab.network.clearRules()
    await lab.alice.restart()
    await lab.clock.advance(2000)
    expect([await lab.balances(), await stagesOf(lab.alice), lab.bob.story]).toEqual([[0, 0], [], ['dispute']])
  })

  it('I9: an objection is believed until a minute after the expiry, and from a sender that could be in doubt', async () => {
    const { lab, peer } = await openBeside(fulfils, true)
    const ids = ['1', '2'].map(end => `00000000-0000-4000-8000-00000000000${end}`)
    const late = (id: string | undefined): Promise<Packet> => peer.ask({ type: 'message', protocolData: [lateMessage(id ?? '')] })
    for (const id of ids) await peer.ask({ type: 'message', protocolData: [octets('ilp', pay(lab).prepare), json('paychan', { transfer: id })] })
    expect((await lab.alice.durable()).balance).toBe(20)
    await lab.clock.advance(60_000)
    expect([(await late(ids[0])).type, (await late(ids[0])).type]).toEqual(['response', 'response'])
    expect([(await lab.alice.durable()).balance, lab.alice.story]).toEqual([10, ['dispute']])
    // Nothing was heard from the sender since: the connection may be dead.
    await lab.clock.advance(25_000)
    expect((await lab.alice.durable()).balance).toBe(10)
    await late(ids[0])
    await lab.clock.advance(10_000)
    expect(await late(ids[1])).toMatchObject({ type: 'error', name: 'AlreadyFulfilledError' })
    expect(await late('00000000-0000-4000-8000-000000000009')).toMatchObject({ type: 'error', name: 'TransferNotFoundError' })
    expect((await lab.alice.durable()).balance).toBe(10)
  })

  it('I9: a peer that has not announced itself is not believed at all', async () => {
    const { peer } = await openBeside(fulfils)
    const answer = await peer.ask({ type: 'message', protocolData: [lateMessage('00000000-0000-4000-8000-000000000001')] })
    expect(answer).toMatchObject({ type: 'error', name: 'NotAcceptedError' })
  })
})

describe('a lost connection', () => {
  it('leaves sendData pending, and on the next session the peer tells that it has fulfilled, with the data', async () => {
    const data = Buffer.from('for the sender')
    const lab = await openLab(async packet => fulfillOf(packet, data))
    lab.network.drop(answers('message'), 1)
    const payment = pay(lab, 10_000, '10', data)
    const sent = await send(lab, payment)
    lab.network.cut()
    await settle()
    expect(endOf(sent)).toBe('pending')
    await lab.reconnect()
    expect(sent).toEqual({ state: 'resolved', value: payment.fulfill })
    expect(await lab.balances()).toEqual([-10, 10])
    expect(lab.network.count(carried => asks('message', 'alice')(carried) && carried.packet.protocolData[0]?.protocolName === 'ilp')).toBe(1)
  })

  it('that lost the packet: the peer tells that it is cancelled, and does not take it any more', async () => {
    const lab = await openLab(fulfils)
    lab.network.drop(asks('message', 'alice'), 1)
    const sent = await send(lab, pay(lab))
    lab.network.cut()
    await lab.reconnect()
    expect([endOf(sent), isHeld(lab), await lab.balances()]).toEqual(['threw T01', [0, 0], [0, 0]])
  })

  it('while the host has the packet: the sender asks again until it is decided', async () => {
    const hand = byHand()
    const lab = await openLab(hand.handler)
    const payment = pay(lab)
    const sent = await send(lab, payment)
    lab.network.cut()
    await lab.reconnect()
    expect(endOf(sent)).toBe('pending')
    hand.answer(payment.fulfill)
    await lab.clock.advance(4000)
    expect([endOf(sent), hand.calls, await lab.balances()]).toEqual(['fulfill', 1, [-10, 10]])
  })

  it('over the expiry: cancelled here, then asked, told late, and disputed there', async () => {
    const lab = await openLab(fulfils)
    lab.network.drop(answers('message'), 1)
    const sent = await send(lab, pay(lab))
    lab.network.isUp = false
    lab.network.cut()
    await lab.clock.advance(20_000)
    expect([endOf(sent), await lab.balances()]).toEqual(['threw R00', [0, 10]])
    lab.network.isUp = true
    await lab.clock.advance(5000)
    expect([await lab.balances(), lab.bob.story, await stagesOf(lab.alice)]).toEqual([[0, 0], ['dispute'], []])
  })
})

describe('a restart', () => {
  it('of the sender: it asks for what its life before has sent, and books it', async () => {
    const lab = await openLab(fulfils)
    lab.network.drop(answers('message'), 1)
    await send(lab, pay(lab))
    await lab.alice.restart()
    await lab.clock.advance(1000)
    expect([await lab.balances(), isHeld(lab), await stagesOf(lab.alice)]).toEqual([[-10, 10], [0, 0], []])
  })

  it('of the receiver: what its host had is cancelled, and the sender is told so', async () => {
    const lab = await openLab(hangs)
    const sent = await send(lab, pay(lab))
    await lab.bob.restart()
    await lab.clock.advance(3000)
    expect([endOf(sent), isHeld(lab), await lab.balances()]).toEqual(['threw T01', [0, 0], [0, 0]])
  })

  it('of both, at each commit: the balances agree in the end', async () => {
    for (const side of ['alice', 'bob'] as const) {
      for (const moment of ['before', 'after'] as const) {
        for (let at = 0; at < 3; at++) {
          const lab = await openLab(fulfils)
          let commits = 0
          lab[side].crashAtCommit(moment, () => commits++ === at)
          await send(lab, pay(lab))
          await lab[side].restart()
          await lab.clock.advance(100_000)
          const [alice, bob] = await lab.balances()
          expect([side, moment, at, alice + bob, isHeld(lab)]).toEqual([side, moment, at, 0, [0, 0]])
        }
      }
    }
  })

  it('I9: after the sender has asked, what it did not ask for is final, and an objection is refused', async () => {
    const lab = await openLab(fulfils)
    await send(lab, pay(lab))
    expect(await stagesOf(lab.bob)).toEqual(['answered'])
    lab.network.cut()
    await lab.reconnect()
    // What is closed leaves its record with the next commit.
    await send(lab, pay(lab))
    expect(await stagesOf(lab.bob)).toEqual(['answered'])
    expect(await lab.balances()).toEqual([-20, 20])
  })

  it('of the receiver: what the sender may still object to is closed in its time', async () => {
    const lab = await openLab(fulfils)
    expect(endOf(await send(lab, pay(lab)))).toBe('fulfill')
    expect(await stagesOf(lab.bob)).toEqual(['answered'])
    await lab.bob.restart()
    await lab.clock.advance(120_000)
    expect(endOf(await send(lab, pay(lab)))).toBe('fulfill')
    expect([await lab.balances(), await stagesOf(lab.bob)]).toEqual([[-20, 20], ['answered']])
  })
})

describe('an answer of the host that is large', () => {
  const largest = 60_000

  it.each([20_000, 40_000, largest, 64_000, 65_400, 66_000, 70_000])('of %i bytes of data: both sides agree on what became of the packet, also where it is lost', async bytes => {
    const data = Buffer.alloc(bytes)
    for (const drops of [false, true]) {
      const lab = await openLab(async packet => fulfillOf(packet, data))
      if (drops) lab.network.drop(answers('message'), 1)
      const payment = pay(lab, 20_000, '10', data)
      const sent = await send(lab, payment)
      if (drops) {
        lab.network.cut()
        await lab.reconnect()
      }
      await lab.clock.advance(30_000)
      expect([endOf(sent), await lab.balances(), await stagesOf(lab.alice)]).toEqual(['fulfill', [-10, 10], []])
      // RFC 27 has no data of more than 32 KiB.
      if (bytes <= (drops ? 40_000 : largest)) expect(sent.value).toHaveLength(payment.fulfill.length)
    }
  })

  it('a Reject that has no room is passed on by its code', async () => {
    const lab = await openLab(async () => ilpReject('T02', 'x'.repeat(70_000)))
    expect([endOf(await send(lab, pay(lab))), isHeld(lab)]).toEqual(['T02', [0, 0]])
  })

  it('keeps none of those in doubt that were lost behind it', async () => {
    let bytes = 55_000
    const lab = await openLab(async packet => fulfillOf(packet, Buffer.alloc(bytes)))
    lab.network.drop(answers('message'), 2)
    const first = await send(lab, pay(lab))
    bytes = 0
    const second = await send(lab, pay(lab))
    lab.network.cut()
    await lab.reconnect()
    expect([endOf(first), endOf(second), await stagesOf(lab.alice)]).toEqual(['fulfill', 'fulfill', []])
  })
})

describe('a question about what has not arrived', () => {
  it('H11: is answered that it is cancelled, and so it is not taken when it arrives late', async () => {
    const { lab, peer } = await openBeside(fulfils, true)
    const id = '00000000-0000-4000-8000-000000000058'
    const { prepare } = pay(lab)
    const { protocolData } = await peer.ask({ type: 'message', protocolData: [askMessage([id], true)] })
    expect(readFates(protocolData).cancelled).toEqual([id])
    const answer = await peer.ask({ type: 'message', protocolData: [octets('ilp', prepare), json('paychan', { transfer: id })] })
    expect(answer).toMatchObject({ type: 'error', name: 'AlreadyRolledBackError' })
    expect([await lab.alice.plugin.getBalance(), lab.alice.plugin.inFlight()]).toEqual(['0', []])
  })
})

describe('a question that the peer refuses', () => {
  it('keeps only what it asked about in doubt, and is asked again', async () => {
    const { lab, peer } = await openBeside(fulfils, true)
    const sent = Array.from({ length: 201 }, () => watch<Uint8Array>(lab.alice.plugin.sendData(pay(lab, 600_000).prepare)))
    let refuses = true
    const questions: Array<[number, boolean]> = []
    peer.script = packet => {
      const [first] = packet.protocolData
      if (packet.type !== 'message') return undefined
      if (first?.protocolName !== 'paychan') return 'silence'
      const { ask, more } = JSON.parse(Buffer.from(first.data).toString()) as { ask?: string[]; more?: boolean }
      if (ask === undefined) return { code: 'F01', name: 'InvalidFieldsError' }
      questions.push([ask.length, more === true])
      if (refuses && ask.length === 200) return { code: 'F00', name: 'InvalidFieldsError' }
      return [json('paychan', { fulfilled: {}, cancelled: ask, held: [] })]
    }
    await settle()
    lab.network.cut()
    await peer.listen()
    await lab.reconnect()
    expect(sent.filter(outcome => endOf(outcome) !== 'pending')).toHaveLength(1)
    refuses = false
    await lab.clock.advance(2000)
    expect(sent.filter(outcome => endOf(outcome) === 'pending')).toEqual([])
    // The last question says that this was all: not while another was refused.
    expect(questions).toEqual([[200, true], [1, true], [200, false]])
  })
})

describe('what moves no value', () => {
  it.each([
    ['a Prepare of amount 0', (lab: Lab) => pay(lab, 10_000, '0').prepare],
    ['a packet of another type', () => Buffer.from([42, 1, 2])],
    ['nothing at all', () => Buffer.alloc(0)]
  ])('C57: %s passes without touching the ledger', async (_what, packet) => {
    const seen: Uint8Array[] = []
    const lab = await openLab(async data => {
      seen.push(data)
      return data[0] === 12 ? fulfillOf(data) : Buffer.from('answer')
    })
    const given = packet(lab)
    const sent = watch(lab.alice.plugin.sendData(given))
    await settle()
    expect(sent.state).toBe('resolved')
    expect([seen, await lab.alice.plugin.history(), await lab.bob.plugin.history()]).toEqual([[given], [], []])
  })

  it('C57: an empty answer is an empty Buffer, and a handler that throws is a BTP Error', async () => {
    const lab = await openLab(async data => {
      if (data[0] === 1) throw new Error('no')
      return Buffer.alloc(0)
    })
    expect(await lab.alice.plugin.sendData(Buffer.from([2]))).toEqual(Buffer.alloc(0))
    await expect(lab.alice.plugin.sendData(Buffer.from([1]))).rejects.toThrow('no')
  })

  it('C57: is waited for for 35 s, a Prepare until it expires', async () => {
    const lab = await openLab(hangs)
    const [packet, prepare] = [watch(lab.alice.plugin.sendData(Buffer.from([42]))), watch<Uint8Array>(lab.alice.plugin.sendData(pay(lab, 10_000, '0').prepare))]
    await lab.clock.advance(9999)
    expect([packet.state, prepare.state]).toEqual(['pending', 'pending'])
    await lab.clock.advance(1)
    expect(endOf(prepare)).toBe('threw R00')
    await lab.clock.advance(25_000)
    expect(packet.error?.name).toBe('UnreachableError')
  })
})
