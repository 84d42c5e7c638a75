import { describe, expect, it } from 'vitest'
import { Timers } from '../../src/core/timers.js'
import { VirtualClock } from '../support/virtual-clock.js'

function setUp() {
  const clock = new VirtualClock()
  const fired: string[] = []
  /** What else happens when one fires. */
  const actions = new Map<string, () => void>()
  const timers = new Timers<string>(clock, key => {
    const action = actions.get(key)
    actions.delete(key)
    if (action === undefined) fired.push(key)
    else action()
  })
  const set = (key: string, delayMs: number, action?: () => void) => {
    if (action !== undefined) actions.set(key, action)
    timers.set(key, delayMs)
  }
  return { clock, fired, timers, set }
}

describe('Timers', () => {
  it('fire each after its own delay, once', async () => {
    const { clock, fired, set } = setUp()
    set('late', 20)
    set('soon', 10)
    await clock.advance(5)
    set('next', 10)
    await clock.advance(4)
    expect(fired).toEqual([])
    await clock.advance(1)
    expect(fired).toEqual(['soon'])
    await clock.advance(5)
    expect(fired).toEqual(['soon', 'next'])
    await clock.advance(1000)
    expect(fired).toEqual(['soon', 'next', 'late'])
  })

  it('share a timer of the clock where they are set at once for the same time, and leave none behind', () => {
    const { clock, timers, set } = setUp()
    for (const key of ['a', 'b', 'c']) set(key, 10)
    set('d', 20)
    expect(clock.pending).toBe(2)
    for (const key of ['a', 'b', 'c']) timers.cancel(key)
    expect(clock.pending).toBe(1)
    timers.cancelAll()
    expect(clock.pending).toBe(0)
  })

  it('do not fire when they were stopped, also by one that fires with them', async () => {
    const { clock, fired, timers, set } = setUp()
    set('a', 10, () => { timers.cancel('c') })
    for (const key of ['b', 'c', 'd']) set(key, 10)
    timers.cancel('b')
    await clock.advance(10)
    expect(fired).toEqual(['d'])
  })

  it('are replaced under the same key, also by one that fires with them', async () => {
    const { clock, fired, set } = setUp()
    set('a', 10)
    set('a', 30)
    set('b', 10, () => { set('b', 10); set('c', 5) })
    set('c', 10)
    await clock.advance(10)
    expect(fired).toEqual([])
    await clock.advance(10)
    expect(fired).toEqual(['c', 'b'])
    await clock.advance(10)
    expect(fired).toEqual(['c', 'b', 'a'])
    expect(clock.pending).toBe(0)
  })

  it('wait as long as they should for what is set after the clock was put back', async () => {
    const { clock, fired, set } = setUp()
    set('a', 10)
    await clock.advance(5)
    clock.jump(-1)
    set('b', 10)
    await clock.advance(9)
    expect(fired).toEqual(['a'])
    await clock.advance(1)
    expect(fired).toEqual(['a', 'b'])
  })

  it('wait as long as they should for what is set when the clock was put back onto the very time of one that waits', async () => {
    const { clock, fired, set } = setUp()
    set('a', 10)
    await clock.advance(4)
    clock.putBack(4)
    set('b', 10)
    await clock.advance(9)
    expect(fired).toEqual(['a'])
    await clock.advance(1)
    expect(fired).toEqual(['a', 'b'])
  })
})
