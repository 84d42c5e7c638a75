/**
 * The credentials: those we present, and those we accept. Imports core.
 *
 * A token comes from the options; a module supplies one only where they have none.
 */
import { equalInConstantTime } from '../core/hashes.js'
import { InvalidFieldsError, UnreachableError, messageOf } from '../core/errors.js'
import type { ModuleRunner } from './module.js'
import { checkCredentials } from './options.js'
import type { Credentials, Settings } from './options.js'

export class Authenticator {
  readonly #settings: Settings
  readonly #module: ModuleRunner | undefined

  constructor(settings: Settings, module: ModuleRunner | undefined) {
    this.#settings = settings
    this.#module = module
  }

  /** Whether a dialling peer may come in. `authCheck` judges alone where it is given; the secret judges the token only (C11). */
  async accepts({ username, token }: Credentials): Promise<boolean> {
    const { authCheck, incomingSecret } = this.#settings
    if (authCheck !== undefined) return await this.#ask(authCheck, username, token)
    const secret = incomingSecret ?? this.#module?.getAuthToken()
    return secret !== undefined && equalInConstantTime(secret, token)
  }

  async #ask(authCheck: NonNullable<Settings['authCheck']>, username: string, token: string): Promise<boolean> {
    try {
      return await authCheck(username, token)
    } catch (error) {
      // What it says goes to the log, where it must not take the token along (H32).
      const message = messageOf(error)
      throw new UnreachableError(`authCheck failed: ${token === '' ? message : message.replaceAll(token, '***')}`)
    }
  }

  /** What to present when dialling. @throws InvalidFieldsError when there is nothing; what the `credentials` function throws */
  async credentials(): Promise<Credentials> {
    const { credentials, server } = this.#settings
    const asked = credentials === undefined ? server?.credentials : checkCredentials(await credentials())
    if (asked !== undefined && (asked.token !== '' || credentials !== undefined)) return asked
    const token = this.#module?.getAuthToken()
    if (token !== undefined) return { username: asked?.username ?? '', token }
    if (asked !== undefined) return asked
    throw new InvalidFieldsError('credentials are needed, in server or as credentials')
  }

  /** Finds out before the first attempt that there is nothing to present. @throws InvalidFieldsError */
  async checkPresent(): Promise<void> {
    if (this.#settings.credentials === undefined) await this.credentials()
  }
}
