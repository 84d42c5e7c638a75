/**
 * The Node side of the demo: one account with a wallet, kept in a durable store, reachable by BTP.
 */
import PaychanPlugin, { LmdbStore } from 'ilp-plugin-paychan'
import { makePayments } from './payments.js'

/** How far the balance may go either way, in base units. */
const LIMIT = '100000'

/**
 * Starts the peer; resolves when it listens.
 * `path` is the store's folder, `log` is called with readable lines. Returns `{ stop }`.
 */
export async function startPeer({ host, port, token, path, log }) {
  const store = new LmdbStore({ path })
  const plugin = new PaychanPlugin({
    listener: { host, port },
    incomingSecret: token,
    prefix: 'test.paychan.',
    info: { prefix: 'test.paychan.', currencyCode: 'XTS', currencyScale: 0, connectors: [] },
    maxBalance: LIMIT,
    minBalance: `-${LIMIT}`,
    store,
    // What goes wrong is shown, as when a second `npm start` takes the store; DEBUG=ilp-plugin-* shows everything instead.
    _log: process.env.DEBUG === undefined ? { warn: log, error: log } : undefined
  })

  const { status } = makePayments(plugin, {
    onPayment: async ({ direction, amount, failed }) => {
      const what = direction === 'in' ? `the wallet pays ${amount}` : `the wallet is paid ${amount}`
      log(failed === undefined ? `${what}, balance ${(await status()).balance}` : `${what}: failed, ${failed}`)
    }
  })
  plugin.on('connect', () => log('the wallet is connected'))
  plugin.on('disconnect', () => log('the wallet is gone'))
  plugin.on('error', error => log(`the account cannot go on: ${error.message}`))

  await plugin.connect()
  return {
    /** Gives transfers in flight a moment to end, then lets go of the port and the store. */
    async stop() {
      await plugin.disconnect({ drainMs: 1000 })
      await store.close()
    }
  }
}
