/**
 * One run, all of it from its seed: two peers at work while faults strike; then the faults stop, everything becomes final within bounded
 * time, and new payments go through.
 */
import { UnreachableError } from '../../src/core/errors.js'
import type { AnyModule } from '../../src/plugin/module.js'
import { claimModule } from '../examples/claim-module.js'
import { TestLedger } from '../support/test-ledger.js'
import type { Channel } from '../support/test-ledger.js'
import { Auditor } from './auditor.js'
import type { Payment } from './auditor.js'
import { isCounted, isHeld } from './books.js'
import { HostV1 } from './host-v1.js'
import { HostV2 } from './host-v2.js'
import type { Peer } from './peer.js'
import { Side } from './side.js'
import type { Shared, SideSetup } from './side.js'
import { Wires } from './wires.js'
import { HANGS_MS, World, otherSide } from './world.js'
import type { Fault, RunOptions, SideName } from './world.js'

/** How long faults strike. */
const PLAY_MS = 7000
/** The same where there is but one. */
const SHORT_PLAY_MS = 1000
/** Within this time everything is final once they have stopped. */
const FINAL_WITHIN_MS = 120_000
const WITHHELD_MS = 3_600_000
const STEP_MS = 250
/** The lease. */
const TAKEN_OVER_WITHIN_MS = 3000
/** The furthest that a clock is put back: what expires by it waits for so much longer. */
const MOST_BACK_MS = 30_000

const SIDES = ['alice', 'bob'] as const

/** A ledger that takes its time, and cannot be reached now and then. */
class SimLedger extends TestLedger {
  readonly #world: World

  constructor(world: World) {
    super()
    this.#world = world
  }

  override async getChannel(id: string): Promise<Channel | undefined> {
    await this.#reach()
    return super.getChannel(id)
  }

  override async findChannel(source: string, destination: string): Promise<Channel | undefined> {
    await this.#reach()
    return super.findChannel(source, destination)
  }

  async #reach(): Promise<void> {
    if (this.#world.strikes('slow module', 0.04)) await this.#world.pause(this.#world.fate.upTo(1500))
    if (this.#world.strikes('failed module', 0.02)) throw new UnreachableError('the ledger cannot be reached')
  }
}

export interface Result {
  readonly seed: number
  readonly violations: readonly string[]
  readonly struck: ReadonlyMap<Fault, number>
  /** Sent, fulfilled, and disputed. */
  readonly payments: number
  readonly fulfilled: number
  readonly disputed: number
  /** In virtual time. */
  readonly finalAfterMs: number
  /** How many points at which it may die each has passed in its first life. */
  readonly points: Readonly<Record<SideName, number>>
}

class Run {
  readonly #world: World
  readonly #auditor: Auditor
  readonly #wires: Wires
  readonly #sides: Record<SideName, Side>
  readonly #hosts: Record<SideName, HostV1 | HostV2>
  readonly #isV2: boolean
  #finalAfterMs = 0

  constructor(seed: number, options: RunOptions) {
    const world = this.#world = new World(seed, options)
    const { upTo, chance, pick } = world.choice
    // BTP 2.0 knows no ids: whoever speaks no more has a packet that is lost with its connection come to nothing.
    const isV2 = this.#isV2 = chance(0.5) && !world.odd.areForeign
    const hasClaims = chance(0.5)
    const isTrusting = isV2 && !hasClaims && chance(0.8)
    const ledger = new SimLedger(world)
    const wallets = { alice: ledger.createWallet('1000000000'), bob: ledger.createWallet('1000000000') }
    this.#auditor = new Auditor(world, { isV2, hasClaims, verify: ({ channel, amount, signature }) => ledger.verifyClaim(channel, amount, signature) })
    this.#wires = new Wires(world, {
      sent: (from, wire, frame) => { this.#auditor.sent(from, wire, frame) },
      arrives: (to, wire, frame, life) => { this.#auditor.arrives(to, wire, frame, life) }
    }, chance(0.7) || world.odd.isSymmetric)
    const shared: Shared = { world, wires: this.#wires, auditor: this.#auditor }
    const isAutomatic = isV2 && hasClaims && chance(0.3)
    const skewMs = chance(0.3) ? 600 : 0
    // Drawn by none of the choices, so that those stay what they were.
    const keepsPackets = seed % 3 === 0
    const setup = (side: SideName): SideSetup => ({
      isV2,
      // A plain one has no lease.
      hasPlainStore: chance(0.4) && world.odd.shares !== side,
      limits: { maximum: pick([60, 120, 200]), minimum: -pick([60, 120, 200]) },
      skewMs,
      makeModule: hasClaims ? () => moduleFor(world) : undefined,
      options: {
        packetHistory: keepsPackets,
        ...(isTrusting ? { trustSettlements: true } : {}),
        ...(isAutomatic ? { settlement: 'automatic', settleThreshold: String(-upTo(50)) } : {}),
        ...(hasClaims ? { ledger, wallet: wallets[side], peerAddress: wallets[otherSide(side)].address, maxUnsecured: String(60 + upTo(200)), channelAmount: '150' } : {})
      }
    })
    const host = (side: SideName): HostV1 | HostV2 => isV2 ? new HostV2(side, shared, isTrusting || (hasClaims && !isAutomatic)) : new HostV1(side, shared)
    this.#hosts = { alice: host('alice'), bob: host('bob') }
    this.#sides = { alice: new Side('alice', shared, setup('alice'), this.#hosts.alice), bob: new Side('bob', shared, setup('bob'), this.#hosts.bob) }
  }

  // ---- under faults

  async play(): Promise<void> {
    const { choice, fate, clock, odd, killAt } = this.#world
    this.#sides.bob.start()
    this.#sides.alice.start()
    if (killAt !== undefined) {
      for (const side of SIDES) clock.setTimer(300, () => { this.#sides[side].peer.send() })
      await clock.advance(SHORT_PLAY_MS)
      return
    }
    for (let n = 8 + choice.upTo(14); n > 0; n--) {
      const side = this.#sides[choice.pick(SIDES)]
      clock.setTimer(choice.upTo(PLAY_MS), () => { this.#sendSome(side.peer) })
    }
    for (let n = fate.upTo(6); n > 0; n--) clock.setTimer(fate.upTo(PLAY_MS), () => { this.#strike() })
    if (odd.shares !== undefined) this.#strikeHolder(this.#sides[odd.shares])
    if (odd.empties !== undefined) {
      const side = this.#sides[odd.empties]
      clock.setTimer(500 + fate.upTo(PLAY_MS - 500), () => { side.loseStore() })
    }
    if (odd.putsBack) clock.setTimer(fate.upTo(PLAY_MS), () => { this.#jump(this.#sides[fate.pick(SIDES)]) })
    await clock.advance(PLAY_MS)
  }

  /** Several at once, so that they share commits. */
  #sendSome(peer: Peer): void {
    for (let n = 1 + this.#world.choice.upTo(2); n > 0; n--) peer.send()
  }

  #strike(): void {
    const { fate, clock } = this.#world
    const side = this.#sides[fate.pick(SIDES)]
    switch (fate.upTo(7)) {
      case 0:
      case 1: this.#world.count('cut'); this.#wires.cut(); break
      case 2: this.#world.count('freeze'); this.#wires.freeze(); break
      case 3:
        this.#world.count('cut')
        this.#wires.isUp = false
        this.#wires.cut()
        clock.setTimer(fate.upTo(2500), () => { this.#wires.isUp = true })
        break
      case 4: this.#world.count('failed store'); side.disk.breakFor(fate.upTo(1500)); break
      case 5: this.#jump(side); break
      default: side.peer.stop()
    }
  }

  /** Whoever trades dies or stands still, while the other one waits. */
  #strikeHolder(side: Side): void {
    const { fate, clock } = this.#world
    for (let n = 1 + fate.upTo(2); n > 0; n--) {
      const afterMs = 1000 + fate.upTo(PLAY_MS - 1000)
      clock.setTimer(afterMs, () => {
        if (fate.chance(0.3)) side.life.kill()
        else side.life.freeze(Math.min(500 + fate.upTo(5000), PLAY_MS - afterMs))
      })
    }
  }

  #jump({ life, isDouble }: Side): void {
    const { fate, odd } = this.#world
    if (isDouble) return
    if (odd.putsBack && fate.chance(0.7)) life.putBack(1 + fate.upTo(fate.chance(0.3) ? MOST_BACK_MS : 4000))
    else life.jump(1 + fate.upTo(4000))
  }

  // ---- when they have stopped

  async heal(): Promise<void> {
    this.#world.isFaulty = false
    this.#world.note('', () => 'the faults stop')
    this.#wires.isUp = true
    for (const side of SIDES) await this.#sides[side].disk.landLate()
    // Whoever writes nothing does not notice.
    for (const side of SIDES) if (this.#auditor.isUnaware(side)) this.#sides[side].life.end()
    this.#finalAfterMs = await this.#untilNothing(() => this.#unfinished())
  }

  /** Waits until there is nothing left to say. Returns how long that took; it is a violation when it takes too long. */
  async #untilNothing(left: () => string[]): Promise<number> {
    for (let ms = 0; ms < FINAL_WITHIN_MS; ms += STEP_MS) {
      await this.#world.clock.advance(STEP_MS)
      if (left().length === 0) return ms
    }
    this.#world.violate('I8', `after ${FINAL_WITHIN_MS / 1000} s without faults ${left().join('; ')}`)
    return FINAL_WITHIN_MS
  }

  #unfinished(options?: { isSettled: boolean }): string[] {
    const away = SIDES.filter(side => !this.#sides[side].peer.isRunning || !this.#sides[side].plugin.isConnected()).map(side => `${side} is not connected`)
    // A store that was slow to the end may not have told its plugin yet.
    const busy = SIDES.filter(side => this.#sides[side].peer.isRunning && this.#sides[side].plugin.inFlight().length > 0).map(side => `${side}'s plugin has something in flight`)
    const { open } = this.#wires
    return [...away, ...busy, ...(open > 1 ? [`there are ${open} connections`] : []), ...this.#auditor.unfinished(options)]
  }

  /** Where two processes share a store, whoever waits has it within the lease when the other one goes, and everything goes on. */
  async succeed(): Promise<void> {
    const { odd, violations, clock } = this.#world
    if (odd.shares === undefined || violations.length > 0) return
    const side = this.#sides[odd.shares]
    // A call of its store that hung under faults has ended then.
    await clock.advance(2 * HANGS_MS)
    await this.#untilNothing(() => side.hasStandby ? [] : [`nobody stands by for ${side.name}`])
    side.loseHolder()
    await clock.advance(TAKEN_OVER_WITHIN_MS)
    if (!side.peer.isHolder) this.#world.violate('I8', `nobody has taken over from ${side.name} within ${TAKEN_OVER_WITHIN_MS} ms`)
    await this.#untilNothing(() => this.#unfinished())
  }

  /** Where both dial, they do so at once when their connection is lost: one of the two is kept, the same one by both, and stays. */
  async reconnect(): Promise<void> {
    if (!this.#world.odd.isSymmetric || this.#world.violations.length > 0) return
    for (let round = 0; round < 3; round++) {
      const before = this.#wires.count
      this.#wires.end()
      await this.#untilNothing(() => this.#unfinished())
      const made = this.#wires.count - before
      if (made > 2) this.#world.violate('I8', `it took ${made} connections until there was one again`)
    }
  }

  /** I8: a new payment goes through each way, as far as the limits let it. */
  async payOnceMore(): Promise<void> {
    if (this.#world.violations.length > 0) return
    // What was disputed takes room below the maximum for as long.
    const hasDisputes = SIDES.some(side => [...this.#auditor.books[side].statuses.values()].some(({ stage }) => stage === 'disputed'))
    if (hasDisputes) await this.#world.clock.advance(WITHHELD_MS)
    // The module has whatever is missing made then, where its ledger could not be reached before.
    for (const side of SIDES) {
      let payment = this.#payOne(side)
      await this.#untilNothing(() => {
        const status = payment === undefined ? undefined : this.#auditor.books[side].of(payment.condition)
        if (payment === undefined || isCounted(status)) return []
        // A connection that neither has found out to be dead may have taken it along.
        if (!isHeld(status)) payment = this.#payOne(side)
        return [`payment ${payment?.number ?? 0} has not gone through`]
      })
    }
    await this.#untilNothing(() => this.#unfinished({ isSettled: true }))
  }

  #payOne(side: SideName): Payment | undefined {
    const [from, to] = [this.#auditor.books[side], this.#auditor.books[otherSide(side)]]
    const { peer: { plugin, life } } = this.#sides[side]
    const position = (books: typeof from): number => books.balance + books.settledOut - books.settledIn
    const hasRoom = position(from) - 1 >= this.#sides[side].limits.minimum && position(to) + 1 <= this.#sides[otherSide(side)].limits.maximum
    const host = this.#hosts[side]
    if (host instanceof HostV1) return host.send(plugin, life, hasRoom ? 1 : 0, 10_000)
    return hasRoom && !this.#isUnsecured(side) ? host.pay(plugin, life, 1, 10_000) : undefined
  }

  /** Under LPI v2 whoever was not settled with may refuse what is not secured. */
  #isUnsecured(side: SideName): boolean {
    return this.#isV2 && this.#auditor.books[side].fulfilled.outgoing - this.#auditor.books[side].settledOut > 50
  }

  async check(): Promise<void> {
    if (this.#world.violations.length > 0) return
    this.#auditor.checkEnd()
    const [own, peers] = [this.#sides.alice.plugin.getAccount(), this.#sides.bob.plugin.getPeerAccount()]
    if (own !== peers) this.#world.violate('I1', `alice says that she is ${own}, bob says that she is ${peers}`)
    for (const side of SIDES) {
      const books = this.#auditor.books[side]
      const { plugin, disk } = this.#sides[side]
      const balance = await plugin.getBalance()
      if (Number(balance) !== books.balance) this.#world.violate('I2', `${side}'s plugin says ${balance}, its transfers make ${books.balance}`)
      const contents = await disk.contents()
      const differs = [...new Set([...contents.keys(), ...books.values.keys()])].filter(key => contents.get(key) !== books.values.get(key))
      if (differs.length > 0) this.#world.violate('I7', `${side}'s disk is not what became durable: ${differs.join(' ')}`)
    }
  }

  end(): void {
    for (const side of SIDES) this.#sides[side].retire()
  }

  get result(): Result {
    const { payments, fulfilled, disputed } = this.#auditor.count
    const { seed, violations, struck, points } = this.#world
    return { seed, violations, struck, payments, fulfilled, disputed, finalAfterMs: this.#finalAfterMs, points }
  }
}

/** The module of the examples, or one that believes and signs anything. */
function moduleFor({ mutant }: World): AnyModule {
  const module = claimModule()
  if (mutant.believesClaims !== true) return module
  return {
    ...module,
    createOutgoingClaim: async (...args: Parameters<typeof module.createOutgoingClaim>) => {
      const claim = await module.createOutgoingClaim(...args) as { amount: string }
      return { ...claim, signature: '0'.repeat(128) }
    },
    handleIncomingClaim: async (ctx: Parameters<typeof module.handleIncomingClaim>[0], claim: { channel: string; amount: string; signature: string }) => {
      await ctx.state.best.setIfMax({ value: claim.amount, data: { channel: claim.channel, signature: claim.signature } })
      return claim.amount
    }
  }
}

/** Plays one seed to its end. */
export async function run(seed: number, options: RunOptions = {}): Promise<Result> {
  const one = new Run(seed, options)
  await one.play()
  await one.heal()
  await one.succeed()
  await one.reconnect()
  await one.payOnceMore()
  await one.check()
  one.end()
  return one.result
}
