/**
 * The page of `npm run bench:browser`: a wallet that pays over IndexedDBStore, and bare transactions of IndexedDB that write values of
 * the same sizes. It asks for its orders when it is loaded, and posts the rates, in transfers per second. Nothing watches it meanwhile: to
 * developer tools, which Playwright is to a browser, each frame of a web socket would be copied.
 */
import { OPTIONS, run, send } from './workload.mjs'

const { crypto, fetch, indexedDB, IlpPluginPaychan: Plugin, performance } = globalThis

const NAME = 'wallet'

/** Measures each kind once a round, in turn. */
async function measure({ server, kinds, rounds, ms, warmUpMs }) {
  const store = new Plugin.IndexedDBStore({ name: NAME })
  const wallet = new Plugin({ ...OPTIONS, server, store })
  await wallet.connect()
  const transfer = send(wallet)
  await run(transfer, { inFlight: 64, ms: warmUpMs })
  // As large as the records of the wallet's own transfers, under keys like theirs.
  const [[key, value]] = await store.list(':tl:transfer:', { limit: 1 })
  const database = await openBare()
  const step = count => commitBare(database, key.slice(0, -36), value, count)
  const rates = Object.fromEntries(Object.keys(kinds).map(kind => [kind, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [kind, { inFlight, group }] of Object.entries(kinds)) {
      const result = group === undefined ? await run(transfer, { inFlight, ms }) : await runBare(step, { group, ms })
      rates[kind].push(result.count * 1000 / result.ms)
    }
  }
  return rates
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
  return { count, ms: performance.now() - start }
}

const orders = await (await fetch('orders')).json()
const result = await measure(orders).catch(error => ({ error: String(error) }))
await fetch('result', { method: 'POST', body: JSON.stringify(result) })
