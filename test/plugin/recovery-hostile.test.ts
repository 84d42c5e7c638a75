/** A peer that gives absurd books to one that has lost its own, or ones by which it could take more than the limits allow. */
import { describe, expect, it } from 'vitest'
import { conditionOf } from '../../src/core/ids.js'
import { find, json, octets, readJson } from '../../src/btp/protocol-data.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'
import type { SideOptions } from '../support/lab.js'
import { ScriptedPeer, report } from '../support/scripted-peer.js'
import type { Answer } from '../support/scripted-peer.js'

async function recovered(parts: object, held: object[], { options, ...alice }: SideOptions = {}) {
  const lab = new Lab({ alice: { ...alice, options: { ...options, recover: 'from-peer' } } })
  const peer = new ScriptedPeer(lab, { announces: true })
  peer.script = ({ protocolData: [primary] }): Answer | undefined => {
    if (primary?.protocolName !== 'paychan') return undefined
    const asked = Object(readJson(primary)) as object
    if ('ask' in asked) return [json('paychan', { fulfilled: {}, cancelled: [], held: [] })]
    return [json('paychan', 'recover' in asked ? { reconcile: report(parts), held, more: false } : { reconcile: report(parts) })]
  }
  await peer.listen()
  lab.alice.onStart = plugin => {
    plugin.registerDataHandler(async packet => fulfillOf(packet))
    plugin.registerMoneyHandler(async () => undefined)
  }
  const connecting = watch(lab.alice.make().connect())
  await lab.clock.advance(5000)
  return { lab, peer, connecting }
}

const fulfillment = 'A'.repeat(43)
const transfer = { id: '00000000-0000-4000-8000-000000000001', amount: '5', executionCondition: conditionOf(fulfillment), expiresAt: '+100000-01-01T00:00:00.000Z' }

describe('recovery from absurd books', () => {
  it.each([['LPI v1', {}], ['LPI v2', { services: {} }]])('a transfer that never expires does not hold its amount for ever: %s', async (_name, alice) => {
    const { lab } = await recovered({ incomingFulfilled: '5' }, [{ ...transfer, isPacket: 'services' in alice }], alice)
    await lab.clock.advance(100 * 24 * 3_600_000)
    expect(lab.held(lab.alice).outgoing).toBe(0)
  })

  it('the balance that it leaves can be told', async () => {
    const { lab, peer, connecting } = await recovered({ incomingFulfilled: '9'.repeat(60) }, [])
    expect(connecting.state).not.toBe('pending')
    const answer = await Promise.race([peer.ask({ type: 'message', protocolData: [octets('balance', Uint8Array.of(0))] }), settle().then(() => ({ type: 'nothing' }))])
    await settle()
    expect([connecting.state, lab.alice.plugin.isConnected(), answer.type]).not.toEqual(['resolved', true, 'error'])
  })
})

/** What such a peer is given by packets that are never settled. */
async function taken(parts: object) {
  const { lab, peer, connecting } = await recovered(parts, [], { services: {}, options: { maxBalance: '100', minBalance: '-15' } })
  let sum = 0
  for (let n = 0; n < 50 && connecting.state === 'resolved'; n++) {
    const answer = await peer.ask({ type: 'message', protocolData: [octets('ilp', ilpPayment(`seed ${n}`, lab.clock.now() + 10_000, '90').prepare), json('paychan', { transfer: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` })] })
    await settle()
    const ilp = answer.type === 'response' ? find(answer.protocolData, 'ilp')?.data : undefined
    if (ilp !== undefined && codeOf(ilp) === 'fulfill') sum += 90
  }
  return sum
}

describe('what a hostile peer may take from one whose store was emptied, by packets that are never settled', () => {
  it('is within the maximum and the minimum, where it says that it is owed much', async () => {
    expect(await taken({ incomingFulfilled: '9'.repeat(40) })).toBeLessThanOrEqual(115)
  })

  it('is within the maximum and the minimum, where it says that it has settled much, without a claim', async () => {
    expect(await taken({ settledOut: '9'.repeat(40) })).toBeLessThanOrEqual(115)
  })
})

describe('a peer that asks for all books a thousand times at once', () => {
  it('is answered once in a turn: what others ask meanwhile does not wait for the rest', async () => {
    const lab = new Lab()
    const peer = new ScriptedPeer(lab, { announces: true })
    peer.script = ({ protocolData: [primary] }) => primary?.protocolName === 'paychan' ? [json('paychan', { reconcile: report({}) })] : undefined
    await peer.listen()
    await lab.alice.start()
    const answers: Array<'books' | 'other'> = []
    const turns: number[] = []
    let turn = 0
    const count = (): void => {
      turn++
      if (answers.length < 21) lab.clock.setTimer(0, count)
    }
    lab.clock.setTimer(0, count)
    const asked = Array.from({ length: 20 }, () => peer.ask({ type: 'message', protocolData: [json('paychan', { recover: '' })] }).then(() => {
      answers.push('books')
      turns.push(turn)
    }))
    const other = peer.ask({ type: 'message', protocolData: [octets('balance', new Uint8Array())] }).then(() => { answers.push('other') })
    await lab.clock.advance(100)
    await Promise.all([...asked, other])
    expect(answers.indexOf('other')).toBeLessThan(3)
    expect(new Set(turns).size).toBeGreaterThan(10)
  })
})
