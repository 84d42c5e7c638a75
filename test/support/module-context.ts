/**
 * What a module gets from its plugin, without the plugin: logs and trackers over a store, for tests of modules by themselves.
 */
import { parseLimit } from '../../src/core/amounts.js'
import type { Store } from '../../src/core/store.js'
import { Backend } from '../../src/ledger/backend.js'
import { Committer } from '../../src/ledger/committer.js'
import { Ledger } from '../../src/ledger/ledger.js'
import { TransferLog } from '../../src/ledger/transfer-log.js'
import { ModuleRunner, validateModule } from '../../src/plugin/module.js'
import type { AnyModule } from '../../src/plugin/module.js'
import type { LedgerPluginV1 } from '../../src/plugin/lpi.js'
import { Rpc } from '../../src/plugin/rpc.js'
import { MemoryLog } from './memory-log.js'
import { VirtualClock } from './virtual-clock.js'

/** A module at work over a store: constructed and connected. A second one over the same store is what runs after a crash. */
export async function startModule(module: AnyModule, store: Store, options: object, owner = 'first') {
  validateModule(module)
  const clock = new VirtualClock()
  const log = new MemoryLog()
  const committer = new Committer({ store, storeTimeoutMs: 10_000, clock, log, owner, onLost: () => undefined })
  await committer.takeOver()
  const limits = { maximum: parseLimit('Infinity', 'maximum'), minimum: parseLimit('-Infinity', 'minimum') }
  const transferLog = new TransferLog(new Ledger(committer, '', limits), () => clock.now())
  const context = {
    state: {},
    rpc: new Rpc(() => Promise.reject(new Error('no peer'))),
    backend: new Backend(committer, clock),
    transferLog,
    plugin: {} as LedgerPluginV1
  }
  const runner = new ModuleRunner({ module, context, clock, log })
  runner.construct(options)
  await runner.connect(options)
  return { runner, context, transferLog, clock, log }
}

