/** A hostile peer that gives credit to itself where books are taken from it: limits do not bound what it says. */
import { describe, expect, it } from 'vitest'
import { json, octets, readJson } from '../../src/btp/protocol-data.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'
import type { Answer } from '../support/scripted-peer.js'
import { find } from '../../src/btp/protocol-data.js'

const report = (parts: object) => ({ incomingFulfilled: '0', outgoingFulfilled: '0', settledIn: '0', settledOut: '0', incomingHeld: '0', fulfilling: '0', sent: '0', settling: '0', ...parts })

async function recovered(parts: object) {
  const lab = new Lab({ alice: { options: { recover: 'from-peer' as const, maxBalance: '100', minBalance: '-15' }, services: {} } })
  const peer = new ScriptedPeer(lab, { announces: true })
  peer.script = ({ protocolData: [primary] }): Answer | undefined => {
    if (primary?.protocolName !== 'paychan') return undefined
    const asked = Object(readJson(primary)) as object
    if ('ask' in asked) return [json('paychan', { fulfilled: {}, cancelled: [], held: [] })]
    return [json('paychan', 'recover' in asked ? { reconcile: report(parts), held: [], more: false } : { reconcile: report(parts) })]
  }
  await peer.listen()
  lab.alice.onStart = plugin => {
    plugin.registerDataHandler(async packet => fulfillOf(packet))
    plugin.registerMoneyHandler(async () => undefined)
  }
  const connecting = watch(lab.alice.make().connect())
  await lab.clock.advance(5000)
  let taken = 0
  for (let n = 0; n < 50 && connecting.state === 'resolved'; n++) {
    const answer = await peer.ask({ type: 'message', protocolData: [octets('ilp', ilpPayment(`seed ${n}`, lab.clock.now() + 10_000, '90').prepare), json('paychan', { transfer: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` })] })
    await settle()
    const ilp = answer.type === 'response' ? find(answer.protocolData, 'ilp')?.data : undefined
    if (ilp !== undefined && codeOf(ilp) === 'fulfill') taken += 90
  }
  return { lab, connecting, taken }
}


describe('what a hostile peer may take from one whose store was emptied, by packets that are never settled', () => {
  it('is within the maximum and the minimum, where it says that it is owed much', async () => {
    const { taken } = await recovered({ incomingFulfilled: '9'.repeat(40) })
    expect(taken).toBeLessThanOrEqual(115)
  })

  it('is within the maximum and the minimum, where it says that it has settled much, without a claim', async () => {
    const { taken } = await recovered({ settledOut: '9'.repeat(40) })
    expect(taken).toBeLessThanOrEqual(115)
  })
})
