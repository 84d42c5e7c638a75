import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { encodePacket } from '../../src/btp/packets.js'
import type { ErrorPacket, Packet, RequestPacket } from '../../src/btp/packets.js'
import { decodeErrorData, json, octets, text } from '../../src/btp/protocol-data.js'
import { Session } from '../../src/btp/session.js'
import type { SessionOptions } from '../../src/btp/session.js'
import { DuplicateIdError, InvalidFieldsError, NotAcceptedError, RemoteError, UnreachableError } from '../../src/core/errors.js'
import { connectionPair } from '../../src/transport/pair.js'
import { hello, OUR_LEDGER, sessionOptions, THEIR_LEDGER, WirePeer } from '../support/peers.js'
import { settle } from '../support/virtual-clock.js'

const FOREIGN = { announced: false, ledgerId: undefined }
const OURS = { announced: true, ledgerId: THEIR_LEDGER }

/** A session that the peer has dialled and authenticated, and the peer, who has its Response. */
async function open(overrides: Partial<SessionOptions> & { peer?: typeof OURS | typeof FOREIGN; canPing?: boolean } = {}) {
  const { peer: facts = FOREIGN, canPing = true, ...rest } = overrides
  const options = sessionOptions(rest)
  const [near, far] = connectionPair({ canPing })
  const onClosed = vi.fn<(session: Session, reason: string) => void>()
  const session = new Session(near, false, options, onClosed)
  near.open(session)
  const peer = new WirePeer(far)
  session.accept(99, facts)
  await peer.next()
  return { session, peer, onClosed, options, clock: options.clock, near, far }
}

const errorOf = (packet: Packet) => {
  const { name, code, data } = packet as ErrorPacket
  return { name, code, message: decodeErrorData(data) }
}

describe('a request of ours', () => {
  it('C18: is answered under its own id', async () => {
    const { session, peer } = await open()
    const first = session.request(hello('a'))
    const second = session.request(hello('b'))
    const [a, b] = [await peer.next(), await peer.next()]
    peer.respond(b, [text('answer', 'b')])
    peer.respond(a, [text('answer', 'a')])
    expect((await first).protocolData).toEqual([text('answer', 'a')])
    expect((await second).protocolData).toEqual([text('answer', 'b')])
  })

  it('C19, H27: no two in flight share an id, wherever the first begins', async () => {
    const { session, peer } = await open({ random: { bytes: length => new Uint8Array(length).fill(0xff) } })
    const answers = [1, 2, 3].map(() => session.request(hello()))
    const packets = [await peer.next(), await peer.next(), await peer.next()]
    expect(packets.map(packet => packet.requestId)).toEqual([0xffffffff, 0, 1])
    for (const packet of packets) peer.respond(packet)
    await Promise.all(answers)
  })

  it('H27: hears an answer that comes while it is still being sent', async () => {
    const options = sessionOptions()
    const session = new Session({
      label: 'quick',
      bufferedBytes: 0,
      open: () => undefined,
      close: () => undefined,
      terminate: () => undefined,
      send: frame => {
        // The request's own bytes, turned into an empty Response.
        const requestId = new DataView(frame.buffer, frame.byteOffset).getUint32(1)
        session.message(encodePacket({ type: 'response', requestId, protocolData: [] }))
      }
    }, false, options, () => undefined)
    session.accept(1, FOREIGN)
    expect((await session.request(hello())).protocolData).toEqual([])
    expect(options.clock.pending).toBe(0)
  })

  it('H27: is not answered by another connection, nor ended with it', async () => {
    const random = { bytes: (length: number) => new Uint8Array(length).fill(7) }
    const [one, other] = [await open({ random }), await open({ random })]
    const request = one.session.request(hello())
    const packet = await one.peer.next()
    other.peer.respond(packet, [text('answer', 'stolen')])
    await settle()
    other.peer.leave()
    await settle()
    expect(other.session.closed).toBe(true)
    one.peer.respond(packet, [text('answer', 'own')])
    expect((await request).protocolData).toEqual([text('answer', 'own')])
  })

  it('H26: ends with UnreachableError when there is no answer in time; a late one meets silence (C21)', async () => {
    const { session, peer, clock } = await open()
    const request = session.request(hello(), { timeoutMs: 100 })
    const failure = expect(request).rejects.toThrow(UnreachableError)
    const packet = await peer.next()
    await clock.advance(99)
    expect(clock.pending).toBe(1)
    await clock.advance(1)
    await failure
    expect(clock.pending).toBe(0)
    peer.respond(packet)
    await settle()
    expect(peer.received).toHaveLength(2)
    expect(session.closed).toBe(false)
  })

  it('waits for ever where it is told to', async () => {
    const { session, peer, clock } = await open()
    const request = session.request(hello(), { timeoutMs: Infinity })
    const packet = await peer.next()
    await clock.advance(1e9)
    peer.respond(packet)
    await request
  })

  it('H26: leaves no timer behind once it is answered', async () => {
    const { session, peer, clock } = await open()
    const request = session.request(hello())
    peer.respond(await peer.next())
    await request
    expect(clock.pending).toBe(0)
  })

  it('H26: fails at once when the connection goes', async () => {
    const { session, peer, clock, onClosed } = await open()
    const requests = [session.request(hello()), session.request(hello())]
    const failures = requests.map(request => expect(request).rejects.toThrow(UnreachableError))
    peer.leave()
    await Promise.all(failures)
    expect(clock.pending).toBe(0)
    expect(session.closed).toBe(true)
    expect(onClosed).toHaveBeenCalledExactlyOnceWith(session, 'closed by the peer')
  })

  it('C25: an Error answer is told by its name, whatever its code', async () => {
    const { session, peer, clock } = await open()
    const request = session.request(hello())
    const { requestId } = await peer.next()
    // The old package numbers this one F04.
    const data = '{"message":"seen before\\u001b[31m"}'
    peer.send({ type: 'error', requestId, code: 'F04', name: 'DuplicateIdError', triggeredAt: new Date(clock.now()), data, protocolData: [] })
    const error = await request.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(DuplicateIdError)
    expect(error).toHaveProperty('message', 'seen before\\u001b[31m')
  })

  it('C24: an Error under an unknown name keeps the name and whether it is temporary', async () => {
    const { session, peer, clock } = await open()
    const request = session.request(hello())
    const { requestId } = await peer.next()
    const rest = { triggeredAt: new Date(clock.now()), data: 'not json', protocolData: [] }
    peer.send({ type: 'error', requestId, code: 'T01', name: 'BusyError', ...rest })
    const error = await request.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(RemoteError)
    expect(error).toMatchObject({ remoteName: 'BusyError', code: 'T00', message: 'not json' })
  })

  it('C5: an answer with a name twice is InvalidFieldsError', async () => {
    const { session, peer } = await open()
    const request = session.request(hello())
    peer.respond(await peer.next(), [text('a', '1'), text('a', '2')])
    await expect(request).rejects.toThrow(InvalidFieldsError)
  })

  it('is InvalidFieldsError when it cannot be written, and leaves nothing behind', async () => {
    const { session, clock } = await open()
    await expect(session.request({ type: 'transfer', amount: '-1', protocolData: [] })).rejects.toThrow(InvalidFieldsError)
    await expect(session.request({ type: 'message', protocolData: [text('é', '')] })).rejects.toThrow(InvalidFieldsError)
    expect(clock.pending).toBe(0)
  })

  it('H38: one that the peer would hang up on for its size is refused here, and the session lives on', async () => {
    const { session, peer } = await open()
    await expect(session.request({ type: 'message', protocolData: [octets('x', new Uint8Array(65_536))] })).rejects.toThrow(/65536/)
    const request = session.request(hello())
    peer.respond(await peer.next())
    await request
  })
})

describe('a request of the peer', () => {
  it('C18: is answered once, with what the handler resolves with', async () => {
    const { peer } = await open({ handleRequest: () => Promise.resolve([json('answer', 1)]) })
    peer.send({ type: 'message', requestId: 5, protocolData: [] })
    expect(await peer.next()).toEqual({ type: 'response', requestId: 5, protocolData: [json('answer', 1)] })
    await settle()
    expect(peer.received).toHaveLength(2)
  })

  it('H35: a slow one holds up no other', async () => {
    const releases: Array<() => void> = []
    const handleRequest = async ({ requestId, protocolData }: RequestPacket) => {
      if (requestId === 1) await new Promise<void>(resolve => { releases.push(resolve) })
      return protocolData
    }
    const { peer } = await open({ handleRequest })
    peer.send({ type: 'message', requestId: 1, protocolData: [] })
    peer.send({ type: 'message', requestId: 2, protocolData: [] })
    expect((await peer.next()).requestId).toBe(2)
    releases[0]?.()
    expect((await peer.next()).requestId).toBe(1)
  })

  it('C25: an error of ours becomes an Error with its name and code', async () => {
    const { peer } = await open({ handleRequest: () => Promise.reject(new DuplicateIdError('another one')) })
    peer.send({ type: 'message', requestId: 5, protocolData: [] })
    const answer = await peer.next()
    expect(answer).toMatchObject({ type: 'error', requestId: 5, data: '{"message":"another one"}' })
    expect(errorOf(answer)).toEqual({ name: 'DuplicateIdError', code: 'F05', message: 'another one' })
  })

  it.each<[string, Error, string]>([
    ['an error', new TypeError('no\nsuch thing'), 'no\\u000asuch thing'],
    ['a long text', 'x'.repeat(5000) as never, `${'x'.repeat(1000)}...`],
    ['undefined', undefined as never, 'undefined'],
    ['what cannot be a text', Object.create(null) as never, 'unknown error'],
    ['an error whose message is none', Object.assign(new Error(), { message: { toString: 1 } }), 'unknown error']
  ])('anything else that a handler throws (%s) becomes NotAcceptedError, without a stack', async (_what, thrown, message) => {
    const { peer } = await open({ handleRequest: () => Promise.reject(thrown) })
    peer.send({ type: 'message', requestId: 5, protocolData: [] })
    expect(errorOf(await peer.next())).toEqual({ name: 'NotAcceptedError', code: 'F00', message })
  })

  it('is answered with an Error when the handler throws before it returns a promise, or returns what cannot be sent', async () => {
    const { peer } = await open({
      handleRequest: ({ requestId }) => {
        if (requestId === 1) throw new NotAcceptedError('at once')
        return Promise.resolve([octets(requestId === 2 ? 'é' : 'big', new Uint8Array(requestId === 2 ? 0 : 70_000))])
      }
    })
    for (const requestId of [1, 2, 3]) peer.send({ type: 'message', requestId, protocolData: [] })
    const answers = [await peer.next(), await peer.next(), await peer.next()]
    expect(answers.map(answer => [answer.type, answer.requestId])).toEqual([['error', 1], ['error', 2], ['error', 3]])
  })

  it('C5: with a name twice it is answered with InvalidFieldsError, and not handled', async () => {
    const handleRequest = vi.fn<SessionOptions['handleRequest']>()
    const { peer } = await open({ handleRequest })
    peer.send({ type: 'message', requestId: 5, protocolData: [text('a', ''), text('a', '')] })
    expect(errorOf(await peer.next())).toMatchObject({ name: 'InvalidFieldsError', code: 'F01' })
    expect(handleRequest).not.toHaveBeenCalled()
  })

  it('C6: with a value that cannot be, it is answered with InvalidFieldsError', async () => {
    const { peer, far } = await open()
    const frame = encodePacket({
      type: 'prepare',
      requestId: 5,
      transferId: '00000000-0000-4000-8000-000000000000',
      amount: '1',
      executionCondition: 'A'.repeat(43),
      expiresAt: new Date(Date.UTC(2018, 9, 1)),
      protocolData: []
    })
    // Month 10 becomes month 13.
    const at = Buffer.from(frame).indexOf('201810')
    frame.set(Buffer.from('13'), at + 4)
    far.send(frame)
    expect(errorOf(await peer.next())).toMatchObject({ name: 'InvalidFieldsError', code: 'F01' })
  })

  it('C22: what is no packet meets silence, and the session lives on', async () => {
    const { peer } = await open()
    peer.sendBytes(0)
    peer.sendBytes()
    peer.sendBytes(9, 0, 0, 0, 1, 0)
    peer.sendBytes(6, 0, 0, 0, 1, 0xff, 0xff)
    peer.send({ type: 'message', requestId: 5, protocolData: [] })
    expect(await peer.next()).toMatchObject({ type: 'response', requestId: 5 })
    expect(peer.received).toHaveLength(2)
  })

  it('random and damaged frames never throw, and what is readable is answered', async () => {
    const { session, far } = await open()
    const whole = encodePacket({ type: 'message', requestId: 1, protocolData: [text('greeting', 'hello')] })
    const frames = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.tuple(fc.nat(whole.length - 1), fc.nat(255)).map(([at, byte]) => Uint8Array.from(whole, (old, i) => i === at ? byte : old))
    )
    fc.assert(fc.property(frames, frame => { session.message(frame) }), { numRuns: 5000 })
    far.send(whole)
    await settle()
    expect(session.closed).toBe(false)
  })

  it('C21: an answer that nobody waits for meets silence', async () => {
    const { peer, session, clock } = await open()
    peer.send({ type: 'response', requestId: 1234, protocolData: [] })
    peer.send({ type: 'error', requestId: 1235, code: 'F00', name: 'X', triggeredAt: new Date(clock.now()), data: '', protocolData: [] })
    await settle()
    expect(peer.received).toHaveLength(1)
    expect(session.closed).toBe(false)
  })

  it('is refused for now when ten thousand others are being handled', async () => {
    const { peer } = await open({ handleRequest: () => new Promise(() => undefined) })
    for (let requestId = 1; requestId <= 10_001; requestId++) peer.send({ type: 'message', requestId, protocolData: [] })
    const answer = await peer.next()
    expect(answer.requestId).toBe(10_001)
    expect(errorOf(answer)).toMatchObject({ name: 'UnreachableError', code: 'T00' })
  })

  it('H38: is refused for now when those that are being handled are large, and taken again once they are answered', async () => {
    const releases: Array<() => void> = []
    const { peer } = await open({ handleRequest: () => new Promise(resolve => { releases.push(() => { resolve([]) }) }) })
    const large = [octets('x', new Uint8Array(65_000))]
    const count = Math.ceil(32 * 1024 * 1024 / 65_000) + 1
    for (let requestId = 1; requestId <= count; requestId++) peer.send({ type: 'message', requestId, protocolData: large })
    const refused = await peer.next()
    expect(refused.requestId).toBe(count)
    expect(errorOf(refused)).toMatchObject({ name: 'UnreachableError', code: 'T00' })
    for (const release of releases.splice(0)) release()
    for (let requestId = 1; requestId < count; requestId++) expect((await peer.next()).type).toBe('response')
    peer.send({ type: 'message', requestId: count, protocolData: large })
    await settle()
    releases[0]?.()
    expect(await peer.next()).toMatchObject({ type: 'response', requestId: count })
  })

  it('H38: is refused for now when as many are being handled as may be, and taken again once one is answered', async () => {
    const releases: Array<() => void> = []
    const { peer } = await open({ maxRequests: 3, handleRequest: () => new Promise(resolve => { releases.push(() => { resolve([]) }) }) })
    for (let requestId = 1; requestId <= 4; requestId++) peer.send({ ...hello(), requestId })
    expect(await peer.next()).toMatchObject({ type: 'error', requestId: 4, name: 'UnreachableError', code: 'T00' })
    releases[1]?.()
    expect(await peer.next()).toMatchObject({ type: 'response', requestId: 2 })
    peer.send({ ...hello(), requestId: 4 })
    await settle()
    releases[3]?.()
    expect(await peer.next()).toMatchObject({ type: 'response', requestId: 4 })
  })

  it('H32: a log line shows a stranger\'s text escaped, and no data', async () => {
    const { peer, options, session } = await open({ handleRequest: () => Promise.reject(new TypeError('evil \x1b[2J')) })
    peer.send({ type: 'message', requestId: 5, protocolData: [text('greeting', 'private words')] })
    await peer.next()
    const request = session.request(hello('private words'))
    peer.respond(await peer.next())
    await request
    expect(options.log.lines.join('\n')).not.toMatch(/[^\x20-\x7e\n]|private/)
    expect(options.log.at('warn')).toHaveLength(1)
  })
})

describe('the log', () => {
  it('H32: has the name of a connection escaped, which may be a stranger\'s text', async () => {
    const options = sessionOptions()
    const [near, far] = connectionPair({ label: 'evil \x1b[2J\nlabel' })
    const session = new Session(near, false, options, () => undefined)
    near.open(session)
    const peer = new WirePeer(far)
    session.accept(99, FOREIGN)
    await peer.next()
    peer.sendBytes(0xff)
    await settle()
    expect(options.log.lines.join()).toContain('evil')
    expect(options.log.lines.filter(line => /[^\x20-\x7e]/.test(line))).toEqual([])
  })

  it('H47: has a short line for a frame, however large that is and whether it can be read', async () => {
    const { peer, session, options } = await open({ handleRequest: () => Promise.resolve([]) })
    const large = octets('x'.repeat(250), new Uint8Array(60_000).fill(0x41))
    peer.sendBytes(...new Uint8Array(60_000))
    peer.send({ type: 'message', requestId: 5, protocolData: [large] })
    peer.send({ type: 'error', requestId: 6, code: 'F00', name: 'y'.repeat(250), triggeredAt: new Date(0), data: 'z'.repeat(8192), protocolData: [large] })
    await peer.next()
    await settle()
    expect(session.closed).toBe(false)
    expect(options.log.lines.length).toBeGreaterThan(2)
    expect(options.log.lines.filter(line => line.length > 200)).toEqual([])
  })
})

describe('a peer that does not read', () => {
  it('is let go before what waits for it fills the memory', async () => {
    const options = sessionOptions({ maxBufferedBytes: 1_000_000 })
    let buffered = 0
    const terminate = vi.fn()
    const connection = {
      label: 'stuck',
      open: () => undefined,
      close: () => undefined,
      terminate,
      send: (frame: Uint8Array) => { buffered += frame.length },
      get bufferedBytes() { return buffered }
    }
    const session = new Session(connection, false, options, () => undefined)
    session.accept(1, FOREIGN)
    const message = encodePacket({ type: 'message', requestId: 1, protocolData: [octets('x', new Uint8Array(60_000))] })
    // What it was asked meanwhile is told why there will be no answer.
    const asked = session.request({ type: 'message', protocolData: [] }).catch((error: unknown) => error)
    let sent = 0
    while (!session.closed && sent++ < 1000) {
      session.message(message)
      await settle()
    }
    expect(await asked).toMatchObject({ name: 'UnreachableError', message: expect.stringContaining('the peer does not read') as string })
    expect(terminate).toHaveBeenCalledOnce()
    expect(buffered).toBeLessThan(1_100_000)
  })
})

describe('an observer', () => {
  const observed = () => {
    const seen: string[] = []
    const observe: SessionOptions['observe'] = (direction, { type, requestId }) => { seen.push(`${direction} ${type} ${requestId}`) }
    return { seen, observe }
  }

  it('sees every packet of a session, before it is acted upon or sent', async () => {
    const { seen, observe } = observed()
    const { session, peer } = await open({ observe, peer: OURS, handleRequest: packet => {
      seen.push('handled')
      return packet.requestId === 1 ? Promise.resolve([]) : Promise.reject(new NotAcceptedError('no'))
    } })
    const answer = session.request(hello())
    const { requestId } = await peer.next()
    peer.respond({ type: 'response', requestId, protocolData: [] })
    await answer
    for (const id of [1, 2]) peer.send({ type: 'message', requestId: id, protocolData: [] })
    peer.send({ type: 'message', requestId: 3, protocolData: [json('paychan', { probe: true })] })
    for (let i = 0; i < 3; i++) await peer.next()
    expect(seen).toEqual([
      `out message ${requestId}`, `in response ${requestId}`,
      'in message 1', 'handled', 'in message 2', 'handled', 'in message 3', 'out response 3', 'out response 1', 'out error 2'
    ])
  })

  it('H32: sees nothing of the authentication, on neither side, and nothing of a session that never was', async () => {
    const { seen, observe } = observed()
    await open({ observe, peer: OURS })
    const [near, far] = connectionPair()
    const options = sessionOptions({ observe })
    const session = new Session(near, true, options, () => undefined)
    const done = session.authenticate({ username: 'bob', token: 'secret' }, () => undefined)
    const peer = new WirePeer(far)
    const auth = await peer.next()
    const failure = expect(done).rejects.toThrow(UnreachableError)
    await options.clock.advance(5000)
    await failure
    session.message(encodePacket({ type: 'response', requestId: auth.requestId, protocolData: [text('late', 'secret')] }))
    expect(seen).toEqual([])
  })
})

describe('authentication by the client', () => {
  function dial(overrides: Partial<SessionOptions> = {}) {
    const options = sessionOptions(overrides)
    const [near, far] = connectionPair()
    const session = new Session(near, true, options, () => undefined)
    const order: string[] = []
    const done = session.authenticate({ username: 'bob', token: 'secret' }, () => { order.push('open') })
    return { session, peer: new WirePeer(far), done, order, clock: options.clock }
  }

  it('C10: the first packet is the auth Message; the Response opens the session before anything that comes behind it', async () => {
    const order: string[] = []
    const { session, peer, done, order: opened } = dial({
      handleRequest: () => {
        order.push(...opened, 'request')
        return Promise.resolve([])
      }
    })
    const auth = await peer.next()
    expect(auth.protocolData.map(sub => sub.protocolName)).toEqual(['auth', 'auth_username', 'auth_token', 'paychan'])
    peer.respond(auth, [json('paychan', { v: 1, ledger: THEIR_LEDGER })])
    peer.send({ type: 'message', requestId: 1, protocolData: [] })
    await done
    expect(session.peer).toEqual({ announced: true, ledgerId: THEIR_LEDGER })
    await peer.next()
    expect(order).toEqual(['open', 'request'])
  })

  it('H31: nothing can be asked before, and what the server asks before meets silence', async () => {
    const { session, peer, done, order } = dial()
    const auth = await peer.next()
    await expect(session.request(hello())).rejects.toThrow(UnreachableError)
    peer.send({ type: 'message', requestId: 1, protocolData: [] })
    await settle()
    expect(peer.received).toHaveLength(1)
    expect(order).toEqual([])
    peer.respond(auth)
    await done
    expect(session.peer).toEqual(FOREIGN)
  })

  it('H30: refused credentials are NotAcceptedError at once, and the connection is closed', async () => {
    const { session, peer, done, clock } = dial()
    const { requestId } = await peer.next()
    const rest = { triggeredAt: new Date(clock.now()), data: '{"message":"invalid auth token and/or username"}', protocolData: [] }
    peer.send({ type: 'error', requestId, code: 'F00', name: 'NotAcceptedError', ...rest })
    await expect(done).rejects.toThrow(NotAcceptedError)
    await settle()
    expect(session.closed).toBe(true)
    expect(clock.pending).toBe(0)
  })

  it('C24: a temporary refusal is UnreachableError, to be tried again', async () => {
    const { peer, done, clock } = dial()
    const { requestId } = await peer.next()
    peer.send({ type: 'error', requestId, code: 'T00', name: 'UnreachableError', triggeredAt: new Date(clock.now()), data: '', protocolData: [] })
    await expect(done).rejects.toThrow(UnreachableError)
  })

  it('C15: the client closes when its auth is not answered in time', async () => {
    const { session, peer, done, clock } = dial()
    const failure = expect(done).rejects.toThrow(UnreachableError)
    await clock.advance(5000)
    await failure
    expect(peer.closed).toBe('closed by the peer')
    expect(session.closed).toBe(true)
    expect(clock.pending).toBe(0)
  })

  it('a server that hangs up without a word is UnreachableError', async () => {
    const { peer, done } = dial()
    peer.leave()
    await expect(done).rejects.toThrow(UnreachableError)
  })

  it('refuses to be its own peer', async () => {
    const { peer, done } = dial()
    peer.respond(await peer.next(), [json('paychan', { v: 1, ledger: OUR_LEDGER })])
    await expect(done).rejects.toThrow(NotAcceptedError)
  })
})

describe('authentication by the server', () => {
  it('answers with our announcement only where the peer announced itself', async () => {
    const foreign = await open()
    expect(foreign.peer.received[0]).toEqual({ type: 'response', requestId: 99, protocolData: [] })
    const ours = await open({ peer: OURS })
    expect(ours.peer.received[0]).toMatchObject({ type: 'response', requestId: 99, protocolData: [{ protocolName: 'paychan' }] })
    expect(ours.session.peer).toEqual(OURS)
  })
})

describe('the heartbeat', () => {
  const beat = { heartbeatMs: 10_000, heartbeatTimeoutMs: 3000 }

  it('H36: a connection that went away without a word is given up after one silent probe', async () => {
    let lost = false
    const options = sessionOptions(beat)
    const [near] = connectionPair({ defer: deliver => { if (!lost) queueMicrotask(deliver) } })
    const onClosed = vi.fn()
    const session = new Session(near, false, options, onClosed)
    near.open(session)
    session.accept(1, FOREIGN)
    lost = true
    const request = expect(session.request(hello(), { timeoutMs: Infinity })).rejects.toThrow(UnreachableError)
    await options.clock.advance(12_999)
    expect(session.closed).toBe(false)
    await options.clock.advance(1)
    expect(session.closed).toBe(true)
    await request
    expect(onClosed).toHaveBeenCalledExactlyOnceWith(session, 'no sign of life')
    expect(options.clock.pending).toBe(0)
  })

  it('a peer whose transport answers pings lives for ever, though it says nothing', async () => {
    const { session, clock, peer } = await open(beat)
    await clock.advance(1_000_000)
    expect(session.closed).toBe(false)
    expect(peer.received).toHaveLength(1)
  })

  it('any packet is a sign of life: a busy connection is not probed', async () => {
    const { session, clock, peer, near } = await open(beat)
    const ping = vi.spyOn(near, 'ping')
    for (let i = 0; i < 20; i++) {
      await clock.advance(9000)
      peer.sendBytes(1)
    }
    expect(ping).not.toHaveBeenCalled()
    await clock.advance(10_000)
    expect(ping).toHaveBeenCalledTimes(1)
    expect(session.closed).toBe(false)
  })

  it('where no ping can be sent, a peer of ours is probed by a Message, which it answers by itself', async () => {
    const probed = await open({ ...beat, peer: OURS, canPing: false })
    await probed.clock.advance(10_000)
    const probe = await probed.peer.next()
    expect(probe).toMatchObject({ type: 'message', protocolData: [json('paychan', { probe: true })] })
    const handleRequest = vi.fn<SessionOptions['handleRequest']>()
    const answering = await open({ handleRequest })
    answering.peer.send(probe)
    expect(await answering.peer.next()).toEqual({ type: 'response', requestId: probe.requestId, protocolData: [] })
    expect(handleRequest).not.toHaveBeenCalled()
  })

  it('a foreign peer is probed by an info request; an Error is as good an answer as any', async () => {
    const { session, clock, peer } = await open({ ...beat, canPing: false })
    await clock.advance(10_000)
    const probe = await peer.next()
    expect(probe.protocolData).toEqual([octets('info', Uint8Array.of(0))])
    const rest = { triggeredAt: new Date(clock.now()), data: '', protocolData: [] }
    peer.send({ type: 'error', requestId: probe.requestId, code: 'F00', name: 'NotAcceptedError', ...rest })
    await clock.advance(10_000)
    await peer.next()
    // It has shown that it answers: now its silence tells.
    await clock.advance(3000)
    expect(session.closed).toBe(true)
  })

  it('a peer that never answered a Message probe is not judged by it', async () => {
    const { session, clock } = await open({ ...beat, canPing: false })
    await clock.advance(100_000)
    expect(session.closed).toBe(false)
  })

  it('H36: a peer that never answered a Message probe is judged when it leaves a request of ours unanswered, and says nothing else', async () => {
    const options = { ...beat, canPing: false }
    const silent = await open(options)
    await silent.clock.advance(15_000)
    silent.session.request(hello(), { timeoutMs: 1000 }).catch(() => undefined)
    await silent.clock.advance(20_000)
    expect(silent.session.closed).toBe(true)
    const talking = await open(options)
    await talking.clock.advance(15_000)
    talking.session.request(hello(), { timeoutMs: 1000 }).catch(() => undefined)
    await talking.clock.advance(2000)
    talking.peer.sendBytes(1)
    await talking.clock.advance(100_000)
    expect(talking.session.closed).toBe(false)
  })

  it('a clock that is put back neither kills the session nor ends the watch', async () => {
    const { session, clock, near } = await open(beat)
    const ping = vi.spyOn(near, 'ping')
    await clock.advance(5000)
    clock.jump(-3_600_000)
    await clock.advance(3_700_000)
    expect(session.closed).toBe(false)
    expect(ping).toHaveBeenCalled()
  })
})

describe('the end of a session', () => {
  it('another has taken over: what the peer still asks is served for a moment, and all answers are awaited before it closes', async () => {
    const releases: Array<() => void> = []
    const handleRequest = async (packet: RequestPacket) => {
      await new Promise<void>(resolve => { releases.push(resolve) })
      return packet.protocolData
    }
    const { session, peer, clock } = await open({ handleRequest })
    const request = session.request(hello())
    const asked = await peer.next()
    session.leave()
    await expect(session.request(hello())).rejects.toThrow(UnreachableError)
    peer.send({ type: 'message', requestId: 1, protocolData: [] })
    await clock.advance(500)
    // By now the peer knows too: what comes later goes unanswered, and is sent again on the other session.
    peer.send({ type: 'message', requestId: 2, protocolData: [] })
    await clock.advance(1000)
    expect(session.closed).toBe(false)
    expect(releases).toHaveLength(1)
    releases[0]?.()
    expect((await peer.next()).requestId).toBe(1)
    peer.respond(asked)
    await request
    await settle()
    expect(session.closed).toBe(true)
    expect(clock.pending).toBe(0)
  })

  it('another has taken over: an answer that never comes does not keep it open', async () => {
    const { session, clock } = await open({ handleRequest: () => new Promise(() => undefined) })
    const request = expect(session.request(hello(), { timeoutMs: Infinity })).rejects.toThrow(UnreachableError)
    session.leave()
    await clock.advance(5000)
    await request
    expect(session.closed).toBe(true)
    expect(clock.pending).toBe(0)
  })

  it('shutDown: what we asked fails at once, what we were asked is answered first', async () => {
    const releases: Array<() => void> = []
    const { session, peer, clock } = await open({
      handleRequest: async () => {
        await new Promise<void>(resolve => { releases.push(resolve) })
        return []
      }
    })
    peer.send({ type: 'message', requestId: 1, protocolData: [] })
    await settle()
    const request = expect(session.request(hello())).rejects.toThrow(UnreachableError)
    const ended = session.shutDown('disconnected')
    await request
    peer.send({ type: 'message', requestId: 2, protocolData: [] })
    await settle()
    expect(session.closed).toBe(false)
    releases[0]?.()
    await ended
    expect(session.closed).toBe(true)
    expect(peer.received.filter(packet => packet.type === 'response').map(packet => packet.requestId)).toEqual([99, 1])
    expect(clock.pending).toBe(0)
  })

  it('shutDown ends in bounded time though a handler hangs and the peer does not close', async () => {
    let lost = false
    const options = sessionOptions({ handleRequest: () => new Promise(() => undefined) })
    const [near, far] = connectionPair({ defer: deliver => { if (!lost) queueMicrotask(deliver) } })
    const session = new Session(near, false, options, () => undefined)
    near.open(session)
    session.accept(1, FOREIGN)
    far.send(encodePacket({ type: 'message', requestId: 1, protocolData: [] }))
    await settle()
    lost = true
    const ended = session.shutDown('disconnected')
    await options.clock.advance(6000)
    await ended
    expect(session.closed).toBe(true)
    expect(options.clock.pending).toBe(0)
  })

  it('is told exactly once, however it ends', async () => {
    const { session, onClosed, clock } = await open()
    session.terminate('first')
    session.terminate('second')
    session.leave()
    await session.shutDown('third')
    await clock.advance(10_000)
    expect(onClosed).toHaveBeenCalledExactlyOnceWith(session, 'first')
  })
})
