/** Disconnecting, while a module takes its time for that. */
import { describe, expect, it } from 'vitest'
import { Lab, PREFIX, answers, settle, watch } from '../support/lab.js'
import { plainModule } from '../support/settling.js'

function slow(name: 'alice' | 'bob') {
  const log: string[] = []
  const gates = { disconnect: [] as Array<() => void>, slowDisconnect: false }
  const module = plainModule(name, {
    connect: () => { log.push('connect') },
    disconnect: async () => {
      log.push('disconnect')
      if (gates.slowDisconnect) await new Promise<void>(resolve => { gates.disconnect.push(resolve) })
    }
  })
  return { module, log, gates }
}

describe('I4: a Fulfill that arrives in time while the module of its sender disconnects', () => {
  it('is honoured, however long that takes', async () => {
    const [a, b] = [slow('alice'), slow('bob')]
    const lab = new Lab({ alice: { module: a.module }, bob: { module: b.module } })
    a.gates.slowDisconnect = true
    await lab.bob.start()
    await lab.alice.start()
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 5000, more: { to: `${PREFIX}bob` } })
    const ending = watch(lab.alice.plugin.disconnect())
    await lab.clock.advance(1000)
    const fulfilling = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(10_000)
    for (const go of a.gates.disconnect.splice(0)) go()
    await lab.clock.advance(5000)
    expect(ending.state).toBe('resolved')
    await lab.alice.plugin.connect()
    await lab.clock.advance(5000)
    expect([await lab.balances(), fulfilling.state, lab.bob.seen('dispute')]).toEqual([[-10, 10], 'resolved', []])
  })
})

describe('a disconnect while the books are compared', () => {
  it('is the end of that connect', async () => {
    const [a, b] = [slow('alice'), slow('bob')]
    const lab = new Lab({ alice: { module: a.module, services: {} }, bob: { module: b.module, services: {} } })
    await lab.bob.start()
    a.gates.slowDisconnect = true
    const answer = lab.network.hold(({ from, packet, request }) => from === 'bob' && packet.type === 'response' && request?.protocolData[0]?.protocolName === 'paychan')
    const plugin = lab.alice.make()
    const connecting = watch(plugin.connect())
    await settle()
    expect(a.log).toEqual(['connect'])
    const ending = watch(plugin.disconnect())
    await settle()
    expect(a.log).toEqual(['connect', 'disconnect'])
    answer()
    await lab.clock.advance(100)
    const seen = [connecting.state, plugin.role, lab.alice.seen('connect').length]
    for (const go of a.gates.disconnect.splice(0)) go()
    await lab.clock.advance(100)
    expect([seen, ending.state]).toEqual([['pending', 'disconnected', 0], 'resolved'])
  })
})

describe('H8: a store that is lost while the module disconnects', () => {
  it('closes the connection, so that whoever owns it by now can listen', async () => {
    const [a, b] = [slow('alice'), slow('bob')]
    b.gates.slowDisconnect = true
    const lab = new Lab({ alice: { module: a.module }, bob: { module: b.module } })
    await lab.bob.start()
    await lab.alice.start()
    const old = lab.bob.plugin
    const { id, fulfillment } = await lab.prepared({ more: { to: `${PREFIX}bob` } })
    const drop = lab.network.drop(answers('fulfill'))
    watch(old.fulfillCondition(id, fulfillment))
    await settle()
    watch(old.disconnect())
    await settle()
    await lab.bob.disk.commit({ puts: [['paychan:head', JSON.stringify({ v: 1, owner: 'other', epoch: 99, attempt: 1 })]], guards: [] })
    drop()
    await lab.clock.advance(60_000)
    expect(JSON.stringify(lab.bob.log)).toContain('standing by')
    expect(lab.alice.plugin.isConnected()).toBe(false)
  })
})
