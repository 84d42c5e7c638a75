/** H8: what an instance does whose store has another owner by now. */
import { describe, expect, it } from 'vitest'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, answers, settle, watch } from '../support/lab.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { Matches } from '../support/lab.js'
import { plainModule, sumOf } from '../support/settling.js'

const isQuestion: Matches = ({ from, packet }) => from === 'alice' && packet.type === 'message' && packet.protocolData[0]?.protocolName === 'paychan'

describe('a comparison of books that another owner of the store has moved on', () => {
  it('tells the host of no dispute', async () => {
    const lab = await Lab.open()
    const first = await lab.prepared()
    await lab.bob.plugin.fulfillCondition(first.id, first.fulfillment)
    await settle()
    const old = lab.alice.plugin
    const told: unknown[] = []
    old.on('dispute', dispute => { told.push(dispute) })
    const ask = lab.network.hold(isQuestion, 1)
    lab.network.cut()
    await lab.reconnect()
    expect(old.isConnected()).toBe(true)
    // Another process over the same store.
    await lab.alice.start()
    const second = await lab.prepared()
    await lab.bob.plugin.fulfillCondition(second.id, second.fulfillment)
    await settle()
    expect(await lab.balances()).toEqual([-20, 20])
    ask()
    await settle()
    expect([told, await lab.alice.disk.get(':paychan:reconcile')]).toEqual([[], undefined])
  })
})

describe('a packet whose end another owner of the store has stored, while this one drains', () => {
  it.each([['drains', 10_000], ['closes at once', 0]])('is not called late: %s', async (_name, drainMs) => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {} } })
    lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.bob.start()
    await lab.alice.start()
    expect(codeOf(await lab.alice.plugin.sendData(ilpPayment('first', lab.clock.now() + 5000).prepare))).toBe('fulfill')
    const old = lab.alice.plugin
    const answer = lab.network.hold(answers('message'), 1)
    const sending = watch(old.sendData(ilpPayment('second', lab.clock.now() + 1000).prepare))
    await settle()
    await lab.clock.advance(810)
    void old.disconnect({ drainMs })
    await lab.alice.start()
    expect(await lab.balances()).toEqual([-20, 20])
    await lab.clock.advance(193)
    answer()
    await lab.clock.advance(1000)
    expect(sending.error).toMatchObject({ outcome: 'unknown' })
    expect([await lab.balances(), lab.bob.seen('dispute'), lab.alice.seen('dispute')]).toEqual([[-20, 20], [], []])
  })
})

describe('a store that was taken for a write between two connects', () => {
  it('is taken anew at the next connect of the side that dials', async () => {
    const lab = await Lab.open()
    const old = lab.alice.plugin
    await old.disconnect()
    await old.prune({ before: lab.clock.now() })
    await lab.alice.start()
    const { id, fulfillment } = await lab.prepared()
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
    await settle()
    await lab.alice.plugin.disconnect()
    const connected = watch(old.connect())
    await lab.clock.advance(2000)
    expect([connected.state, connected.error?.message, await old.getBalance()]).toEqual(['resolved', undefined, '-10'])
  })

  it('is taken anew at the next connect of the side that listens', async () => {
    const lab = await Lab.open()
    const old = lab.bob.plugin
    await old.disconnect()
    await old.prune({ before: lab.clock.now() })
    await lab.bob.start()
    await lab.reconnect()
    const { id, fulfillment } = await lab.prepared()
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
    await settle()
    await lab.bob.plugin.disconnect()
    await old.connect()
    expect([old.role, await old.getBalance()]).toEqual(['holder', '10'])
    await lab.clock.advance(3000)
    expect([old.role, old.isConnected(), await old.getBalance()]).toEqual(['holder', true, '10'])
  })
})

describe('a settlement that the module judges after the disconnect', () => {
  it('does not keep the next connect from working', async () => {
    const waiting: Array<() => void> = []
    const moduleOf = (name: 'alice' | 'bob'): AnyModule => plainModule(name, {
      handleIncomingClaim: (_ctx, claim) => new Promise(resolve => { waiting.push(() => { resolve(sumOf(claim)) }) })
    })
    const lab = new Lab({ alice: { services: {}, module: moduleOf('alice') }, bob: { services: {}, module: moduleOf('bob') } })
    lab.bob.onStart = plugin => {
      plugin.registerDataHandler(async packet => fulfillOf(packet))
      plugin.registerMoneyHandler(async () => undefined)
    }
    await lab.bob.start()
    await lab.alice.start()
    await lab.alice.plugin.sendData(ilpPayment('one', lab.clock.now() + 5000).prepare)
    watch(lab.alice.plugin.sendMoney('10'))
    await settle()
    const old = lab.bob.plugin
    const ended = watch(old.disconnect())
    await lab.clock.advance(20_000)
    expect([ended.state, waiting.length]).toEqual(['resolved', 1])
    // The module answers at last.
    for (const go of waiting.splice(0)) go()
    await settle()
    // Another process has the store for a while.
    await lab.bob.start()
    await lab.clock.advance(2000)
    for (const go of waiting.splice(0)) go()
    await lab.bob.plugin.disconnect()
    await lab.clock.advance(100)
    await old.connect()
    await lab.clock.advance(5000)
    expect([old.role, old.isConnected()]).toEqual(['holder', true])
  })
})

describe('a comparison that ends with the connection', () => {
  it('tells no host of what is not stored', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
    await settle()
    const ask = lab.network.hold(isQuestion, 1)
    lab.network.cut()
    await lab.reconnect()
    // Bob's books say something else from here on.
    await lab.bob.plugin.disconnect()
    await lab.bob.disk.commit({ puts: [[':tl:balance:if', '7']], guards: [] })
    ask()
    await lab.bob.plugin.connect()
    const isComparison = (key: string) => key === ':paychan:reconcile'
    const failing = lab.alice.store
    const commit = failing.commit.bind(failing)
    failing.commit = async batch => {
      if (batch.puts?.some(([key]) => isComparison(key)) === true) throw new Error('disk full')
      return commit(batch)
    }
    await lab.reconnect()
    expect(lab.alice.plugin.isConnected()).toBe(true)
    await lab.clock.advance(100)
    const before = lab.alice.seen('dispute').length
    await lab.alice.plugin.disconnect()
    await lab.clock.advance(5000)
    expect([before, lab.alice.seen('dispute'), await lab.alice.disk.get(':paychan:reconcile')]).toEqual([0, [], undefined])
  })
})
