/** Links over real sockets: what strangers do at the door, and how a process ends. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { doorkeeperOf } from '../../src/btp/doorkeeper.js'
import { Link } from '../../src/btp/link.js'
import type { LinkOptions } from '../../src/btp/link.js'
import { encodePacket } from '../../src/btp/packets.js'
import { NotAcceptedError, UnreachableError } from '../../src/core/errors.js'
import type { ListenerOptions } from '../../src/core/transport.js'
import { systemClock } from '../../src/platform/system-clock.js'
import { systemRandom } from '../../src/platform/system-random.js'
import { BtpListener } from '../../src/transport/listener.js'
import { dialFromNode } from '../../src/transport/node-socket.js'
import { compile } from '../support/compiled.js'
import { MemoryLog } from '../support/memory-log.js'
import { authData, hello, OUR_LEDGER, THEIR_LEDGER } from '../support/peers.js'
import { settle, VirtualClock } from '../support/virtual-clock.js'

const endings: Array<() => Promise<unknown>> = []
afterEach(async () => { for (const end of endings.splice(0).reverse()) await end() })

function makeLink(overrides: Partial<LinkOptions>): Link {
  const link = new Link({
    clock: systemClock,
    random: systemRandom,
    log: new MemoryLog(),
    ledgerId: OUR_LEDGER,
    handleRequest: packet => Promise.resolve(packet.protocolData),
    onUp: () => undefined,
    onDown: () => undefined,
    answerTimeoutMs: 5000,
    heartbeatMs: 30_000,
    heartbeatTimeoutMs: 5000,
    reconnectMinMs: 5,
    reconnectMaxMs: 50,
    maxRequests: 10_000,
    maxBufferedBytes: 16_777_216,
    ...overrides
  })
  endings.push(() => link.stop())
  return link
}

async function serve(tokens: string[], options: ListenerOptions = {}, clock = systemClock) {
  const listener = new BtpListener({ port: 0, host: '127.0.0.1', ...options })
  endings.push(() => listener.close())
  const door = doorkeeperOf(listener, { clock, log: new MemoryLog() })
  const downs: string[] = []
  const links = tokens.map(token => makeLink({
    authenticate: credentials => credentials.token === token,
    handleRequest: () => Promise.resolve([{ protocolName: 'served-by', contentType: 1, data: new TextEncoder().encode(token) }]),
    onDown: (_session, reason) => { downs.push(reason) }
  }))
  for (const link of links) await door.admit(link)
  const url = `ws://127.0.0.1:${listener.port}`
  const dialLink = (token: string, overrides: Partial<LinkOptions> = {}) => makeLink({
    ledgerId: THEIR_LEDGER,
    dial: { dial: dialFromNode, url, credentials: () => ({ username: '', token }) },
    ...overrides
  })
  return { listener, door, links, url, dialLink, downs }
}

/** A bare socket at the door. */
async function stranger(url: string): Promise<{ socket: WebSocket; closed: Promise<void> }> {
  const socket = new WebSocket(url)
  socket.on('error', () => undefined)
  const closed = new Promise<void>(resolve => { socket.on('close', () => { resolve() }) })
  await new Promise(resolve => { socket.on('open', resolve) })
  return { socket, closed }
}

const message = (requestId: number) => encodePacket({ type: 'message', requestId, protocolData: [] })

describe('strangers at a real door', () => {
  it('H22, H28: neither garbage, silence, early packets, wrong tokens nor leaving disturbs the peer inside', async () => {
    const clock = new VirtualClock()
    const { url, dialLink, downs, door } = await serve(['secret'], {}, clock)
    const peer = dialLink('secret')
    await peer.connect(5000)
    const attacks: Array<(socket: WebSocket) => void> = [
      socket => { socket.send(Uint8Array.of(0)) },
      socket => { socket.send('text') },
      socket => { socket.send(new Uint8Array()) },
      socket => {
        socket.send(message(1))
        socket.send(message(2))
      },
      socket => {
        socket.send(encodePacket({ type: 'message', requestId: 1, protocolData: authData('wrong') }))
        socket.send(message(2))
      },
      socket => { socket.send(new Uint8Array(100_000)) },
      socket => { socket.terminate() },
      () => undefined
    ]
    const strangers = await Promise.all(attacks.map(() => stranger(url)))
    for (const [i, { socket }] of strangers.entries()) attacks[i]?.(socket)
    while (door.unauthenticated > 2) await settle()
    // What is left has said nothing that counts.
    await clock.advance(2000)
    await Promise.all(strangers.map(({ closed }) => closed))
    expect((await peer.request(hello())).protocolData[0]?.protocolName).toBe('served-by')
    expect(downs).toEqual([])
    expect(door.unauthenticated).toBe(0)
  })

  it('an honest peer authenticates in the middle of a flood of sockets', async () => {
    const { url, dialLink, door } = await serve(['secret'], { maxUnauthenticated: 20 })
    const flood = Array.from({ length: 200 }, () => stranger(url))
    const peer = dialLink('secret')
    await peer.connect(5000)
    expect((await peer.request(hello())).protocolData).toHaveLength(1)
    const strangers = await Promise.all(flood)
    await Promise.all(strangers.slice(0, 100).map(({ closed }) => closed))
    expect(door.unauthenticated).toBeLessThanOrEqual(20)
    for (const { socket } of strangers) socket.terminate()
  })

  it('H30, C13: a wrong token is NotAcceptedError at once, and the right one still works', async () => {
    const { dialLink } = await serve(['secret'])
    await expect(dialLink('wrong').connect(5000)).rejects.toThrow(NotAcceptedError)
    await dialLink('secret').connect(5000)
  })

  it('several links share a listener: each peer reaches its own', async () => {
    const { dialLink, links, listener, door } = await serve(['alice', 'bob', 'carol'])
    const peers = ['bob', 'carol', 'alice'].map(token => ({ token, link: dialLink(token, { ledgerId: token.padEnd(32, '0').replace(/[^0-9a-f]/g, '1') }) }))
    await Promise.all(peers.map(({ link }) => link.connect(5000)))
    for (const { token, link } of peers) {
      const { protocolData } = await link.request(hello())
      expect(new TextDecoder().decode(protocolData[0]?.data)).toBe(token)
    }
    const [alice, bob, carol] = links
    if (alice === undefined || bob === undefined || carol === undefined) throw new Error('three were made')
    await alice.stop()
    await door.dismiss(alice)
    await peers[0]?.link.request(hello())
    expect(listener.port).toBeDefined()
    await door.dismiss(bob)
    await door.dismiss(carol)
    expect(listener.port).toBeUndefined()
  })

  it('a peer whose frame is too large loses its connection, and is back by itself', async () => {
    const { dialLink, downs } = await serve(['secret'])
    const peer = dialLink('secret', { maxFrameBytes: 1e6 })
    await peer.connect(5000)
    const large = peer.request({ type: 'message', protocolData: [{ protocolName: 'x', contentType: 0, data: new Uint8Array(100_000) }] })
    await expect(large).rejects.toThrow(UnreachableError)
    await peer.connect(5000)
    await peer.request(hello())
    expect(downs).toHaveLength(1)
  })

  it('H25, H30: when the listener goes and comes back, so does the session', async () => {
    const { dialLink, links: [server], door, listener } = await serve(['secret'])
    if (server === undefined) throw new Error('one was made')
    const { port } = listener
    const lost: string[] = []
    const peer = dialLink('secret', { onDown: (_session, reason) => { lost.push(reason) } })
    await peer.connect(5000)
    await server.stop()
    await door.dismiss(server)
    while (lost.length === 0) await settle()
    await expect(peer.request(hello())).rejects.toThrow(UnreachableError)
    // Port 0 would pick another one, so the same is asked for as an operator would.
    const second = new BtpListener({ port: port ?? 0, host: '127.0.0.1' })
    endings.push(() => second.close())
    await doorkeeperOf(second, { clock: systemClock, log: new MemoryLog() }).admit(server)
    await peer.connect(5000)
    await peer.request(hello())
  })
})

describe('a process', () => {
  const script = `
import { doorkeeperOf } from './btp/doorkeeper.js'
import { Link } from './btp/link.js'
import { BtpListener } from './transport/listener.js'
import { dialFromNode } from './transport/node-socket.js'
import { systemClock } from './platform/system-clock.js'
import { systemRandom } from './platform/system-random.js'
import { debugLogger } from './platform/debug-log.js'

const base = {
  clock: systemClock, random: systemRandom, log: debugLogger('exit'), onUp() {}, onDown() {},
  answerTimeoutMs: 60000, heartbeatMs: 60000, heartbeatTimeoutMs: 60000, reconnectMinMs: 10, reconnectMaxMs: 60000
}
const listener = new BtpListener({ port: 0, host: '127.0.0.1', authTimeoutMs: 60000 })
const server = new Link({ ...base, ledgerId: 'a'.repeat(32), authenticate: () => true, handleRequest: () => new Promise(() => {}) })
const door = doorkeeperOf(listener, base)
await door.admit(server)
const url = 'ws://127.0.0.1:' + listener.port
const dial = { dial: dialFromNode, url, credentials: () => ({ username: '', token: '' }) }
const client = new Link({ ...base, ledgerId: 'b'.repeat(32), dial, handleRequest: async () => [] })
await client.connect(60000)
const stranger = await dialFromNode(url, new AbortController().signal)
client.request({ type: 'message', protocolData: [] }).catch(error => { console.log(error.name) })
if (process.argv[2] === 'lose') {
  // Not stopped: the client goes on trying, so the process goes on.
  server.session.terminate('test')
  await door.dismiss(server)
  setTimeout(() => { console.log('still here'); process.exit(0) }, 300).unref()
} else {
  await client.stop()
  await Promise.all([server.session?.terminate('test'), server.stop(), door.dismiss(server)])
  console.log('stopped')
}
`

  it('H26: exits by itself once all is stopped, though calls, probes and strangers were waiting; and not while it reconnects', async () => {
    const { path, remove } = await compile(['core', 'btp', 'transport', 'platform'], { dependencies: true, files: { 'exit.js': script } })
    endings.push(remove)
    // Killed, and the call rejected, when it does not exit in time.
    const run = (mode: string) => promisify(execFile)(process.execPath, ['exit.js', mode], { cwd: path, timeout: 15_000 })
    const [stopped, lost] = await Promise.all([run('stop'), run('lose')])
    expect(stopped.stdout).toBe('UnreachableError\nstopped\n')
    expect(lost.stdout).toBe('UnreachableError\nstill here\n')
  })
})
