import { format } from 'node:util'
import createDebug from 'debug'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { debugLogger, hostLogger } from '../../src/platform/debug-log.js'
import { systemClock } from '../../src/platform/system-clock.js'
import { systemRandom } from '../../src/platform/system-random.js'

describe('the system clock', () => {
  afterEach(() => { vi.useRealTimers() })

  it('tells the time, and fires a timer once', async () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000)
    await new Promise<void>(resolve => { systemClock.setTimer(1, resolve, { keepsProcessAlive: true }) })
  })

  it.each([0, -5, NaN])('fires soon for a delay of %s, but not before it returns', delayMs => {
    vi.useFakeTimers()
    const action = vi.fn()
    systemClock.setTimer(delayMs, action)
    expect(action).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(action).toHaveBeenCalledOnce()
  })

  it('H12: honours delays of more than 2^31 ms', () => {
    vi.useFakeTimers()
    const action = vi.fn()
    const delayMs = 2 ** 33 + 5
    systemClock.setTimer(delayMs, action)
    vi.advanceTimersByTime(delayMs - 1)
    expect(action).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(action).toHaveBeenCalledOnce()
  })

  it('cancels at any time, also in a later part of a long delay, and after the end', () => {
    vi.useFakeTimers()
    const action = vi.fn()
    const cancelLong = systemClock.setTimer(2 ** 32, action)
    vi.advanceTimersByTime(2 ** 31 + 1000)
    cancelLong()
    const cancelShort = systemClock.setTimer(10, action)
    cancelShort()
    cancelShort()
    expect(vi.getTimerCount()).toBe(0)
    const cancelFired = systemClock.setTimer(10, action)
    vi.advanceTimersByTime(10)
    cancelFired()
    expect(action).toHaveBeenCalledOnce()
  })

  it('H26: a timer lets the process exit, unless it is to keep it', () => {
    const timers: Array<NodeJS.Timeout> = []
    const setTimeoutOfNode = globalThis.setTimeout
    const spy = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((action: () => void, ms: number) => {
      const timer = setTimeoutOfNode(action, ms)
      timers.push(timer)
      return timer
    }) as typeof setTimeout)
    const cancels = [systemClock.setTimer(1e6, () => undefined), systemClock.setTimer(1e6, () => undefined, { keepsProcessAlive: true })]
    spy.mockRestore()
    expect(timers.map(timer => timer.hasRef())).toEqual([false, true])
    for (const cancel of cancels) cancel()
  })

  it('works where a timer is a number, as in browsers', () => {
    const spy = vi.spyOn(globalThis, 'setTimeout').mockImplementation((() => 7) as unknown as typeof setTimeout)
    const clear = vi.spyOn(globalThis, 'clearTimeout').mockImplementation(() => undefined)
    systemClock.setTimer(10, () => undefined)()
    expect(clear).toHaveBeenCalledExactlyOnceWith(7)
    spy.mockRestore()
    clear.mockRestore()
  })
})

describe('the system\'s random source', () => {
  it.each([0, 1, 16, 65_536, 65_537, 200_000])('gives %i bytes', length => {
    const bytes = systemRandom.bytes(length)
    expect(bytes).toHaveLength(length)
    // All parts were filled: no run of 64 zero bytes.
    for (let at = 0; at + 64 <= length; at += 64) expect(bytes.subarray(at, at + 64).some(byte => byte !== 0)).toBe(true)
  })

  it('gives others each time, in arrays of their own, however many are asked for', () => {
    const seen = new Set<string>()
    for (let i = 0; i < 5000; i++) {
      const bytes = systemRandom.bytes(8 + i % 7)
      expect(bytes.buffer.byteLength).toBe(bytes.length)
      seen.add(Buffer.from(bytes).toString('hex'))
      bytes.fill(0)
    }
    expect(seen.size).toBe(5000)
  })
})

describe('the debug log', () => {
  const lines: string[] = []
  const original = createDebug.log
  const restore = () => {
    createDebug.disable()
    createDebug.log = original
    lines.length = 0
  }
  afterEach(restore)

  it('writes all levels under its namespace, once that is enabled', () => {
    const log = debugLogger('ilp-plugin-test')
    log.info('unseen')
    expect(log.enabled).toBe(false)
    createDebug.log = (...args: unknown[]) => { lines.push(format(...args)) }
    createDebug.enable('ilp-plugin-test')
    expect(log.enabled).toBe(true)
    for (const level of ['trace', 'debug', 'info', 'warn', 'error'] as const) log[level](`a ${level}`)
    expect(lines.map(line => /((warning|error): )?a \w+/.exec(line)?.[0])).toEqual([
      'a trace', 'a debug', 'a info', 'warning: a warn', 'error: a error'
    ])
    expect(lines.every(line => line.includes('ilp-plugin-test'))).toBe(true)
  })

  it('H32: takes a text for a text, not for a format', () => {
    createDebug.log = (...args: unknown[]) => { lines.push(format(...args)) }
    createDebug.enable('ilp-plugin-test')
    debugLogger('ilp-plugin-test').info('100%s %o %j')
    expect(lines.join()).toContain('100%s %o %j')
  })
})

describe('a host\'s log', () => {
  it('gets each level as a method call; what it lacks is dropped', () => {
    const host = {
      lines: [] as string[],
      info(message: string) { this.lines.push(`info ${message}`) },
      error(message: string) { this.lines.push(`error ${message}`) }
    }
    const log = hostLogger(host)
    for (const level of ['trace', 'debug', 'info', 'warn', 'error'] as const) log[level]('x')
    expect(host.lines).toEqual(['info x', 'error x'])
    expect(log.enabled).toBe(false)
    expect(hostLogger(console).enabled).toBe(true)
  })

  it('that throws harms nothing', () => {
    const log = hostLogger({ warn: () => { throw new Error('disk full') } })
    expect(() => { log.warn('x') }).not.toThrow()
  })
})
