/**
 * A host in a process of its own, whose plugin keeps its books in an lmdb file that other processes may have too. It does what its parent
 * asks, and tells of what the plugin raises. Plain JavaScript, since Node runs it; argv has the compiled package and the settings.
 */
import process from 'node:process'
import { pathToFileURL } from 'node:url'

const [, , entry, settings] = process.argv
const { PaychanPlugin, LmdbStore } = await import(pathToFileURL(entry).href)
const { path, server } = JSON.parse(settings)

const store = new LmdbStore({ path })
const plugin = new PaychanPlugin({ server, store, maxBalance: '1000000', minBalance: '-1000000', reconnectMinMs: 1, reconnectMaxMs: 20 })

const tell = message => { if (process.connected) process.send(message) }
for (const event of ['connect', 'disconnect', 'role', 'outgoing_fulfill']) plugin.on(event, what => tell({ event, what }))

process.on('message', async ({ id, method, args }) => {
  try {
    tell({ id, value: await (method === 'role' ? plugin.role : plugin[method](...args)) ?? null })
  } catch ({ name, message, outcome }) {
    tell({ id, error: { name, message, outcome } })
  }
})
process.on('disconnect', () => process.exit())

tell({ event: 'started' })
