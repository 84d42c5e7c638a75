/**
 * The page of `npm run bench:browser`: a wallet that pays over IndexedDBStore, and bare transactions of IndexedDB that write values of
 * the same sizes. `prepare` makes both ready; each entry of `rates` measures one of them, in transfers per second.
 */
import { OPTIONS, run, send } from './workload.mjs'

const { crypto, indexedDB, IlpPluginPaychan: Plugin, performance } = globalThis

const NAME = 'wallet'

/** Connects the wallet, pays a while to warm up, and opens a database for the bare transactions. */
export async function prepare({ server, inFlight, ms }) {
  const store = new Plugin.IndexedDBStore({ name: NAME })
  const wallet = new Plugin({ ...OPTIONS, server, store })
  await wallet.connect()
  const transfer = send(wallet)
  await run(transfer, { inFlight, ms })
  // As large as the records of the wallet's own transfers, under keys like theirs.
  const [[key, value]] = await store.list(':tl:transfer:', { limit: 1 })
  const database = await openBare()
  const step = count => commitBare(database, key.slice(0, -36), value, count)
  return {
    wallet: order => run(transfer, order).then(({ count, ms }) => count * 1000 / ms),
    bare: order => runBare(step, order)
  }
}

function openBare() {
  const request = indexedDB.open('bare', 1)
  request.onupgradeneeded = () => { request.result.createObjectStore('records') }
  return new Promise((resolve, reject) => {
    request.onsuccess = () => { resolve(request.result) }
    request.onerror = () => { reject(request.error) }
  })
}

/** One transaction that puts so many values. */
function commitBare(database, prefix, value, count) {
  const transaction = database.transaction('records', 'readwrite', { durability: 'strict' })
  const records = transaction.objectStore('records')
  for (let n = 0; n < count; n++) records.put(value, prefix + crypto.randomUUID())
  transaction.commit()
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => { resolve() }
    transaction.onabort = () => { reject(transaction.error) }
  })
}

/** A transfer is stored twice: when it is prepared, and when it is fulfilled. `group` of them share both transactions. */
async function runBare(step, { group, ms }) {
  let count = 0
  const start = performance.now()
  while (performance.now() - start < ms) {
    await step(group)
    await step(group)
    count += group
  }
  return count * 1000 / (performance.now() - start)
}
