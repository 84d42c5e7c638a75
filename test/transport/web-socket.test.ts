import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { InvalidFieldsError, UnreachableError } from '../../src/core/errors.js'
import type { Connection } from '../../src/core/transport.js'
import { BtpListener } from '../../src/transport/listener.js'
import { dialFromNode } from '../../src/transport/node-socket.js'
import { adoptWebSocket } from '../../src/transport/web-socket.js'
import type { WebSocketLike } from '../../src/transport/web-socket.js'
import { describeConnection, record } from '../contract/connection.js'
import type { ConnectionHarness } from '../contract/connection.js'

const noSignal = (): AbortSignal => new AbortController().signal

/** A listener, and what arrives at it. */
async function listening(): Promise<{ url: string; arrival: Promise<Connection>; dispose: () => Promise<void> }> {
  const listener = new BtpListener({ port: 0, host: '127.0.0.1' })
  let arrive: (connection: Connection) => void = () => undefined
  const arrival = new Promise<Connection>(resolve => { arrive = resolve })
  await listener.listen(connection => { arrive(connection) })
  return { url: `ws://127.0.0.1:${listener.port}`, arrival, dispose: () => listener.close() }
}

/** What a browser gives: the events of EventTarget, and neither ping nor terminate. */
function browserStyle(socket: WebSocket): WebSocketLike {
  return {
    send: (data: Uint8Array) => { socket.send(data) },
    close: (code?: number) => { socket.close(code) },
    addEventListener: (event: 'message', listener: (event: unknown) => void) => { socket.addEventListener(event, listener) },
    get readyState() { return socket.readyState },
    get bufferedAmount() { return socket.bufferedAmount },
    get binaryType(): string { return socket.binaryType },
    set binaryType(type) { socket.binaryType = type as 'arraybuffer' }
  }
}

describeConnection('dialled by web socket, accepted by the listener', async () => {
  const { url, arrival, dispose } = await listening()
  return { near: await dialFromNode(url, noSignal()), far: await arrival, dispose }
})

describeConnection('accepted by the listener, dialled by web socket', async () => {
  const { url, arrival, dispose } = await listening()
  return { far: await dialFromNode(url, noSignal()), near: await arrival, dispose }
})

describeConnection('an adopted socket of ws, still opening', async (): Promise<ConnectionHarness> => {
  const { url, arrival, dispose } = await listening()
  return { near: adoptWebSocket(new WebSocket(url)), far: await arrival, dispose }
})

describeConnection('an adopted socket of a browser, still opening', async (): Promise<ConnectionHarness> => {
  const { url, arrival, dispose } = await listening()
  return { near: adoptWebSocket(browserStyle(new WebSocket(url))), far: await arrival, dispose }
})

describe('adoptWebSocket', () => {
  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'ws://localhost'],
    ['no way to listen', { send: () => undefined }],
    ['no way to send', { on: () => undefined }],
    ['a method that is none', { send: () => undefined, on: true }]
  ])('refuses %s with InvalidFieldsError', (_what, socket) => {
    expect(() => adoptWebSocket(socket as WebSocketLike)).toThrow(InvalidFieldsError)
  })

  it('takes the least that the old package asked for: send with a callback, and on message', () => {
    const listeners = new Map<string, (...args: unknown[]) => void>()
    const send = vi.fn((_data: Uint8Array, _options: object, done: () => void) => { done() })
    const connection = adoptWebSocket({ send, on: (event: string, listener: () => void) => listeners.set(event, listener) })
    const recorder = record(connection)
    listeners.get('message')?.(Buffer.from([1, 2]))
    expect(recorder.frames).toEqual([Uint8Array.of(1, 2)])
    connection.send(Uint8Array.of(3))
    expect(send).toHaveBeenCalledExactlyOnceWith(Uint8Array.of(3), { binary: true }, expect.any(Function))
    expect(connection.bufferedBytes).toBe(0)
    expect(connection.ping).toBeUndefined()
  })

  it('one that cannot be closed is left alone, and counts as closed', async () => {
    const send = vi.fn()
    const connection = adoptWebSocket({ send, on: () => undefined })
    const recorder = record(connection)
    connection.close()
    await Promise.resolve()
    expect(recorder.closed).toHaveLength(1)
    connection.send(Uint8Array.of(1))
    expect(send).not.toHaveBeenCalled()
  })

  it('a socket whose methods throw harms nobody', async () => {
    const fail = (): never => { throw new Error('InvalidStateError') }
    const connection = adoptWebSocket({ send: fail, close: fail, terminate: fail, ping: fail, on: () => undefined })
    const recorder = record(connection)
    connection.send(Uint8Array.of(1))
    connection.ping?.()
    connection.close()
    connection.terminate()
    await Promise.resolve()
    expect(recorder.closed).toHaveLength(1)
  })

  it('one that was closed before says so', async () => {
    const recorder = record(adoptWebSocket({ send: () => undefined, on: () => undefined, readyState: 3 }))
    await Promise.resolve()
    expect(recorder.closed).toHaveLength(1)
  })

  it('reads each form that bytes come in, and meets text with silence', () => {
    const listeners = new Map<string, (...args: unknown[]) => void>()
    const on = (event: string, listener: () => void) => listeners.set(event, listener)
    const recorder = record(adoptWebSocket({ send: () => undefined, on }))
    const say = (...args: unknown[]) => listeners.get('message')?.(...args)
    say(Buffer.from([1]), true)
    say(Uint8Array.of(2).buffer, true)
    say([Buffer.from([3]), Buffer.from([4])], true)
    say('text')
    say(Buffer.from('text'), false)
    say({}, true)
    say(undefined)
    expect(recorder.frames.map(frame => [...frame])).toEqual([[1], [2], [3, 4]])
  })

  it('asks a browser\'s socket for array buffers', () => {
    const socket = { send: () => undefined, addEventListener: () => undefined, binaryType: 'blob' }
    adoptWebSocket(socket)
    expect(socket.binaryType).toBe('arraybuffer')
  })

  it('fits the types of browsers and of ws as they are', () => {
    const adopt = (socket: globalThis.WebSocket | WebSocket) => adoptWebSocket(socket)
    expect(adopt).toBeTypeOf('function')
  })
})

describe('dialFromNode', () => {
  const servers: Array<Server | WebSocketServer> = []
  afterEach(() => { for (const server of servers.splice(0)) server.close() })

  async function serving(server: Server): Promise<string> {
    servers.push(server)
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  it.each<[string, () => Server]>([
    ['speaks no HTTP', () => createTcpServer(socket => { socket.end('220 mail.example.com\r\n') })],
    ['answers no upgrade', () => createServer((_request, response) => { response.end('hello') })],
    ['resets', () => createTcpServer(socket => { socket.resetAndDestroy() })]
  ])('is UnreachableError where the server %s', async (_what, server) => {
    await expect(dialFromNode(await serving(server()), noSignal())).rejects.toThrow(UnreachableError)
  })

  it('is UnreachableError where nobody listens, and says why; H43: without what the URL hides', async () => {
    const url = await serving(createTcpServer())
    await new Promise(resolve => { servers.pop()?.close(resolve) })
    const error = await dialFromNode(`${url}/btp?token=hunter2`, noSignal()).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(UnreachableError)
    expect(error).toHaveProperty('message', expect.stringMatching(/\/btp: .*ECONNREFUSED/))
    expect(String(error)).not.toContain('hunter2')
  })

  it('is UnreachableError for what is no URL', async () => {
    await expect(dialFromNode('nowhere', noSignal())).rejects.toThrow(UnreachableError)
  })

  it('is given up when the signal aborts, before and in the middle', async () => {
    await expect(dialFromNode('ws://127.0.0.1:1', AbortSignal.abort())).rejects.toThrow(UnreachableError)
    const abort = new AbortController()
    const server = createTcpServer(() => { abort.abort() })
    await expect(dialFromNode(await serving(server), abort.signal)).rejects.toThrow(/given up/)
  })

  it('labels the connection without credentials and query', async () => {
    const { url, dispose } = await listening()
    const connection = await dialFromNode(`${url}/path?secret=1`, noSignal())
    expect(connection.label).toBe(`${url}/path`)
    connection.terminate()
    await dispose()
  })

  it('H38: hangs up on a frame that is too large', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    servers.push(server)
    server.on('connection', socket => { socket.send(Buffer.alloc(65_537)) })
    await new Promise(resolve => { server.once('listening', resolve) })
    const recorder = record(await dialFromNode(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, noSignal()))
    await recorder.until(({ closed }) => closed.length > 0)
    expect(recorder.frames).toEqual([])
  })
})
