/**
 * The end of the page: where the wallet is kept.
 */
import type { JSX } from 'preact'
import type { Persistence } from 'ilp-plugin-paychan'
import type { Wallet } from '../wallet.js'

const KEPT: Readonly<Record<Persistence, string>> = {
  'persistent': 'This wallet is kept in this browser until you remove it.',
  'best-effort': 'This wallet is kept in this browser as long as there is space for it.',
  'unknown': 'This wallet is kept in this browser.'
}

export function Footer({ wallet }: { wallet: Wallet }): JSX.Element {
  return (
    <footer class="bottom quiet">
      <p>{KEPT[wallet.persistence.value]} Its account: <code>{wallet.address.value}</code></p>
      <p>XTS is the currency code for tests: nothing here is worth anything.</p>
    </footer>
  )
}
