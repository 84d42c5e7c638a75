/**
 * A store for ilp-connector 23, which comes with none that outlives it: `CONNECTOR_STORE` names this file, `CONNECTOR_STORE_PATH` where it
 * writes down each change, a line for each. What it was given survives the process, but not the machine: it does not wait for the disk.
 */
const { Buffer } = require('node:buffer')
const { existsSync, openSync, readFileSync, truncateSync, writeSync } = require('node:fs')

module.exports = class {
  constructor({ path }) {
    // What has no end was being written when the process was killed: nobody was told that it is there.
    const text = existsSync(path) ? readFileSync(path) : Buffer.alloc(0)
    const whole = text.subarray(0, text.lastIndexOf('\n') + 1)
    if (whole.length < text.length) truncateSync(path, whole.length)
    const lines = whole.toString().split('\n').filter(line => line !== '')
    this.values = new Map(lines.map(line => JSON.parse(line)))
    this.file = openSync(path, 'a')
  }

  async get(key) {
    return this.values.get(key)
  }

  async put(key, value) {
    writeSync(this.file, `${JSON.stringify([key, value])}\n`)
    this.values.set(key, value)
  }

  async del(key) {
    writeSync(this.file, `${JSON.stringify([key])}\n`)
    this.values.delete(key)
  }
}
