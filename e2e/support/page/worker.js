/**
 * Lets whoever has a port to this worker call its wallet, whether it is a dedicated worker or a shared one.
 */
globalThis.serveWallet = wallet => {
  const serve = port => {
    port.onmessage = async ({ data: { id, name, values } }) => {
      try {
        port.postMessage({ id, value: await wallet[name](...values) })
      } catch ({ name, message, outcome }) {
        port.postMessage({ id, error: { name, message, outcome } })
      }
    }
  }
  if ('SharedWorkerGlobalScope' in globalThis) globalThis.onconnect = ({ ports: [port] }) => serve(port)
  else serve(globalThis)
}
