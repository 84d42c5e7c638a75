/**
 * Amounts of money, all of them alike.
 */
import type { JSX } from 'preact'
import { CURRENCY, formatAmount } from '../../shared/ledger.js'

/** An amount of base units, with the currency behind it in small type. */
export function Amount({ units, isSigned = false }: { units: string; isSigned?: boolean }): JSX.Element {
  return (
    <span class="amount">
      {isSigned && BigInt(units) > 0n ? '+' : ''}{formatAmount(units)} <abbr title="The currency code for tests">{CURRENCY}</abbr>
    </span>
  )
}
