/**
 * One of the two peers of the kill test, in a process of its own: a plugin over an lmdb store, under load, that tells its parent of each
 * call that was answered and each event that was raised. Plain JavaScript, since Node runs it; argv has the compiled package and the
 * settings.
 */
import { createHash, randomUUID } from 'node:crypto'
import process from 'node:process'
import { setTimeout } from 'node:timers'
import { pathToFileURL } from 'node:url'

const [, , entry, settings] = process.argv
const { PaychanPlugin, LmdbStore, errors } = await import(pathToFileURL(entry).href)
const { path, port, server, inFlight } = JSON.parse(settings)

const PREFIX = 'test.crash.'
const LONG_MS = 10 * 60_000
/** Transfers that nobody fulfills live so long. */
const SHORT_MS = 3000

/** What becomes of a transfer, how much it moves, and its preimage, all by its id: so every life of either peer knows it. */
function planOf(id) {
  const bytes = createHash('sha256').update(id).digest()
  const fulfillment = createHash('sha256').update(bytes).digest()
  return {
    fate: bytes[0] < 4 ? 'expire' : bytes[0] < 36 ? 'reject' : 'fulfill',
    amount: String(1 + bytes[1]),
    fulfillment: fulfillment.toString('base64url'),
    executionCondition: createHash('sha256').update(fulfillment).digest('base64url')
  }
}

const plugin = new PaychanPlugin({
  prefix: PREFIX,
  info: { prefix: PREFIX },
  store: new LmdbStore({ path }),
  maxBalance: '1000000000',
  minBalance: '-1000000000',
  reconnectMinMs: 10,
  reconnectMaxMs: 100,
  ...(server === undefined ? { listener: { port, host: '127.0.0.1' }, incomingSecret: 'secret' } : { server })
})

const tell = message => { if (process.connected) process.send(message) }

// ---- incoming: each is answered as its id says, also those that a life before has left

async function answer(id) {
  const { fate, fulfillment } = planOf(id)
  try {
    if (fate === 'fulfill') await plugin.fulfillCondition(id, fulfillment)
    if (fate === 'reject') await plugin.rejectIncomingTransfer(id)
    if (fate !== 'expire') tell({ acknowledged: fate === 'fulfill' ? 'fulfilled' : 'cancelled', id })
  } catch (error) {
    // What a life before has answered already, it has: the final check sees to that.
    if (!(error instanceof errors.UnreachableError)) tell({ trouble: `${fate} of ${id}: ${error.name}: ${error.message}` })
  }
}

plugin.on('incoming_prepare', ({ id }) => answer(id))
plugin.on('dispute', dispute => { tell({ trouble: `dispute of ${dispute.id}: ${dispute.reason}` }) })

// ---- outgoing: always so many under way

const ends = new Map()
const ended = id => {
  ends.get(id)?.()
  ends.delete(id)
}
plugin.on('outgoing_fulfill', ({ id }) => {
  tell({ acknowledged: 'fulfilled', id })
  ended(id)
})
plugin.on('outgoing_reject', ({ id }) => {
  tell({ acknowledged: 'cancelled', id })
  ended(id)
})
plugin.on('outgoing_cancel', ({ id }) => {
  tell({ acknowledged: 'cancelled', id })
  ended(id)
})

let isLoading = true

async function load() {
  while (isLoading) {
    const id = randomUUID()
    const { fate, amount, executionCondition } = planOf(id)
    const end = fate === 'expire' ? undefined : new Promise(resolve => ends.set(id, resolve))
    const expiresAt = new Date(Date.now() + (fate === 'expire' ? SHORT_MS : LONG_MS)).toISOString()
    try {
      await plugin.sendTransfer({ id, to: plugin.getPeerAccount(), amount, executionCondition, expiresAt })
      tell({ acknowledged: 'prepared', id })
      await end
    } catch (error) {
      if (!(error instanceof errors.UnreachableError)) tell({ trouble: `sending ${id}: ${error.name}: ${error.message}` })
      ends.delete(id)
      if (!plugin.isConnected()) await new Promise(resolve => { plugin.once('connect', resolve) })
    }
  }
}

// ---- what the parent asks

/** Until nothing is in flight; what still is after this time the auditor finds. */
const QUIET_WITHIN_MS = 20_000

async function untilQuiet() {
  const deadline = Date.now() + QUIET_WITHIN_MS
  while (plugin.inFlight().length > 0 && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 20))
}

async function report() {
  const transfers = []
  for (let before; ;) {
    const page = await plugin.history({ limit: 1000, ...(before === undefined ? {} : { before }) })
    for (const { transfer, isIncoming, state } of page) {
      transfers.push({ id: transfer.id, amount: transfer.amount, isIncoming, state })
    }
    if (page.length < 1000) break
    before = page.at(-1).cursor
  }
  return { balance: await plugin.getBalance(), peerBalance: await plugin.getPeerBalance(), inFlight: plugin.inFlight().length, transfers }
}

process.on('message', async ({ ask }) => {
  if (ask === 'load') {
    for (let i = 0; i < inFlight; i++) void load()
    return
  }
  isLoading = false
  if (ask === 'quiet') {
    await untilQuiet()
    tell({ quiet: true })
  } else {
    if (!plugin.isConnected()) await new Promise(resolve => { plugin.once('connect', resolve) })
    tell({ report: await report() })
  }
})
process.on('disconnect', () => process.exit())

await plugin.connect({ timeout: Infinity })
for (const { transfer, isIncoming } of plugin.inFlight()) if (isIncoming) void answer(transfer.id)
tell({ ready: true, port: plugin.port })
