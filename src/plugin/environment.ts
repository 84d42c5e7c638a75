/**
 * What an entry gives the plugin of the platform it runs on: the ports, and the adapters behind them. Imports core.
 */
import type { Clock } from '../core/clock.js'
import type { Logger } from '../core/log.js'
import type { Random } from '../core/random.js'
import type { Store } from '../core/store.js'
import type { Acceptor, Connection, Dial } from '../core/transport.js'

/** A host's logger: any of these, each optional. */
export type HostLog = { readonly [level in 'trace' | 'debug' | 'info' | 'warn' | 'error']?: ((message: string) => void) | undefined }

/** A host's plain store, as LPI v1 and v2 pass it (RFC 4, PluginOptions#_store). */
export interface KeyValueStore {
  get(key: string): Promise<unknown>
  put(key: string, value: string): Promise<unknown>
  del(key: string): Promise<unknown>
}

export interface Environment {
  readonly clock: Clock
  readonly random: Random
  readonly dial: Dial
  debugLogger(namespace: string): Logger
  hostLogger(log: HostLog): Logger
  /** Any socket that looks like a web socket. @throws InvalidFieldsError for what does not */
  adoptSocket(socket: unknown): Connection
  wrapKeyValueStore(store: KeyValueStore): Store
  memoryStore(): Store
  /** Makes a listener of the option `listener`. Absent where nobody can listen: in browsers. @throws InvalidFieldsError */
  readonly createListener?: (options: object) => Acceptor
}
