/**
 * The plugin: the Ledger Plugin Interface v1 (RFC 4) over one ledger, one link and one settlement engine. Imports core, btp and
 * ledger; whatever belongs to a platform comes in as the environment, which the entries provide.
 */
import { formatAmount } from '../core/amounts.js'
import { printable, toHex } from '../core/bytes.js'
import {
  AlreadyRolledBackError, InvalidFieldsError, MissingFulfillmentError, StandbyError, TransferNotFoundError, UnreachableError,
  isTemporary, messageOf
} from '../core/errors.js'
import { parseTransferId } from '../core/ids.js'
import type { Logger } from '../core/log.js'
import type { Store } from '../core/store.js'
import type { Acceptor } from '../core/transport.js'
import { Doorkeeper, doorkeeperOf } from '../btp/doorkeeper.js'
import { Link } from '../btp/link.js'
import type { RequestPacket, SubProtocol } from '../btp/packets.js'
import type { Session } from '../btp/session.js'
import { Backend } from '../ledger/backend.js'
import { Committer } from '../ledger/committer.js'
import { Ledger } from '../ledger/ledger.js'
import type { TransferWithInfo } from '../ledger/records.js'
import { TransferLog } from '../ledger/transfer-log.js'
import type { Account, PluginEvents } from './account.js'
import { Authenticator } from './authenticator.js'
import { Courier } from './courier.js'
import { Deferred } from './deferred.js'
import { SafeEmitter } from './emitter.js'
import type { Environment } from './environment.js'
import { Identity } from './identity.js'
import { Incoming } from './incoming.js'
import { checkFulfillment, checkIlp, checkMessage, checkTransfer } from './lpi-checks.js'
import type { Addresses } from './lpi-checks.js'
import type {
  ConnectOptions, DisconnectOptions, LedgerInfo, LedgerPluginV1, Message, OutgoingMessage, OutgoingTransfer, RejectionReason,
  RequestHandler, Transfer
} from './lpi.js'
import { ModuleRunner, logNameOf, validateModule } from './module.js'
import type { AnyModule } from './module.js'
import { isAcceptor, parseOptions } from './options.js'
import type { Credentials, PluginOptions, PluginServices, Settings } from './options.js'
import { Outgoing } from './outgoing.js'
import { Requests } from './requests.js'
import { Rpc } from './rpc.js'
import { Settlement } from './settlement.js'
import { askBalance, askInfo, askLimit } from './side-protocols.js'

const CONNECT_TIMEOUT_MS = 5000
const LEDGER_ID_KEY = 'paychan:id'
const DRAIN_POLL_MS = 25
/** When a peer is asked again that could not tell its info. */
const ASK_AGAIN_MS = 1000

/** A transfer that has not come to its end. */
export interface InFlightTransfer {
  transfer: Transfer
  isIncoming: boolean
  /** When it was prepared, in milliseconds since 1970. */
  preparedAt: number
}

export interface HistoryOptions {
  /** The `cursor` of the last entry of the page before. Default: the newest. */
  before?: string
  /** The most entries to return, from 1 to 1000. Default 50. */
  limit?: number
}

/** A transfer of whatever state, with its place in time. */
export interface HistoryEntry extends TransferWithInfo<Transfer> {
  /** When it was prepared, in milliseconds since 1970. */
  preparedAt: number
  /** For `before`. */
  cursor: string
}

/** Where the plugin stands between `connect()` and `disconnect()`. */
type Phase = 'idle' | 'connecting' | 'ready' | 'disconnecting'

export class LedgerPlugin extends SafeEmitter<PluginEvents> implements LedgerPluginV1 {
  readonly #environment: Environment
  readonly #settings: Settings
  readonly #log: Logger
  readonly #options: PluginOptions
  readonly #module: ModuleRunner | undefined
  readonly #identity: Identity
  readonly #authenticator: Authenticator
  readonly #committer: Committer
  readonly #ledger: Ledger<Transfer>
  readonly #courier: Courier
  readonly #settlement: Settlement | undefined
  readonly #outgoing: Outgoing
  readonly #incoming: Incoming
  readonly #requests: Requests
  readonly #acceptor: Acceptor | undefined
  /** For those who dial in, while this side listens. */
  #doorkeeper: Doorkeeper | undefined
  /** For sockets that a host hands in. */
  readonly #reception: Doorkeeper
  #link: Link | undefined
  #opening: Promise<Link> | undefined
  #phase: Phase = 'idle'
  /** The connect that is under way. What it has yet to do, it must not do once it is here no more. */
  #attempt: Deferred<void> | undefined
  /** Whatever closes: disconnect(), a connect that failed, the loss of the store, a fatal error. */
  #disconnecting: Promise<void> | undefined
  /** What requests of the peer wait for that came before the first connect is through. */
  #whenReady: Array<{ resolve: () => void; reject: (error: Error) => void }> = []
  #fatal: Error | undefined
  /** Whether `connect` was raised for the session that is there. */
  #hasGreeted = false
  /** The session on which the peer's info was asked last. */
  #informedBy: Session | undefined

  constructor(environment: Environment, module: AnyModule | undefined, options: PluginOptions, services: PluginServices = {}) {
    super(message => { this.#log.warn(message) })
    if (module !== undefined) validateModule(module)
    this.#environment = environment
    this.#options = options
    this.#settings = parseOptions(options, services, { module: module !== undefined, token: module?.getAuthToken !== undefined })
    const { log, listener } = this.#settings
    this.#log = log === undefined ? environment.debugLogger(logNameOf(module?.pluginName)) : environment.hostLogger(log)
    this.#acceptor = listener === undefined ? undefined : this.#acceptorOf(listener)
    this.#reception = new Doorkeeper({ clock: environment.clock, log: this.#log }, this.#acceptor && {
      authTimeoutMs: this.#acceptor.authTimeoutMs,
      maxUnauthenticated: this.#acceptor.maxUnauthenticated
    })
    this.#committer = new Committer({
      store: this.#storeOf(),
      clock: environment.clock,
      log: this.#log,
      owner: toHex(environment.random.bytes(16)),
      onLost: () => { this.#standBy() }
    })
    this.#ledger = new Ledger(this.#committer, '', this.#settings.limits)
    this.#courier = new Courier({ clock: environment.clock, session: () => this.#link?.session })
    const rpc = new Rpc(body => this.#send(body))
    this.#module = module === undefined ? undefined : this.#runnerOf(module, rpc)
    this.#identity = new Identity(this.#settings, this.#module)
    this.#authenticator = new Authenticator(this.#settings, this.#module)
    this.#settlement = this.#module === undefined ? undefined : this.#settlementOf(this.#module)
    const account = this.#makeAccount()
    this.#outgoing = new Outgoing(account)
    this.#incoming = new Incoming(account)
    this.#requests = new Requests({
      account, identity: this.#identity, incoming: this.#incoming, outgoing: this.#outgoing, rpc, send: body => this.#send(body)
    })
    this.#module?.construct(options)
  }

  // ---- parts

  #storeOf(): Store {
    const { store, keyValueStore } = this.#settings
    if (store !== undefined) return store
    return keyValueStore === undefined ? this.#environment.memoryStore() : this.#environment.wrapKeyValueStore(keyValueStore)
  }

  #acceptorOf(listener: NonNullable<Settings['listener']>): Acceptor {
    if (isAcceptor(listener)) return listener
    const { createListener } = this.#environment
    if (createListener === undefined) throw new InvalidFieldsError('listener is for Node: a browser can only dial')
    return createListener(listener)
  }

  #runnerOf(module: AnyModule, rpc: Rpc): ModuleRunner {
    const { clock } = this.#environment
    const context = {
      state: {},
      rpc,
      backend: new Backend(this.#committer, clock),
      transferLog: new TransferLog<Transfer>(this.#ledger, () => clock.now()),
      plugin: this
    }
    return new ModuleRunner({ module, context, clock, log: this.#log })
  }

  #settlementOf(module: ModuleRunner): Settlement {
    const { clock, random } = this.#environment
    return new Settlement({
      clock,
      random,
      log: this.#log,
      module,
      records: {
        read: name => this.#committer.store.get(`:paychan:${name}`),
        write: (name, value) => this.#committer.submit(group => { group.put(`:paychan:${name}`, value) })
      },
      outgoingFulfilled: async () => formatAmount((await this.#ledger.sums()).outgoingFulfilled),
      request: body => this.#send(body),
      session: () => this.#link?.session
    })
  }

  #makeAccount(): Account {
    const { clock } = this.#environment
    const { expiryMarginMs, graceMs } = this.#settings
    return {
      clock,
      log: this.#log,
      ledger: this.#ledger,
      courier: this.#courier,
      module: this.#module,
      settlement: this.#settlement,
      expiryMarginMs,
      graceMs,
      session: () => this.#link?.session,
      address: () => this.#identity.account(),
      peerAddress: () => this.#identity.peerAccount(),
      info: () => this.#identity.current(),
      askPeerBalance: () => askBalance(body => this.#send(body)),
      emit: (event, ...args) => { this.emit(event, ...args) }
    }
  }

  async #send(body: Parameters<Link['request']>[0]): ReturnType<Link['request']> {
    if (this.#link === undefined) throw new UnreachableError('not connected to the peer')
    return this.#link.request(body)
  }

  /** Whether there is a store: a client without one takes the peer's word for the balance. */
  get #keepsBooks(): boolean {
    return this.#settings.store !== undefined || this.#settings.keyValueStore !== undefined
  }

  // ---- connecting

  /**
   * Connects: takes the store over, listens or dials, learns the ledger's info, connects the module, and takes up what is in flight.
   * A listener's resolves when it listens; a client's when it is authenticated. Calls while one is under way share it; when
   * connected it does nothing. A failed connect can be repeated.
   *
   * @param options `timeout`: milliseconds to reach the peer, default (and 0) 5000; `Infinity` is valid. The module's own connect
   *   takes its time beyond that
   * @throws TypeError when the timeout is no number; InvalidFieldsError when credentials are missing; NotAcceptedError when they are
   *   refused; UnreachableError at the time-out, or when the port cannot be bound; StoreError; what the module's connect throws
   */
  async connect(options: ConnectOptions = {}): Promise<void> {
    const timeout: unknown = options.timeout ?? CONNECT_TIMEOUT_MS
    if (typeof timeout !== 'number' || Number.isNaN(timeout)) throw new TypeError('timeout must be a number of milliseconds')
    // How that ends is told to who asked for it.
    while (this.#disconnecting !== undefined) await this.#disconnecting.catch(() => undefined)
    this.#mustBeUsable()
    if (this.#phase === 'ready') return
    this.#attempt ??= this.#begin(timeout === 0 ? CONNECT_TIMEOUT_MS : timeout)
    await this.#attempt.promise
  }

  #begin(timeoutMs: number): Deferred<void> {
    const attempt = new Deferred<void>()
    this.#attempt = attempt
    this.#phase = 'connecting'
    this.#establish(attempt, this.#environment.clock.now() + timeoutMs).then(attempt.resolve, (error: unknown) => {
      // Unless it was given up before: whoever did that closes, and tells why.
      if (this.#attempt === attempt) void this.#shut(error instanceof Error ? error : new UnreachableError(messageOf(error)))
    })
    return attempt
  }

  async #establish(attempt: Deferred<void>, deadline: number): Promise<void> {
    const { server } = this.#settings
    if (server !== undefined) await this.#authenticator.checkPresent()
    await this.#committer.takeOver()
    await this.#ledger.load()
    const link = await this.#openLink()
    this.#mustBeCurrent(attempt)
    if (this.#acceptor !== undefined) {
      this.#doorkeeper = doorkeeperOf(this.#acceptor, { clock: this.#environment.clock, log: this.#log })
      await this.#doorkeeper.admit(link)
      this.#mustBeCurrent(attempt)
    }
    if (server !== undefined && this.#acceptor !== undefined) link.start()
    else if (server !== undefined) await this.#dial(link, attempt, deadline)
    if (this.#module !== undefined) await this.#connectModule(this.#module)
    this.#mustBeCurrent(attempt)
    if (link.session !== undefined) this.#identity.meet(link.session, await this.#ledgerId())
    this.#mustBeCurrent(attempt)
    this.#becomeReady(link)
  }

  /** A disconnect() or another owner of the store may have come in between. */
  #mustBeCurrent(attempt: Deferred<void>): void {
    if (this.#attempt !== attempt) throw new UnreachableError('disconnected while connecting')
  }

  /** Dials until authenticated and introduced: a connection that is lost in between is dialled again, until the time is over. */
  async #dial(link: Link, attempt: Deferred<void>, deadline: number): Promise<void> {
    const { clock } = this.#environment
    const leftMs = (): number => Math.max(0, deadline - clock.now())
    for (;;) {
      await link.connect(leftMs())
      this.#mustBeCurrent(attempt)
      if (!this.#identity.needsPeer) return
      const { session } = link
      try {
        const timeoutMs = Math.min(this.#settings.answerTimeoutMs, leftMs())
        this.#identity.learn(await askInfo(body => link.request(body, { timeoutMs })))
        this.#informedBy = session
        return
      } catch (error) {
        if (!isTemporary(error) || leftMs() === 0) throw error
      }
      // A peer that is there and cannot tell yet is asked again later (C24).
      if (link.session === session) {
        await new Promise<void>(resolve => { clock.setTimer(Math.min(ASK_AGAIN_MS, leftMs()), resolve, { keepsProcessAlive: true }) })
      }
    }
  }

  async #connectModule(module: ModuleRunner): Promise<void> {
    await module.connect(this.#options)
    const prefix = this.#settings.prefix ?? this.#settings.info?.prefix
    if (prefix !== undefined && prefix !== module.getInfo().prefix) throw new InvalidFieldsError("prefix must be the same as that of the module's info")
    await this.#settlement?.load()
  }

  #becomeReady(link: Link): void {
    this.#identity.becomeKnown()
    this.#attempt = undefined
    this.#phase = 'ready'
    this.#courier.start()
    this.#outgoing.resume()
    this.#incoming.resume()
    for (const { resolve } of this.#whenReady.splice(0)) resolve()
    if (link.session !== undefined) this.#greet()
  }

  /** The link outlives connects and disconnects; sockets may be added before the first. */
  async #openLink(): Promise<Link> {
    this.#opening ??= this.#makeLink().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #makeLink(): Promise<Link> {
    const { clock, random, dial } = this.#environment
    const { server, answerTimeoutMs, heartbeatMs, heartbeatTimeoutMs, reconnectMinMs, reconnectMaxMs } = this.#settings
    const ledgerId = await this.#ledgerId()
    this.#link = new Link({
      clock,
      random,
      log: this.#log,
      ledgerId,
      keepsNoBooks: !this.#keepsBooks,
      ...(server === undefined ? {} : { dial: { dial, url: server.url, credentials: () => this.#credentials() } }),
      authenticate: credentials => this.#accepts(credentials),
      handleRequest: packet => this.#handle(packet),
      onUp: session => {
        this.#identity.meet(session, ledgerId)
        if (this.#phase === 'ready') this.#greet()
      },
      onDown: () => { this.#part() },
      authTimeoutMs: this.#acceptor?.authTimeoutMs ?? 2000,
      answerTimeoutMs,
      heartbeatMs,
      heartbeatTimeoutMs,
      reconnectMinMs,
      reconnectMaxMs
    })
    return this.#link
  }

  /**
   * Before each connection the store is looked at: of two processes over one store the one that lost it would otherwise take the
   * peer's connection back from the other, on and on.
   */
  async #credentials(): Promise<Credentials> {
    await this.#committer.checkNotLost()
    return this.#authenticator.credentials()
  }

  async #accepts(credentials: Credentials): Promise<boolean> {
    await this.#committer.checkNotLost()
    return this.#authenticator.accepts(credentials)
  }

  /** Random, kept with the ledger: peers of ours know each other by it. */
  async #ledgerId(): Promise<string> {
    await this.#committer.ready()
    const stored = await this.#committer.store.get(LEDGER_ID_KEY)
    if (stored !== undefined) return stored
    const id = toHex(this.#environment.random.bytes(16))
    await this.#committer.submit(group => { group.put(LEDGER_ID_KEY, id) })
    return id
  }

  /** A session is up, and both sides are known. */
  #greet(): void {
    this.#hasGreeted = true
    this.emit('connect')
    this.#courier.sessionUp()
    this.#settlement?.onSessionUp()
    if (this.#identity.needsPeer && this.#link?.session !== this.#informedBy) void this.#refreshInfo()
  }

  /** A session is gone: told where its beginning was. */
  #part(): void {
    if (!this.#hasGreeted) return
    this.#hasGreeted = false
    this.emit('disconnect')
  }

  /** A client that has its info from the peer asks anew on each session: it may have changed, but for its prefix. */
  async #refreshInfo(): Promise<void> {
    let info: LedgerInfo
    try {
      info = await askInfo(body => this.#send(body))
    } catch (error) {
      this.#log.debug(`the peer's info is not to be had now: ${printable(messageOf(error))}`)
      return
    }
    try {
      if (this.#identity.learn(info)) this.emit('info_change', this.#identity.info())
    } catch (error) {
      this.#fail(error instanceof Error ? error : new InvalidFieldsError(messageOf(error)))
    }
  }

  #handle(packet: RequestPacket): Promise<SubProtocol[]> {
    if (this.#phase !== 'ready') return this.#handleEarly(packet)
    if (this.#disconnecting !== undefined && packet.type === 'prepare') {
      return Promise.reject(new UnreachableError('disconnecting: no new transfer is taken'))
    }
    return this.#requests.handle(packet)
  }

  /** Calls of the peer's module are answered while ours connects, since both may need each other for that; all else waits. */
  async #handleEarly(packet: RequestPacket): Promise<SubProtocol[]> {
    const name = packet.type === 'message' ? packet.protocolData[0]?.protocolName : undefined
    const isCall = name !== undefined && !['ilp', 'custom', 'claim', 'info', 'balance', 'limit'].includes(name)
    if (this.#phase === 'disconnecting') throw new UnreachableError('this side is disconnecting')
    if (!isCall) await new Promise<void>((resolve, reject) => { this.#whenReady.push({ resolve, reject }) })
    return this.#requests.handle(packet)
  }

  // ---- disconnecting

  /**
   * Disconnects: calls that are under way reject with `outcome: 'unknown'`, and their transfers carry on at the next connect. Does
   * nothing when disconnected. Afterwards `connect` works again.
   *
   * @param options `drainMs`: how long to wait for what is in flight to become final, milliseconds; default 0. New transfers are
   *   refused meanwhile.
   * @throws what the module's disconnect throws, when all else is done
   */
  async disconnect({ drainMs = 0 }: DisconnectOptions = {}): Promise<void> {
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) throw new InvalidFieldsError('drainMs must be a number of milliseconds, 0 or more')
    if (this.#phase === 'idle' && this.#link?.session === undefined) return
    this.#disconnecting ??= this.#disconnect(drainMs).finally(() => { this.#disconnecting = undefined })
    await this.#disconnecting
  }

  async #disconnect(drainMs: number): Promise<void> {
    const wasReady = this.#phase === 'ready'
    if (wasReady) await this.#drain(drainMs)
    this.#phase = 'disconnecting'
    let failure: { error: unknown } | undefined
    if (wasReady) await this.#module?.disconnect().catch((error: unknown) => { failure = { error } })
    await this.#close(new UnreachableError(wasReady ? 'disconnected' : 'disconnected while connecting'))
    if (failure !== undefined) throw failure.error
  }

  async #drain(drainMs: number): Promise<void> {
    const { clock } = this.#environment
    const until = clock.now() + drainMs
    const isBusy = (): boolean => this.#fatal === undefined && this.#committer.owns &&
      (this.#outgoing.pending + this.#incoming.pending > 0 || this.inFlight().length > 0)
    while (clock.now() < until && isBusy()) {
      await new Promise<void>(resolve => { clock.setTimer(Math.min(DRAIN_POLL_MS, until - clock.now()), resolve, { keepsProcessAlive: true }) })
    }
  }

  /** Closes, unless something does so already. */
  #shut(reason: Error): Promise<void> {
    this.#disconnecting ??= this.#close(reason).finally(() => { this.#disconnecting = undefined })
    return this.#disconnecting
  }

  /** Ends everything that runs, in the order in which it depends on each other. */
  async #close(reason: Error): Promise<void> {
    const attempt = this.#attempt
    this.#attempt = undefined
    this.#phase = 'disconnecting'
    for (const { reject } of this.#whenReady.splice(0)) reject(reason)
    this.#courier.stop()
    this.#outgoing.stop()
    this.#incoming.stop()
    this.#settlement?.stop()
    await this.#link?.stop()
    if (this.#link !== undefined) await Promise.all([this.#doorkeeper?.dismiss(this.#link), this.#reception.dismiss(this.#link)])
    await this.#settlement?.idle()
    await this.#committer.settle()
    this.#committer.release()
    this.#phase = 'idle'
    attempt?.reject(reason)
  }

  /** Another process or tab has taken the store over: this one's sockets close, and it only reads, until it connects again. */
  #standBy(): void {
    this.#log.warn('standing by: the store has another owner now')
    void this.#shut(new StandbyError('another process or tab has taken the store over'))
  }

  /** No retry mends this (C53). */
  #fail(error: Error): void {
    if (this.#fatal !== undefined) return
    this.#fatal = error
    this.#log.error(`this instance cannot go on: ${error.message}`)
    void this.#shut(error)
    this.emit('error', error)
  }

  #mustBeUsable(): void {
    if (this.#fatal !== undefined) throw new UnreachableError(`this instance cannot be used any more: ${this.#fatal.message}`, { cause: this.#fatal })
  }

  #mustBeReady(): void {
    this.#mustBeUsable()
    if (this.#phase !== 'ready') throw new UnreachableError('call connect() first')
  }

  /** Whether there is an authenticated session with the peer, and its account is known. */
  isConnected(): boolean {
    return this.#phase === 'ready' && this.#link?.session !== undefined
  }

  /** The bound port of the listener; `undefined` while it does not listen. */
  get port(): number | undefined {
    return this.#acceptor?.port
  }

  /**
   * Adds a socket that somebody else opened: any object like a web socket. With credentials this side authenticates on it as the
   * client; without, the other side has to.
   * @throws InvalidFieldsError when it is no socket; NotAcceptedError when the credentials are refused; UnreachableError
   */
  async addSocket(socket: unknown, credentials?: Credentials): Promise<void> {
    this.#mustBeUsable()
    const connection = this.#environment.adoptSocket(socket)
    const link = await this.#openLink()
    if (credentials !== undefined) {
      await link.addClientSocket(connection, this.#authenticator.check(credentials))
      return
    }
    await this.#reception.admit(link)
    this.#reception.receive(connection)
  }

  // ---- what is known

  /** The ledger's info, in a copy of the caller's own. @throws UnreachableError before the first connect */
  getInfo(): LedgerInfo {
    this.#mustBeUsable()
    return this.#identity.info()
  }

  /** The ILP address of this side. @throws UnreachableError before the first connect */
  getAccount(): string {
    this.#mustBeUsable()
    return this.#identity.account()
  }

  /** The ILP address of the peer. @throws UnreachableError before the first connect */
  getPeerAccount(): string {
    this.#mustBeUsable()
    return this.#identity.peerAccount()
  }

  #addresses(): Addresses {
    return { account: this.getAccount(), peer: this.getPeerAccount(), prefix: this.#identity.prefix }
  }

  /**
   * Fulfilled incoming minus fulfilled outgoing transfers, in base units. Without a store the peer is asked.
   * @throws UnreachableError without a store when the peer cannot be asked; StoreError
   */
  async getBalance(): Promise<string> {
    this.#mustBeUsable()
    if (!this.#keepsBooks) return this.getPeerBalance()
    const { incomingFulfilled, outgoingFulfilled } = await this.#ledger.sums()
    return formatAmount(incomingFulfilled.minus(outgoingFulfilled))
  }

  /** The balance as the peer keeps it, seen from this side: equal to `getBalance()` when nothing is in flight. @throws UnreachableError */
  async getPeerBalance(): Promise<string> {
    this.#mustBeReady()
    return askBalance(body => this.#send(body))
  }

  /** The lowest balance that the peer lets this side have, in base units: minus its maximum. @throws UnreachableError */
  async getLimit(): Promise<string> {
    this.#mustBeReady()
    return askLimit(body => this.#send(body))
  }

  /**
   * The preimage of a fulfilled transfer, base64url.
   * @throws MissingFulfillmentError while it is prepared; AlreadyRolledBackError; TransferNotFoundError; InvalidFieldsError
   */
  async getFulfillment(transferId: string): Promise<string> {
    this.#mustBeUsable()
    const id = parseTransferId(transferId, 'transferId')
    const info = (await this.#ledger.find(id))?.info
    if (info === undefined) throw new TransferNotFoundError(`no transfer has the id ${id}`)
    if (info.state === 'cancelled') throw new AlreadyRolledBackError(`transfer ${id} is rolled back`)
    if (info.fulfillment === undefined) throw new MissingFulfillmentError(`transfer ${id} is not fulfilled yet`)
    return info.fulfillment
  }

  /** The transfers that have not come to their end, the oldest first. Also those from before a restart, once connected. */
  inFlight(): InFlightTransfer[] {
    this.#mustBeUsable()
    return [...this.#ledger.open]
      .filter(({ info }) => info.state === 'prepared')
      .map(({ info, open }) => ({ transfer: structuredClone(info.transfer), isIncoming: info.isIncoming, preparedAt: open?.at ?? 0 }))
      .sort((a, b) => a.preparedAt - b.preparedAt)
  }

  /**
   * A page of all transfers, newest first. Reads no more than the page.
   * @throws InvalidFieldsError naming the option; StoreError
   */
  async history({ before, limit = 50 }: HistoryOptions = {}): Promise<HistoryEntry[]> {
    this.#mustBeUsable()
    if (!Number.isInteger(limit) || limit < 1 || limit > 1000) throw new InvalidFieldsError('limit must be an integer from 1 to 1000')
    if (before !== undefined && !/^\d{13}\..+$/.test(before)) throw new InvalidFieldsError('before must be the cursor of an entry')
    const { entries } = await this.#ledger.history(before, limit)
    return structuredClone(entries)
  }

  /**
   * Forgets final transfers that were prepared before a time and have expired. Sums and balance stay; a late repeat of one of them
   * is refused as expired. Returns how many went.
   * @param options `before`: a Date, or milliseconds since 1970
   * @throws InvalidFieldsError; StoreError
   */
  async prune({ before }: { before: Date | number }): Promise<number> {
    this.#mustBeUsable()
    const time = Number(before)
    if (!Number.isFinite(time) || time < 0) throw new InvalidFieldsError('before must be a Date, or milliseconds since 1970')
    const over = this.#environment.clock.now() - this.#settings.graceMs
    return this.#ledger.prune(time, ({ transfer }) => Date.parse(transfer.expiresAt) < over)
  }

  // ---- transfers

  /**
   * Prepares an outgoing transfer. Resolves when the peer holds it, durably, and stays pending over reconnects until the peer has
   * answered or the transfer is final. An exact repeat of a transfer in flight waits for the same answer.
   *
   * @throws InvalidFieldsError naming the field; AccountNotFoundError; DuplicateIdError; InsufficientBalanceError when our own limit
   *   does not allow it; NotAcceptedError when the peer refuses; UnreachableError without a session (then nothing was stored), or when
   *   it expired unanswered, or with `outcome: 'unknown'` at a disconnect; StoreError
   */
  async sendTransfer(transfer: OutgoingTransfer): Promise<void> {
    this.#mustBeReady()
    if (this.#disconnecting !== undefined) throw new UnreachableError('disconnecting: no new transfer is taken')
    await this.#outgoing.send(checkTransfer(transfer, this.#addresses()))
  }

  /**
   * Fulfills an incoming transfer. Resolves when the sender has taken the preimage, and its claim was handed to the module. Without
   * a session the preimage is stored, and sent on the next one. Again with the same fulfillment: succeeds, nothing changes.
   *
   * @param fulfillment the preimage: 32 bytes, base64url
   * @param ilp a packet for the sender's host, base64url
   * @throws InvalidFieldsError; TransferNotFoundError; NotAcceptedError when it does not match the condition; AlreadyRolledBackError
   *   when it is too late here, or was on the sender's side; UnreachableError with `outcome: 'unknown'` at a disconnect; StoreError
   */
  async fulfillCondition(transferId: string, fulfillment: string, ilp?: string): Promise<void> {
    this.#mustBeReady()
    const packet = ilp === undefined ? undefined : checkIlp(ilp)
    await this.#incoming.fulfill(parseTransferId(transferId, 'transferId'), checkFulfillment(fulfillment), packet)
  }

  /**
   * Rejects an incoming transfer. Resolves when the sender has answered, or its time is over.
   * @param reason an LPI RejectionMessage; what it lacks is filled in, and it may be absent
   * @throws InvalidFieldsError; TransferNotFoundError; AlreadyFulfilledError; NotAcceptedError when this side sent it; UnreachableError
   *   with `outcome: 'unknown'` at a disconnect; StoreError
   */
  async rejectIncomingTransfer(transferId: string, reason?: RejectionReason): Promise<void> {
    this.#mustBeReady()
    await this.#incoming.reject(parseTransferId(transferId, 'transferId'), reason)
  }

  // ---- messages

  /**
   * Sends a message to the peer's host and resolves with its answer.
   * @throws InvalidFieldsError naming the field; AccountNotFoundError; NoSubscriptionsError when no handler is registered there;
   *   NotAcceptedError; UnreachableError without a session, or without an answer in time
   */
  async sendRequest(message: OutgoingMessage): Promise<Message> {
    this.#mustBeReady()
    return this.#requests.ask(checkMessage(message, this.#addresses()))
  }

  /** Sets the handler of the peer's messages. @throws RequestHandlerAlreadyRegisteredError; InvalidFieldsError for what is no function */
  registerRequestHandler(handler: RequestHandler): void {
    this.#mustBeUsable()
    this.#requests.register(handler)
  }

  /** Takes the handler of the peer's messages away, if there is one. */
  deregisterRequestHandler(): void {
    this.#requests.deregister()
  }
}
