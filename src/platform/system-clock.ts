/**
 * The clock of the machine: real time, real timers, in Node, in pages and in workers. Imports core.
 */
import type { CancelTimer, Clock } from '../core/clock.js'

/** The longest delay that setTimeout honours; a longer one would fire at once (H12). */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

/** In Node a timer is an object that can let the process exit (H26); in browsers and workers it is a number. */
function release(timer: number | { unref(): unknown }): void {
  if (typeof timer === 'object') timer.unref()
}

/** A timer that is longer than the platform's can be. */
function setInSteps(delayMs: number, action: () => void, isKept: boolean): CancelTimer {
  let remainingMs = delayMs
  let timer: ReturnType<typeof setTimeout>
  const arm = (): void => {
    const stepMs = Math.min(remainingMs, LONGEST_TIMEOUT_MS)
    remainingMs -= stepMs
    timer = setTimeout(remainingMs > 0 ? arm : action, stepMs)
    if (!isKept) release(timer)
  }
  arm()
  return () => { clearTimeout(timer) }
}

/** Real time. Its timers let a Node process exit, unless they ask to keep it. */
export const systemClock: Clock = {
  now: () => Date.now(),

  setTimer(delayMs, action, options) {
    const isKept = options?.keepsProcessAlive === true
    if (delayMs > LONGEST_TIMEOUT_MS) return setInSteps(delayMs, action, isKept)
    const timer = setTimeout(action, delayMs > 0 ? delayMs : 0)
    if (!isKept) release(timer)
    return () => { clearTimeout(timer) }
  }
}
