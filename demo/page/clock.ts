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

/** The day, as `2026-11-22`. */
export function dayOf(at: number): string {
  const date = new Date(at)
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(part => String(part).padStart(2, '0')).join('-')
}

setInterval(() => { if (!document.hidden) now.value = Date.now() }, TICK_MS)
