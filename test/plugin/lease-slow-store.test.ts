/** What a lease does where its store is slow rather than broken: one holds at most, and whoever cannot is told. */
import { describe, expect, it } from 'vitest'
import { watch } from '../support/lab.js'
import { Lease } from '../../src/plugin/lease.js'
import type { Store } from '../../src/core/store.js'
import { MemoryStore } from '../../src/store/memory.js'
import { MemoryLog } from '../support/memory-log.js'
import { VirtualClock } from '../support/virtual-clock.js'

function make(name: string, store: Store, clock: VirtualClock) {
  const events: string[] = []
  const lease: Lease = new Lease({
    store, storeTimeoutMs: 10_000, id: name, clock, log: new MemoryLog(), state: () => ({}),
    onHeld: () => { events.push('held') }, onLost: () => { events.push('lost') }, learn: () => undefined, refresh: async () => undefined
  })
  return { lease, events }
}

class Slow implements Store {
  readMs = 0
  writeMs = 0
  constructor(readonly disk: Store, readonly clock: VirtualClock) {}
  async #wait(ms: number) { if (ms > 0) await new Promise<void>(resolve => { this.clock.setTimer(ms, resolve) }) }
  async get(key: string) { await this.#wait(this.readMs); return this.disk.get(key) }
  async list(prefix: string, options?: { limit?: number }) { const found = await this.disk.list(prefix, options); await this.#wait(this.readMs); return found }
  async commit(batch: Parameters<Store['commit']>[0]) { await this.#wait(this.writeMs / 2); const ok = await this.disk.commit(batch); await this.#wait(this.writeMs / 2); return ok }
  async close() { return undefined }
}

describe('over a slow store', () => {
  it.each([[0, 2100], [500, 3000]])('that answers within storeTimeoutMs, reads of %i ms and writes of %i ms: whoever joins is told', async (readMs, writeMs) => {
    const clock = new VirtualClock()
    const disk = new MemoryStore()
    const store = new Slow(disk, clock)
    store.readMs = readMs
    store.writeMs = writeMs
    const one = make('one', store, clock)
    const joining = watch(one.lease.join())
    await clock.advance(600_000)
    expect(joining.state).toBe('rejected')
  })

  it.each([[0, 0], [100, 300], [300, 100], [0, 1500], [700, 700], [0, 1900], [1900, 0]])('with reads of %i ms and writes of %i ms never do two hold', async (readMs, writeMs) => {
    const clock = new VirtualClock()
    const disk = new MemoryStore()
    const stores = [new Slow(disk, clock), new Slow(disk, clock), new Slow(disk, clock)]
    const all = stores.map((store, index) => make(`m${index}`, store, clock))
    for (const { lease } of all) void lease.join().catch(() => undefined)
    await clock.advance(5000)
    for (const store of stores) Object.assign(store, { readMs, writeMs })
    for (let passed = 0; passed < 40_000; passed += 50) {
      await clock.advance(50)
      expect(all.filter(({ lease }) => lease.isHeld).length).toBeLessThan(2)
      for (const { lease, events } of all) if (events.at(-1) === 'lost') { events.push('again'); lease.requeue(1000) }
    }
  })
})

