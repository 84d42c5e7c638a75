/**
 * A steady stream of small payments. It waits while there is no connection, and ends when a payment is refused.
 */

export interface StreamSettings {
  /** Of each payment, in base units. */
  readonly amount: string
  readonly perSecond: number
}

/** The shortest time between two looks at what is due, in milliseconds. */
const TICK_MS = 50
/** No more than this many payments are begun and not ended: a peer that is slow gets a slower stream. */
const MOST_AT_ONCE = 100

export interface StreamOptions {
  /** Makes one payment; resolves once it is held. */
  pay(amount: string): Promise<unknown>
  /** Whether payments can be made now. */
  isOpen(): boolean
  /** It began, ended or was changed; `refused` says why where it ended by itself. */
  onChange(refused?: string): void
}

export class PaymentStream {
  readonly #options: StreamOptions
  #settings: StreamSettings | null = null
  #refused: string | null = null
  #timer: ReturnType<typeof setInterval> | undefined
  #begun = 0
  /** How many payments of the time that has passed are still to be begun. */
  #due = 0
  #lastTick = 0

  constructor(options: StreamOptions) {
    this.#options = options
  }

  /** What runs now. */
  get settings(): StreamSettings | null {
    return this.#settings
  }

  /** Why the last one ended by itself; `null` when it did not. */
  get refused(): string | null {
    return this.#refused
  }

  start(settings: StreamSettings): void {
    this.#clear()
    this.#refused = null
    this.#settings = settings
    this.#lastTick = Date.now()
    // The first payment is due at once.
    this.#due = 1
    this.#timer = setInterval(() => { this.#tick() }, Math.max(TICK_MS, 1000 / settings.perSecond))
    this.#options.onChange()
    this.#tick()
  }

  stop(refused?: string): void {
    if (this.#settings === null) return
    this.#clear()
    this.#refused = refused ?? null
    this.#options.onChange(refused)
  }

  #clear(): void {
    clearInterval(this.#timer)
    this.#settings = null
  }

  #tick(): void {
    const settings = this.#settings
    if (settings === null) return
    const now = Date.now()
    // What could not be paid within a second is not caught up with: after a lost connection there is no burst.
    this.#due = Math.min(this.#due + (now - this.#lastTick) / 1000 * settings.perSecond, Math.max(1, settings.perSecond))
    this.#lastTick = now
    while (this.#due >= 1 && this.#begun < MOST_AT_ONCE && this.#options.isOpen()) {
      this.#due--
      void this.#pay(settings)
    }
  }

  async #pay(settings: StreamSettings): Promise<void> {
    this.#begun++
    try {
      await this.#options.pay(settings.amount)
    } catch (error) {
      const isGone = !this.#options.isOpen() || (error instanceof Error && error.name === 'UnreachableError')
      // Of those that fail together the first one tells.
      if (!isGone && this.#settings === settings) this.stop(error instanceof Error ? error.message : String(error))
    }
    this.#begun--
  }
}
