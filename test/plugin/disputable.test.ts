/** What the sender of a packet may still object to: when it is closed, and how much there can be. */
import { describe, expect, it } from 'vitest'
import type { Session } from '../../src/btp/session.js'
import type { Account } from '../../src/plugin/account.js'
import { Disputable } from '../../src/plugin/disputable.js'
import { fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'
import { Tabs } from '../support/tabs.js'
import { VirtualClock } from '../support/virtual-clock.js'

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
    await lab.clock.advance(75_000)
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

  it('is not closed by a question of the session before, whose answer took long, when it was told on the session now', () => {
    const closed: string[] = []
    const [before, now] = [Object.create(null) as Session, Object.create(null) as Session]
    const account = {
      clock: new VirtualClock(),
      session: () => now,
      ledger: { close: (id: string) => { closed.push(id) }, currentLimits: { maximum: Infinity, minimum: -Infinity } }
    } as unknown as Account
    const disputable = new Disputable(account)
    disputable.add('p', 1n, now, account.clock.now() + 1000)
    disputable.asked([], true, before)
    expect(closed).toEqual([])
    disputable.stop()
  })
})
