/**
 * The page's icons. All of them stand beside words, so that a screen reader passes them over.
 */
import type { JSX } from 'preact'

const PATHS = {
  out: 'M6 14 14 6M7 6h7v7',
  in: 'M14 6 6 14M13 14H6V7',
  check: 'm4.500 10.500 3.500 3.500 7.500-8',
  waiting: 'M10 5v5l3 2M10 17.500a7.500 7.500 0 1 0 0-15 7.500 7.500 0 0 0 0 15Z',
  cross: 'm5.500 5.500 9 9m0-9-9 9',
  cut: 'M3 10h4m6 0h4M8 6.500v7m4-7v7',
  link: 'M3 10h14M7 6.500v7m6-7v7',
  reload: 'M15.500 10a5.500 5.500 0 1 1-1.700-4M15.500 3v3.500H12',
  tab: 'M7.500 12.500h9v-9h-9zM4 7.500v9h9',
  pause: 'M7.500 5v10m5-10v10',
  play: 'M7 5v10l8-5z'
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  )
}
