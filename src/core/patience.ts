/**
 * Calls to a store, which may throw whatever it likes, or never answer. Imports core.
 */
import type { Clock } from './clock.js'
import { StoreError, messageOf } from './errors.js'

/** A store did not answer in time: told apart from one that answers that it does not know. */
export class OverdueError extends StoreError {}

/**
 * Calls a store, and waits for it no longer than that, in milliseconds.
 * @throws StoreError, whatever the store throws; OverdueError when it does not answer, with `outcome: 'unknown'` where it may yet write
 */
export function callStore<T>(clock: Clock, limitMs: number, kind: 'read' | 'write', call: () => Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const cancel = clock.setTimer(limitMs, () => {
      reject(new OverdueError('the store does not answer', kind === 'read' ? {} : { outcome: 'unknown' }))
    }, { keepsProcessAlive: true })
    const fail = (cause: unknown): void => {
      cancel()
      reject(cause instanceof StoreError ? cause : new StoreError(`the store failed: ${messageOf(cause)}`, { cause }))
    }
    try {
      call().then(value => {
        cancel()
        resolve(value)
      }, fail)
    } catch (thrown) {
      fail(thrown)
    }
  })
}
