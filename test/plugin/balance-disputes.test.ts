/** Differences of the books: decided while others are found, told when the process dies, and decided against a peer that does not help. */
import { describe, expect, it } from 'vitest'
import { find, json, octets, readJson } from '../../src/btp/protocol-data.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'
import { ScriptedPeer, report } from '../support/scripted-peer.js'
import type { Answer } from '../support/scripted-peer.js'

const BOOKS = ':paychan:reconcile'

/** Alice, who has paid 3, beside a peer that says whatever `state.answer` is. */
async function beside(parts: object) {
  const lab = new Lab()
  const peer = new ScriptedPeer(lab, { announces: true })
  const state: { answer: Answer } = { answer: [json('paychan', { reconcile: report(parts) })] }
  peer.script = ({ protocolData: [primary] }) => primary?.protocolName === 'paychan' && 'reconcile' in Object(readJson(primary)) ? state.answer : undefined
  await peer.listen()
  await lab.alice.disk.commit({ puts: [[':tl:balance:of', '3']], guards: [] })
  const say = (more: object): void => { state.answer = [json('paychan', { reconcile: report(more) })] }
  return { lab, peer, state, say }
}

const disputes = (lab: Lab) => lab.alice.seen('dispute')

describe('a difference', () => {
  it('that was decided, while the peer says another number, is decided in the store too', async () => {
    const { lab, peer, say } = await beside({ incomingFulfilled: '5' })
    await lab.alice.start()
    expect(disputes(lab)).toHaveLength(1)
    // The store is slow, and busy.
    const release = lab.alice.store.holdCommits()
    void peer.prepare(lab.payment({ to: 'alice', expiresInMs: 100_000 }))
    await settle()
    const resolving = watch(lab.alice.plugin.resolveDispute('ours'))
    await settle()
    // The peer's numbers change, and it asks.
    say({ incomingFulfilled: '6' })
    void peer.ask({ type: 'message', protocolData: [json('paychan', { reconcile: report({ incomingFulfilled: '6' }) })] })
    await lab.clock.advance(10)
    // What it said was of a moment.
    say({ incomingFulfilled: '5' })
    release()
    await settle()
    await lab.clock.advance(10)
    expect(resolving.state).toBe('resolved')
    expect(JSON.parse(await lab.alice.disk.get(BOOKS) ?? '{}')).toMatchObject({ open: [], accepted: [['outgoingFulfilled', '2']] })
    await lab.alice.restart()
    const sending = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    await settle()
    expect(sending.state).toBe('resolved')
  })

  it('is told to the host, also when the process dies as it is stored', async () => {
    const { lab } = await beside({ incomingFulfilled: '5' })
    const plugin = lab.alice.make()
    lab.alice.crashAtCommit('after', ({ puts = [] }) => puts.some(([key]) => key === BOOKS))
    void plugin.connect()
    await lab.clock.advance(1000)
    expect(lab.alice.isAlive).toBe(false)
    const started = lab.alice.start()
    await lab.reconnect()
    await started
    await lab.clock.advance(100_000)
    await expect(lab.alice.plugin.sendTransfer(lab.payment().transfer)).rejects.toThrow('resolveDispute')
    expect(disputes(lab)).toHaveLength(1)
  })

  it.each([
    ['says that all is in flight', [json('paychan', { reconcile: report({ incomingFulfilled: '5', fulfilling: '9'.repeat(50) }) })]],
    ['does not compare any more', { code: 'F00', name: 'NotAcceptedError' }]
  ] as Array<[string, Answer]>)('can be decided for our own numbers although the peer %s', async (_name, answer) => {
    const { lab, state } = await beside({ incomingFulfilled: '5' })
    await lab.alice.start()
    expect(disputes(lab)).toHaveLength(1)
    state.answer = answer
    await lab.clock.advance(100_000)
    const resolving = watch(lab.alice.plugin.resolveDispute('ours'))
    await lab.clock.advance(10_000)
    const sending = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 100_000 }).transfer))
    await lab.clock.advance(1000)
    expect([resolving.state, sending.state]).toEqual(['resolved', 'resolved'])
  })

  it('is told, and can be decided, also where the peer says that its books are new', async () => {
    const { lab } = await beside({ isNew: true })
    await lab.alice.start()
    await lab.clock.advance(600_000)
    await lab.alice.plugin.resolveDispute('ours')
    await lab.clock.advance(100)
    const sending = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 100_000 }).transfer))
    await lab.clock.advance(1000)
    expect([disputes(lab).length, sending.state]).toEqual([1, 'resolved'])
  })
})

describe("resolveDispute('theirs')", () => {
  it.each([
    ['the sum in dispute', { incomingFulfilled: '9'.repeat(40) }],
    ['a sum that was in no dispute', { incomingFulfilled: '5', settledOut: '9'.repeat(40) }]
  ])('takes no number that the host was not told, where the peer changes %s before', async (_name, later) => {
    const lab = new Lab({ alice: { services: {}, options: { maxBalance: '100', minBalance: '-1000' } } })
    const peer = new ScriptedPeer(lab, { announces: true })
    let parts: object = { incomingFulfilled: '5' }
    peer.script = ({ protocolData: [primary] }) => {
      if (primary?.protocolName !== 'paychan') return undefined
      return 'reconcile' in Object(readJson(primary)) ? [json('paychan', { reconcile: report(parts) })] : [json('paychan', { fulfilled: {}, cancelled: [], held: [] })]
    }
    await peer.listen()
    await lab.alice.disk.commit({ puts: [[':tl:balance:of', '3']], guards: [] })
    lab.alice.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.alice.start()
    await settle()
    expect(lab.alice.seen('dispute').map(([, dispute]) => dispute)).toEqual([{ sum: 'outgoingFulfilled', ours: '3', theirs: '5' }])
    parts = later
    const resolving = watch(lab.alice.plugin.resolveDispute('theirs'))
    await settle()
    let taken = 0
    for (let n = 0; n < 20; n++) {
      const answer = await peer.ask({ type: 'message', protocolData: [octets('ilp', ilpPayment(`seed ${n}`, lab.clock.now() + 10_000, '90').prepare), json('paychan', { transfer: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` })] })
      const ilp = answer.type === 'response' ? find(answer.protocolData, 'ilp')?.data : undefined
      if (ilp !== undefined && codeOf(ilp) === 'fulfill') taken += 90
    }
    expect(taken).toBeLessThanOrEqual(105)
    expect(resolving.state).not.toBe('pending')
  })
})
