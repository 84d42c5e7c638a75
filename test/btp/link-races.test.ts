/**
 * Two symmetric links under a scheduler that owns the network: whatever arrives in whatever order, they end with one session on which
 * both agree.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Session } from '../../src/btp/session.js'
import { UnreachableError } from '../../src/core/errors.js'
import { hello, Network, TestPeer } from '../support/peers.js'
import { settle, VirtualClock } from '../support/virtual-clock.js'

const IDS = ['11'.repeat(16), 'ff'.repeat(16)] as const

/** What hits the pair once it is connected. */
type Fault =
  /** One side drops the connection. */
  | 'drop at a' | 'drop at b'
  /** Nothing gets through any more, and nobody is told. */
  | 'lose'
  /** The same, and one side notices before the other. */
  | 'lose, noticed at a' | 'lose, noticed at b'
  /** One side stops and starts again. */
  | 'restart a' | 'restart b'

const FAULTS: Fault[] = ['drop at a', 'drop at b', 'lose', 'lose, noticed at a', 'lose, noticed at b', 'restart a', 'restart b']

class Pair {
  readonly clock = new VirtualClock()
  readonly a: TestPeer
  readonly b: TestPeer
  readonly network: Network
  /** Requests that failed although nothing was cut. */
  readonly failures: unknown[] = []
  readonly #scheduler: fc.Scheduler

  constructor(scheduler: fc.Scheduler, [idOfA, idOfB]: readonly [string, string], canPing: boolean) {
    this.#scheduler = scheduler
    this.network = new Network(deliver => { void scheduler.schedule(Promise.resolve()).then(deliver) }, canPing)
    const beat = { heartbeatMs: 5000, heartbeatTimeoutMs: 2000, reconnectMaxMs: 2000 }
    this.a = new TestPeer('a', this.network, this.clock, { ...beat, ledgerId: idOfA, server: 'b' })
    this.b = new TestPeer('b', this.network, this.clock, { ...beat, ledgerId: idOfB, server: 'a' })
    for (const peer of [this.a, this.b]) peer.onUp = session => { this.#talk(session) }
  }

  /** Lets time pass in small steps, and in each everything that is under way arrive, in the scheduler's order. */
  async run(ms: number, stepMs = 100): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.#deliver()
      await this.clock.advance(stepMs)
    }
    await this.#deliver()
  }

  /** A few events of the schedule only, so that what comes next comes in the middle of something. */
  async some(events: number): Promise<void> {
    for (let i = 0; i < events && this.#scheduler.count() > 0; i++) {
      await this.#scheduler.waitNext(1)
      await settle()
    }
  }

  async hit(fault: Fault): Promise<void> {
    const restart = async ({ link }: TestPeer): Promise<void> => {
      const ended = new Set<unknown>()
      void link.stop().then(() => ended.add(link))
      while (!ended.has(link)) await this.run(100)
      link.start()
    }
    if (fault.startsWith('lose')) for (const wire of this.network.wires) wire.lose()
    if (fault.endsWith('at a')) this.a.link.session?.terminate('test')
    if (fault.endsWith('at b')) this.b.link.session?.terminate('test')
    if (fault === 'restart a') await restart(this.a)
    if (fault === 'restart b') await restart(this.b)
  }

  /** One session on each side, the two ends of one connection; it carries requests both ways, and nothing else is open. */
  async expectAgreement(): Promise<void> {
    const [ofA, ofB] = [this.a.link.session, this.b.link.session]
    expect(ofA?.closed).toBe(false)
    expect(ofB?.closed).toBe(false)
    expect(ofA?.dialled).toBe(!(ofB?.dialled ?? true))
    const echoes = Promise.all([this.a, this.b].map(async ({ link }) => (await link.request(hello('end'))).protocolData))
    echoes.catch(() => undefined)
    await this.run(5000, 1000)
    expect(await echoes).toEqual([hello('end').protocolData, hello('end').protocolData])
    for (const { history } of [this.a, this.b]) {
      expect(history.map(entry => entry.slice(0, 2))).toEqual(history.map((_entry, i) => i % 2 === 0 ? 'up' : 'do'))
    }
  }

  async expectNothingLeft(): Promise<void> {
    const stopped = [this.a.link.stop(), this.b.link.stop()]
    await this.run(8000)
    await Promise.all(stopped)
    expect(this.clock.pending).toBe(0)
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

  /** Each session is used the moment it is there. */
  #talk(session: Session): void {
    for (let i = 0; i < 3; i++) session.request(hello(String(i))).catch((error: unknown) => { this.failures.push(error) })
  }
}

const ids = fc.constantFrom([IDS[0], IDS[1]] as const, [IDS[1], IDS[0]] as const)

describe('two links that dial each other', () => {
  it('always end with exactly one session on which both agree, and no request is lost on the way', async () => {
    await fc.assert(fc.asyncProperty(
      fc.scheduler(), ids, fc.boolean(), fc.boolean(), fc.nat(30), fc.nat(20),
      async (scheduler, pairIds, canPing, aFirst, before, between) => {
        const pair = new Pair(scheduler, pairIds, canPing)
        const [first, second] = aFirst ? [pair.a, pair.b] : [pair.b, pair.a]
        await pair.a.listen(pair.network, 'a')
        await pair.b.listen(pair.network, 'b')
        first.link.start()
        await pair.some(between)
        second.link.start()
        await pair.some(before)
        await pair.run(3000)
        await pair.expectAgreement()
        expect(pair.failures).toEqual([])
        // One connection from each side at most, and once there was a session there always was one.
        expect(pair.network.wires.length).toBeLessThanOrEqual(2)
        const downs = [...pair.a.history, ...pair.b.history].filter(entry => entry !== 'up')
        expect(downs).toEqual(downs.map(() => 'down: another connection has taken over'))
        await pair.expectNothingLeft()
      }
    ), { numRuns: 150 })
  })

  it('form it again after whatever cuts it, also in the middle of forming it', async () => {
    await fc.assert(fc.asyncProperty(
      fc.scheduler(), ids, fc.boolean(), fc.array(fc.tuple(fc.constantFrom(...FAULTS), fc.nat(40)), { minLength: 1, maxLength: 4 }),
      async (scheduler, pairIds, canPing, faults) => {
        const pair = new Pair(scheduler, pairIds, canPing)
        await pair.a.listen(pair.network, 'a')
        await pair.b.listen(pair.network, 'b')
        pair.a.link.start()
        pair.b.link.start()
        for (const [fault, events] of faults) {
          await pair.some(events)
          await pair.hit(fault)
        }
        // Noticing takes a heartbeat and its probe; dialling again at most the longest wait, a few times over.
        await pair.run(40_000, 500)
        await pair.expectAgreement()
        for (const failure of pair.failures) expect(failure).toBeInstanceOf(UnreachableError)
        await pair.expectNothingLeft()
      }
    ), { numRuns: 100 })
  })
})
