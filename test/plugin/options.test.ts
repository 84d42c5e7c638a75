import { inspect } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import { PaychanPlugin as BrowserPlugin } from '../../src/index.js'
import PaychanPlugin, { BtpListener, MemoryStore, errors, makePaymentChannelPlugin } from '../../src/node.js'
import type { KeyValueStore, PaymentChannelModule } from '../../src/node.js'
import { HostStore } from '../support/host-store.js'
import { PREFIX, RawPeer, SECRET, clientOptions, connectedPair, foreignPeer, keep, makeClient, makeServer, payment, serverOptions, without } from '../support/hosts.js'
import { parseIlpReply } from '../../src/btp/ilp-packets.js'
import { encodePacket } from '../../src/btp/packets.js'
import { json, octets, readJson } from '../../src/btp/protocol-data.js'
import type { RequestBody } from '../../src/btp/session.js'
import { ilpPayment } from '../support/ilp.js'
import { authData } from '../support/peers.js'

const MARKER = 'Hush-5ecret'

const module: PaymentChannelModule = {
  connect: () => undefined,
  disconnect: () => undefined,
  getAccount: () => `${PREFIX}me`,
  getPeerAccount: () => `${PREFIX}you`,
  getInfo: () => ({ prefix: PREFIX }),
  handleIncomingPrepare: () => undefined,
  createOutgoingClaim: () => null,
  handleIncomingClaim: () => undefined
}

/** What the constructor throws for the options of a server with these changes. */
function refusal(changes: object, Plugin: typeof PaychanPlugin = PaychanPlugin): Error {
  try {
    new Plugin({ ...serverOptions(), ...changes })
  } catch (error) {
    return error as Error
  }
  throw new Error(`these options were taken: ${inspect(changes)}`)
}

const WRONG: Array<[field: string, changes: object]> = [
  ['server', { server: 5 }],
  ['server', { server: 'ws://localhost:1' }],
  ['server', { server: 'btp+http://localhost:1' }],
  ['server', { server: 'btp+ws://' }],
  ['server', { server: `btp+ws://:${MARKER}@local host:1` }],
  ['server', { server: `btp+ws://:${MARKER}@host:99999` }],
  ['server', { server: `btp+ws://%zz:${MARKER}@host` }],
  ['server', { server: '' }],
  ['credentials', { credentials: MARKER }],
  ['credentials', { credentials: { username: MARKER } }],
  ['credentials.username', { credentials: { username: 5, token: MARKER } }],
  ['listener', { listener: 4195 }],
  ['listener', { listener: [] }],
  ['listener.port', { listener: { port: '4195' } }],
  ['listener.port', { listener: { port: 65_536 } }],
  ['listener.port', { listener: { port: -1 } }],
  ['listener.host', { listener: { host: 5 } }],
  ['listener.key', { listener: { cert: MARKER } }],
  ['listener.cert', { listener: { key: MARKER } }],
  ['listener.ca', { listener: { ca: 5 } }],
  ['listener.authTimeoutMs', { listener: { authTimeoutMs: 0 } }],
  ['listener.maxUnauthenticated', { listener: { maxUnauthenticated: 0.5 } }],
  ['incomingSecret', { incomingSecret: 5 }],
  ['incomingSecret', { incomingSecret: { token: MARKER } }],
  ['incomingSecret', { incomingSecret: undefined }],
  ['authCheck', { authCheck: MARKER }],
  ['prefix', { prefix: 5 }],
  ['prefix', { prefix: 'test.hosts' }],
  ['prefix', { prefix: 'test..hosts.' }],
  ['prefix', { prefix: '.' }],
  ['prefix', { prefix: 'test.höst.' }],
  ['prefix', { prefix: `${'a'.repeat(1000)}.` }],
  ['prefix', { prefix: undefined }],
  ['info', { info: MARKER }],
  ['info', { info: [] }],
  ['info', { info: { scale: 5n } }],
  ['info', { info: undefined }],
  ['info.prefix', { info: { prefix: 'test.hosts' } }],
  ['info.prefix', { info: { prefix: 'test.others.' } }],
  ['maxBalance', { maxBalance: undefined }],
  ['maxBalance', { maxBalance: null }],
  ['maxBalance', { maxBalance: 1000 }],
  ['maxBalance', { maxBalance: '1e3' }],
  ['maxBalance', { maxBalance: '1.5' }],
  ['maxBalance', { maxBalance: '' }],
  ['minBalance', { minBalance: -1000 }],
  ['trustSettlements', { trustSettlements: 'yes' }],
  ['settlement', { settlement: 'never' }],
  ['settlement', { settlement: 'host' }],
  ['settleThreshold', { settlement: 'automatic', settleThreshold: '-5' }],
  ['settleThreshold', { settleThreshold: -5 }],
  ['settleTo', { settleTo: '1.5' }],
  ['settleTo', { settleTo: '5' }],
  ['minBalance', { minBalance: '-' }],
  ['minBalance', { minBalance: '1000001' }],
  ['store', { store: {} }],
  ['store', { store: 'memory' }],
  ['store', { store: new HostStore() }],
  ['_store', { store: undefined, _store: {} }],
  ['_store', { store: undefined, _store: { get: () => undefined, put: () => undefined } }],
  ['_backend', { _backend: {} }],
  ['_log', { _log: 'console' }],
  ['maxInFlightAmount', { maxInFlightAmount: 1000 }],
  ['maxInFlightAmount', { maxInFlightAmount: '-1' }],
  ...['expiryMarginMs', 'graceMs', 'answerTimeoutMs', 'heartbeatMs', 'heartbeatTimeoutMs', 'storeTimeoutMs', 'reconnectMinMs', 'reconnectMaxMs', 'maxInFlight', 'maxRequests', 'maxBufferedBytes']
    .flatMap((name): Array<[string, object]> => ['5', -1, NaN, 1e10, {}].map(value => [name, { [name]: value }])),
  ['reconnectMinMs', { reconnectMinMs: 2000, reconnectMaxMs: 1000 }]
]

/** A Prepare that lives for a minute. */
function prepareOf(amount: string): RequestBody {
  const { transfer: { id, executionCondition, expiresAt } } = payment(PREFIX, amount)
  return { type: 'prepare', transferId: id, amount, executionCondition, expiresAt: new Date(expiresAt), protocolData: [] }
}

describe('wrong options', () => {
  it.each(WRONG)('C40: %s is refused by name when it is wrong: %o', (field, changes) => {
    const error = refusal(changes)
    expect(error).toBeInstanceOf(errors.InvalidFieldsError)
    expect(error).toMatchObject({ name: 'InvalidFieldsError', code: 'F01' })
    expect(error.message).toContain(field)
  })

  it.each(WRONG)('H43: the refusal of %s shows no secret: %o', (_field, changes) => {
    const secrets = { server: `btp+ws://${MARKER}:${MARKER}@localhost:1/${MARKER}`, incomingSecret: MARKER, credentials: { username: MARKER, token: MARKER } }
    const error = refusal({ ...secrets, ...changes })
    expect([error.message, error.stack, JSON.stringify(error), inspect(error, { depth: Infinity, showHidden: true })].join()).not.toContain(MARKER)
    expect(error.cause instanceof Error ? `${error.cause.message} ${error.cause.stack ?? ''}` : '').not.toContain(MARKER)
  })

  it.each([undefined, null, 'options', []])('C40: options must be an object, and not %o', options => {
    expect(() => new PaychanPlugin(options as never)).toThrow(errors.InvalidFieldsError)
  })

  it('tells who passes the old _backend what to use in its place', () => {
    expect(refusal({ _backend: {} }).message).toMatch(/store.*_store/)
  })

  it('tells who passes a plain store as store where it belongs', () => {
    expect(refusal({ store: new HostStore() }).message).toContain('_store')
  })

  it('C40: a payment channel module needs a store', () => {
    const Plugin = makePaymentChannelPlugin(module)
    expect(() => new Plugin({ server: 'btp+ws://:x@localhost' })).toThrow(/^store/)
    expect(() => new Plugin({ server: 'btp+ws://:x@localhost', store: new MemoryStore() })).toThrow(/^maxBalance/)
    expect(() => new Plugin({ server: 'btp+ws://:x@localhost', store: new MemoryStore(), maxBalance: '1' })).not.toThrow()
  })

  it('where a payment channel module proves what was settled, nobody is believed without', () => {
    const options = { server: 'btp+ws://:x@localhost', store: new MemoryStore(), maxBalance: '1', trustSettlements: true }
    expect(() => new (makePaymentChannelPlugin(module))(options)).toThrow(/^trustSettlements/)
    expect(() => new PaychanPlugin(options)).not.toThrow()
  })

  it('under a host of LPI v2 settles by itself only with a module, up to no less than where it begins', () => {
    const Plugin = makePaymentChannelPlugin(module)
    const make = (Class: typeof PaychanPlugin | typeof Plugin, options: object) => () =>
      new Class({ server: 'btp+ws://:x@localhost', store: new MemoryStore(), ...options }, {})
    expect(make(Plugin, { settlement: 'automatic' })).not.toThrow()
    expect(make(Plugin, { settlement: 'automatic', settleThreshold: '-10', settleTo: '-5' })).not.toThrow()
    expect(make(Plugin, { settlement: 'automatic', settleThreshold: '-10' })).not.toThrow()
    expect(make(Plugin, { settlement: 'automatic', settleThreshold: '1' })).toThrow(/^settleTo/)
    expect(make(Plugin, { settlement: 'host' })).not.toThrow()
    expect(make(Plugin, { settleThreshold: '-10' })).toThrow(/^settleThreshold/)
    expect(make(PaychanPlugin, { settlement: 'automatic' })).toThrow(/^settlement/)
  })

  it('refuses a listener where nobody can listen: in a browser', () => {
    expect(() => new BrowserPlugin(serverOptions())).toThrow(errors.InvalidFieldsError)
    expect(() => new BrowserPlugin(serverOptions())).toThrow(/^listener/)
    expect(() => new BrowserPlugin(clientOptions(1))).not.toThrow()
  })

  it('names prefix and info as missing where there is nobody to ask', () => {
    const socketOnly = { incomingSecret: SECRET }
    expect(() => new PaychanPlugin(socketOnly)).toThrow(/^prefix/)
    expect(() => new PaychanPlugin({ ...socketOnly, prefix: PREFIX })).toThrow(/^info/)
    expect(() => new PaychanPlugin({ ...socketOnly, prefix: PREFIX, info: {} })).not.toThrow()
    const symmetric = { ...serverOptions(), server: 'btp+ws://:x@localhost' }
    expect(() => new PaychanPlugin({ ...symmetric, prefix: undefined } as never)).toThrow(/^prefix/)
    expect(() => new PaychanPlugin({ ...symmetric, info: undefined } as never)).toThrow(/^info/)
  })

  it('a listener needs something that judges who comes in: a secret, a check, or the token of a module', () => {
    const rest = without(serverOptions(), 'incomingSecret')
    expect(() => new PaychanPlugin(rest)).toThrow(/^incomingSecret/)
    expect(() => new PaychanPlugin({ ...rest, authCheck: () => true })).not.toThrow()
    expect(() => new (makePaymentChannelPlugin(module))(rest)).toThrow(/^incomingSecret/)
    expect(() => new (makePaymentChannelPlugin({ ...module, getAuthToken: () => 'x' }))(rest)).not.toThrow()
  })

  it('a certificate that cannot be read is named when it is needed, and not shown', async () => {
    const server = makeServer({ listener: { port: 0, cert: `/nowhere/${MARKER}`, key: MARKER } })
    const error = await server.connect().catch((thrown: unknown) => thrown as Error)
    expect(error).toBeInstanceOf(errors.InvalidFieldsError)
    expect(inspect(error)).toContain('listener.cert')
    expect(inspect(error)).not.toContain(MARKER)
  })
})

describe('options that are taken', () => {
  it('info may be empty: the prefix is filled in', async () => {
    const server = makeServer({ info: {} })
    await server.connect()
    expect(server.getInfo()).toEqual({ prefix: PREFIX })
  })

  it('the prefix may stand in the info alone', async () => {
    const rest = without(serverOptions({ info: { prefix: PREFIX, currencyScale: 2 } }), 'prefix')
    const server = keep(new PaychanPlugin(rest))
    await server.connect()
    expect(server.getInfo()).toEqual({ prefix: PREFIX, currencyScale: 2 })
  })

  it("a host's null for _store is no store", async () => {
    const server = makeServer()
    await server.connect()
    const client = keep(new PaychanPlugin({ ...clientOptions(server), _store: null } as never))
    await client.connect()
    expect(client.getAccount()).toBe(`${PREFIX}client`)
    expect(await client.getBalance()).toBe('0')
  })

  it.each(['server', 'credentials', 'incomingSecret', 'authCheck', 'minBalance', '_log', 'graceMs'])('%s may be null, for absent', name => {
    expect(() => new PaychanPlugin({ ...serverOptions({ authCheck: () => true }), ...(name === 'authCheck' ? { incomingSecret: SECRET } : {}), [name]: null })).not.toThrow()
  })

  it("keeps a host's info out of reach of later changes", async () => {
    const info = { currencyScale: 6, connectors: [`${PREFIX}server`] }
    const server = makeServer({ info })
    info.connectors.push('test.mallory')
    await server.connect()
    server.getInfo().connectors?.push('test.mallory')
    expect(server.getInfo()).toEqual({ prefix: PREFIX, currencyScale: 6, connectors: [`${PREFIX}server`] })
  })

  it("takes a host's plain store as _store, and as the store of LPI v2's services", async () => {
    for (const pass of ['option', 'service'] as const) {
      const store = new HostStore() as HostStore & KeyValueStore
      const rest = without(serverOptions(), 'store')
      const server = keep(pass === 'option' ? new PaychanPlugin({ ...rest, _store: store }) : new PaychanPlugin(rest, { store }))
      await server.connect()
      await server.disconnect()
      // With a separator of our own before them under LPI v2, whose hosts put an account's name right before each key.
      expect([...store.data.keys()]).toContain(pass === 'option' ? 'paychan:id' : ':paychan:id')
    }
  })

  it("logs to LPI v2's log, and an absent second argument may be null", () => {
    const lines: string[] = []
    const plugin = new PaychanPlugin(serverOptions(), { log: { warn: message => { lines.push(message) } } })
    plugin.on('connect', () => { throw new Error('oh') })
    plugin.emit('connect')
    expect(lines).toEqual(['a listener of connect failed: oh'])
    expect(() => new PaychanPlugin(serverOptions(), null as never)).not.toThrow()
  })

  it('limits of a plugin without a store are checked, and have no effect: its peer keeps the balance', async () => {
    expect(() => new PaychanPlugin(clientOptions(1, { maxBalance: 'much' }))).toThrow(/^maxBalance/)
    const rest = without(serverOptions({ maxBalance: '5' }), 'store')
    const server = keep(new PaychanPlugin(rest))
    await server.connect()
    const peer = await foreignPeer(server)
    const answer = await peer.tell(octets('limit', Uint8Array.of(0)))
    expect(answer.protocolData.map(readJson)).toEqual(['Infinity'])
  })

  it('I9, H38: maxInFlight and maxInFlightAmount hold, however many transfers come at once', async () => {
    for (const [caps, amount] of [[{ maxInFlight: 3 }, '0'], [{ maxInFlightAmount: '35' }, '10']] as const) {
      const server = makeServer(caps)
      await server.connect()
      const peer = await foreignPeer(server)
      const answers = await Promise.all(Array.from({ length: 20 }, () => peer.ask(prepareOf(amount))))
      expect(answers.filter(({ type }) => type === 'response')).toHaveLength(3)
      expect(answers[19]).toMatchObject({ type: 'error', name: 'NotAcceptedError', code: 'F00' })
      expect(server.inFlight()).toHaveLength(3)
      await server.disconnect()
    }
  })

  it('I9, H38: under a host of LPI v2 they are T03 to a packet, and F08 where it is more by itself', async () => {
    const caps = [[{ maxInFlight: 3 }, '10', 'T03'], [{ maxInFlightAmount: '35' }, '10', 'T03'], [{ maxInFlightAmount: '35' }, '36', 'F08']] as const
    for (const [cap, amount, code] of caps) {
      const server = keep(new PaychanPlugin(serverOptions(cap), {}))
      server.registerDataHandler(() => new Promise(() => undefined))
      await server.connect()
      const peer = await foreignPeer(server)
      const packet = (own: string) => octets('ilp', ilpPayment('caps', Date.now() + 10_000, own).prepare)
      for (let i = 0; i < 3; i++) void peer.tell(packet('10'))
      const { protocolData: [answer] } = await peer.tell(packet(amount))
      expect(parseIlpReply(answer?.data ?? new Uint8Array())).toMatchObject({ type: 'reject', code })
      await server.disconnect()
    }
  })

  it('H38: maxRequests is how many requests are handled at a time, and more are UnreachableError', async () => {
    const server = makeServer({ maxRequests: 2 })
    server.registerRequestHandler(() => new Promise(() => undefined))
    await server.connect()
    const peer = await foreignPeer(server)
    for (let i = 0; i < 2; i++) void peer.tell(json('custom', {}))
    expect(await peer.tell(json('custom', {}))).toMatchObject({ type: 'error', name: 'UnreachableError', code: 'T00' })
  })

  it('H38: with more than maxBufferedBytes a peer that does not read loses its connection', async () => {
    for (const [bufferedAmount, calls] of [[70_000, 0], [70_001, 1]] as const) {
      const server = makeServer({ maxBufferedBytes: 70_000 })
      await server.connect()
      const listeners = new Map<string, (data: unknown, isBinary: boolean) => void>()
      const terminate = vi.fn()
      await server.addSocket({ bufferedAmount, terminate, send: () => undefined, on: (event: string, listener: () => void) => listeners.set(event, listener) })
      listeners.get('message')?.(encodePacket({ type: 'message', requestId: 1, protocolData: authData(SECRET) }), true)
      await vi.waitFor(() => { expect(server.isConnected() || terminate.mock.calls.length > 0).toBe(true) })
      expect(terminate).toHaveBeenCalledTimes(calls)
    }
  })

  it('holds maxBalance and minBalance, as its peer is told', async () => {
    const { server, client } = await connectedPair({ maxBalance: '700', minBalance: '-300' }, { maxBalance: '200' })
    expect(await client.getLimit()).toBe('-700')
    expect(await server.getLimit()).toBe('-200')
  })
})

describe('defaults', () => {
  it('listens on port 4195', async () => {
    const server = makeServer({ listener: { host: '127.0.0.1' } })
    // Somebody else on this machine may have it: then the error tells which port it was.
    const told = await server.connect().then(() => `port ${server.port ?? 0}`, (error: unknown) => (error as Error).message)
    expect(told).toContain('port 4195')
  })

  it('gives a stranger two seconds, and takes a hundred of them', () => {
    expect(new BtpListener()).toMatchObject({ authTimeoutMs: 2000, maxUnauthenticated: 100 })
  })

  it('C14: a stranger that says nothing is closed after the time of the listener', async () => {
    const server = makeServer({ listener: { port: 0, host: '127.0.0.1', authTimeoutMs: 30 } })
    await server.connect()
    const stranger = await RawPeer.dial(server)
    await expect.poll(() => stranger.closed).toBeDefined()
    expect(server.isConnected()).toBe(false)
  })

  it('dials with the address alone where the options have more than one source of credentials: those given apart win', async () => {
    const server = makeServer()
    await server.connect()
    const client = makeClient(server, { server: `btp+ws://wrong:wrong@127.0.0.1:${server.port ?? 0}`, credentials: { username: '', token: SECRET } })
    await client.connect()
    expect(client.isConnected()).toBe(true)
  })
})
