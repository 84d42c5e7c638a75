/**
 * The plugin's events. A listener that throws, rejects or hangs harms neither the plugin nor the other listeners (C52), and an
 * `error` that nobody listens to is not thrown (C53). Imports core.
 */
import { printableMessage } from '../core/bytes.js'

type Listener = (...args: never[]) => unknown

interface Subscription {
  readonly listener: Listener
  readonly isOnce: boolean
}

export class SafeEmitter<Events extends Record<keyof Events, Listener>> {
  /** In the order in which they came. No list is changed in place: an event goes to those that were there when it was raised. */
  readonly #subscriptions = new Map<string, readonly Subscription[]>()
  readonly #onListenerError: (message: string) => void

  constructor(onListenerError: (message: string) => void) {
    this.#onListenerError = onListenerError
  }

  /** Calls `listener` on each event of that name. */
  on<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    return this.#add(event, { listener, isOnce: false })
  }

  /** Calls `listener` on the next event of that name. */
  once<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    return this.#add(event, { listener, isOnce: true })
  }

  /** Takes a listener away. */
  off<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    this.#keep(event, one => one.listener !== listener)
    return this
  }

  /** The same as `on`. */
  addListener<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    return this.on(event, listener)
  }

  /** The same as `off`. */
  removeListener<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    return this.off(event, listener)
  }

  /** Takes all listeners of an event away, or all there are. */
  removeAllListeners(event?: keyof Events & string): this {
    if (event === undefined) this.#subscriptions.clear()
    else this.#subscriptions.delete(event)
    return this
  }

  /** How many listeners an event has. */
  listenerCount(event: keyof Events & string): number {
    return this.#listenersOf(event).length
  }

  /** Raises an event. Whether anybody listened. */
  emit<E extends keyof Events & string>(event: E, ...args: Parameters<Events[E]>): boolean {
    const listening = this.#listenersOf(event)
    for (const subscription of listening) {
      if (subscription.isOnce) this.#keep(event, one => one !== subscription)
      this.#call(event, subscription.listener, args)
    }
    return listening.length > 0
  }

  #listenersOf(event: string): readonly Subscription[] {
    return this.#subscriptions.get(event) ?? []
  }

  #add(event: string, subscription: Subscription): this {
    this.#subscriptions.set(event, [...this.#listenersOf(event), subscription])
    return this
  }

  #keep(event: string, isKept: (one: Subscription) => boolean): void {
    this.#subscriptions.set(event, this.#listenersOf(event).filter(isKept))
  }

  #call(event: string, listener: Listener, args: unknown[]): void {
    const failed = (error: unknown): void => { this.#onListenerError(`a listener of ${event} failed: ${printableMessage(error)}`) }
    try {
      const result: unknown = Reflect.apply(listener, this, args)
      // Of whatever kind: hosts have promises of their own.
      if (isThenable(result)) result.then(undefined, failed)
    } catch (error) {
      failed(error)
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
