/**
 * The balance over time: what the ledger's history tells of before, and a sample for each change since.
 */
import type { HistoryEntry, LedgerPlugin } from 'ilp-plugin-paychan'

/** In milliseconds since 1970, and base units. */
export interface Sample {
  readonly at: number
  readonly balance: number
}

/** How many samples are kept; of more, the older half is thinned out. */
const MOST_SAMPLES = 4000
const MOST_ENTRIES = 1000

export class Timeline {
  #samples: Sample[] = []

  get samples(): readonly Sample[] {
    return this.#samples
  }

  add(sample: Sample): void {
    if (this.#samples.at(-1)?.balance === sample.balance) return
    this.#samples.push(sample)
    if (this.#samples.length <= MOST_SAMPLES) return
    const half = MOST_SAMPLES / 2
    this.#samples = [...this.#samples.slice(0, half).filter((_, index) => index % 2 === 0), ...this.#samples.slice(half)]
  }

  /**
   * Puts before all samples how the balance came to be what it is now. The ledger's sums are exact; of each transfer the history
   * knows when it was prepared, which is a moment before it counted.
   */
  async recall(plugin: LedgerPlugin, balance: string): Promise<void> {
    const entries = await plugin.history({ limit: MOST_ENTRIES })
    this.#samples = [...before(entries, Number(balance)), ...this.#samples]
  }
}

function before(entries: readonly HistoryEntry[], balance: number): Sample[] {
  const samples: Sample[] = []
  let then = balance
  for (const { transfer, isIncoming, state, preparedAt } of entries) {
    if (state !== 'fulfilled') continue
    samples.push({ at: preparedAt, balance: then })
    then -= isIncoming ? Number(transfer.amount) : -Number(transfer.amount)
  }
  const oldest = samples.at(-1)
  if (oldest !== undefined) samples.push({ at: oldest.at - 1, balance: then })
  return samples.reverse()
}
