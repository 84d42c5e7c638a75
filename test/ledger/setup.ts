/** What the tests of the ledger share: a committer over a store that can fail, and what a store holds. */
import type { Store } from '../../src/core/store.js'
import { Backend } from '../../src/ledger/backend.js'
import { Committer } from '../../src/ledger/committer.js'
import { Ledger } from '../../src/ledger/ledger.js'
import type { OpenRecord } from '../../src/ledger/records.js'
import { parseLimit } from '../../src/core/amounts.js'
import { MemoryStore } from '../../src/store/memory.js'
import { FaultyStore } from '../support/faulty-store.js'
import { MemoryLog } from '../support/memory-log.js'
import { VirtualClock } from '../support/virtual-clock.js'

export interface Transfer {
  id: string
  amount: string
  [more: string]: unknown
}

let owners = 0

/** One instance over a store: the committer takes the store over at its first write. */
export function open(inner: Store = new MemoryStore(), { maximum = 'Infinity', minimum = '-Infinity' } = {}) {
  const store = inner instanceof FaultyStore ? inner : new FaultyStore(inner)
  const clock = new VirtualClock()
  const log = new MemoryLog()
  const lost: string[] = []
  const owner = `owner-${++owners}`
  const committer = new Committer({ store, storeTimeoutMs: 10_000, clock, log, owner, onLost: () => { lost.push(owner) } })
  const limits = { maximum: parseLimit(maximum, 'maximum'), minimum: parseLimit(minimum, 'minimum') }
  const ledger = new Ledger<Transfer>(committer, '', limits)
  const backend = new Backend(committer, clock)
  return { inner, store, clock, log, lost, committer, ledger, backend }
}

/** Adds a transfer to the ledger: held when incoming, offered when outgoing. */
export function prepare(ledger: Ledger<Transfer>, id: string, amount: string, isIncoming: boolean, open: Partial<OpenRecord> = {}) {
  return ledger.change(id, view => view.create(id, { id, amount }, isIncoming, {
    v: 1, stage: isIncoming ? 'held' : 'offered', at: 1_514_764_800_000, ...open
  }))
}

/** Moves the transfer on, which must exist. */
export function move(ledger: Ledger<Transfer>, id: string, ...how: [stage: OpenRecord['stage'], details?: Omit<OpenRecord, 'v' | 'stage' | 'at'>]) {
  return ledger.change(id, view => view.move(view.get(id)!, ...how))
}

/** The sums as texts. */
export async function sums(ledger: Ledger<Transfer>) {
  const { incomingFulfilled, outgoingFulfilled, incomingHeld, outgoingHeld } = await ledger.sums()
  return {
    if: incomingFulfilled.toString(), of: outgoingFulfilled.toString(), ih: incomingHeld.toString(), oh: outgoingHeld.toString()
  }
}

/** All that a store holds. */
export async function contents(store: Store): Promise<Record<string, string>> {
  return Object.fromEntries(await store.list('', { limit: Infinity }))
}
