import { describe, expect, it } from 'vitest'
import * as errors from '../../src/core/errors.js'
import type { Store } from '../../src/core/store.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import { ilpPayment } from '../support/ilp.js'
import { Lab, PREFIX, WRONG_PREIMAGE, asks, answers, settle, watch } from '../support/lab.js'
import type { Payment } from '../support/lab.js'
import { Tabs } from '../support/tabs.js'
import type { Tab } from '../support/tabs.js'

/** What may pass until another tab has the connection. */
const TAKEOVER_MS = 2000

const module: AnyModule = {
  connect: () => undefined,
  disconnect: () => undefined,
  getAccount: () => `${PREFIX}client`,
  getPeerAccount: () => `${PREFIX}server`,
  getInfo: () => ({ prefix: PREFIX, currencyCode: 'XTS' }),
  handleIncomingPrepare: () => undefined,
  createOutgoingClaim: (_ctx, balance) => ({ balance }),
  handleIncomingClaim: () => undefined
}

/** Bob, who fulfills what he is paid at once unless he is told otherwise, and alice's tabs. */
class World {
  /** May be changed while bob does not run. */
  readonly bobOptions: Partial<PluginOptions> = {}
  readonly lab = new Lab({ bob: { options: this.bobOptions } })
  /** Their store, where it fails. */
  readonly store = this.lab.alice.store
  readonly tabs = new Tabs(this.lab, this.store)
  readonly payments = new Map<string, Payment>()
  /** What bob does with a payment that he is offered. */
  decide: 'fulfill' | 'reject' | 'wait' = 'fulfill'
  /** How often bob's host was asked something. */
  asked = 0

  async open(count: number): Promise<Tab[]> {
    this.lab.bob.onStart = plugin => {
      plugin.on('incoming_prepare', ({ id }) => {
        const payment = this.payments.get(id)
        if (this.decide === 'fulfill' && payment !== undefined) plugin.fulfillCondition(id, payment.fulfillment).catch(() => undefined)
        if (this.decide === 'reject') plugin.rejectIncomingTransfer(id, { code: 'F00', message: 'no' }).catch(() => undefined)
      })
      plugin.registerRequestHandler(async ({ custom }) => {
        this.asked++
        return { custom: { echo: custom } }
      })
    }
    await this.lab.bob.start()
    const opened: Tab[] = []
    for (let n = 0; n < count; n++) opened.push(await this.tabs.open())
    return opened
  }

  payment(options: Parameters<Lab['payment']>[0] = {}): Payment {
    const payment = this.lab.payment(options)
    this.payments.set(payment.id, payment)
    return payment
  }

  /** Lets messages travel, and nothing else happen. */
  async settle(): Promise<void> {
    for (let n = 0; n < 5; n++) await settle()
  }

  advance(ms: number): Promise<void> {
    return this.lab.clock.advance(ms)
  }

  async balances(): Promise<[string, string]> {
    const [tab] = this.tabs.all.filter(({ thread }) => thread.state === 'running')
    return [await tab!.plugin.getBalance(), await this.lab.bob.plugin.getBalance()]
  }

  /** Pays from a tab, and waits until both have booked it. */
  async pay(tab: Tab, amount = '10'): Promise<string> {
    const { transfer, id } = this.payment({ amount })
    const sent = watch(tab.plugin.sendTransfer(transfer))
    await this.advance(20)
    expect(sent).toMatchObject({ state: 'resolved' })
    expect(await tab.plugin.getFulfillment(id)).toBe(this.payments.get(id)?.fulfillment)
    return id
  }

  /** Exactly one tab that runs holds, connected, and all others stand by. */
  expectOneHolder(): Tab {
    const running = this.tabs.all.filter(({ thread }) => thread.state === 'running')
    const [holder] = this.tabs.withRole('holder')
    expect(running.map(({ role }) => role).sort()).toEqual(['holder', ...running.slice(1).map(() => 'standby')])
    expect(running.map(({ plugin }) => plugin.isConnected())).toEqual(running.map(tab => tab === holder))
    return holder!
  }
}

async function open(count: number): Promise<[World, ...Tab[]]> {
  const world = new World()
  return [world, ...await world.open(count)]
}

describe('a tab that stands by', () => {
  it('is told so, and reads: balance, history, what is in flight, preimages, info and accounts', async () => {
    const [world, first] = await open(1)
    const id = await world.pay(first!)
    world.decide = 'wait'
    await world.advance(1)
    const pending = world.payment({ amount: '7' })
    await first!.plugin.sendTransfer(pending.transfer)
    const second = await world.tabs.open()
    expect([first!.role, second.role]).toEqual(['holder', 'standby'])
    expect(second.events).toEqual([['role', 'standby']])
    expect(second.plugin.isConnected()).toBe(false)
    expect(await second.plugin.getBalance()).toBe('-10')
    expect((await second.plugin.history()).map(({ transfer, state }) => [transfer.id, state])).toEqual([[pending.id, 'prepared'], [id, 'fulfilled']])
    expect(second.plugin.inFlight()).toEqual(first!.plugin.inFlight())
    expect(await second.plugin.getFulfillment(id)).toBe(await first!.plugin.getFulfillment(id))
    expect(second.plugin.getInfo()).toEqual(first!.plugin.getInfo())
    expect([second.plugin.getAccount(), second.plugin.getPeerAccount()]).toEqual([`${PREFIX}client`, `${PREFIX}server`])
  })

  it('has one connection to the peer with the holder, and writes nothing', async () => {
    const [world, first, second] = await open(2)
    const before = await world.tabs.disk.list('')
    await world.advance(10_000)
    expect(await world.tabs.disk.list('')).toEqual(before)
    expect(first!.plugin.isConnected()).toBe(true)
    await expect(second!.plugin.addSocket({})).rejects.toBeInstanceOf(errors.StandbyError)
    expect(world.lab.bob.seen('connect')).toHaveLength(1)
  })

  it("raises the holder's events about the ledger, each once and in order, when what they tell can be read", async () => {
    const [world, first, second, third] = await open(3)
    await world.pay(first!)
    await world.pay(second!)
    world.decide = 'reject'
    await second!.plugin.sendTransfer(world.payment().transfer)
    await world.settle()
    const story = ['outgoing_prepare', 'outgoing_fulfill', 'outgoing_prepare', 'outgoing_fulfill', 'outgoing_prepare', 'outgoing_reject']
    for (const tab of [first, second, third]) expect(tab!.story).toEqual(story)
    expect(second!.seen('outgoing_fulfill')).toEqual(first!.seen('outgoing_fulfill'))
    expect(second!.seen('outgoing_reject')).toEqual(first!.seen('outgoing_reject'))
    expect(second!.seen('outgoing_reject')[0]?.[2].triggered_at).toBeInstanceOf(Date)
    expect(second!.seen('connect', 'disconnect')).toEqual([])
  })

  it('shows in each event what the holder showed in it', async () => {
    const [world, first, second] = await open(2)
    world.decide = 'wait'
    const shown = [first!, second!].map(({ plugin }) => {
      const seen: unknown[] = []
      const show = (): void => { seen.push(plugin.inFlight(), plugin.getBalance()) }
      plugin.on('outgoing_prepare', show)
      plugin.on('outgoing_fulfill', show)
      return seen
    })
    const { transfer, id, fulfillment } = world.payment()
    await first!.plugin.sendTransfer(transfer)
    await world.settle()
    await world.lab.bob.plugin.fulfillCondition(id, fulfillment)
    await world.settle()
    const [here, there] = [await Promise.all(shown[0]!), await Promise.all(shown[1]!)]
    expect(there).toEqual(here)
    expect(here.map(value => Array.isArray(value) ? value.length : value)).toEqual([1, '0', 0, '-10'])
  })

  it('is told of what the peer sends once, and decides about it like the holder', async () => {
    const [world, first, second] = await open(2)
    const [one, other, third] = [await world.lab.prepared({ to: 'alice' }), await world.lab.prepared({ to: 'alice' }), await world.lab.prepared({ to: 'alice' })]
    await world.settle()
    expect(second!.seen('incoming_prepare')).toEqual(first!.seen('incoming_prepare'))
    expect(second!.seen('incoming_prepare').map(([, { id }]) => id)).toEqual([one.id, other.id, third.id])
    await second!.plugin.fulfillCondition(one.id, one.fulfillment)
    await second!.plugin.fulfillCondition(one.id, one.fulfillment)
    await second!.plugin.rejectIncomingTransfer(other.id, { code: 'F99', triggered_at: new Date(world.lab.clock.now()) })
    await expect(second!.plugin.fulfillCondition(third.id, WRONG_PREIMAGE)).rejects.toBeInstanceOf(errors.NotAcceptedError)
    expect(await second!.plugin.getBalance()).toBe('10')
    expect(world.lab.bob.seen('outgoing_fulfill', 'outgoing_reject').map(([name]) => name)).toEqual(['outgoing_fulfill', 'outgoing_reject'])
  })

  it('refuses ILPv4 packets and settlements, which only the holder sends', async () => {
    const [world, , second] = await open(2)
    const { prepare } = ilpPayment('standby', world.lab.clock.now() + 10_000)
    await expect(second!.plugin.sendData(prepare)).rejects.toMatchObject({ name: 'StandbyError', ilpErrorCode: 'T00' })
    await expect(second!.plugin.sendMoney('5')).rejects.toMatchObject({ name: 'StandbyError' })
    expect(await second!.plugin.history()).toEqual([])
  })

  it('asks the peer, and prunes, by the holder', async () => {
    const [world, first, second] = await open(2)
    await world.pay(first!)
    const { plugin } = second!
    const to = plugin.getPeerAccount()
    expect(await plugin.sendRequest({ to, custom: { hello: 'world' } })).toEqual({
      from: to, to: plugin.getAccount(), ledger: PREFIX, custom: { echo: { hello: 'world' } }
    })
    expect([await plugin.getPeerBalance(), await plugin.getLimit()]).toEqual(['-10', '-1000000'])
    await world.advance(60_000)
    expect(await plugin.prune({ before: new Date(world.lab.clock.now()) })).toBe(1)
    expect(await plugin.history()).toEqual([])
    await expect(plugin.prune({ before: NaN })).rejects.toBeInstanceOf(errors.InvalidFieldsError)
  })

  it('is told the same errors as the holder', async () => {
    const [world, first, second] = await open(2)
    const known = await world.pay(first!)
    world.decide = 'wait'
    const id = world.payment().id
    const calls: Array<(tab: Tab) => Promise<unknown>> = [
      ({ plugin }) => plugin.sendTransfer(world.payment({ amount: '5000000' }).transfer),
      ({ plugin }) => plugin.sendTransfer({ ...world.payment().transfer, amount: '-1' }),
      ({ plugin }) => plugin.sendTransfer({ ...world.payment().transfer, to: 'test.somebody.else' }),
      ({ plugin }) => plugin.sendTransfer(world.payments.get(known)!.transfer),
      ({ plugin }) => plugin.sendTransfer(undefined as never),
      ({ plugin }) => plugin.fulfillCondition(id, WRONG_PREIMAGE),
      ({ plugin }) => plugin.fulfillCondition(known, WRONG_PREIMAGE),
      ({ plugin }) => plugin.fulfillCondition(known, 'nonsense'),
      ({ plugin }) => plugin.rejectIncomingTransfer(id),
      ({ plugin }) => plugin.sendRequest({ to: 'nobody' })
    ]
    const cyclic: { self?: unknown } = {}
    cyclic.self = cyclic
    await expect(second!.plugin.sendRequest({ custom: cyclic })).rejects.toBeInstanceOf(errors.InvalidFieldsError)
    for (const call of calls) {
      const failed = async (tab: Tab): Promise<errors.PaychanError> => call(tab).then(() => { throw new Error('it did not fail') }, (error: unknown) => error as errors.PaychanError)
      const [here, there] = [await failed(first!), await failed(second!)]
      expect(there).toBeInstanceOf(here.constructor)
      expect({ name: there.name, code: there.code, outcome: there.outcome, fromPeer: there.fromPeer })
        .toEqual({ name: here.name, code: here.code, outcome: here.outcome, fromPeer: here.fromPeer })
    }
  })

  it("waits for the peer's answer as long as the holder does, and learns of a lost connection", async () => {
    const [world, , second] = await open(2)
    world.decide = 'wait'
    const pass = world.lab.network.hold(answers('prepare'))
    const sent = watch(second!.plugin.sendTransfer(world.payment({ expiresInMs: 60_000 }).transfer))
    await world.advance(15_000)
    expect(sent.state).toBe('pending')
    pass()
    await world.advance(30_000)
    expect(sent.state).toBe('resolved')
    world.lab.network.isUp = false
    world.lab.network.cut()
    await world.settle()
    await expect(second!.plugin.sendTransfer(world.payment().transfer)).rejects.toBeInstanceOf(errors.UnreachableError)
  })

  it('learns of news about the ledger from the holder', async () => {
    const [world, , second] = await open(2)
    expect(second!.plugin.getInfo()).toEqual({ prefix: PREFIX })
    const news: unknown[] = []
    second!.plugin.on('info_change', info => { news.push(info, second!.plugin.getInfo()) })
    world.lab.bob.crash()
    const info = { prefix: PREFIX, currencyCode: 'NEW' }
    world.bobOptions.info = info
    await world.lab.bob.start()
    await world.advance(2000)
    expect(news).toEqual([info, info])
  })

  it('does not need the holder to have reached the peer', async () => {
    const world = new World()
    const first = world.tabs.make()
    const connecting = watch(first.plugin.connect({ timeout: Infinity }))
    await world.advance(100)
    const second = await world.tabs.open()
    expect([first.role, second.role, await second.plugin.getBalance()]).toEqual(['disconnected', 'standby', '0'])
    expect(() => second.plugin.getInfo()).toThrow(errors.UnreachableError)
    const sent = watch(second.plugin.sendTransfer(world.lab.payment().transfer))
    await world.advance(6000)
    expect(sent).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
    await world.open(0)
    await world.advance(2000)
    expect(connecting.state).toBe('resolved')
    expect(world.expectOneHolder()).toBe(first)
    expect(second.plugin.getInfo().prefix).toBe(PREFIX)
    await world.pay(second)
  })
})

describe('the next holder', () => {
  it.each([
    ['is closed', (tab: Tab) => { tab.kill() }],
    ['disconnects', (tab: Tab) => { void tab.plugin.disconnect() }],
    ['hangs', (tab: Tab) => { tab.hang() }]
  ])('is one of those that stand by, within two seconds after the holder %s', async (how, end) => {
    const [world, first, second, third] = await open(3)
    await world.pay(first!)
    // At any moment between two challenges.
    for (const afterMs of [0, 100, 499, 501, 1200]) {
      await world.advance(afterMs)
      const holder = world.expectOneHolder()
      end(holder)
      await world.advance(TAKEOVER_MS)
      if (how === 'disconnects') {
        expect(holder.role).toBe('disconnected')
        void holder.plugin.connect()
      }
      if (how === 'hangs') holder.wake()
      if (how === 'is closed') await world.tabs.open()
      await world.advance(10)
      const next = world.expectOneHolder()
      expect(next).not.toBe(holder)
      for (const tab of world.tabs.all) if (tab.isAlive) await world.pay(tab, '1')
    }
    expect([first, second, third].every(tab => tab!.seen('error').length === 0)).toBe(true)
    const [ours, theirs] = await world.balances()
    expect(Number(ours)).toBe(-Number(theirs))
  })

  it('takes over at once when the holder is closed, without a challenge', async () => {
    const [world, first, second] = await open(2)
    first!.kill()
    await world.settle()
    expect([second!.role, second!.plugin.isConnected()]).toEqual(['holder', true])
    expect(second!.seen('role', 'connect')).toEqual([['role', 'standby'], ['role', 'holder'], ['connect']])
  })

  it('is the one that waited longest', async () => {
    const [world, first, second, third] = await open(3)
    first!.kill()
    await world.settle()
    expect([second!.role, third!.role]).toEqual(['holder', 'standby'])
    void second!.plugin.disconnect()
    await world.settle()
    expect([second!.role, third!.role]).toEqual(['disconnected', 'holder'])
  })

  it('is taken by one of them alone, where several find at the same moment that the holder hangs', async () => {
    const world = new World()
    await world.open(0)
    let connects = 0
    const slow: AnyModule = {
      ...module,
      connect: () => new Promise<void>(resolve => {
        connects++
        world.lab.clock.setTimer(300, resolve)
      })
    }
    for (let n = 0; n < 3; n++) {
      void world.tabs.make({ module: slow }).plugin.connect()
      await world.advance(400)
    }
    world.expectOneHolder().hang()
    await world.advance(TAKEOVER_MS)
    world.expectOneHolder()
    expect(connects).toBe(2)
  })

  it('is nobody that has gone before it was connected', async () => {
    const [world, first] = await open(1)
    const gone = world.tabs.make()
    const connecting = watch(gone.plugin.connect())
    await gone.plugin.disconnect()
    const waiting = world.tabs.make()
    void waiting.plugin.connect()
    await world.settle()
    const left = world.tabs.make()
    const leaving = watch(left.plugin.connect())
    await settle()
    await left.plugin.disconnect()
    first!.kill()
    await world.advance(TAKEOVER_MS)
    expect([connecting.state, leaving.state === 'pending']).toEqual(['rejected', false])
    expect([gone.role, left.role, waiting.role]).toEqual(['disconnected', 'disconnected', 'holder'])
  })

  it('is nobody that has left the line', async () => {
    const [world, first, second, third] = await open(3)
    await second!.plugin.disconnect()
    expect(second!.seen('role')).toEqual([['role', 'standby'], ['role', 'disconnected']])
    first!.kill()
    await world.advance(TAKEOVER_MS)
    expect([second!.role, third!.role]).toEqual(['disconnected', 'holder'])
    await second!.plugin.connect()
    expect(world.expectOneHolder()).toBe(third)
  })

  it('takes up what is in flight, in both directions', async () => {
    const [world, first, second] = await open(2)
    world.decide = 'wait'
    const outgoing = world.payment({ amount: '3', expiresInMs: 60_000 })
    await first!.plugin.sendTransfer(outgoing.transfer)
    const incoming = await world.lab.prepared({ to: 'alice', amount: '5', expiresInMs: 60_000 })
    first!.hang()
    await world.advance(TAKEOVER_MS)
    expect(second!.plugin.inFlight().map(({ transfer }) => transfer.id)).toEqual([outgoing.id, incoming.id])
    await second!.plugin.fulfillCondition(incoming.id, incoming.fulfillment)
    await world.lab.bob.plugin.fulfillCondition(outgoing.id, outgoing.fulfillment)
    expect([await second!.plugin.getBalance(), await world.lab.bob.plugin.getBalance()]).toEqual(['2', '-2'])
  })

  it('waits for the peer when that cannot be reached, and answers meanwhile', async () => {
    const [world, first, second, third] = await open(3)
    world.lab.network.isUp = false
    first!.kill()
    await world.advance(60_000)
    expect([second!.role, second!.plugin.isConnected(), third!.role]).toEqual(['holder', false, 'standby'])
    await expect(third!.plugin.sendTransfer(world.payment().transfer)).rejects.toBeInstanceOf(errors.UnreachableError)
    world.lab.network.isUp = true
    await world.advance(2000)
    await world.pay(third!)
  })
})

describe('a tab that has hung', () => {
  it('stands by when it wakes up, without anybody asking it to, and nothing of it has been written or sent', async () => {
    const [world, first, second] = await open(2)
    first!.hang()
    await world.advance(TAKEOVER_MS)
    await world.pay(second!)
    const { length } = world.lab.network.traffic
    first!.wake()
    await world.settle()
    expect(first!.seen('connect', 'disconnect', 'role').map(([name, role]) => role ?? name)).toEqual(['holder', 'connect', 'standby', 'disconnect'])
    expect([first!.role, first!.plugin.isConnected(), await first!.plugin.getBalance()]).toEqual(['standby', false, '-10'])
    expect(world.lab.network.traffic.slice(length)).toEqual([])
    await world.pay(first!)
    second!.kill()
    await world.advance(TAKEOVER_MS)
    expect(world.expectOneHolder()).toBe(first)
  })

  it('finds its own payment carried on by the other, whatever became of it', async () => {
    const [world, first, second] = await open(2)
    const drop = world.lab.network.drop(asks('prepare', 'alice'))
    world.decide = 'wait'
    const paid = world.payment({ expiresInMs: 60_000 })
    const refused = world.payment({ expiresInMs: 60_000 })
    const outcomes = [watch(first!.plugin.sendTransfer(paid.transfer)), watch(first!.plugin.sendTransfer(refused.transfer))]
    await world.settle()
    first!.hang()
    drop()
    await world.advance(TAKEOVER_MS)
    expect(second!.plugin.inFlight()).toHaveLength(2)
    await world.lab.bob.plugin.fulfillCondition(paid.id, paid.fulfillment)
    await world.lab.bob.plugin.rejectIncomingTransfer(refused.id)
    await world.settle()
    first!.wake()
    await world.advance(1000)
    expect(outcomes).toMatchObject([{ state: 'resolved' }, { state: 'rejected', error: { name: 'AlreadyRolledBackError' } }])
    expect(await world.balances()).toEqual(['-10', '10'])
  })

  it('was only slow: a timer that comes late takes nothing from a holder that answers', async () => {
    const [world, first, second] = await open(2)
    const { said } = world.tabs.origin
    world.tabs.origin.delayMs = () => 5
    for (const afterMs of [0, 100]) {
      await world.advance(afterMs)
      // Both fall asleep while a challenge is on its way, and the one that stands by wakes up first.
      const { length } = said
      while (!said.slice(length).some(text => text.includes('"challenge"'))) await world.advance(1)
      first!.hang()
      second!.hang()
      await world.advance(5000)
      second!.wake()
      await world.advance(200)
      first!.wake()
      await world.advance(2000)
    }
    expect(world.expectOneHolder()).toBe(first)
    expect(first!.seen('disconnect')).toEqual([])
  })

  it('is disconnected for good when its host disconnects while it closes, and can connect again', async () => {
    const [world, first, second] = await open(2)
    first!.plugin.registerRequestHandler(() => new Promise(() => undefined))
    world.lab.bob.plugin.sendRequest({ to: `${PREFIX}client` }).catch(() => undefined)
    await world.settle()
    first!.hang()
    await world.advance(TAKEOVER_MS)
    first!.wake()
    await settle()
    expect(first!.role).toBe('standby')
    const disconnected = watch(first!.plugin.disconnect())
    await world.advance(10_000)
    expect([disconnected.state, first!.role]).toEqual(['resolved', 'disconnected'])
    second!.kill()
    await world.advance(TAKEOVER_MS)
    expect(first!.role).toBe('disconnected')
    await first!.plugin.connect()
    expect(world.expectOneHolder()).toBe(first)
  })
})

describe('a call of a tab that stands by, when the holder goes', () => {
  it.each([
    ['before it got there', (_world: World, holder: Tab) => { holder.hang() }],
    ['before the peer has it', (world: World) => { world.lab.network.drop(asks('prepare', 'alice'), 1) }],
    ['before the peer has answered', (world: World) => { world.lab.network.drop(answers('prepare'), 1) }],
    ['when the peer has fulfilled it', (world: World) => { world.lab.network.drop(answers('fulfill'), 1) }]
  ])('is carried out by the next: a payment, %s', async (_when, prepare) => {
    const [world, first, second, third] = await open(3)
    prepare(world, first!)
    const { transfer, id } = world.payment({ expiresInMs: 60_000 })
    const sent = watch(third!.plugin.sendTransfer(transfer))
    await world.settle()
    first!.kill()
    await world.advance(TAKEOVER_MS)
    expect(sent).toEqual({ state: 'resolved', value: undefined })
    expect([second!.role, third!.story.includes('outgoing_fulfill')]).toEqual(['holder', true])
    expect(await third!.plugin.getFulfillment(id)).toBe(world.payments.get(id)?.fulfillment)
    expect(await world.balances()).toEqual(['-10', '10'])
  })

  it('goes on while nobody can reach the peer: a payment that is stored', async () => {
    const [world, first, , third] = await open(3)
    world.lab.network.drop(asks('prepare', 'alice'))
    const sent = watch(third!.plugin.sendTransfer(world.payment({ expiresInMs: 60_000 }).transfer))
    await world.settle()
    world.lab.network.clearRules()
    world.lab.network.isUp = false
    first!.kill()
    await world.advance(20_000)
    expect(sent.state).toBe('pending')
    world.lab.network.isUp = true
    await world.advance(2000)
    expect(sent.state).toBe('resolved')
    expect(await world.balances()).toEqual(['-10', '10'])
  })

  it.each(['call', 'result'])('is made again while nobody answers: its %s got lost on the way', async lost => {
    const [world, first, second] = await open(2)
    const { origin } = world.tabs
    origin.loses = text => text.includes(`"${lost}"`)
    const sent = watch(second!.plugin.sendTransfer(world.payment({ expiresInMs: 60_000 }).transfer))
    await world.advance(4000)
    expect([sent.state, first!.role]).toEqual(['pending', 'holder'])
    origin.loses = () => false
    await world.advance(2000)
    expect(sent.state).toBe('resolved')
    expect(await world.balances()).toEqual(['-10', '10'])
  })

  it('runs once in a holder, however often it is asked for: what has failed for good is not tried behind its back', async () => {
    const [world, , second] = await open(2)
    // The store is slow for once, then fails: nothing was changed.
    const release = world.store.holdCommits()
    world.store.failNextCommit()
    const sent = watch(second!.plugin.sendTransfer(world.payment({ expiresInMs: 120_000 }).transfer))
    await world.advance(9900)
    release()
    await world.advance(10_000)
    expect([sent.state, sent.error?.outcome]).toEqual(['rejected', undefined])
    // Told that nothing was changed, a host pays by another transfer.
    expect(world.lab.network.count(asks('prepare', 'alice'))).toBe(0)
  })

  it('is answered once more, and not carried out, where its answer was on the way', async () => {
    const [world, , second] = await open(2)
    const { origin } = world.tabs
    world.store.failNextCommit()
    origin.loses = text => text.includes('"result"')
    const sent = watch(second!.plugin.sendTransfer(world.payment({ expiresInMs: 120_000 }).transfer))
    await world.advance(4000)
    origin.loses = () => false
    await world.advance(10_000)
    expect([sent.state, sent.error?.outcome, world.lab.network.count(asks('prepare', 'alice'))]).toEqual(['rejected', undefined, 0])
  })

  it('leaves one answer behind, however long it waits', async () => {
    const [world, , second] = await open(2)
    const { transfer, id, fulfillment } = world.payment({ to: 'alice', expiresInMs: 3_600_000 })
    await world.lab.bob.plugin.sendTransfer({ ...transfer, to: `${PREFIX}client` })
    world.lab.network.drop(asks('fulfill', 'alice'))
    const fulfilled = watch(second!.plugin.fulfillCondition(id, fulfillment))
    await world.advance(600_000)
    expect(fulfilled.state).toBe('pending')
    world.lab.network.clearRules()
    await world.advance(120_000)
    expect(fulfilled.state).toBe('resolved')
    expect(world.tabs.origin.said.filter(text => text.includes('"type":"result"'))).toHaveLength(1)
  })

  it('has its answer from the holder that has it now, and not from one before', async () => {
    const [world, first, second, third] = await open(3)
    world.decide = 'wait'
    world.lab.network.isUp = false
    world.lab.network.cut()
    await world.settle()
    // The first says that it has no connection, but that travels long.
    world.tabs.origin.delayMs = from => from === first!.thread ? 1900 : 0
    const { transfer, id } = world.payment({ expiresInMs: 60_000 })
    const sent = watch(third!.plugin.sendTransfer(transfer))
    await world.settle()
    expect(world.tabs.origin.said.at(-1)).toContain('not connected to the peer')
    world.tabs.origin.delayMs = () => 0
    first!.kill()
    world.lab.network.isUp = true
    world.lab.network.drop(answers('prepare'))
    await world.advance(1000)
    expect([second!.role, sent.state]).toEqual(['holder', 'pending'])
    await world.advance(2000)
    expect(sent.state).toBe('pending')
    await world.lab.bob.plugin.fulfillCondition(id, world.payments.get(id)!.fulfillment)
    await world.settle()
    expect(sent.state).toBe('resolved')
  })

  it('ends with outcome unknown when the next holder is its own tab, which disconnects before it can know', async () => {
    const [world, first, second] = await open(2)
    world.lab.network.drop(asks('prepare', 'alice'))
    const sent = watch(second!.plugin.sendTransfer(world.payment({ expiresInMs: 60_000 }).transfer))
    await world.settle()
    world.lab.network.isUp = false
    first!.kill()
    await world.advance(100)
    expect([second!.role, sent.state]).toEqual(['holder', 'pending'])
    await second!.plugin.disconnect()
    expect(sent).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError', outcome: 'unknown' } })
  })

  it('is told the truth about a payment that was fulfilled or rejected while nobody could tell it', async () => {
    const [world, first, second, third] = await open(3)
    world.decide = 'wait'
    const [paid, refused] = [world.payment({ expiresInMs: 60_000 }), world.payment({ expiresInMs: 60_000 })]
    world.lab.network.drop(answers('prepare'))
    const outcomes = [watch(third!.plugin.sendTransfer(paid.transfer)), watch(third!.plugin.sendTransfer(refused.transfer))]
    await world.settle()
    third!.hang()
    await world.lab.bob.plugin.fulfillCondition(paid.id, paid.fulfillment)
    await world.lab.bob.plugin.rejectIncomingTransfer(refused.id)
    await world.settle()
    // Nothing that the first has said ever arrives.
    first!.kill()
    world.lab.network.clearRules()
    await world.advance(TAKEOVER_MS)
    expect(second!.role).toBe('holder')
    third!.wake()
    await world.advance(TAKEOVER_MS)
    expect(outcomes).toMatchObject([{ state: 'resolved' }, { state: 'resolved' }])
    expect(await world.balances()).toEqual(['-10', '10'])
  })

  it('is carried out by the next: a fulfill and a reject', async () => {
    const [world, first, , third] = await open(3)
    const [one, other] = [await world.lab.prepared({ to: 'alice', expiresInMs: 60_000 }), await world.lab.prepared({ to: 'alice', expiresInMs: 60_000 })]
    world.lab.network.drop(asks('fulfill', 'alice'), 1)
    world.lab.network.drop(asks('reject', 'alice'), 1)
    const outcomes = [watch(third!.plugin.fulfillCondition(one.id, one.fulfillment)), watch(third!.plugin.rejectIncomingTransfer(other.id))]
    await world.settle()
    first!.hang()
    await world.advance(TAKEOVER_MS)
    expect(outcomes.map(({ state }) => state)).toEqual(['resolved', 'resolved'])
    expect(await world.balances()).toEqual(['10', '-10'])
  })

  it.each([
    ['when it is asked', (asking: Tab) => asking],
    ['when it asks itself', (_asking: Tab, next: Tab) => next]
  ])('I4: does not end as one of which nothing was stored where the store of the next fails, %s', async (_which, caller) => {
    const [world, first, second, third] = await open(3)
    world.decide = 'wait'
    const { plugin } = caller(third!, second!)
    const { transfer, id, fulfillment } = world.payment({ expiresInMs: 60_000 })
    const drop = world.lab.network.drop(answers('prepare'))
    const sent = watch(plugin.sendTransfer(transfer))
    await world.settle()
    drop()
    second!.plugin.on('connect', () => {
      world.store.failGets(1000)
      world.store.failNextCommit()
    })
    first!.kill()
    // What fails is the commit of this one: the other one's has landed before.
    const other = watch(plugin.sendTransfer(world.payment({ expiresInMs: 60_000 }).transfer))
    await world.advance(100)
    expect(second!.role).toBe('holder')
    expect([sent, other]).toMatchObject([{ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } }, { state: 'rejected' }])
    world.store.failGets(0)
    world.store.clearFaults()
    await world.lab.bob.plugin.fulfillCondition(id, fulfillment)
    expect(await world.balances()).toEqual(['-10', '10'])
  })

  it('fails when it moves no value, and may have been carried out: a request', async () => {
    const [world, first, , third] = await open(3)
    world.lab.network.drop(answers('message'), 1)
    const asked = watch(third!.plugin.sendRequest({ to: world.tabs.peer, custom: {} }))
    await world.settle()
    first!.kill()
    await world.advance(TAKEOVER_MS)
    expect(asked).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
    expect(world.asked).toBe(1)
  })

  it.each([
    ['also where its connection is still there', false],
    ['and each transfer is sent once', true]
  ])('a holder that wakes up does not carry out what another one has taken, %s', async (_what, isUp) => {
    const [world, first, second, third] = await open(3)
    world.lab.network.isUp = isUp
    first!.hang()
    const asked = watch(third!.plugin.sendRequest({ to: world.tabs.peer, custom: {} }))
    const { transfer } = world.payment({ expiresInMs: 60_000 })
    const sent = watch(third!.plugin.sendTransfer(transfer))
    await world.advance(TAKEOVER_MS)
    expect(second!.role === 'holder' || third!.role === 'holder').toBe(true)
    first!.wake()
    await world.advance(1000)
    expect([asked.state, world.asked]).toEqual(['rejected', 0])
    world.lab.network.isUp = true
    await world.advance(2000)
    expect([sent.state, world.asked]).toEqual(['resolved', 0])
    expect(await world.balances()).toEqual(['-10', '10'])
    expect(world.lab.bob.seen('incoming_prepare')).toHaveLength(1)
  })

  it('ends with its own tab: outcome unknown where it may have been carried out', async () => {
    const [world, first, second] = await open(2)
    world.lab.network.drop(asks('prepare', 'alice'))
    const sent = watch(second!.plugin.sendTransfer(world.payment({ expiresInMs: 60_000 }).transfer))
    await world.settle()
    first!.hang()
    const asked = watch(second!.plugin.getPeerBalance())
    await second!.plugin.disconnect()
    expect(sent).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError', outcome: 'unknown' } })
    expect(asked).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
    expect(asked.error?.outcome).toBeUndefined()
  })
})

describe('tabs without locks', () => {
  async function openWithout(count: number): Promise<[World, ...Tab[]]> {
    const world = new World()
    world.tabs.origin.hasLocks = false
    await world.open(0)
    const opened: Tab[] = []
    for (let n = 0; n < count; n++) {
      const tab = world.tabs.make()
      void tab.plugin.connect()
      await world.advance(1000)
      opened.push(tab)
    }
    return [world, ...opened]
  }

  it('tell by the challenge alone who holds', async () => {
    const [world, first] = await openWithout(3)
    expect(world.expectOneHolder()).toBe(first)
    for (const end of [(tab: Tab) => { tab.kill() }, (tab: Tab) => { tab.hang() }]) {
      end(world.expectOneHolder())
      await world.advance(TAKEOVER_MS)
      await world.pay(world.expectOneHolder())
    }
    first!.wake()
    const [, second] = world.tabs.all
    second!.wake()
    await world.advance(TAKEOVER_MS)
    const [ours, theirs] = await world.balances()
    expect([ours, theirs, world.tabs.withRole('holder').length]).toEqual(['-20', '20', 1])
  })

  it('that open at the same moment end with one holder', async () => {
    const world = new World()
    world.tabs.origin.hasLocks = false
    world.tabs.origin.delayMs = () => 3
    await world.open(0)
    for (let n = 0; n < 4; n++) void world.tabs.make().plugin.connect()
    await world.advance(5000)
    world.expectOneHolder()
    for (const tab of world.tabs.all) await world.pay(tab, '1')
  })

  it('notice each other at once, also where the peer cannot be reached', async () => {
    const [world, first, second] = await openWithout(2)
    world.lab.network.isUp = false
    world.lab.network.cut()
    first!.hang()
    await world.advance(TAKEOVER_MS)
    expect(second!.role).toBe('holder')
    first!.wake()
    await world.settle()
    expect([first!.role, second!.role]).toEqual(['standby', 'holder'])
  })

  it('that cannot hear each other: the newest has the store, and the one before waits to be connected again', async () => {
    const world = new World()
    world.tabs.canHear = false
    await world.open(0)
    const first = await world.tabs.open()
    const second = await world.tabs.open()
    await world.advance(10_000)
    expect([first.role, second.role]).toEqual(['disconnected', 'holder'])
    await world.pay(second)
    expect(first.role).toBe('disconnected')
  })
})

describe('the store', () => {
  it('has the last word: who finds another owner there stands by, and takes over again when nobody else waits', async () => {
    const [world, first] = await open(1)
    world.tabs.canHear = false
    const deaf = await world.tabs.open()
    await world.advance(TAKEOVER_MS)
    expect([first!.role, first!.plugin.isConnected(), deaf.plugin.isConnected()]).toEqual(['holder', true, false])
    expect(first!.seen('role')).toEqual([['role', 'holder'], ['role', 'standby'], ['role', 'holder']])
    await world.pay(first!)
  })

  it('refuses who comes second at the same moment: that one stands by at first, and connect() does not fail', async () => {
    const world = new World()
    await world.open(0)
    const { disk } = world.lab.alice
    let isFirst = true
    const raced: Store = {
      get: key => disk.get(key),
      list: (prefix, options) => disk.list(prefix, options),
      commit: async batch => {
        const isRefused = isFirst
        isFirst = false
        return !isRefused && disk.commit(batch)
      },
      close: () => disk.close()
    }
    const tabs = new Tabs(world.lab, raced)
    const tab = await tabs.open()
    await world.advance(100)
    expect(tab.seen('role')).toEqual([['role', 'standby'], ['role', 'holder']])
    expect(tab.plugin.isConnected()).toBe(true)
  })
})

describe('what tabs say to each other', () => {
  it('is ignored where it is no message, or of a version that is not known', async () => {
    const [world, first, second] = await open(2)
    for (const text of [
      '', 'nonsense', 'null', '[]', '{}', '{"v":1}', '{"v":1,"from":7,"type":"challenge"}', '{"v":1,"from":"x","type":"constructor"}',
      '{"v":1,"from":"x","type":"event","name":"outgoing_fulfill"}', '{"v":1,"from":"x","type":"event","name":"role","args":["holder"]}',
      '{"v":1,"from":"x","type":"event","name":"toString","args":[]}', '{"v":2,"from":"x","type":"event","name":"dispute","args":[{}]}',
      '{"v":1,"from":"x","type":"call","id":1,"epoch":1,"method":"disconnect","args":[],"again":false}',
      '{"v":1,"from":"x","type":"call","id":1,"epoch":1,"method":"constructor","args":[],"again":false}',
      '{"v":1,"from":"x","type":"result","to":"y","id":1,"epoch":"1"}', '{"v":1,"from":"x","type":"here","epoch":"1"}',
      '{"v":1,"from":"x","type":"here","epoch":99,"identity":{"info":{}}}', '{"v":1,"from":"x","type":"here","identity":{"info":{"prefix":"a."},"account":"a.b","peerAccount":"a.c"}}'
    ]) world.tabs.origin.say(text)
    await world.settle()
    expect([first!.role, second!.role, first!.story, second!.story]).toEqual(['holder', 'standby', [], []])
    await world.pay(second!)
  })

  it('tells that somebody is there in any version, so that two versions do not take the connection from each other', async () => {
    const world = new World()
    await world.open(0)
    const tab = world.tabs.make()
    const other = world.tabs.origin.siblingsOf(tab.thread)
    let asked = 0
    const channel = other.open('ilp-plugin-paychan:wallet', text => {
      if (!text.includes('"challenge"')) return
      asked++
      channel.post('{"v":7,"from":"newer","type":"here","holding":true}')
    })
    other.hold('ilp-plugin-paychan:wallet', { onGranted: () => undefined, onLost: () => { throw new Error('stolen') } })
    const connecting = watch(tab.plugin.connect())
    await world.advance(5000)
    expect([connecting.state, tab.role]).toEqual(['resolved', 'standby'])
    expect(asked).toBeGreaterThan(5)
    const sent = watch(tab.plugin.sendTransfer(world.payment().transfer))
    await world.advance(5000)
    expect(sent).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
  })

  it('is an answer to a challenge of any version', async () => {
    const [world] = await open(1)
    const before = world.tabs.origin.said.length
    world.tabs.origin.say('{"v":7,"from":"newer","type":"challenge"}')
    await world.settle()
    expect(world.tabs.origin.said.slice(before).map(text => (JSON.parse(text) as { type: string }).type)).toEqual(['here'])
  })

  it('is nothing while there is one tab', async () => {
    const [world, first] = await open(1)
    await world.pay(first!)
    await world.advance(60_000)
    expect(world.tabs.origin.said.map(text => (JSON.parse(text) as { type: string }).type)).toEqual(['challenge', 'here'])
  })
})

describe('with a module', () => {
  it('only the holder connects it, and H40: a tab that stands by knows from the holder what the module tells', async () => {
    const world = new World()
    await world.open(0)
    const calls: string[] = []
    const counted = (name: string): AnyModule => ({
      ...module,
      connect: () => { calls.push(`${name} connects`) },
      disconnect: () => { calls.push(`${name} disconnects`) },
      getInfo: () => {
        calls.push(`${name} is asked`)
        return { prefix: PREFIX, currencyCode: 'XTS' }
      }
    })
    const first = await world.tabs.open({ module: counted('first') })
    const second = await world.tabs.open({ module: counted('second') })
    expect(second.plugin.getInfo()).toEqual({ prefix: PREFIX, currencyCode: 'XTS' })
    expect(calls.filter(call => call.startsWith('second'))).toEqual([])
    await first.plugin.disconnect()
    await world.settle()
    expect(calls.indexOf('first disconnects')).toBeLessThan(calls.indexOf('second connects'))
    expect(calls.indexOf('second connects')).toBeLessThan(calls.indexOf('second is asked'))
  })

  it('that does not connect, another tab takes over, and this one tries again later', async () => {
    const world = new World()
    await world.open(0)
    let fails = true
    const failing = { ...module, connect: () => { if (fails) throw new errors.NotAcceptedError('not now') } }
    const first = await world.tabs.open({ module })
    const second = await world.tabs.open({ module: failing })
    const third = await world.tabs.open({ module })
    first.kill()
    await world.advance(TAKEOVER_MS)
    expect([second.role, third.role]).toEqual(['standby', 'holder'])
    third.kill()
    await world.advance(5000)
    expect(second.role).toBe('standby')
    fails = false
    await world.advance(TAKEOVER_MS)
    expect([second.role, second.plugin.isConnected()]).toEqual(['holder', true])
  })
})
