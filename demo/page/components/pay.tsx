/**
 * Single payments, in both directions.
 */
import type { JSX, TargetedSubmitEvent } from 'preact'
import { useSignal } from '@preact/signals'
import { CURRENCY } from '../../shared/ledger.js'
import type { Notice, Wallet } from '../wallet.js'
import { useAmountEntry } from './amount-entry.js'
import { Icon } from './icons.js'
import type { IconName } from './icons.js'

/** For how long the receiver holds a payment before it takes it, so that there is something to see in flight. */
const HOLDS = [
  { name: 'at once', ms: 0 },
  { name: 'after 5 seconds', ms: 5000 },
  { name: 'never', ms: 60_000 }
] as const

const NOTICE_ICONS: Readonly<Record<Notice['kind'], IconName>> = { pending: 'waiting', done: 'check', failed: 'cross' }

export function Pay({ wallet }: { wallet: Wallet }): JSX.Element {
  const { text, hint, type, take } = useAmountEntry('2.50')
  const holdMs = useSignal(0)
  const isOff = !wallet.canPay.value
  const notice = wallet.notice.value

  function submit(event: TargetedSubmitEvent<HTMLFormElement>): void {
    event.preventDefault()
    const amount = take(event.currentTarget)
    if (amount === undefined) {
      // What came of the payment before does not belong to this one.
      wallet.notice.value = undefined
      return
    }
    const isBack = event.submitter instanceof HTMLButtonElement && event.submitter.value === 'be-paid'
    void (isBack ? wallet.bePaid(amount, holdMs.value) : wallet.pay(amount, holdMs.value))
  }

  return (
    <section class="card pay" aria-labelledby="pay-title" id="pay" tabIndex={-1}>
      <h2 id="pay-title">Pay and be paid</h2>
      <form onSubmit={submit} noValidate>
        <div class="field">
          <label for="amount">Amount in {CURRENCY}</label>
          <input id="amount" inputMode="decimal" autocomplete="off" value={text.value} aria-invalid={hint.value !== ''}
            aria-describedby="amount-help" onInput={event => { type(event.currentTarget.value) }} />
          <p id="amount-help" class="help" aria-live="polite">{hint.value === '' ? 'Two decimals at most' : hint.value}</p>
        </div>
        <div class="field">
          <label for="hold">The receiver takes it</label>
          <select id="hold" value={holdMs.value} onChange={event => { holdMs.value = Number(event.currentTarget.value) }}>
            {HOLDS.map(({ name, ms }) => <option key={name} value={ms}>{name}</option>)}
          </select>
        </div>
        <div class="actions">
          <button type="submit" class="main" value="pay" disabled={isOff}><Icon name="out" /> Pay the peer</button>
          <button type="submit" value="be-paid" disabled={isOff}><Icon name="in" /> Be paid</button>
        </div>
      </form>
      <p class="notice" id="notice" role="status" data-kind={notice?.kind}>
        {notice === undefined ? '' : <><Icon name={NOTICE_ICONS[notice.kind]} /> {notice.text}</>}
      </p>
    </section>
  )
}
