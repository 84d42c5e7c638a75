/**
 * Hears what the peers of a kill test tell, and keeps it for the auditor.
 */
import type { Acknowledgement } from './audit.js'

/** What a peer tells: what it was told of a transfer, or what must not be. */
export type Testimony = { acknowledged: Acknowledgement; id: string } | { trouble: string }

const SILENCE_MS = 20_000

export class Witness {
  /** What was told of each transfer. */
  readonly acknowledged = new Map<string, Set<Acknowledgement>>()
  readonly troubles: string[] = []
  #count = 0
  #wake: (() => void) | undefined

  /** Takes what a peer tells; what it only answers to the test is passed over. */
  hear(told: Testimony | object): void {
    if ('trouble' in told) this.troubles.push(told.trouble)
    if (!('acknowledged' in told)) return
    const known = this.acknowledged.get(told.id)
    if (known === undefined) this.acknowledged.set(told.id, new Set([told.acknowledged]))
    else known.add(told.acknowledged)
    this.#count++
    this.#wake?.()
  }

  /** Until so many more were told of. Rejects, with what troubles there are, when nothing is told for long. */
  async untilTold(more: number): Promise<void> {
    const target = this.#count + more
    while (this.#count < target) {
      await new Promise<void>((resolve, reject) => {
        const silence = setTimeout(() => { reject(new RangeError(`nothing happens any more: ${this.troubles.join('; ')}`)) }, SILENCE_MS)
        this.#wake = () => {
          clearTimeout(silence)
          resolve()
        }
      })
    }
  }

  /** How many transfers have been told to end so. */
  count(end: Acknowledgement): number {
    return [...this.acknowledged.values()].filter(told => told.has(end)).length
  }
}
