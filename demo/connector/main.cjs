/**
 * The process of the demo's ilp-connector, as it comes from npm. demo/peer/connector.ts starts it, and asks by messages
 * `{ number, method, value }`, which are answered with `{ number, value }` or `{ number, error }`. It ends with whoever started it.
 */
const process = require('node:process')
const { createApp } = require('ilp-connector')

let connector

const methods = {
  /** Starts with that configuration. */
  async start(config) {
    connector = createApp(config)
    await connector.listen()
  },

  /** Adds an account; the answer is the port at which its plugin listens. */
  async add({ id, account }) {
    await connector.addPlugin(id, account)
    return connector.getPlugin(id).port
  },

  async stop() {
    await connector?.shutdown()
  }
}

process.on('message', async ({ number, method, value }) => {
  try {
    process.send({ number, value: await methods[method](value) })
  } catch (error) {
    process.send({ number, error: error.message })
  }
})

// Ctrl-C reaches this process, too. It ends when the one that started it says so, or is gone.
process.on('SIGINT', () => undefined)
process.on('disconnect', () => { methods.stop().finally(() => process.exit()) })
