/**
 * The contract between the plugin and a payment channel module: what a module provides, what it is given, and the runner that
 * calls it by the rules. Imports core, and from the ledger, btp and LPI nothing but types.
 *
 * A module secures the balance between two peers, by signed claims on a payment channel or by payments. The plugin calls it back;
 * the module reaches the plugin through its context alone.
 */
import { printable } from '../core/bytes.js'
import type { Clock } from '../core/clock.js'
import { InvalidFieldsError, UnreachableError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { Backend } from '../ledger/backend.js'
import type { TransferLog } from '../ledger/transfer-log.js'
import type { JsonValue } from '../btp/protocol-data.js'
import type { IncomingTransfer, LedgerInfo, LedgerPluginV1 } from './lpi.js'
import type { Rpc } from './rpc.js'

/** How long a callback may take before it is reported, in milliseconds. `connect` and `disconnect` may take any time. */
export const CALLBACK_LIMIT_MS = 500

/** What every callback is given first. */
export interface PluginContext<State extends object = Record<string, unknown>> {
  /** The module's own, for as long as the plugin object lives; empty before `constructor` fills it. */
  readonly state: State
  /** Calls methods of the peer's module and lets it call ours. */
  readonly rpc: Rpc
  /** The module's own logs and trackers in the plugin's store. */
  readonly backend: Backend
  /** The plugin's own log: all its ILP transfers. For reading. */
  readonly transferLog: TransferLog
  /** The plugin as its host sees it. Only LPI methods may be called. */
  readonly plugin: LedgerPluginV1
}

/**
 * A payment channel module: an object literal with these functions, or an instance of a class that has them.
 *
 * All but `constructor`, `connect` and `disconnect` run while the peer waits: one that takes longer than 500 ms is reported in the
 * log, once. Slower work belongs in the background. `State` is the type of `ctx.state`, `Options` that of the plugin's options.
 */
export interface PaymentChannelModule<State extends object = Record<string, unknown>, Options extends object = Record<string, unknown>> {
  /** Words of letters and digits joined by `-`: `xrp-paychan` names the class `PluginXrpPaychan` and the log `ilp-plugin-xrp-paychan`. */
  readonly pluginName?: string

  /**
   * Checks the options and prepares `ctx.state`; what it throws, `new Plugin(...)` throws. Nothing may be asked of the store or
   * the network yet. (Every object has an inherited `constructor`, of type Function; only one of the module's own is called.)
   */
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- the type that TypeScript gives the inherited property
  readonly constructor?: ((ctx: PluginContext<State>, options: Options) => void) | Function

  /** Runs once the peer is authenticated (dialling) or the port is bound (listening), before any transfer is taken. */
  connect(ctx: PluginContext<State>, options: Options): Promise<void> | void

  /** Runs after the last transfer, when the host disconnects. */
  disconnect(ctx: PluginContext<State>): Promise<void> | void

  /** The own ILP address; begins with the prefix of `getInfo`. Not called before `connect` has finished. */
  getAccount(ctx: PluginContext<State>): string

  /** The peer's ILP address; begins with the prefix of `getInfo`. Not called before `connect` has finished. */
  getPeerAccount(ctx: PluginContext<State>): string

  /** The ledger's metadata; the prefix never changes. Not called before `connect` has finished. The plugin copies what it gets. */
  getInfo(ctx: PluginContext<State>): LedgerInfo

  /** The token that both peers authenticate with, where the options name none. Called before `connect`. */
  getAuthToken?(ctx: PluginContext<State>): string

  /**
   * Judges an incoming transfer, which is counted in `ctx.transferLog` already. What it throws refuses the transfer, and is the
   * peer's answer: a NotAcceptedError is the usual one.
   */
  handleIncomingPrepare(ctx: PluginContext<State>, transfer: IncomingTransfer): Promise<void> | void

  /**
   * Secures what we owe: makes a claim for (or pays) everything up to `balance`, the sum of all outgoing transfers that were ever
   * fulfilled (integer string); under a host of LPI v2 the sum of all that was ever settled, with what is settled now. It grows from call
   * to call; it is the same again only after a call that failed, a claim that the peer refused, or a crash.
   * One call at a time. What is returned is JSON, is stored and reaches the peer's `handleIncomingClaim` (maybe more than once, and
   * not if a newer one overtakes it); `undefined` or `null` sends nothing.
   */
  createOutgoingClaim(ctx: PluginContext<State>, balance: string): Promise<JsonValue | undefined> | JsonValue | undefined

  /**
   * Checks and keeps a claim of the peer: any JSON value but null, of no checked shape. One call at a time, in the order of arrival;
   * the same claim may come again. To be given the same claim again later, throw an error with a `T` code (UnreachableError).
   *
   * May be async. What it returns is of no matter under a host of LPI v1. Under one of LPI v2 it must return the sum that the best claim secures now (integer string), in the terms in which the peer's
   * `createOutgoingClaim` was called: by that it is known whether there is a claim for the settlement that this one came with.
   */
  handleIncomingClaim(ctx: PluginContext<State>, claim: JsonValue): unknown
}

/** A module of whatever state and options. */
export type AnyModule = PaymentChannelModule<object, object>

type CallbackName = Exclude<keyof AnyModule, 'pluginName'>

const REQUIRED = [
  'connect', 'disconnect', 'getAccount', 'getPeerAccount', 'getInfo', 'handleIncomingPrepare', 'createOutgoingClaim', 'handleIncomingClaim'
] as const satisfies readonly CallbackName[]

const PLUGIN_NAME = /^[a-z0-9]+(-[a-z0-9]+)*$/i

/**
 * Checks that a value is a module.
 * @throws InvalidFieldsError naming the callback that is missing or no function, or `pluginName`
 */
export function validateModule(module: unknown): asserts module is AnyModule {
  if (typeof module !== 'object' || module === null) throw new InvalidFieldsError('a payment channel module must be an object')
  const fields = module as Record<string, unknown>
  for (const name of REQUIRED) {
    if (typeof fields[name] !== 'function') throw new InvalidFieldsError(`the module's ${name} must be a function`)
  }
  for (const [name, callback] of Object.entries({ getAuthToken: fields['getAuthToken'], constructor: constructorOf(module) })) {
    if (callback !== undefined && typeof callback !== 'function') throw new InvalidFieldsError(`the module's ${name} must be a function`)
  }
  const { pluginName } = fields
  if (pluginName !== undefined && !(typeof pluginName === 'string' && PLUGIN_NAME.test(pluginName))) {
    throw new InvalidFieldsError("the module's pluginName must be words of letters and digits joined by '-'")
  }
}

/**
 * The module's `constructor` callback. Every object inherits a property of that name: one whose `prototype` is the very object
 * that it was found on is a class (or Object itself), and no callback.
 */
function constructorOf(module: object): unknown {
  let owner: object | null = module
  while (owner !== null && !Object.hasOwn(owner, 'constructor')) owner = Reflect.getPrototypeOf(owner)
  const value: unknown = owner?.constructor
  return typeof value === 'function' && value.prototype === owner ? undefined : value
}

/** The name of the plugin class: `xrp-paychan` gives `PluginXrpPaychan`, no name gives `PaychanPlugin`. */
export function classNameOf(pluginName: string | undefined): string {
  if (pluginName === undefined) return 'PaychanPlugin'
  const words = pluginName.split('-').map(word => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase())
  return `Plugin${words.join('')}`
}

/** The name that the plugin logs under: `xrp-paychan` gives `ilp-plugin-xrp-paychan`, no name gives `ilp-plugin-virtual`. */
export function logNameOf(pluginName: string | undefined): string {
  return `ilp-plugin-${pluginName?.toLowerCase() ?? 'virtual'}`
}

export interface ModuleRunnerOptions {
  /** Checked by `validateModule`. */
  module: AnyModule
  context: PluginContext<object>
  clock: Clock
  log: Logger
}

/** Calls a module: in the allowed order, with its context, and with an eye on the time that each callback takes. */
export class ModuleRunner {
  readonly #module: AnyModule
  readonly #context: PluginContext<object>
  readonly #clock: Clock
  readonly #log: Logger
  readonly #reported = new Set<CallbackName>()
  #hasConnected = false

  constructor(options: ModuleRunnerOptions) {
    this.#module = options.module
    this.#context = options.context
    this.#clock = options.clock
    this.#log = options.log
  }

  /** Whether the module's `connect` has ever finished: from then on its metadata is known. */
  get hasConnected(): boolean {
    return this.#hasConnected
  }

  /** Calls the module's own `constructor`, if it has one. Throws what that throws. */
  construct(options: object): void {
    const construct = constructorOf(this.#module)
    if (typeof construct === 'function') Reflect.apply(construct, this.#module, [this.#context, options])
  }

  /**
   * Calls `connect`, then checks the metadata that the module provides from then on.
   * @throws what the module throws; InvalidFieldsError naming what is wrong with its metadata
   */
  async connect(options: object): Promise<void> {
    await this.#module.connect(this.#context, options)
    const known = this.#hasConnected
    this.#hasConnected = true
    try {
      const { prefix } = this.getInfo()
      checkAddress('getAccount', this.getAccount(), prefix)
      checkAddress('getPeerAccount', this.getPeerAccount(), prefix)
    } catch (error) {
      this.#hasConnected = known
      // Its connect has succeeded, so it may hold what only its disconnect gives back.
      await this.disconnect().catch(() => undefined)
      throw error
    }
  }

  async disconnect(): Promise<void> {
    await this.#module.disconnect(this.#context)
  }

  /**
   * The token that the module supplies; `undefined` when it supplies none.
   * @throws what the module throws; InvalidFieldsError when it returns no string
   */
  getAuthToken(): string | undefined {
    const module = this.#module
    if (module.getAuthToken === undefined) return undefined
    const token: unknown = this.#timed('getAuthToken', () => module.getAuthToken?.(this.#context))
    if (typeof token !== 'string') throw new InvalidFieldsError("the module's getAuthToken must return a string")
    return token
  }

  /**
   * The module's ledger info, as a copy of its own.
   * @throws UnreachableError before `connect` has finished (H40); InvalidFieldsError when it is no info with a prefix
   */
  getInfo(): LedgerInfo {
    this.#mustHaveConnected('getInfo')
    const text = JSON.stringify(this.#timed('getInfo', () => this.#module.getInfo(this.#context))) as string | undefined
    const info: unknown = text === undefined ? undefined : JSON.parse(text)
    if (typeof info !== 'object' || info === null || typeof (info as Partial<LedgerInfo>).prefix !== 'string') {
      throw new InvalidFieldsError("the module's getInfo must return an object with a prefix")
    }
    return info as LedgerInfo
  }

  /** @throws UnreachableError before `connect` has finished (H40) */
  getAccount(): string {
    this.#mustHaveConnected('getAccount')
    return this.#timed('getAccount', () => this.#module.getAccount(this.#context))
  }

  /** @throws UnreachableError before `connect` has finished (H40) */
  getPeerAccount(): string {
    this.#mustHaveConnected('getPeerAccount')
    return this.#timed('getPeerAccount', () => this.#module.getPeerAccount(this.#context))
  }

  /** @throws what the module throws: the transfer is refused then */
  handleIncomingPrepare(transfer: IncomingTransfer): Promise<void> {
    return this.#watched('handleIncomingPrepare', () => this.#module.handleIncomingPrepare(this.#context, transfer))
  }

  createOutgoingClaim(balance: string): Promise<JsonValue | undefined> {
    return this.#watched('createOutgoingClaim', () => this.#module.createOutgoingClaim(this.#context, balance))
  }

  handleIncomingClaim(claim: JsonValue): Promise<unknown> {
    return this.#watched('handleIncomingClaim', () => this.#module.handleIncomingClaim(this.#context, claim))
  }

  #mustHaveConnected(name: CallbackName): void {
    if (!this.#hasConnected) throw new UnreachableError(`${name} can be asked once connect() has succeeded`)
  }

  #timed<T>(name: CallbackName, call: () => T): T {
    const began = this.#clock.now()
    try {
      return call()
    } finally {
      if (this.#clock.now() - began > CALLBACK_LIMIT_MS) this.#report(name)
    }
  }

  /** A timer tells of a callback that never ends; the clock tells of one that blocked the timers. */
  async #watched<T>(name: CallbackName, call: () => Promise<T> | T): Promise<T> {
    if (this.#reported.has(name)) return await call()
    const cancel = this.#clock.setTimer(CALLBACK_LIMIT_MS + 1, () => { this.#report(name) })
    const began = this.#clock.now()
    try {
      return await call()
    } finally {
      cancel()
      if (this.#clock.now() - began > CALLBACK_LIMIT_MS) this.#report(name)
    }
  }

  #report(name: CallbackName): void {
    if (this.#reported.has(name)) return
    this.#reported.add(name)
    this.#log.warn(`the module's ${name} takes longer than ${CALLBACK_LIMIT_MS} ms while the peer waits`)
  }
}

function checkAddress(callback: CallbackName, address: unknown, prefix: string): void {
  if (typeof address !== 'string' || address.length <= prefix.length || !address.startsWith(prefix)) {
    throw new InvalidFieldsError(`the module's ${callback} must return an address that begins with ${printable(prefix)}`)
  }
}
