/** Strangers and an authenticated peer who send anything at all to a real listener, on which an honest peer is served meanwhile. */
import { once } from 'node:events'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { encodePacket } from '../../src/btp/packets.js'
import { json, octets } from '../../src/btp/protocol-data.js'
import { BtpListener } from '../../src/node.js'
import { clientOptions, makeClient, makeServer, PREFIX } from '../support/hosts.js'
import { MemoryLog } from '../support/memory-log.js'
import { packets } from '../support/packets.js'
import { authData, THEIR_LEDGER } from '../support/peers.js'

const HONEST = 'the-honest-secret'
const HOSTILE = 'the-hostile-secret'
const CASES = 150

const authentication = encodePacket({ type: 'message', requestId: 1, protocolData: authData(HOSTILE) })

/** Sub-protocols that mean something, with what they should not hold. */
const meaningful = fc.record({
  type: fc.constant('message' as const),
  requestId: fc.nat(0xffffffff),
  protocolData: fc.tuple(
    fc.constantFrom('auth', 'info', 'balance', 'limit', 'claim', 'paychan', 'custom', 'ilp', '__proto__', 'toString'),
    fc.oneof(
      fc.json().map(text => JSON.parse(text) as unknown),
      fc.constantFrom({ v: 1, ledger: THEIR_LEDGER }, { probe: true }, { constructor: { prototype: 1 } }, null)
    )
  ).map(([name, value]) => [json(name, value)])
})

const deep = encodePacket({ type: 'message', requestId: 2, protocolData: [octets('custom', Buffer.from('['.repeat(30_000)))] })

const whole = fc.oneof(
  packets().map(encodePacket), meaningful.map(encodePacket), fc.constantFrom(authentication, deep), fc.uint8Array({ maxLength: 300 })
)

/** A frame: as it should be, cut, with something behind it, with other bytes in it, or of any size. */
const frames = fc.oneof(
  whole,
  fc.tuple(whole, fc.nat(400)).map(([bytes, length]) => bytes.subarray(0, length)),
  fc.tuple(whole, fc.uint8Array({ maxLength: 50 })).map(parts => Buffer.concat(parts)),
  fc.tuple(whole, fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 6 })).map(([bytes, changes]) => {
    const changed = Uint8Array.from(bytes)
    for (const [at, byte] of changes) if (at < changed.length) changed[at] = byte
    return changed
  }),
  fc.integer({ min: 65_000, max: 66_000 }).map(length => new Uint8Array(length))
)

const visits = fc.record({
  authenticates: fc.boolean(),
  frames: fc.array(fc.record({ bytes: frames, binary: fc.boolean(), fin: fc.boolean() }), { maxLength: 25 }),
  end: fc.constantFrom('close' as const, 'terminate' as const)
})

it('H22, H28, H47: whatever strangers and a hostile peer send, the process lives, nobody is paid, and the honest peer is served', async () => {
  const listener = new BtpListener({ port: 0, host: '127.0.0.1' })
  const log = new MemoryLog()
  const honest = makeServer({ listener, incomingSecret: HONEST, _log: log })
  const attacked = makeServer({ listener, incomingSecret: HOSTILE, _log: log, maxBalance: '1000' })
  honest.registerRequestHandler(({ custom = {} }) => Promise.resolve({ to: honest.getPeerAccount(), custom }))
  await honest.connect()
  await attacked.connect()
  const port = listener.port ?? 0
  const client = makeClient(port, clientOptions(port, { server: `btp+ws://:${HONEST}@127.0.0.1:${port}` }))
  let drops = 0
  client.on('disconnect', () => { drops++ })
  await client.connect()

  let round = 0
  await fc.assert(fc.asyncProperty(visits, async visit => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
    // The listener may hang up at any point; that is its right.
    socket.on('error', () => undefined)
    await once(socket, 'open')
    const closed = once(socket, 'close')
    if (visit.authenticates) {
      socket.send(authentication)
      await once(socket, 'message')
    }
    for (const { bytes, binary, fin } of visit.frames) socket.send(bytes, { binary, fin })
    // Anything: to this the listener has come to everything before it, or has hung up.
    if (socket.readyState === WebSocket.OPEN) {
      const pong = once(socket, 'pong')
      socket.ping()
      await Promise.race([pong, closed])
    }
    socket[visit.end]()
    await closed
    const answer = await client.sendRequest({ to: client.getPeerAccount(), custom: { round: ++round } })
    expect(answer.custom).toEqual({ round })
    const held = attacked.inFlight().reduce((sum, { transfer }) => sum + Number(transfer.amount), 0)
    expect(held).toBeLessThanOrEqual(1000)
  }), { numRuns: CASES })

  expect(await attacked.getBalance()).toBe('0')
  expect(await client.getBalance()).toBe('0')
  expect([drops, attacked.getAccount()]).toEqual([0, `${PREFIX}server`])
  expect(log.lines.filter(line => line.length > 400 || /[^\x20-\x7e]|secret/.test(line))).toEqual([])
}, 60_000)
