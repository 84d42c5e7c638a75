/** Node's `process` and `setImmediate` as far as ilp-protocol-stream and what it needs use it. */
export default {
  env: {},
  nextTick: (action, ...values) => globalThis.queueMicrotask(() => action(...values))
}

export const setImmediate = (action, ...values) => globalThis.setTimeout(action, 0, ...values)
