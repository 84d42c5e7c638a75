/**
 * What an entry gives the plugin of the platform it runs on: the ports, and the adapters behind them. Imports core.
 */
import type { Clock } from '../core/clock.js'
import type { HostLog, Logger } from '../core/log.js'
import type { Random } from '../core/random.js'
import type { Siblings } from '../core/siblings.js'
import type { KeyValueStore, Store } from '../core/store.js'
import type { Acceptor, Connection, Dial } from '../core/transport.js'
import type { LeaseOptions } from './lease.js'
import type { Transfer } from './lpi.js'
import type { Tenure } from './tenure.js'

export interface Environment {
  readonly clock: Clock
  readonly random: Random
  readonly dial: Dial
  debugLogger(namespace: string): Logger
  hostLogger(log: HostLog): Logger
  /** Any socket that looks like a web socket. @throws InvalidFieldsError for what does not */
  adoptSocket(socket: unknown): Connection
  /** `keyPrefix`: what all keys begin with there. */
  wrapKeyValueStore(store: KeyValueStore, keyPrefix?: string): Store
  memoryStore(): Store
  /** How instances over one store find each other. Absent, or without a result, where they cannot. */
  readonly siblings?: () => Siblings | undefined
  /** How they agree on who holds the connection where they cannot hear each other: in a store that says that it is shared. */
  readonly lease?: (options: LeaseOptions) => Tenure
  /** Makes what writes how records begin, as `headOf` does. Absent where `headOf` does it. */
  readonly headWriter?: () => (transfer: Transfer, isIncoming: boolean) => string
  /** Makes a listener of the option `listener`. Absent where nobody can listen: in browsers. @throws InvalidFieldsError */
  readonly createListener?: (options: object) => Acceptor
}
