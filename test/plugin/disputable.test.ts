/** What the sender of a packet may still object to: when it is closed, and how much there can be. */
import { describe, expect, it } from 'vitest'
import { lateMessage } from '../../src/btp/inquiry.js'
import { json, octets } from '../../src/btp/protocol-data.js'
import type { Session } from '../../src/btp/session.js'
import type { Account } from '../../src/plugin/account.js'
import { Disputable } from '../../src/plugin/disputable.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import { toSubProtocol } from '../../src/plugin/settlement.js'
import { fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, PREFIX, settle, watch } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'
import { Tabs } from '../support/tabs.js'
import { VirtualClock } from '../support/virtual-clock.js'

/**
 * Alice, to whom a peer of hers may owe 10, beside that peer. `pay` pays 10 to her, `dispute` disputes all that was paid: her balance before
 * and after.
 */
async function openBeside(options: Partial<PluginOptions>, module?: AnyModule) {
  const lab = new Lab({
    alice: { services: {}, ...(module === undefined ? {} : { module }), options: { maxBalance: '10', minBalance: undefined as unknown as string, ...options } }
  })
  const peer = new ScriptedPeer(lab, { announces: true })
  await peer.listen()
  lab.alice.onStart = plugin => {
    plugin.registerDataHandler(async packet => fulfillOf(packet))
    plugin.registerMoneyHandler(async () => undefined)
  }
  await lab.alice.start()
  const ids: string[] = []
  const pay = async (): Promise<void> => {
    const id = `00000000-0000-4000-8000-${String(ids.length).padStart(12, '0')}`
    ids.push(id)
    const { prepare } = ilpPayment(id, lab.clock.now() + 10_000)
    await peer.ask({ type: 'message', protocolData: [octets('ilp', prepare), json('paychan', { transfer: id })] })
  }
  const balance = async (): Promise<number> => (await lab.alice.durable()).balance
  const dispute = async (): Promise<[number, number]> => {
    const before = await balance()
    for (const id of ids) await peer.ask({ type: 'message', protocolData: [lateMessage(id)] })
    await settle()
    return [before, await balance()]
  }
  return { lab, peer, pay, dispute }
}

/** By itself, with two sessions of which the later is the one now. */
function alone() {
  const closed: string[] = []
  const [before, now] = [Object.create(null) as Session, Object.create(null) as Session]
  const clock = new VirtualClock()
  const ledger = { close: (id: string) => { closed.push(id) }, currentLimits: { maximum: Infinity, minimum: -Infinity } }
  const disputable = new Disputable({ clock, session: () => now, ledger } as unknown as Account)
  const tell = (id: string, session: Session): void => { disputable.add(id, 1n, { session, number: 0, expiresAt: clock.now() + 1000, position: 0n }) }
  return { disputable, before, now, closed, tell }
}

describe('what may be disputed', () => {
  it('is not closed by time on a connection that is dead and not yet known to be: the sender may be in doubt still', async () => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {}, options: { heartbeatMs: 120_000 } } })
    lab.bob.onStart = plugin => {
      plugin.registerDataHandler(async packet => {
        lab.network.freeze()
        return fulfillOf(packet)
      })
    }
    await lab.bob.start()
    await lab.alice.start()
    const sent = watch(lab.alice.plugin.sendData(ilpPayment('frozen', lab.clock.now() + 2000).prepare))
    await settle()
    await lab.clock.advance(95_000)
    lab.network.cut()
    await lab.reconnect()
    await lab.clock.advance(120_000)
    expect(sent.state).toBe('rejected')
    expect(await lab.balances()).toEqual([0, 0])
  })

  it('is not closed when a browser wakes up after a minute, before it learns that its connection is gone', async () => {
    const lab = new Lab({ bob: { services: {} } })
    const tabs = new Tabs(lab, lab.alice.store)
    await lab.bob.start()
    const tab = tabs.make({ options: { heartbeatMs: 20_000, heartbeatTimeoutMs: 10_000 } })
    tab.plugin.registerDataHandler(async packet => {
      lab.network.freeze()
      return fulfillOf(packet)
    })
    await tab.plugin.connect()
    await settle()
    const sent = watch(lab.bob.plugin.sendData(ilpPayment('asleep', lab.clock.now() + 2000).prepare))
    for (let n = 0; n < 20; n++) await settle()
    tab.hang()
    // Bob's own probe, which the lab has made rare, would find it after half a minute.
    await lab.clock.advance(90_000)
    lab.network.cut()
    tab.wake()
    for (let n = 0; n < 20; n++) await settle()
    await lab.clock.advance(120_000)
    expect(sent.state).toBe('rejected')
    expect(await tab.plugin.getBalance()).toBe('0')
    expect((await lab.bob.durable()).balance).toBe(0)
  })

  it('is closed as soon as the sender tells, with a later packet, that it has stored the end of all before', async () => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {} } })
    lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.bob.start()
    await lab.alice.start()
    const stages = async (): Promise<string[]> => Object.values((await lab.bob.durable()).open)
    let sent = 0
    const pay = async (): Promise<void> => {
      watch(lab.alice.plugin.sendData(ilpPayment(`final ${++sent}`, lab.clock.now() + 10_000).prepare))
      await settle()
    }
    for (let n = 0; n < 20; n++) await pay()
    expect(await stages()).toEqual(['answered'])
    // One whose answer is lost, and all behind it, until its end is known.
    lab.network.drop(({ packet }) => packet.type === 'response', 1)
    for (let n = 0; n < 5; n++) await pay()
    expect(await stages()).toEqual(Array.from({ length: 5 }, () => 'answered'))
    await lab.clock.advance(120_000)
    for (let n = 0; n < 2; n++) await pay()
    expect(await stages()).toEqual(['answered'])
    expect((await lab.balances())[0]).toBe(-(await lab.balances())[1])
  })

  it('I9: is what a sender has not called final, whatever numbers it gives', async () => {
    const { lab, peer } = await openBeside({ maxBalance: '1000' })
    const ids = Array.from({ length: 6 }, (_, n) => `00000000-0000-4000-8000-00000000000${n}`)
    const marks = [{ n: 3, final: 0 }, { n: 4, final: 9e15 }, { n: 1e15, final: 4 }, { n: 2, final: -1 }, { n: 0, final: 1e15 }, {}]
    for (const [at, mark] of marks.entries()) {
      const { prepare } = ilpPayment(ids[at] ?? '', lab.clock.now() + 10_000, '1')
      await peer.ask({ type: 'message', protocolData: [octets('ilp', prepare), json('paychan', { transfer: ids[at], ...mark })] })
    }
    const answers = await Promise.all(ids.map(id => peer.ask({ type: 'message', protocolData: [lateMessage(id)] })))
    // What came before a higher number was called final is closed. Numbers that are none close nothing.
    expect(answers.map(({ type }) => type)).toEqual(['error', 'error', 'response', 'response', 'response', 'response'])
  })

  it('is not closed by a question of the session before, whose answer took long, when it was told on the session now', () => {
    const { disputable, before, now, closed, tell } = alone()
    tell('p', now)
    disputable.asked([], true, before)
    expect(closed).toEqual([])
    disputable.stop()
  })

  it('is not closed by a question of the session that it was told on, which may have left before the answer came', () => {
    const { disputable, before, now, closed, tell } = alone()
    tell('p', before)
    tell('q', now)
    disputable.asked([], true, now)
    expect(closed).toEqual(['p'])
    disputable.stop()
  })

  it('I9: is no more than can be in flight, where no minimum is set, as by default under LPI v2', async () => {
    const { peer, dispute, pay } = await openBeside({ trustSettlements: true })
    for (let n = 0; n < 50; n++) {
      await pay()
      await peer.ask({ type: 'transfer', amount: '10', protocolData: [] })
    }
    // What is in flight, and as much again while the answers are on their way.
    expect(await dispute()).toEqual([500, 480])
  })

  it('I9: is not all that a peer has settled by claims, so that it would be paid back', async () => {
    const made: string[] = []
    const module: AnyModule = {
      connect: () => undefined,
      disconnect: () => undefined,
      getAccount: () => `${PREFIX}alice`,
      getPeerAccount: () => `${PREFIX}bob`,
      getInfo: () => ({ prefix: PREFIX }),
      handleIncomingPrepare: () => undefined,
      createOutgoingClaim: (_ctx, sum) => {
        made.push(sum)
        return { sum }
      },
      handleIncomingClaim: (_ctx, claim) => (claim as { sum: string }).sum
    }
    const { lab, peer, dispute, pay } = await openBeside({ settlement: 'automatic' }, module)
    for (let n = 1; n <= 50; n++) {
      await pay()
      await peer.ask({ type: 'transfer', amount: '10', protocolData: [toSubProtocol(JSON.stringify({ sum: String(10 * n) }))] })
    }
    expect(await dispute()).toEqual([500, 480])
    lab.network.cut()
    await peer.listen()
    await lab.reconnect()
    await settle()
    expect(made.filter(sum => Number(sum) > 20)).toEqual([])
  })

  it.each([[false], [true]])('I9: is all that was in flight at once, where it was settled for beforehand (restarted: %s)', async restarts => {
    const { lab, peer, dispute, pay } = await openBeside({ trustSettlements: true })
    await peer.ask({ type: 'transfer', amount: '190', protocolData: [] })
    await Promise.all(Array.from({ length: 20 }, pay))
    if (restarts) {
      await peer.listen()
      const restarted = lab.alice.restart()
      await lab.clock.advance(2000)
      await restarted
    }
    expect(await dispute()).toEqual([200, 0])
  })
})

describe('one packet that nobody asks about', () => {
  it('does not keep those behind it from being closed', async () => {
    const clock = new VirtualClock()
    const closed: string[] = []
    const before = {} as unknown as Session
    const now = { get lastHeard() { return clock.now() } } as unknown as Session
    const ledger = { close: (id: string) => { closed.push(id) }, currentLimits: { maximum: Infinity, minimum: -Infinity } }
    const disputable = new Disputable({ clock, session: () => now, ledger } as unknown as Account)
    // The host was slow: its answer was stored when the session was over already, on which the packet came.
    disputable.add('first', 1n, { session: before, number: 0, expiresAt: 1000, position: 0n })
    for (let n = 0; n < 5000; n++) {
      disputable.settled(now, n)
      disputable.add(String(n), 1n, { session: now, number: n, expiresAt: 1000, position: 0n })
    }
    expect(closed).toEqual(Array.from({ length: 4999 }, (_, n) => String(n)))
    disputable.stop()
  })
})
