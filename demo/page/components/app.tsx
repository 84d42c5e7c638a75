/**
 * The whole page.
 */
import type { JSX } from 'preact'
import { forgetAccount } from '../account.js'
import type { Wallet } from '../wallet.js'
import { Balance } from './balance.js'
import { Flights } from './flights.js'
import { Footer } from './footer.js'
import { Header } from './header.js'
import { History } from './history.js'
import { Limits } from './limits.js'
import { Packets } from './packets.js'
import { Pay } from './pay.js'
import { Streams } from './streams.js'
import { Trials } from './trials.js'
import { WithConnector } from './with-connector.js'

export function App({ wallet }: { wallet: Wallet }): JSX.Element {
  return (
    <>
      <a class="skip" href="#pay">Skip to the payments</a>
      <Header wallet={wallet} />
      <main>
        {wallet.connection.value === 'failed' && <Failure wallet={wallet} />}
        <Balance wallet={wallet} />
        <div class="column">
          <Pay wallet={wallet} />
          <Streams wallet={wallet} />
        </div>
        {wallet.hasConnector.value && <WithConnector wallet={wallet} />}
        <Flights wallet={wallet} />
        <Limits wallet={wallet} />
        <Trials wallet={wallet} />
        <History wallet={wallet} />
        <Packets wallet={wallet} />
      </main>
      <Footer wallet={wallet} />
    </>
  )
}

function Failure({ wallet }: { wallet: Wallet }): JSX.Element {
  return (
    <section class="card failure" role="alert">
      <h2>The wallet cannot go on</h2>
      <p>{wallet.failure.value}</p>
      <p class="quiet">When the folder of the Node side's accounts was emptied, this wallet's account is gone with it.</p>
      <button type="button" onClick={() => { void forgetAccount().then(() => { location.reload() }) }}>Open a new account</button>
    </section>
  )
}
