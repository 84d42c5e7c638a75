/** The stages of a transfer and their moves, and the keys of its records. */
import { describe, expect, it } from 'vitest'
import { historyPageOf, ledgerKeys, parseHistoryPage } from '../../src/ledger/records.js'
import type { Moment } from '../../src/ledger/records.js'
import { MOVES, STATE_OF, isStored } from '../../src/ledger/stages.js'
import type { Stage } from '../../src/ledger/stages.js'
import { move, open, prepare, sums } from './setup.js'

const STAGES = Object.keys(STATE_OF) as Stage[]

describe('stages', () => {
  it('I3: states only advance: what is final stays as it reads, but for a packet that its sender says was late', () => {
    for (const from of STAGES) {
      for (const to of MOVES[from]) {
        const isLate = from === 'answered' && to === 'disputed'
        if (STATE_OF[from] !== 'prepared' && !isLate) expect([from, STATE_OF[to]]).toEqual([from, STATE_OF[from]])
      }
    }
  })

  it('I3: no stage can be reached from itself, by whatever way', () => {
    const reachable = (from: Stage): Stage[] => MOVES[from].flatMap(to => [to, ...reachable(to)])
    for (const stage of STAGES) expect(reachable(stage)).not.toContain(stage)
  })

  it('I8: from every stage that reads as prepared both or one final state can be reached', () => {
    const ends = (from: Stage): Stage[] => MOVES[from].length === 0 ? [from] : MOVES[from].flatMap(ends)
    for (const stage of STAGES) expect(ends(stage).length).toBeGreaterThan(0)
    expect(new Set(ends('fulfilling'))).toEqual(new Set(['fulfilled', 'disputed']))
    expect(new Set(ends('offered'))).toEqual(new Set(['fulfilled', 'cancelled']))
  })

  it('I3, I5: over every legal way holds end at zero and the sum is booked once, exactly when it ends fulfilled', async () => {
    const ways = (from: Stage): Stage[][] => [[], ...MOVES[from].flatMap(to => ways(to).map(rest => [to, ...rest]))]
    for (const first of ['offered', 'checking', 'held', 'sent', 'handed'] as const) {
      for (const way of ways(first)) {
        for (const isIncoming of [true, false]) {
          const { ledger, inner } = open()
          await prepare(ledger, 'a', '5', isIncoming, { stage: first })
          for (const stage of way) await move(ledger, 'a', stage, stage === 'fulfilling' ? { fulfillment: 'preimage' } : {})
          const state = STATE_OF[way.at(-1) ?? first]
          const [held, booked] = [state === 'prepared' ? '5' : '0', state === 'fulfilled' ? '5' : '0']
          const expected = isIncoming ? { if: booked, of: '0', ih: held, oh: '0' } : { if: '0', of: booked, ih: '0', oh: held }
          expect(await sums(ledger), way.join()).toEqual(expected)
          const isLost = !isStored(way.at(-1) ?? first)
          expect(await sums(open(inner).ledger), way.join()).toEqual(isLost ? { if: '0', of: '0', ih: '0', oh: '0' } : expected)
        }
      }
    }
  })

  it('I3: every move that the table lacks is refused and changes nothing', async () => {
    const way: Record<Stage, Stage[]> = {
      offered: ['offered'], checking: ['checking'], held: ['held'], fulfilling: ['held', 'fulfilling'], fulfilled: ['held', 'fulfilled'],
      rejecting: ['held', 'rejecting'], cancelled: ['held', 'cancelled'], disputed: ['held', 'fulfilling', 'disputed'], sent: ['sent'],
      unsure: ['sent', 'unsure'], handed: ['handed'], answered: ['handed', 'answered']
    }
    for (const from of STAGES) {
      const { ledger } = open()
      const [first, ...rest] = way[from]
      await prepare(ledger, 'a', '5', true, { stage: first! })
      for (const stage of rest) await move(ledger, 'a', stage)
      const before = await sums(ledger)
      for (const to of STAGES.filter(stage => !MOVES[from].includes(stage))) {
        await expect(move(ledger, 'a', to), `${from} to ${to}`).rejects.toThrow(/cannot go from/)
      }
      expect(await sums(ledger)).toEqual(before)
    }
  })
})

describe('keys', () => {
  it('of one ledger are no other ledger\'s, and no prefix lists another\'s', () => {
    const all = ['', 'a', 'ab', 'paychan', 'a-tl'].flatMap(key => {
      const keys = ledgerKeys(key)
      return [keys.transfer('x'), keys.incomingFulfilled, keys.outgoingFulfilled, keys.maximum, keys.minimum, keys.open(7), keys.history(1, 'x'), keys.disputed('x')]
    })
    expect(new Set([...all, 'paychan:head']).size).toBe(all.length + 1)
    for (const key of ['', 'a', 'ab', 'paychan', 'a-tl']) {
      expect(all.filter(one => one.startsWith(ledgerKeys(key).openPrefix))).toHaveLength(1)
      expect(all.filter(one => one.startsWith(ledgerKeys(key).historyPrefix))).toHaveLength(1)
    }
  })

  it('of the history sort newest first for any time, and tell of one transfer by themselves', () => {
    const times = [-5, 0, 0.5, 1, 999, 1_514_764_800_000, 9_999_999_999_999, 1e20]
    const keys = times.map(at => ledgerKeys('').history(at, 'x'))
    expect([...keys].sort().reverse()).toEqual(keys)
    const { historyPrefix, history } = ledgerKeys('log')
    const moment: Moment = [1_514_764_800_000, 'any.id:1']
    expect(parseHistoryPage(history(...moment), historyPageOf([moment]), historyPrefix)).toEqual([moment])
    expect(parseHistoryPage(history(...moment), historyPageOf([moment, null, [1, 'x']]), historyPrefix)).toEqual([moment, null, [1, 'x']])
    for (const text of ['{', '{}', '[1]', '[["x",1]]']) expect(() => parseHistoryPage('the key', text, historyPrefix), text).toThrow(/the key/)
  })
})
