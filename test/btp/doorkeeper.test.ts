import { describe, expect, it, vi } from 'vitest'
import { announcement } from '../../src/btp/auth.js'
import type { Credentials } from '../../src/btp/auth.js'
import { Doorkeeper, doorkeeperOf } from '../../src/btp/doorkeeper.js'
import type { DoorkeeperOptions, Host, Recognition } from '../../src/btp/doorkeeper.js'
import type { ErrorPacket, Packet } from '../../src/btp/packets.js'
import { decodeErrorData, octets, text } from '../../src/btp/protocol-data.js'
import { Session } from '../../src/btp/session.js'
import { NotAcceptedError, UnreachableError } from '../../src/core/errors.js'
import { connectionPair, PairAcceptor } from '../../src/transport/pair.js'
import { MemoryLog } from '../support/memory-log.js'
import { authData, sessionOptions, THEIR_LEDGER, WirePeer } from '../support/peers.js'
import { settle, VirtualClock } from '../support/virtual-clock.js'

/** A host that knows one token, and echoes what its sessions are asked. */
class TokenHost implements Host {
  readonly sessions: Session[] = []
  readonly asked: Credentials[] = []
  readonly #token: string
  readonly #clock: VirtualClock

  constructor(token: string, clock: VirtualClock) {
    this.#token = token
    this.#clock = clock
  }

  recognises(credentials: Credentials): Promise<Recognition> {
    this.asked.push(credentials)
    return Promise.resolve(credentials.token === this.#token ? 'peer' : 'stranger')
  }

  accept(...[connection, requestId, peer]: Parameters<Host['accept']>): Session {
    const session = new Session(connection, false, sessionOptions({ clock: this.#clock }), () => undefined)
    session.accept(requestId, peer)
    this.sessions.push(session)
    return session
  }
}

async function setUp(options: DoorkeeperOptions = {}) {
  const clock = new VirtualClock()
  const log = new MemoryLog()
  const door = new Doorkeeper({ clock, log }, options)
  const host = new TokenHost('secret', clock)
  await door.admit(host)
  const arrive = (): WirePeer => {
    const [near, far] = connectionPair()
    door.receive(near)
    return new WirePeer(far)
  }
  const auth = (token: string, requestId = 1): Packet => ({ type: 'message', requestId, protocolData: authData(token) })
  return { clock, log, door, host, arrive, auth }
}

const errorOf = (packet: Packet) => {
  const { type, requestId, name, code, data } = packet as ErrorPacket
  return { type, requestId, name, code, message: decodeErrorData(data) }
}

describe('the doorkeeper', () => {
  it('C10, C16: lets a peer in after its auth Message, and both may ask from then on', async () => {
    const { host, arrive, auth, clock, door } = await setUp()
    const peer = arrive()
    peer.send(auth('secret'))
    expect(await peer.next()).toEqual({ type: 'response', requestId: 1, protocolData: [] })
    peer.send({ type: 'message', requestId: 2, protocolData: [text('a', 'b')] })
    expect(await peer.next()).toEqual({ type: 'response', requestId: 2, protocolData: [text('a', 'b')] })
    const answer = host.sessions[0]?.request({ type: 'message', protocolData: [] })
    peer.respond(await peer.next())
    await answer
    expect(door.unauthenticated).toBe(0)
    await clock.advance(10_000)
    expect(peer.closed).toBeUndefined()
  })

  it('tells a host what the peer announced', async () => {
    const { host, arrive } = await setUp()
    const peer = arrive()
    peer.send({ type: 'message', requestId: 1, protocolData: authData('secret', 'bob', announcement(THEIR_LEDGER)) })
    await peer.next()
    expect(host.asked).toEqual([{ username: 'bob', token: 'secret' }])
    expect(host.sessions[0]?.peer).toEqual({ announced: true, ledgerId: THEIR_LEDGER })
  })

  it.each<[string, Packet]>([
    ['C12: a Message of another kind', { type: 'message', requestId: 9, protocolData: [text('ilp', '')] }],
    ['C12: another packet', { type: 'transfer', requestId: 9, amount: '1', protocolData: [] }],
    ['C12: an answer', { type: 'response', requestId: 9, protocolData: [] }],
    ['C11: no token', { type: 'message', requestId: 9, protocolData: [octets('auth', new Uint8Array())] }],
    ['C5: a name twice', { type: 'message', requestId: 9, protocolData: authData('secret', '', text('auth_token', 'secret')) }]
  ])('%s comes first: Error, then close', async (_what, packet) => {
    const { arrive, clock, host } = await setUp()
    const peer = arrive()
    peer.send(packet)
    expect(errorOf(await peer.next())).toMatchObject({ type: 'error', requestId: 9, name: 'InvalidFieldsError', code: 'F01' })
    await settle()
    expect(peer.closed).toBeDefined()
    expect(host.asked).toEqual([])
    expect(clock.pending).toBe(0)
  })

  it('C13: bad credentials: Error, then close', async () => {
    const { arrive, auth, clock, log } = await setUp()
    const peer = arrive()
    peer.send(auth('guessed-token'))
    expect(errorOf(await peer.next())).toMatchObject({ type: 'error', requestId: 1, name: 'NotAcceptedError', code: 'F00' })
    await settle()
    expect(peer.closed).toBeDefined()
    expect(clock.pending).toBe(0)
    // H32: not even a wrong token, which may be a mistyped right one.
    expect(log.lines.join('\n')).not.toContain('guessed')
  })

  it('H22: a garbage byte costs the stranger its connection, and nobody anything else', async () => {
    const { arrive, auth } = await setUp()
    const peer = arrive()
    peer.send(auth('secret'))
    await peer.next()
    for (const bytes of [[0], [], [255, 255], [6, 0, 0, 0, 1, 0x88, 1, 2, 3, 4, 5, 6, 7, 8]]) {
      const stranger = arrive()
      stranger.sendBytes(...bytes)
      await settle()
      expect(stranger.closed).toBeDefined()
      expect(stranger.received).toEqual([])
    }
    expect(peer.closed).toBeUndefined()
  })

  it('C14, H23: silence ends at the deadline, for each connection by its own', async () => {
    const { arrive, auth, clock, door } = await setUp()
    const first = arrive()
    await clock.advance(1000)
    const second = arrive()
    const peer = arrive()
    peer.send(auth('secret'))
    await clock.advance(1000)
    expect(first.closed).toBeDefined()
    expect(second.closed).toBeUndefined()
    await clock.advance(999)
    expect(second.closed).toBeUndefined()
    await clock.advance(1)
    expect(second.closed).toBeDefined()
    expect(peer.closed).toBeUndefined()
    expect(door.unauthenticated).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('C14: a stranger that does not leave when it is told to is dropped a second later', async () => {
    const { clock, door } = await setUp()
    const terminate = vi.fn()
    const ignore = () => undefined
    door.receive({ label: 'rude', bufferedBytes: 0, open: ignore, send: ignore, close: ignore, terminate })
    await clock.advance(2999)
    expect(terminate).not.toHaveBeenCalled()
    expect(door.unauthenticated).toBe(1)
    await clock.advance(1)
    expect(terminate).toHaveBeenCalledOnce()
    expect(door.unauthenticated).toBe(0)
  })

  it('over the cap the oldest goes, and a newcomer is never refused', async () => {
    const { arrive, auth, door } = await setUp({ maxUnauthenticated: 3 })
    const inside = arrive()
    inside.send(auth('secret'))
    await inside.next()
    const strangers = Array.from({ length: 50 }, arrive)
    const honest = arrive()
    honest.send(auth('secret'))
    const more = [arrive(), arrive()]
    expect((await honest.next()).type).toBe('response')
    expect(door.unauthenticated).toBe(2)
    await settle()
    expect(strangers.filter(stranger => stranger.closed === undefined)).toHaveLength(0)
    expect(more.filter(stranger => stranger.closed === undefined)).toHaveLength(2)
    expect(inside.closed).toBeUndefined()
  })

  it('H22, H45: packets that a client sends behind its auth Message, without waiting, are served once it is let in', async () => {
    const { arrive, auth } = await setUp()
    const peer = arrive()
    peer.send(auth('secret', 1))
    peer.send({ type: 'message', requestId: 2, protocolData: [] })
    peer.send({ type: 'message', requestId: 3, protocolData: [] })
    const answers = [await peer.next(), await peer.next(), await peer.next()]
    expect(answers.map(packet => packet.requestId)).toEqual([1, 2, 3])
  })

  it('a stranger that sends without end behind its auth Message is shown the door', async () => {
    const { arrive, auth, door } = await setUp()
    await door.admit({ recognises: () => new Promise(() => undefined), accept: () => { throw new Error('never') } })
    const stranger = arrive()
    stranger.send(auth('unknown'))
    for (let requestId = 2; requestId < 20; requestId++) stranger.send({ type: 'message', requestId, protocolData: [] })
    await settle()
    expect(stranger.closed).toBeDefined()
    const large = arrive()
    large.send(auth('unknown'))
    for (let requestId = 2; requestId < 4; requestId++) {
      large.send({ type: 'message', requestId, protocolData: [octets('x', new Uint8Array(40_000))] })
    }
    await settle()
    expect(large.closed).toBeDefined()
  })

  it('shows a connection to its hosts in order: the first that recognises it has it', async () => {
    const { arrive, auth, clock, door, host } = await setUp()
    const second = new TokenHost('other', clock)
    const third = new TokenHost('other', clock)
    await door.admit(second)
    await door.admit(third)
    const peer = arrive()
    peer.send(auth('other'))
    await peer.next()
    expect([host, second, third].map(({ sessions }) => sessions.length)).toEqual([0, 1, 0])
    expect(third.asked).toEqual([])
  })

  it('a host whose check fails keeps nobody from the next; where none recognises the peer it may come again', async () => {
    const { arrive, auth, clock, door, log } = await setUp()
    await door.admit({ recognises: () => Promise.reject(new Error('no database at 10.0.0.1')), accept: () => { throw new Error('never') } })
    const last = new TokenHost('other', clock)
    await door.admit(last)
    const peer = arrive()
    peer.send(auth('other'))
    expect((await peer.next()).type).toBe('response')
    const unlucky = arrive()
    unlucky.send(auth('whose'))
    const error = errorOf(await unlucky.next())
    expect(error).toMatchObject({ name: 'UnreachableError', code: 'T00' })
    expect(error.message).not.toContain('10.0.0.1')
    expect(log.at('warn')).toHaveLength(2)
  })

  it('tells a client that reaches itself', async () => {
    const { arrive, auth, door } = await setUp()
    await door.admit({ recognises: () => Promise.resolve('ourselves'), accept: () => { throw new Error('never') } })
    const peer = arrive()
    peer.send(auth('own'))
    expect(errorOf(await peer.next())).toMatchObject({ name: 'NotAcceptedError', message: 'this connection leads back to where it comes from' })
  })

  it('H28: a peer that leaves while its credentials are looked at is not let in', async () => {
    const { auth, clock, door } = await setUp()
    const releases: Array<(recognition: Recognition) => void> = []
    const accept = vi.fn<Host['accept']>()
    await door.admit({ recognises: () => new Promise(resolve => { releases.push(resolve) }), accept })
    const [near, far] = connectionPair()
    door.receive(near)
    const peer = new WirePeer(far)
    peer.send(auth('slow'))
    await settle()
    peer.leave()
    await settle()
    releases[0]?.('peer')
    await settle()
    expect(accept).not.toHaveBeenCalled()
    expect(door.unauthenticated).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('a host that was dismissed while it was thinking does not get the connection', async () => {
    const { arrive, auth, door } = await setUp()
    const releases: Array<(recognition: Recognition) => void> = []
    const accept = vi.fn<Host['accept']>()
    const slow: Host = { recognises: () => new Promise(resolve => { releases.push(resolve) }), accept }
    await door.admit(slow)
    const peer = arrive()
    peer.send(auth('slow'))
    await settle()
    await door.dismiss(slow)
    releases[0]?.('peer')
    expect(errorOf(await peer.next())).toMatchObject({ name: 'UnreachableError', code: 'T00' })
    expect(accept).not.toHaveBeenCalled()
  })

  it('H29: before it is let in, a connection receives nothing but the answer to what it said', async () => {
    const { arrive, auth, host } = await setUp()
    const peer = arrive()
    peer.send(auth('secret'))
    await peer.next()
    const stranger = arrive()
    const request = host.sessions[0]?.request({ type: 'message', protocolData: [text('private', '')] })
    peer.respond(await peer.next())
    await request
    expect(stranger.received).toEqual([])
  })
})

describe('a doorkeeper and its acceptor', () => {
  const ports = () => ({ clock: new VirtualClock(), log: new MemoryLog() })
  const host = (): Host => ({ recognises: () => Promise.resolve('stranger'), accept: () => { throw new NotAcceptedError('never') } })

  it('is one for all who share it', () => {
    const acceptor = new PairAcceptor()
    expect(doorkeeperOf(acceptor, ports())).toBe(doorkeeperOf(acceptor, ports()))
    expect(doorkeeperOf(new PairAcceptor(), ports())).not.toBe(doorkeeperOf(acceptor, ports()))
  })

  it('listens with the first host, closes with the last, and again', async () => {
    const acceptor = new PairAcceptor()
    const door = doorkeeperOf(acceptor, ports())
    const [a, b] = [host(), host()]
    for (let round = 0; round < 2; round++) {
      await Promise.all([door.admit(a), door.admit(b), door.admit(a)])
      expect(acceptor.port).toBe(0)
      await door.dismiss(a)
      await door.dismiss(a)
      expect(acceptor.port).toBe(0)
      await door.dismiss(b)
      expect(acceptor.port).toBeUndefined()
    }
  })

  it('H30: a port that cannot be bound is told to each who asked, and can be tried again', async () => {
    const acceptor = new PairAcceptor()
    const listen = vi.spyOn(acceptor, 'listen').mockRejectedValue(new UnreachableError('in use'))
    const door = doorkeeperOf(acceptor, ports())
    const [a, b] = [host(), host()]
    const results = await Promise.allSettled([door.admit(a), door.admit(b)])
    expect(results.map(result => result.status)).toEqual(['rejected', 'rejected'])
    listen.mockRestore()
    await door.admit(b)
    expect(acceptor.port).toBe(0)
  })

  it('takes its deadline and its cap from the acceptor', async () => {
    const acceptor = new PairAcceptor({ authTimeoutMs: 50, maxUnauthenticated: 1 })
    const { clock, log } = ports()
    const door = doorkeeperOf(acceptor, { clock, log })
    await door.admit(host())
    const signal = new AbortController().signal
    const [first, second] = [new WirePeer(await acceptor.dial('a', signal)), new WirePeer(await acceptor.dial('b', signal))]
    await settle()
    expect([first.closed === undefined, second.closed === undefined]).toEqual([false, true])
    await clock.advance(50)
    expect(second.closed).toBeDefined()
  })

  it('drops those before the door when the last host goes', async () => {
    const acceptor = new PairAcceptor()
    const { clock, log } = ports()
    const door = doorkeeperOf(acceptor, { clock, log })
    const only = host()
    await door.admit(only)
    const stranger = new WirePeer(await acceptor.dial('a', new AbortController().signal))
    await door.dismiss(only)
    await settle()
    expect(stranger.closed).toBeDefined()
    expect(clock.pending).toBe(0)
  })
})
