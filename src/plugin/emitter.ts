/**
 * The plugin's events. A listener that throws, rejects or hangs harms neither the plugin nor the other listeners (C52), and an
 * `error` that nobody listens to is not thrown (C53). Imports core.
 */
import { EventEmitter } from 'eventemitter3'
import { printable } from '../core/bytes.js'
import { messageOf } from '../core/errors.js'

type Listener = (...args: never[]) => unknown
type Guarded = (...args: unknown[]) => void

export class SafeEmitter<Events extends Record<keyof Events, Listener>> {
  readonly #emitter = new EventEmitter()
  readonly #guarded = new WeakMap<Listener, Guarded>()
  readonly #onListenerError: (message: string) => void

  constructor(onListenerError: (message: string) => void) {
    this.#onListenerError = onListenerError
  }

  /** Calls `listener` on each event of that name. */
  on<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    this.#emitter.on(event, this.#guard(event, listener))
    return this
  }

  /** Calls `listener` on the next event of that name. */
  once<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    this.#emitter.once(event, this.#guard(event, listener))
    return this
  }

  /** Takes a listener away. */
  off<E extends keyof Events & string>(event: E, listener: Events[E]): this {
    const guarded = this.#guarded.get(listener)
    if (guarded !== undefined) this.#emitter.off(event, guarded)
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
    this.#emitter.removeAllListeners(event)
    return this
  }

  /** How many listeners an event has. */
  listenerCount(event: keyof Events & string): number {
    return this.#emitter.listenerCount(event)
  }

  /** Raises an event. Whether anybody listened. */
  emit<E extends keyof Events & string>(event: E, ...args: Parameters<Events[E]>): boolean {
    return this.#emitter.emit(event, ...args)
  }

  #guard(event: string, listener: Listener): Guarded {
    const known = this.#guarded.get(listener)
    if (known !== undefined) return known
    const failed = (error: unknown): void => { this.#onListenerError(`a listener of ${event} failed: ${printable(messageOf(error))}`) }
    const guarded: Guarded = (...args) => {
      try {
        const result: unknown = Reflect.apply(listener, this, args)
        // Of whatever kind: hosts have promises of their own.
        if (isThenable(result)) result.then(undefined, failed)
      } catch (error) {
        failed(error)
      }
    }
    this.#guarded.set(listener, guarded)
    return guarded
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
