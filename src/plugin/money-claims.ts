/**
 * How a payment channel module proves settlements under a host of LPI v2: each goes with a claim for all that was ever settled. Imports
 * core, btp and the module contract.
 */
import { formatAmount, parseSum } from '../core/amounts.js'
import type { Amount } from '../core/amounts.js'
import { NotAcceptedError } from '../core/errors.js'
import { waitAtMost } from '../core/timers.js'
import { Turns } from '../core/turns.js'
import type { SubProtocol } from '../btp/packets.js'
import { find } from '../btp/protocol-data.js'
import { CLAIM, IncomingClaims } from './incoming-claims.js'
import type { IncomingClaimsOptions } from './incoming-claims.js'
import type { ModuleRunner } from './module.js'
import { IDLE_LIMIT_MS, claimText } from './settlement.js'

export type MoneyClaimsOptions = Omit<IncomingClaimsOptions, 'module' | 'peerRepeats'> & {
  module: Pick<ModuleRunner, 'createOutgoingClaim' | 'handleIncomingClaim'>
}

export class MoneyClaims {
  readonly #options: MoneyClaimsOptions
  readonly #incoming: IncomingClaims
  readonly #turns = new Turns()

  constructor(options: MoneyClaimsOptions) {
    this.#options = options
    // Each comes in a Transfer, which the peer sends again until it is answered.
    this.#incoming = new IncomingClaims({ ...options, peerRepeats: () => true })
  }

  start(): void {
    this.#incoming.start()
  }

  /** Takes none any more. What the module is doing goes on: `idle` waits for it. */
  stop(): void {
    this.#incoming.stop()
  }

  /** Resolves when the module has ended what it was called for; after 5 s also if it has not. */
  async idle(): Promise<void> {
    await waitAtMost(this.#options.clock, IDLE_LIMIT_MS, Promise.all([this.#turns.idle(), this.#incoming.idle()]))
  }

  /**
   * Has the module make a claim for a sum: its JSON, to be stored and sent as it is.
   * @throws what the module throws; NotAcceptedError when it makes none; InvalidFieldsError when that is too large
   */
  async make(sum: Amount): Promise<string> {
    // One call at a time, also where the one before lasts longer than the life that it was made in.
    const made = await this.#turns.take(() => this.#options.module.createOutgoingClaim(formatAmount(sum)))
    if (made === undefined || made === null) throw new NotAcceptedError('the module has made no claim')
    return claimText(made)
  }

  /**
   * The sum that the claim beside a settlement secures.
   * @throws NotAcceptedError when there is none, or the module does not tell; what the module throws; UnreachableError when too many wait
   */
  async check(protocolData: readonly SubProtocol[]): Promise<Amount> {
    const sub = find(protocolData, CLAIM)
    if (sub === undefined) throw new NotAcceptedError('a settlement needs a claim that proves it')
    const secured = await this.#incoming.receive(sub)
    if (typeof secured !== 'string') throw new NotAcceptedError('the module does not tell what the claim secures')
    return parseSum(secured, 'what the claim secures')
  }
}
