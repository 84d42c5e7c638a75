/**
 * What the benchmarks share: peers in processes of their own, and medians.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import process from 'node:process'
import { URL, fileURLToPath } from 'node:url'

/** A peer's process: `next` is its next message, or an error if it fails first. */
export function startPeer(...args) {
  // Logs cost either package more than all the rest.
  const child = fork(fileURLToPath(new URL('peer.mjs', import.meta.url)), args, { env: { ...process.env, DEBUG: '' } })
  const ended = once(child, 'exit').then(([code]) => { throw new Error(`the ${args.slice(0, 2).join(' ')} ended with code ${code}`) })
  ended.catch(() => undefined)
  const next = async () => {
    const [message] = await Promise.race([once(child, 'message'), ended])
    if (message.error !== undefined) throw new Error(`the ${args.slice(0, 2).join(' ')} failed: ${message.error}`)
    return message
  }
  return { child, next }
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
