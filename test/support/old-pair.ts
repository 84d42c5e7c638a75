/**
 * One plugin of ours and one of the old package, connected over a real socket, in either role. Imports src.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import PaychanPlugin, { MemoryStore } from '../../src/node.js'
import type { PluginEvents } from '../../src/plugin/account.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import { OldPlugin, freePort } from './old-plugin.js'
import type { OldOptions } from './old-plugin.js'
import { WireTap } from './wire-tap.js'

export const PREFIX = 'test.old.'
export const INFO = { prefix: PREFIX, currencyCode: 'USD', currencyScale: 6, connectors: [`${PREFIX}connector`] }
export const SECRET = 'a secret, shared'

/** What the old peer does: ours does the other. */
export type OldRole = 'dials' | 'listens'

export interface PairOptions {
  ours?: PluginOptions
  old?: OldOptions
  /** A relay on the wire. */
  tapped?: boolean
  OurClass?: new (options: PluginOptions) => PaychanPlugin
  OldClass?: new (options: OldOptions) => OldPlugin
}

export interface Pair {
  ours: PaychanPlugin
  old: OldPlugin
  tap: WireTap
  /** The options that ours was made with, for another life of it. */
  options: PluginOptions
  end(): Promise<void>
}

export const uri = (port: number | undefined, token = SECRET, username = ''): string =>
  `btp+ws://${username}:${encodeURIComponent(token)}@localhost:${port}`

/** Makes the two and connects them. */
export async function connectPair(oldRole: OldRole, given: PairOptions = {}): Promise<Pair> {
  return oldRole === 'dials' ? oldDials(given) : oldListens(given)
}

function ourOptions(given: PairOptions): PluginOptions {
  return { store: new MemoryStore(), maxBalance: '1000000', minBalance: '-1000000', ...given.ours }
}

async function oldDials(given: PairOptions): Promise<Pair> {
  const options = { ...ourOptions(given), listener: { port: 0 }, prefix: PREFIX, info: INFO, incomingSecret: SECRET, ...given.ours }
  const ours = new (given.OurClass ?? PaychanPlugin)(options)
  await ours.connect()
  const { port, tap } = await tapOf(given, ours.port)
  const old = new (given.OldClass ?? OldPlugin)({ server: uri(port), ...given.old })
  await old.connect()
  // A fixed port, for another life of ours.
  return pairOf(ours, old, tap, { ...options, listener: { port: ours.port ?? 0 } })
}

async function oldListens(given: PairOptions): Promise<Pair> {
  const oldPort = await freePort()
  const old = new (given.OldClass ?? OldPlugin)({ listener: { port: oldPort }, prefix: PREFIX, info: INFO, incomingSecret: SECRET, ...given.old })
  await old.connect()
  const { port, tap } = await tapOf(given, oldPort)
  const options = { ...ourOptions(given), server: uri(port), ...given.ours }
  const ours = new (given.OurClass ?? PaychanPlugin)(options)
  await ours.connect()
  return pairOf(ours, old, tap, options)
}

async function tapOf(given: PairOptions, target = 0): Promise<{ port: number; tap: WireTap | undefined }> {
  const tap = given.tapped === true ? await WireTap.to(target) : undefined
  return { port: tap?.port ?? target, tap }
}

function pairOf(ours: PaychanPlugin, old: OldPlugin, tap: WireTap | undefined, options: PluginOptions): Pair {
  return {
    ours,
    old,
    get tap() {
      if (tap === undefined) throw new TypeError('the pair was made without a tap')
      return tap
    },
    options,
    async end() {
      // The old listener waits for its connections to end, so ours ends first.
      await this.ours.disconnect()
      await tap?.close()
      await old.disconnect()
    }
  }
}

export interface Payment {
  transfer: { id: string; amount: string; executionCondition: string; expiresAt: string; to: string; ilp?: string; custom?: object }
  fulfillment: string
}

/** A transfer to that account, and the preimage of its condition. Expires in 30 s unless told otherwise. */
export function payment(to: string, amount: string, details: { expiresInMs?: number; ilp?: string; custom?: object } = {}): Payment {
  const { expiresInMs = 30_000, ...data } = details
  const preimage = randomBytes(32)
  return {
    transfer: {
      id: randomUUID(),
      amount,
      executionCondition: createHash('sha256').update(preimage).digest('base64url'),
      expiresAt: new Date(Date.now() + expiresInMs).toISOString(),
      to,
      ...data
    },
    fulfillment: preimage.toString('base64url')
  }
}

/** The next event of that name: what its listener is given. Of either package. */
export function next(plugin: OldPlugin, event: string): Promise<unknown[]>
export function next<E extends keyof PluginEvents>(plugin: PaychanPlugin, event: E): Promise<Parameters<PluginEvents[E]>>
export function next(plugin: { once(event: string, listener: (...args: unknown[]) => void): unknown }, event: string): Promise<unknown[]> {
  return new Promise(resolve => { plugin.once(event, (...args) => { resolve(args) }) })
}

/** All four views of the balance: ours, ours of the peer, the old peer's, and its of us. */
export async function balances({ ours, old }: Pair): Promise<{ ours: string; askedByOurs: string; old: string; askedByOld: string }> {
  return {
    ours: await ours.getBalance(),
    askedByOurs: await ours.getPeerBalance(),
    old: await old.getBalance(),
    askedByOld: await old.getPeerBalance()
  }
}
