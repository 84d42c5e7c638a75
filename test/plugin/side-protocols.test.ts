import { describe, expect, it } from 'vitest'
import { MemoryStore, errors, makePaymentChannelPlugin } from '../../src/node.js'
import type { LedgerPlugin } from '../../src/node.js'
import type { Packet, SubProtocol } from '../../src/btp/packets.js'
import { ContentType } from '../../src/btp/packets.js'
import { decodeErrorData, encodeBalance, json, octets, text } from '../../src/btp/protocol-data.js'
import type { RawPeer} from '../support/hosts.js';
import { PREFIX, connectedPair, foreignPeer, keep, makeServer, nextEvent, pay, payment, serverOptions } from '../support/hosts.js'
import { Lab, answers } from '../support/lab.js'
import { encodePacket } from '../../src/btp/packets.js'

const byte = (name: string, value: number): SubProtocol => octets(name, Uint8Array.of(value))

async function servedPeer(options: Parameters<typeof makeServer>[0] = {}): Promise<{ server: LedgerPlugin; peer: RawPeer }> {
  const server = makeServer(options)
  await server.connect()
  return { server, peer: await foreignPeer(server) }
}

const refusal = (name: string, code: string): object => ({ type: 'error', name, code })

describe('what a peer may ask', () => {
  it('C35: info [2] is answered with the info as JSON, [0] with the account as text', async () => {
    const { peer } = await servedPeer()
    expect((await peer.tell(byte('info', 2))).protocolData).toEqual([json('info', { currencyCode: 'XTS', currencyScale: 6, prefix: PREFIX })])
    expect((await peer.tell(byte('info', 0))).protocolData).toEqual([text('info', `${PREFIX}server`)])
  })

  it('C36: balance [0] is answered with a signed 64-bit integer', async () => {
    const { server, peer } = await servedPeer()
    expect((await peer.tell(byte('balance', 0))).protocolData).toEqual([octets('balance', encodeBalance('0'))])
    const { transfer, fulfillment } = payment('', '300')
    const isPrepared = nextEvent(server, 'incoming_prepare')
    await peer.ask({
      type: 'prepare', transferId: transfer.id, amount: '300', executionCondition: transfer.executionCondition, expiresAt: new Date(transfer.expiresAt), protocolData: []
    })
    await isPrepared
    const fulfilling = server.fulfillCondition(transfer.id, fulfillment)
    const fulfill = await expect.poll(() => peer.received.find(packet => packet.type === 'fulfill')).toBeDefined().then(() => peer.received.find(packet => packet.type === 'fulfill'))
    // What is not fulfilled is in no balance.
    expect((await peer.tell(byte('balance', 0))).protocolData).toEqual([octets('balance', encodeBalance('0'))])
    if (fulfill !== undefined) peer.respond(fulfill)
    await fulfilling
    expect((await peer.tell(byte('balance', 0))).protocolData).toEqual([octets('balance', encodeBalance('300'))])
  })

  it('C37: limit [0] is answered with the maximum balance as a JSON string', async () => {
    const { peer } = await servedPeer({ maxBalance: '12345678901234567890123' })
    expect((await peer.tell(byte('limit', 0))).protocolData).toEqual([json('limit', '12345678901234567890123')])
  })

  it('C23: the primary sub-protocol decides, and secondaries only inform', async () => {
    const { peer } = await servedPeer()
    const answer = await peer.tell(byte('info', 0), byte('balance', 0), json('no_such_method', {}), text('auth_token', 'x'))
    expect(answer.protocolData).toEqual([text('info', `${PREFIX}server`)])
  })

  it.each<[string, SubProtocol[], string]>([
    ['an unknown name', [json('no_such_method', {})], 'NotAcceptedError'],
    ['H37 a name of an object prototype', [json('constructor', {})], 'NotAcceptedError'],
    ['H37 the name __proto__', [json('__proto__', {})], 'NotAcceptedError'],
    ['nothing at all', [], 'InvalidFieldsError'],
    ['C5 the same name twice', [byte('info', 2), byte('info', 0)], 'InvalidFieldsError'],
    ['a claim, without a module to take it', [json('claim', { amount: '5' })], 'NotAcceptedError'],
    ['another authentication', [octets('auth', new Uint8Array()), text('auth_token', 'x')], 'NotAcceptedError']
  ])('C18: a Message with %s is answered with an Error, and the session goes on', async (_what, protocolData, name) => {
    const { peer } = await servedPeer()
    expect(await peer.tell(...protocolData)).toMatchObject(refusal(name, name === 'InvalidFieldsError' ? 'F01' : 'F00'))
    expect((await peer.tell(byte('info', 0))).type).toBe('response')
  })

  it('a Transfer of BTP 2.0 is answered with NotAcceptedError, and moves nothing', async () => {
    const { server, peer } = await servedPeer()
    expect(await peer.ask({ type: 'transfer', amount: '50', protocolData: [] })).toMatchObject(refusal('NotAcceptedError', 'F00'))
    expect(await server.getBalance()).toBe('0')
  })

  it('the text of an Error says what was wrong', async () => {
    const { peer } = await servedPeer()
    const answer: Packet = await peer.tell(json('no_such_method', {}))
    expect(answer.type === 'error' && decodeErrorData(answer.data)).toContain('no_such_method')
  })

  it('C22: what is no packet gets silence, and harms nothing', async () => {
    const { server, peer } = await servedPeer()
    peer.sendBytes(0)
    peer.sendBytes(6, 0, 0, 0, 1, 255)
    expect((await peer.tell(byte('info', 0))).type).toBe('response')
    expect(peer.received.map(({ type }) => type)).toEqual(['response', 'response'])
    expect(server.isConnected()).toBe(true)
  })

  it('C38: any other name reaches the method of a module, and its result returns under the same name', async () => {
    const Plugin = makePaymentChannelPlugin({
      constructor: ctx => { ctx.rpc.addMethod('sum', numbers => (numbers as number[]).reduce((a, b) => a + b)) },
      connect: () => undefined,
      disconnect: () => undefined,
      getAccount: () => `${PREFIX}me`,
      getPeerAccount: () => `${PREFIX}you`,
      getInfo: () => ({ prefix: PREFIX }),
      handleIncomingPrepare: () => undefined,
      createOutgoingClaim: () => null,
      handleIncomingClaim: () => undefined
    })
    const server = keep(new Plugin(serverOptions()))
    await server.connect()
    const peer = await foreignPeer(server)
    expect((await peer.tell(json('sum', [1, 2, 3]))).protocolData).toEqual([json('sum', 6)])
    expect((await peer.tell(byte('info', 0))).protocolData).toEqual([text('info', `${PREFIX}me`)])
  })
})

describe('what is asked of a peer', () => {
  it("C36 C37: balance and limit are turned around, and \"0\" stays \"0\" (H21)", async () => {
    const { server, client } = await connectedPair({ maxBalance: '0', minBalance: '-500' }, { maxBalance: '0' })
    expect([await client.getLimit(), await client.getPeerBalance(), await server.getPeerBalance()]).toEqual(['0', '0', '0'])
  })

  it('C36: both sides see the same balance, each from its own side', async () => {
    const { server, client } = await connectedPair()
    await pay(client, server, '70')
    await pay(server, client, '30')
    expect([await client.getBalance(), await client.getPeerBalance(), await server.getBalance(), await server.getPeerBalance()]).toEqual(['-40', '-40', '40', '40'])
  })

  it('C36: a balance as a JSON string is read too; what is neither is an InvalidFieldsError', async () => {
    const replies: Array<[SubProtocol[], string | typeof errors.InvalidFieldsError | typeof errors.NotAcceptedError]> = [
      [[json('balance', '-12')], '12'],
      [[json('balance', '0')], '0'],
      [[json('balance', 12)], errors.InvalidFieldsError],
      [[text('balance', '12')], errors.InvalidFieldsError],
      [[octets('balance', Uint8Array.of(1))], errors.InvalidFieldsError],
      [[{ protocolName: 'balance', contentType: ContentType.json, data: Uint8Array.of(0xff) }], errors.InvalidFieldsError],
      [[], errors.NotAcceptedError],
      [[json('balance', '1'), json('balance', '2')], errors.InvalidFieldsError]
    ]
    const { server, peer } = await servedPeer()
    for (const [protocolData, expected] of replies) {
      const asked = server.getPeerBalance()
      await expect.poll(() => peer.received.at(-1)?.type).toBe('message')
      const request = peer.received.at(-1)
      expect(request?.protocolData).toEqual([byte('balance', 0)])
      if (request !== undefined) peer.send({ type: 'response', requestId: request.requestId, protocolData })
      if (typeof expected === 'string') expect(await asked).toBe(expected)
      else await expect(asked).rejects.toBeInstanceOf(expected)
      peer.received.length = 0
    }
  })

  it('C37: an unlimited peer gives -Infinity', async () => {
    const { client } = await connectedPair({ maxBalance: 'Infinity' })
    expect(await client.getLimit()).toBe('-Infinity')
  })

  it('without an answer in time it is an UnreachableError', async () => {
    const lab = await Lab.open()
    lab.network.drop(answers('message'))
    const asked = lab.alice.plugin.getLimit()
    const rejection = expect(asked).rejects.toBeInstanceOf(errors.UnreachableError)
    await lab.clock.advance(5000)
    await rejection
  })

  it('H39: a huge or unreadable frame in answer to nothing costs nothing', async () => {
    const { server, peer } = await servedPeer({ store: new MemoryStore() })
    peer.sendBytes(...encodePacket({ type: 'response', requestId: 99, protocolData: [octets('info', new Uint8Array(50_000))] }))
    expect((await peer.tell(byte('info', 0))).type).toBe('response')
    expect(server.isConnected()).toBe(true)
  })
})
