/**
 * The plugin between `connect()` and `disconnect()`: takes the store over, listens or dials, learns who is who, connects the module,
 * and ends all that again, from whatever point. Imports core, btp and ledger.
 */
import { printable, printableMessage, toHex } from '../core/bytes.js'
import { EmptiedStoreError, InvalidFieldsError, PaychanError, StandbyError, UnreachableError, isTemporary, messageOf } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import { sleep, waitAtMost } from '../core/timers.js'
import { Turns } from '../core/turns.js'
import type { Acceptor } from '../core/transport.js'
import { LEDGER_ID, PAYCHAN } from '../btp/auth.js'
import { Doorkeeper, doorkeeperOf } from '../btp/doorkeeper.js'
import { Link } from '../btp/link.js'
import type { Packet, RequestPacket, ResponsePacket, SubProtocol } from '../btp/packets.js'
import { find } from '../btp/protocol-data.js'
import { readComparison } from '../btp/reconcile.js'
import type { RequestBody, Reply, Session } from '../btp/session.js'
import type { Committer } from '../ledger/committer.js'
import type { Ledger } from '../ledger/ledger.js'
import { damaged } from '../ledger/records.js'
import type { Account, Role } from './account.js'
import type { Authenticator } from './authenticator.js'
import type { Courier } from './courier.js'
import type { Data } from './data.js'
import { Deferred } from './deferred.js'
import type { Environment } from './environment.js'
import type { Identity } from './identity.js'
import type { Incoming } from './incoming.js'
import type { ConnectOptions, DisconnectOptions, LedgerInfo, Transfer } from './lpi.js'
import type { ModuleRunner } from './module.js'
import type { Money } from './money.js'
import { checkCredentials } from './options.js'
import type { Credentials, PluginOptions, Settings } from './options.js'
import type { Outgoing } from './outgoing.js'
import type { Reconcile } from './reconcile.js'
import type { Requests } from './requests.js'
import type { Settlement } from './settlement.js'
import { askInfo } from './side-protocols.js'
import type { Tenure } from './tenure.js'

const CONNECT_TIMEOUT_MS = 5000
const LEDGER_ID_KEY = 'paychan:id'
const DRAIN_POLL_MS = 25
/** When a peer is asked again that could not tell its info. */
const ASK_AGAIN_MS = 1000
/** When a take-over that has failed is tried again, in case nobody else does. */
const SUCCEED_AGAIN_MS = 1000

/** Where the plugin stands. */
type Phase = 'idle' | 'connecting' | 'standby' | 'ready' | 'disconnecting'

/** What is connected. */
export interface Parts {
  readonly environment: Environment
  readonly settings: Settings
  /** As the host gave them, for the module. */
  readonly options: PluginOptions
  readonly log: Logger
  readonly acceptor: Acceptor | undefined
  readonly module: ModuleRunner | undefined
  readonly identity: Identity
  readonly authenticator: Authenticator
  readonly committer: Committer
  readonly ledger: Ledger<Transfer>
  readonly courier: Courier
  readonly settlement: Settlement | undefined
  readonly outgoing: Outgoing
  readonly incoming: Incoming
  readonly data: Data
  readonly money: Money
  readonly reconcile: Reconcile
  readonly requests: Requests
  readonly emit: Account['emit']
  /** Where the store is shared with others. */
  readonly tenure: Tenure | undefined
  readonly onRole: (role: Role) => void
  /** Shows a packet to the host. */
  readonly observe: (direction: 'in' | 'out', packet: Packet) => void
}

/** Whether there is a store: a client without one takes the peer's word for the balance. */
export function keepsBooks({ store, keyValueStore }: Settings): boolean {
  return store !== undefined || keyValueStore !== undefined
}

export class Lifecycle {
  readonly #parts: Parts
  /** What goes to the peer and comes from it, and is taken up at each connect. */
  readonly #traffic: ReadonlyArray<Outgoing | Incoming | Data | Money>
  /** For those who dial in, while this side listens. */
  #doorkeeper: Doorkeeper | undefined
  /** For sockets that a host hands in. */
  readonly #reception: Doorkeeper
  #link: Link | undefined
  /** With which ledger id it was made. */
  #linkedId = ''
  readonly #openings = new Turns()
  #phase: Phase = 'idle'
  #role: Role = 'disconnected'
  /** Whether this instance stands by once it is closed. */
  #stays = false
  /** After it has taken over: until there is a session, or it is clear that this takes longer. */
  #settling: Deferred<void> | undefined
  /** The connect that is under way. What it has yet to do, it must not do once it is here no more. */
  #attempt: Deferred<void> | undefined
  /** Whatever closes: disconnect(), a connect that failed, the loss of the store, a fatal error. */
  #disconnecting: Promise<void> | undefined
  /** Of the session that is or was the last. */
  #peerLedgerId: string | undefined
  /** Of blank books. */
  readonly #checks = new Turns()
  /** What requests of the peer wait for that came before the first connect is through. */
  #whenReady: Array<{ resolve: () => void; reject: (error: Error) => void }> = []
  #fatal: Error | undefined
  #moduleIsConnected = false
  /** Whether `connect` was raised for the session that is there. */
  #hasGreeted = false
  /** The session on which the peer's info was asked last. */
  #informedBy: Session | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    this.#traffic = [parts.outgoing, parts.incoming, parts.data, parts.money]
    this.#reception = new Doorkeeper({ clock: this.#parts.environment.clock, log: this.#parts.log }, this.#parts.acceptor && {
      authTimeoutMs: this.#parts.acceptor.authTimeoutMs,
      maxUnauthenticated: this.#parts.acceptor.maxUnauthenticated
    })
  }

  /** The session that carries the traffic. */
  get session(): Session | undefined {
    return this.#link?.session
  }

  /** Whether there is a session, and all that a host may ask is known. */
  get isConnected(): boolean {
    return this.#phase === 'ready' && this.#link?.session !== undefined && !this.#isDue
  }

  /** Whether nothing may be traded before the peer was asked whether these books are new. */
  get #isDue(): boolean {
    return this.#parts.reconcile.isDue(this.#link?.session)
  }

  get role(): Role {
    return this.#role
  }

  /** Waits for the first session where this instance has just taken over, for as long as an answer is waited for. */
  async settled(): Promise<void> {
    await this.#settling?.promise
  }

  /** Whether new transfers are refused, since it disconnects. */
  get isDisconnecting(): boolean {
    return this.#disconnecting !== undefined
  }

  /** Sends a request on the current session. @throws UnreachableError when there is none */
  async send(body: RequestBody): Promise<ResponsePacket> {
    if (this.#link === undefined) throw new UnreachableError('not connected to the peer')
    return this.#link.request(body)
  }

  /** See `LedgerPlugin.addSocket`. */
  async addSocket(socket: unknown, credentials: Credentials | undefined): Promise<void> {
    if (this.#role === 'standby') throw new StandbyError('another process or tab holds the connection')
    const connection = this.#parts.environment.adoptSocket(socket)
    const link = await this.#openLink()
    if (credentials !== undefined) {
      await link.addClientSocket(connection, checkCredentials(credentials))
      return
    }
    await this.#reception.admit(link)
    this.#reception.receive(connection)
  }

  // ---- connecting

  /** See `LedgerPlugin.connect`. */
  async connect(options: ConnectOptions = {}): Promise<void> {
    const timeout: unknown = options.timeout ?? CONNECT_TIMEOUT_MS
    if (typeof timeout !== 'number' || Number.isNaN(timeout)) throw new TypeError('timeout must be a number of milliseconds')
    // How that ends is told to who asked for it.
    while (this.#disconnecting !== undefined) await this.#disconnecting.catch(() => undefined)
    this.mustBeUsable()
    if (this.#role !== 'disconnected') return
    this.#attempt ??= this.#begin(timeout === 0 ? CONNECT_TIMEOUT_MS : timeout)
    await this.#attempt.promise
  }

  #begin(timeoutMs: number): Deferred<void> {
    return this.#try(attempt => this.#join(attempt, timeoutMs), error => {
      // Who was first here has been overtaken by another: that one holds now.
      void this.#shut(error, { stays: this.#parts.tenure !== undefined && error instanceof StandbyError })
    })
  }

  #try(connect: (attempt: Deferred<void>) => Promise<void>, failed: (error: Error) => void): Deferred<void> {
    const attempt = new Deferred<void>()
    this.#attempt = attempt
    this.#phase = 'connecting'
    connect(attempt).then(attempt.resolve, (error: unknown) => {
      // Unless it was given up before: whoever did that closes, and tells why.
      if (this.#attempt === attempt && this.#disconnecting === undefined) failed(error instanceof Error ? error : new UnreachableError(messageOf(error)))
    })
    return attempt
  }

  async #join(attempt: Deferred<void>, timeoutMs: number): Promise<void> {
    if (this.#parts.settings.server !== undefined) await this.#parts.authenticator.checkPresent()
    this.#mustBeCurrent(attempt)
    await this.#parts.tenure?.join()
    this.#mustBeCurrent(attempt)
    if (this.#parts.tenure?.isHeld !== false) {
      await this.#establish(attempt, timeoutMs)
      return
    }
    await this.#parts.ledger.refresh()
    this.#mustBeCurrent(attempt)
    this.#attempt = undefined
    this.#wait()
    this.succeed()
  }

  #wait(): void {
    this.#parts.committer.standBy()
    this.#phase = 'standby'
    this.#setRole('standby')
  }

  /** Takes over, where this instance stands by and the hold is its own now. */
  succeed(): void {
    if (this.#phase !== 'standby' || this.#disconnecting !== undefined || this.#parts.tenure?.isHeld !== true) return
    this.#parts.log.info('taking over')
    this.#try(attempt => this.#establish(attempt, undefined), error => {
      this.#parts.log.warn(`taking over failed: ${printable(error.message)}`)
      void this.#shut(error, { stays: true, pauseMs: SUCCEED_AGAIN_MS })
    })
    const settling = new Deferred<void>()
    this.#settling = settling
    void settling.promise.then(this.#parts.environment.clock.setTimer(this.#parts.settings.answerTimeoutMs, settling.resolve))
  }

  #setRole(role: Role): void {
    if (this.#role === role) return
    this.#role = role
    this.#parts.onRole(role)
  }

  /** Without a time-out it is a take-over: nobody waits for it, and it goes on until the peer is there. */
  async #establish(attempt: Deferred<void>, timeoutMs: number | undefined): Promise<void> {
    const { server } = this.#parts.settings
    await this.#parts.committer.takeOver()
    // Where that took longer than this attempt, the store is not kept.
    if (this.#isGivenUp) this.#parts.committer.release()
    this.#mustBeCurrent(attempt)
    await this.#parts.ledger.load()
    await this.#parts.money.load()
    await this.#parts.reconcile.load()
    this.#mustBeCurrent(attempt)
    const link = await this.#openLink()
    this.#mustBeCurrent(attempt)
    if (this.#parts.acceptor !== undefined) {
      this.#doorkeeper = doorkeeperOf(this.#parts.acceptor, { clock: this.#parts.environment.clock, log: this.#parts.log })
      await this.#doorkeeper.admit(link)
      this.#mustBeCurrent(attempt)
    }
    // Whoever takes over knows its peer's info from the one before.
    const needsNoAnswer = this.#parts.acceptor !== undefined || (timeoutMs === undefined && this.#parts.identity.isKnown)
    if (server !== undefined && needsNoAnswer) link.start()
    else if (server !== undefined) await this.#dial(link, attempt, timeoutMs ?? Infinity)
    if (this.#parts.module !== undefined) await this.#connectModule(this.#parts.module)
    this.#mustBeCurrent(attempt)
    if (link.session !== undefined) {
      this.#parts.identity.meet(link.session, this.#linkedId)
      // Who has dialled tells the host what is wrong by its connect; elsewhere, and where the peer cannot tell now, it is asked after that.
      if (!needsNoAnswer) await this.#checkBooks(link.session).catch((error: unknown) => { if (!isForLater(error)) throw error })
    }
    this.#mustBeCurrent(attempt)
    this.#becomeReady(link)
  }

  /** Whether nobody wants to be connected any more: what an attempt has got by now goes with it. */
  get #isGivenUp(): boolean {
    return this.#attempt === undefined && this.#phase !== 'ready'
  }

  /** A disconnect() or another owner of the store may have come in between. */
  #mustBeCurrent(attempt: Deferred<void>): void {
    if (this.#attempt !== attempt || this.#disconnecting !== undefined) throw new UnreachableError('disconnected while connecting')
  }

  /** Dials until authenticated and introduced. @throws UnreachableError when that takes longer, by timers: the wall clock may jump */
  async #dial(link: Link, attempt: Deferred<void>, timeoutMs: number): Promise<void> {
    const introduced = this.#introduce(link, attempt, timeoutMs)
    if (timeoutMs === Infinity) await introduced
    else if (await waitAtMost(this.#parts.environment.clock, timeoutMs, introduced) === 'overdue') {
      throw new UnreachableError(`no connection within ${timeoutMs} ms: the peer does not tell its info`)
    }
  }

  /** A connection that is lost in between is dialled again. */
  async #introduce(link: Link, attempt: Deferred<void>, timeoutMs: number): Promise<void> {
    for (;;) {
      await link.connect(timeoutMs)
      this.#mustBeCurrent(attempt)
      if (!this.#parts.identity.needsPeer) return
      const { session } = link
      try {
        this.#parts.identity.learn(await askInfo(body => link.request(body)))
        this.#informedBy = session
        return
      } catch (error) {
        if (!isTemporary(error)) throw error
      }
      // A peer that is there and cannot tell yet is asked again later (C24).
      if (link.session === session) await sleep(this.#parts.environment.clock, ASK_AGAIN_MS, { keepsProcessAlive: true })
    }
  }

  async #connectModule(module: ModuleRunner): Promise<void> {
    await module.connect(this.#parts.options)
    this.#moduleIsConnected = true
    if (this.#isGivenUp) {
      await this.#letModuleGo()
      return
    }
    const prefix = this.#parts.settings.prefix ?? this.#parts.settings.info?.prefix
    if (prefix !== undefined && prefix !== module.getInfo().prefix) throw new InvalidFieldsError("prefix must be the same as the module's info.prefix")
    await this.#parts.settlement?.load()
  }

  #becomeReady(link: Link): void {
    this.#parts.identity.becomeKnown()
    this.#phase = 'ready'
    this.#parts.courier.start()
    for (const part of this.#traffic) part.resume()
    // Not before: what a module throws until here is the attempt's failure.
    this.#attempt = undefined
    this.#setRole('holder')
    this.#parts.tenure?.announce()
    this.#letGo()
    if (link.session !== undefined) this.#greet()
  }

  /** The link outlives connects and disconnects; sockets may be added before the first. */
  #openLink(): Promise<Link> {
    return this.#openings.take(async () => {
      const ledgerId = await this.#ledgerId()
      // Another one where the store was emptied meanwhile.
      if (this.#link === undefined || ledgerId !== this.#linkedId) this.#link = this.#makeLink(ledgerId)
      this.#linkedId = ledgerId
      return this.#link
    })
  }

  #makeLink(ledgerId: string): Link {
    const { clock, random, dial } = this.#parts.environment
    const { settings } = this.#parts
    const { server } = settings
    return new Link({
      // The times and the caps.
      ...settings,
      clock,
      random,
      log: this.#parts.log,
      ledgerId,
      keepsNoBooks: !keepsBooks(settings),
      ...(server === undefined ? {} : { dial: { dial, url: server.url, credentials: () => this.#credentials() } }),
      authenticate: credentials => this.#accepts(credentials),
      handleRequest: (packet, session, reply) => this.#handle(packet, session, reply),
      observe: this.#parts.observe,
      onUp: session => {
        this.#peerLedgerId = session.peer.ledgerId
        this.#parts.identity.meet(session, ledgerId)
        if (this.#phase === 'ready') this.#greet()
      },
      onDown: () => { this.#part() }
    })
  }

  /**
   * Before each connection the store is looked at: of two processes over one store the one that lost it would otherwise take the
   * peer's connection back from the other, on and on.
   */
  async #credentials(): Promise<Credentials> {
    await this.#parts.committer.checkNotLost()
    return this.#parts.authenticator.credentials()
  }

  async #accepts(credentials: Credentials): Promise<boolean> {
    await this.#parts.committer.checkNotLost()
    return this.#parts.authenticator.accepts(credentials)
  }

  /** Random, kept with the ledger: peers of ours know each other by it. */
  async #ledgerId(): Promise<string> {
    await this.#parts.committer.ready()
    const stored = await this.#parts.committer.get(LEDGER_ID_KEY)
    if (stored !== undefined) {
      if (!LEDGER_ID.test(stored)) throw damaged(LEDGER_ID_KEY, 'is no id')
      return stored
    }
    const id = toHex(this.#parts.environment.random.bytes(16))
    await this.#parts.committer.submit(group => { group.put(LEDGER_ID_KEY, id) })
    return id
  }

  /** One at a time: the session may be lost meanwhile, and another one come. */
  #checkBooks(session: Session): Promise<void> {
    return this.#checks.take(async () => {
      if (this.#link?.session !== session || !this.#parts.reconcile.isDue(session)) return
      // What is taken over names both accounts.
      if (this.#parts.settings.recovers) this.#parts.identity.becomeKnown()
      await this.#parts.reconcile.check(session)
    })
  }

  /** The books were filled from the peer's. What is connecting takes them up when it is through. */
  filled(): void {
    if (this.#phase !== 'ready') return
    for (const part of this.#traffic) {
      part.stop()
      part.resume()
    }
  }

  /** The books are blank: nothing is taken and no host hears of the session before it is clear that they are new. */
  async #greetAfterCheck(session: Session): Promise<void> {
    try {
      await this.#checkBooks(session)
    } catch (error) {
      if (this.#phase !== 'ready') return
      if (error instanceof EmptiedStoreError || !isTemporary(error)) {
        this.#fail(error instanceof Error ? error : new InvalidFieldsError(messageOf(error)))
        return
      }
      await sleep(this.#parts.environment.clock, ASK_AGAIN_MS)
    }
    if (this.#phase !== 'ready') return
    if (this.#link?.session === session) this.#greet()
    this.#letGo()
  }

  /** Whoever waits looks again. */
  #letGo(): void {
    for (const { resolve } of this.#whenReady.splice(0)) resolve()
  }

  /** A session is up, and both sides are known. */
  #greet(): void {
    const current = this.#link?.session
    if (current !== undefined && this.#isDue) {
      void this.#greetAfterCheck(current)
      return
    }
    this.#hasGreeted = true
    this.#settling?.resolve()
    this.#parts.emit('connect')
    this.#parts.courier.sessionUp()
    const session = this.#link?.session
    if (session !== undefined) {
      this.#parts.data.sessionUp(session)
      this.#parts.money.sessionUp(session)
      this.#parts.reconcile.sessionUp(session)
    }
    this.#parts.settlement?.onSessionUp()
    if (this.#parts.identity.needsPeer && this.#link?.session !== this.#informedBy) void this.#refreshInfo()
  }

  /** A session is gone: told where its beginning was. */
  #part(): void {
    if (this.#phase === 'ready') this.#letGo()
    if (!this.#hasGreeted) return
    this.#hasGreeted = false
    this.#parts.emit('disconnect')
  }

  /** A client that has its info from the peer asks anew on each session: it may have changed, but for its prefix. */
  async #refreshInfo(): Promise<void> {
    let info: LedgerInfo
    try {
      info = await askInfo(body => this.send(body))
    } catch (error) {
      this.#parts.log.debug(`the peer's info cannot be had now: ${printableMessage(error)}`)
      return
    }
    try {
      if (this.#parts.identity.learn(info)) this.#parts.emit('info_change', this.#parts.identity.info())
    } catch (error) {
      this.#fail(error instanceof Error ? error : new InvalidFieldsError(messageOf(error)))
    }
  }

  #handle(packet: RequestPacket, session: Session, reply: Reply): Promise<SubProtocol[] | undefined> | undefined {
    if (this.#phase !== 'ready' || this.#mustWait(packet, session)) return this.#handleEarly(packet, session, reply)
    if (this.#disconnecting !== undefined && (packet.type === 'prepare' || this.#parts.data.isForHost(packet))) {
      return Promise.reject(new UnreachableError('this side is disconnecting'))
    }
    return this.#parts.requests.handle(packet, session, reply)
  }

  /** Whether a request changes books, or what secures them, before it is clear that these are new. */
  #mustWait(packet: RequestPacket, session: Session): boolean {
    return this.#parts.reconcile.isDue(session) && movesValue(packet)
  }

  #untilReady(): Promise<void> {
    return new Promise<void>((resolve, reject) => { this.#whenReady.push({ resolve, reject }) })
  }

  /** What a host that sends has to wait for: that it is clear whether these books are new, or that the session is gone. */
  get comparing(): Promise<void> | undefined {
    return this.#phase === 'ready' && this.#isDue ? this.#untilCompared() : undefined
  }

  async #untilCompared(): Promise<void> {
    while (this.#phase === 'ready' && this.#isDue) await this.#untilReady()
  }

  /** Calls of the peer's module are answered while ours connects, since both may need each other for that; all else waits. */
  async #handleEarly(packet: RequestPacket, session: Session, reply: Reply): Promise<SubProtocol[] | undefined> {
    const name = packet.type === 'message' ? packet.protocolData[0]?.protocolName : undefined
    const isCall = name !== undefined && !['ilp', 'custom', 'claim', 'info', 'balance', 'limit', PAYCHAN].includes(name)
    if (this.#phase === 'disconnecting') throw new UnreachableError('this side is disconnecting')
    const arrivedAt = this.#parts.environment.clock.now()
    while (!isCall && (this.#phase !== 'ready' || this.#mustWait(packet, session))) await this.#untilReady()
    // What was sent by books that were emptied meanwhile must not be taken behind their comparison with ours.
    if (session.peer.ledgerId !== this.#peerLedgerId) throw new UnreachableError('the ledger is gone that sent it')
    return this.#parts.requests.handle(packet, session, reply, arrivedAt)
  }

  // ---- disconnecting

  /** See `LedgerPlugin.disconnect`. */
  async disconnect({ drainMs = 0 }: DisconnectOptions = {}): Promise<void> {
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) throw new InvalidFieldsError('drainMs must be a number of milliseconds, 0 or more')
    if (this.#phase === 'idle' && this.#link?.session === undefined) return
    if (this.#stays) this.#giveUpStaying()
    this.#disconnecting ??= this.#disconnect(drainMs).finally(() => { this.#disconnecting = undefined })
    await this.#disconnecting
  }

  async #disconnect(drainMs: number): Promise<void> {
    const wasReady = this.#phase === 'ready'
    // What the peer fulfills is taken until the connection ends, or its time would run out meanwhile.
    if (wasReady) await this.#drain(drainMs)
    else this.#phase = 'disconnecting'
    this.#setRole('disconnected')
    let failure: { error: unknown } | undefined
    // While the connection is still there: it may want to call the peer's module.
    await this.#disconnectModule().catch((error: unknown) => { failure = { error } })
    await this.#close(new UnreachableError(wasReady ? 'disconnected' : 'disconnected while connecting'))
    if (failure !== undefined) throw failure.error
  }

  /** Where its connect has succeeded: after the last claim of the peer was handed to it, so that it submits the best one. */
  async #disconnectModule(): Promise<void> {
    if (!this.#moduleIsConnected) return
    this.#moduleIsConnected = false
    this.#parts.settlement?.stop()
    this.#parts.money.stop()
    await Promise.all([this.#parts.settlement?.idle(), this.#parts.money.idle()])
    await this.#parts.module?.disconnect()
  }

  /** As `#disconnectModule`, where nobody is there to be told of its failure. */
  #letModuleGo(): Promise<void> {
    return this.#disconnectModule().catch((error: unknown) => { this.#parts.log.warn(`the module's disconnect failed: ${printableMessage(error)}`) })
  }

  /** How much waits for the peer, or for the host. */
  get #pending(): number {
    return this.#traffic.reduce((sum, { pending }) => sum + pending, 0)
  }

  async #drain(drainMs: number): Promise<void> {
    const { clock } = this.#parts.environment
    // By a timer, since a clock that is put back meanwhile would have it wait for as much longer.
    let isOver = drainMs === 0
    const cancelEnd = clock.setTimer(drainMs, () => { isOver = true }, { keepsProcessAlive: true })
    const isBusy = (): boolean => this.#fatal === undefined && this.#parts.committer.owns &&
      (this.#pending > 0 || this.#parts.ledger.open.some(({ info }) => info.state === 'prepared'))
    while (!isOver && isBusy()) await sleep(clock, DRAIN_POLL_MS, { keepsProcessAlive: true })
    cancelEnd()
  }

  #giveUpStaying(): void {
    this.#stays = false
    if (this.#disconnecting !== undefined) this.#setRole('disconnected')
  }

  /** Closes, unless something does so already. `stays`: to stand by from then on, and in line again after a pause. */
  #shut(reason: Error, { stays = false, pauseMs = 0 } = {}): Promise<void> {
    if (this.#disconnecting !== undefined) {
      // It may be waiting for the peer, or the module.
      this.#stopTraffic()
      void this.#link?.stop()
      return this.#disconnecting
    }
    this.#stays = stays
    const closed = new Deferred<void>()
    // First of all: a listener that hears of the end, and connects at once, has to wait for it.
    this.#disconnecting = closed.promise
    this.#close(reason, pauseMs)
      .finally(() => {
        this.#disconnecting = undefined
        this.succeed()
      })
      .then(() => { closed.resolve() }, (error: unknown) => { closed.reject(error) })
    return closed.promise
  }

  /** Ends everything that runs, in the order in which it depends on each other. */
  async #close(reason: Error, pauseMs = 0): Promise<void> {
    const attempt = this.#attempt
    this.#attempt = undefined
    this.#phase = 'disconnecting'
    this.#setRole(this.#stays ? 'standby' : 'disconnected')
    this.#settling?.resolve()
    // Whatever the reason is, nothing has been decided about what the peer asked: it may ask again.
    for (const { reject } of this.#whenReady.splice(0)) reject(new UnreachableError('this side cannot answer now'))
    // Where the host has not asked for the end, nothing waits for the module.
    void this.#letModuleGo()
    this.#stopTraffic()
    await this.#link?.stop()
    if (this.#link !== undefined) await Promise.all([this.#doorkeeper?.dismiss(this.#link), this.#reception.dismiss(this.#link)])
    await Promise.all([this.#parts.settlement?.idle(), this.#parts.money.idle()])
    await this.#parts.committer.settle()
    this.#parts.committer.release()
    if (this.#stays) {
      this.#wait()
      this.#parts.tenure?.requeue(pauseMs)
      attempt?.resolve()
      return
    }
    await this.#parts.tenure?.leave()
    this.#phase = 'idle'
    attempt?.reject(reason)
  }

  /** Ends all waiting for the peer and for the host. */
  #stopTraffic(): void {
    this.#parts.courier.stop()
    for (const part of this.#traffic) part.stop()
    this.#parts.settlement?.stop()
    this.#parts.reconcile.stop()
  }

  /**
   * Another process or tab has taken the store over: this one's sockets close, and it only reads. Where it can hear the others it
   * takes over again when they are gone; elsewhere when it connects again.
   */
  standBy(): void {
    this.#parts.log.warn('standing by')
    const isWanted = this.#role !== 'disconnected' || this.#attempt !== undefined
    void this.#shut(new StandbyError('another process or tab has taken the store over'), { stays: this.#parts.tenure !== undefined && isWanted })
  }

  /** No retry mends this (C53). */
  #fail(error: Error): void {
    if (this.#fatal !== undefined) return
    this.#fatal = error
    this.#giveUpStaying()
    this.#parts.log.error(`this instance cannot be used any more: ${error.message}`)
    void this.#shut(error)
    this.#parts.emit('error', error)
  }

  /** @throws UnreachableError after a fatal error */
  mustBeUsable(): void {
    if (this.#fatal !== undefined) throw new UnreachableError(`this instance cannot be used any more: ${this.#fatal.message}`, { cause: this.#fatal })
  }

  /** @throws UnreachableError after a fatal error, and while it is not connected; StandbyError while another instance is */
  mustBeReady(): void {
    this.mustBeUsable()
    if (this.#role === 'standby') throw new StandbyError('another process or tab holds the connection')
    if (this.#phase !== 'ready') throw new UnreachableError('call connect() first')
  }
}

/** Whether the peer can be asked again after that: unless it has answered, or it is the own store that fails. */
function isForLater(error: unknown): boolean {
  return error instanceof UnreachableError || (error instanceof PaychanError && error.fromPeer && isTemporary(error))
}

/** Whether a request changes books, or what secures them. */
function movesValue({ type, protocolData }: RequestPacket): boolean {
  const [primary] = protocolData
  if (type !== 'message' || primary === undefined) return true
  // What a peer of ours asks about packets is answered for good.
  if (primary.protocolName === PAYCHAN) return readComparison(primary) === undefined
  return primary.protocolName === 'claim' || find(protocolData, 'ilp') !== undefined
}
