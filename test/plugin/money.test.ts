/** LPI v2's money: settlements between two whole plugins, credited once, and what they do to the limits. */
import { describe, expect, it } from 'vitest'
import { MoneyHandlerAlreadyRegisteredError, NoSubscriptionsError, NotAcceptedError } from '../../src/core/errors.js'
import type { MoneyHandler } from '../../src/plugin/lpi.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, answers, asks, settle, watch } from '../support/lab.js'
import type { LabOptions, Side } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'

/** Under a host of LPI v2, and believing its peer. */
const TRUSTING = { services: {}, options: { trustSettlements: true } }

/** Alice settles; `told` is what bob's host heard. */
async function openLab(options: LabOptions = {}, handler?: MoneyHandler): Promise<{ lab: Lab; told: string[] }> {
  const told: string[] = []
  const lab = new Lab({ alice: TRUSTING, bob: TRUSTING, ...options })
  lab.bob.onStart = plugin => {
    plugin.registerDataHandler(async packet => fulfillOf(packet))
    plugin.registerMoneyHandler(async amount => {
      told.push(amount)
      await handler?.(amount)
    })
  }
  await lab.bob.start()
  await lab.alice.start()
  return { lab, told }
}

/** What is durable: settled out, settled in. */
async function settled(side: Side): Promise<[string, string]> {
  return [await side.disk.get(':paychan:settled:out') ?? '0', await side.disk.get(':paychan:settled:in') ?? '0']
}

describe('sendMoney', () => {
  it('C54: is added to what was settled on both sides, told to the host, and moves no balance', async () => {
    const { lab, told } = await openLab()
    await lab.alice.plugin.sendMoney('7')
    await lab.alice.plugin.sendMoney('0')
    expect([await settled(lab.alice), await settled(lab.bob), told, await lab.balances()]).toEqual([['7', '0'], ['0', '7'], ['7'], [0, 0]])
    await expect(lab.alice.plugin.sendMoney('-1')).rejects.toMatchObject({ name: 'InvalidFieldsError' })
  })

  it('C54: several at once are each credited, in their order', async () => {
    const { lab, told } = await openLab()
    await Promise.all(['1', '2', '3'].map(amount => lab.alice.plugin.sendMoney(amount)))
    expect([told, await settled(lab.alice), await settled(lab.bob)]).toEqual([['1', '2', '3'], ['6', '0'], ['0', '6']])
  })

  it('is sent again when the answer is lost, and credited once', async () => {
    const { lab, told } = await openLab()
    lab.network.drop(answers('transfer'), 1)
    const sent = watch(lab.alice.plugin.sendMoney('7'))
    await settle()
    expect(sent.state).toBe('pending')
    await lab.clock.advance(10_000)
    expect([sent.state, lab.network.count(asks('transfer')), told]).toEqual(['resolved', 2, ['7']])
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['7', '0'], ['0', '7']])
  })

  it('survives lost connections and restarts of both sides, and is credited once', async () => {
    const { lab, told } = await openLab()
    lab.network.drop(answers('transfer'), 2)
    watch(lab.alice.plugin.sendMoney('7'))
    watch(lab.alice.plugin.sendMoney('8'))
    await settle()
    lab.network.cut()
    await lab.reconnect()
    await lab.bob.restart()
    await lab.alice.restart()
    await lab.clock.advance(10_000)
    expect([told, await settled(lab.alice), await settled(lab.bob)]).toEqual([['7', '8'], ['15', '0'], ['0', '15']])
    await lab.alice.plugin.sendMoney('1')
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['16', '0'], ['0', '16']])
  })

  it('at each crash the two sums agree in the end', async () => {
    for (const side of ['alice', 'bob'] as const) {
      for (const moment of ['before', 'after'] as const) {
        for (let at = 0; at < 2; at++) {
          const { lab } = await openLab()
          let commits = 0
          lab[side].crashAtCommit(moment, () => commits++ === at)
          watch(lab.alice.plugin.sendMoney('7'))
          await settle()
          await lab[side].restart()
          await lab.clock.advance(30_000)
          expect([side, moment, at, (await settled(lab.alice))[0]]).toEqual([side, moment, at, (await settled(lab.bob))[1]])
        }
      }
    }
  })

  it('gives room within the limits of both sides, and takes none away that is needed', async () => {
    const { lab } = await openLab({
      alice: { services: {}, options: { minBalance: '-10', maxBalance: '10' } },
      bob: { services: {}, options: { minBalance: '-10', maxBalance: '10', trustSettlements: true } }
    })
    const pay = (n: number): Promise<Uint8Array> => lab.alice.plugin.sendData(ilpPayment(`settled ${n}`, lab.clock.now() + 10_000).prepare)
    await pay(1)
    await expect(pay(2)).rejects.toMatchObject({ ilpErrorCode: 'T04' })
    await lab.alice.plugin.sendMoney('10')
    await pay(3)
    expect(await lab.balances()).toEqual([-20, 20])
    await lab.alice.plugin.sendMoney('20')
    await expect(lab.alice.plugin.sendMoney('1')).rejects.toBeInstanceOf(NotAcceptedError)
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['30', '0'], ['0', '30']])
  })

  it('is refused by who does not trust its peer, so that nobody can talk a limit away', async () => {
    const { lab, told } = await openLab({ bob: { services: {}, options: { maxBalance: '10' } } })
    const pay = (n: number): Promise<Uint8Array> => lab.alice.plugin.sendData(ilpPayment(`owed ${n}`, lab.clock.now() + 10_000).prepare)
    await pay(1)
    await expect(lab.alice.plugin.sendMoney('10')).rejects.toThrow(/does not trust its peer/)
    expect(codeOf(await pay(2))).toBe('T04')
    expect([told, await settled(lab.alice), await settled(lab.bob)]).toEqual([[], ['0', '0'], ['0', '0']])
  })

  it('without a handler is refused, and settles nothing', async () => {
    const { lab } = await openLab()
    lab.bob.plugin.deregisterMoneyHandler()
    await expect(lab.alice.plugin.sendMoney('7')).rejects.toBeInstanceOf(NoSubscriptionsError)
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['0', '0'], ['0', '0']])
  })

  it('is credited though the handler fails', async () => {
    const { lab, told } = await openLab({}, async () => { throw new Error('broken') })
    await lab.alice.plugin.sendMoney('7')
    expect([told, await settled(lab.bob)]).toEqual([['7'], ['0', '7']])
  })

  it('to a foreign peer goes once, and a lost answer is told as unknown', async () => {
    const lab = new Lab({ alice: { services: {} } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    await lab.alice.start()
    await lab.alice.plugin.sendMoney('5')
    peer.script = packet => (packet.type === 'transfer' ? 'silence' : undefined)
    const sent = watch(lab.alice.plugin.sendMoney('6'))
    await lab.clock.advance(20_000)
    expect([sent.error?.outcome, peer.requests('transfer').map(({ amount, protocolData }) => [amount, protocolData])]).toEqual(['unknown', [['5', []], ['6', []]]])
    expect(await settled(lab.alice)).toEqual(['5', '0'])
  })

  it('C54: a second handler is refused until the first is taken away', async () => {
    const { lab } = await openLab()
    expect(() => { lab.bob.plugin.registerMoneyHandler(async () => undefined) }).toThrow(MoneyHandlerAlreadyRegisteredError)
    lab.bob.plugin.deregisterMoneyHandler()
    lab.bob.plugin.registerMoneyHandler(async () => undefined)
    expect(() => { lab.alice.plugin.registerMoneyHandler('x' as never) }).toThrow('must be a function')
  })
})
