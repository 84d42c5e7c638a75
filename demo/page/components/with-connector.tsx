/**
 * The place of the card that is there when the demo runs with a connector. What is in the card is loaded when it is shown.
 */
import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import type { Wallet } from '../wallet.js'

export function WithConnector({ wallet }: { wallet: Wallet }): JSX.Element {
  const content = useSignal<JSX.Element | string>('Loading \u2026')
  useEffect(() => {
    load(wallet, shown => { content.value = shown }).catch((error: unknown) => {
      content.value = `Payments by STREAM are not to be had: ${error instanceof Error ? error.message : String(error)}`
    })
  }, [wallet])
  const shown = content.value
  return (
    <section class="card stream-pay" {...typeof shown === 'string' ? { 'aria-label': 'Pay by STREAM' } : { 'aria-labelledby': 'stream-pay-title' }}>
      {typeof shown === 'string' ? <p class="quiet" role="status">{shown}</p> : shown}
    </section>
  )
}

async function load(wallet: Wallet, show: (content: JSX.Element) => void): Promise<void> {
  // STREAM encrypts by Web Crypto, which browsers keep from pages that came over plain http from afar.
  if (!isSecureContext) throw new Error('the page needs https, or localhost, for them')
  const { StreamAccount, StreamPay } = await import('./stream-pay.js')
  const account = new StreamAccount(wallet.account, wallet.packets)
  show(<StreamPay account={account} />)
  await account.open()
}
