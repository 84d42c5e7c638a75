/**
 * One pair of peers for the benchmark, in a process of its own, on both ends of a real web socket: argv says which. It runs when it
 * is told to (`{ inFlight, ms }`), and tells how many transfers were prepared, fulfilled and answered in how long.
 */
import { Buffer } from 'node:buffer'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { URL, fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)

const SECRET = 'secret'
const PREFIX = 'bench.'
/** Later than any run of the benchmark lasts: what ends is fulfilled. */
const EXPIRY_MS = 30 * 60_000
/** About what an ILP payment packet with an address and its data takes. */
const ILP = randomBytes(200).toString('base64url')
const AMOUNT = '1'

/** Preimages by their conditions. A few suffice: an id is new each time, a hash need not be. */
const preimages = new Map(Array.from({ length: 64 }, () => {
  const preimage = randomBytes(32)
  return [createHash('sha256').update(preimage).digest('base64url'), preimage.toString('base64url')]
}))
const conditions = [...preimages.keys()]
const expiresAt = new Date(Date.now() + EXPIRY_MS).toISOString()

/** Runs `transfer` so that always so many are under way, for a time. */
async function run(transfer, { inFlight, ms }) {
  let count = 0
  const start = performance.now()
  const one = async () => {
    while (performance.now() - start < ms) {
      await transfer()
      count++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  return { count, ms: performance.now() - start }
}

/** One transfer between two plugins of either package: it is over when the sender and the receiver were both answered. */
function transferBetween(sender, receiver) {
  const fulfilled = new Map()
  receiver.on('incoming_prepare', ({ id, executionCondition }) => {
    receiver.fulfillCondition(id, preimages.get(executionCondition)).then(fulfilled.get(id).resolve, fulfilled.get(id).reject)
    fulfilled.delete(id)
  })
  const to = sender.getPeerAccount()
  let turn = 0
  return async () => {
    const id = randomUUID()
    const executionCondition = conditions[turn++ % conditions.length]
    const done = new Promise((resolve, reject) => fulfilled.set(id, { resolve, reject }))
    await Promise.all([sender.sendTransfer({ id, to, amount: AMOUNT, ilp: ILP, executionCondition, expiresAt }), done])
  }
}

const options = { prefix: PREFIX, info: { prefix: PREFIX }, maxBalance: '1000000000000' }

async function ours(makeStore) {
  const { PaychanPlugin } = await import(new URL('../../dist/node.js', import.meta.url))
  const server = new PaychanPlugin({ ...options, listener: { port: 0 }, incomingSecret: SECRET, store: await makeStore() })
  await server.connect()
  const client = new PaychanPlugin({ ...options, server: `btp+ws://:${SECRET}@localhost:${server.port}`, store: await makeStore() })
  await client.connect()
  return transferBetween(client, server)
}

async function memoryStore() {
  const { MemoryStore } = await import(new URL('../../dist/node.js', import.meta.url))
  return new MemoryStore()
}

/** On the project's own disk, since the system's folder for temporary files may be in memory. */
async function lmdbStore() {
  const { LmdbStore } = await import(new URL('../../dist/node.js', import.meta.url))
  const path = mkdtempSync(join(fileURLToPath(new URL('../../', import.meta.url)), '.build', 'bench-'))
  process.on('exit', () => { rmSync(path, { recursive: true, force: true }) })
  return new LmdbStore({ path })
}

/** The old package with its own store in memory. A port of 0 would be its default, so a free one is looked for. */
async function old() {
  const Plugin = require('ilp-plugin-payment-channel-framework')
  const ObjStore = require('ilp-plugin-payment-channel-framework/src/model/in-memory-store')
  const port = await freePort()
  const server = new Plugin({ ...options, listener: { port }, incomingSecret: SECRET, _store: new ObjStore() })
  await server.connect()
  const client = new Plugin({ ...options, server: `btp+ws://:${SECRET}@localhost:${port}`, _store: new ObjStore() })
  await client.connect()
  // It dials at its first request only, and each request that is made meanwhile would dial for itself.
  await client.getPeerBalance()
  return transferBetween(client, server)
}

async function freePort() {
  const { createServer } = await import('node:net')
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Frames of the same sizes, and nothing else: what the transport alone can do. */
async function bare() {
  const { WebSocket, WebSocketServer } = require('ws')
  const sizes = frameSizes()
  const server = new WebSocketServer({ port: 0, perMessageDeflate: false })
  await once(server, 'listening')
  const client = new WebSocket(`ws://localhost:${server.address().port}`, { perMessageDeflate: false })
  const [[receiver]] = await Promise.all([once(server, 'connection'), once(client, 'open')])
  const waiting = new Map()
  const send = (socket, size, id) => {
    const frame = Buffer.alloc(size)
    frame.writeUInt32BE(id, 1)
    socket.send(frame)
  }
  receiver.on('message', frame => {
    const id = frame.readUInt32BE(1)
    if (frame.length === sizes.prepare) {
      send(receiver, sizes.response, id)
      send(receiver, sizes.fulfill, id)
    } else {
      waiting.get(id)()
      waiting.delete(id)
    }
  })
  client.on('message', frame => { if (frame.length === sizes.fulfill) send(client, sizes.response, frame.readUInt32BE(1)) })
  let turn = 0
  return () => new Promise(resolve => {
    const id = turn++ >>> 0
    waiting.set(id, resolve)
    send(client, sizes.prepare, id)
  })
}

function frameSizes() {
  const btp = require('btp-packet-1')
  const ilp = [{ protocolName: 'ilp', contentType: btp.MIME_APPLICATION_OCTET_STREAM, data: Buffer.from(ILP, 'base64') }]
  const [executionCondition] = conditions
  const transferId = randomUUID()
  return {
    prepare: btp.serializePrepare({ transferId, amount: AMOUNT, executionCondition, expiresAt: new Date(expiresAt) }, 1, ilp).length,
    fulfill: btp.serializeFulfill({ transferId, fulfillment: preimages.get(executionCondition) }, 1, []).length,
    response: btp.serializeResponse(1, []).length
  }
}

const kinds = { ours: () => ours(memoryStore), lmdb: () => ours(lmdbStore), old, ws: bare }

const transfer = await kinds[process.argv[2]]()
process.on('message', order => {
  run(transfer, order).then(result => process.send(result), error => {
    process.send({ error: String(error) })
  })
})
// The old package leaves timers behind that would keep the process for minutes.
process.on('disconnect', () => process.exit())
process.send('ready')
