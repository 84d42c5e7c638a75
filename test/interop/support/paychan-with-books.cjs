/** The plugin, over a folder where the option `path` names one, whose whole ledger the connector's admin API shows. */
const PaychanPlugin = require('ilp-plugin-paychan')
const { booksOf } = require('./books.cjs')
const PaychanLmdbPlugin = require('./paychan-lmdb.cjs')

module.exports = class {
  constructor(options, services) {
    const Plugin = options.path === undefined ? PaychanPlugin : PaychanLmdbPlugin
    const plugin = new Plugin({ ...options, packetHistory: true }, services)
    return Object.assign(plugin, { getAdminInfo: () => booksOf(plugin) })
  }
}
