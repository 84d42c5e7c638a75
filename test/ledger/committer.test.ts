/** Group commit: order, failure, unknown outcomes, and who owns the store. */
import { describe, expect, it, vi } from 'vitest'
import { StandbyError, StoreError } from '../../src/core/errors.js'
import { Committer } from '../../src/ledger/committer.js'
import type { Decide, Group } from '../../src/ledger/committer.js'
import { MemoryStore } from '../../src/store/memory.js'
import { FaultyStore } from '../support/faulty-store.js'
import { watch } from '../support/lab.js'
import { settle } from '../support/virtual-clock.js'
import { contents, open } from './setup.js'

const put = (key: string, value: string) => (group: { put(key: string, value: string): void }) => { group.put(key, value) }

describe('groups', () => {
  it('I7: answers a change only when its group is durable', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const release = store.holdCommits()
    const answered = vi.fn()
    const change = committer.submit(put('a', '1')).then(answered)
    await settle()
    expect(answered).not.toHaveBeenCalled()
    release()
    await change
    expect(await store.get('a')).toBe('1')
  })

  it('shares one commit among all changes of a turn, and the next among those that gathered meanwhile', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const before = store.counts.commit
    const release = store.holdCommits()
    const first = [1, 2, 3].map(n => committer.submit(put(`a${n}`, '')))
    await settle()
    const second = [1, 2, 3].map(n => committer.submit(put(`b${n}`, '')))
    release()
    await Promise.all([...first, ...second])
    expect(store.counts.commit - before).toBe(2)
  })

  it('tells all of them, and goes on, where one that is told throws', async () => {
    const { committer, log } = open()
    await committer.takeOver()
    const throwing = (): never => { throw new Error('in a callback') }
    const told: string[] = []
    committer.enqueue({ decide: put('a', '1'), resolve: throwing, reject: throwing })
    committer.enqueue({ decide: put('b', '1'), resolve: () => { told.push('b') }, reject: throwing })
    await settle()
    await committer.submit(put('c', '1'))
    expect(told).toEqual(['b'])
    expect(log.lines.join()).toContain('in a callback')
  })

  it('decides in the order of the calls, and nothing before the group ahead is known to have landed', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const order: number[] = []
    const release = store.holdCommits()
    const changes = [0, 1].map(n => committer.submit(group => { order.push(n); group.put('a', String(n)) }))
    await settle()
    changes.push(...[2, 3].map(n => committer.submit(() => { order.push(n) })))
    await settle()
    expect(order).toEqual([0, 1])
    release()
    await Promise.all(changes)
    expect(order).toEqual([0, 1, 2, 3])
  })

  it('bounds a group: 2500 changes of one turn take three commits', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const before = store.counts.commit
    await Promise.all(Array.from({ length: 2500 }, (_, n) => committer.submit(put(`k${n}`, ''))))
    expect(store.counts.commit - before).toBe(3)
    expect(Math.max(...store.batches.map(batch => batch.puts?.length ?? 0))).toBe(1001)
  })

  it('a decision that throws rejects alone, with what it threw', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const results = await Promise.allSettled([
      committer.submit(put('a', '1')),
      committer.submit(() => { throw new RangeError('no') }),
      committer.submit(put('b', '2'))
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(results[1]).toMatchObject({ reason: new RangeError('no') })
    expect(await contents(store)).toMatchObject({ a: '1', b: '2' })
  })

  it('I7: a refusal that an earlier change of the group may have caused is told when that change is durable', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const release = store.holdCommits()
    const refused = vi.fn()
    const first = committer.submit(put('a', '1'))
    const second = committer.submit(() => { throw new RangeError('full') }).catch(refused)
    await settle()
    expect(refused).not.toHaveBeenCalled()
    release()
    await Promise.all([first, second])
    expect(refused).toHaveBeenCalledOnce()
  })

  it('writes nothing for changes that write nothing', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const before = store.counts.commit
    expect(await committer.submit(() => 5)).toBe(5)
    expect(store.counts.commit).toBe(before)
  })
})

describe('a store that fails', () => {
  it('H7: a failed group applies nothing to memory, rejects with StoreError, and the queue goes on', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const applied: string[] = []
    const change = (name: string) => committer.submit(group => {
      group.put(name, '')
      group.onDurable(() => { applied.push(name) })
    })
    store.failNextCommit(new Error('disk full'))
    const release = store.holdCommits()
    const first = Promise.allSettled([change('a'), change('b')])
    await settle()
    const behind = change('c')
    release()
    for (const result of await first) {
      expect(result).toMatchObject({ status: 'rejected', reason: { name: 'StoreError', code: 'T00', message: expect.stringContaining('disk full') as string } })
    }
    await behind
    expect(applied).toEqual(['c'])
    expect(Object.keys(await contents(store))).toEqual(['c', 'paychan:head'])
  })

  it('answers what behind a failed group was waiting from what is durable, not from what failed', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    let durable = 0
    const add = () => committer.submit(group => {
      const draft = group.draft(store, () => ({ value: durable }))
      draft.value++
      const { value } = draft
      group.put('sum', String(value))
      group.onDurable(() => { durable = value })
      return value
    })
    store.failNextCommit()
    const release = store.holdCommits()
    const failing = Promise.allSettled([add(), add()])
    await settle()
    const next = Promise.all([add(), add()])
    release()
    await failing
    expect(await next).toEqual([1, 2])
  })

  it('a group of unknown outcome that has landed is answered as a success, after reading back', async () => {
    const { committer, store, log } = open()
    await committer.takeOver()
    store.loseNextCommit('now')
    await committer.submit(put('a', '1'))
    await committer.submit(put('b', '2'))
    expect(await contents(store)).toMatchObject({ a: '1', b: '2' })
    expect(log.at('error')).toHaveLength(1)
  })

  it('a group of unknown outcome that has not landed is answered with StoreError, and the next one goes through', async () => {
    const { committer, store, lost } = open()
    await committer.takeOver()
    store.loseNextCommit('never')
    await expect(committer.submit(put('a', '1'))).rejects.toThrow(StoreError)
    await committer.submit(put('b', '2'))
    expect(Object.keys(await contents(store))).toEqual(['b', 'paychan:head'])
    expect(lost).toEqual([])
  })

  it('a group that was read back as not landed can never land later', async () => {
    const { committer, store, lost } = open()
    await committer.takeOver()
    store.loseNextCommit('later')
    await expect(committer.submit(put('a', '1'))).rejects.toThrow(StoreError)
    expect(await store.landLate()).toEqual([false])
    await committer.submit(put('b', '2'))
    expect(Object.keys(await contents(store))).toEqual(['b', 'paychan:head'])
    expect(lost).toEqual([])
  })

  it('a group is not taken for landed because one before it landed late', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    store.loseNextCommit('later')
    const first = await Promise.allSettled([committer.submit(put('a', '1'))])
    const release = store.holdCommits()
    store.loseNextCommit('never')
    const second = Promise.allSettled([committer.submit(put('b', '2'))])
    await settle()
    await store.landLate()
    release()
    expect([...first, ...await second].map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(Object.keys(await contents(store))).toEqual(['paychan:head'])
  })

  it('answers nobody while the outcome cannot be read back, and asks again by the clock', async () => {
    const { committer, store, clock } = open()
    await committer.takeOver()
    store.loseNextCommit('now')
    store.failGets(2)
    const answered = vi.fn()
    const change = committer.submit(put('a', '1')).then(answered)
    await clock.advance(999)
    expect(answered).not.toHaveBeenCalled()
    await clock.advance(1000)
    expect(answered).not.toHaveBeenCalled()
    await clock.advance(1)
    await change
    expect(clock.pending).toBe(0)
  })

  it('says that the outcome is unknown when the store is given up before it could be read back', async () => {
    const { committer, store, clock } = open()
    await committer.takeOver()
    store.loseNextCommit('now')
    store.failGets(2)
    const change = expect(committer.submit(put('a', '1'))).rejects.toMatchObject({ name: 'StoreError', outcome: 'unknown' })
    const behind = expect(committer.submit(() => undefined)).rejects.toThrow()
    await settle()
    committer.release()
    await clock.advance(1000)
    await Promise.all([change, behind])
    await committer.settle()
  })

  it('takeOver rejects with StoreError when the store fails, and can be tried again', async () => {
    const { committer, store } = open()
    store.failNextCommit()
    await expect(committer.takeOver()).rejects.toThrow(StoreError)
    expect(committer.owns).toBe(false)
    store.failGets(1)
    await expect(committer.takeOver()).rejects.toThrow(StoreError)
    await committer.takeOver()
    expect(committer.owns).toBe(true)
  })

  it('takeOver refuses a head that it cannot read, naming its key', async () => {
    const store = new MemoryStore()
    for (const head of ['{', 'null', '{"v":2,"owner":"x","epoch":1,"group":0}', '{"v":1}']) {
      await store.commit({ puts: [['paychan:head', head]] })
      await expect(open(store).committer.takeOver()).rejects.toThrow(/paychan:head/)
    }
  })
})

describe('a store that hangs', () => {
  /** A change of somebody who waits for a store that hangs. */
  const patiently = <T>(committer: Committer, decide: Decide<T>): Promise<T> =>
    new Promise((resolve, reject) => { committer.enqueue({ decide, resolve, reject }) })

  /** Counts what is applied, and has it written. */
  const adding = (applied: string[], name: string) => (group: Group) => {
    group.put(name, '')
    group.onDurable(() => { applied.push(name) })
  }

  it.each([['lands', 'resolved', ['a', 'c']], ['fails', 'rejected', ['c']]] as const)(
    'H7: tells whoever does not wait that the outcome is unknown, and decides nothing before it is known; then the truth counts: it %s', async (how, state, written) => {
      const { committer, store, clock } = open()
      await committer.takeOver()
      const applied: string[] = []
      const release = store.holdCommits()
      if (how === 'fails') store.failNextCommit()
      const impatient = watch(committer.submit(adding(applied, 'a')))
      const patient = watch(patiently(committer, () => 'patient'))
      await settle()
      const behind = watch(committer.submit(adding(applied, 'b')))
      const behindPatient = watch(patiently(committer, adding(applied, 'c')))
      await clock.advance(9999)
      expect([impatient.state, behind.state]).toEqual(['pending', 'pending'])
      await clock.advance(1)
      expect(impatient).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
      // It was not decided, and is not made any more.
      expect([behind.state, behind.error?.name, behind.error?.outcome]).toEqual(['rejected', 'StoreError', undefined])
      await clock.advance(60_000)
      expect([applied, patient.state, behindPatient.state]).toEqual([[], 'pending', 'pending'])
      release()
      await clock.advance(1000)
      expect([patient.state, behindPatient.state, applied]).toEqual([state, 'resolved', written])
      expect(Object.keys(await contents(store))).toEqual([...written, 'paychan:head'])
      await committer.submit(adding(applied, 'd'))
      expect([applied.at(-1), clock.pending]).toEqual(['d', 0])
    })

  it.each(['now', 'never'] as const)('goes on where the store works and only an answer of it is lost for ever (the commit lands %s)', async lands => {
    const inner = new MemoryStore()
    const { committer, store, clock } = open(inner)
    await committer.takeOver()
    const applied: string[] = []
    store.swallowNextCommit(lands)
    const change = watch(patiently(committer, adding(applied, 'a')))
    await clock.advance(10_000)
    expect([change.state, applied]).toEqual(lands === 'now' ? ['resolved', ['a']] : ['rejected', []])
    await committer.submit(adding(applied, 'b'))
    expect(Object.keys(await contents(inner))).toEqual([...applied, 'paychan:head'])
  })

  it('a reading, and a take-over, end in a StoreError', async () => {
    const { committer, store, clock } = open()
    const release = store.holdGet('paychan:head')
    const taking = watch(committer.takeOver())
    const reading = watch(committer.get('paychan:head'))
    await clock.advance(10_000)
    expect([taking.error?.name, reading.error?.name, reading.error?.outcome]).toEqual(['StoreError', 'StoreError', undefined])
    release()
    const releaseCommits = store.holdCommits()
    const writing = watch(committer.takeOver())
    await clock.advance(10_000)
    expect(writing).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
    releaseCommits()
    await committer.takeOver()
    await committer.submit(put('a', '1'))
    expect(clock.pending).toBe(0)
  })

  it('can be taken over again once it has been given up, and what lands late of the time before is in what is read then', async () => {
    const { committer, store, clock } = open()
    await committer.takeOver()
    const applied: string[] = []
    const release = store.holdCommits()
    const change = watch(committer.submit(adding(applied, 'a')))
    const settled = watch(committer.settle())
    await clock.advance(5000)
    committer.release()
    expect([settled.state, change.error?.outcome]).toEqual(['resolved', 'unknown'])
    const taking = watch(committer.takeOver())
    await clock.advance(1000)
    release()
    await clock.advance(20_000)
    expect([taking.state, applied]).toEqual(['resolved', ['a']])
    await committer.submit(put('b', '1'))
    expect(Object.keys(await contents(store))).toEqual(['a', 'b', 'paychan:head'])
  })

  it('makes nothing behind the back of callers that were given up: what the store refuses after that is not decided again', async () => {
    const { committer, store, clock } = open()
    await store.commit({ puts: [['taken', '1']] })
    await committer.takeOver()
    let decided = 0
    const release = store.holdCommits()
    const change = watch(committer.submit(group => {
      decided++
      if (decided === 1) group.expectAbsent('taken', () => undefined)
      group.put('a', '')
    }))
    const settled = watch(committer.settle())
    await clock.advance(5000)
    expect([settled.state, change.error?.outcome]).toEqual(['resolved', 'unknown'])
    release()
    await clock.advance(1000)
    expect(decided).toBe(1)
    expect(Object.keys(await contents(store))).toEqual(['paychan:head', 'taken'])
    await committer.submit(put('b', '1'))
  })
})

describe('owners', () => {
  it('a change that writes nothing, but must own the store, is refused once another owner has it', async () => {
    const store = new MemoryStore()
    const [first, second] = [open(store), open(store)]
    await first.committer.takeOver()
    await first.committer.submit(group => { group.mustOwn() })
    await second.committer.takeOver()
    await expect(first.committer.submit(() => 'nothing at all')).resolves.toBe('nothing at all')
    await expect(first.committer.submit(group => { group.mustOwn() })).rejects.toBeInstanceOf(StandbyError)
  })

  it('a second owner fences the first: its next change rejects with StandbyError, onLost is called once', async () => {
    const store = new MemoryStore()
    const [first, second] = [open(store), open(store)]
    await first.committer.takeOver()
    await first.committer.submit(put('a', '1'))
    await second.committer.takeOver()
    const applied = vi.fn()
    const results = await Promise.allSettled([1, 2].map(() => first.committer.submit(group => {
      group.put('a', '2')
      group.onDurable(applied)
    })))
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { name: 'StandbyError' } })
    await expect(first.committer.submit(put('a', '3'))).rejects.toThrow(StandbyError)
    await expect(first.committer.ready()).rejects.toThrow(StandbyError)
    expect(applied).not.toHaveBeenCalled()
    expect(first.lost).toHaveLength(1)
    expect(first.committer.owns).toBe(false)
    expect(second.lost).toEqual([])
    expect(await store.get('a')).toBe('1')
  })

  it('whoever was displaced finds that out without writing, by the epoch, which each take-over counts on', async () => {
    const inner = new MemoryStore()
    const [first, second] = [open(inner), open(inner)]
    await first.committer.takeOver()
    await first.committer.checkNotLost()
    await second.committer.takeOver()
    expect([first.committer.owns, first.committer.head?.epoch, second.committer.head?.epoch]).toEqual([true, 1, 2])
    await expect(first.committer.checkNotLost()).rejects.toThrow(StandbyError)
    expect([first.committer.owns, first.lost]).toEqual([false, [expect.stringMatching(/^owner-/)]])
    await second.committer.checkNotLost()
  })

  it('what gathered behind the group that lost the store is refused undecided, also what would write nothing', async () => {
    const store = new MemoryStore()
    const [first, second] = [open(store), open(store)]
    await first.committer.takeOver()
    await second.committer.takeOver()
    const release = first.store.holdCommits()
    const losing = expect(first.committer.submit(put('a', '1'))).rejects.toThrow(StandbyError)
    await settle()
    const decided = vi.fn()
    const behind = expect(first.committer.submit(decided)).rejects.toThrow(StandbyError)
    release()
    await Promise.all([losing, behind])
    expect(decided).not.toHaveBeenCalled()
  })

  it('an unknown outcome that another owner made impossible reads back as lost', async () => {
    const store = new MemoryStore()
    const [first, second] = [open(store), open(store)]
    await first.committer.takeOver()
    first.store.loseNextCommit('never')
    const release = first.store.holdCommits()
    const change = expect(first.committer.submit(put('a', '1'))).rejects.toThrow(StandbyError)
    await settle()
    await second.committer.takeOver()
    release()
    await change
    expect(first.lost).toHaveLength(1)
  })

  it('does not claim that nothing was changed when the outcome was unknown and another owner has taken over since', async () => {
    const store = new MemoryStore()
    const [first, second] = [open(store), open(store)]
    await first.committer.takeOver()
    first.store.loseNextCommit('now')
    first.store.failGets(1)
    const change = expect(first.committer.submit(put('a', '1'))).rejects.toMatchObject({ name: 'StandbyError', outcome: 'unknown' })
    await settle()
    await second.committer.takeOver()
    await first.clock.advance(1000)
    await change
    expect(first.lost).toHaveLength(1)
    expect(await store.get('a')).toBe('1')
  })

  it('after a release a write takes the store again, unless another owner has it by then', async () => {
    const store = new MemoryStore()
    const [first, second] = [open(store), open(store)]
    await first.committer.takeOver()
    await first.committer.submit(put('a', '1'))
    first.committer.release()
    await first.committer.ready()
    await first.committer.submit(put('a', '2'))
    const release = first.store.holdCommits()
    const change = first.committer.submit(put('a', '3'))
    await settle()
    first.committer.release()
    release()
    await change
    await first.committer.ready()
    first.committer.release()
    await second.committer.takeOver()
    await expect(first.committer.ready()).rejects.toThrow(StandbyError)
    expect(second.committer.owns).toBe(true)
    await second.committer.submit(put('a', '4'))
    await first.committer.takeOver()
    expect(first.committer.owns).toBe(true)
  })

  it('can take back what it lost, after which participants read anew', async () => {
    const store = new MemoryStore()
    const [first, second] = [open(store), open(store)]
    const reset = vi.fn()
    first.committer.onTakeOver(reset)
    await first.committer.takeOver()
    await second.committer.takeOver()
    await expect(first.committer.submit(put('a', '1'))).rejects.toThrow(StandbyError)
    await first.committer.takeOver()
    await first.committer.submit(put('a', '1'))
    expect(reset).toHaveBeenCalledTimes(2)
    await expect(second.committer.submit(put('a', '2'))).rejects.toThrow(StandbyError)
  })

  it('of two that take over at the same moment one gets the store', async () => {
    const inner = new MemoryStore()
    const [first, second] = [open(inner), open(inner)]
    const results = await Promise.allSettled([first.committer.takeOver(), second.committer.takeOver()])
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { name: 'StandbyError' } })
  })

  it('takes over once for many callers, and anew for one that comes later: another owner may have come and gone', async () => {
    const { committer, store } = open()
    await Promise.all([committer.takeOver(), committer.ready(), committer.takeOver()])
    expect(store.counts.commit).toBe(1)
    await committer.takeOver()
    await committer.ready()
    expect(store.counts.commit).toBe(2)
  })

  it('a release while a commit is under way stays one: the commit is answered, and nothing more is taken', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const release = store.holdCommits()
    const change = committer.submit(put('a', '1'))
    await settle()
    const behind = expect(committer.submit(put('b', '1'))).rejects.toThrow(StandbyError)
    committer.release()
    release()
    await Promise.all([change, behind])
    expect(committer.owns).toBe(false)
    expect(Object.keys(await contents(store))).toEqual(['a', 'paychan:head'])
  })

  it('taking over again waits for the commit that is under way, which nobody takes for a loss', async () => {
    const { committer, store, lost } = open()
    await committer.takeOver()
    const order: string[] = []
    committer.onTakeOver(() => { order.push('reset') })
    const release = store.holdCommits()
    const change = committer.submit(group => {
      group.put('a', '1')
      group.onDurable(() => { order.push('applied') })
    })
    await settle()
    committer.release()
    const again = committer.takeOver()
    await settle()
    release()
    await Promise.all([change, again])
    expect(order).toEqual(['applied', 'reset'])
    await committer.submit(put('b', '2'))
    expect(lost).toEqual([])
  })

  it('an onLost that throws does not stop the queue', async () => {
    const inner = new MemoryStore()
    const other = open(inner)
    const store = new FaultyStore(inner)
    const committer = new Committer({ store, storeTimeoutMs: 10_000, clock: other.clock, log: other.log, owner: 'me', onLost: () => { throw new RangeError('careless') } })
    await committer.takeOver()
    await other.committer.takeOver()
    await expect(committer.submit(put('a', '1'))).rejects.toThrow(StandbyError)
    await committer.settle()
    await committer.takeOver()
    await committer.submit(put('a', '2'))
    expect(await inner.get('a')).toBe('2')
  })
})

describe('a clock that is put back while the store hangs', () => {
  it('keeps nobody waiting for as much longer', async () => {
    const { committer, store, clock } = open()
    await committer.takeOver()
    store.holdCommits()
    const change = watch(committer.submit(group => { group.put('a', '1') }))
    await settle()
    await clock.advance(5000)
    clock.putBack(3_600_000)
    await clock.advance(20_000)
    expect(change).toMatchObject({ state: 'rejected', error: { outcome: 'unknown' } })
  })
})

describe('settle', () => {
  it('waits until all that is queued is durable', async () => {
    const { committer, store } = open()
    await committer.takeOver()
    const release = store.holdCommits()
    const change = committer.submit(put('a', '1'))
    const settled = vi.fn()
    const settling = committer.settle().then(settled)
    await settle()
    expect(settled).not.toHaveBeenCalled()
    release()
    await Promise.all([change, settling])
  })

  it('resolves at once when there is nothing to wait for, owner or not', async () => {
    const { committer } = open()
    await committer.settle()
    await committer.takeOver()
    await committer.settle()
  })
})
