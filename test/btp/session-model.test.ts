/**
 * Two links and all that may happen to them, in whatever order: connections that are cut or go silent, sides that stop and start, second
 * connections, strangers, wrong tokens, and requests both ways whose answers are late, refused or never given. A model too simple to be
 * wrong keeps the account: what was asked, and how often and how each of it has ended.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodePacket } from '../../src/btp/packets.js'
import { json, text } from '../../src/btp/protocol-data.js'
import type { Reply, Session } from '../../src/btp/session.js'
import type { RequestPacket } from '../../src/btp/packets.js'
import { NotAcceptedError, UnreachableError } from '../../src/core/errors.js'
import type { Random } from '../../src/core/random.js'
import { authData, Network, TestPeer, WirePeer } from '../support/peers.js'
import { settle, VirtualClock } from '../support/virtual-clock.js'

const SIDES = ['a', 'b'] as const
type Side = typeof SIDES[number]
const other = (side: Side): Side => side === 'a' ? 'b' : 'a'

const ANSWER_TIMEOUT_MS = 4000
/** Longer than a heartbeat and its probe, and the longest wait before dialling again a few times over. */
const HEALED_MS = 45_000

/** What becomes of a request where it arrives, and how long that takes there. `unknown` is met with silence, like `hang`. */
type Plan = 'answer' | 'refuse' | 'unknown' | 'hang'
interface Asked {
  readonly plan: Plan
  readonly from: Side
  handled: number
  /** The session that it was handled on. */
  on?: Session
  answers: string[]
  failures: Error[]
}

type Step =
  | { readonly what: 'ask'; readonly side: Side; readonly plan: Plan; readonly delayMs: number }
  /** A connection goes, known at once to one side. */
  | { readonly what: 'cut'; readonly side: Side }
  /** Nothing gets through any more on what is there, and nobody is told; or one side notices first. */
  | { readonly what: 'lose'; readonly noticedBy: Side | undefined }
  | { readonly what: 'stop' | 'start' | 'spoil token' | 'mend token'; readonly side: Side }
  | { readonly what: 'stranger'; readonly at: Side; readonly says: Words }
  | { readonly what: 'wait'; readonly ms: number }
  /** So many frames arrive, in the scheduler's order. */
  | { readonly what: 'deliver'; readonly count: number }

/** What somebody says who has no token; or who has it, and takes the peer's place on a connection where nothing is ever answered. */
type Words = 'right token' | 'nothing' | 'wrong token' | 'no authentication' | 'answers' | 'garbage' | 'goodbye'

/** Gives few ids, so that those of one session come again in the next. */
function fewIds(): Random {
  let last = 0
  return { bytes: length => new Uint8Array(length).fill(last = (last + 1) % 3) }
}

class World {
  readonly clock = new VirtualClock()
  readonly network: Network
  readonly peers: Record<Side, TestPeer>
  readonly asked: Asked[] = []
  /** What nothing explains. */
  readonly surprises: string[] = []
  readonly #scheduler: fc.Scheduler
  readonly #running = new Set<Side>()
  readonly #dials: readonly Side[]
  readonly #tokens: Record<Side, string> = { a: 'secret', b: 'secret' }
  readonly #intruders: Array<{ terminate(): void }> = []
  readonly #stopping: Array<Promise<void>> = []

  constructor(scheduler: fc.Scheduler, setup: { isSymmetric: boolean; canPing: boolean; isGreaterA: boolean }) {
    this.#scheduler = scheduler
    this.#dials = setup.isSymmetric ? SIDES : ['a']
    this.network = new Network(deliver => { void scheduler.schedule(Promise.resolve()).then(deliver) }, setup.canPing)
    const peer = (side: Side): TestPeer => new TestPeer(side, this.network, this.clock, {
      ledgerId: ((side === 'a') === setup.isGreaterA ? 'ff' : '11').repeat(16),
      random: fewIds(),
      answerTimeoutMs: ANSWER_TIMEOUT_MS,
      heartbeatMs: 5000,
      heartbeatTimeoutMs: 2000,
      reconnectMaxMs: 2000,
      ...(this.#dials.includes(side)
        ? { dial: { dial: this.network.dialFrom(side), url: other(side), credentials: () => ({ username: '', token: this.#tokens[side] }) } }
        : {}),
      handleRequest: (packet, session, reply) => {
        this.#handle(side, packet, session, reply)
        return undefined
      }
    })
    this.peers = { a: peer('a'), b: peer('b') }
  }

  async begin(): Promise<void> {
    for (const side of SIDES) {
      await this.peers[side].listen(this.network, side)
      this.start(side)
    }
  }

  start(side: Side): void {
    this.#running.add(side)
    if (this.#dials.includes(side)) this.peers[side].link.start()
  }

  stop(side: Side): void {
    this.#running.delete(side)
    this.#stopping.push(this.peers[side].link.stop())
  }

  /** What arrives is answered as it says itself, on the connection that it came by. */
  #handle(side: Side, { protocolData }: RequestPacket, session: Session, reply: Reply): void {
    const number = new TextDecoder().decode(protocolData[0]!.data)
    const asked = this.asked[Number(number)]!
    expect(asked.from).toBe(other(side))
    expect(session.closed).toBe(false)
    asked.handled++
    asked.on = session
    const delayMs = Number(new TextDecoder().decode(protocolData[1]!.data))
    const act = (): void => {
      if (asked.plan === 'answer') reply.answer([text('number', number)])
      else if (asked.plan === 'refuse') reply.refuse(new NotAcceptedError(`not ${number}`))
      else if (asked.plan === 'unknown') reply.refuse(new UnreachableError('nobody knows', { outcome: 'unknown' }))
    }
    if (delayMs === 0) act()
    else this.clock.setTimer(delayMs, act)
  }

  ask(from: Side, plan: Plan, delayMs: number): Asked | undefined {
    const session = this.peers[from].link.session
    if (session === undefined) return undefined
    const { link } = this.peers[from]
    const asked: Asked = { plan, from, handled: 0, answers: [], failures: [] }
    const askedAt = this.clock.now()
    const number = this.asked.push(asked) - 1
    session.ask({ type: 'message', protocolData: [text('number', String(number)), text('delay', String(delayMs))] }, ({ protocolData }) => {
      asked.answers.push(protocolData.map(({ protocolName, data }) => `${protocolName} ${new TextDecoder().decode(data)}`).join())
    }, error => {
      asked.failures.push(error)
      // Nothing else ends it than the peer, the end of its own session, and its time.
      const isOver = session.closed || link.session !== session || this.clock.now() - askedAt >= ANSWER_TIMEOUT_MS
      if (!isOver && plan !== 'refuse') this.surprises.push(`a request on ${session.label} failed early: ${error.message}`)
    })
    return asked
  }

  async take(step: Step): Promise<void> {
    switch (step.what) {
      case 'ask': this.ask(step.side, step.plan, step.delayMs); break
      case 'cut': this.peers[step.side].link.session?.terminate('cut'); break
      case 'lose':
        for (const wire of this.network.wires) wire.lose()
        if (step.noticedBy !== undefined) this.peers[step.noticedBy].link.session?.terminate('noticed')
        break
      case 'stop': this.stop(step.side); break
      case 'start': this.start(step.side); break
      case 'spoil token': this.#tokens[step.side] = 'wrong'; break
      case 'mend token': this.#tokens[step.side] = 'secret'; break
      case 'stranger': await this.intrude(step.at, wire => { this.#speak(wire, step) }); break
      case 'wait': await this.run(step.ms); break
      case 'deliver': await this.some(step.count)
    }
  }

  /** Connects to a side from outside; what is said there is said when the connection has arrived. */
  async intrude(at: Side, speak: (wire: WirePeer) => void): Promise<void> {
    const dialled = this.network.dialFrom('stranger')(at, new AbortController().signal)
    dialled.catch(() => undefined)
    void dialled.then(connection => {
      this.#intruders.push(connection)
      speak(new WirePeer(connection))
    })
    await settle()
  }

  /** As the side itself would say: also its ledger's id is no secret. */
  #credentialsFor(at: Side, token: string): ReturnType<typeof authData> {
    return authData(token, '', json('paychan', { v: 1, ledger: at === 'a' ? this.#ledgerOf('b') : this.#ledgerOf('a') }))
  }

  #ledgerOf(side: Side): string {
    return this.peers[other(side)].link.session?.peer.ledgerId ?? '22'.repeat(16)
  }

  #speak(wire: WirePeer, { at, says }: { at: Side; says: Words }): void {
    const ids = [0, 1, 2].map(byte => byte * 0x01010101)
    if (says === 'right token') wire.send({ type: 'message', requestId: 1, protocolData: this.#credentialsFor(at, 'secret') })
    if (says === 'wrong token') wire.send({ type: 'message', requestId: 1, protocolData: this.#credentialsFor(at, 'wrong') })
    if (says === 'no authentication') wire.send({ type: 'message', requestId: 1, protocolData: [text('number', '0'), text('delay', '0')] })
    // The ids of what was asked elsewhere can be guessed.
    if (says === 'answers') for (const requestId of ids) wire.send({ type: 'response', requestId, protocolData: [text('number', 'stolen')] })
    if (says === 'garbage') wire.sendBytes(...encodePacket({ type: 'response', requestId: 0, protocolData: [] }).slice(2))
    if (says === 'goodbye') wire.leave()
  }

  /** Lets time pass in small steps, and in each everything that is under way arrive, in the scheduler's order. */
  async run(ms: number, stepMs = 250): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.#deliver()
      await this.clock.advance(Math.min(stepMs, ms - passed))
    }
    await this.#deliver()
  }

  async some(events: number): Promise<void> {
    for (let i = 0; i < events && this.#scheduler.count() > 0; i++) {
      await this.#scheduler.waitNext(1)
      await settle()
    }
  }

  async #deliver(): Promise<void> {
    do {
      await settle()
      while (this.#scheduler.count() > 0) {
        await this.#scheduler.waitNext(1)
        await settle()
      }
    } while (this.#scheduler.count() > 0)
  }

  /** The faults stop. */
  async heal(): Promise<void> {
    for (const side of SIDES) {
      this.#tokens[side] = 'secret'
      if (!this.#running.has(side)) this.start(side)
    }
    // Those that are under way still arrive first.
    await this.#deliver()
    for (const intruder of this.#intruders) intruder.terminate()
    await this.run(HEALED_MS, 500)
  }

  /** There is one session, both sides know which, and it carries requests both ways. */
  async expectOneSession(): Promise<void> {
    const sessions = SIDES.map(side => this.peers[side].link.session)
    expect(sessions.map(session => session?.closed)).toEqual([false, false])
    expect(sessions[0]?.dialled).toBe(!(sessions[1]?.dialled ?? true))
    const last = SIDES.map(side => this.ask(side, 'answer', 0)!)
    await this.run(1000, 500)
    for (const { answers, handled } of last) expect([answers.length, handled]).toEqual([1, 1])
    expect(last.map(({ on }, i) => on === sessions[1 - i])).toEqual([true, true])
    expect(SIDES.map((side, i) => this.peers[side].link.session === sessions[i])).toEqual([true, true])
  }

  /** Each request has ended once, with its own answer or a typed error, and was handled once at most. */
  expectEachEndedOnce(): void {
    expect(this.surprises).toEqual([])
    for (const [number, { plan, answers, failures, handled }] of this.asked.entries()) {
      expect([number, answers.length + failures.length]).toEqual([number, 1])
      expect(handled).toBeLessThanOrEqual(1)
      if (answers.length > 0) expect([plan, ...answers]).toEqual(['answer', `number ${number}`])
      for (const error of failures) {
        const isRefused = plan === 'refuse' && error instanceof NotAcceptedError && error.message.endsWith(`not ${number}`)
        if (!isRefused) expect(error).toBeInstanceOf(UnreachableError)
      }
    }
  }

  expectUpsAndDownsInTurn(): void {
    for (const side of SIDES) {
      const { history } = this.peers[side]
      expect(history.map(entry => entry.slice(0, 2))).toEqual(history.map((_entry, i) => i % 2 === 0 ? 'up' : 'do'))
    }
  }

  async expectNothingLeft(): Promise<void> {
    for (const side of SIDES) this.stop(side)
    await this.run(12_000, 500)
    await Promise.all(this.#stopping)
    expect(SIDES.map(side => this.peers[side].link.session)).toEqual([undefined, undefined])
    expect(SIDES.map(side => this.peers[side].door.unauthenticated)).toEqual([0, 0])
    expect(this.clock.pending).toBe(0)
  }
}

const side = fc.constantFrom(...SIDES)
const ask = fc.record({
  what: fc.constant('ask' as const),
  side,
  plan: fc.constantFrom<Plan>('answer', 'answer', 'answer', 'refuse', 'unknown', 'hang'),
  delayMs: fc.constantFrom(0, 0, 300, 1000, 3000, 6000)
})
const stranger = fc.record({
  what: fc.constant('stranger' as const),
  at: side,
  says: fc.constantFrom<Words>('nothing', 'wrong token', 'no authentication', 'answers', 'garbage', 'goodbye')
})
const wait = fc.record({ what: fc.constant('wait' as const), ms: fc.constantFrom(100, 600, 2500, 8000) })
const deliver = fc.record({ what: fc.constant('deliver' as const), count: fc.integer({ min: 1, max: 12 }) })

const quiet: fc.Arbitrary<Step> = fc.oneof({ arbitrary: ask, weight: 5 }, { arbitrary: stranger, weight: 3 }, wait, { arbitrary: deliver, weight: 3 })
const wild: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: quiet, weight: 7 },
  { arbitrary: fc.record({ what: fc.constant('cut' as const), side }), weight: 2 },
  { arbitrary: fc.record({ what: fc.constant('lose' as const), noticedBy: fc.constantFrom(undefined, ...SIDES) }), weight: 2 },
  { arbitrary: fc.record({ what: fc.constantFrom('stop' as const, 'start' as const, 'spoil token' as const, 'mend token' as const), side }), weight: 2 },
  { arbitrary: fc.record({ what: fc.constant('stranger' as const), at: side, says: fc.constant('right token' as const) }), weight: 1 }
)
const setup = fc.record({ isSymmetric: fc.boolean(), canPing: fc.boolean(), isGreaterA: fc.boolean() })

describe('two links, whatever happens', () => {
  it('H26, H27, H28, H36: each request ends once and by its own answer; then there is one session, and after a stop nothing', async () => {
    await fc.assert(fc.asyncProperty(fc.scheduler(), setup, fc.array(wild, { minLength: 1, maxLength: 14 }), async (scheduler, options, steps) => {
      const world = new World(scheduler, options)
      await world.begin()
      for (const step of steps) await world.take(step)
      await world.heal()
      await world.expectOneSession()
      world.expectUpsAndDownsInTurn()
      await world.expectNothingLeft()
      world.expectEachEndedOnce()
      world.expectUpsAndDownsInTurn()
    }), { numRuns: 350 })
  })

  it('H28: nobody who has not authenticated disturbs a session or gets into it', async () => {
    await fc.assert(fc.asyncProperty(fc.scheduler(), setup, fc.array(quiet, { minLength: 1, maxLength: 14 }), async (scheduler, options, steps) => {
      const world = new World(scheduler, options)
      await world.begin()
      await world.run(3000)
      const sessions = SIDES.map(one => world.peers[one].link.session)
      for (const step of steps) await world.take(step)
      await world.run(8000, 500)
      expect(SIDES.map((one, i) => world.peers[one].link.session === sessions[i])).toEqual([true, true])
      expect(sessions.map(session => session?.closed)).toEqual([false, false])
      for (const { plan, answers, failures, handled } of world.asked) {
        expect(handled).toBe(1)
        // Late ones are those of six seconds, of which nobody waits for the answer that long.
        if (plan !== 'answer') expect([answers.length, failures.length]).toEqual([0, 1])
      }
      await world.expectNothingLeft()
      world.expectEachEndedOnce()
    }), { numRuns: 200 })
  })
})
