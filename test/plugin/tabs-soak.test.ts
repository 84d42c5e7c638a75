/**
 * The tabs of one wallet under random faults: they are opened, closed, killed, hung and woken, alone and several at once, while payments
 * run from all of them and to them, over a connection that goes at times. Then the faults stop, time goes on, and everything must have
 * come to the same end on both sides, with one tab that holds.
 *
 * A failing run prints its seed; `PAYCHAN_SOAK_SEED=<seed>` runs that one alone, `PAYCHAN_SOAK_RUNS=<n>` another number of them.
 */
import { expect, it } from 'vitest'
import type { AnyModule } from '../../src/plugin/module.js'
import { chooser } from '../support/chooser.js'
import type { Chooser } from '../support/chooser.js'
import { Lab, PREFIX, settle, watch } from '../support/lab.js'
import type { Outcome, Payment, SideName } from '../support/lab.js'
import { soak, soakRuns } from '../support/soak.js'
import type { SoakRun } from '../support/soak.js'
import { Tabs } from '../support/tabs.js'
import type { Tab } from '../support/tabs.js'

const RUNS = soakRuns(100)
const MAXIMUM = 300
/** The longest time that a transfer of this test may be in flight. */
const LONGEST_MS = 15_000
const MOST_TABS = 4

interface Call {
  kind: 'send' | 'fulfill' | 'reject' | 'ask'
  /** The tab that made it; nobody where it was bob. */
  tab: Tab | undefined
  id: string
  outcome: Outcome<unknown>
}

class Run implements SoakRun {
  readonly lab: Lab
  readonly tabs: Tabs
  readonly #random: Chooser
  readonly #payments = new Map<string, { payment: Payment; from: SideName }>()
  readonly #calls: Call[] = []
  readonly #options: Parameters<Tabs['make']>[0]
  /** The tabs that were disconnected in the middle: what they were told may be that nobody knows. */
  readonly #left = new Set<Tab>()
  #handovers = 0

  constructor(seed: number) {
    this.#random = chooser(seed)
    const { upTo, chance } = this.#random
    const limits = { maxBalance: String(MAXIMUM), minBalance: String(-MAXIMUM) }
    this.lab = new Lab({ seed, bob: { options: limits } })
    this.lab.bob.onStart = plugin => { plugin.on('incoming_prepare', ({ id }) => { this.#decide(id) }) }
    this.tabs = new Tabs(this.lab)
    this.tabs.origin.hasLocks = chance(0.7)
    const slowest = upTo(1) * 40
    this.tabs.origin.delayMs = () => upTo(slowest)
    this.#options = { options: limits, ...(chance(0.3) ? { module: this.#module() } : {}) }
  }

  /** Takes its time to connect. */
  #module(): AnyModule {
    return {
      connect: () => new Promise<void>(resolve => { this.lab.clock.setTimer(this.#random.upTo(300), resolve) }),
      disconnect: () => undefined,
      getAccount: () => `${PREFIX}client`,
      getPeerAccount: () => `${PREFIX}server`,
      getInfo: () => ({ prefix: PREFIX }),
      handleIncomingPrepare: () => undefined,
      createOutgoingClaim: (_ctx, balance) => ({ balance }),
      handleIncomingClaim: () => undefined
    }
  }

  get #running(): Tab[] {
    return this.tabs.all.filter(({ thread }) => thread.state === 'running')
  }

  #open(): void {
    const tab = this.tabs.make(this.#options)
    tab.plugin.on('incoming_prepare', ({ id }) => { if (this.#random.chance(0.5)) this.#decide(id) })
    tab.plugin.on('role', role => { if (role === 'holder') this.#handovers++ })
    this.#connect(tab)
  }

  /** A host that tries until it is connected. */
  #connect(tab: Tab): void {
    tab.plugin.connect({ timeout: Infinity }).catch(() => { this.#connectLater(tab, 500) })
  }

  #connectLater(tab: Tab, delayMs: number): void {
    this.lab.clock.setTimer(delayMs, () => { tab.thread.run(() => { this.#connect(tab) }) })
  }

  #call(kind: Call['kind'], tab: Tab | undefined, id: string, promise: Promise<unknown>): void {
    this.#calls.push({ kind, tab, id, outcome: watch(promise) })
  }

  /** The receiver's decision: now, later, or never; by any tab, where it is alice's. */
  #decide(id: string): void {
    const { upTo, chance, pick } = this.#random
    const known = this.#payments.get(id)
    const what = pick(['fulfill', 'fulfill', 'fulfill', 'reject', 'nothing'] as const)
    if (known === undefined || what === 'nothing') return
    this.lab.clock.setTimer(chance(0.5) ? 0 : upTo(6000), () => {
      const tab = known.from === 'alice' ? undefined : this.#anyTab()
      const plugin = known.from === 'alice' ? this.lab.bob.plugin : tab?.plugin
      if (plugin === undefined) return
      this.#call(what, tab, id, what === 'fulfill' ? plugin.fulfillCondition(id, known.payment.fulfillment) : plugin.rejectIncomingTransfer(id))
    })
  }

  #anyTab(): Tab | undefined {
    const ready = this.#running.filter(({ role }) => role !== 'disconnected')
    return ready.length === 0 ? undefined : this.#random.pick(ready)
  }

  #send(): void {
    const { upTo, chance } = this.#random
    const from = chance(0.7) ? 'alice' : 'bob'
    const tab = from === 'alice' ? this.#anyTab() : undefined
    const plugin = from === 'alice' ? tab?.plugin : this.lab.bob.plugin
    if (plugin === undefined) return
    const payment = this.lab.payment({ to: from === 'alice' ? 'bob' : 'alice', amount: String(upTo(40)), expiresInMs: 200 + upTo(LONGEST_MS - 200) })
    this.#payments.set(payment.id, { payment, from })
    this.#call('send', tab, payment.id, plugin.sendTransfer(payment.transfer))
    if (tab !== undefined && chance(0.2)) this.#call('ask', tab, '', tab.plugin.getPeerBalance())
  }

  #fault(): void {
    const { network, clock } = this.lab
    const { upTo, pick, chance } = this.#random
    const tab = chance(0.6) ? this.tabs.withRole('holder')[0] : pick(this.tabs.all)
    const type = pick(['prepare', 'fulfill', 'reject'] as const)
    switch (upTo(9)) {
      case 0: case 1: tab?.kill(); break
      case 2: case 3: case 4: this.#hang(tab); break
      case 5: this.#leave(tab); break
      case 6: network.cut(); break
      case 7: network.drop(({ packet }) => packet.type === type, 1); break
      case 8: network.drop(({ request }) => request?.type === type, 1); break
      default: {
        network.isUp = false
        clock.setTimer(upTo(3000), () => { network.isUp = true })
      }
    }
    if (this.tabs.all.filter(({ isAlive }) => isAlive).length < MOST_TABS) this.#open()
  }

  #hang(tab: Tab | undefined): void {
    if (tab?.thread.state !== 'running') return
    tab.hang()
    this.lab.clock.setTimer(this.#random.upTo(6000), () => { tab.wake() })
  }

  /** Disconnects, and connects again later. */
  #leave(tab: Tab | undefined): void {
    if (tab?.thread.state !== 'running') return
    this.#left.add(tab)
    tab.plugin.disconnect().catch(() => undefined)
    this.#connectLater(tab, this.#random.upTo(3000))
  }

  async play(): Promise<void> {
    const { upTo, chance } = this.#random
    await this.lab.bob.start()
    this.#open()
    this.#open()
    for (let step = 0; step < 40; step++) {
      for (let n = upTo(3); n > 0; n--) this.#send()
      if (chance(0.5)) await settle()
      if (chance(0.4)) this.#fault()
      await this.lab.clock.advance(chance(0.3) ? upTo(30) : upTo(1500))
    }
  }

  async heal(): Promise<void> {
    this.lab.network.clearRules()
    this.lab.network.isUp = true
    if (!this.tabs.all.some(({ isAlive }) => isAlive)) this.#open()
    await this.lab.clock.advance(LONGEST_MS + 30_000)
  }

  async check(): Promise<void> {
    const { alice, bob } = this.lab
    expect(this.#running.map(({ role }) => role).sort()).toEqual(['holder', ...this.#running.slice(1).map(() => 'standby')])
    const [holder] = this.tabs.withRole('holder')
    expect([holder?.plugin.isConnected(), holder?.plugin.inFlight(), bob.plugin.inFlight()]).toEqual([true, [], []])
    const [ofAlice, ofBob] = [await alice.durable(), await bob.durable()]
    let balance = 0
    for (const [id, { payment, from }] of this.#payments) {
      const [sent, received] = from === 'alice' ? [ofAlice.states[id], ofBob.states[id]] : [ofBob.states[id], ofAlice.states[id]]
      expect([id, sent]).not.toEqual([id, 'prepared'])
      expect([id, received === 'fulfilled']).toEqual([id, sent === 'fulfilled'])
      if (sent === 'fulfilled') balance += Number(payment.transfer.amount) * (from === 'alice' ? -1 : 1)
      this.#checkEvents(id, from, sent)
    }
    expect([ofAlice.balance, ofBob.balance]).toEqual([balance, 0 - balance])
    for (const tab of this.#running) {
      expect([await tab.plugin.getBalance(), tab.plugin.inFlight()]).toEqual([String(balance), []])
      expect((await tab.plugin.history({ limit: 1000 })).length).toBe(Object.keys(ofAlice.states).length)
    }
    for (const call of this.#calls) this.#checkCall(call, this.#payments.get(call.id)?.from === (call.kind === 'send' ? 'alice' : 'bob') ? ofAlice.states : ofBob.states)
  }

  /** Once for each tab at most, and never both ends of one transfer. */
  #checkEvents(id: string, from: SideName, state: string | undefined): void {
    const { bob } = this.lab
    for (const { events, name } of [...this.tabs.all, { events: bob.events, name: 'bob' }]) {
      const count = (...names: string[]): number =>
        events.filter(event => names.includes(event[0]) && (event[1] as { id?: string } | undefined)?.id === id).length
      expect([name, id, count('incoming_prepare') <= 1]).toEqual([name, id, true])
      if (state === 'fulfilled') expect([name, id, count('outgoing_cancel', 'outgoing_reject', 'incoming_cancel', 'incoming_reject', 'dispute')]).toEqual([name, id, 0])
      else expect([name, id, count('outgoing_fulfill', 'incoming_fulfill')]).toEqual([name, id, 0])
      if (name === 'bob' && from === 'bob') expect([id, count('outgoing_fulfill') > 0]).toEqual([id, state === 'fulfilled'])
    }
  }

  /** Every host that is still there was told something, and that nobody knows only where it went away itself. */
  #checkCall(call: Call, states: Record<string, string>): void {
    const { kind, tab, id, outcome: { state, error } } = call
    if (tab?.isAlive !== false) expect([kind, id, state]).not.toEqual([kind, id, 'pending'])
    if (error?.outcome === 'unknown') expect([kind, id, tab !== undefined && this.#left.has(tab)]).toEqual([kind, id, true])
    else if (state === 'rejected') this.#checkFailed(call, states[id])
    else if (state === 'resolved' && kind !== 'ask') {
      expect([kind, id, { send: ['fulfilled', 'cancelled'], fulfill: ['fulfilled'], reject: ['cancelled'] }[kind].includes(states[id] ?? '')]).toEqual([kind, id, true])
    }
  }

  #checkFailed({ kind, id, outcome: { error } }: Call, state: string | undefined): void {
    if (kind === 'send') expect([id, state === 'fulfilled' ? error?.message : undefined]).toEqual([id, undefined])
    if (kind === 'fulfill' && error?.name === 'AlreadyRolledBackError') expect([id, state]).toEqual([id, 'cancelled'])
  }

  /** A new payment goes through, from each tab. */
  async payOnceMore(): Promise<void> {
    for (const tab of this.#running) {
      const payment = this.lab.payment({ amount: '0', expiresInMs: 60_000 })
      const sent = watch(tab.plugin.sendTransfer(payment.transfer))
      await this.lab.clock.advance(200)
      const fulfilled = watch(this.lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment))
      await this.lab.clock.advance(200)
      expect([tab.name, tab.role, sent, fulfilled]).toMatchObject([tab.name, tab.role, { state: 'resolved' }, { state: 'resolved' }])
    }
  }

  get isBusy(): boolean {
    return this.#payments.size > 10 && this.#handovers > 3 && this.lab.bob.seen('incoming_fulfill').length > 0
  }
}

it('I1, I3: whatever becomes of its tabs, a wallet and its peer end alike, one tab holds, and every tab was told the truth', async () => {
  await soak(RUNS, n => 500 + n * 6067, seed => new Run(seed))
}, 20_000 + 800 * RUNS)
