/**
 * Books that differ, and are decided about, while processes die, connections break and stores fail: many runs, each from its seed. However
 * that goes, each side has one of the two numbers in the end, nothing else has moved, and both trade on.
 */
import { describe, expect, it } from 'vitest'
import type { BalanceDispute } from '../../src/plugin/account.js'
import { chooser } from '../support/chooser.js'
import { Lab, settle, watch } from '../support/lab.js'
import type { Outcome, Side } from '../support/lab.js'
import { storedTransfers } from '../support/stored-transfers.js'

const SEEDS = 300
const DELTA = 5
const BOOKS = ':paychan:reconcile'
/** The sums of alice, and bob's counterpart of each. */
const SUMS = { of: 'if', if: 'of' } as const

type Sum = keyof typeof SUMS

/** By how much a sum exceeds what the transfers of that direction come to. */
async function excess(side: Side, sum: Sum): Promise<number> {
  const values = Object.fromEntries(await side.disk.list('', { limit: Infinity }))
  const counted = Object.values(storedTransfers(values)).filter(({ isIncoming, state }) => state === 'fulfilled' && isIncoming === (sum === 'if'))
  return Number(values[`:tl:balance:${sum}`] ?? 0) - counted.reduce((all, { transfer }) => all + Number(transfer.amount), 0)
}

class Run {
  readonly #lab: Lab
  readonly #choice: ReturnType<typeof chooser>
  #planted: Sum = 'of'

  constructor(lab: Lab, seed: number) {
    this.#lab = lab
    this.#choice = chooser(seed)
  }

  /** The differences that hosts were told. Not payments that were fulfilled too late, over a connection that was cut. */
  get #told(): BalanceDispute[] {
    const events = this.#sides.flatMap(side => side.seen('dispute').map(([, dispute]) => dispute))
    return events.filter((dispute): dispute is BalanceDispute => dispute.id === undefined)
  }

  get #sides(): [Side, Side] {
    return [this.#lab.alice, this.#lab.bob]
  }

  /** Someone's sum is another one after a restart: an older copy of the store was given back, say. */
  async plant(): Promise<void> {
    for (const to of ['bob', 'alice'] as const) await this.#pay(to)
    this.#planted = this.#choice.pick<Sum>(['of', 'if'])
    const [side, sum] = this.#choice.pick([[this.#lab.alice, this.#planted], [this.#lab.bob, SUMS[this.#planted]]] as const)
    const key = `:tl:balance:${sum}`
    side.crash()
    await settle()
    await side.disk.commit({ puts: [[key, String(Number(await side.disk.get(key)) + DELTA)]], guards: [] })
    await this.#revive()
  }

  async strike(): Promise<void> {
    const { upTo, pick, chance } = this.#choice
    const side = pick(this.#sides)
    switch (upTo(7)) {
      case 0: this.#lab.network.cut(); break
      case 1: side.crash(); break
      case 2: side.crashAtCommit(pick(['before', 'after'] as const), ({ puts = [] }) => puts.some(([key]) => key === BOOKS)); break
      case 3: side.store.failNextCommit(); break
      case 4: side.store.loseNextCommit(pick(['now', 'never'] as const)); break
      case 5: watch(this.#pay(pick(['alice', 'bob'] as const))); break
      default: if (side.isAlive) watch(side.plugin.resolveDispute(pick(['ours', 'theirs'] as const)))
    }
    await this.#lab.clock.advance(chance(0.5) ? 0 : upTo(3000))
    if (chance(0.5)) await this.#revive()
  }

  /** Faults are over. Whoever is in dispute decides, again and again where that does not work yet; in the end both have paid. */
  async heal(): Promise<void> {
    for (const { store } of this.#sides) store.clearFaults()
    await this.#trade()
  }

  /** What was decided is stored: after another death nobody is told of it again, and both trade at once. */
  async dieOnceMore(): Promise<void> {
    const before = this.#told.length
    for (const side of this.#sides) side.crash()
    await settle()
    await this.#trade()
    expect(this.#told).toHaveLength(before)
  }

  async #trade(): Promise<void> {
    for (const to of ['bob', 'alice'] as const) {
      const payer = to === 'bob' ? this.#lab.alice : this.#lab.bob
      let paid: Outcome<void> = { state: 'pending' }
      for (let tries = 0; paid.state !== 'resolved' && tries < 12; tries++) {
        await this.#revive()
        paid = watch(this.#pay(to))
        // In small steps first, as it takes several turns, each of which has no time of its own.
        for (let n = 0; n < 5; n++) await this.#lab.clock.advance(200)
        await this.#lab.clock.advance(14_000)
        if (paid.error?.name !== 'DisputeError' || !payer.isAlive) continue
        watch(payer.plugin.resolveDispute(this.#choice.pick(['ours', 'theirs'] as const)))
        await this.#lab.clock.advance(2000)
      }
      expect([paid.state, paid.error?.message]).toEqual(['resolved', undefined])
    }
  }

  async check(): Promise<void> {
    for (const sum of ['of', 'if'] as const) {
      for (const found of [await excess(this.#lab.alice, sum), await excess(this.#lab.bob, SUMS[sum])]) {
        expect(sum === this.#planted ? [0, DELTA] : [0]).toContain(found)
      }
    }
    // What was told is what was planted, and somebody was told.
    expect(this.#told.length).toBeGreaterThan(0)
    for (const { ours, theirs } of this.#told) expect(Math.abs(Number(ours) - Number(theirs))).toBe(DELTA)
    expect(this.#sides.map(side => this.#lab.held(side))).toEqual([{ incoming: 0, outgoing: 0 }, { incoming: 0, outgoing: 0 }])
    expect(this.#sides.flatMap(side => side.seen('error'))).toEqual([])
  }

  /** Whoever is dead starts again; whose connect has failed connects again. */
  async #revive(): Promise<void> {
    for (const side of this.#sides) watch(side.isAlive ? side.plugin.connect() : side.start())
    await this.#lab.clock.advance(4000)
  }

  async #pay(to: 'alice' | 'bob'): Promise<void> {
    const { id, fulfillment } = await this.#lab.prepared({ to, amount: '1' })
    await this.#lab[to].plugin.fulfillCondition(id, fulfillment)
  }
}

describe('I1, I7, I8: a difference of the books, over crashes and failures', () => {
  it.each(Array.from({ length: SEEDS / 50 }, (_, n) => n * 50 + 1))('is decided for one of the two numbers on each side, and both trade on: seeds from %i on', async first => {
    for (let seed = first; seed < first + 50; seed++) {
      const lab = await Lab.open({ seed })
      const run = new Run(lab, seed)
      try {
        await run.plant()
        for (let n = 0; n < 12; n++) await run.strike()
        await run.heal()
        await run.check()
        await run.dieOnceMore()
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
  }, 60_000)
})
