import { describe, expect, it } from 'vitest'
import { Link } from '../../src/btp/link.js'
import type { LinkOptions } from '../../src/btp/link.js'
import { json, octets, text } from '../../src/btp/protocol-data.js'
import { InvalidFieldsError, NotAcceptedError, UnreachableError } from '../../src/core/errors.js'
import type { Dial } from '../../src/core/transport.js'
import { connectionPair } from '../../src/transport/pair.js'
import { authData, hello, Network, OUR_LEDGER, sessionOptions, TestPeer, THEIR_LEDGER, WirePeer } from '../support/peers.js'
import { settle, VirtualClock } from '../support/virtual-clock.js'

/** A server that listens, and a client that dials it. */
async function clientAndServer(overrides: Partial<LinkOptions> & { token?: string } = {}) {
  const clock = new VirtualClock()
  const network = new Network()
  const server = new TestPeer('server', network, clock, { ledgerId: OUR_LEDGER })
  const client = new TestPeer('client', network, clock, { ledgerId: THEIR_LEDGER, server: 'server', ...overrides })
  await server.listen(network, 'server')
  return { clock, network, server, client }
}

/** Both listen and dial each other. */
async function symmetricPeers() {
  const clock = new VirtualClock()
  const network = new Network()
  const greater = new TestPeer('greater', network, clock, { ledgerId: 'ff'.repeat(16), server: 'lesser' })
  const lesser = new TestPeer('lesser', network, clock, { ledgerId: '11'.repeat(16), server: 'greater' })
  await greater.listen(network, 'greater')
  await lesser.listen(network, 'lesser')
  return { clock, network, greater, lesser }
}

const open = (peer: TestPeer): boolean => peer.link.session?.closed === false

describe('connect', () => {
  it('resolves when authenticated: both sides have a session, and a request goes either way', async () => {
    const { client, server } = await clientAndServer()
    await client.link.connect(5000)
    expect(client.link.session?.dialled).toBe(true)
    expect(server.link.session?.dialled).toBe(false)
    expect(client.link.session?.peer).toEqual({ announced: true, ledgerId: OUR_LEDGER })
    expect(server.link.session?.peer).toEqual({ announced: true, ledgerId: THEIR_LEDGER })
    expect((await client.link.request(hello('up'))).protocolData).toEqual(hello('up').protocolData)
    expect((await server.link.request(hello('down'))).protocolData).toEqual(hello('down').protocolData)
    expect([client.history, server.history]).toEqual([['up'], ['up']])
  })

  it('twice is once, and H45: those that ask while it is under way share one connection', async () => {
    const { client, network } = await clientAndServer()
    await Promise.all([client.link.connect(5000), client.link.connect(Infinity), client.link.connect(1000)])
    await client.link.connect(5000)
    expect(network.wires).toHaveLength(1)
    expect(client.history).toEqual(['up'])
  })

  it('H31, C41: is UnreachableError at the time-out, having dialled repeatedly, and leaves nothing running', async () => {
    const { client, clock, network } = await clientAndServer()
    network.open('server', undefined)
    let attempts = 0
    const dial = network.dialFrom('client')
    const link = new Link({ ...linkOptions(clock), dial: { dial: (...args) => { attempts++; return dial(...args) }, url: 'server', credentials } })
    const failure = expect(link.connect(5000)).rejects.toThrow(/no connection within 5000 ms: cannot reach server/)
    await clock.advance(4999)
    expect(attempts).toBeGreaterThan(3)
    const before = attempts
    await clock.advance(1)
    await failure
    await clock.advance(60_000)
    expect(attempts).toBe(before)
    expect(clock.pending).toBe(0)
    expect(client.history).toEqual([])
  })

  it('H30: a failed one can be repeated, and an infinite one waits for the server to come', async () => {
    const { client, server, clock, network } = await clientAndServer()
    network.open('server', undefined)
    const failure = expect(client.link.connect(1000)).rejects.toThrow(UnreachableError)
    await clock.advance(1000)
    await failure
    const connected = client.link.connect(Infinity)
    await clock.advance(100_000)
    network.open('server', server.door)
    await clock.advance(10_000)
    await connected
    expect(open(client)).toBe(true)
  })

  it('H30: refused credentials are NotAcceptedError at once; with the right ones it connects, at once too', async () => {
    const clock = new VirtualClock()
    const network = new Network()
    const server = new TestPeer('server', network, clock, {})
    await server.listen(network, 'server')
    let token = 'wrong'
    const asked: string[] = []
    const client = new Link({
      ...linkOptions(clock),
      dial: {
        dial: network.dialFrom('client'),
        url: 'server',
        credentials: () => {
          asked.push(token)
          return Promise.resolve({ username: '', token })
        }
      }
    })
    await expect(client.connect(Infinity)).rejects.toThrow(NotAcceptedError)
    await clock.advance(60_000)
    expect(clock.pending).toBe(0)
    expect(asked).toEqual(['wrong'])
    token = 'secret'
    await client.connect(Infinity)
    expect(asked).toEqual(['wrong', 'secret'])
  })

  it('C41: missing credentials are InvalidFieldsError at once; a credentials function that fails otherwise is asked again', async () => {
    const { client, clock, network } = await clientAndServer()
    const dial = network.dialFrom('client')
    const missing = () => { throw new InvalidFieldsError('server has no token') }
    const without = new Link({ ...linkOptions(clock), dial: { dial, url: 'server', credentials: missing } })
    await expect(without.connect(5000)).rejects.toThrow(InvalidFieldsError)
    let asked = 0
    const flaky = () => asked++ < 2 ? Promise.reject(new Error('token service says hunter2')) : Promise.resolve(credentials())
    const link = new Link({ ...linkOptions(clock), log: client.log, dial: { dial, url: 'server', credentials: flaky } })
    const connected = link.connect(5000)
    await clock.advance(2000)
    await connected
    expect(asked).toBe(3)
    expect(client.log.lines.join('\n')).not.toContain('hunter2')
  })

  it('is bounded though the credentials function, the dial or the server hangs', async () => {
    const { clock, network } = await clientAndServer()
    const hangingDial: Dial = (_url, signal) => new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => { reject(new UnreachableError('given up')) })
    })
    const never = () => new Promise<never>(() => undefined)
    const silent: Dial = () => Promise.resolve(connectionPair()[0])
    for (const dial of [
      { dial: network.dialFrom('client'), url: 'server', credentials: never },
      { dial: hangingDial, url: 'server', credentials },
      { dial: silent, url: 'server', credentials }
    ]) {
      const link = new Link({ ...linkOptions(clock), dial })
      const failure = expect(link.connect(30_000)).rejects.toThrow(UnreachableError)
      await clock.advance(31_000)
      await failure
      expect(clock.pending).toBe(0)
    }
  })

  it('refuses to be its own peer', async () => {
    const { network, clock } = await clientAndServer()
    const own = new TestPeer('own', network, clock, { ledgerId: 'cc'.repeat(16), server: 'own' })
    await own.listen(network, 'own')
    await expect(own.link.connect(5000)).rejects.toThrow(/leads back/)
    expect(own.history).toEqual([])
  })

  it('a listener that throws harms nothing', async () => {
    const fail = (): never => { throw new Error('listener') }
    const { client, server, network } = await clientAndServer({ onUp: fail, onDown: fail })
    await client.link.connect(5000)
    await client.link.request(hello())
    network.wires[0]?.far.terminate()
    await settle()
    expect(client.link.session).toBeUndefined()
    expect(client.log.at('error')).toHaveLength(2)
    expect(server.history).toHaveLength(2)
  })

  it('without anything to dial it waits for the peer to come', async () => {
    const { server, client, clock } = await clientAndServer()
    const connected = server.link.connect(1000)
    await client.link.connect(1000)
    await connected
    await client.link.stop()
    await server.link.stop()
    const failure = expect(server.link.connect(1000)).rejects.toThrow(UnreachableError)
    await clock.advance(1000)
    await failure
  })
})

const credentials = () => ({ username: '', token: 'secret' })

function linkOptions(clock: VirtualClock): LinkOptions {
  return {
    ...sessionOptions({ clock, ledgerId: THEIR_LEDGER }),
    onUp: () => undefined,
    onDown: () => undefined,
    reconnectMinMs: 100,
    reconnectMaxMs: 10_000
  }
}

describe('a link that has lost its session', () => {
  it('H25: says so, fails calls at once, dials again and authenticates again (C17)', async () => {
    const { client, server, clock, network } = await clientAndServer()
    await client.link.connect(5000)
    network.wires[0]?.far.terminate()
    await settle()
    expect(client.link.session).toBeUndefined()
    await expect(client.link.request(hello())).rejects.toThrow(UnreachableError)
    expect(client.history).toEqual(['up', 'down: connection lost'])
    await clock.advance(200)
    expect(client.history).toEqual(['up', 'down: connection lost', 'up'])
    expect(server.history).toEqual(['up', 'down: terminated', 'up'])
    await client.link.request(hello())
  })

  it('H36: waits longer each time, with jitter, up to the bound; and dials soon again after a session that lasted', async () => {
    const { client, clock, network } = await clientAndServer()
    const dialled: number[] = []
    const dial = network.dialFrom('client')
    const link = new Link({
      ...linkOptions(clock),
      log: client.log,
      dial: {
        url: 'server',
        credentials,
        dial: (...args) => {
          dialled.push(clock.now())
          return dial(...args)
        }
      }
    })
    await link.connect(5000)
    network.open('server', undefined)
    network.wires[0]?.far.terminate()
    await clock.advance(300_000)
    const waits = dialled.slice(1).map((at, i) => at - (dialled[i] ?? 0))
    for (const [i, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(100)
      expect(wait).toBeLessThanOrEqual(Math.min(10_000, 100 * 2 ** (i + 1)))
    }
    expect(new Set(waits).size).toBe(waits.length)
    expect(Math.max(...waits)).toBeGreaterThan(3000)
  })

  it('H36: a session that lasted lets the waits begin anew, one that did not goes on with them', async () => {
    for (const [lastingMs, most] of [[10_001, 200], [10, Infinity]] as const) {
      const { client, server, clock, network } = await clientAndServer()
      await client.link.connect(5000)
      network.open('server', undefined)
      network.wires[0]?.far.terminate()
      await clock.advance(60_000)
      network.open('server', server.door)
      await clock.advance(10_000)
      expect(open(client)).toBe(true)
      await clock.advance(lastingMs)
      network.wires.at(-1)?.far.terminate()
      await settle()
      let waited = 0
      for (; !open(client) && waited < 20_000; waited += 10) await clock.advance(10)
      expect(waited).toBeLessThanOrEqual(most)
    }
  })

  it('H28: a stranger that fails at the door, or leaves, disturbs no session', async () => {
    const { client, server, network, clock } = await clientAndServer({ token: 'secret' })
    await client.link.connect(5000)
    for (const token of ['wrong', '']) {
      const stranger = new WirePeer(await network.dialFrom('stranger')('server', new AbortController().signal))
      stranger.send({ type: 'message', requestId: 1, protocolData: authData(token) })
      await settle()
      stranger.leave()
    }
    const silent = new WirePeer(await network.dialFrom('stranger')('server', new AbortController().signal))
    await clock.advance(5000)
    expect(silent.closed).toBeDefined()
    expect([client.history, server.history]).toEqual([['up'], ['up']])
    await client.link.request(hello())
    await server.link.request(hello())
  })

  it('credentials that are refused later are reported, and tried again at the slowest pace', async () => {
    let token = 'secret'
    const { client, clock, network } = await clientAndServer({ authenticate: undefined as never })
    let asked = 0
    const link = new Link({
      ...linkOptions(clock),
      log: client.log,
      dial: {
        dial: network.dialFrom('client'),
        url: 'server',
        credentials: () => {
          asked++
          return { username: '', token }
        }
      }
    })
    await link.connect(5000)
    token = 'outdated'
    network.wires[0]?.far.terminate()
    await clock.advance(1000)
    expect(asked).toBe(2)
    await clock.advance(30_000)
    expect(asked).toBe(5)
    expect(client.log.at('warn')).toHaveLength(4)
    token = 'secret'
    await clock.advance(10_000)
    expect(link.session?.closed).toBe(false)
  })
})

describe('start', () => {
  it('dials in the background until there is a session, also where credentials are refused at first', async () => {
    const clock = new VirtualClock()
    const network = new Network()
    const client = new TestPeer('client', network, clock, { ledgerId: THEIR_LEDGER, server: 'server' })
    client.link.start()
    await clock.advance(60_000)
    expect(client.history).toEqual([])
    const stern = new TestPeer('server', network, clock, { authenticate: () => false })
    await stern.listen(network, 'server')
    await clock.advance(60_000)
    expect(client.log.at('warn').length).toBeGreaterThan(0)
    const server = new TestPeer('server', network, clock, {})
    await server.listen(network, 'server')
    await clock.advance(10_000)
    expect(client.history).toEqual(['up'])
  })
})

describe('stop', () => {
  it('ends the session on both sides, fails what is asked, and leaves no timer', async () => {
    const { client, server, clock, network } = await clientAndServer()
    await client.link.connect(5000)
    const request = expect(client.link.request(hello('slow'))).rejects.toThrow(UnreachableError)
    await Promise.all([client.link.stop(), client.link.stop(), request])
    await settle()
    expect(client.link.session).toBeUndefined()
    expect([client.history, server.history]).toEqual([['up', 'down: disconnected'], ['up', 'down: closed by the peer']])
    await clock.advance(60_000)
    expect(network.wires).toHaveLength(1)
    expect(clock.pending).toBe(0)
  })

  it('answers first what it was asked', async () => {
    const { client, server, clock } = await clientAndServer()
    const releases: Array<() => void> = []
    const slow = await clientAndServer({
      handleRequest: async packet => {
        await new Promise<void>(resolve => { releases.push(resolve) })
        return packet.protocolData
      }
    })
    await slow.client.link.connect(5000)
    const answer = slow.server.link.request(hello())
    await settle()
    const stopped = slow.client.link.stop()
    await settle()
    releases[0]?.()
    expect((await answer).protocolData).toEqual(hello().protocolData)
    await stopped
    expect([client.history, server.history, clock.pending]).toEqual([[], [], 0])
  })

  it('ends a connect that is under way, and H30: both work again afterwards', async () => {
    const { client, server, clock, network } = await clientAndServer()
    network.open('server', undefined)
    const failure = expect(client.link.connect(Infinity)).rejects.toThrow(UnreachableError)
    await clock.advance(1000)
    await client.link.stop()
    await failure
    expect(clock.pending).toBe(0)
    network.open('server', server.door)
    for (let round = 0; round < 3; round++) {
      // At once, before the stop has ended.
      await client.link.connect(5000)
      void client.link.stop()
    }
    client.link.start()
    await clock.advance(100)
    expect(open(client)).toBe(true)
    await client.link.stop()
  })

  it('lets nobody in while it ends', async () => {
    const { client, server, network } = await clientAndServer({ handleRequest: () => new Promise(() => undefined) })
    await client.link.connect(5000)
    void server.link.request(hello()).catch(() => undefined)
    const other = new WirePeer(await network.dialFrom('other')('server', new AbortController().signal))
    await settle()
    const stopped = server.link.stop()
    other.send({ type: 'message', requestId: 1, protocolData: authData('secret') })
    expect(await other.next()).toMatchObject({ type: 'error', code: 'T00', name: 'UnreachableError' })
    client.link.session?.terminate('test')
    await stopped
    expect(server.history).toEqual(['up', 'down: disconnected'])
  })
})

describe('a socket that somebody else opened', () => {
  it('is a session like a dialled one, once its auth is answered', async () => {
    const clock = new VirtualClock()
    const link = new Link(linkOptions(clock))
    const [near, far] = connectionPair()
    const peer = new WirePeer(far)
    const added = link.addClientSocket(near, { username: 'bob', token: 'secret' })
    const auth = await peer.next()
    expect(link.session).toBeUndefined()
    peer.respond(auth)
    await added
    expect(link.session?.dialled).toBe(true)
    const request = link.request(hello())
    peer.respond(await peer.next())
    await request
    peer.leave()
    await settle()
    expect(link.session).toBeUndefined()
    expect(clock.pending).toBe(0)
  })

  it('H30: refused credentials are NotAcceptedError', async () => {
    const link = new Link(linkOptions(new VirtualClock()))
    const [near, far] = connectionPair()
    const peer = new WirePeer(far)
    const added = link.addClientSocket(near, { username: '', token: 'x' })
    const { requestId } = await peer.next()
    peer.send({ type: 'error', requestId, code: 'F00', name: 'NotAcceptedError', triggeredAt: new Date(0), data: '', protocolData: [] })
    await expect(added).rejects.toThrow(NotAcceptedError)
  })

  it('two at once authenticate one after the other, so that both sides name the same one the newer', async () => {
    const link = new Link(linkOptions(new VirtualClock()))
    const [firstNear, firstFar] = connectionPair()
    const [secondNear, secondFar] = connectionPair()
    const [first, second] = [new WirePeer(firstFar), new WirePeer(secondFar)]
    const added = [link.addClientSocket(firstNear, credentials()), link.addClientSocket(secondNear, credentials())]
    const auth = await first.next()
    await settle()
    expect(second.received).toEqual([])
    first.respond(auth)
    second.respond(await second.next())
    await Promise.all(added)
    const request = link.request(hello())
    second.respond(await second.next())
    await request
  })
})

describe('takeover and election', () => {
  it('of two connections from the same side the newer takes over; the older closes after its answers', async () => {
    const { client, server, network, clock } = await clientAndServer()
    await client.link.connect(5000)
    const older = server.link.session
    const newer = new WirePeer(await network.dialFrom('client')('server', new AbortController().signal))
    newer.send({ type: 'message', requestId: 1, protocolData: authData('secret', '', json('paychan', { v: 1, ledger: THEIR_LEDGER })) })
    await newer.next()
    expect(server.link.session).not.toBe(older)
    expect(server.history).toEqual(['up', 'down: another connection has taken over', 'up'])
    const request = server.link.request(hello())
    newer.respond(await newer.next())
    await request
    expect(client.requests).toEqual([])
    // What the peer still asks on the older one is answered there.
    await client.link.request(hello())
    await clock.advance(500)
    expect(older?.closed).toBe(true)
  })

  it('where the newer one is from a peer that has other books, nothing more is taken on the older: what comes there is from those that are gone', async () => {
    const { server, network } = await clientAndServer()
    const dial = async (ledger: string): Promise<WirePeer> => {
      const peer = new WirePeer(await network.dialFrom('peer')('server', new AbortController().signal))
      peer.send({ type: 'message', requestId: 1, protocolData: authData('secret', '', json('paychan', { v: 1, ledger })) })
      await peer.next()
      return peer
    }
    const older = await dial('11'.repeat(16))
    await dial('22'.repeat(16))
    older.send({ type: 'message', requestId: 2, protocolData: hello('late').protocolData })
    await settle()
    expect(server.requests).toEqual([])
    expect(older.closed).toBeDefined()
  })

  it('H24, H27: a request goes out on one connection, and no other can answer it', async () => {
    const { server, network } = await clientAndServer()
    const dial = async (): Promise<WirePeer> => new WirePeer(await network.dialFrom('peer')('server', new AbortController().signal))
    const stranger = await dial()
    const [older, newer] = [await dial(), await dial()]
    for (const peer of [older, newer]) {
      peer.send({ type: 'message', requestId: 1, protocolData: authData('secret') })
      await peer.next()
    }
    const request = server.link.request(hello())
    const asked = await newer.next()
    expect([stranger.received, older.received.length]).toEqual([[], 1])
    // The older one was let in too, and is open as long as it may be owed an answer.
    expect(older.closed).toBeUndefined()
    older.respond(asked, [text('answer', 'of the older')])
    await settle()
    newer.respond(asked, [text('answer', 'of the newer')])
    expect((await request).protocolData).toEqual([text('answer', 'of the newer')])
  })

  it('takes over at once from one that is half open', async () => {
    const { client, server, network, clock } = await clientAndServer()
    await client.link.connect(5000)
    network.wires[0]?.lose()
    const stuck = expect(server.link.request(hello(), { timeoutMs: Infinity })).rejects.toThrow(UnreachableError)
    client.link.session?.terminate('network changed')
    await clock.advance(200)
    expect(open(client)).toBe(true)
    expect((await server.link.request(hello('new'))).protocolData).toEqual(hello('new').protocolData)
    await clock.advance(10_000)
    await stuck
    expect(clock.pending).toBe(0)
  })

  it('both dial at once: the one that the greater ledger id dialled stays, on both sides', async () => {
    const { greater, lesser, clock } = await symmetricPeers()
    greater.link.start()
    lesser.link.start()
    await clock.advance(10_000)
    expect(greater.link.session?.dialled).toBe(true)
    expect(lesser.link.session?.dialled).toBe(false)
    await greater.link.request(hello())
    await lesser.link.request(hello())
  })

  it('a side that has a session does not dial: whoever comes first is connected, and stays', async () => {
    const { greater, lesser, clock, network } = await symmetricPeers()
    lesser.link.start()
    await clock.advance(1000)
    greater.link.start()
    await clock.advance(10_000)
    expect(network.wires).toHaveLength(1)
    expect(greater.link.session?.dialled).toBe(false)
  })

  it('a connection that opens only after the peer has come is dropped, before anything is said on it', async () => {
    const { lesser, clock, network } = await symmetricPeers()
    const [near, far] = connectionPair()
    const slow = new WirePeer(far)
    const opening: Array<() => void> = []
    const dial: Dial = () => new Promise(resolve => { opening.push(() => { resolve(near) }) })
    const peer = new TestPeer('peer', network, clock, { ledgerId: 'ff'.repeat(16), dial: { dial, url: 'lesser', credentials } })
    await peer.listen(network, 'greater')
    peer.link.start()
    await settle()
    lesser.link.start()
    await settle()
    expect(peer.history).toEqual(['up'])
    opening[0]?.()
    await settle()
    expect(slow.received).toEqual([])
    expect(slow.closed).toBeDefined()
    expect(peer.history).toEqual(['up'])
  })

  it('an older one that would win is kept only when it still answers a probe', async () => {
    for (const alive of [true, false]) {
      const { greater, lesser, clock, network } = await symmetricPeers()
      greater.link.start()
      await clock.advance(1000)
      const older = greater.link.session
      if (!alive) network.wires[0]?.lose()
      // The lesser one has lost it, so it dials.
      const newer = new WirePeer(await network.dialFrom('lesser')('greater', new AbortController().signal))
      newer.send({ type: 'message', requestId: 1, protocolData: authData('secret', '', json('paychan', { v: 1, ledger: '11'.repeat(16) })) })
      expect((await newer.next()).type).toBe('response')
      // While that is being found out, it is served.
      newer.send({ type: 'message', requestId: 2, protocolData: [] })
      expect(await newer.next()).toMatchObject({ type: 'response', requestId: 2 })
      expect(greater.link.session).toBe(older)
      await clock.advance(3000)
      expect(older?.closed).toBe(!alive)
      expect(greater.link.session === older).toBe(alive)
      expect(newer.closed === undefined).toBe(!alive)
      expect(greater.history).toEqual(alive ? ['up'] : ['up', 'down: no sign of life', 'up'])
      expect(lesser.history[0]).toBe('up')
    }
  })

  it('against a foreign peer the first is kept while it answers, and the newer one taken when it does not', async () => {
    for (const alive of [true, false]) {
      const clock = new VirtualClock()
      const network = new Network()
      const peer = new TestPeer('peer', network, clock, {})
      await peer.listen(network, 'peer')
      const [near, far] = connectionPair({ canPing: false })
      const dialled = new WirePeer(far)
      const added = peer.link.addClientSocket(near, credentials())
      dialled.respond(await dialled.next())
      await added
      const accepted = new WirePeer(await network.dialFrom('foreign')('peer', new AbortController().signal))
      accepted.send({ type: 'message', requestId: 1, protocolData: authData('secret') })
      await accepted.next()
      const probe = await dialled.next()
      expect(probe.protocolData).toEqual([octets('info', Uint8Array.of(0))])
      if (alive) dialled.respond(probe)
      await clock.advance(5000)
      expect(peer.link.session?.dialled).toBe(alive)
      expect([dialled.closed === undefined, accepted.closed === undefined]).toEqual([alive, !alive])
      await peer.link.stop()
      expect(clock.pending).toBe(0)
    }
  })
})
