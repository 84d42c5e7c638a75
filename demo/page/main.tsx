/**
 * The wallet page: finds the account, connects, and shows everything.
 */
import { render } from 'preact'
import { findAccount } from './account.js'
import { App } from './components/app.js'
import { Wallet } from './wallet.js'

const place = document.getElementById('app')
if (place === null) throw new Error('the page has no place for the wallet')

try {
  const wallet = new Wallet(await findAccount())
  render(<App wallet={wallet} />, place)
  await wallet.start()
} catch (error) {
  render(<p class="fatal" role="alert">The wallet did not start: {String(error)}</p>, place)
}
