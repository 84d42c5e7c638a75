/** A store that was emptied behind our back: noticed before anything moves, and filled from the peer's books where the user has agreed. */
import { describe, expect, it } from 'vitest'
import { json, readJson } from '../../src/btp/protocol-data.js'
import { EmptiedStoreError, UnreachableError } from '../../src/core/errors.js'
import type { RequestPacket } from '../../src/btp/packets.js'
import type { AnyModule } from '../../src/plugin/module.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, PREFIX, answers, asks, settle, watch } from '../support/lab.js'
import type { LabOptions, Matches, Payment, Side, SideName } from '../support/lab.js'
import { ScriptedPeer, report } from '../support/scripted-peer.js'
import type { Answer } from '../support/scripted-peer.js'
import { openWithModules, plainModule, settled } from '../support/settling.js'

const RECOVERS = { options: { recover: 'from-peer' as const } }
const V2: LabOptions = { alice: { services: {} }, bob: { services: {} } }

async function fulfilled(lab: Lab, to: SideName = 'bob', amount = '10'): Promise<Payment> {
  const payment = await lab.prepared({ to, amount })
  await lab[to].plugin.fulfillCondition(payment.id, payment.fulfillment)
  await settle()
  return payment
}

async function startAgain(lab: Lab, side: Side): Promise<void> {
  const started = side.start()
  await lab.reconnect()
  await started
  await lab.clock.advance(2000)
}

describe('a store that was emptied', () => {
  it.each([['LPI v1', {}], ['LPI v2', V2]] as const)("is noticed by who dials, whose connect tells: %s", async (_name, options) => {
    const lab = await Lab.open(options)
    lab.bob.plugin.registerDataHandler(async packet => fulfillOf(packet))
    if (options === V2) await lab.alice.plugin.sendData(ilpPayment('10 are paid', lab.clock.now() + 10_000).prepare)
    else await fulfilled(lab)
    await lab.alice.empty()
    const held = lab.network.count(asks('prepare'))
    const connecting = watch(lab.alice.make().connect())
    await lab.clock.advance(1000)
    expect(connecting.error).toBeInstanceOf(EmptiedStoreError)
    expect(connecting.error?.message).toBe("the store is empty, but the peer's balance is 10: give the store back that was used before, or the option recover: 'from-peer'")
    expect([lab.alice.plugin.isConnected(), lab.alice.plugin.role]).toEqual([false, 'disconnected'])
    // Nor is the peer's side sent to, or told of a dispute.
    expect(lab.network.count(asks('prepare'))).toBe(held)
    expect(lab.bob.seen('dispute')).toEqual([])
    // The store is given back.
    await lab.alice.disk.commit({ puts: [[':tl:balance:of', '10']], guards: [] })
    await startAgain(lab, lab.alice)
    expect(await lab.alice.plugin.getPeerBalance()).toBe('-10')
    if (options !== V2) await fulfilled(lab)
  })

  it('is noticed by who listens: an error event tells, and nothing has moved', async () => {
    const lab = await Lab.open()
    await fulfilled(lab)
    const held = await lab.prepared({ expiresInMs: 100_000 })
    await lab.bob.empty()
    const started = lab.bob.start()
    const sending = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    await lab.reconnect()
    await started
    await lab.clock.advance(5000)
    expect(lab.bob.seen('error').map(([, error]) => error.name)).toEqual(['EmptiedStoreError'])
    expect(lab.bob.seen('connect')).toHaveLength(1)
    expect(lab.bob.story.slice(lab.bob.story.indexOf('incoming_fulfill') + 2)).toEqual([])
    expect(await lab.bob.durable()).toEqual({ balance: 0, states: {}, open: {} })
    expect(lab.held(lab.alice).outgoing).toBeGreaterThanOrEqual(10)
    expect([sending.state, held.id]).toEqual(['rejected', expect.any(String)])
    await expect(async () => lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer)).rejects.toThrow('the store is empty')
  })

  it('nothing of the peer is taken before it has told its books, and nothing is sent', async () => {
    const lab = await Lab.open()
    await fulfilled(lab)
    await lab.bob.empty()
    // Nor does the peer hear that these books are new.
    const answer = lab.network.hold(({ from, packet, request }) => from === 'alice' && (request ?? packet).protocolData[0]?.protocolName === 'paychan')
    const started = lab.bob.start()
    await lab.reconnect()
    await started
    expect(lab.bob.plugin.isConnected()).toBe(false)
    const sending = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    await settle()
    expect(lab.network.count(asks('prepare'))).toBe(2)
    expect((await lab.bob.durable()).open).toEqual({})
    const back = watch(lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer))
    await settle()
    expect([back.state, (await lab.bob.durable()).open]).toEqual(['pending', {}])
    answer()
    await lab.clock.advance(100)
    expect(back.error).toBeInstanceOf(UnreachableError)
    expect((await lab.bob.durable()).states).toEqual({})
    expect(sending.state).not.toBe('resolved')
  })
})

describe('a new account', () => {
  it('trades at once with a peer that has never seen it, from either side', async () => {
    const lab = await Lab.open()
    await fulfilled(lab, 'alice')
    await fulfilled(lab, 'bob')
    expect([...lab.alice.seen('dispute', 'error'), ...lab.bob.seen('dispute', 'error')]).toEqual([])
    const listening = new Lab()
    listening.bob.onStart = plugin => { plugin.once('connect', () => { void plugin.sendTransfer(listening.payment({ to: 'alice' }).transfer) }) }
    await listening.bob.start()
    await listening.alice.start()
    expect(listening.held(listening.alice).incoming).toBe(10)
  })

  it('is the same with an older peer of ours, and after payments that came to nothing', async () => {
    const lab = new Lab()
    const peer = new ScriptedPeer(lab, { announces: true })
    peer.script = ({ protocolData }) => protocolData[0]?.protocolName === 'paychan' ? { code: 'F01', name: 'InvalidFieldsError' } : undefined
    await peer.listen()
    await lab.alice.start()
    await lab.prepared({ expiresInMs: 1000 })
    await lab.clock.advance(5000)
    await lab.alice.restart()
    await lab.prepared()
    expect(lab.held(lab.alice).outgoing).toBe(10)
  })

  it('whose comparison takes a while sends when it is over, and fails at once when the connection goes', async () => {
    const lab = new Lab()
    const answer = lab.network.hold(({ from, packet }) => from === 'alice' && packet.type === 'response' && packet.protocolData[0]?.protocolName === 'paychan', 2)
    await lab.bob.start()
    await lab.alice.start()
    const first = watch(lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer))
    await settle()
    expect([first.state, lab.bob.plugin.isConnected()]).toEqual(['pending', false])
    lab.network.cut()
    await settle()
    expect(first.error).toBeInstanceOf(UnreachableError)
    await lab.reconnect()
    const second = watch(lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer))
    await settle()
    expect(second.state).toBe('pending')
    answer()
    await settle()
    expect([second.state, lab.held(lab.alice).incoming]).toEqual(['resolved', 10])
  })

  it('is not taken for an emptied one because the peer is quick to send', async () => {
    const lab = new Lab()
    const answer = lab.network.hold(({ from, packet, request }) => from === 'bob' && packet.type === 'response' && request?.protocolData[0]?.protocolName === 'paychan')
    await lab.bob.start()
    const connecting = watch(lab.alice.make().connect())
    await settle()
    await lab.clock.advance(100)
    answer()
    await settle()
    expect(connecting.state).toBe('resolved')
    await fulfilled(lab, 'alice')
  })
})

describe("recover: 'from-peer'", () => {
  it.each(['alice', 'bob'] as const)('takes the sums over, swapped, and both trade on: %s', async name => {
    const lab = await Lab.open({ alice: RECOVERS, bob: RECOVERS })
    await fulfilled(lab, 'bob', '30')
    await fulfilled(lab, 'alice', '12')
    await lab[name].empty()
    await startAgain(lab, lab[name])
    expect(await lab.balances()).toEqual([-18, 18])
    await fulfilled(lab, 'bob')
    await fulfilled(lab, 'alice', '1')
    expect(await lab.balances()).toEqual([-27, 27])
    expect([...lab.alice.seen('dispute', 'error'), ...lab.bob.seen('dispute', 'error')]).toEqual([])
  })

  it('takes over what the peer holds: its Fulfill counts, and what it had begun to fulfill does so too', async () => {
    const lab = await Lab.open({ alice: RECOVERS })
    await fulfilled(lab)
    const held = await lab.prepared({ amount: '5', expiresInMs: 100_000 })
    const begun = await lab.prepared({ amount: '7', expiresInMs: 3000 })
    const offered = await lab.prepared({ to: 'alice', amount: '3', expiresInMs: 100_000 })
    const lost = lab.network.drop(asks('fulfill', 'bob'))
    void lab.bob.plugin.fulfillCondition(begun.id, begun.fulfillment)
    await settle()
    await lab.alice.empty()
    await lab.clock.advance(10_000)
    lost()
    await startAgain(lab, lab.alice)
    await lab.clock.advance(5000)
    expect(lab.alice.plugin.inFlight().map(({ transfer }) => transfer.id)).toContain(held.id)
    expect(await lab.balances()).toEqual([-17, 17])
    expect(lab.alice.seen('outgoing_fulfill').map(([, { id }]) => id)).toContain(begun.id)
    await lab.bob.plugin.fulfillCondition(held.id, held.fulfillment)
    expect(await lab.balances()).toEqual([-22, 22])
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual([0, 0])
    // The peer's own came again, and counts as it would have.
    expect([lab.held(lab.alice).incoming, lab.bob.seen('outgoing_prepare').length]).toEqual([3, 1])
    await lab.alice.plugin.fulfillCondition(offered.id, offered.fulfillment)
    expect(await lab.balances()).toEqual([-19, 19])
    expect([lab.alice.plugin.inFlight(), lab.bob.plugin.inFlight()]).toEqual([[], []])
    expect([...lab.alice.seen('dispute', 'error'), ...lab.bob.seen('dispute', 'error')]).toEqual([])
  })

  it.each(['alice', 'bob'] as const)('what was sent to it before anything was paid comes again too, and may be fulfilled: %s', async name => {
    // Nobody can tell these books from new ones, so that nobody need agree to anything.
    const lab = await Lab.open()
    const other = name === 'alice' ? 'bob' : 'alice'
    const held = await lab.prepared({ to: name, expiresInMs: 100_000 })
    const late = await lab.prepared({ to: name, expiresInMs: 3000 })
    await lab[name].empty()
    await lab.clock.advance(3500)
    await startAgain(lab, lab[name])
    expect(lab[name].seen('incoming_prepare').map(([, { id }]) => id)).toEqual([held.id, late.id, held.id])
    await expect(lab[name].plugin.fulfillCondition(late.id, late.fulfillment)).rejects.toMatchObject({ name: 'TransferNotFoundError' })
    await lab[name].plugin.fulfillCondition(held.id, held.fulfillment)
    expect([await lab.balances(), lab[other].story.filter(event => event === 'outgoing_prepare').length]).toEqual([name === 'bob' ? [-10, 10] : [10, -10], 2])
    await lab.clock.advance(60_000)
    expect([lab.held(lab[other]).outgoing, ...lab.alice.seen('dispute', 'error'), ...lab.bob.seen('dispute', 'error')]).toEqual([0])
  })

  it('comes again once on each connection, however often the peer says that its books are new', async () => {
    const lab = new Lab()
    const peer = new ScriptedPeer(lab, { announces: true })
    const isComparison = ({ protocolData: [primary] }: RequestPacket): boolean => primary?.protocolName === 'paychan' && 'reconcile' in Object(readJson(primary))
    peer.script = packet => isComparison(packet) ? [json('paychan', { reconcile: report({}) })] : undefined
    await peer.listen()
    await lab.alice.start()
    for (let n = 0; n < 5; n++) await lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 100_000 }).transfer)
    for (let n = 0; n < 10; n++) {
      await peer.ask({ type: 'message', protocolData: [json('paychan', { reconcile: { ...report({}), isNew: true } })] })
      await settle()
    }
    expect(peer.received.filter(({ type }) => type === 'prepare')).toHaveLength(10)
    expect(lab.alice.seen('outgoing_prepare')).toHaveLength(5)
  })

  it('what comes again and is refused keeps its hold until its time is over', async () => {
    const options = { maxBalance: '12' }
    const lab = await Lab.open({ alice: { options } })
    const first = await lab.prepared({ to: 'alice', expiresInMs: 100_000 })
    await lab.alice.empty()
    options.maxBalance = '5'
    await startAgain(lab, lab.alice)
    expect([lab.alice.plugin.inFlight(), lab.held(lab.bob).outgoing]).toEqual([[], 10])
    await lab.clock.advance(200_000)
    expect([lab.held(lab.bob).outgoing, lab.bob.seen('outgoing_cancel').map(([, { id }]) => id)]).toEqual([0, [first.id]])
  })

  it('takes over packets of LPI v2: what became of them is asked', async () => {
    const lab = new Lab({ alice: { services: {}, ...RECOVERS }, bob: { services: {} } })
    const answers: Array<() => void> = []
    lab.bob.onStart = plugin => {
      plugin.registerDataHandler(packet => new Promise(resolve => { answers.push(() => { resolve(fulfillOf(packet)) }) }))
    }
    await lab.bob.start()
    await lab.alice.start()
    for (let n = 0; n < 250; n++) void lab.alice.plugin.sendData(ilpPayment(`packet ${n}`, lab.clock.now() + 60_000).prepare).catch(() => undefined)
    await settle()
    for (const answer of answers.slice(0, 100)) answer()
    await settle()
    await lab.alice.empty()
    await startAgain(lab, lab.alice)
    expect(lab.alice.plugin.inFlight()).toHaveLength(150)
    for (const answer of answers) answer()
    await lab.clock.advance(10_000)
    expect(await lab.balances()).toEqual([-2500, 2500])
    expect([...lab.alice.seen('dispute', 'error'), ...lab.bob.seen('dispute', 'error')]).toEqual([])
  })

  it('does nothing where the store is not empty, and leaves the limits alone', async () => {
    const lab = await Lab.open({ alice: { options: { ...RECOVERS.options, minBalance: '-15' } } })
    await fulfilled(lab)
    await lab.alice.restart()
    expect(await lab.balances()).toEqual([-10, 10])
    await lab.alice.empty()
    await startAgain(lab, lab.alice)
    await expect(lab.alice.plugin.sendTransfer(lab.payment({ amount: '6' }).transfer)).rejects.toThrow('minimum balance of -15')
  })

  it('a crash in between leaves an empty store, or all of it', async () => {
    for (const moment of ['before', 'after'] as const) {
      const lab = await Lab.open({ alice: RECOVERS })
      await fulfilled(lab)
      await lab.prepared({ expiresInMs: 100_000 })
      await lab.alice.empty()
      const plugin = lab.alice.make()
      lab.alice.crashAtCommit(moment, ({ puts = [] }) => puts.some(([key]) => key === ':tl:balance:of'))
      void plugin.connect()
      await lab.reconnect()
      expect((await lab.alice.durable()).balance).toBe(moment === 'before' ? 0 : -10)
      await startAgain(lab, lab.alice)
      expect([await lab.balances(), lab.held(lab.alice).outgoing]).toEqual([[-10, 10], 10])
    }
  })
})

/** A module whose claims are sums, which it believes up to a limit. */
class Books {
  readonly made: string[] = []
  best = 0n
  most = 1000n

  module(name: 'alice' | 'bob'): AnyModule {
    return plainModule(name, {
      createOutgoingClaim: (_ctx, sum) => {
        this.made.push(sum)
        return { sum }
      },
      handleIncomingClaim: (_ctx, claim) => {
        const sum = BigInt((claim as { sum: string }).sum)
        if (sum > this.most) throw new UnreachableError('nobody has signed that')
        if (sum > this.best) this.best = sum
        return String(this.best)
      }
    })
  }
}

describe("the peer's last claim", () => {
  it.each([['is what its module verifies', 1000n, 30n], ['counts for nothing where the module refuses it', 1n, 0n]])('LPI v1: %s', async (_name, most, best) => {
    const books = { alice: new Books(), bob: new Books() }
    const lab = await Lab.open({ alice: { module: books.alice.module('alice') }, bob: { module: books.bob.module('bob'), ...RECOVERS } })
    const to = `${PREFIX}bob`
    for (const amount of ['10', '20']) {
      const payment = await lab.prepared({ amount, more: { to } })
      await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    }
    await lab.clock.advance(5000)
    expect(books.bob.best).toBe(30n)
    books.bob.best = 0n
    books.bob.most = most
    await lab.bob.empty()
    await startAgain(lab, lab.bob)
    expect(books.bob.best).toBe(best)
    expect(await lab.balances()).toEqual([-30, 30])
  })

  it('our own is made anew, for no less than before', async () => {
    const books = { alice: new Books(), bob: new Books() }
    const lab = await Lab.open({ alice: { module: books.alice.module('alice'), ...RECOVERS }, bob: { module: books.bob.module('bob') } })
    const pay = async (amount: string): Promise<void> => {
      const payment = await lab.prepared({ amount, more: { to: `${PREFIX}bob` } })
      await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
      await lab.clock.advance(3000)
    }
    await pay('30')
    await lab.alice.empty()
    await startAgain(lab, lab.alice)
    expect(books.alice.made).toEqual(['30', '30'])
    await pay('4')
    expect([books.alice.made.at(-1), books.bob.best]).toEqual(['34', 34n])
  })

  it('LPI v2: comes with the settled sums, and the next settlement goes on from them', async () => {
    const { lab, books, pay } = await openWithModules({ alice: new Books(), bob: new Books() }, RECOVERS.options, RECOVERS.options)
    await pay('50')
    await lab.alice.plugin.sendMoney('20')
    for (const side of [lab.bob, lab.alice]) {
      books.bob.best = 0n
      await side.empty()
      await startAgain(lab, side)
      expect([await settled(lab.alice), await settled(lab.bob), await lab.balances()]).toEqual([['20', '0'], ['0', '20'], [-50, 50]])
      expect(books.bob.best).toBe(side === lab.bob ? 20n : 0n)
    }
    await lab.alice.plugin.sendMoney('7')
    expect([books.alice.made, await settled(lab.bob)]).toEqual([['20', '27'], ['0', '27']])
    expect(codeOf(await lab.alice.plugin.sendData(ilpPayment('on', lab.clock.now() + 10_000).prepare))).toBe('fulfill')
  })
})

describe('what was paid before', () => {
  it('may exceed the minimum, and the maximum, as it did then: the books are taken all the same', async () => {
    const limits = { maxBalance: '30', minBalance: '-60' }
    const { lab, pay } = await openWithModules({ alice: new Books(), bob: new Books() }, { ...RECOVERS.options, ...limits }, { ...RECOVERS.options, ...limits, maxBalance: '60' })
    for (const [amount, settledByBob, settledByAlice] of [['60', '2', '0'], ['0', '0', '150']] as const) {
      if (amount !== '0') await pay(amount)
      if (settledByBob !== '0') await lab.bob.plugin.sendMoney(settledByBob)
      if (settledByAlice !== '0') await lab.alice.plugin.sendMoney(settledByAlice)
      await lab.alice.empty()
      await startAgain(lab, lab.alice)
      expect([lab.alice.plugin.isConnected(), await lab.balances(), await settled(lab.alice)]).toEqual([true, [-60, 60], [settledByAlice, '2']])
    }
  })
})

describe('what came from the books that are gone, and is still being stored', () => {
  it('is told to whoever takes them over', async () => {
    const lab = await Lab.open({ alice: RECOVERS })
    await fulfilled(lab)
    const release = lab.bob.store.holdCommits()
    const { transfer, id } = lab.payment({ expiresInMs: 100_000 })
    watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    await lab.alice.empty()
    const started = lab.alice.start()
    await lab.clock.advance(1000)
    release()
    await lab.clock.advance(2000)
    await started
    expect(lab.alice.plugin.inFlight().map(one => one.transfer.id)).toEqual([id])
    expect([...lab.alice.seen('dispute'), ...lab.bob.seen('dispute')]).toEqual([])
  })
})

describe('what the books that are gone were told, and the store of the other side has not taken yet', () => {
  it('is in what they are filled from', async () => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {}, ...RECOVERS } })
    lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.bob.start()
    await lab.alice.start()
    expect(codeOf(await lab.alice.plugin.sendData(ilpPayment('first', lab.clock.now() + 10_000).prepare))).toBe('fulfill')
    const answer = lab.network.hold(answers('message'), 1)
    const sending = watch(lab.alice.plugin.sendData(ilpPayment('second', lab.clock.now() + 10_000).prepare))
    await settle()
    // It came in time, so it will count: the store is tried again in a second.
    lab.alice.store.failNextCommit()
    answer()
    await settle()
    expect([sending.state, await lab.balances()]).toEqual(['pending', [-10, 20]])
    await lab.bob.empty()
    await startAgain(lab, lab.bob)
    await lab.clock.advance(3000)
    expect([sending.state, await lab.balances()]).toEqual(['resolved', [-20, 20]])
    expect([...lab.alice.seen('dispute', 'error'), ...lab.bob.seen('dispute', 'error')]).toEqual([])
  })
})

describe('what came from the books that are gone, and waits until ours are compared', () => {
  it.each([['stays', false], ['goes in the moment when they are', true]])('is not taken any more, where the next session %s', async (_name, goes) => {
    const lab = new Lab()
    // Bob's books are new as well, and alice's answer does not reach him.
    const isAnswer: Matches = ({ from, packet, request }) => from === 'alice' && packet.type === 'response' && request?.protocolData[0]?.protocolName === 'paychan'
    const found = lab.network.drop(isAnswer)
    await lab.bob.start()
    await lab.alice.start()
    watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 100_000 }).transfer))
    await settle()
    expect([lab.network.count(asks('prepare')), lab.held(lab.alice).outgoing]).toEqual([1, 10])
    await lab.alice.empty()
    found()
    const answer = lab.network.hold(isAnswer, goes ? 1 : 0)
    const started = lab.alice.start()
    await lab.reconnect()
    answer()
    if (goes) lab.network.cut()
    await lab.clock.advance(2000)
    await started
    expect([await lab.bob.durable(), lab.bob.seen('incoming_prepare')]).toEqual([{ balance: 0, states: {}, open: {} }, []])
    await fulfilled(lab)
    expect(await lab.balances()).toEqual([-10, 10])
    expect([...lab.alice.seen('dispute', 'error'), ...lab.bob.seen('dispute', 'error')]).toEqual([])
  })
})

describe('a peer that is hostile', () => {
  const transfer = { id: '00000000-0000-4000-8000-000000000001', amount: '5', executionCondition: 'A'.repeat(43), expiresAt: '2030-01-01T00:00:00.000Z' }

  it.each([
    ['a negative sum', { reconcile: report({ incomingFulfilled: '-5' }), held: [], more: false }],
    ['a sum that is no number', { reconcile: report({ incomingFulfilled: '1e9' }), held: [], more: false }],
    ['a sum of a thousand digits', { reconcile: report({ incomingFulfilled: '9'.repeat(1000) }), held: [], more: false }],
    ['no list', { reconcile: report({ incomingFulfilled: '5' }), more: false }],
    ['too long a list', { reconcile: report({ incomingFulfilled: '5' }), held: Array(101).fill(transfer), more: false }],
    ['the same transfer twice', { reconcile: report({ incomingFulfilled: '5' }), held: [transfer, transfer], more: false }],
    ['pages without end', { reconcile: report({ incomingFulfilled: '5' }), held: [transfer], more: true }],
    ['an amount beyond all', { reconcile: report({ incomingFulfilled: '5' }), held: [{ ...transfer, amount: String(2n ** 64n) }], more: false }],
    ['a time that is none', { reconcile: report({ incomingFulfilled: '5' }), held: [{ ...transfer, expiresAt: 'soon' }], more: false }],
    ['a preimage of something else', { reconcile: report({ incomingFulfilled: '5' }), held: [{ ...transfer, fulfillment: 'A'.repeat(43) }], more: false }]
  ])('gives %s, and nothing is taken', async (_name, page) => {
    const lab = new Lab({ alice: RECOVERS })
    const peer = new ScriptedPeer(lab, { announces: true })
    peer.script = ({ protocolData: [primary] }): Answer | undefined => {
      if (primary?.protocolName !== 'paychan') return undefined
      return [json('paychan', 'recover' in Object(readJson(primary)) ? page : { reconcile: report({ incomingFulfilled: '5' }) })]
    }
    await peer.listen()
    const connecting = watch(lab.alice.make().connect())
    await lab.clock.advance(100)
    expect([connecting.state, lab.alice.plugin.isConnected()]).toEqual(['rejected', false])
    expect(await lab.alice.durable()).toEqual({ balance: 0, states: {}, open: {} })
  })

  it('one whose books change between two pages is asked again later: what it has fulfilled meanwhile counts once', async () => {
    const lab = new Lab({ alice: RECOVERS })
    const peer = new ScriptedPeer(lab, { announces: true })
    let pages = 0
    peer.script = ({ protocolData: [primary] }) => {
      if (primary?.protocolName !== 'paychan') return undefined
      if (!('recover' in Object(readJson(primary)))) return [json('paychan', { reconcile: report({ incomingFulfilled: '5' }) })]
      const isBefore = ++pages === 1
      return [json('paychan', { reconcile: report({ incomingFulfilled: isBefore ? '5' : '10' }), held: isBefore ? [transfer] : [], more: isBefore })]
    }
    await peer.listen()
    const connecting = watch(lab.alice.make().connect())
    await lab.clock.advance(5000)
    expect(connecting.state).toBe('resolved')
    expect([(await lab.alice.durable()).balance, lab.held(lab.alice).outgoing, lab.alice.plugin.isConnected()]).toEqual([-10, 0, true])
  })
})

describe('a store that was emptied under the plugin', () => {
  it('takes no more: a host that waits hears nothing that is not stored', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    const answer = lab.network.hold(answers('fulfill'))
    const fulfilling = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await settle()
    const release = lab.bob.store.holdCommits()
    answer()
    await settle()
    const all = await lab.bob.disk.list('', { limit: Infinity })
    await lab.bob.disk.commit({ deletes: all.map(([key]) => key), guards: [] })
    // Its host lets what is in flight end.
    void lab.bob.plugin.disconnect({ drainMs: 500 })
    release()
    await lab.clock.advance(1000)
    expect(fulfilling.error).toMatchObject({ name: 'UnreachableError', outcome: 'unknown' })
    expect([lab.bob.seen('incoming_fulfill'), lab.bob.plugin.role]).toEqual([[], 'disconnected'])
  })

  it('is another ledger: the peer hears its new id at the next connect', async () => {
    const lab = await Lab.open({ alice: RECOVERS })
    await fulfilled(lab)
    const announced = (): string[] => lab.network.traffic.filter(({ from, packet }) => from === 'alice' && packet.protocolData[0]?.protocolName === 'auth')
      .map(({ packet }) => new TextDecoder().decode(packet.protocolData.find(({ protocolName }) => protocolName === 'paychan')?.data))
    const all = await lab.alice.disk.list('', { limit: Infinity })
    await lab.alice.plugin.disconnect()
    await lab.alice.disk.commit({ deletes: all.map(([key]) => key), guards: [] })
    const connecting = watch(lab.alice.plugin.connect())
    await lab.clock.advance(5000)
    expect(connecting.state).toBe('resolved')
    expect(new Set(announced()).size).toBe(2)
    expect(await lab.balances()).toEqual([-10, 10])
  })
})
