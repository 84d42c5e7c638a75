/**
 * The Node entry: the universal one, plus the listener and the embedded store. Puts the adapters of Node and the core together.
 */
import { hashBy } from './core/hashes.js'
import { mapBy } from './core/passing-map.js'
import type { Environment } from './plugin/environment.js'
import { headWriter } from './plugin/head-writer.js'
import { Lease } from './plugin/lease.js'
import { pluginsFor } from './plugin/make-plugin.js'
import type { LedgerPlugin } from './plugin/plugin.js'
import { debugLogger, hostLogger } from './platform/debug-log.js'
import { NodeMap } from './platform/node-map.js'
import { nodeSha256 } from './platform/node-hash.js'
import { nodeProcesses } from './platform/node-processes.js'
import { systemClock } from './platform/system-clock.js'
import { systemRandom } from './platform/system-random.js'
import { IndexedDBStore } from './store/indexed-db.js'
import { wrapKeyValueStore } from './store/key-value.js'
import { LmdbStore } from './store/lmdb.js'
import { MemoryStore } from './store/memory.js'
import { BtpListener } from './transport/listener.js'
import { dialFromNode } from './transport/node-socket.js'
import { adoptWebSocket } from './transport/web-socket.js'

const environment: Environment = {
  clock: systemClock,
  random: systemRandom,
  dial: dialFromNode,
  adoptSocket: adoptWebSocket,
  debugLogger,
  hostLogger,
  wrapKeyValueStore,
  memoryStore: () => new MemoryStore(),
  lease: options => new Lease(options, nodeProcesses),
  headWriter,
  createListener: options => new BtpListener(options)
}

hashBy(nodeSha256)
mapBy(() => new NodeMap())

const plugins = pluginsFor(environment)

/**
 * An Interledger account with one peer, without settlement: LPI v1 (RFC 4) over BTP (RFC 23).
 * Its constructor throws InvalidFieldsError that names the option which is wrong.
 */
export const PaychanPlugin = plugins.PaychanPlugin
export type PaychanPlugin = LedgerPlugin
export default PaychanPlugin

/**
 * Makes a plugin class that settles with a payment channel module.
 * Throws InvalidFieldsError that names the callback which is missing, or `pluginName`.
 */
export const makePaymentChannelPlugin = plugins.makePaymentChannelPlugin

export { IndexedDBStore, MemoryStore, wrapKeyValueStore, LmdbStore, BtpListener }
export type { LmdbStoreOptions } from './store/lmdb.js'
export * as errors from './core/errors.js'
export type * from './types.js'
