/**
 * Plugins over real sockets on this machine, as hosts make them, with cables between them that can be cut, and raw peers that speak
 * packets by hand. Everything is taken down after each test.
 */
import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto'
import { connect as connectTcp, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { afterEach } from 'vitest'
import { octets, text } from '../../src/btp/protocol-data.js'
import type { Packet, SubProtocol } from '../../src/btp/packets.js'
import type { RequestBody } from '../../src/btp/session.js'
import PaychanPlugin, { MemoryStore } from '../../src/node.js'
import type { LedgerPlugin, OutgoingTransfer, PluginEvents, PluginOptions } from '../../src/node.js'
import { dialFromNode } from '../../src/transport/node-socket.js'
import { WirePeer } from './peers.js'

export const PREFIX = 'test.hosts.'
export const SECRET = 'open-sesame'

const cleanups: Array<() => unknown> = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** To be done when the test is over, last in first. */
export function afterTest(cleanup: () => unknown): void {
  cleanups.push(cleanup)
}

/** Disconnects it when the test is over. */
export function keep<P extends LedgerPlugin>(plugin: P): P {
  afterTest(() => plugin.disconnect().catch(() => undefined))
  return plugin
}

/** Options of a listening plugin that has a store. */
export function serverOptions(options: Partial<PluginOptions> = {}): PluginOptions {
  return {
    listener: { port: 0, host: '127.0.0.1' },
    prefix: PREFIX,
    info: { currencyCode: 'XTS', currencyScale: 6 },
    incomingSecret: SECRET,
    maxBalance: '1000000',
    store: new MemoryStore(),
    ...options
  }
}

/** The same but for those. */
export function without<T extends object, K extends keyof T>(options: T, ...names: K[]): Omit<T, K> {
  const rest = { ...options }
  for (const name of names) Reflect.deleteProperty(rest, name)
  return rest
}

/** The address of a plugin, or of a port on this machine. */
export function addressOf(target: LedgerPlugin | number | undefined, token = SECRET): string {
  const port = typeof target === 'object' ? target.port : target
  return `btp+ws://:${token}@127.0.0.1:${port ?? 0}`
}

/** Options of a dialling plugin that has no store, and dials again soon. */
export function clientOptions(target: LedgerPlugin | number | undefined, options: Partial<PluginOptions> = {}): PluginOptions {
  return { server: addressOf(target), reconnectMinMs: 1, reconnectMaxMs: 20, ...options }
}

export function makeServer(options: Partial<PluginOptions> = {}): LedgerPlugin {
  return keep(new PaychanPlugin(serverOptions(options)))
}

export function makeClient(target: LedgerPlugin | number | undefined, options: Partial<PluginOptions> = {}): LedgerPlugin {
  return keep(new PaychanPlugin(clientOptions(target, options)))
}

/** A server and a client of it that has a store, connected. */
export async function connectedPair(server: Partial<PluginOptions> = {}, client: Partial<PluginOptions> = {}): Promise<{ server: LedgerPlugin; client: LedgerPlugin }> {
  const listening = makeServer(server)
  await listening.connect()
  const isUp = nextEvent(listening, 'connect')
  const dialling = makeClient(listening, { maxBalance: '1000000', store: new MemoryStore(), ...client })
  await dialling.connect()
  await isUp
  return { server: listening, client: dialling }
}

/** The arguments of the next event of that name. */
export function nextEvent<E extends keyof PluginEvents>(plugin: LedgerPlugin, event: E): Promise<Parameters<PluginEvents[E]>> {
  return new Promise(resolve => {
    const listener = (...args: unknown[]): void => { resolve(args as Parameters<PluginEvents[E]>) }
    plugin.once(event, listener)
  })
}

/** The names of those events in the order in which they are raised from now on. */
export function recordEvents(plugin: LedgerPlugin, ...names: Array<keyof PluginEvents>): string[] {
  const seen: string[] = []
  for (const name of names) plugin.on(name, () => { seen.push(name) })
  return seen
}

export interface Payment {
  readonly transfer: OutgoingTransfer
  readonly fulfillment: string
}

/** A payment to that account, not sent yet. */
export function payment(to: string, amount = '10', more: Partial<OutgoingTransfer> = {}): Payment {
  const preimage = randomBytes(32)
  const executionCondition = createHash('sha256').update(preimage).digest('base64url')
  const expiresAt = new Date(Date.now() + 60_000).toISOString()
  return { transfer: { id: randomUUID(), to, amount, executionCondition, expiresAt, ...more }, fulfillment: preimage.toString('base64url') }
}

/** Pays, and waits until both sides have booked it. Returns the transfer's id. */
export async function pay(from: LedgerPlugin, to: LedgerPlugin, amount = '10'): Promise<string> {
  const { transfer, fulfillment } = payment(from.getPeerAccount(), amount)
  const isPrepared = nextEvent(to, 'incoming_prepare')
  const isFulfilled = nextEvent(from, 'outgoing_fulfill')
  await from.sendTransfer(transfer)
  await isPrepared
  await to.fulfillCondition(transfer.id, fulfillment)
  await isFulfilled
  return transfer.id
}

/** A cable to a port on this machine, which can be cut. */
export class Cable {
  /** Whether new connections get through. */
  isWhole = true
  /** How many connections were asked for. */
  dialled = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
  }

  static async lay(target: () => number | undefined): Promise<Cable> {
    const server = createServer()
    const cable = new Cable(server)
    server.on('connection', near => {
      cable.dialled++
      if (!cable.isWhole) {
        near.destroy()
        return
      }
      cable.#join(near, connectTcp(target() ?? 0, '127.0.0.1'))
    })
    await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
    afterTest(async () => {
      cable.cut()
      await new Promise(resolve => { server.close(resolve) })
    })
    return cable
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** How many connections are there now. */
  get connections(): number {
    return this.#sockets.size / 2
  }

  /** Drops what is connected. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(...ends: [Socket, Socket]): void {
    for (const [end, other] of [ends, [ends[1], ends[0]]] as const) {
      this.#sockets.add(end)
      end.pipe(other)
      end.on('error', () => undefined)
      end.on('close', () => {
        this.#sockets.delete(end)
        other.destroy()
      })
    }
  }
}

const givenPorts = new Set<number>()

/**
 * A port on this machine that was free just now, another at each call. It lies below those that systems give to whoever asks for any, so that
 * nobody has it before it is listened at.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000)
    if (givenPorts.has(port)) continue
    givenPorts.add(port)
    const server = createServer()
    const isFree = await new Promise<boolean>(resolve => {
      server.once('error', () => { resolve(false) })
      server.listen(port, '127.0.0.1', () => { resolve(true) })
    })
    if (!isFree) continue
    await new Promise(resolve => { server.close(resolve) })
    return port
  }
}

/** Something that speaks BTP by hand over a real socket. */
export class RawPeer extends WirePeer {
  #requestId = 1
  readonly #asked = new Map<number, (answer: Packet) => void>()

  static async dial(target: LedgerPlugin): Promise<RawPeer> {
    const connection = await dialFromNode(`ws://127.0.0.1:${target.port ?? 0}`, new AbortController().signal)
    afterTest(() => { connection.terminate() })
    return new RawPeer(connection)
  }

  override message(frame: Uint8Array): void {
    super.message(frame)
    const packet = this.received.at(-1)
    if (packet?.type === 'response' || packet?.type === 'error') this.#asked.get(packet.requestId)?.(packet)
  }

  /** Sends a request and resolves with its answer. */
  ask(body: RequestBody): Promise<Packet> {
    const requestId = this.#requestId++
    return new Promise(resolve => {
      this.#asked.set(requestId, resolve)
      this.send({ ...body, requestId })
    })
  }

  /** Sends a Message and resolves with its answer. */
  tell(...protocolData: SubProtocol[]): Promise<Packet> {
    return this.ask({ type: 'message', protocolData })
  }

  authenticate(token = SECRET, ...more: SubProtocol[]): Promise<Packet> {
    return this.tell(octets('auth', new Uint8Array()), text('auth_username', ''), text('auth_token', token), ...more)
  }
}

/** One that has authenticated, without the announcement: a foreign peer. */
export async function foreignPeer(target: LedgerPlugin): Promise<RawPeer> {
  const peer = await RawPeer.dial(target)
  await peer.authenticate()
  return peer
}
