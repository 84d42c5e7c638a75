/**
 * The peer's claims: read, and handed to the module one at a time in the order of arrival. Imports core, btp and the module contract.
 */
import { find, readJson, readText } from '../btp/protocol-data.js'
import type { JsonValue } from '../btp/protocol-data.js'
import { ContentType } from '../btp/packets.js'
import type { SubProtocol } from '../btp/packets.js'
import { printableMessage } from '../core/bytes.js'
import type { CancelTimer, Clock } from '../core/clock.js'
import { InvalidFieldsError, UnreachableError, isTemporary } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import { randomFraction } from '../core/random.js'
import type { Random } from '../core/random.js'
import { waitAtMost } from '../core/timers.js'
import { Turns } from '../core/turns.js'
import { CALLBACK_LIMIT_MS } from './module.js'
import type { ModuleRunner } from './module.js'

/** The sub-protocol that claims travel under (C39). */
export const CLAIM = 'claim'

/** Temporary errors are retried after 1 to 60 s, longer each time (RFC 23, C24). */
const RETRY_MIN_MS = 1000
const RETRY_MAX_MS = 60_000
/** The most claims that may wait for the module. Over it the peer is told to try again later. */
const WAITING_LIMIT = 1000
/** How often a claim that an old peer cannot send again is handed to a module that cannot take it yet: for a quarter of an hour. */
const HAND_OVER_ATTEMPTS = 20
/** The most claims that may wait for that at a time. */
const POSTPONED_LIMIT = 100

export interface IncomingClaimsOptions {
  clock: Clock
  random: Random
  log: Logger
  module: Pick<ModuleRunner, 'handleIncomingClaim'>
  /** Whether the current session's peer is one of ours, which sends a claim again by itself. */
  peerRepeats(): boolean
}

export class IncomingClaims {
  readonly #options: IncomingClaimsOptions
  #active = false
  readonly #turns = new Turns()
  #waiting = 0
  /** What was last reported about claims that were not taken. */
  #complaint = ''
  readonly #postponed = new Set<CancelTimer>()

  constructor(options: IncomingClaimsOptions) {
    this.#options = options
  }

  start(): void {
    this.#active = true
  }

  /** Takes none any more. What the module is doing goes on: `idle` waits for it. */
  stop(): void {
    this.#active = false
    for (const cancel of this.#postponed) cancel()
    this.#postponed.clear()
  }

  idle(): Promise<void> {
    return this.#turns.idle()
  }

  /** See `Settlement.receive`. Resolves with what the module makes of it. */
  async receive(sub: SubProtocol): Promise<unknown> {
    const claim = readClaim(sub)
    // An old peer whose module returns null has no claim to make.
    if (claim === null) return undefined
    if (!this.#active || this.#waiting >= WAITING_LIMIT) throw new UnreachableError('no claim can be taken now: send it again later')
    this.#waiting++
    return this.#turns.take(() => this.#options.module.handleIncomingClaim(claim)).finally(() => { this.#waiting-- })
  }

  /** See `Settlement.receiveOnResponse`. */
  async receiveOnResponse(protocolData: readonly SubProtocol[]): Promise<void> {
    const sub = find(protocolData, CLAIM)
    if (sub === undefined) return
    await waitAtMost(this.#options.clock, CALLBACK_LIMIT_MS, this.#handOver(sub, 0))
  }

  async #handOver(sub: SubProtocol, attempt: number): Promise<void> {
    try {
      await this.receive(sub)
      this.#complaint = ''
    } catch (error) {
      this.#complain(`a claim of the peer was not taken: ${printableMessage(error)}`)
      if (isTemporary(error) && !this.#options.peerRepeats() && attempt < HAND_OVER_ATTEMPTS) this.#postpone(sub, attempt)
    }
  }

  /** Once for each trouble: claims come with every Response. */
  #complain(complaint: string): void {
    if (complaint !== this.#complaint) this.#options.log.warn(complaint)
    this.#complaint = complaint
  }

  #postpone(sub: SubProtocol, attempt: number): void {
    if (!this.#active || this.#postponed.size >= POSTPONED_LIMIT) return
    const cancel = this.#options.clock.setTimer(claimRetryDelay(this.#options.random, attempt), () => {
      this.#postponed.delete(cancel)
      void this.#handOver(sub, attempt + 1)
    })
    this.#postponed.add(cancel)
  }
}

/** How long to wait before a claim is tried again, in milliseconds: doubled with each failure, with jitter. */
export function claimRetryDelay(random: Random, failures: number): number {
  const base = Math.min(RETRY_MIN_MS * 2 ** failures, RETRY_MAX_MS)
  return Math.min(base * (1 + randomFraction(random) / 2), RETRY_MAX_MS)
}

/** The old package sends a claim that is a string as text. */
export function readClaim(sub: SubProtocol): JsonValue {
  if (sub.contentType === ContentType.json) return readJson(sub)
  if (sub.contentType === ContentType.text) return readText(sub)
  throw new InvalidFieldsError('claim must be JSON')
}
