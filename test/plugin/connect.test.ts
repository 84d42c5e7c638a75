import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import PaychanPlugin, { BtpListener, MemoryStore, errors, makePaymentChannelPlugin } from '../../src/node.js'
import type { LedgerInfo, PaymentChannelModule } from '../../src/node.js'
import { decodePacket, encodePacket } from '../../src/btp/packets.js'
import { json } from '../../src/btp/protocol-data.js'
import {
  Cable, PREFIX, RawPeer, SECRET, addressOf, afterTest, clientOptions, connectedPair, freePort, keep, makeClient, makeServer, nextEvent, pay, payment, recordEvents,
  serverOptions
} from '../support/hosts.js'
import { Lab, settle, watch } from '../support/lab.js'
import { FaultyStore } from '../support/faulty-store.js'

const rejectionOf = async (promise: Promise<unknown>): Promise<Error> => {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('it resolved')
}

const aModule: PaymentChannelModule = {
  connect: () => undefined,
  disconnect: () => undefined,
  getAccount: () => `${PREFIX}mine`,
  getPeerAccount: () => `${PREFIX}yours`,
  getInfo: () => ({ prefix: PREFIX }),
  handleIncomingPrepare: () => undefined,
  createOutgoingClaim: () => null,
  handleIncomingClaim: () => undefined
}

/** A server that accepts sockets and never says a word. */
async function silentServer(): Promise<number> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await new Promise(resolve => server.once('listening', resolve))
  afterTest(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  return (server.address() as { port: number }).port
}

describe('connect, when it fails', () => {
  it.each(['1000', NaN, {}, true])('C41: a timeout of %o is a TypeError', async timeout => {
    await expect(makeClient(1).connect({ timeout: timeout as number })).rejects.toBeInstanceOf(TypeError)
  })

  it('C41 H31: with no server there it ends at the time-out, with an UnreachableError that tells why', async () => {
    const port = await freePort()
    const client = makeClient(port)
    // Time enough for a busy machine to refuse the first connection.
    const error = await rejectionOf(client.connect({ timeout: 1000 }))
    expect(error).toBeInstanceOf(errors.UnreachableError)
    expect(error.message).toMatch(new RegExp(`within [0-9]+ ms.*127\\.0\\.0\\.1:${port}.*ECONNREFUSED`))
    expect(client.isConnected()).toBe(false)
  })

  it('C41: by default it ends after five seconds', async () => {
    const lab = new Lab()
    const connecting = watch(lab.alice.make().connect())
    await lab.clock.advance(4999)
    expect(connecting.state).toBe('pending')
    await lab.clock.advance(1)
    expect(connecting).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
  })

  it('C41 H31: Infinity waits as long as it takes', async () => {
    const lab = new Lab()
    const connecting = watch(lab.alice.make().connect({ timeout: Infinity }))
    await lab.clock.advance(10 * 60_000)
    expect(connecting.state).toBe('pending')
    await lab.bob.start()
    await lab.clock.advance(1000)
    expect(connecting.state).toBe('resolved')
    expect(lab.alice.plugin.isConnected()).toBe(true)
  })

  it('C15 C41: a server that never answers the authentication is given up at the time-out', async () => {
    const client = makeClient(await silentServer())
    await expect(client.connect({ timeout: 80 })).rejects.toBeInstanceOf(errors.UnreachableError)
  })

  it('C41: a peer that authenticates and never tells its info is given up at the time-out', async () => {
    const lab = new Lab({ alice: { options: { prefix: undefined, info: undefined } as never } })
    await lab.bob.start()
    lab.network.drop(({ request }) => request?.protocolData[0]?.protocolName === 'info')
    const connecting = watch(lab.alice.make().connect({ timeout: 300 }))
    await lab.clock.advance(300)
    expect(connecting).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
  })

  it.each([['back', 3_600_000], ['forward', -3_600_000]])('C41: a wall clock that is put %s meanwhile changes nothing of when it ends', async (_how, byMs) => {
    const lab = new Lab({ alice: { options: { prefix: undefined, info: undefined } as never } })
    await lab.bob.start()
    lab.network.drop(({ request }) => request?.protocolData[0]?.protocolName === 'info')
    const connecting = watch(lab.alice.make().connect({ timeout: 12_000 }))
    await lab.clock.advance(2000)
    lab.clock.putBack(byMs)
    await lab.clock.advance(9999)
    expect(connecting.state).toBe('pending')
    await lab.clock.advance(1)
    expect(connecting).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
  })

  it('C24: a peer that cannot tell its info yet is asked again later, and not at once', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await new Promise(resolve => server.once('listening', resolve))
    afterTest(() => { server.close() })
    let asked = 0
    server.on('connection', socket => {
      socket.on('message', (data: Buffer) => {
        const { requestId, protocolData: [primary] } = decodePacket(new Uint8Array(data))
        if (primary?.protocolName !== 'info') {
          socket.send(encodePacket({ type: 'response', requestId, protocolData: [] }))
        } else if (asked++ === 0) {
          socket.send(encodePacket({ type: 'error', requestId, code: 'T00', name: 'UnreachableError', triggeredAt: new Date(), data: '{}', protocolData: [] }))
        } else {
          socket.send(encodePacket({ type: 'response', requestId, protocolData: [json('info', { prefix: PREFIX })] }))
        }
      })
    })
    const client = makeClient((server.address() as { port: number }).port)
    await client.connect()
    expect(client.getInfo()).toEqual({ prefix: PREFIX })
    expect(asked).toBe(2)
  })

  it('C41 H30: refused credentials are a NotAcceptedError at once, however long the time-out', async () => {
    const server = makeServer()
    await server.connect()
    const client = makeClient(server, { server: addressOf(server, 'wrong') })
    await expect(client.connect({ timeout: Infinity })).rejects.toBeInstanceOf(errors.NotAcceptedError)
    expect(client.isConnected()).toBe(false)
    expect(server.isConnected()).toBe(false)
  })

  it('C41: missing credentials are an InvalidFieldsError, before anything is dialled or stored', async () => {
    const cable = await Cable.lay(() => 1)
    const store = new MemoryStore()
    const client = keep(new PaychanPlugin({ server: `btp+ws://127.0.0.1:${cable.port}`, store, maxBalance: '1' }))
    await expect(client.connect()).rejects.toBeInstanceOf(errors.InvalidFieldsError)
    await expect(client.connect()).rejects.toThrow(/^credentials/)
    expect(cable.dialled).toBe(0)
    expect(await store.list('')).toEqual([])
  })

  it('C41: missing credentials are told also to a peer that listens as well', async () => {
    const peer = makeServer({ server: 'btp+ws://127.0.0.1:1' })
    await expect(peer.connect()).rejects.toThrow(/^credentials/)
    expect(peer.port).toBeUndefined()
  })

  it('C41: what a credentials function gives is checked', async () => {
    const server = makeServer()
    await server.connect()
    const client = makeClient(server, { credentials: () => ({ username: '' }) as never })
    await expect(client.connect()).rejects.toBeInstanceOf(errors.InvalidFieldsError)
  })

  it('C11: the token may be empty, on both sides', async () => {
    const server = makeServer({ incomingSecret: '' })
    await server.connect()
    const client = makeClient(server, { server: addressOf(server, '') })
    await client.connect()
    expect(client.isConnected()).toBe(true)
  })

  it('H30: a connect that failed can be repeated, and then succeeds', async () => {
    const port = await freePort()
    const client = makeClient(port)
    await expect(client.connect({ timeout: 40 })).rejects.toBeInstanceOf(errors.UnreachableError)
    const server = makeServer({ listener: { port, host: '127.0.0.1' }, incomingSecret: 'other' })
    await server.connect()
    await expect(client.connect()).rejects.toBeInstanceOf(errors.NotAcceptedError)
    await server.disconnect()
    await makeServer({ listener: { port, host: '127.0.0.1' } }).connect()
    await client.connect()
    expect(client.isConnected()).toBe(true)
  })

  it('H30: a port that is in use is a rejected connect, which can be repeated when the port is free', async () => {
    const blocker = createServer()
    await new Promise<void>(resolve => { blocker.listen(0, '127.0.0.1', resolve) })
    const { port } = blocker.address() as { port: number }
    const server = makeServer({ listener: { port, host: '127.0.0.1' } })
    await expect(server.connect()).rejects.toBeInstanceOf(errors.UnreachableError)
    await expect(server.connect()).rejects.toThrow(new RegExp(`${port}.*EADDRINUSE`))
    await new Promise(resolve => { blocker.close(resolve) })
    await server.connect()
    expect(server.port).toBe(port)
  })

  it('a store that fails is a rejected connect with a StoreError, which can be repeated', async () => {
    const store = new FaultyStore(new MemoryStore())
    store.failGets(1)
    const server = makeServer({ store })
    await expect(server.connect()).rejects.toBeInstanceOf(errors.StoreError)
    expect(server.port).toBeUndefined()
    await server.connect()
    expect(server.port).toBeGreaterThan(0)
  })

  it('what the module throws rejects the connect, and nothing stays open', async () => {
    const bad = new Error('no channel')
    let attempts = 0
    const Plugin = makePaymentChannelPlugin({ ...aModule, connect: () => { if (attempts++ === 0) throw bad } })
    const server = keep(new Plugin(serverOptions()))
    expect(await rejectionOf(server.connect())).toBe(bad)
    expect(server.port).toBeUndefined()
    await server.connect()
    expect(server.getAccount()).toBe(`${PREFIX}mine`)
  })

  it("a module's info whose prefix is not the one in the options rejects the connect", async () => {
    const Plugin = makePaymentChannelPlugin({ ...aModule, getInfo: () => ({ prefix: 'test.' }) })
    const server = keep(new Plugin(serverOptions()))
    await expect(server.connect()).rejects.toThrow(/^prefix/)
  })
})

describe('connect, when it succeeds', () => {
  it('C41: twice is once', async () => {
    const server = makeServer()
    await server.connect()
    const { port } = server
    await server.connect()
    expect(server.port).toBe(port)
    const client = makeClient(server)
    const events = recordEvents(client, 'connect', 'disconnect')
    await client.connect()
    await client.connect()
    expect(events).toEqual(['connect'])
  })

  it('H45: several at a time share one socket', async () => {
    const server = makeServer()
    await server.connect()
    const cable = await Cable.lay(() => server.port)
    const client = makeClient(cable.port)
    await Promise.all([client.connect(), client.connect({ timeout: Infinity }), client.connect()])
    expect(cable.dialled).toBe(1)
  })

  it('H45: calls made while the first connection is opening are refused, and open no socket of their own', async () => {
    const server = makeServer()
    await server.connect()
    const cable = await Cable.lay(() => server.port)
    const client = makeClient(cable.port)
    const connecting = client.connect()
    for (const call of [client.sendTransfer(payment(`${PREFIX}server`).transfer), client.sendRequest({ to: `${PREFIX}server` }), client.getPeerBalance(), client.getLimit()]) {
      await expect(call).rejects.toBeInstanceOf(errors.UnreachableError)
    }
    await connecting
    expect(cable.dialled).toBe(1)
    expect(client.isConnected()).toBe(true)
  })

  it('H31: a server that comes up while a client is connecting is reached', async () => {
    const port = await freePort()
    const client = makeClient(port)
    const connecting = client.connect()
    await makeServer({ listener: { port, host: '127.0.0.1' } }).connect()
    await connecting
    expect(client.getAccount()).toBe(`${PREFIX}client`)
  })

  it('a connection that is lost before the peer was asked for its info is dialled again', async () => {
    const lab = new Lab({ alice: { options: { prefix: undefined, info: undefined } as never } })
    await lab.bob.start()
    const isInfo = lab.network.hold(({ packet }) => packet.protocolData[0]?.protocolName === 'info', 1)
    const connecting = watch(lab.alice.make().connect())
    await settle()
    lab.network.cut()
    isInfo()
    await lab.clock.advance(1000)
    expect(connecting.state).toBe('resolved')
    expect(lab.alice.plugin.getInfo()).toEqual({ prefix: 'test.lab.' })
  })

  it('C42 C55: within the connect event it is connected, and info and accounts are known', async () => {
    const server = makeServer()
    await server.connect()
    const client = makeClient(server)
    const told = (plugin: typeof client): Promise<unknown> => new Promise(resolve => {
      plugin.on('connect', () => { resolve([plugin.isConnected(), plugin.getInfo().prefix, plugin.getAccount(), plugin.getPeerAccount()]) })
    })
    const both = Promise.all([told(client), told(server)])
    await client.connect()
    expect(await both).toEqual([
      [true, PREFIX, `${PREFIX}client`, `${PREFIX}server`],
      [true, PREFIX, `${PREFIX}server`, `${PREFIX}client`]
    ])
  })

  it("a listener's connect resolves when it listens; it is connected when its peer is there", async () => {
    const server = makeServer()
    await server.connect()
    expect(server.port).toBeGreaterThan(0)
    expect(server.isConnected()).toBe(false)
    const isUp = nextEvent(server, 'connect')
    await makeClient(server).connect()
    await isUp
    expect(server.isConnected()).toBe(true)
  })

  it('H31: it is not connected before the peer has answered the authentication', async () => {
    const lab = new Lab()
    await lab.bob.start()
    const answer = lab.network.hold(({ from }) => from === 'bob', 1)
    const connecting = watch(lab.alice.make().connect())
    await settle()
    expect(lab.alice.plugin.isConnected()).toBe(false)
    answer()
    await settle()
    expect(connecting.state).toBe('resolved')
    expect(lab.alice.plugin.isConnected()).toBe(true)
  })

  it("a module's calls are answered while it connects; a transfer waits until it has", async () => {
    let finish: () => void = () => undefined
    const isConnecting = new Promise<void>(resolve => { finish = resolve })
    const Plugin = makePaymentChannelPlugin({ ...aModule, connect: () => isConnecting })
    const server = keep(new Plugin(serverOptions()))
    const connecting = server.connect()
    await expect.poll(() => server.port).toBeGreaterThan(0)
    const peer = await RawPeer.dial(server)
    await peer.authenticate()
    const { transfer } = payment('')
    const answer = peer.ask({ type: 'prepare', transferId: transfer.id, amount: '5', executionCondition: transfer.executionCondition, expiresAt: new Date(transfer.expiresAt), protocolData: [] })
    const isAnswered = watch(answer)
    expect(await peer.tell(json('unknown_method', []))).toMatchObject({ type: 'error', name: 'NotAcceptedError' })
    expect([isAnswered.state, server.inFlight()]).toEqual(['pending', []])
    finish()
    await connecting
    expect((await answer).type).toBe('response')
    expect(server.inFlight()).toMatchObject([{ transfer: { id: transfer.id, amount: '5' }, isIncoming: true }])
  })
})

describe('what is known before and after', () => {
  it('C43: before the first connect getInfo and getAccount throw; afterwards they answer, connected or not', async () => {
    const server = makeServer()
    for (const ask of [() => server.getInfo(), () => server.getAccount(), () => server.getPeerAccount()]) expect(ask).toThrow(errors.UnreachableError)
    await server.connect()
    await server.disconnect()
    expect([server.getInfo().prefix, server.getAccount(), server.getPeerAccount()]).toEqual([PREFIX, `${PREFIX}server`, `${PREFIX}client`])
  })

  it('C43: with a store the balance is known before the first connect and while disconnected; without one the peer has it', async () => {
    const store = new MemoryStore()
    const { server, client } = await connectedPair({ store })
    await pay(client, server, '25')
    await server.disconnect()
    expect(await server.getBalance()).toBe('25')
    expect(await keep(new PaychanPlugin(serverOptions({ store }))).getBalance()).toBe('25')
    const stateless = makeClient(1)
    await expect(stateless.getBalance()).rejects.toBeInstanceOf(errors.UnreachableError)
  })

  it('C43: with no session sendTransfer and sendRequest reject, and nothing is stored', async () => {
    const store = new MemoryStore()
    const server = makeServer({ store })
    await server.connect()
    const { transfer } = payment(`${PREFIX}client`)
    await expect(server.sendTransfer(transfer)).rejects.toBeInstanceOf(errors.UnreachableError)
    await expect(server.sendRequest({ to: `${PREFIX}client` })).rejects.toBeInstanceOf(errors.UnreachableError)
    expect(await server.history()).toEqual([])
    expect(server.inFlight()).toEqual([])
    expect((await store.list(':')).map(([key]) => key)).toEqual([])
  })
})

describe('disconnect', () => {
  it('is nothing before connect, and twice is once', async () => {
    const server = makeServer()
    await server.disconnect()
    await server.connect()
    const events = recordEvents(server, 'disconnect')
    await makeClient(server).connect()
    await Promise.all([server.disconnect(), server.disconnect()])
    await server.disconnect()
    expect(events).toEqual(['disconnect'])
    expect(server.port).toBeUndefined()
  })

  it.each([-1, NaN, '5'])('refuses a drainMs of %o', async drainMs => {
    await expect(makeServer().disconnect({ drainMs: drainMs as number })).rejects.toBeInstanceOf(errors.InvalidFieldsError)
  })

  it('H30: a listener listens again after it; with port 0 the system may give it another one', async () => {
    const server = makeServer()
    await server.connect()
    await server.disconnect()
    expect(server.port).toBeUndefined()
    await server.connect()
    await makeClient(server).connect()
    const fixed = makeServer({ listener: { port: await freePort(), host: '127.0.0.1' } })
    await fixed.connect()
    const { port } = fixed
    await fixed.disconnect()
    await fixed.connect()
    expect(fixed.port).toBe(port)
  })

  it('H30: a client connects again after it', async () => {
    const { server, client } = await connectedPair()
    const gone = nextEvent(server, 'disconnect')
    await client.disconnect()
    await gone
    expect([client.isConnected(), server.isConnected()]).toEqual([false, false])
    await expect(client.sendRequest({ to: `${PREFIX}server` })).rejects.toBeInstanceOf(errors.UnreachableError)
    await client.connect()
    await pay(client, server)
    expect(await client.getBalance()).toBe('-10')
  })

  it('while connecting: the connect rejects, nothing is dialled any more, and a new connect works', async () => {
    const port = await freePort()
    const cable = await Cable.lay(() => port)
    const client = makeClient(cable.port)
    const connecting = rejectionOf(client.connect({ timeout: Infinity }))
    await expect.poll(() => cable.dialled).toBeGreaterThan(0)
    await client.disconnect()
    expect(await connecting).toBeInstanceOf(errors.UnreachableError)
    await makeServer({ listener: { port, host: '127.0.0.1' } }).connect()
    await client.connect()
    expect(client.isConnected()).toBe(true)
  })

  it('in the same breath as connect: nothing is left listening or connected', async () => {
    const server = makeServer()
    const connecting = rejectionOf(server.connect())
    await server.disconnect()
    expect(await connecting).toBeInstanceOf(errors.UnreachableError)
    await server.connect()
    const cable = await Cable.lay(() => server.port)
    const client = makeClient(cable.port)
    const dialling = rejectionOf(client.connect())
    await client.disconnect()
    expect(await dialling).toBeInstanceOf(errors.UnreachableError)
    // Whatever was begun before has had its turn when a second one has come and gone.
    await client.connect()
    await client.disconnect()
    await expect.poll(() => server.isConnected()).toBe(false)
    expect(cable.dialled).toBe(1)
    await server.disconnect()
    expect(server.port).toBeUndefined()
  })

  it('while the module is connecting: the connect rejects at once, and the next one starts afresh', async () => {
    let calls = 0
    const Plugin = makePaymentChannelPlugin({ ...aModule, connect: () => calls++ === 0 ? new Promise<void>(() => undefined) : undefined })
    const server = keep(new Plugin(serverOptions()))
    const connecting = rejectionOf(server.connect())
    await expect.poll(() => calls).toBe(1)
    await server.disconnect()
    expect(await connecting).toBeInstanceOf(errors.UnreachableError)
    expect(server.port).toBeUndefined()
    await server.connect()
    expect([calls, server.getAccount()]).toEqual([2, `${PREFIX}mine`])
  })

  it("what the module's disconnect throws is thrown when all else is done, and keeps nobody from connecting again", async () => {
    const bad = new Error('the ledger is down')
    const Plugin = makePaymentChannelPlugin({ ...aModule, disconnect: () => { throw bad } })
    const server = keep(new Plugin(serverOptions()))
    await server.connect()
    const disconnecting = rejectionOf(server.disconnect())
    const connecting = server.connect()
    expect(await disconnecting).toBe(bad)
    await connecting
    expect(server.port).toBeGreaterThan(0)
  })

  it('with drainMs it takes no new transfer in either direction, and waits for those in flight', async () => {
    const lab = await Lab.open()
    const { transfer, fulfillment, id } = await lab.prepared()
    const disconnecting = watch(lab.bob.plugin.disconnect({ drainMs: 5000 }))
    await lab.clock.advance(100)
    expect(disconnecting.state).toBe('pending')
    const late = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    const outgoing = watch(lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer))
    await lab.clock.advance(100)
    expect(late).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
    expect(outgoing).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
    await lab.clock.advance(100)
    expect(disconnecting.state).toBe('resolved')
    expect(await lab.balances()).toEqual([-Number(transfer.amount), Number(transfer.amount)])
  })
})

describe('reconnecting', () => {
  it('H25 C17 C42: a lost connection is told, and made again by itself, with events in order', async () => {
    const server = makeServer()
    await server.connect()
    const cable = await Cable.lay(() => server.port)
    const client = makeClient(cable.port)
    const events = recordEvents(client, 'connect', 'disconnect')
    const atServer = recordEvents(server, 'connect', 'disconnect')
    await client.connect()
    const isLost = nextEvent(client, 'disconnect')
    cable.isWhole = false
    cable.cut()
    await isLost
    expect(client.isConnected()).toBe(false)
    await expect(client.sendTransfer(payment(`${PREFIX}server`).transfer)).rejects.toBeInstanceOf(errors.UnreachableError)
    expect([client.getInfo().prefix, client.getAccount()]).toEqual([PREFIX, `${PREFIX}client`])
    const isBack = nextEvent(client, 'connect')
    cable.isWhole = true
    await isBack
    expect(client.isConnected()).toBe(true)
    expect(events).toEqual(['connect', 'disconnect', 'connect'])
    await expect.poll(() => atServer).toEqual(['connect', 'disconnect', 'connect'])
  })

  it('a listener that was restarted gets its client back by itself', async () => {
    const listener = { port: await freePort(), host: '127.0.0.1' }
    const store = new MemoryStore()
    const { server, client } = await connectedPair({ listener, store })
    await pay(client, server)
    await server.disconnect()
    const restarted = makeServer({ listener, store })
    const isBack = Promise.all([nextEvent(restarted, 'connect'), nextEvent(client, 'connect')])
    await restarted.connect()
    await isBack
    await pay(client, restarted)
    expect([await client.getBalance(), await restarted.getBalance()]).toEqual(['-20', '20'])
  })

  it('credentials given as a function are asked anew for each connection', async () => {
    let current = 'first'
    const server = makeServer({ incomingSecret: 'unused', authCheck: (_username, token) => token === current })
    await server.connect()
    const cable = await Cable.lay(() => server.port)
    const client = makeClient(cable.port, { credentials: () => ({ username: '', token: current }) })
    await client.connect()
    current = 'second'
    const isBack = nextEvent(client, 'connect')
    cable.cut()
    await isBack
    expect(client.isConnected()).toBe(true)
  })
})

describe('a fatal error', () => {
  it("C53: a peer that comes back with another prefix is one; after it every call is refused", async () => {
    const listener = { port: await freePort(), host: '127.0.0.1' }
    const server = makeServer({ listener })
    await server.connect()
    const client = keep(new PaychanPlugin(clientOptions(server, { store: new MemoryStore(), maxBalance: '5' })))
    await client.connect()
    const failed = nextEvent(client, 'error')
    await server.disconnect()
    await makeServer({ listener, prefix: 'test.elsewhere.' }).connect()
    const [error] = await failed
    expect(error).toBeInstanceOf(errors.InvalidFieldsError)
    expect(error.message).toMatch(/prefix.*test\.elsewhere\./)
    const calls: Record<string, () => unknown> = {
      connect: () => client.connect(),
      getInfo: () => client.getInfo(),
      getAccount: () => client.getAccount(),
      getPeerAccount: () => client.getPeerAccount(),
      getBalance: () => client.getBalance(),
      getPeerBalance: () => client.getPeerBalance(),
      getLimit: () => client.getLimit(),
      getFulfillment: () => client.getFulfillment('00000000-0000-4000-8000-000000000000'),
      inFlight: () => client.inFlight(),
      history: () => client.history(),
      prune: () => client.prune({ before: 0 }),
      sendTransfer: () => client.sendTransfer(payment(`${PREFIX}server`).transfer),
      fulfillCondition: () => client.fulfillCondition('00000000-0000-4000-8000-000000000000', 'x'),
      rejectIncomingTransfer: () => client.rejectIncomingTransfer('00000000-0000-4000-8000-000000000000'),
      sendRequest: () => client.sendRequest({ to: `${PREFIX}server` }),
      registerRequestHandler: () => { client.registerRequestHandler(async () => ({})) },
      addSocket: () => client.addSocket({})
    }
    for (const [name, call] of Object.entries(calls)) {
      await expect((async () => call())(), name).rejects.toMatchObject({ name: 'UnreachableError', message: expect.stringContaining('prefix') as string })
    }
    expect(client.isConnected()).toBe(false)
    await client.disconnect()
  })

  it('C53: without a listener the error event does not throw', () => {
    expect(makeClient(1).emit('error', new Error('nobody listens'))).toBe(false)
  })

  it('an answer that is no info is none: the peer may be mended', async () => {
    const lab = new Lab({ alice: { options: { prefix: undefined, info: undefined } as never } })
    await lab.bob.start()
    await lab.alice.start()
    const infos: Array<Partial<LedgerInfo>> = []
    lab.alice.plugin.on('info_change', info => { infos.push(info) })
    lab.network.drop(({ request }) => request?.protocolData[0]?.protocolName === 'info')
    lab.network.cut()
    await lab.reconnect()
    await lab.clock.advance(10_000)
    expect(lab.alice.plugin.isConnected()).toBe(true)
    expect([lab.alice.seen('error'), infos]).toEqual([[], []])
  })
})

describe('a listener that several plugins share', () => {
  it('serves each with its own secret, and stopping one leaves the other', async () => {
    const listener = new BtpListener({ port: 0, host: '127.0.0.1' })
    const [one, two] = [makeServer({ listener, incomingSecret: 'one', prefix: 'test.one.' }), makeServer({ listener, incomingSecret: 'two', prefix: 'test.two.' })]
    await Promise.all([one.connect(), two.connect()])
    expect(one.port).toBe(two.port)
    const [first, second] = [makeClient(1, { server: addressOf(one, 'one') }), makeClient(1, { server: addressOf(one, 'two') })]
    await Promise.all([first.connect(), second.connect()])
    expect([first.getInfo().prefix, second.getInfo().prefix]).toEqual(['test.one.', 'test.two.'])
    await one.disconnect()
    expect(two.port).toBe(listener.port)
    expect(await second.getPeerBalance()).toBe('0')
    await expect(makeClient(1, { server: addressOf(two, 'one') }).connect()).rejects.toBeInstanceOf(errors.NotAcceptedError)
    await two.disconnect()
    expect(listener.port).toBeUndefined()
    await one.connect()
    expect(listener.port).toBeGreaterThan(0)
  })
})

describe('addSocket', () => {
  it('makes a session of any pair of sockets: one side with credentials, the other judges them', async () => {
    const plain = { prefix: PREFIX, info: {}, incomingSecret: SECRET }
    const [near, far] = [keep(new PaychanPlugin(plain)), keep(new PaychanPlugin(plain))]
    await Promise.all([near.connect(), far.connect()])
    const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await new Promise(resolve => sockets.once('listening', resolve))
    afterTest(() => { sockets.close() })
    const accepted = new Promise<void>((resolve, reject) => {
      sockets.on('connection', socket => { far.addSocket(socket).then(resolve, reject) })
    })
    const isUp = nextEvent(far, 'connect')
    await near.addSocket(new WebSocket(`ws://127.0.0.1:${(sockets.address() as { port: number }).port}`), { username: '', token: SECRET })
    await Promise.all([accepted, isUp])
    expect([near.isConnected(), far.isConnected()]).toEqual([true, true])
    expect(await near.getPeerBalance()).toBe('0')
  })

  it('takes a socket before connect without listening, and serves its peer once connected', async () => {
    const server = makeServer()
    const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await new Promise(resolve => sockets.once('listening', resolve))
    afterTest(() => { sockets.close() })
    sockets.on('connection', socket => { void server.addSocket(socket) })
    const client = makeClient((sockets.address() as { port: number }).port)
    const connecting = client.connect({ timeout: Infinity })
    await expect.poll(() => sockets.clients.size).toBe(1)
    expect([server.port, server.isConnected()]).toEqual([undefined, false])
    await server.connect()
    await connecting
    expect([server.isConnected(), client.getInfo().prefix]).toEqual([true, PREFIX])
    expect(server.port).toBeGreaterThan(0)
    const lost = nextEvent(client, 'disconnect')
    await server.disconnect()
    await lost
  })

  it('C41: refuses what is no socket, and rejects where the peer refuses the credentials', async () => {
    const server = makeServer()
    await server.connect()
    const plain = keep(new PaychanPlugin({ prefix: PREFIX, info: {}, incomingSecret: SECRET }))
    await plain.connect()
    await expect(plain.addSocket({})).rejects.toBeInstanceOf(errors.InvalidFieldsError)
    const socket = new WebSocket(`ws://127.0.0.1:${server.port ?? 0}`)
    await expect(plain.addSocket(socket, { username: '', token: 'wrong' })).rejects.toBeInstanceOf(errors.NotAcceptedError)
    expect(plain.isConnected()).toBe(false)
  })
})
