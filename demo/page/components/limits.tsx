/**
 * The limits as a gauge: where the balance stands between the least and the most that it may be, and what holds reserve of it.
 */
import type { JSX } from 'preact'
import { formatAmount } from '../../shared/ledger.js'
import type { Wallet } from '../wallet.js'
import { Amount } from './amount.js'

export function Limits({ wallet }: { wallet: Wallet }): JSX.Element {
  const { lowest, highest } = wallet.limits.value
  const balance = Number(wallet.balance.value ?? '0')
  const [low, high] = [Number(lowest), Number(highest)]
  const held = (isIncoming: boolean): number => wallet.flights.value
    .filter(flight => flight.isIncoming === isIncoming)
    .reduce((sum, { amount }) => sum + Number(amount), 0)
  const [outgoing, incoming] = [held(false), held(true)]
  const percent = (units: number): string => `${Math.min(100, Math.max(0, (units - low) / (high - low) * 100))}%`
  const bar = (from: number, to: number): Record<'left' | 'right', string> => ({ left: percent(from), right: `calc(100% - ${percent(to)})` })
  return (
    <section class="card limits" aria-labelledby="limits-title">
      <h2 id="limits-title">Limits</h2>
      <div class="gauge" role="meter" aria-labelledby="limits-title" aria-valuemin={low / 100} aria-valuemax={high / 100} aria-valuenow={balance / 100}
        aria-valuetext={`${formatAmount(BigInt(balance))}, between ${formatAmount(lowest)} and ${formatAmount(highest)}`}>
        <span class="fill" style={bar(Math.min(0, balance), Math.max(0, balance))} />
        <span class="hold" style={bar(balance - outgoing, balance)} />
        <span class="hold" style={bar(balance, balance + incoming)} />
        <span class="zero" style={{ left: percent(0) }} />
        <span class="needle" style={{ left: percent(balance) }} />
      </div>
      <p class="scale"><span>{formatAmount(lowest)}</span><span>0</span><span>{formatAmount(highest)}</span></p>
      <dl class="facts">
        <div><dt>You can still pay</dt><dd><Amount units={String(balance - outgoing - low)} /></dd></div>
        <div><dt>You can still be paid</dt><dd><Amount units={String(high - balance - incoming)} /></dd></div>
        <div><dt>Held for payments in flight</dt><dd><Amount units={String(outgoing + incoming)} /></dd></div>
      </dl>
    </section>
  )
}
