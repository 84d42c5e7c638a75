/**
 * The documented backend: where a module gets its own logs and trackers from. Imports core.
 */
import { parseLimit } from '../core/amounts.js'
import type { Clock } from '../core/clock.js'
import { InvalidFieldsError } from '../core/errors.js'
import type { Committer } from './committer.js'
import { Ledger } from './ledger.js'
import { MaxValueTracker } from './max-value-tracker.js'
import type { LoggedTransfer } from './records.js'
import { TransferLog } from './transfer-log.js'

const KEY = /^[A-Za-z0-9_-]{1,200}$/

/** Which log is asked for, and between which limits it keeps its balance. */
export interface TransferLogOptions {
  /** The log's name: 1 to 200 characters of the base64url set. */
  key: string
  /** The highest balance, an integer string; default 'Infinity'. What `setMaximum` stored wins. */
  maximum?: string
  /** The lowest balance, an integer string; default '-Infinity'. What `setMinimum` stored wins. */
  minimum?: string
}

/** Which tracker is asked for. */
export interface MaxValueTrackerOptions {
  /** The tracker's name: 1 to 200 characters of the base64url set. */
  key: string
}

/** Makes transfer logs and trackers in the plugin's store. The same name gives the same object. */
export class Backend {
  readonly #committer: Committer
  readonly #clock: Clock
  readonly #logs = new Map<string, TransferLog>()
  readonly #trackers = new Map<string, MaxValueTracker>()

  /** @internal made by the plugin */
  constructor(committer: Committer, clock: Clock) {
    this.#committer = committer
    this.#clock = clock
  }

  /**
   * The transfer log of that name: a ledger of the module's own, apart from the plugin's. Limits count where it is asked for first.
   * @throws InvalidFieldsError naming `key`, `maximum` or `minimum`
   */
  getTransferLog<T extends LoggedTransfer = LoggedTransfer>(options: TransferLogOptions | string): TransferLog<T> {
    const key = keyOf(options)
    let log = this.#logs.get(key)
    if (log === undefined) {
      const { maximum, minimum } = typeof options === 'string' ? {} as Partial<TransferLogOptions> : options
      const ledger = new Ledger(this.#committer, key, {
        maximum: parseLimit(maximum ?? 'Infinity', 'maximum'),
        minimum: parseLimit(minimum ?? '-Infinity', 'minimum')
      })
      log = new TransferLog(ledger, () => this.#clock.now())
      this.#logs.set(key, log)
    }
    return log as unknown as TransferLog<T>
  }

  /**
   * The max value tracker of that name.
   * @throws InvalidFieldsError naming `key`
   */
  getMaxValueTracker<D = unknown>(options: MaxValueTrackerOptions | string): MaxValueTracker<D> {
    const key = keyOf(options)
    let tracker = this.#trackers.get(key)
    if (tracker === undefined) {
      tracker = new MaxValueTracker(this.#committer, key)
      this.#trackers.set(key, tracker)
    }
    return tracker as MaxValueTracker<D>
  }
}

/** The empty name is the plugin's own ledger, which no module may take by accident (H10). */
function keyOf(options: unknown): string {
  const key = typeof options === 'string' ? options : (options as { key?: unknown } | null | undefined)?.key
  if (typeof key !== 'string' || !KEY.test(key)) {
    throw new InvalidFieldsError(`key must match ${String(KEY)}`)
  }
  return key
}
