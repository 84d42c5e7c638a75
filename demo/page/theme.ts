/**
 * Light or dark: as the system has it, unless it was chosen here. early-theme.js sets what was chosen before the page is drawn.
 */
import { effect, signal } from '@preact/signals'

export const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

const KEY = 'paychan-demo-theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const isSystemDark = signal(system.matches)
system.addEventListener('change', () => { isSystemDark.value = system.matches })

export const theme = signal<Theme>(THEMES.find(name => name === document.documentElement.dataset['theme']) ?? 'system')

/** Changes whenever the colours do, for what is drawn with them. */
export const colours = (): string => (theme.value === 'system' ? (isSystemDark.value ? 'dark' : 'light') : theme.value)

export function choose(chosen: Theme): void {
  theme.value = chosen
  try {
    localStorage.setItem(KEY, chosen)
  } catch {
    // Then it lasts as long as the page.
  }
}

effect(() => { document.documentElement.dataset['theme'] = theme.value })
