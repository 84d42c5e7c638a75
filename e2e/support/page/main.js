/**
 * The page around a wallet. Its address says where the wallet runs, `in=page`, `in=dedicated` or `in=shared` (workers), and over which file of
 * the package, `code=umd` or `code=esm`. What it has then as the global `wallet` are the wallet's functions.
 */
const parameters = new URL(location.href).searchParams
const code = parameters.get('code') ?? 'esm'

async function loadHere() {
  await import('./wallet.js')
  if (code === 'esm') return globalThis.makeWallet(await import('./browser.js'))
  const script = document.createElement('script')
  script.src = 'ilp-plugin-paychan.umd.js'
  document.head.append(script)
  await new Promise((resolve, reject) => Object.assign(script, { onload: resolve, onerror: reject }))
  return globalThis.makeWallet(globalThis.IlpPluginPaychan)
}

/** The functions of a wallet at the other end of a port. */
function remoteWallet(port) {
  const waiting = new Map()
  let last = 0
  port.onmessage = ({ data: { id, value, error } }) => {
    const { resolve, reject } = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) resolve(value)
    else reject(Object.assign(new Error(error.message), error))
  }
  const ask = (name, values) => new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject })
    port.postMessage({ id: last, name, values })
  })
  // Not a promise, which it would pass for if it had a function of that name.
  return new Proxy({}, { get: (_target, name) => name === 'then' ? undefined : (...values) => ask(name, values) })
}

const file = code === 'umd' ? 'worker-classic.js' : 'worker-module.js'
const options = { type: code === 'umd' ? 'classic' : 'module' }

const makers = {
  page: loadHere,
  dedicated: () => remoteWallet(new Worker(file, options)),
  shared: () => remoteWallet(new SharedWorker(file, options).port)
}
globalThis.wallet = await makers[parameters.get('in') ?? 'page']()
