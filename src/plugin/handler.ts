/**
 * The place of a host's handler, which has room for one. Imports core.
 */
import { InvalidFieldsError } from '../core/errors.js'

export class HandlerPlace<Handler extends (...args: never[]) => unknown> {
  readonly #kind: string
  readonly #AlreadyRegistered: new (message: string) => Error
  #handler: Handler | undefined

  /** `kind`: what it handles, for messages. */
  constructor(kind: string, AlreadyRegistered: new (message: string) => Error) {
    this.#kind = kind
    this.#AlreadyRegistered = AlreadyRegistered
  }

  get handler(): Handler | undefined {
    return this.#handler
  }

  register(handler: Handler): void {
    if (this.#handler !== undefined) throw new this.#AlreadyRegistered(`deregister the ${this.#kind} handler before another is registered`)
    if (typeof handler !== 'function') throw new InvalidFieldsError(`the ${this.#kind} handler must be a function`)
    this.#handler = handler
  }

  deregister(): void {
    this.#handler = undefined
  }
}
