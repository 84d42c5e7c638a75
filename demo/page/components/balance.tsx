/**
 * The balance: now, over time, and as the other side has it.
 */
import type { JSX } from 'preact'
import { useSignal } from '@preact/signals'
import { CURRENCY, formatAmount } from '../../shared/ledger.js'
import type { Agreement, Wallet } from '../wallet.js'
import { Amount } from './amount.js'
import { Chart } from './chart.js'
import { Icon } from './icons.js'
import type { IconName } from './icons.js'

const RANGES = [
  { name: '1 min', inWords: 'the last minute', ms: 60_000 },
  { name: '15 min', inWords: 'the last 15 minutes', ms: 900_000 },
  { name: 'All', inWords: 'all the time of this wallet', ms: Infinity }
] as const

export function Balance({ wallet }: { wallet: Wallet }): JSX.Element {
  const range = useSignal<(typeof RANGES)[number]>(RANGES[0])
  const balance = wallet.balance.value
  return (
    <section class="card balance" aria-labelledby="balance-title">
      <div class="title">
        <h2 id="balance-title">Balance</h2>
        <fieldset class="segments small">
          <legend class="visually-hidden">Time that the chart shows</legend>
          {RANGES.map(one => (
            <label key={one.name}>
              <input type="radio" name="range" checked={range.value === one} onChange={() => { range.value = one }} />
              <span>{one.name}</span>
            </label>
          ))}
        </fieldset>
      </div>
      <p class="figure"><span id="balance">{balance === undefined ? '\u2013' : formatAmount(balance)}</span> <abbr title="The currency code for tests">{CURRENCY}</abbr></p>
      <p class="quiet">{balance === undefined ? 'Waiting for the ledger' : inWords(balance)}</p>
      <Chart wallet={wallet} rangeMs={range.value.ms} inWords={range.value.inWords} />
      <Sides wallet={wallet} />
    </section>
  )
}

function inWords(balance: string): string {
  const units = BigInt(balance)
  if (units === 0n) return 'Nobody owes anybody anything'
  return units < 0n ? `You owe the peer ${formatAmount(-units)}` : `The peer owes you ${formatAmount(units)}`
}

const AGREEMENTS: Readonly<Record<Agreement, { icon: IconName; text: string }>> = {
  unknown: { icon: 'waiting', text: 'The peer cannot be asked' },
  moving: { icon: 'waiting', text: 'Payments are under way' },
  agree: { icon: 'check', text: 'Both sides agree' },
  differ: { icon: 'cross', text: 'The two sides differ' }
}

/** Both sides' books beside each other. */
function Sides({ wallet }: { wallet: Wallet }): JSX.Element {
  const [own, peer] = [wallet.balance.value, wallet.peer.value]
  const agreement = wallet.canPay.value ? wallet.agreement.value : 'unknown'
  const { icon, text } = AGREEMENTS[agreement]
  return (
    <div class="sides">
      <dl>
        <div><dt>This wallet's books</dt><dd id="own-books">{own === undefined ? '\u2013' : <Amount units={own} isSigned />}</dd></div>
        <div><dt>{agreement === 'unknown' && peer !== undefined ? 'Peer\'s, last known' : 'The peer\'s books'}</dt><dd id="peer-books">{peer === undefined ? '\u2013' : <Amount units={peer.balance} isSigned />}</dd></div>
      </dl>
      <p class="agreement" id="agreement" data-agreement={agreement}><Icon name={icon} /> {text}</p>
    </div>
  )
}
