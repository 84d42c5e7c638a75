/** Books that are blank, while sessions come and go, and the store does: nothing is answered or taken that would not hold. */
import { describe, expect, it } from 'vitest'
import { json, readJson } from '../../src/btp/protocol-data.js'
import { EmptiedStoreError } from '../../src/core/errors.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, answers, settle, watch } from '../support/lab.js'
import type { Matches } from '../support/lab.js'
import { ScriptedPeer, report } from '../support/scripted-peer.js'
import { plainModule, settled, sumOf } from '../support/settling.js'

const isLate: Matches = ({ from, packet }) => from === 'alice' && packet.type === 'message' && packet.protocolData[0]?.protocolName === 'paychan' &&
  (readJson(packet.protocolData[0]) as { late?: unknown }).late !== undefined
const RECOVERS = { options: { recover: 'from-peer' as const, maxBalance: '100', minBalance: '-15' } }

/** Bob, who has paid 10, lost his store and begins to recover; the commit of that waits until `release`. */
async function openRecovering(isHeld: boolean) {
  const lab = await Lab.open({ bob: RECOVERS })
  const paid = await lab.prepared({ to: 'alice' })
  await lab.alice.plugin.fulfillCondition(paid.id, paid.fulfillment)
  await settle()
  // Alice holds a transfer of bob's.
  if (isHeld) await lab.prepared({ to: 'alice', amount: '5', expiresInMs: 100_000 })
  await lab.bob.empty()
  lab.network.isUp = false
  await lab.bob.start()
  const held = { release: (): void => undefined }
  const commits = lab.bob.store.commit.bind(lab.bob.store)
  let isFirst = true
  lab.bob.store.commit = async batch => {
    if (isFirst && batch.puts?.some(([key]) => key === ':tl:balance:of') === true) {
      isFirst = false
      await new Promise<void>(resolve => { held.release = resolve })
    }
    return commits(batch)
  }
  lab.network.isUp = true
  await lab.clock.advance(1500)
  expect(isFirst).toBe(false)
  return { lab, release: () => { held.release() } }
}

describe('a recovery whose session is lost while the store is slow', () => {
  it.each([['nothing', false], ['a transfer', true]])('with %s held: the books are sound, and the account goes on', async (_name, isHeld) => {
    const { lab, release } = await openRecovering(isHeld)
    // Meanwhile the connection is lost, and comes back.
    lab.network.cut()
    await lab.clock.advance(1200)
    release()
    await lab.clock.advance(3000)
    expect(await lab.balances()).toEqual([10, -10])
    expect(lab.bob.seen('error', 'dispute')).toEqual([])
    expect(lab.bob.plugin.isConnected()).toBe(true)
  })

  it('what is paid between the two counts', async () => {
    const { lab, release } = await openRecovering(false)
    lab.network.cut()
    // The answer to the second recovery's question for a page is slow.
    const go = lab.network.hold(({ request, packet }) => packet.type === 'response' && request?.type === 'message' &&
      request.protocolData[0]?.protocolName === 'paychan' && new TextDecoder().decode(request.protocolData[0].data).includes('"recover"'), 1)
    await lab.clock.advance(1200)
    release()
    // Alice looks again, and finds that the books are back.
    await lab.clock.advance(2500)
    const payment = lab.payment({ to: 'bob', amount: '7', expiresInMs: 100_000 })
    const sending = watch(lab.alice.plugin.sendTransfer(payment.transfer))
    await settle()
    await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment).catch(() => undefined)
    await settle()
    const before = await lab.balances()
    go()
    await lab.clock.advance(3000)
    expect({ sending: sending.state, before, after: await lab.balances() }).toEqual({ sending: 'resolved', before: [3, -3], after: [3, -3] })
    expect([...lab.alice.seen('error', 'dispute'), ...lab.bob.seen('error', 'dispute')]).toEqual([])
  })
})

describe('who listens, with a store that is not there for a moment', () => {
  it('does not tell that packets came to nothing, which it had fulfilled', async () => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {} } })
    lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.bob.start()
    await lab.alice.start()
    await lab.alice.plugin.sendData(ilpPayment('first', lab.clock.now() + 10_000).prepare)
    // The answer to the second is lost with bob.
    const pass = lab.network.drop(({ request, packet }) => packet.type === 'response' && request?.protocolData[0]?.protocolName === 'ilp')
    const sending = watch(lab.alice.plugin.sendData(ilpPayment('second', lab.clock.now() + 60_000).prepare))
    await settle()
    expect(await lab.balances()).toEqual([-10, 20])
    pass()
    const entries = await lab.bob.empty()
    await lab.bob.start()
    await lab.clock.advance(3000)
    expect(lab.bob.seen('error').map(([, error]) => error)).toEqual([expect.any(EmptiedStoreError)])
    // The store is mounted again.
    await lab.bob.empty()
    await lab.bob.disk.commit({ puts: entries, guards: [] })
    await lab.bob.start()
    await lab.clock.advance(5000)
    expect({ sending: sending.state, balances: await lab.balances() }).toEqual({ sending: 'resolved', balances: [-20, 20] })
  })
})

describe('a settlement of books that are gone, which the module has not judged yet', () => {
  it('is not credited behind the comparison of the books', async () => {
    const waiting: Array<() => void> = []
    const lab = new Lab({
      alice: { services: {}, module: plainModule('alice'), options: { recover: 'from-peer' } },
      bob: {
        services: {},
        module: plainModule('bob', { handleIncomingClaim: (_ctx, claim) => new Promise(resolve => { waiting.push(() => { resolve(sumOf(claim)) }) }) })
      }
    })
    lab.bob.onStart = plugin => {
      plugin.registerDataHandler(async packet => fulfillOf(packet))
      plugin.registerMoneyHandler(async () => undefined)
    }
    await lab.bob.start()
    await lab.alice.start()
    expect(codeOf(await lab.alice.plugin.sendData(ilpPayment('one', lab.clock.now() + 5000).prepare))).toBe('fulfill')
    watch(lab.alice.plugin.sendMoney('10'))
    await settle()
    expect(waiting).toHaveLength(1)
    await lab.alice.empty()
    const started = lab.alice.start()
    await lab.reconnect()
    await started
    await lab.clock.advance(100)
    expect(await lab.balances()).toEqual([-10, 10])
    for (const resolve of waiting.splice(0)) resolve()
    await lab.clock.advance(3_600_000 / 2)
    const sums = [(await settled(lab.alice))[0], (await settled(lab.bob))[1]]
    const disputes = [...lab.alice.seen('dispute'), ...lab.bob.seen('dispute')].length
    expect({ sums, disputes }).toEqual({ sums: ['0', '0'], disputes: 0 })
  })
})

describe('a new account whose first transfer is in flight', () => {
  it('is not taken for an emptied store when its peer is one of ours from then on', async () => {
    const lab = new Lab()
    const old = new ScriptedPeer(lab)
    await old.listen()
    await lab.alice.start()
    await lab.prepared({ expiresInMs: 100_000 })
    expect(lab.held(lab.alice).outgoing).toBe(10)
    // The peer has updated its package, over the same store.
    const peer = new ScriptedPeer(lab, { announces: true })
    peer.script = ({ protocolData }) => {
      const [primary] = protocolData
      if (primary?.protocolName !== 'paychan' || (readJson(primary) as { reconcile?: unknown } | null)?.reconcile === undefined) return undefined
      return [json('paychan', { reconcile: report({ incomingHeld: '10' }) })]
    }
    await peer.listen()
    lab.network.cut()
    await lab.reconnect()
    await lab.clock.advance(2000)
    await settle()
    expect([lab.alice.seen('error').map(([, error]) => error.message), lab.alice.plugin.role]).toEqual([[], 'holder'])
  })
})

describe('a peer that has lost the packet with its books, and took ours, in which it does not count', () => {
  it('is in no dispute about it', async () => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {}, options: { recover: 'from-peer' } } })
    lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.bob.start()
    await lab.alice.start()
    expect(codeOf(await lab.alice.plugin.sendData(ilpPayment('first', lab.clock.now() + 5000).prepare))).toBe('fulfill')
    const answer = lab.network.hold(answers('message'), 1)
    watch(lab.alice.plugin.sendData(ilpPayment('late', lab.clock.now() + 1000).prepare))
    await lab.clock.advance(1100)
    const arrive = lab.network.drop(isLate)
    answer()
    await settle()
    expect(lab.network.count(isLate)).toBe(1)
    await lab.bob.empty()
    arrive()
    const started = lab.bob.start()
    await lab.reconnect()
    await started
    await lab.clock.advance(200)
    const paid = watch(lab.alice.plugin.sendData(ilpPayment('next', lab.clock.now() + 5000).prepare))
    await lab.clock.advance(500)
    await lab.clock.advance(120_000)
    expect([lab.alice.seen('dispute'), lab.bob.seen('dispute'), paid.error?.message]).toEqual([[], [], undefined])
    expect(await lab.balances()).toEqual([-20, 20])
  })
})
