/** Node's `assert`, as far as ilp-protocol-stream and its packages call it. */
module.exports = function assert(value, message) {
  if (!value) throw new Error(message ?? 'this must not be')
}

module.exports.strictEqual = (value, expected, message) => { module.exports(Object.is(value, expected), message) }
