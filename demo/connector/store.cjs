/**
 * A store for ilp-connector, which brings none that outlives it: its `store` names this file, and its `storePath` a folder. What it has
 * written is on the disk. Our plugin keeps its books in it.
 */
const { open } = require('lmdb')

module.exports = class {
  constructor({ path }) {
    this.database = open({ path })
  }

  async get(key) {
    return this.database.get(key)
  }

  async put(key, value) {
    await this.database.put(key, value)
    await this.database.flushed
  }

  async del(key) {
    await this.database.remove(key)
    await this.database.flushed
  }
}
