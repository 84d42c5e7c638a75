/** What is remembered of answered packets, where one of them was taken on a session that is gone, and is never asked about. */
import { describe, expect, it } from 'vitest'
import type { Session } from '../../src/btp/session.js'
import type { Account } from '../../src/plugin/account.js'
import { Disputable } from '../../src/plugin/disputable.js'
import { VirtualClock } from '../support/virtual-clock.js'

const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

describe('one packet that nobody asks about', () => {
  it('does not have the ids of all later ones kept for ever', async () => {
    const clock = new VirtualClock()
    const closed = new Set<string>()
    const before = {} as Session
    const now = { get lastHeard() { return clock.now() } } as Session
    const ledger = { close: (one: string) => { closed.add(one) }, currentLimits: { maximum: Infinity, minimum: -Infinity } }
    const disputable = new Disputable({ clock, session: () => now, ledger, } as unknown as Account)
    // Its host was slow: the answer was stored when the session was over already, on which the packet came.
    disputable.add(id(0), 1n, { session: before, number: 0, expiresAt: 1000, position: 0n })
    let order: unknown[] = []
    const push = Array.prototype.push
    for (let n = 1; n <= 50_000; n++) {
      if (n % 1000 === 0) await clock.advance(100_000)
      if (n === 50_000) {
        Array.prototype.push = function (this: unknown[], ...items: unknown[]) {
          if (items[0] === id(n)) order = this
          return push.apply(this, items)
        }
      }
      try {
        disputable.settled(now, n - 1)
        disputable.add(id(n), 1n, { session: now, number: n - 1, expiresAt: clock.now() + 1000, position: 0n })
      } finally {
        Array.prototype.push = push
      }
    }
    expect(closed.size).toBeGreaterThan(45_000)
    expect(order.length).toBeLessThan(20_000)
    disputable.stop()
  })
})
