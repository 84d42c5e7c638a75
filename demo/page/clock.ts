/**
 * The time as the page shows it: a signal that moves four times in a second while the page can be seen.
 */
import { signal } from '@preact/signals'

const TICK_MS = 250

/** Milliseconds since 1970. */
export const now = signal(Date.now())

/** The time of day, the same wherever it is shown. */
export function timeOfDay(at: number): string {
  return new Date(at).toTimeString().slice(0, 8)
}

setInterval(() => { if (!document.hidden) now.value = Date.now() }, TICK_MS)
