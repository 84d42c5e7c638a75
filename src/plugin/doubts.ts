/**
 * Fulfills whose outcome the sender's answer does not tell. Imports core and ledger.
 *
 * An old peer answers a repeated Fulfill alike whether it booked or cancelled the transfer. Its balance tells: with the amount in it,
 * fulfilled; without, disputed. With several in doubt, those are taken as fulfilled whose amounts together make up the difference:
 * where more than one choice does, all of them leave the two balances equal. Since other transfers move the balance too, an answer
 * counts only when it is the same twice, with nothing changed here in between, and with no other Fulfill in the air.
 */
import { parseSum } from '../core/amounts.js'
import type { Amount } from '../core/amounts.js'
import { messageOf } from '../core/errors.js'
import type { PaychanError } from '../core/errors.js'
import type { Entry } from '../ledger/draft.js'
import type { Account } from './account.js'
import { Deferred } from './deferred.js'
import type { Transfer } from './lpi.js'

const FIRST_DELAY_MS = 1000
const LAST_DELAY_MS = 60_000
/** The search for amounts that make up a difference gives up after so many steps; all and nothing are always tried. */
const SEARCH_STEPS = 100_000
/** So often a balance may fit nothing, with nothing else moving, before what is in doubt is disputed: about five minutes. */
const UNEXPLAINED_LIMIT = 10

export type Verdict = 'fulfilled' | 'disputed'

interface Doubt {
  entry: Entry<Transfer>
  verdict: Deferred<Verdict | undefined>
}

export class Doubts {
  readonly #account: Account
  readonly #doubts = new Map<string, Doubt>()
  #asking = false
  #wake: (() => void) | undefined

  constructor(account: Account) {
    this.#account = account
  }

  /** Ends the asking; what is in doubt is told `undefined`. */
  stop(): void {
    for (const { verdict } of this.#doubts.values()) verdict.resolve(undefined)
    this.#doubts.clear()
    this.#wake?.()
  }

  /** Asks until the sender's balance decides. `undefined` when it was stopped first. */
  settle(entry: Entry<Transfer>, error: PaychanError): Promise<Verdict | undefined> {
    this.#account.log.warn(`the fulfill of ${entry.id} is in doubt (${error.name})`)
    const doubt: Doubt = { entry, verdict: new Deferred() }
    this.#doubts.set(entry.id, doubt)
    if (!this.#asking) void this.#ask()
    return doubt.verdict.promise
  }

  async #ask(): Promise<void> {
    this.#asking = true
    let before: string | undefined
    let unexplained = 0
    let delayMs = FIRST_DELAY_MS
    while (this.#doubts.size > 0) {
      const found = await this.#askOnce().catch((error: unknown) => {
        this.#account.log.debug(`the peer's balance cannot be had now: ${messageOf(error)}`)
        return 'moving' as const
      })
      if (found === 'unexplained' && ++unexplained >= UNEXPLAINED_LIMIT) {
        this.#account.log.error("the peer's balance fits no fulfill in doubt")
        this.#decide(new Set())
        break
      }
      const fulfilled = typeof found === 'string' ? undefined : found
      const answer = fulfilled === undefined ? undefined : JSON.stringify([[...this.#doubts.keys()], [...fulfilled]])
      if (fulfilled !== undefined && answer === before) {
        this.#decide(fulfilled)
        break
      }
      // The second question follows soon after a first one that would decide.
      delayMs = answer === undefined ? Math.min(delayMs * 2, LAST_DELAY_MS) : FIRST_DELAY_MS
      before = answer
      await this.#pause(delayMs)
    }
    this.#asking = false
    if (this.#doubts.size > 0) void this.#ask()
  }

  #decide(fulfilled: ReadonlySet<string>): void {
    for (const [id, { verdict }] of this.#doubts) verdict.resolve(fulfilled.has(id) ? 'fulfilled' : 'disputed')
    this.#doubts.clear()
  }

  /** The ids that the peer has booked. Its balance does not tell while others move it, nor where it fits no choice of them. */
  async #askOnce(): Promise<ReadonlySet<string> | 'moving' | 'unexplained'> {
    const { ledger, askPeerBalance } = this.#account
    const before = await ledger.sums()
    const theirs = parseSum(await askPeerBalance(), 'balance')
    const now = await ledger.sums()
    const moved = now.incomingFulfilled !== before.incomingFulfilled || now.outgoingFulfilled !== before.outgoingFulfilled
    if (moved || this.#othersInTheAir()) return 'moving'
    const doubtful = [...this.#doubts.values()].map(({ entry }) => entry)
    return makeUp(theirs - now.incomingFulfilled + now.outgoingFulfilled, doubtful) ?? 'unexplained'
  }

  #othersInTheAir(): boolean {
    return this.#account.ledger.open.some(({ stage, id }) => stage === 'fulfilling' && !this.#doubts.has(id))
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise(resolve => {
      const cancel = this.#account.clock.setTimer(delayMs, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
  }
}

/** The ids of entries whose amounts add up to `difference`; `undefined` where there are none, or none were found in time. */
function makeUp(difference: Amount, entries: ReadonlyArray<Entry<Transfer>>): ReadonlySet<string> | undefined {
  if (difference === 0n) return new Set()
  const sorted = [...entries].sort((a, b) => b.amount > a.amount ? 1 : b.amount < a.amount ? -1 : 0)
  /** What each comes to with all behind it. */
  const rests = sorted.map(({ amount }) => amount)
  for (let at = rests.length - 2; at >= 0; at--) rests[at] = (rests[at] ?? 0n) + (rests[at + 1] ?? 0n)
  /** The places of those that are chosen. */
  const chosen: number[] = []
  let [at, missing] = [0, difference]
  for (let steps = SEARCH_STEPS + sorted.length; steps > 0; steps--) {
    if (missing === 0n) return new Set(chosen.map(place => sorted[place]?.id ?? ''))
    const entry = sorted[at]
    if (entry !== undefined && missing > 0n && missing <= (rests[at] ?? 0n)) {
      chosen.push(at++)
      missing -= entry.amount
      continue
    }
    // Not so: without the one that was chosen last.
    const left = chosen.pop()
    if (left === undefined) return undefined
    missing += sorted[left]?.amount ?? 0n
    at = left + 1
  }
  return undefined
}
