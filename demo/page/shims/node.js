/**
 * What ilp-protocol-stream and its packages expect of Node beside Buffer, streams and events. demo/build.mjs gives them `process` from
 * here wherever they name it.
 */
export const process = { env: {}, browser: true, nextTick: (action, ...args) => { queueMicrotask(() => { action(...args) }) } }

/** By a message and not by a timer, which browsers hold back. */
const channel = new MessageChannel()
const waiting = []
channel.port1.onmessage = () => { waiting.shift()?.() }

globalThis.setImmediate ??= (action, ...args) => {
  waiting.push(() => { action(...args) })
  channel.port2.postMessage(null)
}
