/**
 * The plugin: the Ledger Plugin Interface v1 (RFC 4) over one ledger, one link and one settlement engine. Imports core, btp and
 * ledger; whatever belongs to a platform comes in as the environment, which the entries provide.
 */
import { formatAmount } from '../core/amounts.js'
import { toHex } from '../core/bytes.js'
import { AlreadyRolledBackError, InvalidFieldsError, MissingFulfillmentError, UnreachableError, messageOf } from '../core/errors.js'
import { parseTransferId } from '../core/ids.js'
import type { Logger } from '../core/log.js'
import type { Store } from '../core/store.js'
import type { Acceptor } from '../core/transport.js'
import { hasToken } from '../btp/auth.js'
import { Backend } from '../ledger/backend.js'
import { Committer } from '../ledger/committer.js'
import { Ledger } from '../ledger/ledger.js'
import { found } from '../ledger/records.js'
import type { TransferWithInfo } from '../ledger/records.js'
import { TransferLog } from '../ledger/transfer-log.js'
import { checkStored } from './account.js'
import type { Account, PluginEvents, Role } from './account.js'
import { Authenticator } from './authenticator.js'
import { Courier } from './courier.js'
import { SafeEmitter } from './emitter.js'
import { Data } from './data.js'
import type { Environment } from './environment.js'
import { Generation } from './generation.js'
import { Identity } from './identity.js'
import { Incoming } from './incoming.js'
import { Lifecycle, keepsBooks } from './lifecycle.js'
import { checkFulfillment, checkIlp, checkMessage, checkTransfer } from './lpi-checks.js'
import type { Addresses } from './lpi-checks.js'
import type {
  Bytes, ConnectOptions, DataHandler, DisconnectOptions, LedgerInfo, LedgerPluginV1, LedgerPluginV2, Message, MoneyHandler, OutgoingMessage, OutgoingTransfer, RejectionReason,
  RequestHandler, Transfer
} from './lpi.js'
import { ModuleRunner, logNameOf } from './module.js'
import type { AnyModule } from './module.js'
import { isAcceptor, parseOptions } from './options.js'
import type { Credentials, PluginOptions, PluginServices, Settings } from './options.js'
import { MoneyClaims } from './money-claims.js'
import { Money } from './money.js'
import type { MoneyRecords } from './money.js'
import { Outgoing } from './outgoing.js'
import { Relay } from './relay.js'
import type { Calls, LocalCalls } from './relay.js'
import { Reconcile } from './reconcile.js'
import { Requests } from './requests.js'
import { Rpc } from './rpc.js'
import { Settlement } from './settlement.js'
import type { Records } from './settlement.js'
import type { HolderState, KnownIdentity } from './sibling-messages.js'
import { askBalance, askLimit } from './side-protocols.js'
import { Succession } from './succession.js'
import type { Tenure } from './tenure.js'

/** A transfer that has not come to its end. */
export interface InFlightTransfer {
  /** As it was prepared, with both accounts. */
  transfer: Transfer
  /** Whether the peer is its sender. */
  isIncoming: boolean
  /** When it was prepared, in milliseconds since 1970. */
  preparedAt: number
}

/** Which page of the history is asked for. */
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

/**
 * The plugin as a host or a wallet sees it: the Ledger Plugin Interface, v1 (RFC 4) and v2 (RFC 24), and what goes beyond it. Constructed
 * through PaychanPlugin, or a class that makePaymentChannelPlugin made.
 */
export class LedgerPlugin extends SafeEmitter<PluginEvents> implements LedgerPluginV1, LedgerPluginV2 {
  /** The newest generation of the Ledger Plugin Interface that hosts find here (RFC 24). */
  static readonly version = 2

  readonly #environment: Environment
  readonly #settings: Settings
  readonly #log: Logger
  readonly #identity: Identity
  readonly #committer: Committer
  readonly #ledger: Ledger<Transfer>
  readonly #outgoing: Outgoing
  readonly #incoming: Incoming
  readonly #generation: Generation
  readonly #data: Data
  readonly #money: Money
  readonly #reconcile: Reconcile
  readonly #requests: Requests
  readonly #acceptor: Acceptor | undefined
  readonly #lifecycle: Lifecycle
  readonly #local: LocalCalls
  readonly #succession: Succession | undefined
  /** Where the store is shared with others that can be heard. */
  readonly #relay: Relay | undefined

  constructor(environment: Environment, module: AnyModule | undefined, options: PluginOptions, services?: PluginServices) {
    super(message => { this.#log.warn(message) })
    this.#environment = environment
    this.#settings = parseOptions(options, services, { module: module !== undefined, token: module?.getAuthToken !== undefined })
    const { clock, random } = environment
    const { log, listener, storeTimeoutMs } = this.#settings
    this.#log = log === undefined ? environment.debugLogger(logNameOf(module?.pluginName)) : environment.hostLogger(log)
    this.#acceptor = listener === undefined ? undefined : this.#acceptorOf(listener)
    const owner = toHex(random.bytes(16))
    this.#committer = new Committer({
      store: this.#storeOf(),
      storeTimeoutMs, clock,
      log: this.#log,
      owner,
      onLost: () => { this.#lifecycle.standBy() }
    })
    this.#ledger = new Ledger(this.#committer, '', this.#settings.limits, { keepsPackets: this.#settings.packetHistory, headOf: environment.headWriter?.(), check: checkStored })
    const courier = new Courier({ clock, session: () => this.#lifecycle.session })
    const rpc = new Rpc(body => this.#lifecycle.send(body))
    const runner = module === undefined ? undefined : this.#runnerOf(module, rpc)
    this.#identity = new Identity(this.#settings, runner)
    const { isV2Host, btp, trustSettlements: isTrusting, automatic } = this.#settings
    const settlement = runner === undefined || isV2Host ? undefined : this.#settlementOf(runner)
    const claims = runner !== undefined && isV2Host ? new MoneyClaims({ clock, random, log: this.#log, module: runner }) : undefined
    const account = this.#makeAccount(courier, runner, settlement)
    const generation = this.#generation = new Generation(btp)
    this.#data = new Data({ account, generation, isV2Host, onOwed: isWanting => {
      void this.#money.settleUp(isWanting)
      settlement?.onOwed()
    } })
    this.#money = new Money({ account, generation, isV2Host, isTrusting, claims, automatic, records: this.#records() })
    this.#reconcile = this.#makeReconcile(account)
    this.#outgoing = new Outgoing(account)
    this.#incoming = new Incoming(account)
    const traffic = { outgoing: this.#outgoing, incoming: this.#incoming, data: this.#data, money: this.#money }
    const reconcile = this.#reconcile
    this.#requests = new Requests({ account, identity: this.#identity, ...traffic, generation, reconcile, rpc, send: body => this.#lifecycle.send(body) })
    this.#local = this.#localCalls()
    this.#succession = this.#successionOf(owner)
    this.#relay = this.#succession && this.#relayOf(this.#succession, owner)
    this.#lifecycle = new Lifecycle({
      environment,
      settings: this.#settings,
      options,
      log: this.#log,
      acceptor: this.#acceptor,
      module: runner,
      identity: this.#identity,
      authenticator: new Authenticator(this.#settings, runner),
      committer: this.#committer,
      ledger: this.#ledger,
      courier,
      settlement,
      ...traffic,
      reconcile,
      requests: this.#requests,
      emit: account.emit,
      tenure: this.#succession ?? this.#leaseOf(owner),
      onRole: role => {
        this.#relay?.roleChanged(role)
        this.emit('role', role)
      },
      observe: (direction, packet) => { if (this.listenerCount('packet') > 0 && !hasToken(packet)) this.emit('packet', { direction, packet }) }
    })
    runner?.construct(options)
  }

  // ---- parts

  #storeOf(): Store {
    const { store, keyValueStore, isV2Host } = this.#settings
    if (store !== undefined) return store
    if (keyValueStore === undefined) return this.#environment.memoryStore()
    // Hosts of LPI v2 put an account's name right before each key: with a separator none of ours is another account's.
    return isV2Host ? this.#environment.wrapKeyValueStore(keyValueStore, ':') : this.#environment.wrapKeyValueStore(keyValueStore)
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
      records: this.#records(),
      outgoingFulfilled: async () => formatAmount((await this.#ledger.sums()).outgoingFulfilled),
      request: body => this.#lifecycle.send(body),
      session: () => this.#lifecycle.session
    })
  }

  #records(): Records & MoneyRecords {
    const put: MoneyRecords['put'] = (group, name, value) => { group.put(`:paychan:${name}`, value) }
    return {
      read: name => this.#committer.get(`:paychan:${name}`),
      write: (name, value) => this.#committer.submit(group => { put(group, name, value) }),
      put,
      submit: decide => this.#committer.submit(decide),
      enqueue: change => { this.#committer.enqueue(change) }
    }
  }

  #makeReconcile(account: Account): Reconcile {
    const { recovers, trustSettlements: isTrusting } = this.#settings
    return new Reconcile({
      account,
      money: this.#money,
      records: this.#records(),
      keepsBooks: keepsBooks(this.#settings),
      recovers,
      isTrusting,
      onFilled: () => { this.#lifecycle.filled() },
      onPeerNew: () => { this.#outgoing.offerAgain() }
    })
  }

  #makeAccount(courier: Courier, module: ModuleRunner | undefined, settlement: Settlement | undefined): Account {
    const { clock, random } = this.#environment
    return {
      // The times and the caps.
      ...this.#settings,
      retries: 0,
      clock,
      random,
      log: this.#log,
      ledger: this.#ledger,
      courier,
      module,
      settlement,
      session: () => this.#lifecycle.session,
      address: () => this.#identity.account(),
      peerAddress: () => this.#identity.peerAccount(),
      info: () => this.#identity.current(),
      mustTrade: () => { this.#reconcile.mustTrade() },
      differs: amount => { this.#reconcile.differs(amount) },
      askPeerBalance: () => askBalance(body => this.#lifecycle.send(body)),
      emit: (event, ...args) => {
        if (this.#succession?.hasSiblings === true) this.#relay?.mirror(event, args)
        this.emit(event, ...args)
      }
    }
  }

  // ---- those that share the store

  /** What an instance needs to find its place among those that share the store, however it hears of them. */
  #placeOf(id: string) {
    return {
      id,
      clock: this.#environment.clock,
      log: this.#log,
      state: () => this.#holderState(),
      onHeld: () => { this.#lifecycle.succeed() },
      onLost: () => { this.#lifecycle.standBy() },
      learn: (known: KnownIdentity) => {
        try {
          this.#identity.borrow(known)
        } catch (error) {
          this.#log.warn(`the holder has other options: ${messageOf(error)}`)
        }
      },
      refresh: () => this.#ledger.refresh()
    }
  }

  #successionOf(id: string): Succession | undefined {
    const shared = this.#settings.store?.shared
    const siblings = shared === undefined ? undefined : this.#environment.siblings?.()
    return siblings && new Succession({
      ...this.#placeOf(id),
      siblings,
      name: `ilp-plugin-paychan:${String(shared)}`,
      onRival: () => { this.#committer.checkNotLost().catch((error: unknown) => { this.#log.debug(messageOf(error)) }) },
      onMessage: message => this.#relay?.receive(message)
    })
  }

  /** Where those that share the store cannot be heard. What this instance is asked while it stands by, nobody carries out for it. */
  #leaseOf(id: string): Tenure | undefined {
    const { store, storeTimeoutMs } = this.#settings
    return store?.shared === undefined ? undefined : this.#environment.lease?.({ ...this.#placeOf(id), store, storeTimeoutMs })
  }

  #holderState(): HolderState {
    const { head } = this.#committer
    if (this.role !== 'holder' || head === undefined) return {}
    const state = { epoch: head.epoch, head: head.text }
    try {
      return { ...state, identity: this.#identity.known() }
    } catch (error) {
      this.#log.debug(`cannot be told to others: ${messageOf(error)}`)
      return state
    }
  }

  #relayOf(succession: Succession, id: string): Relay {
    return new Relay({
      ...this.#placeOf(id),
      timeoutMs: this.#settings.answerTimeoutMs,
      local: this.#local,
      settled: () => this.#lifecycle.settled(),
      role: () => this.role,
      epoch: () => this.#committer.head?.epoch,
      checkNotLost: () => this.#committer.checkNotLost(),
      post: said => { succession.post(said) },
      announce: () => { succession.announce() },
      emit: (event, args) => { this.emit(event, ...args as never) }
    })
  }

  /** The calls that only who holds the connection can carry out. */
  #localCalls(): LocalCalls {
    const ready = (): Lifecycle => {
      this.#lifecycle.mustBeReady()
      return this.#lifecycle
    }
    return {
      sendTransfer: (again, transfer) => new Promise((resolve, reject) => {
        if (ready().isDisconnecting && !again) throw new UnreachableError('this side is disconnecting')
        this.#generation.mustSpeak('1.0', this.#lifecycle.session)
        this.#whenCompared(() => { this.#outgoing.send(checkTransfer(transfer, this.#addresses()), again, { resolve, reject }) }, reject)
      }),
      fulfillCondition: (_again, transferId, fulfillment, ilp) => new Promise((resolve, reject) => {
        ready()
        const packet = ilp === undefined ? undefined : checkIlp(ilp)
        this.#incoming.fulfill(parseTransferId(transferId, 'transferId'), checkFulfillment(fulfillment), packet, { resolve, reject })
      }),
      rejectIncomingTransfer: (_again, transferId, reason) => new Promise((resolve, reject) => {
        ready()
        this.#incoming.reject(parseTransferId(transferId, 'transferId'), reason, { resolve, reject })
      }),
      sendRequest: async (_again, message) => {
        ready()
        return this.#requests.ask(checkMessage(message, this.#addresses()))
      },
      getPeerBalance: async () => askBalance(body => ready().send(body)),
      getLimit: async () => askLimit(body => ready().send(body)),
      resolveDispute: async (_again, choice) => {
        ready()
        await this.#reconcile.resolve(choice)
      },
      prune: async (_again, before) => {
        const over = this.#environment.clock.now() - this.#settings.graceMs
        return this.#ledger.prune(before, ({ transfer }) => Date.parse(transfer.expiresAt) < over)
      }
    }
  }

  /** Carries a call out: here, or where the connection is. */
  #carry<C extends keyof Calls>(method: C, ...args: Parameters<Calls[C]>): Promise<Awaited<ReturnType<Calls[C]>>> {
    const local = this.#local[method] as (again: boolean, ...args: Parameters<Calls[C]>) => Promise<Awaited<ReturnType<Calls[C]>>>
    return this.#relay === undefined ? local(false, ...args) : this.#relay.carry(method, ...args)
  }

  // ---- connection

  /**
   * Connects: takes the store over, listens or dials, learns the ledger's info, connects the module, and takes up what is in flight.
   * A listener's resolves when it listens; a client's when it is authenticated. Calls while one is under way share it; when
   * connected it does nothing. A failed connect can be repeated. Where another tab or process over the same store holds the connection,
   * this one stands by (`role`), and its connect resolves when it can read: in Node after a second or so, or where the other one is dead
   * or hangs after 2.5 s, as who takes over.
   *
   * @param options `timeout`: milliseconds to reach the peer, default (and 0) 5000; `Infinity` is valid. The module's own connect
   *   takes its time beyond that
   * @throws TypeError when the timeout is no number; InvalidFieldsError when credentials are missing; NotAcceptedError when they are
   *   refused; UnreachableError at the time-out, or when the port cannot be bound; StoreError; what the module's connect throws
   */
  connect(options?: ConnectOptions): Promise<void> {
    return this.#lifecycle.connect(options)
  }

  /**
   * Disconnects: calls that are under way reject with `outcome: 'unknown'`, and their transfers carry on at the next connect. Does
   * nothing when disconnected. Afterwards `connect` works again.
   *
   * @param options `drainMs`: how long to wait for what is in flight to become final, milliseconds; default 0. New transfers are
   *   refused meanwhile.
   * @throws what the module's disconnect throws, when all else is done
   */
  disconnect(options?: DisconnectOptions): Promise<void> {
    return this.#lifecycle.disconnect(options)
  }

  /**
   * Whether this instance holds the connection to the peer, or stands by while another tab or process that shares its store does. What
   * is asked of one that stands by is carried out by the one that holds, among tabs; among processes it is refused with StandbyError. What
   * is read is read from the store.
   */
  get role(): Role {
    return this.#lifecycle.role
  }

  /** Whether there is an authenticated session with the peer, and its account is known. Never while this instance stands by. */
  isConnected(): boolean {
    return this.#lifecycle.isConnected
  }

  /** The bound port of the listener; `undefined` while it does not listen. */
  get port(): number | undefined {
    return this.#acceptor?.port
  }

  /**
   * Adds a socket that somebody else opened: any object like a web socket. With credentials this side authenticates on it as the
   * client; without, the other side has to.
   * @throws InvalidFieldsError when it is no socket; NotAcceptedError when the credentials are refused; UnreachableError; StandbyError
   *   while this instance stands by
   */
  async addSocket(socket: unknown, credentials?: Credentials): Promise<void> {
    this.#lifecycle.mustBeUsable()
    await this.#lifecycle.addSocket(socket, credentials)
  }

  // ---- what is known

  /** The ledger's info, in a copy of the caller's own. @throws UnreachableError before the first connect */
  getInfo(): LedgerInfo {
    this.#lifecycle.mustBeUsable()
    return this.#identity.info()
  }

  /** The ILP address of this side. @throws UnreachableError before the first connect */
  getAccount(): string {
    this.#lifecycle.mustBeUsable()
    return this.#identity.account()
  }

  /** The ILP address of the peer. @throws UnreachableError before the first connect */
  getPeerAccount(): string {
    this.#lifecycle.mustBeUsable()
    return this.#identity.peerAccount()
  }

  #addresses(): Addresses {
    return { account: this.getAccount(), peer: this.getPeerAccount(), prefix: this.#identity.prefix }
  }

  /**
   * Fulfilled incoming minus fulfilled outgoing transfers, in base units. Without a store the peer is asked, which counts a transfer
   * of ours when its Fulfill was answered: shortly after `outgoing_fulfill`.
   * @throws UnreachableError without a store when the peer cannot be asked; StoreError
   */
  async getBalance(): Promise<string> {
    this.#lifecycle.mustBeUsable()
    if (!keepsBooks(this.#settings) && !this.#settings.isV2Host) return this.getPeerBalance()
    const { incomingFulfilled, outgoingFulfilled } = await this.#ledger.sums()
    return formatAmount(incomingFulfilled - outgoingFulfilled)
  }

  /** The balance as the peer keeps it, seen from this side: equal to `getBalance()` when nothing is in flight. @throws UnreachableError */
  async getPeerBalance(): Promise<string> {
    return this.#carry('getPeerBalance')
  }

  /** The lowest balance that the peer lets this side have, in base units: minus its maximum. @throws UnreachableError */
  async getLimit(): Promise<string> {
    return this.#carry('getLimit')
  }

  /**
   * The preimage of a fulfilled transfer, base64url.
   * @throws MissingFulfillmentError while it is prepared; AlreadyRolledBackError; TransferNotFoundError; InvalidFieldsError
   */
  async getFulfillment(transferId: string): Promise<string> {
    this.#lifecycle.mustBeUsable()
    const id = parseTransferId(transferId, 'transferId')
    const { info } = found(await this.#ledger.find(id), id)
    if (info.state === 'cancelled') throw new AlreadyRolledBackError(`transfer ${id} is rolled back`)
    if (info.fulfillment === undefined) throw new MissingFulfillmentError(`transfer ${id} is not fulfilled yet`)
    return info.fulfillment
  }

  /**
   * The transfers that have not come to their end, the oldest first. Also those from before a restart, once connected. While this
   * instance stands by: as of the last event, or half a second ago.
   */
  inFlight(): InFlightTransfer[] {
    this.#lifecycle.mustBeUsable()
    return this.#ledger.open
      .filter(({ info }) => info.state === 'prepared')
      .map(({ info, open }) => ({ transfer: structuredClone(info.transfer), isIncoming: info.isIncoming, preparedAt: open?.at ?? 0 }))
      .sort((a, b) => a.preparedAt - b.preparedAt)
  }

  /**
   * A page of all transfers, newest first; within a second not always, where a module takes its time. Reads no more than the page.
   * @throws InvalidFieldsError naming the option; StoreError
   */
  async history({ before, limit = 50 }: HistoryOptions = {}): Promise<HistoryEntry[]> {
    this.#lifecycle.mustBeUsable()
    if (!Number.isInteger(limit) || limit < 1 || limit > 1000) throw new InvalidFieldsError('limit must be an integer from 1 to 1000')
    if (before !== undefined && !/^\d+\.\d{13}\..+$/.test(before)) throw new InvalidFieldsError('before must be the cursor of an entry')
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
    this.#lifecycle.mustBeUsable()
    const time = Number(before)
    if (!Number.isFinite(time) || time < 0) throw new InvalidFieldsError('before must be a Date, or milliseconds since 1970')
    return this.#carry('prune', time)
  }

  /**
   * Decides about balances that differ (the event `dispute` without an id): until then nothing new is sent. `'ours'` keeps the numbers of this
   * side, and takes the difference for known: only a further one is told; it needs no session. `'theirs'` takes the peer's numbers as the event
   * told them, and the other side's stop ends too; not both sides should. Does nothing where nothing is in dispute. Durable when it resolves.
   * @throws For `'theirs'`: UnreachableError without a session, and while what is in flight makes the numbers uncertain; DisputeError when the
   *   peer says others by now, of which another event tells. InvalidFieldsError; StoreError
   */
  async resolveDispute(choice: 'ours' | 'theirs'): Promise<void> {
    this.#lifecycle.mustBeUsable()
    await this.#carry('resolveDispute', choice)
  }

  // ---- transfers

  /**
   * Prepares an outgoing transfer. Resolves when the peer holds it, durably, and stays pending over reconnects until the peer has
   * answered or the transfer is final. An exact repeat of a transfer in flight waits for the same answer.
   *
   * @throws InvalidFieldsError naming the field; AccountNotFoundError; DuplicateIdError; InsufficientBalanceError when our own limit
   *   does not allow it; NotAcceptedError when the peer refuses; UnreachableError without a session (then nothing was stored), or when
   *   it expired unanswered, or with `outcome: 'unknown'` at a disconnect; AlreadyRolledBackError where another tab has carried it on, and it
   *   came to nothing; StandbyError; StoreError, with `outcome: 'unknown'` where the store hangs: then it is not sent any more, and where it
   *   lands yet "outgoing_cancel" tells so; unless the process ends, or another tab or process takes over, before that is stored: then it is sent
   */
  sendTransfer(transfer: OutgoingTransfer): Promise<void> {
    return this.#carry('sendTransfer', transfer)
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
  fulfillCondition(transferId: string, fulfillment: string, ilp?: string): Promise<void> {
    return this.#carry('fulfillCondition', transferId, fulfillment, ilp)
  }

  /**
   * Rejects an incoming transfer. Resolves when the sender has answered, or its time is over.
   * @param reason an LPI RejectionMessage; what it lacks is filled in, and it may be absent
   * @throws InvalidFieldsError; TransferNotFoundError; AlreadyFulfilledError; NotAcceptedError when this side sent it; UnreachableError
   *   with `outcome: 'unknown'` at a disconnect; StoreError
   */
  async rejectIncomingTransfer(transferId: string, reason?: RejectionReason): Promise<void> {
    await this.#carry('rejectIncomingTransfer', transferId, reason)
  }

  // ---- messages

  /**
   * Sends a message to the peer's host and resolves with its answer.
   * @throws InvalidFieldsError naming the field; AccountNotFoundError; NoSubscriptionsError when no handler is registered there;
   *   NotAcceptedError; UnreachableError without a session, or without an answer in time
   */
  async sendRequest(message: OutgoingMessage): Promise<Message> {
    return this.#carry('sendRequest', message)
  }

  /** Sets the handler of the peer's messages. @throws RequestHandlerAlreadyRegisteredError; InvalidFieldsError for what is no function */
  registerRequestHandler(handler: RequestHandler): void {
    this.#lifecycle.mustBeUsable()
    this.#requests.place.register(handler)
  }

  /** Takes the handler of the peer's messages away, if there is one. */
  deregisterRequestHandler(): void {
    this.#requests.place.deregister()
  }

  // ---- packets and settlements (LPI v2)

  /**
   * Sends an ILP packet and resolves with the one that answers it; empty where there is none.
   *
   * An ILPv4 Prepare with an amount is held in the ledger, durably, before it is sent, and is sent at most once. A Fulfill that matches and
   * comes until `expiresAt` settles it; a Reject or the expiry releases it. It stays pending over reconnects until then. Anything else passes
   * without touching the ledger, and is waited for for 35 seconds, a Prepare until it expires.
   *
   * Errors have an `ilpErrorCode`, which hosts put into the Reject that they make of it.
   *
   * @param data at most 60000 bytes
   * @throws InvalidFieldsError; PacketError (F01) for a malformed Prepare; InsufficientBalanceError (T04) when our own limit does not allow
   *   it; NotAcceptedError when the peer speaks BTP 1.0 only; AlreadyRolledBackError (R00) at the expiry; InvalidFulfillmentError (F05);
   *   UnreachableError (T01) without a session (then nothing was stored), or with `outcome: 'unknown'` at a disconnect; the peer's error;
   *   StoreError (T00)
   */
  sendData(data: Uint8Array): Promise<Bytes> {
    return new Promise((resolve, reject) => {
      this.#mustBeSending()
      this.#whenCompared(() => { this.#data.send(data, resolve, reject) }, reject)
    })
  }

  /**
   * Tells the peer that an amount was settled, and adds it to what was. No balance moves; limits act on the balance plus what was settled
   * out minus what was settled in. Resolves when the peer has credited it, durably. To a peer of ours it is sent until that answers, also
   * after a restart, and credited once. To another peer it is sent once.
   *
   * With a payment channel module it goes with a claim for all that was ever settled, which the peer's module verifies. Without one nothing
   * proves that anything was paid: the peer takes it only where its option `trustSettlements` says so.
   *
   * @param amount integer string, base units
   * @throws InvalidFieldsError; NotAcceptedError when the peer refuses, speaks BTP 1.0 only, or the host is one of LPI v1 with a payment
   *   channel module, which settles by itself; what the module throws; NoSubscriptionsError when no handler is registered there; UnreachableError without a session, or with `outcome: 'unknown'` at a
   *   disconnect, or when a foreign peer's answer was lost; StoreError, with `outcome: 'unknown'` where the store hangs: then it is not sent
   *   any more, so that the host may settle anew, unless the process ends, or another tab or process takes over, before that is stored
   */
  async sendMoney(amount: string): Promise<void> {
    this.#mustBeSending()
    await this.#lifecycle.comparing
    await this.#money.send(amount)
  }

  /**
   * Sets the handler of the peer's packets. From then on they are not given to the request handler.
   * @throws DataHandlerAlreadyRegisteredError; InvalidFieldsError for what is no function
   */
  registerDataHandler(handler: DataHandler): void {
    this.#lifecycle.mustBeUsable()
    this.#data.place.register(handler)
  }

  /** Takes the handler of the peer's packets away, if there is one. */
  deregisterDataHandler(): void {
    this.#data.place.deregister()
  }

  /**
   * Sets the handler of the peer's settlements, which is called once for each, when it is credited.
   * @throws MoneyHandlerAlreadyRegisteredError; InvalidFieldsError for what is no function
   */
  registerMoneyHandler(handler: MoneyHandler): void {
    this.#lifecycle.mustBeUsable()
    this.#money.place.register(handler)
  }

  /** Takes the handler of the peer's settlements away, if there is one. */
  deregisterMoneyHandler(): void {
    this.#money.place.deregister()
  }

  /** Sends: at once, or when it is clear that these books are new. */
  #whenCompared(send: () => void, failed: (error: unknown) => void): void {
    const { comparing } = this.#lifecycle
    if (comparing === undefined) send()
    else comparing.then(send).catch(failed)
  }

  #mustBeSending(): void {
    this.#lifecycle.mustBeReady()
    if (this.#lifecycle.isDisconnecting) throw new UnreachableError('this side is disconnecting')
  }
}
