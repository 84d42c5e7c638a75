/** Node's `assert` as far as ilp-protocol-stream and what it needs call it. */
function assert(isSo, message) {
  if (!isSo) throw message instanceof Error ? message : new Error(message ?? 'assertion failed')
}

assert.strictEqual = (actual, expected, message) => assert(Object.is(actual, expected), message ?? `${actual} is not ${expected}`)

module.exports = assert
