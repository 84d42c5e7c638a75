/**
 * What the fuzzer knows of an attacked account's money: which transfers could be paid, which were, and what the books must say of them. Knows
 * them by their conditions, since packets of LPI v2 have no ids.
 */
import { Buffer } from 'node:buffer'

export class Model {
  /** What could be fulfilled by the account's host: how often it was sent, and with which amounts; whether it said so, and was told no. */
  #offers = new Map()
  /** What the account's host has sent, and was given the preimage of: whether it has taken it. */
  #paid = new Map()

  /** A sound transfer goes out, with a condition that the host can meet. Mangled ones have none of those. */
  offered(condition, amount) {
    const offer = this.#offerOf(condition)
    offer.sent++
    offer.amounts.add(String(amount))
  }

  /** The host has shown its preimage: from here on it counts, whatever becomes of the connection. */
  fulfilled(condition) {
    // A host that knows nothing of a packet may send it back as it is.
    if (this.#offers.has(condition.toString('base64url'))) this.#offerOf(condition).shown = true
  }

  /** The host may believe that it was too late. */
  doubted(condition) {
    this.#offerOf(condition).doubted = true
  }

  /** The preimage of one of the host's own goes to it; `taken` when it has said so. */
  paid(condition, taken) {
    const key = condition.toString('base64url')
    this.#paid.set(key, taken || this.#paid.get(key) === true)
  }

  /** How many of those in flight should come to an end when the account's requests are answered. */
  held(conditions) {
    return conditions.filter(condition => this.#offers.get(condition)?.doubted !== true).length
  }

  #offerOf(condition) {
    const key = condition.toString('base64url')
    if (!this.#offers.has(key)) this.#offers.set(key, { sent: 0, amounts: new Set(), shown: false, doubted: false })
    return this.#offers.get(key)
  }

  /** What in the books cannot be, in words. */
  audit({ balance, inFlight, rows }) {
    const complaints = []
    const count = new Map()
    let sum = 0n
    for (const { id, amount, condition, isIncoming, state } of rows) {
      if (state !== 'fulfilled') continue
      sum += isIncoming ? BigInt(amount) : -BigInt(amount)
      count.set(condition, (count.get(condition) ?? 0) + 1)
      const offer = this.#offers.get(condition)
      if (isIncoming && !offer?.amounts.has(amount)) complaints.push(`${id} of ${amount} is fulfilled, and was never offered`)
      if (!isIncoming && !this.#paid.has(condition)) complaints.push(`${id} of ${amount} is fulfilled, and nobody gave its preimage`)
    }
    if (sum !== BigInt(balance)) complaints.push(`the fulfilled transfers make ${sum}, the balance is ${balance}`)
    // An answer that decides nothing leaves a Fulfill in doubt, until the sender's balance tells: that may take minutes.
    const holds = this.held(inFlight)
    if (holds > 0) complaints.push(`${holds} holds are left`)
    for (const [condition, { sent, shown, doubted }] of this.#offers) {
      const times = count.get(condition) ?? 0
      if (times > sent) complaints.push(`${condition} was offered ${sent} times, and is fulfilled ${times} times`)
      if (shown && !doubted && times === 0) complaints.push(`the preimage of ${condition} was shown, and it does not count`)
    }
    for (const [condition, taken] of this.#paid) {
      if (taken && !count.has(condition)) complaints.push(`the preimage of ${condition} was taken, and it does not count`)
    }
    if (new Set(rows.map(({ id }) => id)).size !== rows.length) complaints.push('an id is there twice')
    return complaints
  }

  /** How many transfers could be paid, and how many were. */
  get figures() {
    const offers = [...this.#offers.values()]
    return { offered: offers.length, fulfilled: offers.filter(({ shown }) => shown).length, paid: [...this.#paid.values()].filter(Boolean).length }
  }
}

/** The transfer id in a Prepare is 16 bytes; the last of them decides whether the host answers. */
export const willBeAnswered = known => Buffer.from(known).at(-1) >> 4 !== 0
