/**
 * One peer for the benchmark, in a process of its own: argv says which kind, `sender` or `receiver`, and where the receiver listens.
 * The receiver tells its port, and fulfills what comes. The sender runs when it is told to (`{ inFlight, ms }`), and tells how many
 * transfers were prepared, acknowledged and fulfilled in how long.
 */
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import process from 'node:process'
import { URL, fileURLToPath } from 'node:url'
import { AMOUNT, ILP, OPTIONS, conditions, expiresAt, preimages, run, send } from './workload.mjs'

const require = createRequire(import.meta.url)

const SECRET = 'secret'

/** The receiving host: fulfills whatever it can. */
function receive(plugin) {
  plugin.on('incoming_prepare', ({ id, executionCondition }) => {
    plugin.fulfillCondition(id, preimages.get(executionCondition)).catch(fail)
  })
}

const addressOf = port => `btp+ws://:${SECRET}@127.0.0.1:${port}`

async function ours(makeStore) {
  const { PaychanPlugin } = await import(new URL('../../dist/node.js', import.meta.url))
  const store = await makeStore()
  return {
    async receiver() {
      const plugin = new PaychanPlugin({ ...OPTIONS, listener: { port: 0 }, incomingSecret: SECRET, store })
      await plugin.connect()
      receive(plugin)
      return plugin.port
    },
    async sender(port) {
      const plugin = new PaychanPlugin({ ...OPTIONS, server: addressOf(port), store })
      await plugin.connect()
      return send(plugin)
    }
  }
}

/** Hosts of LPI v2. Packets are made beforehand but for their times: what is measured is the plugin. */
function packets() {
  const { serializeIlpPrepare } = require('ilp-packet')
  const data = Buffer.from(ILP, 'base64')
  const digits = () => expiresAt().replace(/\D/g, '')
  const prepares = conditions.map(condition => serializeIlpPrepare({
    amount: AMOUNT, executionCondition: Buffer.from(condition, 'base64'), expiresAt: new Date(expiresAt()), destination: 'test.bench', data
  }))
  const timeAt = prepares[0].indexOf(digits().slice(0, 8), 0, 'latin1')
  let turn = 0
  return () => {
    const packet = Buffer.from(prepares[turn++ % prepares.length])
    packet.write(digits(), timeAt, 'latin1')
    return packet
  }
}

/** Answers the packets of `packets`. */
function answerer() {
  const { deserializeIlpPrepare, serializeIlpFulfill } = require('ilp-packet')
  const fulfills = new Map(conditions.map(condition => [
    condition, serializeIlpFulfill({ fulfillment: Buffer.from(preimages.get(condition), 'base64'), data: Buffer.alloc(0) })
  ]))
  return async packet => fulfills.get(deserializeIlpPrepare(packet).executionCondition.toString('base64url'))
}

async function dataOurs(makeStore) {
  const { PaychanPlugin } = await import(new URL('../../dist/node.js', import.meta.url))
  const store = await makeStore()
  return dataPeer(
    port => new PaychanPlugin({ listener: { port }, incomingSecret: SECRET, store }, {}),
    port => new PaychanPlugin({ server: addressOf(port), store }, {})
  )
}

function dataBtp() {
  const Plugin = require('ilp-plugin-btp')
  return dataPeer(port => new Plugin({ listener: { port, secret: SECRET } }), port => new Plugin({ server: addressOf(port) }))
}

function dataPeer(makeReceiver, makeSender) {
  return {
    async receiver() {
      const port = await freePort()
      const plugin = makeReceiver(port)
      plugin.registerDataHandler(answerer())
      // One of the two ends only when its peer is there.
      plugin.connect().catch(fail)
      return port
    },
    async sender(port) {
      const plugin = makeSender(port)
      await plugin.connect()
      const next = packets()
      return () => plugin.sendData(next())
    }
  }
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
  return {
    async receiver() {
      const port = await freePort()
      const plugin = new Plugin({ ...OPTIONS, listener: { port }, incomingSecret: SECRET, _store: new ObjStore() })
      await plugin.connect()
      receive(plugin)
      return port
    },
    async sender(port) {
      const plugin = new Plugin({ ...OPTIONS, server: addressOf(port), _store: new ObjStore() })
      await plugin.connect()
      // It dials at its first request only, and each request that is made meanwhile would dial for itself.
      await plugin.getPeerBalance()
      return send(plugin)
    }
  }
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
  const write = (socket, size, id) => {
    const frame = Buffer.alloc(size)
    frame.writeUInt32BE(id, 1)
    socket.send(frame)
  }
  return {
    async receiver() {
      const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
      await once(server, 'listening')
      server.on('connection', socket => {
        socket.on('message', frame => {
          if (frame.length !== sizes.prepare) return
          write(socket, sizes.response, frame.readUInt32BE(1))
          write(socket, sizes.fulfill, frame.readUInt32BE(1))
        })
      })
      return server.address().port
    },
    async sender(port) {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
      await once(socket, 'open')
      const waiting = new Map()
      socket.on('message', frame => {
        if (frame.length !== sizes.fulfill) return
        const id = frame.readUInt32BE(1)
        write(socket, sizes.response, id)
        waiting.get(id)()
        waiting.delete(id)
      })
      let turn = 0
      return () => new Promise(resolve => {
        const id = turn++ >>> 0
        waiting.set(id, resolve)
        write(socket, sizes.prepare, id)
      })
    }
  }
}

function frameSizes() {
  const btp = require('btp-packet-1')
  const ilp = [{ protocolName: 'ilp', contentType: btp.MIME_APPLICATION_OCTET_STREAM, data: Buffer.from(ILP, 'base64') }]
  const [executionCondition] = conditions
  const transferId = randomUUID()
  return {
    prepare: btp.serializePrepare({ transferId, amount: AMOUNT, executionCondition, expiresAt: new Date(expiresAt()) }, 1, ilp).length,
    fulfill: btp.serializeFulfill({ transferId, fulfillment: preimages.get(executionCondition) }, 1, []).length,
    response: btp.serializeResponse(1, []).length
  }
}

const kinds = {
  'ours': () => ours(memoryStore),
  'lmdb': () => ours(lmdbStore),
  old,
  'ws': bare,
  'data-ours': () => dataOurs(memoryStore),
  'data-lmdb': () => dataOurs(lmdbStore),
  'data-btp': dataBtp
}

function fail(error) {
  process.send({ error: String(error) })
}

// The old package leaves timers behind that would keep the process for minutes.
process.on('disconnect', () => process.exit())
const [, , kind, role, receiverPort] = process.argv
const peer = await kinds[kind]()
if (role === 'receiver') {
  process.send({ port: await peer.receiver() })
} else {
  const transfer = await peer.sender(Number(receiverPort))
  process.on('message', order => {
    run(transfer, order).then(result => process.send(result), fail)
  })
  process.send({ port: Number(receiverPort) })
}
