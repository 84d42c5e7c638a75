import { describe, expect, it } from 'vitest'
import { errors } from '../../src/node.js'
import type { LedgerPlugin, Message, OutgoingMessage } from '../../src/node.js'
import { decodeIlpError } from '../../src/btp/ilp-error.js'
import { ContentType } from '../../src/btp/packets.js'
import { json, octets, text } from '../../src/btp/protocol-data.js'
import { fromBase64url, toBase64url, toUtf8 } from '../../src/core/bytes.js'
import { PREFIX, connectedPair, foreignPeer, makeServer } from '../support/hosts.js'
import { Lab, watch } from '../support/lab.js'
import { ScriptedPeer, report } from '../support/scripted-peer.js'

const CLIENT = `${PREFIX}client`
const SERVER = `${PREFIX}server`
const PACKET = toBase64url(Uint8Array.of(1, 2, 3))

/** The arguments of those events, from now on. */
function requestEvents(plugin: LedgerPlugin): Array<[string, unknown]> {
  const seen: Array<[string, unknown]> = []
  for (const name of ['incoming_request', 'incoming_response', 'outgoing_request', 'outgoing_response'] as const) {
    plugin.on(name, (message: Message | OutgoingMessage) => { seen.push([name, message]) })
  }
  return seen
}

/** What the peer's host is told of a failure, out of the ILP error in the answer. */
function failureIn(answer: Message): { code: string; name: string; triggeredBy: string; forwardedBy: readonly string[]; message: unknown } {
  const { code, name, triggeredBy, forwardedBy, data } = decodeIlpError(fromBase64url(answer.ilp ?? '') ?? new Uint8Array())
  return { code, name, triggeredBy, forwardedBy, message: (JSON.parse(data) as { message: unknown }).message }
}

describe('a request between two hosts', () => {
  it('C47 C52: is answered, and raises all four events with the fields of LPI and no others', async () => {
    const { server, client } = await connectedPair()
    const [atClient, atServer] = [requestEvents(client), requestEvents(server)]
    const seen: Message[] = []
    server.registerRequestHandler(async message => {
      seen.push(message)
      return { ilp: PACKET, custom: { more: [1] }, to: message.from, from: message.to, ledger: message.ledger, unknown: 1 } as OutgoingMessage
    })
    const answer = await client.sendRequest({ to: SERVER, from: CLIENT, ledger: PREFIX, ilp: PACKET, custom: { hello: 'you' } })
    expect(answer).toEqual({ to: CLIENT, from: SERVER, ledger: PREFIX, ilp: PACKET, custom: { more: [1] } })
    expect(seen).toEqual([{ id: expect.stringMatching(/^[0-9]+$/) as string, to: SERVER, from: CLIENT, ledger: PREFIX, ilp: PACKET, custom: { hello: 'you' } }])
    expect(atClient).toEqual([
      ['outgoing_request', { to: SERVER, from: CLIENT, ledger: PREFIX, ilp: PACKET, custom: { hello: 'you' } }],
      ['incoming_response', answer]
    ])
    expect(atServer).toEqual([
      ['incoming_request', seen[0]],
      ['outgoing_response', { to: CLIENT, from: SERVER, ledger: PREFIX, ilp: PACKET, custom: { more: [1] } }]
    ])
  })

  it('C16: goes in either direction, whoever dialled', async () => {
    const { server, client } = await connectedPair()
    client.registerRequestHandler(async () => ({ custom: { from: 'client' } }))
    expect(await server.sendRequest({ to: CLIENT, custom: {} })).toEqual({ to: SERVER, from: CLIENT, ledger: PREFIX, custom: { from: 'client' } })
  })

  it('leaves out what is absent: an answer without ilp and custom has neither, and an empty ilp is none', async () => {
    const { server, client } = await connectedPair()
    server.registerRequestHandler(async () => ({ ilp: '' }))
    expect(await client.sendRequest({ to: SERVER, custom: {} })).toEqual({ to: CLIENT, from: SERVER, ledger: PREFIX })
  })

  it('H18: the destination is the peer or an address below it, and not one that only begins alike', async () => {
    const { server, client } = await connectedPair()
    server.registerRequestHandler(async () => ({}))
    await client.sendRequest({ to: `${SERVER}.sub`, custom: {} })
    await expect(client.sendRequest({ to: `${SERVER}2`, custom: {} })).rejects.toBeInstanceOf(errors.AccountNotFoundError)
  })

  it.each<[string, object]>([
    ['to', {}],
    ['to', { to: '' }],
    ['to', { to: 5 }],
    ['from', { to: SERVER, from: 'test.elsewhere.client' }],
    ['ledger', { to: SERVER, ledger: 'test.elsewhere.' }],
    ['ilp', { to: SERVER, ilp: 'not base64url!' }],
    ['ilp', { to: SERVER, ilp: new Uint8Array() }],
    ['custom', { to: SERVER, custom: 'text' }],
    ['custom', { to: SERVER, custom: [] }],
    ['custom', { to: SERVER, custom: { big: 5n } }],
    ['custom', { to: SERVER, custom: { deep: JSON.parse(`${'['.repeat(200)}${']'.repeat(200)}`) as unknown } }],
    ['ilp and custom', { to: SERVER, custom: { long: 'x'.repeat(60_000) } }],
    ['ilp and custom', { to: SERVER, ilp: 'A'.repeat(81_000) }]
  ])('C47: refuses a wrong %s before anything is sent or raised', async (field, message) => {
    const { server, client } = await connectedPair()
    const [atClient, atServer] = [requestEvents(client), requestEvents(server)]
    const rejection = client.sendRequest(message)
    await expect(rejection).rejects.toBeInstanceOf(errors.InvalidFieldsError)
    await expect(rejection).rejects.toThrow(new RegExp(`^${field}`))
    await expect(client.sendRequest(null as never)).rejects.toBeInstanceOf(errors.InvalidFieldsError)
    expect([atClient, atServer]).toEqual([[], []])
  })

  it('C47: is answered with NoSubscriptionsError where no handler is registered, or was taken away', async () => {
    const { server, client } = await connectedPair()
    await expect(client.sendRequest({ to: SERVER, custom: {} })).rejects.toMatchObject({ name: 'NoSubscriptionsError', fromPeer: true })
    server.registerRequestHandler(async () => ({}))
    server.deregisterRequestHandler()
    await expect(client.sendRequest({ to: SERVER, custom: {} })).rejects.toBeInstanceOf(errors.NoSubscriptionsError)
  })

  it('C47 H26: ends with UnreachableError when no answer comes in time, and at once when the connection goes', async () => {
    const lab = await Lab.open()
    lab.bob.plugin.registerRequestHandler(() => new Promise(() => undefined))
    const slow = watch(lab.alice.plugin.sendRequest({ to: 'test.lab.server', custom: {} }))
    await lab.clock.advance(4999)
    expect(slow.state).toBe('pending')
    await lab.clock.advance(1)
    expect(slow).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
    const cut = watch(lab.alice.plugin.sendRequest({ to: 'test.lab.server', custom: {} }))
    await lab.settle()
    lab.network.cut()
    await lab.settle()
    expect(cut).toMatchObject({ state: 'rejected', error: { name: 'UnreachableError' } })
  })

  it('H35: a slow one holds up no other', async () => {
    const { server, client } = await connectedPair()
    let finish: () => void = () => undefined
    const isSlow = new Promise<void>(resolve => { finish = resolve })
    server.registerRequestHandler(async ({ custom }) => {
      if (custom?.['slow'] === true) await isSlow
      return { custom: { done: true } }
    })
    const slow = client.sendRequest({ to: SERVER, custom: { slow: true } })
    expect((await client.sendRequest({ to: SERVER, custom: {} })).custom).toEqual({ done: true })
    expect(await client.getPeerBalance()).toBe('0')
    finish()
    expect((await slow).custom).toEqual({ done: true })
  })

  it('C51: a second handler is refused; taking it away may be done twice, and makes room for another', () => {
    const plugin = makeServer()
    plugin.deregisterRequestHandler()
    plugin.registerRequestHandler(async () => ({}))
    expect(() => { plugin.registerRequestHandler(async () => ({})) }).toThrow(errors.RequestHandlerAlreadyRegisteredError)
    plugin.deregisterRequestHandler()
    plugin.deregisterRequestHandler()
    plugin.registerRequestHandler(async () => ({}))
  })

  it.each([undefined, null, {}, 'handler'])('refuses %o as a handler', handler => {
    const plugin = makeServer()
    expect(() => { plugin.registerRequestHandler(handler as never) }).toThrow(errors.InvalidFieldsError)
    plugin.registerRequestHandler(async () => ({}))
  })
})

describe('a request handler that fails', () => {
  it.each<[string, () => unknown, RegExp]>([
    ['throws', () => { throw new Error('no can do') }, /^no can do$/],
    ['rejects', () => Promise.reject(new Error('no can do')), /^no can do$/],
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- hosts do
    ['rejects with a text', () => Promise.reject('just a text'), /^just a text$/],
    ['throws an object without a text', () => { throw Object.create(null) as Error }, /./],
    ['throws a very long text', () => { throw new Error('ä\n'.repeat(100_000)) }, /^(ä\n)+/],
    ['returns nothing', () => undefined, /answer must be an object/],
    ['returns a text', () => Promise.resolve('yes'), /answer must be an object/],
    ['returns an ilp that is no base64url', () => ({ ilp: '***' }), /^ilp/],
    ['returns an ilp that is no string', () => ({ ilp: 5 }), /^ilp/],
    ['returns a custom that is no object', () => ({ custom: 'x' }), /^custom/],
    ['returns a custom that is no JSON', () => ({ custom: { big: 5n } }), /^custom/],
    ['returns a custom that is too deep', () => ({ custom: JSON.parse(`{"a":${'['.repeat(200)}${']'.repeat(200)}}`) as object }), /^custom/],
    ['returns more than a frame holds', () => ({ custom: { long: 'x'.repeat(100_000) } }), /custom/]
  ])('C34: that %s gives the peer an ILP error F00 with the message', async (_what, handler, message) => {
    const { server, client } = await connectedPair()
    const atServer = requestEvents(server)
    server.registerRequestHandler(handler as never)
    const answer = await client.sendRequest({ to: SERVER, custom: {} })
    expect(failureIn(answer)).toEqual({
      code: 'F00', name: 'Bad Request', triggeredBy: SERVER, forwardedBy: [], message: expect.stringMatching(message) as string
    })
    expect(answer.custom).toBeUndefined()
    expect(atServer).toMatchObject([['incoming_request', {}], ['outgoing_response', { to: CLIENT, from: SERVER, ledger: PREFIX, ilp: answer.ilp }]])
    // The next one is served.
    server.deregisterRequestHandler()
    server.registerRequestHandler(async () => ({ custom: { fine: true } }))
    expect((await client.sendRequest({ to: SERVER, custom: {} })).custom).toEqual({ fine: true })
  })

  it('C52: changing the message in a listener or in the handler harms neither the plugin nor the peer', async () => {
    const { server, client } = await connectedPair()
    client.on('outgoing_request', message => { Object.assign(message, { ilp: 'changed', custom: {} }) })
    server.on('incoming_request', message => { Object.assign(message, { from: 'changed' }) })
    server.registerRequestHandler(async message => ({ custom: { got: message.custom ?? null } }))
    const answer = await client.sendRequest({ to: SERVER, custom: { a: 1 } })
    expect(answer).toEqual({ to: CLIENT, from: SERVER, ledger: PREFIX, custom: { got: { a: 1 } } })
  })
})

describe('requests of a raw peer', () => {
  it('C38: ilp makes a request of a Message wherever it is, and whatever its content type', async () => {
    const server = makeServer()
    await server.connect()
    server.registerRequestHandler(async ({ ilp }) => ({ ...(ilp === undefined ? {} : { ilp }), custom: { last: true } }))
    const peer = await foreignPeer(server)
    const answer = await peer.tell(json('unknown', {}), { protocolName: 'ilp', contentType: ContentType.text, data: Uint8Array.of(7, 8) })
    expect(answer).toMatchObject({ type: 'response', protocolData: [{ protocolName: 'ilp', contentType: ContentType.octetStream, data: Uint8Array.of(7, 8) }, { protocolName: 'custom', contentType: ContentType.json }] })
  })

  it('C38: custom alone is a request too', async () => {
    const server = makeServer()
    await server.connect()
    server.registerRequestHandler(async ({ custom }) => ({ custom: { echo: custom ?? null } }))
    const peer = await foreignPeer(server)
    expect(await peer.tell(json('custom', { a: [1] }))).toMatchObject({ type: 'response', protocolData: [json('custom', { echo: { a: [1] } })] })
  })

  it.each([
    ['is no JSON', { protocolName: 'custom', contentType: ContentType.json, data: toUtf8('{') }],
    ['is text', text('custom', '{}')],
    ['is a JSON array', json('custom', [])],
    ['is no UTF-8', { protocolName: 'custom', contentType: ContentType.json, data: Uint8Array.of(0x22, 0xff, 0x22) }],
    ['has a key __proto__', { protocolName: 'custom', contentType: ContentType.json, data: toUtf8('{"a":{"__proto__":{}}}') }]
  ])('H37 H39: a custom that %s is answered with InvalidFieldsError, and nobody is asked', async (_what, custom) => {
    const server = makeServer()
    await server.connect()
    const events = requestEvents(server)
    server.registerRequestHandler(async () => ({}))
    const peer = await foreignPeer(server)
    expect(await peer.tell(octets('ilp', Uint8Array.of(1)), custom)).toMatchObject({ type: 'error', code: 'F01', name: 'InvalidFieldsError' })
    expect(events).toEqual([])
  })
})

describe('requests that are never answered', () => {
  it('are maxRequests at most, however often the peer connects', async () => {
    const lab = new Lab({ alice: { options: { maxRequests: 10 } } })
    const peer = new ScriptedPeer(lab, { announces: true })
    peer.script = ({ protocolData: [primary] }) => primary?.protocolName === 'paychan' ? [json('paychan', { reconcile: report({}) })] : undefined
    await peer.listen()
    let handled = 0
    lab.alice.onStart = plugin => {
      plugin.registerRequestHandler(() => {
        handled++
        return new Promise(() => undefined)
      })
    }
    await lab.alice.start()
    for (let round = 0; round < 5; round++) {
      for (let n = 0; n < 15; n++) peer.ask({ type: 'message', protocolData: [json('custom', { x: 1 })] }).catch(() => undefined)
      await lab.clock.advance(100)
      lab.network.cut()
      await lab.clock.advance(2000)
    }
    expect(handled).toBe(10)
  })
})
