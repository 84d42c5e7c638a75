/**
 * The top of the page: whose it is, how the connection stands, and what else there is to read.
 */
import type { JSX } from 'preact'
import { THEMES, choose, theme } from '../theme.js'
import type { Theme } from '../theme.js'
import type { ConnectionState, Wallet } from '../wallet.js'

const STATES: Readonly<Record<ConnectionState, string>> = {
  connecting: 'Connecting',
  connected: 'Connected, through this tab',
  standby: 'Standing by: another tab connects',
  lost: 'Connection lost, dialling again',
  failed: 'Not connected'
}

const THEME_NAMES: Readonly<Record<Theme, string>> = { system: 'Auto', light: 'Light', dark: 'Dark' }

export function Header({ wallet }: { wallet: Wallet }): JSX.Element {
  const state = wallet.connection.value
  return (
    <header class="top">
      <h1><img src="/icon.svg" alt="" width="32" height="32" /> Payment channel wallet</h1>
      <nav aria-label="Documents">
        <a href="/docs/wallet-in-30-lines.html">A wallet in 30 lines</a>
        <a href="/docs/what-survives-what.html">What survives what</a>
        <a href="/docs/from-the-old-package.html">From the old package</a>
        <a href="/docs/ilp-connector.html">In ilp-connector</a>
        <a href="/docs/pay-by-stream.html">Pay by STREAM</a>
        <a href="/api/">Reference</a>
      </nav>
      <div class="state"><p class="pill" role="status" data-state={state}>{STATES[state]}</p></div>
      <ThemeSwitch />
    </header>
  )
}

function ThemeSwitch(): JSX.Element {
  return (
    <fieldset class="segments">
      <legend class="visually-hidden">Colours</legend>
      {THEMES.map(name => (
        <label key={name}>
          <input type="radio" name="theme" value={name} checked={theme.value === name} onChange={() => { choose(name) }} />
          <span>{THEME_NAMES[name]}</span>
        </label>
      ))}
    </fieldset>
  )
}
