/**
 * Siblings in a browser: windows, tabs and workers of one origin, by Web Locks and BroadcastChannel. Imports core.
 */
import type { HoldEvents, HoldOptions, LetGo, Siblings } from '../core/siblings.js'

/** What is used of `navigator.locks`, which plain http beyond localhost lacks. */
interface Locks {
  request(name: string, options: { steal: true } | { signal: AbortSignal }, granted: () => Promise<void>): Promise<unknown>
}

/**
 * The siblings of this page or worker; `undefined` where they cannot hear each other. Without Web Locks nobody is ever granted a hold
 * in turn, and whoever steals one has it: then only the challenge tells who holds, and the store's epoch which of two.
 */
export function browserSiblings(): Siblings | undefined {
  if (typeof BroadcastChannel !== 'function') return undefined
  const { locks } = (globalThis as { navigator?: { locks?: Locks } }).navigator ?? {}
  return { open, hold: (name, events, options) => locks === undefined ? assume(events, options) : lock(locks, name, events, options) }
}

function open(name: string, onMessage: (text: string) => void): ReturnType<Siblings['open']> {
  const channel = new BroadcastChannel(name)
  let isOpen = true
  channel.onmessage = ({ data }: MessageEvent<unknown>) => { if (isOpen && typeof data === 'string') onMessage(data) }
  return {
    post(text) {
      if (isOpen) channel.postMessage(text)
    },
    close() {
      isOpen = false
      channel.close()
    }
  }
}

function lock(locks: Locks, name: string, events: HoldEvents, { steal = false }: HoldOptions = {}): LetGo {
  const queued = new AbortController()
  let isOver = false
  let isGranted = false
  let release: () => void = () => undefined
  const grant = (): void => {
    isGranted = true
    if (!isOver) events.onGranted()
  }
  // A request that steals must have no signal.
  locks.request(name, steal ? { steal } : { signal: queued.signal }, () => {
    const released = new Promise<void>(resolve => { release = resolve })
    grant()
    return isOver ? Promise.resolve() : released
  }).catch(() => {
    if (isOver) return
    // A lock that was held is broken by a thief. One that cannot even be asked for is of no use here: the epoch decides alone.
    if (isGranted) events.onLost()
    else grant()
  })
  return () => {
    isOver = true
    queued.abort()
    release()
  }
}

function assume(events: HoldEvents, { steal = false }: HoldOptions = {}): LetGo {
  let isOver = !steal
  queueMicrotask(() => { if (!isOver) events.onGranted() })
  return () => { isOver = true }
}
