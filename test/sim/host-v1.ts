/** A host of LPI v1: prepares, fulfills, rejects, forgets; and tells the auditor what it is told. */
import { createHash } from 'node:crypto'
import type { PluginEvents } from '../../src/plugin/account.js'
import type { Transfer } from '../../src/plugin/lpi.js'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import type { Payment } from './auditor.js'
import { isHeld } from './books.js'
import type { Life } from './life.js'
import type { Host } from './peer.js'
import type { Shared } from './side.js'
import type { SideName, World } from './world.js'

/** The longest time that a payment may be in flight. */
const LONGEST_MS = 4000

/** What each event tells of a payment. */
const MEANING = {
  outgoing_prepare: 'prepared',
  outgoing_fulfill: 'fulfilled',
  outgoing_reject: 'cancelled',
  outgoing_cancel: 'cancelled',
  incoming_prepare: 'prepared',
  incoming_fulfill: 'fulfilled',
  incoming_reject: 'cancelled',
  incoming_cancel: 'cancelled'
} as const satisfies Partial<Record<keyof PluginEvents, string>>

/** What a host may hear once only, whatever happens. */
const ONCE = new Set<string>(['incoming_prepare', 'incoming_fulfill'])

/** How long a payment may be in flight: often so short that its end and its expiry meet. */
export function lifetime({ choice }: World): number {
  return 100 + choice.upTo(choice.chance(0.3) ? 600 : LONGEST_MS - 100)
}

/** Both sides' payments are numbered in one row. */
export function newPayment({ world, auditor }: Shared, from: SideName, amount: number, expiresInMs: number): Payment {
  const number = auditor.payments.size + 1
  const preimage = createHash('sha256').update(`${world.seed} ${number}`).digest()
  const payment: Payment = {
    number,
    from,
    amount,
    condition: createHash('sha256').update(preimage).digest('base64url'),
    fulfillment: preimage.toString('base64url'),
    expiresAt: world.clock.now() + expiresInMs
  }
  auditor.payments.set(payment.condition, payment)
  return payment
}

interface Failure {
  readonly name?: string
  readonly outcome?: string
  readonly message?: string
}

export class HostV1 implements Host {
  readonly #side: SideName
  readonly #shared: Shared

  constructor(side: SideName, shared: Shared) {
    this.#side = side
    this.#shared = shared
  }

  meet(plugin: LedgerPlugin, life: Life): void {
    const { auditor } = this.#shared
    for (const [event, word] of Object.entries(MEANING)) {
      plugin.on(event as keyof typeof MEANING, (transfer: Transfer) => {
        if (!life.survives(`before ${event}`)) return
        const condition = transfer.executionCondition
        auditor.told(this.#side, condition, word, event)
        if (ONCE.has(event)) auditor.toldOnce(this.#side, condition, event)
        if (life.survives(`after ${event}`) && event === 'incoming_prepare') this.#decide(plugin, life, transfer)
      })
    }
    plugin.on('dispute', dispute => {
      if (!life.survives('before dispute')) return
      if (dispute.id === undefined) auditor.toldOfDifference(this.#side, dispute)
      else auditor.told(this.#side, dispute.executionCondition, 'disputed', 'dispute')
    })
  }

  connected(plugin: LedgerPlugin, life: Life): void {
    // What was reported to a life before is found here.
    for (const { transfer, isIncoming } of plugin.inFlight()) if (isIncoming) this.#decide(plugin, life, transfer)
  }

  send(plugin: LedgerPlugin, life: Life, amount = this.#shared.world.choice.upTo(60), expiresInMs?: number): Payment {
    const { world, auditor } = this.#shared
    const payment = newPayment(this.#shared, this.#side, amount, expiresInMs ?? lifetime(world))
    world.note(this.#side, () => `host sends payment ${payment.number} of ${amount}`)
    plugin.sendTransfer({
      id: `00000000-0000-4000-8000-${payment.number.toString(16).padStart(12, '0')}`,
      amount: String(amount),
      to: plugin.getPeerAccount(),
      executionCondition: payment.condition,
      expiresAt: new Date(payment.expiresAt).toISOString()
    }).then(() => {
      if (life.isAlive) auditor.told(this.#side, payment.condition, 'prepared', 'sendTransfer')
    }, (thrown: unknown) => {
      const error = thrown as Failure
      if (!life.isAlive) return
      if (error.outcome === 'unknown') world.note(this.#side, () => `host does not know of payment ${payment.number}: ${error.message ?? ''}`)
      else auditor.told(this.#side, payment.condition, 'cancelled', `sendTransfer: ${error.message ?? ''}`)
    })
    return payment
  }

  /** What to do about an incoming payment: now, later, or never. */
  #decide(plugin: LedgerPlugin, life: Life, { id, executionCondition: condition }: Transfer): void {
    const { world, auditor } = this.#shared
    const { chance, upTo, pick } = world.choice
    const what = world.isFaulty ? pick(['fulfill', 'fulfill', 'fulfill', 'reject', 'nothing'] as const) : 'fulfill'
    const delayMs = chance(0.6) || !world.isFaulty ? 0 : upTo(2500)
    if (what === 'nothing') return
    const act = (): void => {
      if (!life.isAlive) return
      const call = what === 'fulfill' ? plugin.fulfillCondition(id, auditor.payments.get(condition)?.fulfillment ?? '') : plugin.rejectIncomingTransfer(id)
      call.then(() => {
        if (life.isAlive) auditor.told(this.#side, condition, what === 'fulfill' ? 'fulfilled' : 'cancelled', what)
      }, (thrown: unknown) => {
        const error = thrown as Failure
        // One that came within the margin before its expiry is refused while the hold still stands: then its end is yet to come.
        const isHere = life.isAlive && error.name === 'AlreadyRolledBackError' && !isHeld(auditor.knownTo(this.#side).of(condition))
        if (isHere) auditor.told(this.#side, condition, 'cancelled', what)
      })
    }
    if (delayMs === 0) act()
    else world.clock.setTimer(delayMs, act)
  }
}
