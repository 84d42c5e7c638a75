/** A store that was not there for a moment: what is answered from blank books before the peer's are known cannot be taken back. */
import { describe, expect, it } from 'vitest'
import { EmptiedStoreError } from '../../src/core/errors.js'
import { fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'

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
    lab.bob.crash()
    await settle()
    const entries = await lab.bob.disk.list('', { limit: Infinity })
    await lab.bob.disk.commit({ deletes: entries.map(([key]) => key), guards: [] })
    await lab.bob.start()
    await lab.clock.advance(3000)
    expect(lab.bob.seen('error').map(([, error]) => error)).toEqual([expect.any(EmptiedStoreError)])
    // The store is mounted again.
    lab.bob.crash()
    await settle()
    const blank = await lab.bob.disk.list('', { limit: Infinity })
    await lab.bob.disk.commit({ deletes: blank.map(([key]) => key), puts: [], guards: [] })
    await lab.bob.disk.commit({ puts: entries, guards: [] })
    await lab.bob.start()
    await lab.clock.advance(5000)
    expect({ sending: sending.state, balances: await lab.balances() }).toEqual({ sending: 'resolved', balances: [-20, 20] })
  })
})
