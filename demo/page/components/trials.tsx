/**
 * What one may do to the wallet, to see that nothing is lost.
 */
import type { JSX } from 'preact'
import type { Wallet } from '../wallet.js'
import { Icon } from './icons.js'

export function Trials({ wallet }: { wallet: Wallet }): JSX.Element {
  const isCut = wallet.isCut.value
  return (
    <section class="card trials" aria-labelledby="trials-title">
      <h2 id="trials-title">Try to lose a payment</h2>
      <p class="quiet">Do any of these while payments are under way. When it is over, both sides have the same books.</p>
      <div class="stack">
        <button type="button" onClick={() => { void wallet.setCut(!isCut) }}>
          <Icon name={isCut ? 'link' : 'cut'} /> {isCut ? 'Mend the connection' : 'Cut the connection'}
        </button>
        <button type="button" onClick={() => { location.reload() }}><Icon name="reload" /> Reload this page</button>
        <a class="button" href="/" target="_blank" rel="noopener"><Icon name="tab" /> Open a second tab</a>
      </div>
    </section>
  )
}
