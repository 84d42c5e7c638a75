/**
 * Two hosts of LPI v2 under random faults: packets and settlements both ways while connections go, processes die, frames are lost and
 * disks fail. Then the faults stop, time goes on, and both sides must have come to the same end, which is what their hosts were told.
 */
import { expect, it } from 'vitest'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import { chooser } from '../support/chooser.js'
import type { Chooser } from '../support/chooser.js'
import { codeOf, fulfillOf, ilpPayment, ilpReject } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'
import type { Outcome, Side } from '../support/lab.js'
import { soak, soakRuns } from '../support/soak.js'
import type { SoakRun } from '../support/soak.js'

const MAXIMUM = 200
const RUNS = soakRuns(100)
/** The longest time that a packet of this test may be in flight. */
const LONGEST_MS = 15_000

class Run implements SoakRun {
  readonly lab: Lab
  readonly #random: Chooser
  /** What sendData came to, by the preimage's seed. */
  readonly #sent: Array<{ from: Side; amount: number; outcome: Outcome<Uint8Array> }> = []
  readonly #settled: Array<{ from: Side; amount: number; outcome: Outcome<void> }> = []
  readonly #told = new Map<Side, number>()
  /** What the other side counts and this one does not, since an objection was refused: the amounts, by id. */
  readonly #apart = new Map<string, { from: Side; amount: number }>()
  #packets = 0

  constructor(seed: number) {
    this.#random = chooser(seed)
    const options = { maxBalance: String(MAXIMUM), minBalance: String(-MAXIMUM), heartbeatMs: 2000, heartbeatTimeoutMs: 1000, trustSettlements: true }
    this.lab = new Lab({ seed, alice: { services: {}, options }, bob: { services: {}, options, skewMs: this.#random.upTo(3) === 0 ? this.#random.upTo(1200) - 600 : 0 } })
    for (const side of this.#sides) side.onStart = plugin => { this.#host(side, plugin) }
  }

  get #sides(): [Side, Side] {
    return [this.lab.alice, this.lab.bob]
  }

  /** A host that takes its time, refuses some packets, and forgets others. */
  #host(side: Side, plugin: LedgerPlugin): void {
    const { upTo, pick, chance } = this.#random
    plugin.registerDataHandler(async packet => {
      const what = pick(['fulfill', 'fulfill', 'fulfill', 'data', 'reject', 'nothing'] as const)
      if (chance(0.5)) await new Promise<void>(resolve => { this.lab.clock.setTimer(upTo(6000), resolve) })
      if (what === 'nothing') return new Promise(() => undefined)
      return what === 'reject' ? ilpReject('F02') : fulfillOf(packet, what === 'data' ? Buffer.alloc(upTo(30_000)) : undefined)
    })
    plugin.on('dispute', dispute => {
      if (dispute.id !== undefined && dispute.direction === 'outgoing') this.#apart.set(dispute.id, { from: side, amount: Number(dispute.amount) })
    })
    plugin.registerMoneyHandler(async amount => { this.#told.set(side, (this.#told.get(side) ?? 0) + Number(amount)) })
  }

  async #start(side: Side): Promise<void> {
    if (side.isAlive) return
    const plugin = side.make()
    plugin.connect({ timeout: Infinity }).catch(() => { if (side.plugin === plugin) side.crash() })
    await settle()
  }

  #send(): void {
    const { upTo, pick, chance } = this.#random
    const from = pick(this.#sides)
    if (!from.isAlive || !from.plugin.isConnected()) return
    const amount = upTo(59) + 1
    if (chance(0.1)) {
      this.#settled.push({ from, amount, outcome: watch(from.plugin.sendMoney(String(amount))) })
      return
    }
    const { prepare } = ilpPayment(`${this.lab.seed} ${++this.#packets}`, this.lab.clock.now() + 200 + upTo(LONGEST_MS - 200), String(amount))
    this.#sent.push({ from, amount, outcome: watch<Uint8Array>(from.plugin.sendData(prepare)) })
  }

  async #fault(): Promise<void> {
    const { network, clock } = this.lab
    const { upTo, pick, chance } = this.#random
    const side = pick(this.#sides)
    switch (upTo(11)) {
      case 0: network.cut(); break
      case 1: network.freeze(); break
      case 2: network.isUp = !network.isUp; break
      case 3: side.crash(); break
      case 4: side.crashAtCommit(pick(['before', 'after']), () => chance(0.3)); break
      case 5: network.drop(({ packet }) => packet.type === 'message' || packet.type === 'transfer', 1); break
      case 6: network.drop(({ request }) => request?.type === 'message' || request?.type === 'transfer', 1 + upTo(2)); break
      case 7: side.store.failNextCommit(); break
      case 8: side.store.loseNextCommit(pick(['now', 'never', 'later'])); break
      case 9: clock.setTimer(upTo(8000), network.hold(({ packet, request }) => packet.type === 'message' || request?.type === 'message', 1 + upTo(4))); break
      case 10: clock.setTimer(upTo(8000), side.store.holdCommits()); break
      default: await side.store.landLate()
    }
  }

  async play(): Promise<void> {
    const { upTo, chance } = this.#random
    for (const side of this.#sides) await this.#start(side)
    for (let step = 0; step < 40; step++) {
      for (let n = upTo(6); n > 0; n--) this.#send()
      if (chance(0.5)) await settle()
      if (chance(0.35)) await this.#fault()
      if (chance(0.3)) this.lab.network.isUp = true
      await this.lab.clock.advance(chance(0.3) ? 0 : upTo(1500))
      for (const side of this.#sides) if (chance(0.5)) await this.#start(side)
    }
  }

  async heal(): Promise<void> {
    const { network, clock } = this.lab
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
    await clock.advance(150_000)
  }

  async check(): Promise<void> {
    const { alice, bob } = this.lab
    expect(this.#sides.map(({ plugin }) => [plugin.isConnected(), plugin.inFlight()])).toEqual([[true, []], [true, []]])
    const [ofAlice, ofBob] = await this.lab.balances()
    // I9: an objection beyond what may be disputed is refused, and both numbers are told.
    const apart = (from: Side): number => [...this.#apart.values()].reduce((sum, one) => sum + (one.from === from ? one.amount : 0), 0)
    expect(ofAlice + ofBob).toBe(apart(alice) + apart(bob))
    const read = async (side: Side, which: string): Promise<number> => Number(await side.disk.get(`:paychan:settled:${which}`) ?? 0)
    expect([await read(alice, 'out'), await read(bob, 'out')]).toEqual([await read(bob, 'in'), await read(alice, 'in')])
    this.#checkOutcomes(ofAlice - apart(bob))
    for (const [side, told] of this.#told) expect(told).toBeLessThanOrEqual(await read(side, 'in'))
  }

  /** What a host was told is what came true: beside what it was told, only calls that ended with their process may have paid. */
  #checkOutcomes(balance: number): void {
    let [known, unknown] = [0, 0]
    for (const { from, amount, outcome: { state, value, error } } of this.#sent) {
      const sign = from.name === 'alice' ? -1 : 1
      if (state === 'resolved' && value !== undefined && codeOf(value) === 'fulfill') known += sign * amount
      else if (state === 'pending' || error?.outcome === 'unknown') unknown += amount
    }
    expect(Math.abs(balance - known)).toBeLessThanOrEqual(unknown)
  }

  /** I8: a new packet goes through. */
  async payOnceMore(): Promise<void> {
    this.lab.alice.plugin.deregisterDataHandler()
    this.lab.alice.plugin.registerDataHandler(async packet => fulfillOf(packet))
    const sent = watch<Uint8Array>(this.lab.bob.plugin.sendData(ilpPayment('once more', this.lab.clock.now() + 10_000, '1').prepare))
    await settle()
    // Where settlements have used the limit up, that is told; and where an objection was refused, that the balances differ.
    const end = sent.state === 'rejected' ? (sent.error as { ilpErrorCode?: string }).ilpErrorCode : codeOf(sent.value ?? Buffer.alloc(0))
    expect(end).toMatch(this.isApart ? /^(fulfill|T04|T01)$/ : /^(fulfill|T04)$/)
  }

  get isApart(): boolean {
    return this.#apart.size > 0
  }

  get isBusy(): boolean {
    return this.#sent.filter(({ outcome }) => outcome.state === 'resolved').length > 10
  }
}

it('C56, I1, I3, I4, I8: whatever fails, packets and settlements end alike on both sides, as the hosts were told', async () => {
  const runs: Run[] = []
  await soak(RUNS, n => 2000 + n * 7919, seed => {
    const run = new Run(seed)
    runs.push(run)
    return run
  })
  // Refusing is for what no honest sender does; here faults come upon faults.
  expect(runs.filter(({ isApart }) => isApart).length).toBeLessThanOrEqual(1 + RUNS / 100)
}, 20_000 + 600 * RUNS)
