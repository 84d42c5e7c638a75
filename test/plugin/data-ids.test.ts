/** Ids of packets that belong to something else already. */
import { describe, expect, it } from 'vitest'
import { json, octets } from '../../src/btp/protocol-data.js'
import { lateMessage } from '../../src/btp/inquiry.js'
import { fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'

const uuid = (n: number): string => `00000000-0000-4000-9000-${String(n).padStart(12, '0')}`

async function open() {
  const lab = new Lab({ alice: { services: {} } })
  const peer = new ScriptedPeer(lab, { announces: true })
  await peer.listen()
  const handled: string[] = []
  lab.alice.onStart = plugin => {
    plugin.registerDataHandler(async packet => {
      handled.push('packet')
      return fulfillOf(packet)
    })
  }
  await lab.alice.start()
  let n = 0
  const pay = async (id: string, more: object = {}) => {
    const answer = await peer.ask({ type: 'message', protocolData: [octets('ilp', ilpPayment(`seed ${n++}`, lab.clock.now() + 10_000).prepare), json('paychan', { transfer: id, ...more })] })
    await settle()
    return answer
  }
  return { lab, peer, pay, handled }
}

describe('I3: an id of which there is a record', () => {
  it('is not taken again for a packet when it was disputed, and its evidence stays', async () => {
    const { lab, peer, pay, handled } = await open()
    await pay(uuid(1))
    await peer.ask({ type: 'message', protocolData: [lateMessage(uuid(1))] })
    await settle()
    const evidence = async () => (await lab.alice.disk.list('', { limit: Infinity })).filter(([key]) => key.includes('disputed')).map(([, value]) => value)
    const before = await evidence()
    expect(before).toHaveLength(1)
    for (let n = 2; n < 400; n++) await pay(uuid(n), { n, final: n })
    const count = handled.length
    const again = await pay(uuid(1))
    expect([again.type, handled.length]).toEqual(['error', count])
    await peer.ask({ type: 'message', protocolData: [lateMessage(uuid(1))] })
    await settle()
    expect(await evidence()).toEqual(before)
  })

  it('is not taken for a packet when it was a transfer of LPI v1, after a restart', async () => {
    const lab = new Lab({})
    const peer = new ScriptedPeer(lab, { announces: true })
    await peer.listen()
    const handled: string[] = []
    lab.alice.onStart = plugin => {
      plugin.registerDataHandler(async packet => {
        handled.push('packet')
        return fulfillOf(packet)
      })
    }
    await lab.alice.start()
    const payment = lab.payment({ to: 'alice' })
    await peer.prepare(payment)
    await lab.alice.plugin.fulfillCondition(payment.id, payment.fulfillment)
    await settle()
    const restarting = lab.alice.start()
    await lab.reconnect()
    await restarting
    const answer = await peer.ask({ type: 'message', protocolData: [octets('ilp', ilpPayment('seed', lab.clock.now() + 10_000).prepare), json('paychan', { transfer: payment.id })] })
    await settle()
    expect([answer.type, handled.length, (await lab.alice.durable()).balance]).toEqual(['error', 0, 10])
    expect(await lab.alice.plugin.getFulfillment(payment.id)).toBe(payment.fulfillment)
  })
})
