/**
 * One of the two peers of a kill test, in a process of its own: a plugin over an lmdb store, under load, that tells its parent of what it
 * does. Plain JavaScript, since Node runs it; argv has the compiled package and the settings.
 */
import { createHash, randomUUID } from 'node:crypto'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { live, makeModule, OPTIONS } from './load.mjs'

const [, , entry, settings] = process.argv
const { PaychanPlugin, makePaymentChannelPlugin, LmdbStore, errors } = await import(pathToFileURL(entry).href)
const { path, port, server, inFlight, isV2 } = JSON.parse(settings)

const module = isV2 ? undefined : makeModule(server === undefined ? 'server' : 'client')
const Plugin = isV2 ? PaychanPlugin : makePaymentChannelPlugin(module)
const plugin = new Plugin({
  ...OPTIONS,
  store: new LmdbStore({ path }),
  ...(server === undefined ? { listener: { port, host: '127.0.0.1' }, incomingSecret: 'secret' } : { server })
}, ...(isV2 ? [{}] : []))

const tell = message => { if (process.connected) process.send(message) }

const life = await live({
  plugin,
  module,
  errors,
  sha256: async bytes => createHash('sha256').update(bytes).digest(),
  toBase64url: bytes => bytes.toString('base64url'),
  randomUUID,
  tell
})

process.on('message', async ({ ask }) => {
  if (ask === 'load') life.load(inFlight)
  else if (ask === 'quiet') tell({ quiet: await life.quiet() ?? true })
  else tell({ report: await life.report() })
})
process.on('disconnect', () => process.exit())

tell({ ready: true, port: plugin.port })
