/** LPI v2's money: settlements between two whole plugins, credited once, and what they do to the limits. */
import { describe, expect, it } from 'vitest'
import type { AnyModule } from '../../src/plugin/module.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import { MoneyHandlerAlreadyRegisteredError, NoSubscriptionsError, NotAcceptedError } from '../../src/core/errors.js'
import { codeOf, ilpPayment } from '../support/ilp.js'
import { Lab, PREFIX, answers, asks, settle, watch } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'
import { openSettling, openWithModules, settled } from '../support/settling.js'

describe('sendMoney', () => {
  it('C54: is added to what was settled on both sides, told to the host, and moves no balance', async () => {
    const { lab, told } = await openSettling()
    await lab.alice.plugin.sendMoney('7')
    await lab.alice.plugin.sendMoney('0')
    expect([await settled(lab.alice), await settled(lab.bob), told, await lab.balances()]).toEqual([['7', '0'], ['0', '7'], ['7'], [0, 0]])
    await expect(lab.alice.plugin.sendMoney('-1')).rejects.toMatchObject({ name: 'InvalidFieldsError' })
  })

  it('C54: several at once are each credited, in their order', async () => {
    const { lab, told } = await openSettling()
    await Promise.all(['1', '2', '3'].map(amount => lab.alice.plugin.sendMoney(amount)))
    expect([told, await settled(lab.alice), await settled(lab.bob)]).toEqual([['1', '2', '3'], ['6', '0'], ['0', '6']])
  })

  it('is sent again when the answer is lost, and credited once', async () => {
    const { lab, told } = await openSettling()
    lab.network.drop(answers('transfer'), 1)
    const sent = watch(lab.alice.plugin.sendMoney('7'))
    await settle()
    expect(sent.state).toBe('pending')
    await lab.clock.advance(10_000)
    expect([sent.state, lab.network.count(asks('transfer')), told]).toEqual(['resolved', 2, ['7']])
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['7', '0'], ['0', '7']])
  })

  it('survives lost connections and restarts of both sides, and is credited once', async () => {
    const { lab, told } = await openSettling()
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
          const { lab } = await openSettling()
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
    const { lab } = await openSettling({
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
    const { lab, told } = await openSettling({ bob: { services: {}, options: { maxBalance: '10' } } })
    const pay = (n: number): Promise<Uint8Array> => lab.alice.plugin.sendData(ilpPayment(`owed ${n}`, lab.clock.now() + 10_000).prepare)
    await pay(1)
    await expect(lab.alice.plugin.sendMoney('10')).rejects.toThrow(/does not trust its peer/)
    expect(codeOf(await pay(2))).toBe('T04')
    expect([told, await settled(lab.alice), await settled(lab.bob)]).toEqual([[], ['0', '0'], ['0', '0']])
  })

  it('without a handler is refused, and settles nothing', async () => {
    const { lab } = await openSettling()
    lab.bob.plugin.deregisterMoneyHandler()
    await expect(lab.alice.plugin.sendMoney('7')).rejects.toBeInstanceOf(NoSubscriptionsError)
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['0', '0'], ['0', '0']])
  })

  it('is credited though the handler fails', async () => {
    const { lab, told } = await openSettling({}, async () => { throw new Error('broken') })
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
    const { lab } = await openSettling()
    expect(() => { lab.bob.plugin.registerMoneyHandler(async () => undefined) }).toThrow(MoneyHandlerAlreadyRegisteredError)
    lab.bob.plugin.deregisterMoneyHandler()
    lab.bob.plugin.registerMoneyHandler(async () => undefined)
    expect(() => { lab.alice.plugin.registerMoneyHandler('x' as never) }).toThrow('must be a function')
  })
})

/** The claims that a module made and took, by their sums. */
class Books {
  readonly made: string[] = []
  readonly taken: string[] = []
  /** What the module fails with. */
  makingFails: Error | undefined
  takingFails: Error | undefined
  /** What a claim is really worth. */
  worth = (sum: string): unknown => sum

  /** Takes any claim as it is: how claims are signed is of no matter here. */
  module(name: 'alice' | 'bob'): AnyModule {
    const other = name === 'alice' ? 'bob' : 'alice'
    return {
      connect: () => undefined,
      disconnect: () => undefined,
      getAccount: () => PREFIX + name,
      getPeerAccount: () => PREFIX + other,
      getInfo: () => ({ prefix: PREFIX }),
      handleIncomingPrepare: () => undefined,
      createOutgoingClaim: (_ctx, sum) => {
        if (this.makingFails !== undefined) throw this.makingFails
        this.made.push(sum)
        return { sum }
      },
      handleIncomingClaim: (_ctx, claim) => {
        if (this.takingFails !== undefined) throw this.takingFails
        const { sum } = claim as { sum: string }
        this.taken.push(sum)
        return this.worth(sum)
      }
    }
  }
}

describe('with a payment channel module', () => {
  const openPair = (ofAlice: Partial<PluginOptions> = {}, ofBob: Partial<PluginOptions> = {}) => openWithModules({ alice: new Books(), bob: new Books() }, ofAlice, ofBob)

  it('each settlement goes with a claim for all that was ever settled, and nothing is claimed at a fulfill', async () => {
    const { lab, told, books, pay, sums } = await openPair()
    await pay()
    expect(books.alice.made).toEqual([])
    await Promise.all(['7', '2'].map(amount => lab.alice.plugin.sendMoney(amount)))
    await lab.alice.restart()
    await lab.alice.plugin.sendMoney('1')
    expect([books.alice.made, books.bob.taken, told]).toEqual([['7', '9', '10'], ['7', '9', '10'], ['7', '2', '1']])
    expect(await sums()).toEqual([['10', '0'], ['0', '10']])
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('is sent again as it is while the answer is lost, also after restarts, and credited once', async () => {
    const { lab, told, books, sums } = await openPair()
    lab.network.drop(answers('transfer'), 2)
    watch(lab.alice.plugin.sendMoney('7'))
    await settle()
    lab.network.cut()
    await lab.reconnect()
    await lab.alice.restart()
    await lab.clock.advance(10_000)
    expect([books.alice.made, new Set(books.bob.taken), told, await sums()]).toEqual([['7'], new Set(['7']), ['7'], [['7', '0'], ['0', '7']]])
  })

  it('I6: a claim that secures less than the settlement, or of which nothing is known, credits nothing', async () => {
    const { lab, told, books, sums } = await openPair()
    for (const worth of ['6', '0', undefined, 7]) {
      books.bob.worth = () => worth
      await expect(lab.alice.plugin.sendMoney('7'), String(worth)).rejects.toBeInstanceOf(NotAcceptedError)
    }
    books.bob.worth = () => 'much'
    await expect(lab.alice.plugin.sendMoney('7')).rejects.toMatchObject({ name: 'InvalidFieldsError' })
    expect([told, await sums()]).toEqual([[], [['0', '0'], ['0', '0']]])
  })

  it('I6: a claim that the module refuses credits nothing, and the next settlement needs no greater one', async () => {
    const { lab, told, books, sums } = await openPair()
    books.bob.takingFails = new NotAcceptedError('a bad signature')
    await expect(lab.alice.plugin.sendMoney('7')).rejects.toThrow('a bad signature')
    books.bob.takingFails = undefined
    await lab.alice.plugin.sendMoney('2')
    expect([books.alice.made, told, await sums()]).toEqual([['7', '7'], ['2'], [['2', '0'], ['0', '2']]])
  })

  it('a settlement without a claim is refused', async () => {
    const { lab, told } = await openSettling({ bob: { services: {}, module: new Books().module('bob') } })
    await expect(lab.alice.plugin.sendMoney('7')).rejects.toThrow('needs a claim')
    expect(told).toEqual([])
  })

  it('a module that makes no claim, or fails, is told to the host, and the next settlement goes on', async () => {
    const { lab, told, books, sums } = await openPair()
    books.alice.makingFails = new Error('the channel is used up')
    await expect(lab.alice.plugin.sendMoney('7')).rejects.toThrow('the channel is used up')
    books.alice.makingFails = undefined
    await lab.alice.plugin.sendMoney('2')
    await lab.alice.restart()
    expect([books.alice.made, told, await sums()]).toEqual([['2'], ['2'], [['2', '0'], ['0', '2']]])
  })

  it('is credited without a handler, since a module proves it', async () => {
    const { lab, sums } = await openPair()
    lab.bob.plugin.deregisterMoneyHandler()
    await lab.alice.plugin.sendMoney('7')
    expect(await sums()).toEqual([['7', '0'], ['0', '7']])
  })

  it('goes to a foreign peer once, with the claim', async () => {
    const books = new Books()
    const lab = new Lab({ alice: { services: {}, module: books.module('alice') } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    await lab.alice.start()
    await Promise.all([lab.alice.plugin.sendMoney('5'), lab.alice.plugin.sendMoney('6')])
    const claims = peer.requests('transfer').map(({ amount, protocolData }) => [amount, protocolData.map(({ protocolName, data }) => [protocolName, new TextDecoder().decode(data)])])
    expect(claims).toEqual([['5', [['claim', '{"sum":"5"}']]], ['6', [['claim', '{"sum":"11"}']]]])
    expect(await settled(lab.alice)).toEqual(['11', '0'])
  })

  it('at each crash the sums agree in the end, and no claim is for more than was settled', async () => {
    for (const side of ['alice', 'bob'] as const) {
      for (const moment of ['before', 'after'] as const) {
        for (let at = 0; at < 3; at++) {
          const { lab, books, sums } = await openPair()
          let commits = 0
          lab[side].crashAtCommit(moment, () => commits++ === at)
          watch(lab.alice.plugin.sendMoney('7'))
          await settle()
          await lab[side].restart()
          await lab.clock.advance(30_000)
          const [[out], [, taken]] = await sums() as [[string, string], [string, string]]
          expect([side, moment, at, out, new Set([...books.alice.made, '7'])]).toEqual([side, moment, at, taken, new Set(['7'])])
        }
      }
    }
  })

  it('a store whose claims were made under a host of LPI v1 is refused: they were for another sum', async () => {
    const lab = new Lab({ alice: { services: {}, module: new Books().module('alice') } })
    await lab.alice.disk.commit({ puts: [[':paychan:claim:outgoing', '{"v":1,"sum":"5","claim":{"sum":"5","text":"1"}}']] })
    await lab.bob.start()
    await expect(lab.alice.start()).rejects.toThrow(/under a host of LPI v1/)
  })

  it('a store that was settled under a host of LPI v2 is refused under one of v1', async () => {
    const { lab } = await openPair()
    await lab.alice.plugin.sendMoney('7')
    const later = new Lab({ alice: { module: new Books().module('alice') } })
    await later.alice.disk.commit({ puts: await lab.alice.disk.list('', { limit: Infinity }) })
    await later.bob.start()
    await expect(later.alice.start()).rejects.toThrow(/under a host of LPI v2/)
  })

  describe('settles by itself', () => {
    it('whatever is owed, where nothing else is said', async () => {
      const { lab, told, pay, sums } = await openPair({ settlement: 'automatic' })
      await pay()
      await pay('5')
      expect([told, await sums(), await lab.balances()]).toEqual([['10', '5'], [['15', '0'], ['0', '15']], [-15, 15]])
    })

    it('below the threshold, up to where it is told', async () => {
      const { told, pay, sums } = await openPair({ settlement: 'automatic', settleThreshold: '-15', settleTo: '3' })
      await pay()
      await pay('5')
      expect(told).toEqual([])
      await pay('1')
      expect([told, await sums()]).toEqual([['19'], [['19', '0'], ['0', '19']]])
    })

    it('many payments at once, and no more than is owed', async () => {
      const { lab, told, pay, sums } = await openPair({ settlement: 'automatic' })
      await Promise.all(Array.from({ length: 20 }, () => pay()))
      await lab.clock.advance(1000)
      expect([told.reduce((sum, amount) => sum + Number(amount), 0), await sums()]).toEqual([200, [['200', '0'], ['0', '200']]])
    })

    it('when the peer refuses for want of it, above the threshold too: then the next payment goes through', async () => {
      const { told, pay } = await openPair({ settlement: 'automatic', settleThreshold: '-100' }, { maxBalance: '15' })
      await pay()
      expect([await pay(), told]).toEqual(['T04', ['10']])
      expect(await pay()).toBe('fulfill')
    })

    it('when the own limit refuses for want of it', async () => {
      const { told, pay } = await openPair({ settlement: 'automatic', settleThreshold: '-15', minBalance: '-15' })
      await pay()
      await expect(pay()).rejects.toMatchObject({ ilpErrorCode: 'T04' })
      await settle()
      expect(told).toEqual(['10'])
      expect(await pay()).toBe('fulfill')
    })

    it('after a reconnect and after a restart, what it could not settle before', async () => {
      for (const restarts of [false, true]) {
        const { lab, told, books, pay, sums } = await openPair({ settlement: 'automatic' })
        books.alice.makingFails = new Error('the channel is used up')
        await pay()
        expect(told).toEqual([])
        books.alice.makingFails = undefined
        if (restarts) await lab.alice.restart()
        else {
          lab.network.cut()
          await lab.reconnect()
        }
        await lab.clock.advance(100)
        expect([told, await sums()]).toEqual([['10'], [['10', '0'], ['0', '10']]])
      }
    })

    it('never twice what is under way: answers are lost, and the connection too', async () => {
      const { lab, told, pay, sums } = await openPair({ settlement: 'automatic' })
      lab.network.drop(answers('transfer'), 3)
      for (let n = 0; n < 4; n++) {
        await pay()
        if (n % 2 === 1) {
          lab.network.cut()
          await lab.reconnect()
        }
      }
      await lab.alice.restart()
      await lab.clock.advance(60_000)
      expect([told.reduce((sum, amount) => sum + Number(amount), 0), await sums()]).toEqual([40, [['40', '0'], ['0', '40']]])
    })
  })
})
