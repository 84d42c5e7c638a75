/**
 * What the instances over one store tell each other, as texts on a channel. Imports core and btp.
 *
 * Another version of the package may be at the other end, so messages carry a version. `challenge` and `here` are understood in every
 * version, for ever, by their `type` alone: else two versions would take the connection from each other, on and on.
 */
import * as errors from '../core/errors.js'
import type { PaychanErrorOptions } from '../core/errors.js'
import { isObject, parseIfJson } from '../core/json.js'
import type { LedgerInfo } from './lpi.js'

const VERSION = 1

/** Which of the two accounts is one's own. */
export type AccountRole = 'client' | 'server'

/** Who the two sides are: what a host may ask of an instance that has never talked to the peer. */
export interface KnownIdentity {
  /** Once it is decided, where both sides dial and listen. */
  role?: AccountRole
  info: LedgerInfo
  account: string
  peerAccount: string
}

/** What an instance tells of itself that is connected, or about to be. */
export interface HolderState {
  /** Its epoch in the store, once it carries calls out. */
  epoch?: number
  /** Changes with all that it writes. */
  head?: string
  identity?: KnownIdentity
}

/** An error on its way to whoever made the call. */
export interface ErrorRecord {
  name: string
  message: string
  outcome?: 'unknown'
  fromPeer?: true
  /** What the peer called it, where we have no class of that name. */
  remote?: { name: string; code: string }
}

export interface CallMessage {
  type: 'call'
  /** Unique for its sender. */
  id: number
  /** Whom it is for. An instance with another epoch leaves it alone. */
  epoch: number
  method: string
  args: unknown[]
  /** Whether it may have been carried out before, by a holder that is gone. */
  again: boolean
}

export interface ResultMessage {
  type: 'result'
  /** Who made the call. */
  to: string
  id: number
  /** Whom it was for. */
  epoch: number
  value?: unknown
  error?: ErrorRecord
}

/** An event of the holder's. */
export interface EventMessage {
  type: 'event'
  name: string
  args: unknown[]
}

export type Said =
  /** Somebody who waits asks whether anybody holds. */
  | { type: 'challenge' }
  /** The answer; also told by itself when somebody takes over. */
  | { type: 'here' } & HolderState
  | CallMessage
  | ResultMessage
  | EventMessage

/** With the name of the instance that says it. */
export type SiblingMessage = Said & { from: string }

export function formatMessage(from: string, said: Said): string {
  return JSON.stringify({ v: VERSION, from, ...said })
}

/** `undefined` for what is no message, and for all of another version but signs of life. */
export function parseMessage(text: string): SiblingMessage | undefined {
  const message = parseIfJson(text)
  if (!isObject(message)) return undefined
  const { v, from, type } = message
  if (typeof from !== 'string') return undefined
  if (v === VERSION && typeof type === 'string' && Object.hasOwn(SHAPES, type) && SHAPES[type as Said['type']](message)) {
    return message as unknown as SiblingMessage
  }
  return type === 'challenge' || type === 'here' ? { type, from } : undefined
}

type Shape = (message: Record<string, unknown>) => boolean

const SHAPES: { readonly [type in Said['type']]: Shape } = {
  challenge: () => true,
  here: ({ epoch, head, identity }) => isMaybe(epoch, 'number') && isMaybe(head, 'string') && (identity === undefined || isIdentity(identity)),
  call: ({ id, epoch, method, args, again }) =>
    typeof id === 'number' && typeof epoch === 'number' && typeof method === 'string' && Array.isArray(args) && typeof again === 'boolean',
  result: ({ to, id, epoch, error }) => typeof to === 'string' && typeof id === 'number' && typeof epoch === 'number' && (error === undefined || isErrorRecord(error)),
  event: ({ name, args }) => typeof name === 'string' && Array.isArray(args)
}

function isMaybe(value: unknown, type: 'number' | 'string'): boolean {
  return value === undefined || typeof value === type
}

function isIdentity(value: unknown): boolean {
  if (!isObject(value)) return false
  const { role, info, account, peerAccount } = value
  const isKnown = role === undefined || role === 'client' || role === 'server'
  return isKnown && isObject(info) && typeof info['prefix'] === 'string' && typeof account === 'string' && typeof peerAccount === 'string'
}

function isErrorRecord(value: unknown): boolean {
  if (!isObject(value)) return false
  const { name, message, remote } = value
  const isKnown = remote === undefined || (isObject(remote) && 'name' in remote && 'code' in remote)
  return typeof name === 'string' && typeof message === 'string' && isKnown
}

/** The names of the classes that are made of a message and options: all but those that say more, or that only others extend. */
type PlainName = { [N in keyof typeof errors]: (typeof errors)[N] extends new (message: string, options?: PaychanErrorOptions) => errors.PaychanError ? N : never }[keyof typeof errors]

function isPlainName(name: string): name is PlainName {
  return name.endsWith('Error') && name !== 'PaychanError' && name !== 'RemoteError' && Object.hasOwn(errors, name)
}

/** What of an error goes to whoever made the call: all but its cause, which may be anything. */
export function recordOfError(thrown: unknown): ErrorRecord {
  const message = errors.messageOf(thrown)
  if (!(thrown instanceof errors.PaychanError)) return { name: thrown instanceof Error ? thrown.name : 'Error', message }
  return {
    name: thrown.name,
    message,
    ...(thrown.outcome === undefined ? {} : { outcome: thrown.outcome }),
    ...(thrown.fromPeer ? { fromPeer: true } : {}),
    ...(thrown instanceof errors.RemoteError ? { remote: { name: thrown.remoteName, code: thrown.remoteCode } } : {})
  }
}

/** The error that a record stands for. One of no class of ours, as a module may throw it, is an Error of that name. */
export function errorOfRecord({ name, message, outcome, fromPeer, remote }: ErrorRecord): Error {
  if (remote !== undefined) return new errors.RemoteError(message, remote)
  if (isPlainName(name)) return new errors[name](message, { fromPeer: fromPeer === true, ...(outcome === 'unknown' ? { outcome } : {}) })
  return Object.assign(new Error(message), { name })
}
