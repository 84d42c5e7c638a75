/**
 * Which of the instances over one store holds the connection, and who is next. Imports core.
 *
 * All of them queue for one hold. Those that wait challenge the one that has it: a tab that is closed frees its hold, but one that
 * hangs keeps it, and nothing else tells. Whoever is challenged answers where the message arrives, without a timer, since those of a
 * hidden tab may be held back for a minute. Whoever gets no answer steals the hold.
 */
import type { CancelTimer } from '../core/clock.js'
import type { Channel, HoldEvents, LetGo, Siblings } from '../core/siblings.js'
import { Deferred } from './deferred.js'
import { formatMessage, parseMessage } from './sibling-messages.js'
import type { Said, SiblingMessage } from './sibling-messages.js'
import type { Tenure, TenureOptions } from './tenure.js'

/** How long after an answer the holder is challenged again, and how long an answer is waited for. Together with the way to the peer: 2 s. */
const CHALLENGE_MS = 500
const ANSWER_MS = 750

/** Where an instance stands: not in line, waiting, waiting for a hold that it steals, or with the hold. */
type Place = 'out' | 'queued' | 'stealing' | 'held'

export interface SuccessionOptions extends TenureOptions {
  readonly siblings: Siblings
  /** What is shared. */
  readonly name: string
  /** Another one says that it holds, while this one does. */
  readonly onRival: () => void
  readonly onMessage: (message: SiblingMessage) => void
}

export class Succession implements Tenure {
  readonly #options: SuccessionOptions
  #channel: Channel | undefined
  #letGo: LetGo = () => undefined
  #place: Place = 'out'
  #cancelTimer: CancelTimer = () => undefined
  /** Settled when it is clear who holds. */
  #decided = new Deferred<void>()
  /** Whether anybody else was ever heard: else there is nobody to tell anything. */
  #hasSiblings = false

  constructor(options: SuccessionOptions) {
    this.#options = options
  }

  get isHeld(): boolean {
    return this.#place === 'held'
  }

  get hasSiblings(): boolean {
    return this.#hasSiblings
  }

  async join(): Promise<void> {
    const { siblings, name } = this.#options
    this.#decided = new Deferred()
    this.#channel = siblings.open(name, text => { this.#receive(text) })
    this.#queue()
    await this.#decided.promise
  }

  requeue(pauseMs: number): void {
    this.#stop()
    if (pauseMs === 0) this.#queue()
    else this.#cancelTimer = this.#options.clock.setTimer(pauseMs, () => { this.#queue() })
  }

  /** Nobody is heard or told anything any more. */
  leave(): void {
    this.#stop()
    this.#channel?.close()
    this.#channel = undefined
    this.#hasSiblings = false
    this.#decided.resolve()
  }

  announce(): void {
    this.post({ type: 'here', ...this.#options.state() })
  }

  post(said: Said): void {
    this.#channel?.post(formatMessage(this.#options.id, said))
  }

  #stop(): void {
    this.#cancelTimer()
    this.#letGo()
    this.#place = 'out'
  }

  #queue(): void {
    this.#place = 'queued'
    this.#ask()
    this.#challenge(false)
  }

  #ask(): void {
    const { siblings, name, onHeld, onLost } = this.#options
    const events: HoldEvents = {
      onGranted: () => {
        this.#cancelTimer()
        this.#place = 'held'
        this.#decided.resolve()
        onHeld()
      },
      onLost: () => {
        this.#place = 'out'
        onLost()
      }
    }
    this.#letGo = siblings.hold(name, events, { steal: this.#place === 'stealing' })
  }

  #challenge(isSecond: boolean): void {
    const { clock } = this.#options
    const dueAt = clock.now() + ANSWER_MS
    this.post({ type: 'challenge' })
    this.#cancelTimer = clock.setTimer(ANSWER_MS, () => {
      // A timer that comes late tells that this side has slept, or was held back: the answer may wait behind it.
      if (!isSecond && clock.now() - dueAt > ANSWER_MS / 2) this.#challenge(true)
      else this.#steal()
    })
  }

  /** Said beforehand, so that of several that wait not all do so. */
  #steal(): void {
    this.#options.log.info('taking over: the holder does not answer')
    this.#letGo()
    this.announce()
    this.#place = 'stealing'
    this.#ask()
  }

  #receive(text: string): void {
    const message = parseMessage(text)
    if (message === undefined) return
    this.#hasSiblings = true
    if (message.type === 'challenge') {
      if (this.isHeld) this.announce()
      return
    }
    if (message.type === 'here') this.#heard()
    this.#options.onMessage(message)
  }

  #heard(): void {
    if (this.isHeld) this.#options.onRival()
    if (this.#place !== 'queued') return
    this.#decided.resolve()
    this.#cancelTimer()
    this.#cancelTimer = this.#options.clock.setTimer(CHALLENGE_MS, () => { this.#challenge(false) })
  }
}
