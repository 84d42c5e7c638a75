/** What a host agrees to by 'theirs' is what it was told. */
import { describe, expect, it } from 'vitest'
import { json, octets, readJson, find } from '../../src/btp/protocol-data.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'

const BLANK = { incomingFulfilled: '0', outgoingFulfilled: '0', settledIn: '0', settledOut: '0', incomingHeld: '0', fulfilling: '0', sent: '0', settling: '0' }

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
      return 'reconcile' in Object(readJson(primary)) ? [json('paychan', { reconcile: { ...BLANK, ...parts } })] : [json('paychan', { fulfilled: {}, cancelled: [], held: [] })]
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
