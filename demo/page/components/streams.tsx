/**
 * A steady stream of small payments, in either direction or in both at once.
 */
import type { JSX } from 'preact'
import { useSignal } from '@preact/signals'
import { CURRENCY, amountHint, formatAmount, parseAmount } from '../../shared/ledger.js'
import type { StreamSettings } from '../../shared/stream.js'
import type { Wallet } from '../wallet.js'
import { Icon } from './icons.js'

const RATES = [1, 5, 20, 50] as const

export function Streams({ wallet }: { wallet: Wallet }): JSX.Element {
  const text = useSignal('0.01')
  const perSecond = useSignal(5)
  const amount = parseAmount(text.value)
  const settings = amount === undefined ? undefined : { amount, perSecond: perSecond.value }
  return (
    <section class="card streams" aria-labelledby="streams-title">
      <h2 id="streams-title">Stream small payments</h2>
      <div class="pair">
        <div class="field">
          <label for="stream-amount">Each, in {CURRENCY}</label>
          <input id="stream-amount" inputMode="decimal" autocomplete="off" value={text.value} aria-invalid={amount === undefined}
            aria-describedby="stream-help" onInput={event => { text.value = event.currentTarget.value }} />
          <p id="stream-help" class="help" aria-live="polite">{amount === undefined ? amountHint(text.value) : 'Two decimals at most'}</p>
        </div>
        <div class="field">
          <label for="stream-rate">How often</label>
          <select id="stream-rate" value={perSecond.value} onChange={event => { perSecond.value = Number(event.currentTarget.value) }}>
            {RATES.map(rate => <option key={rate} value={rate}>{rate} a second</option>)}
          </select>
        </div>
      </div>
      <div class="actions">
        <Toggle name="paying" direction="out" running={wallet.stream.value} settings={settings} isOff={!wallet.canPay.value && wallet.stream.value === null}
          onChange={chosen => { wallet.streamOut(chosen) }} />
        <Toggle name="being paid" direction="in" running={wallet.peer.value?.stream ?? null} settings={settings} isOff={!wallet.canPay.value && (wallet.peer.value?.stream ?? null) === null}
          isEnding={wallet.isEnding.value}
          onChange={chosen => { void wallet.streamIn(chosen) }} />
      </div>
    </section>
  )
}

interface ToggleProps {
  name: string
  direction: 'in' | 'out'
  running: StreamSettings | null
  /** What to start with; `undefined` while that makes no sense. */
  settings: StreamSettings | undefined
  isOff: boolean
  /** Whether it ends, but not yet. */
  isEnding?: boolean
  onChange: (settings: StreamSettings | null) => void
}

function Toggle({ name, direction, running, settings, isOff, isEnding = false, onChange }: ToggleProps): JSX.Element {
  return (
    <div class="stream" data-runs={running !== null}>
      <button type="button" disabled={isOff || (running === null && settings === undefined)} onClick={() => { onChange(running === null ? settings ?? null : null) }}>
        <Icon name={running === null ? direction : 'pause'} /> {running === null ? 'Start' : 'Stop'} {name}
      </button>
      <p class="help">{running === null ? 'Not running' : isEnding ? 'Ends when connected again' : `${formatAmount(running.amount)}, ${running.perSecond} a second`}</p>
    </div>
  )
}
