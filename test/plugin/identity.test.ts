import { describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import PaychanPlugin, { MemoryStore, errors, makePaymentChannelPlugin } from '../../src/node.js'
import { decodePacket, encodePacket } from '../../src/btp/packets.js'
import { json, octets } from '../../src/btp/protocol-data.js'
import type { Session } from '../../src/btp/session.js'
import { Identity } from '../../src/plugin/identity.js'
import type { Settings } from '../../src/plugin/options.js'
import { PREFIX, afterTest, clientOptions, connectedPair, foreignPeer, freePort, keep, makeClient, makeServer, nextEvent, pay, serverOptions } from '../support/hosts.js'
import { Lab, watch } from '../support/lab.js'

describe('two that both listen and dial', () => {
  const session = (ledgerId: string | undefined, dialled = true): Session => ({ dialled, peer: { announced: true, ledgerId } }) as unknown as Session
  const symmetric = (): Identity => new Identity({ server: {}, listener: {}, info: {}, prefix: PREFIX } as unknown as Settings, undefined)
  const named = (identity: Identity): [string, string] => {
    identity.becomeKnown()
    return [identity.account(), identity.peerAccount()]
  }

  it('H44: have their names by their ledgers, also by a new one where a store was emptied; others by who dialled first, for good', () => {
    const [client, server] = [`${PREFIX}client`, `${PREFIX}server`]
    const identity = symmetric()
    identity.meet(session('11'), '22')
    expect(named(identity)).toEqual([client, server])
    identity.meet(session('33'), '22')
    expect(named(identity)).toEqual([server, client])
    const foreign = symmetric()
    foreign.meet(session(undefined), '22')
    foreign.meet(session(undefined, false), '22')
    expect(named(foreign)).toEqual([client, server])
  })
})

describe('a client', () => {
  it('without a store takes prefix, info and balance from its peer', async () => {
    const { server, client } = await connectedPair({ info: { currencyScale: 6, currencyCode: 'XTS', connectors: [`${PREFIX}server`] } })
    await pay(client, server, '40')
    await client.disconnect()
    const stateless = makeClient(server)
    await stateless.connect()
    expect(stateless.getInfo()).toEqual({ prefix: PREFIX, currencyScale: 6, currencyCode: 'XTS', connectors: [`${PREFIX}server`] })
    expect([stateless.getAccount(), stateless.getPeerAccount()]).toEqual([`${PREFIX}client`, `${PREFIX}server`])
    expect(await stateless.getBalance()).toBe('-40')
  })

  it('H44: is the client also when it has a store, and the server is the server also when it has none', async () => {
    const server = makeServer({ store: undefined as never, maxBalance: undefined as never })
    await server.connect()
    const client = makeClient(server, { store: new MemoryStore(), maxBalance: '100' })
    await client.connect()
    expect([client.getAccount(), client.getPeerAccount()]).toEqual([`${PREFIX}client`, `${PREFIX}server`])
    expect([server.getAccount(), server.getPeerAccount()]).toEqual([`${PREFIX}server`, `${PREFIX}client`])
  })

  it('with an info and a prefix of its own does not ask, and keeps them', async () => {
    const lab = await Lab.open({ alice: { options: { info: { currencyCode: 'OWN' } } } })
    expect(lab.alice.plugin.getInfo()).toEqual({ prefix: 'test.lab.', currencyCode: 'OWN' })
    expect(lab.network.count(({ packet }) => packet.protocolData[0]?.protocolName === 'info')).toBe(0)
  })

  it('with an info but no prefix takes the prefix from its peer, and no more', async () => {
    const server = makeServer()
    await server.connect()
    const client = makeClient(server, { info: { currencyCode: 'OWN' } })
    await client.connect()
    expect(client.getInfo()).toEqual({ prefix: PREFIX, currencyCode: 'OWN' })
  })

  it('with a prefix that is not that of its peer does not connect', async () => {
    const server = makeServer()
    await server.connect()
    const client = makeClient(server, { prefix: 'test.elsewhere.' })
    await expect(client.connect()).rejects.toBeInstanceOf(errors.InvalidFieldsError)
    await expect(client.connect()).rejects.toThrow(/test\.hosts\..*test\.elsewhere\./)
    expect(client.isConnected()).toBe(false)
  })

  it.each([
    ['no prefix', {}], ['a prefix without its last dot', { prefix: 'test.hosts' }], ['a prefix that is no text', { prefix: 5 }], ['no object', []], ['a text', 'info'],
    ['H37 a key __proto__', JSON.parse('{"prefix":"test.hosts.","__proto__":{"x":1}}') as object]
  ])('H39: an info with %s is none, and the connect rejects', async (_what, info) => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await new Promise(resolve => server.once('listening', resolve))
    afterTest(() => { server.close() })
    server.on('connection', socket => {
      socket.on('message', (data: Buffer) => {
        const { requestId, protocolData: [primary] } = decodePacket(new Uint8Array(data))
        const answer = primary?.protocolName === 'info' ? [json('info', info)] : []
        socket.send(encodePacket({ type: 'response', requestId, protocolData: answer }))
      })
    })
    const client = makeClient((server.address() as { port: number }).port)
    await expect(client.connect()).rejects.toBeInstanceOf(errors.InvalidFieldsError)
  })

  it("C52: raises info_change when its peer comes back with another info, and not when it is the same", async () => {
    const listener = { port: await freePort(), host: '127.0.0.1' }
    const server = makeServer({ listener, info: { currencyScale: 2 } })
    await server.connect()
    const client = makeClient(server)
    const infos: unknown[] = []
    client.on('info_change', info => { infos.push(info) })
    await client.connect()
    for (const currencyScale of [2, 9]) {
      await server.disconnect()
      const restarted = makeServer({ listener, info: { currencyScale } })
      const isBack = nextEvent(client, 'connect')
      await restarted.connect()
      await isBack
      if (currencyScale === 9) await expect.poll(() => infos.length).toBe(1)
      else expect(await client.getPeerBalance()).toBe('0')
      await restarted.disconnect()
    }
    expect(infos).toEqual([{ prefix: PREFIX, currencyScale: 9 }])
    expect(client.getInfo()).toEqual({ prefix: PREFIX, currencyScale: 9 })
  })
})

describe('a module', () => {
  const accounts = { mine: `${PREFIX}mine`, yours: `${PREFIX}yours` }
  const module = (changes: object = {}): Parameters<typeof makePaymentChannelPlugin>[0] => ({
    connect: () => undefined,
    disconnect: () => undefined,
    getAccount: () => accounts.mine,
    getPeerAccount: () => accounts.yours,
    getInfo: () => ({ prefix: PREFIX, currencyCode: 'MOD' }),
    handleIncomingPrepare: () => undefined,
    createOutgoingClaim: () => null,
    handleIncomingClaim: () => undefined,
    ...changes
  })

  it('says what the accounts and the info are, whatever the options have, and gives copies', async () => {
    const server = keep(new (makePaymentChannelPlugin(module()))(serverOptions()))
    await server.connect()
    Object.assign(server.getInfo(), { prefix: 'changed' })
    expect([server.getInfo(), server.getAccount(), server.getPeerAccount()]).toEqual([{ prefix: PREFIX, currencyCode: 'MOD' }, accounts.mine, accounts.yours])
  })

  it('H40: is not asked for its info before it has connected, nor by a peer', async () => {
    let hasConnected = false
    const Plugin = makePaymentChannelPlugin(module({
      connect: () => { hasConnected = true },
      getInfo: () => {
        expect(hasConnected).toBe(true)
        return { prefix: PREFIX }
      }
    }))
    const server = keep(new Plugin(serverOptions()))
    expect(() => server.getInfo()).toThrow(errors.UnreachableError)
    await server.connect()
    const peer = await foreignPeer(server)
    expect((await peer.tell(octets('info', Uint8Array.of(2)))).protocolData).toEqual([json('info', { prefix: PREFIX })])
  })

  it('a dialling plugin with a module asks its peer for nothing', async () => {
    const server = makeServer()
    await server.connect()
    const Plugin = makePaymentChannelPlugin(module())
    const client = keep(new Plugin(clientOptions(server, { store: new MemoryStore(), maxBalance: '10' })))
    await client.connect()
    expect(client.getAccount()).toBe(accounts.mine)
  })
})

describe('a plugin with neither server nor listener', () => {
  it('connects at once, and is connected when a socket is', async () => {
    const plugin = keep(new PaychanPlugin({ prefix: PREFIX, info: {}, incomingSecret: 'x' }))
    const connecting = watch(plugin.connect())
    await expect.poll(() => connecting.state).toBe('resolved')
    expect([plugin.isConnected(), plugin.port, plugin.getAccount()]).toEqual([false, undefined, `${PREFIX}server`])
  })
})
