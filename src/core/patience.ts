/**
 * Calls to a store, which may throw whatever it likes, or never answer. Imports core.
 */
import type { Clock } from './clock.js'
import { StoreError, messageOf } from './errors.js'
import { waitAtMost } from './timers.js'

/**
 * Calls a store, and waits for it no longer than that, in milliseconds.
 * @throws StoreError, with `outcome: 'unknown'` where the store may yet do what it was asked
 */
export async function callStore<T>(clock: Clock, limitMs: number, call: () => Promise<T>): Promise<T> {
  try {
    const calling = call()
    if (await waitAtMost(clock, limitMs, calling.catch(() => undefined)) === 'done') return await calling
  } catch (cause) {
    throw cause instanceof StoreError ? cause : new StoreError(`the store failed: ${messageOf(cause)}`, { cause })
  }
  throw new StoreError('the store does not answer', { outcome: 'unknown' })
}
