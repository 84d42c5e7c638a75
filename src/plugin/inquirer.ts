/**
 * Asks a peer of ours what became of packets whose answers were lost: on each new session all of them, later on those that it still
 * holds. Imports core and btp.
 */
import { printableMessage } from '../core/bytes.js'
import type { CancelTimer, Clock } from '../core/clock.js'
import { isTemporary } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import { IDS_IN_A_QUESTION, askMessage, readFates } from '../btp/inquiry.js'
import type { Fates } from '../btp/inquiry.js'
import type { Session } from '../btp/session.js'

const FIRST_DELAY_MS = 1000
const LAST_DELAY_MS = 60_000

export interface InquirerOptions {
  readonly clock: Clock
  readonly log: Logger
  readonly session: () => Session | undefined
  /** Whether packets may have been sent in a life before. */
  readonly hasBegun: boolean
  /** The packets whose end is not known, but for those whose answer may still come on this session. */
  unresolved(session: Session): string[]
  learn(fates: Fates): void
}

export class Inquirer {
  readonly #options: InquirerOptions
  /** Whether anything was ever sent that a peer could be asked about: who sends no packets asks nothing. */
  #hasBegun: boolean
  /** The session on which all was asked: so the peer knows of what it is not asked that this side is in no doubt. */
  #asked: Session | undefined
  #isAsking = false
  #delayMs = FIRST_DELAY_MS
  #cancelTimer: CancelTimer | undefined

  constructor(options: InquirerOptions) {
    this.#options = options
    this.#hasBegun = options.hasBegun
  }

  /** A packet is about to be sent. */
  begin(): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    // Whatever a life before this one has sent is among what is unresolved, or settled.
    this.#asked = this.#options.session()
  }

  sessionUp(): void {
    this.#delayMs = FIRST_DELAY_MS
    void this.#ask()
  }

  /** The answer to a packet was lost: the peer is asked, unless it will be at the next session anyway. */
  wake(): void {
    if (this.#cancelTimer === undefined) this.#askIn(0)
  }

  stop(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #askIn(delayMs: number): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#options.clock.setTimer(delayMs, () => {
      this.#cancelTimer = undefined
      void this.#ask()
    })
  }

  async #ask(): Promise<void> {
    const session = this.#options.session()
    if (this.#isAsking || session?.peer.announced !== true) return
    const ids = this.#options.unresolved(session)
    this.#hasBegun ||= ids.length > 0
    if (!this.#hasBegun || (ids.length === 0 && this.#asked === session)) return
    this.#isAsking = true
    await this.#askAll(session, ids)
    this.#isAsking = false
    this.#goOn(session)
  }

  /** A question that is refused keeps back none of the others; but none of them is the last then, since this was not all. */
  async #askAll(session: Session, ids: readonly string[]): Promise<void> {
    let isAll = true
    for (let from = 0; from === 0 || from < ids.length; from += IDS_IN_A_QUESTION) {
      const isLast = isAll && from + IDS_IN_A_QUESTION >= ids.length
      const question = askMessage(ids.slice(from, from + IDS_IN_A_QUESTION), isLast)
      try {
        const { protocolData } = await session.request({ type: 'message', protocolData: [question] })
        this.#options.learn(readFates(protocolData))
      } catch (error) {
        this.#options.log.debug(`asking failed: ${printableMessage(error)}`)
        if (isTemporary(error)) return
        isAll = false
      }
    }
    if (isAll) this.#asked = session
  }

  /** Later on about what is left; at once where another session has come meanwhile. */
  #goOn(before: Session): void {
    const session = this.#options.session()
    if (session === undefined) return
    if (session !== before) {
      void this.#ask()
      return
    }
    if (this.#asked === session && this.#options.unresolved(session).length === 0) return
    this.#askIn(this.#delayMs)
    this.#delayMs = Math.min(this.#delayMs * 2, LAST_DELAY_MS)
  }
}
