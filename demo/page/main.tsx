/**
 * The wallet page: finds the account, connects, and shows everything.
 */
import { render } from 'preact'
import { findAccount } from './account.js'
import { App } from './components/app.js'
import { Wallet } from './wallet.js'

const place = document.getElementById('app')
if (place === null) throw new Error('the page has no place for the wallet')

start(place).catch((error: unknown) => {
  render(<p class="fatal" role="alert">The wallet did not start: {String(error)}</p>, place)
})

/** Not at the top level of the module: the cards that are loaded later wait for that to end. */
async function start(root: HTMLElement): Promise<void> {
  const wallet = new Wallet(await findAccount())
  render(<App wallet={wallet} />, root)
  await wallet.start()
}
