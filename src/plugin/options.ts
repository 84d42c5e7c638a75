/**
 * The plugin's options: their types, defaults and limits, and the check that turns them into settings. Imports core.
 */
import { parseAmount, parseLimit, parseSum } from '../core/amounts.js'
import type { Amount, Limit } from '../core/amounts.js'
import { InvalidFieldsError } from '../core/errors.js'
import { checkObject, isObject, jsonCopyOf } from '../core/json.js'
import type { HostLog } from '../core/log.js'
import type { KeyValueStore, Store } from '../core/store.js'
import type { Acceptor, ListenerOptions } from '../core/transport.js'
import type { BtpVersion } from './generation.js'
import type { LedgerInfo } from './lpi.js'
import type { Thresholds } from './money.js'

/** The user name and the token that one peer presents and the other checks. */
export interface Credentials {
  /** Sent as `auth_username`; may be empty. */
  username: string
  /** Sent as `auth_token`: the secret. */
  token: string
}

/** The plugin's options. Times are in milliseconds, amounts in base units. */
export interface PluginOptions {
  /** The peer to dial: `btp+ws://username:token@host:port/path`, or `btp+wss://`. */
  server?: string
  /** The credentials to dial with, asked before each connection; by default those in `server`. */
  credentials?: Credentials | (() => Credentials | Promise<Credentials>)
  /** The only generation of BTP that a foreign peer speaks. Default: as it begins, else as the host calls. */
  btp?: '1.0' | '2.0'
  /** Where to listen, or a BtpListener that several plugins share. */
  listener?: ListenerOptions | Acceptor
  /** The token that dialling peers must present. */
  incomingSecret?: string
  /** Judges the credentials of dialling peers, instead of `incomingSecret`. */
  authCheck?: (username: string, token: string) => boolean | Promise<boolean>
  /** The ILP prefix of the ledger; ends with a dot. A client without it takes the peer's; under a host of LPI v2 it is `peer.`. */
  prefix?: string
  /** What `getInfo` answers; `prefix` is filled in. A client without it takes the peer's. */
  info?: Partial<LedgerInfo>
  /** The highest balance: what the peer may owe us. Integer string; needed with a store, and of no effect without. Under a host of LPI v2 default Infinity. */
  maxBalance?: string
  /** The lowest balance: what we may owe the peer. Integer string; default -Infinity. Of no effect without a store. */
  minBalance?: string
  /**
   * Without a payment channel module: whether the peer is believed when it says that it has settled. Nothing proves it, and each such word
   * gives the peer as much room below `maxBalance` again, so that this is for two who would give each other unlimited credit. Default false.
   */
  trustSettlements?: boolean
  /**
   * Who decides when to settle: under a host of LPI v2 by default the host, by `sendMoney`; `'automatic'`, with a payment channel module,
   * whenever the balance, with what was settled, falls below `settleThreshold`, and when the peer wants it. Under a host of LPI v1 the
   * module has its claims made at each fulfill: that is `'automatic'` too, without a threshold.
   */
  settlement?: 'automatic' | 'host'
  /** Below which balance is settled automatically under a host of LPI v2. Integer string; default '0', so that whatever is owed is settled. */
  settleThreshold?: string
  /** Which balance is settled up to. Integer string, not less than `settleThreshold`; default '0'. */
  settleTo?: string
  /** Where the ledger is kept: one of this package's stores. */
  store?: Store
  /** Where the ledger is kept: a host's plain store. */
  _store?: KeyValueStore
  /**
   * What to do where the store was emptied, while the peer has books of this account: `'from-peer'` takes over what the peer says, within the
   * limits, and its settlements as far as the module verifies its last claim, or `trustSettlements` is set. It does nothing else, and may stay.
   * Default: such a store is not used, and `connect` rejects with EmptiedStoreError.
   */
  recover?: 'from-peer'
  /** A host's logger, instead of the `debug` package. */
  _log?: HostLog
  /** How long before its expiry an incoming transfer can be fulfilled at the latest. Default 500, at most 60000. */
  expiryMarginMs?: number
  /** How long after its expiry a fulfill of an outgoing transfer is still taken. Default 500, at most 60000. */
  graceMs?: number
  /** How long an answer is waited for. Default 5000; from 1 to 3600000. */
  answerTimeoutMs?: number
  /** After how long a silence the peer is probed. Default 20000; from 1000 to 3600000. */
  heartbeatMs?: number
  /** How long a probe may stay unanswered before the connection is given up. Default 10000; from 100 to 3600000. */
  heartbeatTimeoutMs?: number
  /** How long the store is waited for. A call of the host then ends in a StoreError. Default 10000; from 100 to 3600000. */
  storeTimeoutMs?: number
  /** The shortest delay before dialling again. Default 200; from 1 to 3600000. */
  reconnectMinMs?: number
  /** The longest delay before dialling again. Default 30000; from 1 to 3600000. */
  reconnectMaxMs?: number
  /** The most transfers in flight, of both directions, beside which another one of the peer is taken. Default and at most 10000. */
  maxInFlight?: number
  /** The most that the peer's transfers in flight may come to. Integer string; without it `maxBalance` alone bounds it. */
  maxInFlightAmount?: string
  /**
   * Whether ILPv4 packets stay in the history when they are final, each with a record. Default false: their sums stay, and what is
   * disputed; else a busy account would fill its store.
   */
  packetHistory?: boolean
  /** The most requests of the peer that are handled at a time; further ones are refused for now. Default and at most 10000. */
  maxRequests?: number
  /** The most bytes that wait to be read by the peer; with more it loses its connection. Default 16777216; from 65536 to 1000000000. */
  maxBufferedBytes?: number
}

/** LPI v2's second argument (RFC 24). */
export interface PluginServices {
  /** As the option `_store`. */
  store?: KeyValueStore
  /** As the option `_log`. */
  log?: HostLog
}

/** What a module takes over: then the options need not say it. */
export interface ModuleProvides {
  module: boolean
  token: boolean
}

export interface Settings {
  /** Whether the host is one of LPI v2: it gave its services. */
  isV2Host: boolean
  btp: BtpVersion | undefined
  server: { url: string; credentials: Credentials | undefined } | undefined
  credentials: (() => Credentials | Promise<Credentials>) | undefined
  listener: ListenerOptions | Acceptor | undefined
  incomingSecret: string | undefined
  authCheck: ((username: string, token: string) => boolean | Promise<boolean>) | undefined
  prefix: string | undefined
  info: Partial<LedgerInfo> | undefined
  limits: { maximum: Limit; minimum: Limit }
  trustSettlements: boolean
  /** When to settle, where the host does not decide. */
  automatic: Thresholds | undefined
  store: Store | undefined
  keyValueStore: KeyValueStore | undefined
  /** Whether an emptied store is filled from the peer's books. */
  recovers: boolean
  log: HostLog | undefined
  expiryMarginMs: number
  graceMs: number
  answerTimeoutMs: number
  heartbeatMs: number
  heartbeatTimeoutMs: number
  storeTimeoutMs: number
  reconnectMinMs: number
  reconnectMaxMs: number
  maxInFlight: number
  maxInFlightAmount: Limit
  packetHistory: boolean
  maxRequests: number
  maxBufferedBytes: number
}

const HOUR = 3_600_000

/** The options that are numbers, times in milliseconds: default, least and most. */
const NUMBERS = {
  expiryMarginMs: [500, 0, 60_000],
  graceMs: [500, 0, 60_000],
  answerTimeoutMs: [5000, 1, HOUR],
  heartbeatMs: [20_000, 1000, HOUR],
  heartbeatTimeoutMs: [10_000, 100, HOUR],
  storeTimeoutMs: [10_000, 100, HOUR],
  reconnectMinMs: [200, 1, HOUR],
  reconnectMaxMs: [30_000, 1, HOUR],
  // What may be disputed afterwards is remembered for so many.
  maxInFlight: [10_000, 1, 10_000],
  maxRequests: [10_000, 1, 10_000],
  maxBufferedBytes: [16_777_216, 65_536, 1e9]
} as const satisfies Record<string, readonly [number, number, number]>

/** An ILP address prefix: segments of letters, digits, `_`, `~` and `-`, each closed by a dot (RFC 15). */
const PREFIX = /^([A-Za-z0-9_~-]+\.)+$/
const PREFIX_LIMIT = 1000
const PEER_PREFIX = 'peer.'

/**
 * Checks the options. No message shows a value: it may be a secret.
 * @throws InvalidFieldsError naming the option
 */
export function parseOptions(given: unknown, services: PluginServices | null | undefined, provides: ModuleProvides): Settings {
  const options = checkObject(given, 'options')
  if (options['_backend'] !== undefined) {
    throw new InvalidFieldsError('_backend is not supported: give store or _store')
  }
  const server = optional(options, 'server', parseServer)
  const listener = optional(options, 'listener', parseListener)
  const store = optional(options, 'store', parseStore)
  const keyValueStore = parseKeyValueStore(options['_store'] ?? services?.store)
  const isV2Host = services !== undefined && services !== null
  const isStateful = store !== undefined || keyValueStore !== undefined
  checkStateful(options, { isStateful, isV2Host, ...provides })
  const settings: Settings = {
    isV2Host,
    btp: optional(options, 'btp', parseBtpVersion),
    server,
    credentials: optional(options, 'credentials', parseCredentials),
    listener,
    incomingSecret: optional(options, 'incomingSecret', parseString),
    authCheck: optional(options, 'authCheck', parseFunction) as Settings['authCheck'],
    prefix: optional(options, 'prefix', parsePrefix),
    info: optional(options, 'info', parseInfo),
    ...(isV2Host && !provides.module ? ledgerOfV2Host(options) : {}),
    limits: parseLimits(options, isStateful || isV2Host),
    trustSettlements: optional(options, 'trustSettlements', parseBoolean) ?? false,
    automatic: parseSettlement(options, isV2Host, provides.module),
    store,
    keyValueStore: store === undefined ? keyValueStore : undefined,
    recovers: optional(options, 'recover', parseRecover) === 'from-peer',
    log: parseLog(options['_log'] ?? services?.log),
    maxInFlightAmount: optional(options, 'maxInFlightAmount', parseAmount) ?? Infinity,
    packetHistory: optional(options, 'packetHistory', parseBoolean) ?? false,
    ...parseNumbers(options)
  }
  checkTogether(settings, provides)
  return settings
}

/** What a store, or the lack of it, demands. */
function checkStateful(options: Record<string, unknown>, given: { isStateful: boolean; isV2Host: boolean; module: boolean }): void {
  const hasMaximum = options['maxBalance'] !== undefined && options['maxBalance'] !== null
  if (given.module && !given.isStateful) throw new InvalidFieldsError('store (or _store) is needed with a payment channel module')
  if (given.isStateful && !given.isV2Host && !hasMaximum) throw new InvalidFieldsError('maxBalance is needed with a store')
}

/** What one option demands of the others. */
function checkTogether(settings: Settings, provides: ModuleProvides): void {
  checkLedgerOptions(settings, provides)
  const { listener, reconnectMinMs, reconnectMaxMs } = settings
  const judges = settings.incomingSecret !== undefined || settings.authCheck !== undefined || provides.token
  if (listener !== undefined && !judges) throw new InvalidFieldsError('incomingSecret (or authCheck) is needed with a listener')
  if (settings.trustSettlements && provides.module) throw new InvalidFieldsError('trustSettlements is not for a payment channel module')
  if (reconnectMinMs > reconnectMaxMs) throw new InvalidFieldsError('reconnectMinMs must not be greater than reconnectMaxMs')
}

/** Who has nobody to ask must say what the ledger is. */
function checkLedgerOptions({ listener, server, prefix, info }: Settings, provides: ModuleProvides): void {
  const named = prefix ?? info?.prefix
  if (named !== undefined && info?.prefix !== undefined && info.prefix !== named) throw new InvalidFieldsError('info.prefix must be the same as prefix')
  if (provides.module || (listener === undefined && server !== undefined)) return
  if (named === undefined) throw new InvalidFieldsError('prefix is needed with a listener, and without a server')
  if (info === undefined) throw new InvalidFieldsError('info is needed with a listener, and without a server')
}

/** Nobody asks a plugin of LPI v2 for its ledger, so what is not given is filled in: with the prefix of what only two peers know (RFC 15). */
function ledgerOfV2Host(options: Record<string, unknown>): { prefix: string; info: Partial<LedgerInfo> } {
  const info = optional(options, 'info', parseInfo) ?? {}
  return { prefix: optional(options, 'prefix', parsePrefix) ?? info.prefix ?? PEER_PREFIX, info }
}

/** Without a store the balance is the peer's to keep: then there is nothing that a limit of ours could be held against. */
function parseLimits(options: Record<string, unknown>, isStateful: boolean): Settings['limits'] {
  const maximum = parseLimit(options['maxBalance'] ?? 'Infinity', 'maxBalance')
  const minimum = parseLimit(options['minBalance'] ?? '-Infinity', 'minBalance')
  if (minimum > maximum) throw new InvalidFieldsError('minBalance must not be greater than maxBalance')
  return isStateful ? { maximum, minimum } : { maximum: Infinity, minimum: -Infinity }
}

/** Under a host of LPI v1 there is nothing to be set: it has no way to settle, and its module does so at each fulfill. */
function parseSettlement(options: Record<string, unknown>, isV2Host: boolean, module: boolean): Thresholds | undefined {
  const who = optional(options, 'settlement', parseSettler)
  const threshold = optional(options, 'settleThreshold', parseBalance)
  const target = optional(options, 'settleTo', parseBalance) ?? 0n
  const isAutomatic = isV2Host && who === 'automatic'
  if (who === 'host' && !isV2Host) throw new InvalidFieldsError("settlement 'host' is for hosts of LPI v2")
  if (isAutomatic && !module) throw new InvalidFieldsError("settlement 'automatic' needs a payment channel module")
  if (!isAutomatic && (threshold !== undefined || target !== 0n)) throw new InvalidFieldsError("settleThreshold and settleTo are for settlement 'automatic' under a host of LPI v2")
  if ((threshold ?? 0n) > target) throw new InvalidFieldsError('settleTo must not be less than settleThreshold')
  return isAutomatic ? { threshold: threshold ?? 0n, target } : undefined
}

function optional<T>(options: Record<string, unknown>, name: string, parse: (value: unknown, name: string) => T): T | undefined {
  const value = options[name]
  return value === undefined || value === null ? undefined : parse(value, name)
}

/**
 * Reads a BTP URI: `btp+ws://` or `btp+wss://`, with credentials or without. Without an `@` there are none.
 * @throws InvalidFieldsError, which does not show it
 */
function parseServer(value: unknown, name: string): { url: string; credentials: Credentials | undefined } {
  const [, scheme, rest] = /^btp\+(wss?):\/\/(.+)$/.exec(parseString(value, name)) ?? []
  if (scheme === undefined || rest === undefined) throw new InvalidFieldsError(`${name} must begin with btp+ws:// or btp+wss://`)
  try {
    const url = new URL(`${scheme}://${rest}`)
    const [authority = ''] = rest.split(/[/?#]/)
    const credentials = authority.includes('@')
      ? { username: decodeURIComponent(url.username), token: decodeURIComponent(url.password) }
      : undefined
    url.username = ''
    url.password = ''
    url.hash = ''
    return { url: url.toString(), credentials }
  } catch {
    // The cause would show the address with its secret (H43).
    throw new InvalidFieldsError(`${name} must be like btp+ws://username:token@host:port/path`)
  }
}

function parseCredentials(value: unknown, name: string): () => Credentials | Promise<Credentials> {
  if (typeof value === 'function') return async () => checkCredentials(await Reflect.apply(value, undefined, []), name)
  const credentials = checkCredentials(value, name)
  return () => credentials
}

/** Checks what a `credentials` function gave. @throws InvalidFieldsError */
export function checkCredentials(value: unknown, name = 'credentials'): Credentials {
  if (!isObject(value) || typeof value['token'] !== 'string') throw new InvalidFieldsError(`${name} must have a token, and may have a username`)
  const username = value['username'] ?? ''
  if (typeof username !== 'string') throw new InvalidFieldsError(`${name}.username must be a string`)
  return { username, token: value['token'] }
}

/** Only its kind: what is in it is checked by who listens. */
function parseListener(value: unknown, name: string): ListenerOptions | Acceptor {
  if (!isObject(value)) throw new InvalidFieldsError(`${name} must be an object, or a BtpListener`)
  return value
}

export function isAcceptor(listener: ListenerOptions | Acceptor): listener is Acceptor {
  return 'listen' in listener && typeof listener.listen === 'function'
}

function parseStore(value: unknown, name: string): Store {
  const missing = ['get', 'list', 'commit'].filter(method => !hasMethod(value, method))
  if (missing.length > 0) {
    throw new InvalidFieldsError(`${name} must be a store of this package, it lacks ${missing.join(', ')}: give a plain one as _store`)
  }
  return value as Store
}

/** A host passes null where it has no store. */
function parseKeyValueStore(value: unknown): KeyValueStore | undefined {
  if (value === undefined || value === null) return undefined
  for (const method of ['get', 'put', 'del']) {
    if (!hasMethod(value, method)) throw new InvalidFieldsError(`_store must be an object with get, put and del: it lacks ${method}`)
  }
  return value as KeyValueStore
}

function parseLog(value: unknown): HostLog | undefined {
  if (value === undefined || value === null) return undefined
  if (!isObject(value)) throw new InvalidFieldsError('_log must be an object with trace, debug, info, warn and error')
  return value
}

function parsePrefix(value: unknown, name: string): string {
  const prefix = parseString(value, name)
  if (!isPrefix(prefix)) throw new InvalidFieldsError(`${name} must be an ILP prefix that ends with a dot`)
  return prefix
}

/** Whether a text is an ILP address prefix that ends with a dot (RFC 15). */
export function isPrefix(text: string): boolean {
  return text.length <= PREFIX_LIMIT && PREFIX.test(text)
}

function parseInfo(value: unknown, name: string): Partial<LedgerInfo> {
  const info = checkObject(value, name)
  if (info['prefix'] !== undefined) parsePrefix(info['prefix'], `${name}.prefix`)
  return jsonCopyOf(info, name)
}

function parseString(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new InvalidFieldsError(`${name} must be a string`)
  return value
}

function parseBtpVersion(value: unknown, name: string): BtpVersion {
  if (value !== '1.0' && value !== '2.0') throw new InvalidFieldsError(`${name} must be '1.0' or '2.0'`)
  return value
}

function parseBoolean(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw new InvalidFieldsError(`${name} must be true or false`)
  return value
}

function parseSettler(value: unknown, name: string): 'automatic' | 'host' {
  if (value !== 'automatic' && value !== 'host') throw new InvalidFieldsError(`${name} must be 'automatic' or 'host'`)
  return value
}

function parseRecover(value: unknown, name: string): 'from-peer' {
  if (value !== 'from-peer') throw new InvalidFieldsError(`${name} must be 'from-peer'`)
  return value
}

function parseBalance(value: unknown, name: string): Amount {
  return parseSum(parseString(value, name), name)
}

function parseFunction(value: unknown, name: string): unknown {
  if (typeof value !== 'function') throw new InvalidFieldsError(`${name} must be a function`)
  return value
}

function parseNumbers(options: Record<string, unknown>): { [name in keyof typeof NUMBERS]: number } {
  const numbers: Partial<Record<keyof typeof NUMBERS, number>> = {}
  for (const name of Object.keys(NUMBERS) as Array<keyof typeof NUMBERS>) {
    const [usual, least, most] = NUMBERS[name]
    const value = options[name] ?? usual
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      throw new InvalidFieldsError(`${name} must be a number from ${least} to ${most}`)
    }
    numbers[name] = value
  }
  return numbers as { [name in keyof typeof NUMBERS]: number }
}

function hasMethod(value: unknown, method: string): boolean {
  return isObject(value) && typeof value[method] === 'function'
}
