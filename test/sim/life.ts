/**
 * One time that a process runs, and where it may die.
 *
 * A process can be killed wherever it touches the world, before or after: at each call of its store and at each write of a plain one, each
 * frame sent or received, each timer, each event its host hears. And between those: a death that is due there comes so many turns of the
 * microtask queue later, and so at any `await` in between; not in the middle of what runs without one, which no other side can tell from
 * a death before or after. Once it is over, nothing of it has an effect any more: no write, no frame, no event.
 */
import type { Clock } from '../../src/core/clock.js'
import type { SideName, World } from './world.js'

/** The most turns between a point and the death that was due at it. */
export const MOST_TURNS = 12

/** A clock that is ahead by more is put forward no further: a payment of ten seconds must have its time still. */
const MOST_SKEW_MS = 1000

export class Life {
  isAlive = true
  /** No other has it. */
  readonly name: string
  #skewMs: number
  /** How far its clock was put back, all told. */
  putBackMs = 0
  readonly #world: World
  readonly #side: SideName
  readonly #onDeath: () => void
  readonly #cancels = new Set<() => void>()
  readonly #isFirst: boolean
  /** While it is frozen: what it will do when it goes on, in this order. */
  #waiting: Array<() => void> | undefined
  /** How many more points it survives. */
  #left: number

  constructor(world: World, side: SideName, options: { isFirst: boolean; points: number; skewMs: number; onDeath: () => void }) {
    this.#world = world
    this.name = `process ${world.lives++}`
    this.#side = side
    this.#isFirst = options.isFirst
    this.#left = options.points
    this.#skewMs = options.skewMs
    this.#onDeath = options.onDeath
  }

  /** A point at which it may die. Whether it is alive then. */
  survives(point: string): boolean {
    if (!this.isAlive) return false
    if (!this.#world.isFaulty) return true
    if (this.#isFirst) this.#world.points[this.#side]++
    if (--this.#left === 0) {
      const turns = this.#world.killAt?.turns ?? this.#world.fate.upTo(MOST_TURNS)
      this.#world.note(this.#side, () => `dies ${turns} turns after: ${point}`)
      if (turns === 0) this.kill()
      else void this.#dieAfter(turns)
    }
    return this.isAlive
  }

  async #dieAfter(turns: number): Promise<void> {
    for (; turns > 0; turns--) await Promise.resolve()
    if (this.isAlive && this.#world.isFaulty) this.kill()
  }

  kill(): void {
    this.#world.count('kill')
    this.end()
  }

  /** As when it is killed, for whatever reason. */
  end(): void {
    if (!this.isAlive) return
    this.isAlive = false
    this.#world.dead.add(this.name)
    this.#waiting?.splice(0)
    for (const cancel of this.#cancels) cancel()
    this.#onDeath()
  }

  get now(): number {
    return this.#world.clock.now() + this.#skewMs
  }

  /** How much this life's clock is ahead. */
  get skewMs(): number {
    return this.#skewMs
  }

  /** The time of day is put forward, or the machine has slept. Timers do not hear of it: they count what passes. */
  jump(aheadMs: number): void {
    if (!this.isAlive || this.#skewMs >= MOST_SKEW_MS) return
    this.#world.count('clock jump')
    this.#skewMs += aheadMs
  }

  /** The time of day is put back. Timers do not hear of that either: none fires again, and none waits any longer. */
  putBack(byMs: number): void {
    if (!this.isAlive || this.putBackMs > 0) return
    this.#world.count('clock put back')
    this.#skewMs -= byMs
    this.putBackMs += byMs
  }

  /** The whole process stands still, as a machine that sleeps or one that swaps: nothing goes in or out, no timer fires. Then it goes on. */
  freeze(forMs: number): void {
    if (!this.isAlive || this.#waiting !== undefined) return
    this.#world.count('frozen process')
    this.#world.note(this.#side, () => `stands still for ${forMs} ms`)
    this.#waiting = []
    this.#world.clock.setTimer(forMs, () => { this.#goOn() })
  }

  #goOn(): void {
    const next = this.#waiting?.shift()
    if (next === undefined) {
      this.#waiting = undefined
      return
    }
    next()
    this.#world.clock.setTimer(0, () => { this.#goOn() })
  }

  /** Whatever crosses the bounds of the process: at once, or when it goes on. */
  whenAwake(act: () => void): void {
    if (this.#waiting === undefined) act()
    else if (this.isAlive) this.#waiting.push(act)
  }

  /** As `whenAwake`; nothing to wait for where it does not stand still. */
  get frozen(): Promise<void> | undefined {
    return this.#waiting === undefined ? undefined : new Promise(resolve => { this.whenAwake(resolve) })
  }

  get clock(): Clock {
    return {
      now: () => this.now,
      setTimer: (delayMs, action) => {
        if (!this.isAlive || (this.#world.mutant.sleepsOn === true && delayMs > 1000)) return () => undefined
        return this.#setTimer(delayMs, action)
      }
    }
  }

  #setTimer(delayMs: number, action: () => void): () => void {
    let isStopped = false
    const cancel = this.#world.clock.setTimer(delayMs, () => {
      this.#cancels.delete(cancel)
      this.whenAwake(() => {
        if (isStopped || !this.survives('before a timer')) return
        action()
        this.survives('after a timer')
      })
    })
    this.#cancels.add(cancel)
    return () => {
      isStopped = true
      this.#cancels.delete(cancel)
      cancel()
    }
  }
}

/** What is asked of a process that is gone is never answered. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined)
}
