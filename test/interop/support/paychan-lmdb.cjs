/**
 * The plugin with its books in a folder of their own, whatever the connector keeps its own in: an account's configuration names this file
 * as its `plugin`, and gives the folder as the option `path`.
 */
const PaychanPlugin = require('ilp-plugin-paychan')

module.exports = class extends PaychanPlugin {
  constructor({ path, ...options }, services) {
    super({ ...options, store: new PaychanPlugin.LmdbStore({ path }) }, services)
  }
}
