/**
 * Two plugins under random faults: transfers both ways while connections go, processes die, frames are lost and disks fail. Then the
 * faults stop, time goes on, and everything must have come to the same end on both sides.
 *
 * A failing run prints its seed; `PAYCHAN_SOAK_SEED=<seed>` runs that one alone, `PAYCHAN_SOAK_RUNS=<n>` another number of them.
 */
import { expect, it } from 'vitest'
import { NotAcceptedError } from '../../src/core/errors.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import { chooser } from '../support/chooser.js'
import type { Chooser } from '../support/chooser.js'
import { Lab, PREFIX, settle, watch } from '../support/lab.js'
import type { Outcome, Payment, Side, SideName } from '../support/lab.js'
import { soak, soakRuns } from '../support/soak.js'
import type { SoakRun } from '../support/soak.js'

const MAXIMUM = 200
const RUNS = soakRuns(200)
/** The longest time that a transfer of this test may be in flight. */
const LONGEST_MS = 15_000

/** In which a host may do anything. */
const EVENTS = [
  'connect', 'disconnect', 'incoming_prepare', 'incoming_fulfill', 'incoming_reject', 'incoming_cancel', 'outgoing_prepare', 'outgoing_fulfill',
  'outgoing_reject', 'outgoing_cancel'
] as const

type Call = { kind: 'send' | 'fulfill' | 'reject'; side: SideName; payment: Payment; outcome: Outcome<unknown> }

class Run implements SoakRun {
  readonly lab: Lab
  readonly #random: Chooser
  readonly #payments = new Map<string, { payment: Payment; from: SideName }>()
  readonly #calls: Call[] = []
  readonly #stopped = new Set<Side>()
  #isHealing = false

  constructor(seed: number) {
    this.#random = chooser(seed)
    const { upTo } = this.#random
    const options = { maxBalance: String(MAXIMUM), minBalance: String(-MAXIMUM), heartbeatMs: 2000, heartbeatTimeoutMs: 1000 }
    this.lab = new Lab({
      seed,
      alice: { options, ...(upTo(2) === 0 ? { module: this.#module('client', 'server') } : {}) },
      bob: { options, skewMs: upTo(4) === 0 ? upTo(1200) - 600 : 0, ...(upTo(1) === 0 ? { module: this.#module('server', 'client') } : {}) }
    })
    for (const side of this.#sides) {
      side.onStart = plugin => {
        plugin.on('incoming_prepare', ({ id }) => { this.#decide(side, id) })
        for (const event of EVENTS) plugin.on(event, () => { if (side.plugin === plugin) this.#interrupt(side) })
      }
    }
  }

  /** A host that disconnects in the middle of an event. */
  #interrupt(side: Side): void {
    if (!this.#isHealing && this.#random.chance(0.02)) this.#stop(side)
  }

  /** Takes its time to connect and for each transfer, fails to connect at times, and refuses some transfers. */
  #module(own: string, peer: string): AnyModule {
    return {
      connect: async () => {
        if (this.#isHealing || this.#random.chance(0.7)) return
        const fails = this.#random.chance(0.3)
        await new Promise<void>(resolve => { this.lab.clock.setTimer(this.#random.upTo(4000), resolve) })
        if (fails) throw new NotAcceptedError('not today')
      },
      disconnect: () => undefined,
      getAccount: () => PREFIX + own,
      getPeerAccount: () => PREFIX + peer,
      getInfo: () => ({ prefix: PREFIX }),
      handleIncomingPrepare: async () => {
        if (this.#isHealing) return
        const delayMs = this.#random.upTo(2000)
        if (delayMs > 1000) await new Promise<void>(resolve => { this.lab.clock.setTimer(delayMs - 1000, resolve) })
        if (this.#random.chance(0.2)) throw new NotAcceptedError('not this one')
      },
      createOutgoingClaim: (_ctx, balance) => ({ balance }),
      handleIncomingClaim: () => undefined
    }
  }

  get #sides(): Side[] {
    return [this.lab.alice, this.lab.bob]
  }

  /** The host's decision about an incoming transfer: now, later, or never. */
  #decide(side: Side, id: string): void {
    const known = this.#payments.get(id)
    const delayMs = this.#random.chance(0.5) ? 0 : this.#random.upTo(6000)
    const what = this.#random.pick(['fulfill', 'fulfill', 'fulfill', 'reject', 'nothing'] as const)
    if (known === undefined || what === 'nothing') return
    const { plugin } = side
    this.lab.clock.setTimer(delayMs, () => {
      if (!side.isAlive || side.plugin !== plugin) return
      const call = what === 'fulfill' ? plugin.fulfillCondition(id, known.payment.fulfillment) : plugin.rejectIncomingTransfer(id)
      this.#calls.push({ kind: what, side: side.name, payment: known.payment, outcome: watch(call) })
    })
  }

  /** A side that has crashed gets a new life; one that has disconnected connects again. */
  async #start(side: Side): Promise<void> {
    const isStopped = this.#stopped.delete(side)
    // In the end the newest process has the store, whichever had it last.
    if (side.isAlive && !isStopped && !this.#isHealing) return
    await this.#connect(side, side.isAlive ? side.plugin : side.make())
  }

  /** Another process over alice's store, while the first still runs. (No other could bind bob's port.) */
  async #supplant(): Promise<void> {
    const side = this.lab.alice
    if (!side.isAlive || !side.plugin.isConnected() || this.#stopped.has(side)) return
    await this.#connect(side, side.make())
  }

  async #connect(side: Side, plugin: LedgerPlugin): Promise<void> {
    plugin.connect({ timeout: Infinity }).then(() => {
      // What was reported before is found here.
      if (side.plugin === plugin) for (const { transfer, isIncoming } of plugin.inFlight()) if (isIncoming) this.#decide(side, transfer.id)
    }, () => { if (side.plugin === plugin && !this.#stopped.has(side)) side.crash() })
    await settle()
  }

  #send(): void {
    const { upTo, pick } = this.#random
    const side = pick(this.#sides)
    if (!side.isAlive || !side.plugin.isConnected()) return
    const to = side.name === 'alice' ? 'bob' : 'alice'
    const payment = this.lab.payment({ to, amount: String(upTo(60)), expiresInMs: 200 + upTo(LONGEST_MS - 200) })
    this.#payments.set(payment.id, { payment, from: side.name })
    this.#calls.push({ kind: 'send', side: side.name, payment, outcome: watch(side.plugin.sendTransfer(payment.transfer)) })
  }

  #stop(side: Side): void {
    if (!side.isAlive) return
    this.#stopped.add(side)
    side.plugin.disconnect({ drainMs: this.#random.pick([0, 0, 1500]) }).catch(() => undefined)
  }

  async #fault(): Promise<void> {
    const { network, clock } = this.lab
    const { upTo, pick, chance } = this.#random
    const side = pick(this.#sides)
    const type = pick(['prepare', 'fulfill', 'reject'] as const)
    switch (upTo(13)) {
      case 0: network.cut(); break
      case 1: network.freeze(); break
      case 2: network.isUp = !network.isUp; break
      case 3: side.crash(); break
      case 4: side.crashAtCommit(pick(['before', 'after']), () => chance(0.3)); break
      case 5: network.drop(({ packet }) => packet.type === type, 1); break
      case 6: network.drop(({ request }) => request?.type === type, 1); break
      case 7: side.store.failNextCommit(); break
      case 8: side.store.loseNextCommit(pick(['now', 'never', 'later'])); break
      case 9: this.#stop(side); break
      case 10: clock.setTimer(upTo(8000), network.hold(({ packet, request }) => packet.type === type || request?.type === type, 1 + upTo(2))); break
      case 11: clock.setTimer(upTo(8000), side.store.holdCommits()); break
      case 12: await this.#supplant(); break
      default: await side.store.landLate()
    }
  }

  async play(): Promise<void> {
    const { upTo, chance } = this.#random
    for (const side of this.#sides) await this.#start(side)
    for (let step = 0; step < 40; step++) {
      for (let n = upTo(3); n > 0; n--) this.#send()
      if (chance(0.5)) await settle()
      if (chance(0.5)) await this.#fault()
      await this.lab.clock.advance(chance(0.3) ? 0 : upTo(1500))
      await this.#checkLimits()
      for (const side of this.#sides) if (chance(0.5)) await this.#start(side)
    }
  }

  /** The faults stop, and time goes on. */
  async heal(): Promise<void> {
    const { network, clock } = this.lab
    this.#isHealing = true
    network.clearRules()
    network.isUp = true
    for (const side of this.#sides) {
      side.crashAtCommit('before', () => false)
      side.store.clearFaults()
      await side.store.landLate()
    }
    for (const side of this.#sides) await this.#start(side)
    await clock.advance(LONGEST_MS + 30_000)
    for (const side of this.#sides) await this.#start(side)
    await clock.advance(60_000)
  }

  /** I5, in what is durable: what is open is counted with the balance. */
  async #checkLimits(): Promise<void> {
    for (const side of this.#sides) {
      if (!side.isAlive || !side.plugin.isConnected()) continue
      const { incoming, outgoing } = this.lab.held(side)
      const { balance } = await side.durable()
      expect(balance + incoming).toBeLessThanOrEqual(MAXIMUM)
      expect(balance - outgoing).toBeGreaterThanOrEqual(-MAXIMUM)
    }
  }

  async check(): Promise<void> {
    const { alice, bob } = this.lab
    const [ofAlice, ofBob] = [await alice.durable(), await bob.durable()]
    expect(this.#sides.map(({ plugin }) => plugin.isConnected())).toEqual([true, true])
    expect(this.#sides.map(({ plugin }) => plugin.inFlight())).toEqual([[], []])
    let balance = 0
    for (const [id, { payment, from }] of this.#payments) {
      const [sender, receiver] = from === 'alice' ? [alice, bob] : [bob, alice]
      const sent = (from === 'alice' ? ofAlice : ofBob).states[id]
      const received = (from === 'alice' ? ofBob : ofAlice).states[id]
      expect([id, sent]).not.toEqual([id, 'prepared'])
      expect([id, received === 'fulfilled']).toEqual([id, sent === 'fulfilled'])
      if (sent === 'fulfilled') balance += Number(payment.transfer.amount) * (from === 'alice' ? -1 : 1)
      this.#checkEvents(id, sender, receiver, sent)
    }
    expect([ofAlice.balance, ofBob.balance]).toEqual([balance, 0 - balance])
    for (const call of this.#calls) this.#checkCall(call, call.side === 'alice' ? ofAlice.states : ofBob.states)
  }

  /** I3: one end for each transfer, and the host heard of it. */
  #checkEvents(id: string, sender: Side, receiver: Side, state: string | undefined): void {
    const count = (side: Side, ...names: string[]): number =>
      side.events.filter(event => names.includes(event[0]) && (event[1] as { id?: string } | undefined)?.id === id).length
    expect([id, count(receiver, 'incoming_prepare') <= 1]).toEqual([id, true])
    const [fulfills, cancels] = [count(sender, 'outgoing_fulfill'), count(sender, 'outgoing_cancel', 'outgoing_reject')]
    expect([id, fulfills > 0]).toEqual([id, state === 'fulfilled'])
    if (state === 'fulfilled') expect([id, cancels, count(receiver, 'incoming_cancel', 'incoming_reject', 'dispute')]).toEqual([id, 0, 0])
    else expect([id, count(receiver, 'incoming_fulfill')]).toEqual([id, 0])
  }

  /** What a host was told is what came true: else it would refund what is paid, or pay what is refunded. */
  #checkCall({ kind, payment: { id }, outcome: { state, error } }: Call, states: Record<string, string>): void {
    if (state === 'rejected' && error?.outcome !== 'unknown') {
      if (kind === 'send') expect([id, states[id]]).not.toEqual([id, 'fulfilled'])
      if (kind === 'fulfill' && error?.name === 'AlreadyRolledBackError') expect([id, states[id]]).toEqual([id, 'cancelled'])
    }
    if (state !== 'resolved') return
    if (kind === 'send') expect(['fulfilled', 'cancelled']).toContain(states[id])
    if (kind === 'fulfill') expect([id, states[id]]).toEqual([id, 'fulfilled'])
    if (kind === 'reject') expect([id, states[id]]).toEqual([id, 'cancelled'])
  }

  /** I8: a new transfer goes through. */
  async payOnceMore(): Promise<void> {
    const payment = this.lab.payment({ to: 'alice', amount: '0', expiresInMs: 60_000 })
    const sent = watch(this.lab.bob.plugin.sendTransfer(payment.transfer))
    await settle()
    const fulfilled = watch(this.lab.alice.plugin.fulfillCondition(payment.id, payment.fulfillment))
    await settle()
    expect([sent.state, fulfilled.state]).toEqual(['resolved', 'resolved'])
  }

  get isBusy(): boolean {
    return this.#payments.size > 10 && this.lab.alice.seen('outgoing_fulfill').length > 0
  }
}

it('I1, I2, I3, I4, I5, I8: whatever fails, both sides end alike, once, as the hosts were told, and a new transfer goes through', async () => {
  await soak(RUNS, n => 1000 + n * 7919, seed => new Run(seed))
}, 20_000 + 400 * RUNS)
