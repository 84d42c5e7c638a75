/**
 * The card of payments by STREAM, through the connector. Loaded only when the demo runs with one.
 */
import type { JSX, TargetedSubmitEvent } from 'preact'
import { CURRENCY, formatAmount } from '../../shared/ledger.js'
import type { LinkState, StreamAccount, StreamPayment } from '../stream-account.js'
import { Amount } from './amount.js'
import { useAmountEntry } from './amount-entry.js'
import { Icon } from './icons.js'
import type { IconName } from './icons.js'

export { StreamAccount } from '../stream-account.js'

const LINKS: Readonly<Record<LinkState, string>> = {
  connecting: 'Connecting to the connector',
  connected: 'Connected to the connector',
  standby: 'Another tab is connected: pay there',
  lost: 'Connection lost, dialling again'
}

const KINDS: Readonly<Record<StreamPayment['state'], { kind: 'pending' | 'done' | 'failed'; icon: IconName }>> = {
  starting: { kind: 'pending', icon: 'waiting' },
  paying: { kind: 'pending', icon: 'waiting' },
  stopping: { kind: 'pending', icon: 'waiting' },
  done: { kind: 'done', icon: 'check' },
  stopped: { kind: 'done', icon: 'check' },
  failed: { kind: 'failed', icon: 'cross' }
}

export function StreamPay({ account }: { account: StreamAccount }): JSX.Element {
  const link = account.link.value
  return (
    <>
      <div class="title">
        <h2 id="stream-pay-title">Pay by STREAM</h2>
        <p class="quiet" id="stream-link" data-state={link}>{LINKS[link]}</p>
      </div>
      <p class="quiet">Pays a receiver that is not your peer: many small ILP packets go through a connector, and each is paid for by itself.</p>
      <div class="halves">
        <Form account={account} />
        <Facts account={account} />
      </div>
    </>
  )
}

function Form({ account }: { account: StreamAccount }): JSX.Element {
  const { text, hint, type, take } = useAmountEntry('50.00')
  const payment = account.payment.value
  const isRunning = payment !== undefined && KINDS[payment.state].kind === 'pending'

  function submit(event: TargetedSubmitEvent<HTMLFormElement>): void {
    event.preventDefault()
    const amount = take(event.currentTarget)
    if (amount !== undefined) void account.pay(amount)
  }

  return (
    <div>
      <form onSubmit={submit} noValidate>
        <div class="field">
          <label for="stream-pay-amount">In all, in {CURRENCY}</label>
          <input id="stream-pay-amount" inputMode="decimal" autocomplete="off" value={text.value} aria-invalid={hint.value !== ''}
            aria-describedby="stream-pay-help" onInput={event => { type(event.currentTarget.value) }} />
          <p id="stream-pay-help" class="help" aria-live="polite">{hint.value === '' ? 'Two decimals at most' : hint.value}</p>
        </div>
        <div class="actions">
          <button type="submit" class="main" disabled={isRunning || account.link.value !== 'connected'}><Icon name="out" /> Pay the receiver</button>
          <button type="button" disabled={!isRunning || payment.state === 'stopping'} onClick={() => { account.stop() }}><Icon name="pause" /> Stop</button>
        </div>
      </form>
      <p class="notice" id="stream-notice" role="status" data-kind={payment === undefined ? undefined : KINDS[payment.state].kind}>
        {payment === undefined ? '' : <><Icon name={KINDS[payment.state].icon} /> {inWords(payment)}</>}
      </p>
    </div>
  )
}

/** What does not change with each packet: it is read out. */
function inWords({ state, amount, end }: StreamPayment): string {
  if (state === 'starting') return 'Asking what the way takes \u2026'
  if (state === 'stopping') return 'Stopping \u2026'
  return state === 'paying' ? `Paying ${formatAmount(amount)} ${CURRENCY} \u2026` : end
}

function Facts({ account: { payment: { value: payment }, balance, peerBalance } }: { account: StreamAccount }): JSX.Element {
  const { sent, delivered, fulfilled, refused, tookMs } = payment ?? { sent: '0', delivered: '0', fulfilled: 0, refused: 0, tookMs: 0 }
  return (
    <div>
      <progress max={Number(payment?.amount ?? 1)} value={Number(sent)} aria-label="Paid so far" />
      <dl class="facts">
        <div><dt>Sent</dt><dd id="stream-sent"><Amount units={sent} /></dd></div>
        <div><dt>Delivered</dt><dd id="stream-delivered"><Amount units={delivered} /></dd></div>
        <div><dt>Rate, delivered for each sent</dt><dd id="stream-rate-of">{sent === '0' ? '\u2013' : (Number(delivered) / Number(sent)).toFixed(2)}</dd></div>
        <div><dt>Packets</dt><dd id="stream-packets">{fulfilled} fulfilled, {refused} refused</dd></div>
        <div><dt>Packets in a second</dt><dd id="stream-speed">{tookMs === 0 ? '\u2013' : (fulfilled / tookMs * 1000).toFixed(1)}</dd></div>
        <div><dt>Balance with the connector</dt><dd id="stream-balance">{balance.value === undefined ? '\u2013' : <Amount units={balance.value} isSigned />}</dd></div>
        <div><dt>The same in its books</dt><dd id="stream-peer-balance">{peerBalance.value === undefined ? '\u2013' : <Amount units={peerBalance.value} isSigned />}</dd></div>
      </dl>
    </div>
  )
}
