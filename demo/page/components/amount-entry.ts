/** An amount that somebody types in to pay it. */
import { useSignal } from '@preact/signals'
import type { Signal } from '@preact/signals'
import { amountHint, parseAmount } from '../../shared/ledger.js'

export interface AmountEntry {
  readonly text: Signal<string>
  /** What is wrong with the amount that was to be paid; empty for nothing. */
  readonly hint: Signal<string>
  /** What is wrong is told when somebody pays, not while they type; but then it goes as soon as it is mended. */
  readonly type: (typed: string) => void
  /** The amount, in base units. Where there is none, that is told, and the form's first field is there to mend it. */
  readonly take: (form: HTMLFormElement) => string | undefined
}

export function useAmountEntry(initial: string): AmountEntry {
  const text = useSignal(initial)
  const hint = useSignal('')
  const hintFor = (typed: string): string => parseAmount(typed) === undefined ? amountHint(typed) : ''
  return {
    text,
    hint,
    type: typed => {
      text.value = typed
      if (hint.value !== '') hint.value = hintFor(typed)
    },
    take: form => {
      hint.value = hintFor(text.value)
      const amount = parseAmount(text.value)
      if (amount === undefined) form.querySelector('input')?.focus()
      return amount
    }
  }
}
