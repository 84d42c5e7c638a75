/**
 * A page that pays by STREAM: ilp-protocol-stream, unmodified, over the packed package's client. It is bundled by ../stream-page.ts.
 */
import { Buffer } from 'buffer'
import PaychanPlugin from 'ilp-plugin-paychan'
import { createConnection } from 'ilp-protocol-stream'

/** What libraries of Node's age take for bytes is their own Buffer; the plugin has Uint8Array in a page. */
class StreamPlugin extends PaychanPlugin {
  async sendData(packet) {
    return Buffer.from(await super.sendData(packet))
  }

  registerDataHandler(handler) {
    super.registerDataHandler(packet => handler(Buffer.from(packet)))
  }
}

/** Pays so much to an address, from a plugin of these options; resolves with what both ends then have, and how many packets it took. */
globalThis.payByStream = async (options, { destinationAccount, sharedSecret }, amount) => {
  const plugin = new StreamPlugin(options, {})
  await plugin.connect({ timeout: 30_000 })
  const connection = await createConnection({ plugin, destinationAccount, sharedSecret: Buffer.from(sharedSecret, 'base64') })
  await connection.createStream().sendTotal(amount, { timeout: 45_000 })
  const { totalSent, totalDelivered } = connection
  const [balance, peerBalance, entries] = [await plugin.getBalance(), await plugin.getPeerBalance(), await plugin.history({ limit: 1000 })]
  await connection.end()
  const packets = entries.filter(({ state, transfer }) => state === 'fulfilled' && transfer.amount !== '0').length
  return { totalSent, totalDelivered, balance, peerBalance, packets, inFlight: plugin.inFlight() }
}
