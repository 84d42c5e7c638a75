import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { InvalidFieldsError, UnreachableError } from '../../src/core/errors.js'
import type { Connection, ListenerOptions } from '../../src/core/transport.js'
import { BtpListener } from '../../src/transport/listener.js'
import { dialFromNode } from '../../src/transport/node-socket.js'
import { adoptWebSocket } from '../../src/transport/web-socket.js'
import { record } from '../contract/connection.js'
import { CERTIFICATE, KEY } from '../support/certificate.js'

const HOST = '127.0.0.1'
const listeners: BtpListener[] = []
afterEach(async () => { for (const listener of listeners.splice(0)) await listener.close() })

async function listening(options: ListenerOptions = {}) {
  const listener = new BtpListener({ port: 0, host: HOST, ...options })
  listeners.push(listener)
  const arrived: Connection[] = []
  const arrivals: Array<() => void> = []
  await listener.listen(connection => {
    arrived.push(connection)
    for (const arrive of arrivals.splice(0)) arrive()
  })
  const port = listener.port ?? 0
  const arrival = async (count = 1) => { while (arrived.length < count) await new Promise<void>(resolve => { arrivals.push(resolve) }) }
  return { listener, port, url: `ws://${HOST}:${port}`, arrived, arrival }
}

const dial = (url: string): Promise<Connection> => dialFromNode(url, new AbortController().signal)

/** Everything that a raw connection says until it is closed; resets count as closing. */
function untilClosed(socket: Socket): Promise<string> {
  let said = ''
  socket.setEncoding('latin1').on('data', (text: string) => { said += text })
  socket.on('error', () => undefined)
  return new Promise(resolve => { socket.on('close', () => { resolve(said) }) })
}

const UPGRADE = [
  'GET / HTTP/1.1', 'Host: localhost', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==', '', ''
].join('\r\n')

describe('the listener\'s options', () => {
  it.each<[string, unknown, string]>([
    ['a port that is no number', { port: '4195' }, 'port'],
    ['a port that is too large', { port: 65_536 }, 'port'],
    ['a port that is no integer', { port: 1.5 }, 'port'],
    ['a host that is no text', { host: 1 }, 'host'],
    ['an empty host', { host: '' }, 'host'],
    ['no room for a frame', { maxPayload: 0 }, 'maxPayload'],
    ['no time at all', { authTimeoutMs: 0 }, 'authTimeoutMs'],
    ['more time than timers have', { authTimeoutMs: 2 ** 31 }, 'authTimeoutMs'],
    ['no stranger at all', { maxUnauthenticated: 0 }, 'maxUnauthenticated'],
    ['a certificate without its key', { cert: CERTIFICATE }, 'key'],
    ['a key without its certificate', { key: KEY }, 'cert'],
    ['a certificate that is none', { cert: 5, key: KEY }, 'cert'],
    ['a path without a slash', { path: 'btp' }, 'path'],
    ['nothing', null, 'listener']
  ])('%s is InvalidFieldsError that names it', (_what, options, field) => {
    const make = () => new BtpListener(options as ListenerOptions)
    expect(make).toThrow(InvalidFieldsError)
    expect(make).toThrow(field)
  })

  it('have documented defaults', () => {
    const listener = new BtpListener()
    expect([listener.authTimeoutMs, listener.maxUnauthenticated, listener.port]).toEqual([2000, 100, undefined])
  })
})

describe('listening', () => {
  it('H30: a port in use is UnreachableError, and can be tried again when it is free', async () => {
    const { listener, port } = await listening()
    const second = new BtpListener({ port, host: HOST })
    listeners.push(second)
    await expect(second.listen(() => undefined)).rejects.toThrow(/EADDRINUSE/)
    await expect(second.listen(() => undefined)).rejects.toThrow(UnreachableError)
    expect(second.port).toBeUndefined()
    await listener.close()
    await second.listen(() => undefined)
    expect(second.port).toBe(port)
  })

  it('an address that is not ours is UnreachableError', async () => {
    await expect(new BtpListener({ port: 0, host: '203.0.113.1' }).listen(() => undefined)).rejects.toThrow(UnreachableError)
  })

  it('twice at a time is refused, and the first goes on', async () => {
    const { listener, url } = await listening()
    await expect(listener.listen(() => undefined)).rejects.toThrow(UnreachableError)
    const connection = await dial(url)
    connection.terminate()
  })

  it('H30: close drops what is open, and it can listen again', async () => {
    const { listener, url, port, arrived, arrival } = await listening()
    const atClient = record(await dial(url))
    await arrival()
    const atServer = arrived.map(record)
    const raw = untilClosed(connectTcp(port, HOST))
    await new Promise(resolve => { setImmediate(resolve) })
    await listener.close()
    await listener.close()
    await Promise.all([raw, atClient.until(({ closed }) => closed.length > 0), atServer[0]?.until(({ closed }) => closed.length > 0)])
    expect(listener.port).toBeUndefined()
    await expect(dial(url)).rejects.toThrow(UnreachableError)
    const again: Connection[] = []
    await listener.listen(connection => { again.push(connection) })
    const connection = await dial(`ws://${HOST}:${listener.port}`)
    expect(again).toHaveLength(1)
    connection.terminate()
  })

  it('labels a connection by where it comes from', async () => {
    const { url, arrived, arrival } = await listening()
    const connection = await dial(url)
    await arrival()
    expect(arrived[0]?.label).toMatch(/^127\.0\.0\.1:\d+$/)
    connection.terminate()
  })

  it('serves only its path where it has one', async () => {
    const { url } = await listening({ path: '/btp' })
    await expect(dial(`${url}/other`)).rejects.toThrow(UnreachableError)
    const connection = await dial(`${url}/btp`)
    connection.terminate()
  })

  it('tells plain HTTP what is spoken here', async () => {
    const { port } = await listening()
    const status = await new Promise(resolve => {
      get({ port, host: HOST, agent: false }, response => {
        response.resume()
        resolve([response.statusCode, response.headers.upgrade])
      })
    })
    expect(status).toEqual([426, 'websocket'])
  })
})

describe('H47: strangers at the listener', () => {
  /** Whatever was done to it, an honest peer still gets in. */
  async function expectAlive(url: string): Promise<void> {
    const connection = await dial(url)
    connection.terminate()
  }

  it('survives TCP resets, before and after the upgrade', async () => {
    const { port, url, arrived, arrival } = await listening()
    connectTcp(port, HOST, function (this: Socket) { this.resetAndDestroy() })
    const socket = connectTcp(port, HOST)
    socket.write(UPGRADE)
    await arrival()
    const atServer = arrived.map(record)
    socket.resetAndDestroy()
    await atServer[0]?.until(({ closed }) => closed.length > 0)
    await expectAlive(url)
  })

  it.each<[string, number[]]>([
    ['unmasked frames', [0x82, 0x01, 0x00]],
    ['reserved bits', [0xf2, 0x81, 1, 2, 3, 4, 5]],
    ['unknown opcodes', [0x8f, 0x80, 1, 2, 3, 4]],
    ['a frame of 2^63 bytes', [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]],
    ['text that is no UTF-8', [0x81, 0x81, 0, 0, 0, 0, 0xff]],
    ['half a close frame', [0x88, 0x81, 1, 2, 3, 4, 5]]
  ])('survives bad framing: %s', async (_what, bytes) => {
    const { port, url, arrived, arrival } = await listening()
    const socket = connectTcp(port, HOST)
    socket.write(UPGRADE)
    await arrival()
    const atServer = arrived.map(record)
    const closed = untilClosed(socket)
    socket.write(Uint8Array.from(bytes))
    await atServer[0]?.until(recorder => recorder.closed.length > 0)
    socket.destroy()
    await closed
    await expectAlive(url)
  })

  it('H38: hangs up on a frame that is larger than it takes', async () => {
    const { url, arrived, arrival } = await listening()
    const socket = new WebSocket(url)
    await new Promise(resolve => { socket.on('open', resolve) })
    await arrival()
    const atServer = arrived.map(record)
    socket.send(Buffer.alloc(65_536))
    socket.send(Buffer.alloc(65_537))
    await atServer[0]?.until(({ closed }) => closed.length > 0)
    expect(atServer[0]?.frames.map(({ length }) => length)).toEqual([65_536])
    await expectAlive(url)
  })

  it('survives what is no HTTP', async () => {
    const { port, url } = await listening()
    const socket = connectTcp(port, HOST)
    socket.write('\x16\x03\x01\x02\x00garbage\r\n\r\n')
    await untilClosed(socket)
    await expectAlive(url)
  })

  it('C14: a TCP connection that says nothing, or never finishes saying it, is dropped in time', async () => {
    const { port, url } = await listening({ authTimeoutMs: 50 })
    const silent = connectTcp(port, HOST)
    const slow = connectTcp(port, HOST)
    slow.write('GET / HTTP/1.1\r\n')
    await Promise.all([untilClosed(silent), untilClosed(slow)])
    await expectAlive(url)
  })

  it('H35: takes a flood of frames from one socket in portions, between which the others have their turn', async () => {
    const { port, arrived, arrival } = await listening()
    const socket = connectTcp(port, HOST)
    socket.write(UPGRADE)
    await arrival()
    const count = 40_000
    const turns = [0]
    const done = new Promise<void>(resolve => {
      let taken = 0
      const message = (): void => {
        if (turns.at(-1) === 0) setImmediate(() => { turns.push(0) })
        turns.push((turns.pop() ?? 0) + 1)
        if (++taken === count) resolve()
      }
      arrived[0]?.open({ message, close: () => undefined, alive: () => undefined })
    })
    // Masked with zeros, 40 bytes each: all of them are in the receiver's buffers at once.
    const frame = Buffer.concat([Uint8Array.of(0x82, 0x80 | 40, 0, 0, 0, 0), Buffer.alloc(40)])
    socket.write(Buffer.alloc(count * frame.length, frame))
    await done
    socket.destroy()
    // What has been read from the system, 64 KiB at a time, cannot be put back: hence more than the 500 of a portion.
    expect(Math.max(...turns)).toBeLessThan(5000)
  })

  it('over the cap the oldest TCP connection goes, and an honest peer gets in', async () => {
    const { port, url } = await listening({ authTimeoutMs: 60_000, maxUnauthenticated: 5 })
    const flood: Array<{ socket: Socket; closed: Promise<string> }> = []
    for (let i = 0; i < 20; i++) {
      const socket = connectTcp(port, HOST)
      const closed = untilClosed(socket)
      await new Promise(resolve => { socket.on('connect', resolve) })
      flood.push({ socket, closed })
    }
    const connection = await dial(url)
    await Promise.all(flood.slice(0, 15).map(({ closed }) => closed))
    for (const { socket } of flood) socket.destroy()
    connection.terminate()
  })
})

describe('over https', () => {
  const folders: string[] = []
  afterEach(async () => { for (const folder of folders.splice(0)) await rm(folder, { recursive: true }) })

  async function inFiles() {
    const folder = await mkdtemp(join(tmpdir(), 'listener-'))
    folders.push(folder)
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    await Promise.all([writeFile(cert, CERTIFICATE), writeFile(key, KEY)])
    return { cert, key, ca: cert }
  }

  const secureDial = (port: number) => adoptWebSocket(new WebSocket(`wss://localhost:${port}`, { ca: CERTIFICATE }))

  it.each<[string, () => ListenerOptions | Promise<ListenerOptions>]>([
    ['contents', () => ({ cert: CERTIFICATE, key: KEY, ca: CERTIFICATE })],
    ['contents in bytes', () => ({ cert: Buffer.from(CERTIFICATE), key: new TextEncoder().encode(KEY) })],
    ['paths', inFiles]
  ])('takes certificate and key as %s', async (_what, options) => {
    const { port, arrived, arrival } = await listening({ host: 'localhost', ...await options() })
    const near = secureDial(port)
    near.send(Uint8Array.of(1, 2, 3))
    await arrival()
    const [atServer] = arrived.map(record)
    await atServer?.until(({ frames }) => frames.length === 1)
    arrived[0]?.send(Uint8Array.of(4))
    const atClient = record(near)
    await atClient.until(({ frames }) => frames.length === 1)
    near.close()
    await atServer?.until(({ closed }) => closed.length > 0)
  })

  it('a file that cannot be read is InvalidFieldsError that names the option, not its value', async () => {
    const secret = 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC'
    for (const [options, field] of [[{ cert: secret, key: KEY }, 'cert'], [{ cert: CERTIFICATE, key: secret }, 'key']] as const) {
      const listener = new BtpListener({ port: 0, host: HOST, ...options })
      const error = await listener.listen(() => undefined).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(InvalidFieldsError)
      expect(String(error)).toContain(field)
      expect(String(error)).not.toContain(secret)
      expect(listener.port).toBeUndefined()
    }
  })

  it('PEM that is no certificate is InvalidFieldsError without its contents', async () => {
    const listener = new BtpListener({ port: 0, host: HOST, cert: CERTIFICATE, key: CERTIFICATE })
    await expect(listener.listen(() => undefined)).rejects.toThrow(InvalidFieldsError)
  })

  it('H47: survives garbage instead of TLS, silence, and a handshake that breaks off', async () => {
    const { port, arrival } = await listening({ cert: CERTIFICATE, key: KEY, host: 'localhost', authTimeoutMs: 200 })
    const garbage = connectTcp(port, 'localhost')
    garbage.write('GET / HTTP/1.1\r\n\r\n')
    const silent = connectTcp(port, 'localhost')
    const untrusting = connectTls({ port, host: 'localhost', ca: [] })
    const insideTls = connectTls({ port, host: 'localhost', ca: CERTIFICATE })
    const reset = connectTcp(port, 'localhost', () => {
      reset.write(Uint8Array.of(0x16, 0x03, 0x01))
      setImmediate(() => { reset.resetAndDestroy() })
    })
    await Promise.all([garbage, silent, untrusting, insideTls, reset].map(untilClosed))
    const near = secureDial(port)
    await arrival()
    near.terminate()
  })
})
