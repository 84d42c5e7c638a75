import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import PaychanPlugin, { MemoryStore, errors, makePaymentChannelPlugin } from '../../src/node.js'
import { encodePacket } from '../../src/btp/packets.js'
import { json, octets, text } from '../../src/btp/protocol-data.js'
import { Authenticator } from '../../src/plugin/authenticator.js'
import { parseOptions } from '../../src/plugin/options.js'
import {
  Cable, PREFIX, RawPeer, SECRET, addressOf, clientOptions, connectedPair, foreignPeer, freePort, keep, makeClient, makeServer, nextEvent, pay, payment, serverOptions
} from '../support/hosts.js'
import { MemoryLog } from '../support/memory-log.js'

const AUTH = octets('auth', new Uint8Array())

describe('who may come in', () => {
  it.each<[string, object, string, string, boolean]>([
    ['the secret alone judges the token', { incomingSecret: 'right' }, 'anybody', 'right', true],
    ['a wrong token', { incomingSecret: 'right' }, '', 'wrong', false],
    ['a token that only begins like the secret', { incomingSecret: 'right' }, '', 'righ', false],
    ['an empty token', { incomingSecret: 'right' }, '', '', false],
    ['authCheck judges both', { incomingSecret: undefined, authCheck: (u: string, t: string) => u === 'al' && t === 'x' }, 'al', 'x', true],
    ['authCheck refuses', { incomingSecret: undefined, authCheck: (u: string, t: string) => u === 'al' && t === 'x' }, 'bo', 'x', false],
    ['authCheck may be async', { incomingSecret: undefined, authCheck: async () => await Promise.resolve(true) }, '', 'x', true],
    ['authCheck may refuse later', { incomingSecret: undefined, authCheck: async () => await Promise.resolve(false) }, '', 'x', false],
    ['where both are given authCheck alone decides, for', { incomingSecret: 'right', authCheck: () => true }, '', 'wrong', true],
    ['where both are given authCheck alone decides, against', { incomingSecret: 'right', authCheck: () => false }, '', 'right', false],
    ['something truthy is not true', { incomingSecret: undefined, authCheck: () => 'yes' }, '', 'x', false]
  ])('C11: %s', async (_what, options, username, token, isLetIn) => {
    const server = makeServer(options)
    await server.connect()
    const client = makeClient(server, { credentials: { username, token } })
    const connecting = client.connect()
    if (isLetIn) await connecting
    else await expect(connecting).rejects.toBeInstanceOf(errors.NotAcceptedError)
    expect(client.isConnected()).toBe(isLetIn)
  })

  it('C11: an absent auth_username is read as empty, and unknown secondaries are ignored', async () => {
    const names: string[] = []
    const server = makeServer({ authCheck: username => names.push(username) > 0 })
    await server.connect()
    const peer = await RawPeer.dial(server)
    expect((await peer.tell(AUTH, text('auth_token', 'x'), json('unknown', {}))).type).toBe('response')
    expect(names).toEqual([''])
  })

  it('C13: bad credentials get an Error, then the connection is closed', async () => {
    const server = makeServer()
    await server.connect()
    const peer = await RawPeer.dial(server)
    expect(await peer.authenticate('wrong')).toMatchObject({ type: 'error', code: 'F00', name: 'NotAcceptedError' })
    await expect.poll(() => peer.closed).toBeDefined()
  })

  it('C12: anything before the authentication gets an Error, then the connection is closed', async () => {
    const server = makeServer()
    await server.connect()
    const peer = await RawPeer.dial(server)
    expect(await peer.tell(octets('info', Uint8Array.of(2)))).toMatchObject({ type: 'error', name: 'InvalidFieldsError' })
    await expect.poll(() => peer.closed).toBeDefined()
  })

  it('an authCheck that fails is no verdict: the peer is told to come again, and may', async () => {
    let isDown = true
    const server = makeServer({ authCheck: () => { if (isDown) throw new Error('database is down'); return true } })
    await server.connect()
    const peer = await RawPeer.dial(server)
    expect(await peer.authenticate()).toMatchObject({ type: 'error', code: 'T00', name: 'UnreachableError' })
    isDown = false
    await makeClient(server).connect()
    expect(server.isConnected()).toBe(true)
  })

  it('C16 H28: the side that listens and the side that dials may do the same, and a stranger disturbs neither', async () => {
    const { server, client } = await connectedPair()
    const stranger = await RawPeer.dial(server)
    await stranger.authenticate('wrong')
    await expect.poll(() => stranger.closed).toBeDefined()
    await pay(client, server, '5')
    await pay(server, client, '3')
    expect([await client.getBalance(), await server.getBalance()]).toEqual(['-2', '2'])
  })

  it('H29: a socket that has not authenticated receives nothing', async () => {
    const server = makeServer()
    await server.connect()
    const stranger = await RawPeer.dial(server)
    const peer = await foreignPeer(server)
    const sending = server.sendTransfer(payment(`${PREFIX}client`).transfer)
    await expect.poll(() => peer.received.at(-1)?.type).toBe('prepare')
    expect(stranger.received).toEqual([])
    const prepare = peer.received.at(-1)
    if (prepare !== undefined) peer.respond(prepare)
    await sending
  })
})

describe('how a token is compared', () => {
  it('H33: takes as long for a token that is wrong from its first character as for one that is wrong in its last', async () => {
    // So long that a comparison which stops at the first difference would take a hundredth of the time.
    const secret = 'x'.repeat(4_000_000)
    const settings = parseOptions(serverOptions({ incomingSecret: secret }), null, { module: false, token: false })
    const authenticator = new Authenticator(settings, undefined)
    const tokens = { first: `y${secret.slice(1)}`, last: `${secret.slice(1)}y` }
    const fastest = { first: Infinity, last: Infinity }
    for (let round = 0; round < 5; round++) {
      for (const where of ['first', 'last'] as const) {
        const began = performance.now()
        const isAccepted = await authenticator.accepts({ username: '', token: tokens[where] })
        fastest[where] = Math.min(fastest[where], performance.now() - began)
        expect(isAccepted).toBe(false)
      }
    }
    expect(fastest.first / fastest.last).toBeGreaterThan(0.25)
  })
})

describe('where a token comes from', () => {
  const module = {
    getAuthToken: () => 'of the module',
    connect: () => undefined,
    disconnect: () => undefined,
    getAccount: () => `${PREFIX}me`,
    getPeerAccount: () => `${PREFIX}you`,
    getInfo: () => ({ prefix: PREFIX }),
    handleIncomingPrepare: () => undefined,
    createOutgoingClaim: () => null,
    handleIncomingClaim: () => undefined
  }
  const Plugin = makePaymentChannelPlugin(module)

  it("the module's is used by both sides where the options have none", async () => {
    const server = keep(new Plugin({ ...serverOptions({ incomingSecret: undefined as never }) }))
    await server.connect()
    const client = keep(new Plugin({ ...clientOptions(server, { store: new MemoryStore(), maxBalance: '1' }), server: `btp+ws://127.0.0.1:${server.port ?? 0}` }))
    await client.connect()
    expect(client.isConnected()).toBe(true)
  })

  it("the options' win over the module's", async () => {
    const server = keep(new Plugin(serverOptions()))
    await server.connect()
    await expect(makeClient(server, { server: addressOf(server, 'of%20the%20module') }).connect()).rejects.toBeInstanceOf(errors.NotAcceptedError)
    const client = keep(new Plugin(clientOptions(server, { store: new MemoryStore(), maxBalance: '1' })))
    await client.connect()
    expect(client.isConnected()).toBe(true)
  })

  it('what the URI has percent-encoded is sent as it is meant', async () => {
    const server = makeServer({ incomingSecret: 'pa:ss/w@rd %' })
    await server.connect()
    const client = makeClient(server, { server: addressOf(server, encodeURIComponent('pa:ss/w@rd %')) })
    await client.connect()
    expect(client.isConnected()).toBe(true)
  })
})

describe('secrets', () => {
  it('H32 H43: none is in any log line or error, through connects, failures, wrong tokens, strangers and requests', async () => {
    const [secret, wrong, username, preimages] = ['S3CRET-marker', 'WR0NG-marker', 'US3R-marker', [] as string[]]
    const log = new MemoryLog()
    const thrown: unknown[] = []
    const port = await freePort()
    const cable = await Cable.lay(() => port)
    const address = `btp+ws://${username}:${secret}@127.0.0.1:${cable.port}/path?key=${secret}`
    const client = keep(new PaychanPlugin({ server: address, store: new MemoryStore(), maxBalance: '1000', reconnectMinMs: 1, reconnectMaxMs: 10, _log: log }))
    await client.connect({ timeout: 30 }).catch((error: unknown) => thrown.push(error))
    const server = makeServer({
      listener: { port, host: '127.0.0.1' }, _log: log, incomingSecret: secret,
      authCheck: (name, token) => { if (token === wrong) throw new Error(`no user ${name} with ${token}`); return token === secret }
    })
    await server.connect()
    await client.connect()
    const misfit = makeClient(server, { server: addressOf(server, `${wrong}2`), _log: log })
    await misfit.connect().catch((error: unknown) => thrown.push(error))
    const stranger = await RawPeer.dial(server)
    await stranger.authenticate(wrong)
    const early = await RawPeer.dial(server)
    await early.tell(text('auth_token', secret), AUTH)
    const id = await pay(client, server)
    preimages.push(await client.getFulfillment(id))
    await client.sendRequest({ to: `${PREFIX}server`, custom: { secret } }).catch((error: unknown) => thrown.push(error))
    const isBack = nextEvent(client, 'connect')
    cable.cut()
    await isBack
    const failing = makeClient(server, { credentials: () => { throw new Error(`cannot open the vault of ${secret}`) }, _log: log })
    await failing.connect({ timeout: 30 }).catch((error: unknown) => thrown.push(`${(error as Error).message} ${(error as Error).stack ?? ''}`))
    await client.disconnect()
    await server.disconnect()
    expect(log.lines.length).toBeGreaterThan(20)
    expect(thrown.length).toBe(4)
    expect(log.at('warn').join('\n')).toContain('no user')
    for (const hidden of [secret, wrong, ...preimages]) {
      expect(log.lines.join('\n')).not.toContain(hidden)
      expect(inspect(thrown, { depth: 10, showHidden: true })).not.toContain(hidden)
    }
    expect(inspect(thrown, { depth: 10, showHidden: true })).not.toContain(username)
  })

  it("H32: a peer's control characters reach no log line", async () => {
    const log = new MemoryLog()
    const server = makeServer({ _log: log })
    await server.connect()
    server.registerRequestHandler(async ({ custom }) => { throw new Error(`bad: ${custom?.['text'] as string}`) })
    const peer = await foreignPeer(server)
    await peer.tell(json('custom', { text: '\u001b[31m\nforged' }))
    const frame = encodePacket({ type: 'message', requestId: 99, protocolData: [json('na_me', {})] })
    frame[frame.indexOf('_'.charCodeAt(0))] = '\n'.charCodeAt(0)
    const stranger = await RawPeer.dial(server)
    for (const speaker of [peer, stranger]) {
      speaker.sendBytes(...frame)
      await expect.poll(() => speaker.received.at(-1)?.requestId).toBe(99)
      speaker.sendBytes(1, 2, 3)
    }
    await expect.poll(() => stranger.closed).toBeDefined()
    expect(log.lines.join('')).toContain('forged')
    // eslint-disable-next-line no-control-regex -- that is what is looked for
    expect(log.lines.filter(line => /[\x00-\x1f\x7f-\uffff]/.test(line))).toEqual([])
  })

  it('H32: a host that gives no method for a level loses those lines, and one that throws harms nothing', async () => {
    const server = makeServer({ _log: { debug: () => { throw new Error('full') }, trace: undefined } })
    await server.connect()
    const client = makeClient(server, { _log: {} })
    await client.connect()
    expect(await client.getPeerBalance()).toBe('0')
    expect(SECRET).not.toBe('')
  })
})
