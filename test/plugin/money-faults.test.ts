/** LPI v2's money where answers are lost, modules are slow or refuse, stores fail, and peers are foreign: nothing is settled twice or forgotten. */
import { describe, expect, it } from 'vitest'
import { NotAcceptedError } from '../../src/core/errors.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, PREFIX, answers, settle, watch } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'
import { openSettling, openWithModules, settled } from '../support/settling.js'

class Books {
  readonly made: string[] = []
  best = 0n
  beforeMaking: () => Promise<void> = async () => undefined
  taking: (sum: string) => void | Promise<void> = () => undefined
  running = 0
  mostRunning = 0

  module(name: 'alice' | 'bob'): AnyModule {
    const other = name === 'alice' ? 'bob' : 'alice'
    return {
      connect: () => undefined,
      disconnect: () => undefined,
      getAccount: () => PREFIX + name,
      getPeerAccount: () => PREFIX + other,
      getInfo: () => ({ prefix: PREFIX }),
      handleIncomingPrepare: () => undefined,
      createOutgoingClaim: async (_ctx, sum) => {
        this.made.push(sum)
        this.mostRunning = Math.max(this.mostRunning, ++this.running)
        await this.beforeMaking()
        this.running--
        return { sum }
      },
      handleIncomingClaim: async (_ctx, claim) => {
        const { sum } = claim as { sum: string }
        await this.taking(sum)
        if (BigInt(sum) > this.best) this.best = BigInt(sum)
        return String(this.best)
      }
    }
  }
}

const openPair = (ofAlice: Partial<PluginOptions> = {}, ofBob: Partial<PluginOptions> = {}) => openWithModules({ alice: new Books(), bob: new Books() }, ofAlice, ofBob)

describe('a repeat of a settlement that is credited already', () => {
  it('an attempt that comes after the settlement was refused is refused too, though there would be room by then', async () => {
    const bob = { services: {}, options: { trustSettlements: true, minBalance: '-30' } }
    const { lab, told } = await openSettling({ bob })
    const comesLate = lab.network.hold(({ packet }) => packet.type === 'transfer', 1)
    const refused = watch(lab.alice.plugin.sendMoney('37'))
    await lab.clock.advance(10_000)
    expect(refused.state).toBe('rejected')
    const { prepare } = ilpPayment('makes room', lab.clock.now() + 10_000, '20')
    expect(codeOf(await lab.alice.plugin.sendData(prepare))).toBe('fulfill')
    comesLate()
    await settle()
    expect([await settled(lab.alice), await settled(lab.bob), told]).toEqual([['0', '0'], ['0', '0'], []])
    // The next one is judged for itself.
    await lab.alice.plugin.sendMoney('37')
    await settle()
    expect([await settled(lab.alice), await settled(lab.bob), told]).toEqual([['37', '0'], ['0', '37'], ['37']])
  })

  it('is answered as credited though the handler is gone by then', async () => {
    const { lab, told } = await openSettling()
    lab.network.drop(answers('transfer'), 1)
    const sent = watch(lab.alice.plugin.sendMoney('7'))
    await settle()
    expect([told, await settled(lab.bob)]).toEqual([['7'], ['0', '7']])
    lab.bob.plugin.deregisterMoneyHandler()
    await lab.clock.advance(30_000)
    lab.bob.plugin.registerMoneyHandler(async () => undefined)
    await lab.clock.advance(60_000)
    expect(sent.state).toBe('resolved')
    expect((await settled(lab.alice))[0]).toBe((await settled(lab.bob))[1])
  })

  it('is answered as credited though the module would refuse the claim by then', async () => {
    const { lab, books, sums } = await openPair()
    lab.network.drop(answers('transfer'), 1)
    watch(lab.alice.plugin.sendMoney('7'))
    await settle()
    books.bob.taking = () => { throw new NotAcceptedError('the claim is no better than the one before') }
    await lab.clock.advance(10_000)
    books.bob.taking = () => undefined
    const after = watch(lab.alice.plugin.sendMoney('3'))
    await lab.clock.advance(10_000)
    expect([after.state, after.error?.message]).toEqual(['resolved', undefined])
    expect(await sums()).toEqual([['10', '0'], ['0', '10']])
  })
})

describe('the module that makes the claims', () => {
  it('is not called again while its call before a disconnect still runs', async () => {
    const { lab, books } = await openPair()
    let end: () => void = () => undefined
    const slow = new Promise<void>(resolve => { end = resolve })
    books.alice.beforeMaking = () => slow
    watch(lab.alice.plugin.sendMoney('7'))
    await settle()
    const disconnecting = lab.alice.plugin.disconnect()
    await lab.clock.advance(20_000)
    await disconnecting
    const connecting = lab.alice.plugin.connect()
    await lab.clock.advance(2000)
    await connecting
    await settle()
    expect(books.alice.mostRunning).toBe(1)
    end()
  })

  it('I6: is never asked for a lower sum than before, also when the peer has refused', async () => {
    const { lab, books } = await openPair()
    books.bob.taking = () => { throw new NotAcceptedError('not now') }
    await expect(lab.alice.plugin.sendMoney('7')).rejects.toBeInstanceOf(NotAcceptedError)
    books.bob.taking = () => undefined
    await lab.alice.plugin.sendMoney('2')
    expect(books.alice.made.map(Number)).toEqual([...books.alice.made.map(Number)].sort((a, b) => a - b))
  })
})

describe('the module, at a disconnect', () => {
  it('is asked for no claim after its disconnect was called', async () => {
    const order: string[] = []
    let end: () => void = () => undefined
    const books = new Books()
    books.beforeMaking = async () => { order.push('claim') }
    const module: AnyModule = {
      ...books.module('alice'),
      disconnect: () => {
        order.push('disconnect')
        return new Promise(resolve => { end = resolve })
      }
    }
    const { lab } = await openSettling({
      alice: { services: {}, module },
      bob: { services: {}, module: new Books().module('bob') }
    })
    const release = lab.network.hold(answers('transfer'), 1)
    watch(lab.alice.plugin.sendMoney('1'))
    watch(lab.alice.plugin.sendMoney('2'))
    await settle()
    const disconnected = watch(lab.alice.plugin.disconnect())
    await settle()
    release()
    await settle()
    end()
    await lab.clock.advance(10_000)
    expect([disconnected.state, order]).toEqual(['resolved', ['claim', 'disconnect']])
  })
})

describe('settles by itself', () => {
  it('more than the peer would owe: what a claim proves is credited all the same', async () => {
    const { books, pay, sums } = await openPair({ settlement: 'automatic', settleTo: '30' }, { minBalance: '-25', maxBalance: '40' })
    const ends: string[] = []
    for (let n = 0; n < 8; n++) ends.push(await pay())
    const [, [, credited]] = await sums() as [unknown, [string, string]]
    expect([ends.filter(end => end !== 'fulfill'), credited]).toEqual([[], String(books.bob.best)])
  })

  it('by parts, when more is owed than a Transfer can carry', async () => {
    const max = String(2n ** 64n - 1n)
    const unlimited = { maxBalance: '1' + '0'.repeat(30), minBalance: '-1' + '0'.repeat(30) }
    const { books, pay, sums } = await openPair({ settlement: 'automatic', ...unlimited }, unlimited)
    books.alice.beforeMaking = () => Promise.reject(new Error('the channel is used up'))
    await pay(max)
    await pay(max)
    books.alice.beforeMaking = async () => undefined
    await pay('10')
    expect((await sums())[0]).not.toEqual(['0', '0'])
  })
})

describe('a settlement to a foreign peer', () => {
  it('that the peer has credited counts also when our store fails once', async () => {
    const lab = new Lab({ alice: { services: {} } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    peer.script = packet => {
      if (packet.type === 'transfer') lab.alice.store.failNextCommit()
      return undefined
    }
    await lab.alice.start()
    const sent = watch(lab.alice.plugin.sendMoney('5'))
    await lab.clock.advance(10_000)
    expect(peer.requests('transfer')).toHaveLength(1)
    expect(sent.state === 'resolved' || sent.error?.outcome === 'unknown', String(sent.error?.message)).toBe(true)
    expect(await settled(lab.alice)).toEqual(['5', '0'])
  })

  it('settled by itself, is paid once also when our store fails once', async () => {
    const books = new Books()
    const lab = new Lab({ alice: { services: {}, module: books.module('alice'), options: { settlement: 'automatic' } } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    let payment = ilpPayment('one', 0)
    let isArmed = true
    peer.script = packet => {
      if (packet.type === 'message' && packet.protocolData[0]?.protocolName === 'ilp') return [{ ...packet.protocolData[0], data: payment.fulfill }]
      if (packet.type === 'transfer' && isArmed) {
        isArmed = false
        lab.alice.store.failNextCommit()
      }
      return undefined
    }
    await lab.alice.start()
    for (const seed of ['one', 'two']) {
      payment = ilpPayment(seed, lab.clock.now() + 10_000)
      await lab.alice.plugin.sendData(payment.prepare)
      await lab.clock.advance(2000)
    }
    const paid = peer.requests('transfer').reduce((sum, { amount }) => sum + Number(amount), 0)
    expect([paid, await settled(lab.alice)]).toEqual([20, ['20', '0']])
  })

  it('is spent with its claim, where a crash left it open whether it was credited', async () => {
    const lab = new Lab({ alice: { services: {}, module: new Books().module('alice') } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    await lab.alice.start()
    let commits = 0
    // Before it is stored how it has ended.
    lab.alice.crashAtCommit('before', () => commits++ === 2)
    watch(lab.alice.plugin.sendMoney('5'))
    await settle()
    expect(peer.requests('transfer')).toHaveLength(1)
    await peer.listen()
    const started = lab.alice.start()
    await lab.clock.advance(2000)
    await started
    await settle()
    expect(await settled(lab.alice)).toEqual(['5', '0'])
  })
})

describe('a settlement that is not answered', () => {
  it('to a foreign peer, whose answer is lost, is spent with its claim, and the next claim is for both', async () => {
    const books = new Books()
    const lab = new Lab({ alice: { services: {}, module: books.module('alice'), options: { settlement: 'automatic' } } })
    const peer = new ScriptedPeer(lab)
    let payment = ilpPayment('one', 0)
    let isSilent = true
    /** As this side credits what a foreign peer settles: what its claims secure, and no more. */
    let [credited, refused] = [0, 0]
    peer.script = packet => {
      const [first] = packet.protocolData
      if (packet.type === 'message' && first?.protocolName === 'ilp') return [{ ...first, data: payment.fulfill }]
      if (packet.type !== 'transfer') return undefined
      const { sum } = JSON.parse(new TextDecoder().decode(first?.data)) as { sum: string }
      if (credited + Number(packet.amount) > Number(sum)) {
        refused++
        return { code: 'F00', name: 'NotAcceptedError' }
      }
      credited += Number(packet.amount)
      if (!isSilent) return []
      isSilent = false
      return 'silence'
    }
    await peer.listen()
    await lab.alice.start()
    for (const seed of ['one', 'two', 'three', 'four']) {
      payment = ilpPayment(seed, lab.clock.now() + 10_000)
      await lab.alice.plugin.sendData(payment.prepare)
      await lab.clock.advance(20_000)
    }
    expect([credited, refused]).toEqual([40, 0])
  })
})

describe('a store that was settled with a foreign peer under a host of LPI v2', () => {
  it('is refused under one of v1 with a module, whose claims are for another sum', async () => {
    const books = new Books()
    const lab = new Lab({ alice: { services: {}, module: books.module('alice') } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    await lab.alice.start()
    await lab.alice.plugin.sendMoney('5')
    const later = new Lab({ alice: { module: new Books().module('alice') } })
    await later.alice.disk.commit({ puts: await lab.alice.disk.list('', { limit: Infinity }) })
    await later.bob.start()
    await expect(later.alice.start()).rejects.toThrow(/under a host of LPI v2/)
  })
})

describe('a settlement whose module was asked before a disconnect, and answers after the next connect', () => {
  it('goes to a foreign peer only if it is counted', async () => {
    const books = new Books()
    const lab = new Lab({ alice: { services: {}, module: books.module('alice') } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    await lab.alice.start()
    let end: () => void = () => undefined
    books.beforeMaking = () => new Promise(resolve => { end = resolve })
    watch(lab.alice.plugin.sendMoney('7'))
    await settle()
    const disconnected = lab.alice.plugin.disconnect()
    await lab.clock.advance(20_000)
    await disconnected
    await peer.listen()
    const connected = lab.alice.plugin.connect()
    await lab.clock.advance(2000)
    await connected
    end()
    await lab.clock.advance(10_000)
    const paid = peer.requests('transfer').reduce((sum, { amount }) => sum + Number(amount), 0)
    expect([String(paid), '0']).toEqual(await settled(lab.alice))
  })
})

describe('a settlement that is sent again while the module has the first one', () => {
  it('is not refused when the first one is credited: both sides count it', async () => {
    const { lab, books } = await openPair()
    let end: () => void = () => undefined
    const slow = new Promise<void>(resolve => { end = resolve })
    let best = 0
    // One that takes a claim only if it is better than the one before, and looks it up for some seconds.
    books.bob.taking = async sum => {
      if (Number(sum) <= best) throw new NotAcceptedError('the claim is no better than the one before')
      await slow
      best = Number(sum)
    }
    const sent = watch(lab.alice.plugin.sendMoney('7'))
    // The answer is waited for for 5 s, then it is sent again.
    await lab.clock.advance(7000)
    end()
    await lab.clock.advance(60_000)
    expect(await settled(lab.bob)).toEqual(['0', '7'])
    expect([sent.state, await settled(lab.alice)]).toEqual(['resolved', ['7', '0']])
  })
})

describe('I5: a settlement of what we owe', () => {
  it('leaves no more to the peer than the maximum balance, with what is held', async () => {
    const { lab } = await openPair({ settlement: 'automatic', settleThreshold: '-100', maxBalance: '100' })
    let answer: () => void = () => undefined
    lab.alice.plugin.registerDataHandler(packet => new Promise(resolve => { answer = () => { resolve(fulfillOf(packet)) } }))
    const pay = async (seed: string, amount: string): Promise<string> =>
      codeOf(await lab.alice.plugin.sendData(ilpPayment(seed, lab.clock.now() + 10_000, amount).prepare))
    expect(await pay('one', '100')).toBe('fulfill')
    await settle()
    // Alice owes 100, so this has room.
    const back = watch<Uint8Array>(lab.bob.plugin.sendData(ilpPayment('back', lab.clock.now() + 10_000, '150').prepare))
    await settle()
    expect(lab.held(lab.alice)).toEqual({ incoming: 150, outgoing: 0 })
    // Now she owes more than the threshold allows, and settles all of it.
    expect(await pay('two', '1')).toBe('fulfill')
    await settle()
    const position = async (): Promise<number> => {
      const [out, into] = await settled(lab.alice)
      return (await lab.alice.durable()).balance + Number(out) - Number(into)
    }
    const withHolds = await position() + lab.held(lab.alice).incoming
    answer()
    await settle()
    expect(codeOf(back.value ?? new Uint8Array())).toBe('fulfill')
    expect(withHolds, `and then the peer owes ${await position()}`).toBeLessThanOrEqual(100)
  })
})

describe('I6: the module', () => {
  it('is not asked for a lower sum than before when the store did not take its claim', async () => {
    const { lab, books } = await openPair()
    books.alice.beforeMaking = async () => {
      lab.alice.store.failNextCommit()
      books.alice.beforeMaking = async () => undefined
    }
    const first = watch(lab.alice.plugin.sendMoney('7'))
    await lab.clock.advance(10_000)
    const second = watch(lab.alice.plugin.sendMoney('2'))
    await lab.clock.advance(10_000)
    expect([first.state, second.state]).not.toContain('pending')
    const sums = books.alice.made.map(Number)
    expect(sums).toEqual([...sums].sort((a, b) => a - b))
  })
})

describe('a settlement to a foreign peer that a crash left open', () => {
  it('is in the claim of the next one, also when the store fails once at the start', async () => {
    const books = new Books()
    const lab = new Lab({ alice: { services: {}, module: books.module('alice') } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    await lab.alice.start()
    let commits = 0
    lab.alice.crashAtCommit('before', () => commits++ === 2)
    watch(lab.alice.plugin.sendMoney('5'))
    await settle()
    expect(peer.requests('transfer')).toHaveLength(1)
    await peer.listen()
    lab.alice.onStart = plugin => { plugin.on('connect', () => { lab.alice.store.failNextCommit() }) }
    await lab.alice.start()
    watch(lab.alice.plugin.sendMoney('3'))
    await settle()
    await lab.clock.advance(10_000)
    const last = peer.requests('transfer').at(-1)
    const claim = JSON.parse(new TextDecoder().decode(last?.protocolData[0]?.data)) as { sum: string }
    expect([await settled(lab.alice), claim.sum]).toEqual([['8', '0'], '8'])
  })
})

describe('many settlements at once', () => {
  it('are bounded, as those one after the other are', async () => {
    const trusting = { services: {}, options: { trustSettlements: true } }
    const lab = new Lab({ alice: trusting, bob: trusting })
    await lab.bob.start()
    await lab.alice.start()
    lab.bob.plugin.registerMoneyHandler(async () => undefined)
    lab.network.drop(({ request }) => request?.type === 'transfer')
    const calls = Array.from({ length: 500 }, () => watch(lab.alice.plugin.sendMoney('1')))
    await settle()
    expect(calls.filter(({ state }) => state === 'pending').length).toBeLessThanOrEqual(100)
  })
})

describe('a settlement after the books were lost', () => {
  it('is credited where the store was emptied under the plugin, which then recovered', async () => {
    const recovers = { services: {}, options: { trustSettlements: true, recover: 'from-peer' as const } }
    const { lab } = await openSettling({ alice: recovers, bob: recovers })
    for (const amount of ['5', '5']) await lab.alice.plugin.sendMoney(amount)
    const all = await lab.alice.disk.list('', { limit: Infinity })
    await lab.alice.disk.commit({ deletes: all.map(([key]) => key), guards: [] })
    const refused = watch(lab.alice.plugin.sendMoney('1'))
    await lab.clock.advance(3000)
    expect(refused.state).toBe('rejected')
    watch(lab.alice.plugin.connect())
    await lab.clock.advance(5000)
    await lab.alice.plugin.sendMoney('7')
    await lab.clock.advance(3000)
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['17', '0'], ['0', '17']])
  })

  it('is credited where the wall clock was put back, and the process has restarted', async () => {
    const { lab } = await openSettling()
    await lab.alice.plugin.sendMoney('5')
    lab.clock.putBack(3_600_000)
    await lab.alice.restart()
    await lab.clock.advance(2000)
    watch(lab.alice.plugin.sendMoney('6'))
    await lab.clock.advance(3000)
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['11', '0'], ['0', '11']])
  })

  it('is credited where an older copy of the store was given back, and the peer was believed', async () => {
    const { lab } = await openSettling()
    await lab.alice.plugin.sendMoney('5')
    const copy = await lab.alice.disk.list('', { limit: Infinity })
    await lab.alice.plugin.sendMoney('6')
    await lab.alice.empty()
    await lab.alice.disk.commit({ puts: copy, guards: [] })
    const started = lab.alice.start()
    await lab.reconnect()
    await started
    await lab.clock.advance(2000)
    await lab.alice.plugin.resolveDispute('theirs')
    await lab.clock.advance(2000)
    watch(lab.alice.plugin.sendMoney('7'))
    await lab.clock.advance(3000)
    expect([await settled(lab.alice), await settled(lab.bob)]).toEqual([['18', '0'], ['0', '18']])
  })
})
