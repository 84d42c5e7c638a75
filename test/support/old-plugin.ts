/**
 * The published old package, with types: real instances of its class in this process, over real sockets. Imports nothing of src.
 *
 * What it does wrong, and would end or hang a test, is worked round here and said at each place, with its line of HAZARDS.md.
 */
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

const require = createRequire(import.meta.url)

export interface OldTransfer {
  id: string
  amount: string
  executionCondition: string
  expiresAt: string
  to: string
  from?: string
  ledger?: string
  ilp?: string
  custom?: object
  noteToSelf?: object
}

export interface OldMessage {
  to: string
  from?: string
  ledger?: string
  ilp?: string
  custom?: object
}

/** What a plain store of a host does: the old package's own, or a test's. */
export interface OldStore {
  get(key: string): Promise<unknown>
  put(key: string, value: string): Promise<unknown>
  del(key: string): Promise<unknown>
}

/** The old package's store in memory: an object without a lock on its keys. */
export interface OldMemoryStore extends OldStore {
  readonly s: Record<string, string>
}

interface OldProtocolData {
  protocolName: string
  contentType: number
  data: Buffer
}

interface OldSocket {
  readonly readyState: number
  close(): void
}

export interface OldContext {
  state: Record<string, unknown>
  rpc: {
    call(method: string, prefix: string, args: unknown): Promise<unknown>
    addMethod(name: string, method: (argument: unknown) => Promise<unknown>): void
  }
  plugin: OldPlugin
}

/** A payment channel module of the old package. */
export interface OldModule {
  pluginName: string
  constructor: (ctx: OldContext, options: object) => void
  getInfo(ctx: OldContext): object
  getAccount(ctx: OldContext): string
  getPeerAccount(ctx: OldContext): string
  getAuthToken(ctx: OldContext): string
  connect(ctx: OldContext): Promise<void>
  disconnect(ctx: OldContext): Promise<void>
  handleIncomingPrepare(ctx: OldContext, transfer: OldTransfer): Promise<void>
  createOutgoingClaim(ctx: OldContext, balance: string): Promise<unknown>
  handleIncomingClaim(ctx: OldContext, claim: unknown): Promise<void>
}

export interface OldOptions {
  server?: string
  listener?: { port: number }
  incomingSecret?: string
  prefix?: string
  info?: object
  maxBalance?: string
  minBalance?: string
  _store?: OldStore
}

export interface OldPlugin {
  /** Sends single packets, as no host would. */
  readonly _rpc: {
    _sockets: Array<{ socket: OldSocket; authenticated: boolean } | undefined>
    message(protocolData: OldProtocolData[]): Promise<{ protocolData: OldProtocolData[] }>
    prepare(transfer: OldTransfer, protocolData: OldProtocolData[]): Promise<unknown>
    fulfill(id: string, fulfillment: string, protocolData: OldProtocolData[]): Promise<unknown>
    reject(id: string, protocolData: OldProtocolData[]): Promise<unknown>
  }
  /** What its timer calls: cancels, and tells the peer by a Reject R00. */
  _expireTransfer(id: string): Promise<void>
  connect(): Promise<void>
  disconnect(): Promise<void>
  isConnected(): boolean
  addSocket(socket: object, credentials?: { username: string; token: string }): Promise<unknown>
  getInfo(): Record<string, unknown>
  getAccount(): string
  getPeerAccount(): string
  getBalance(): Promise<string>
  getPeerBalance(): Promise<string>
  getLimit(): Promise<string>
  sendTransfer(transfer: OldTransfer): Promise<void>
  fulfillCondition(id: string, fulfillment: string, ilp?: string): Promise<void>
  rejectIncomingTransfer(id: string, reason: object): Promise<void>
  sendRequest(message: OldMessage): Promise<OldMessage>
  registerRequestHandler(handler: (message: OldMessage) => Promise<OldMessage>): void
  on(event: string, listener: (...args: never[]) => void): this
  once(event: string, listener: (...args: never[]) => void): this
}

type OldClass = new (options: OldOptions) => OldPlugin

export const OldPlugin = require('ilp-plugin-payment-channel-framework') as OldClass & {
  makePaymentChannelPlugin(module: OldModule): OldClass
}

const OldMemoryStoreClass = require('ilp-plugin-payment-channel-framework/src/model/in-memory-store') as new () => OldMemoryStore

export function oldMemoryStore(): OldMemoryStore {
  return new OldMemoryStoreClass()
}

const ilpPacket = require('ilp-packet-1') as { deserializeIlpError(packet: Buffer): OldIlpError }

/** An ILP error packet of that age, as its own codec reads it. */
export interface OldIlpError {
  code: string
  name: string
  triggeredBy: string
  forwardedBy: string[]
  triggeredAt: Date
  data: string
}

export function readIlpError(ilp: string | undefined): OldIlpError {
  return ilpPacket.deserializeIlpError(Buffer.from(ilp ?? '', 'base64'))
}

/** A port that is free now. The old package takes 0 for its default, and a port that is taken ends its process (H30). */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/**
 * What an answer of Error became with the old package: an error whose message is the packet as JSON (H42).
 */
export interface OldError {
  code: string
  name: string
  data: string
}

/** The Error that a call of the old package was answered with. */
export async function oldErrorOf(call: Promise<unknown>): Promise<OldError> {
  const error: unknown = await call.then(() => new Error('the call was not refused'), (thrown: unknown) => thrown)
  const { message } = error as Error
  try {
    return JSON.parse(message) as OldError
  } catch {
    throw new Error(`no answer of the peer: ${message}`, { cause: error })
  }
}

const OPEN = 1

/**
 * Forgets closed sockets, which the old package never does: with one of them in its list each of its own calls fails (H25). One that
 * dials has to forget the list itself: only when it is empty does it dial again.
 */
export function forgetClosedSockets(plugin: OldPlugin): void {
  const sockets = plugin._rpc._sockets
  sockets.forEach((entry, index) => {
    // As it deletes one whose authentication failed: the indices of the others stay.
    if (entry?.socket.readyState !== OPEN) Reflect.deleteProperty(sockets, index)
  })
  if (Object.keys(sockets).length === 0) sockets.length = 0
}
