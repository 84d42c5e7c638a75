/** Logs and trackers against their model, over each store that Node has. Over IndexedDB: e2e/indexed-db.test.ts. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Store } from '../../src/core/store.js'
import { wrapKeyValueStore } from '../../src/store/key-value.js'
import { LmdbStore } from '../../src/store/lmdb.js'
import { MemoryStore } from '../../src/store/memory.js'
import { describeLedger } from '../contract/ledger.js'
import type { StoreHarness } from '../contract/store.js'
import { HostStore } from '../support/host-store.js'

/** Each transfer has its own record there also while it is prepared. */
class OldLayoutStore extends MemoryStore {
  readonly opensInOldPackage = true
}

function openMemory(store: Store): Promise<StoreHarness> {
  return Promise.resolve({ store, reopen: () => Promise.resolve(store), dispose: () => store.close() })
}

async function openPlain(keyPrefix: string): Promise<StoreHarness> {
  const host = new HostStore()
  let store = wrapKeyValueStore(host, keyPrefix)
  const reopen = async (): Promise<Store> => {
    await store.close()
    store = wrapKeyValueStore(host, keyPrefix)
    return store
  }
  return { store, reopen, dispose: () => store.close() }
}

async function openLmdb(): Promise<StoreHarness> {
  const path = await mkdtemp(join(tmpdir(), 'paychan-model-'))
  let store = new LmdbStore({ path })
  const reopen = async (): Promise<Store> => {
    await store.close()
    store = new LmdbStore({ path })
    return store
  }
  const dispose = async (): Promise<void> => {
    await store.close()
    await rm(path, { recursive: true, force: true })
  }
  return { store, reopen, dispose }
}

describeLedger('MemoryStore', () => openMemory(new MemoryStore()), { runs: 200 })
describeLedger('MemoryStore in the old layout', () => openMemory(new OldLayoutStore()), { runs: 200 })
describeLedger('a plain store', () => openPlain(''), { runs: 100 })
describeLedger('a plain store under a prefix', () => openPlain('peer:'), { runs: 100 })
describeLedger('LmdbStore', openLmdb, { runs: 50 })
