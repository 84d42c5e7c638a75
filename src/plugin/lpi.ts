/**
 * The types of the Ledger Plugin Interface, v1 (RFC 4) and v2 (RFC 24): what a host gives the plugin and gets from it. Imports the type
 * of JSON values from btp.
 *
 * Amounts, balances and limits are decimal integer strings in the ledger's base unit (`10^-currencyScale` of the currency).
 * Times are ISO 8601 strings in UTC. Addresses are ILP addresses, binary values are base64url without padding.
 */
import type { JsonValue } from '../btp/protocol-data.js'

/** A JSON object. */
export interface JsonObject { [key: string]: JsonValue }

/** What a plugin tells about its ledger (RFC 4, class LedgerInfo). */
export interface LedgerInfo {
  /** The ILP address prefix that all addresses on the ledger begin with; ends with a dot. */
  prefix: string
  /** ISO 4217, or a code of the operator's own. */
  currencyCode?: string
  /** One base unit is `10^-currencyScale` of the currency. */
  currencyScale?: number
  /** The ILP addresses of recommended connectors. */
  connectors?: string[]
  /** Integer string; absent means 0. */
  minBalance?: string
  /** Integer string; absent means no limit. */
  maxBalance?: string
}

/** A transfer as a host hands it to `sendTransfer` (RFC 4, class Transfer). */
export interface OutgoingTransfer {
  /** A UUID of the sender's choice. A transfer that is sent again has the same id and the same fields. */
  id: string
  /** 0 <= amount < 2^64. */
  amount: string
  /** The SHA-256 hash of the preimage: 32 bytes. */
  executionCondition: string
  /** When the hold ends unless it was fulfilled. */
  expiresAt: string
  /** The peer's account. */
  to: string
  /** The own account; need not be given. */
  from?: string
  /** The ledger's prefix; need not be given. */
  ledger?: string
  /** The ILP packet, for the final receiver. */
  ilp?: string
  /** Goes to the peer, as JSON. */
  custom?: object
  /** The old name of `custom`, from before RFC 4's draft 3. Kept with the transfer, and not sent. */
  data?: object
  /** Kept with the transfer, also over restarts, and never sent (C46). */
  noteToSelf?: object
  /** What ilp-connector 18 gives, and looks for in `outgoing_fulfill` before it takes its own money. Kept with the transfer, and not sent. */
  direction?: 'outgoing'
}

/** A transfer as events report it: with both accounts and the ledger's prefix. */
export interface Transfer extends OutgoingTransfer {
  from: string
  ledger: string
}

/** A transfer that the peer prepared. `custom` is the peer's and of no checked shape. */
export interface IncomingTransfer {
  /** The sender's choice, a UUID in lower case. */
  id: string
  /** 0 <= amount < 2^64. */
  amount: string
  /** The SHA-256 hash of the preimage: 32 bytes. */
  executionCondition: string
  /** When the hold ends. It must be fulfilled `expiryMarginMs` earlier. */
  expiresAt: string
  /** The peer's account. */
  from: string
  /** The own account. */
  to: string
  /** The ledger's prefix. */
  ledger: string
  /** The ILP packet, where one came along. */
  ilp?: string
  /** JSON that came along. */
  custom?: JsonObject
}

/** A message as a host hands it to `sendRequest`, or returns it from its request handler (RFC 4, class Message). */
export interface OutgoingMessage {
  /** The peer's account. In a handler's answer it need not be given, and is ignored: the answer goes to who asked. */
  to?: string
  /** The own account; need not be given. */
  from?: string
  /** The ledger's prefix; need not be given. */
  ledger?: string
  /** An ILP packet. */
  ilp?: string
  /** Goes to the peer, as JSON. */
  custom?: object
}

/** A message from the peer: a request to our handler, or the response to ours. */
export interface Message {
  /** Tells apart the requests of one session; absent on responses. */
  id?: string
  /** The peer's account. */
  from: string
  /** The own account. */
  to: string
  /** The ledger's prefix. */
  ledger: string
  /** The ILP packet, where one came along. */
  ilp?: string
  /** The peer's JSON. */
  custom?: JsonObject
}

/** Why a transfer came to nothing (RFC 4, class RejectionMessage): an ILP error, with the names that LPI gives its fields. */
export interface RejectionMessage {
  /** The ILP error code, `F00` for example. */
  code: string
  /** The name that belongs to the code in the table of ILP errors, `Bad Request` for example. */
  name: string
  /** Says to a person what was wrong. */
  message?: string
  /** The address of who rejected first. */
  triggered_by: string
  /** The address of who passed it on last. */
  forwarded_by?: string
  /** When it was rejected. */
  triggered_at: Date
  /** What the rejecting side had to add, of no checked shape. */
  additional_info?: JsonValue
}

/** A rejection as a host gives it to `rejectIncomingTransfer`: all of it may be left to the plugin (H13). */
export interface RejectionReason {
  /** The ILP error code. Default `F00`. */
  code?: string
  /** The name that belongs to the code. Default: `Bad Request` with `F00`, else the code. */
  name?: string
  /** Says to a person what was wrong. Default: nothing. */
  message?: string
  /** The address of who rejected first; the own account by default. */
  triggered_by?: string
  /** One address, or all that passed it on; the own account by default. */
  forwarded_by?: string | readonly string[]
  /** When it was rejected; now by default. */
  triggered_at?: string | Date
  /** Whatever JSON there is to add. */
  additional_info?: unknown
}

/** Answers the peer's requests. What it throws goes to the peer as an ILP error `F00` (C34). */
export type RequestHandler = (message: Message) => Promise<OutgoingMessage>

/** How long `connect` may take. */
export interface ConnectOptions {
  /** Milliseconds until a connect that has not succeeded rejects; `Infinity` is valid. Default 5000. */
  timeout?: number
}

/** Whether `disconnect` waits. */
export interface DisconnectOptions {
  /** Milliseconds to wait for transfers in flight to become final. Default 0. */
  drainMs?: number
}

/** The events of LPI v1 with the arguments of their listeners. `incoming`: the peer is the transfer's sender. */
export interface LpiEvents {
  /** A session with the peer has begun: raised each time. */
  connect: () => void
  /** The session has ended. Unless it was by `disconnect()`, the next one is sought already. */
  disconnect: () => void
  /** A failure that no retry mends: the instance refuses every call from then on (C53). */
  error: (error: Error) => void
  /** The peer's info, which is ours where we gave none, is another now. */
  info_change: (info: LedgerInfo) => void

  /** The peer has money on hold for us: fulfill it or reject it. Raised once, over restarts too. */
  incoming_prepare: (transfer: IncomingTransfer) => void
  /** We fulfilled it, and the sender has taken it. */
  incoming_fulfill: (transfer: IncomingTransfer, fulfillment: string) => void
  /** We rejected it. */
  incoming_reject: (transfer: IncomingTransfer, reason: RejectionMessage) => void
  /** Its time is over. */
  incoming_cancel: (transfer: IncomingTransfer, reason: RejectionMessage) => void

  /** The peer has taken our Prepare. */
  outgoing_prepare: (transfer: Transfer) => void
  /** The peer fulfilled it; `ilp` is the packet that came along. */
  outgoing_fulfill: (transfer: Transfer, fulfillment: string, ilp?: string) => void
  /** The peer rejected it. */
  outgoing_reject: (transfer: Transfer, reason: RejectionMessage) => void
  /** Its time is over. */
  outgoing_cancel: (transfer: Transfer, reason: RejectionMessage) => void

  /** A request came, which the handler is about to get. */
  incoming_request: (message: Message) => void
  /** A request of ours is about to go out. */
  outgoing_request: (message: OutgoingMessage) => void
  /** The peer's answer to a request of ours. */
  incoming_response: (message: Message) => void
  /** Our handler's answer, about to go out. */
  outgoing_response: (message: OutgoingMessage) => void
}

/** The Ledger Plugin Interface v1 (RFC 4, class LedgerPlugin), as a host or a payment channel module sees it. */
export interface LedgerPluginV1 {
  /** Listens, or dials until there is a session; see LedgerPlugin. */
  connect(options?: ConnectOptions): Promise<void>
  /** Ends the session. What is not final carries on at the next `connect`. */
  disconnect(options?: DisconnectOptions): Promise<void>
  /** Whether there is an authenticated session now. */
  isConnected(): boolean
  /** What the ledger is. @throws UnreachableError where only the peer knows it, and has not been met */
  getInfo(): LedgerInfo
  /** The own ILP address. @throws UnreachableError before it is known */
  getAccount(): string
  /** The peer's ILP address, which transfers and messages go to. @throws UnreachableError before it is known */
  getPeerAccount(): string
  /** Fulfilled incoming minus fulfilled outgoing. */
  getBalance(): Promise<string>
  /** The balance as the peer keeps it, seen from this side. */
  getPeerBalance(): Promise<string>
  /** The lowest balance that the peer lets this side have. */
  getLimit(): Promise<string>
  /** The preimage of a fulfilled transfer, in base64url. @throws TransferNotFoundError, MissingFulfillmentError, AlreadyRolledBackError */
  getFulfillment(transferId: string): Promise<string>
  /** Puts an amount on hold for the peer; resolves when the peer has it. @throws an error of RFC 4, or one with `outcome: 'unknown'` */
  sendTransfer(transfer: OutgoingTransfer): Promise<void>
  /** Claims an incoming transfer with its preimage; resolves when the sender has taken it. */
  fulfillCondition(transferId: string, fulfillment: string, ilp?: string): Promise<void>
  /** Gives an incoming transfer back; resolves when the sender knows. */
  rejectIncomingTransfer(transferId: string, reason?: RejectionReason): Promise<void>
  /** Asks the peer's handler. @throws UnreachableError, NoSubscriptionsError */
  sendRequest(message: OutgoingMessage): Promise<Message>
  /** Takes the peer's requests from now on. @throws RequestHandlerAlreadyRegisteredError */
  registerRequestHandler(handler: RequestHandler): void
  /** Takes them no more. */
  deregisterRequestHandler(): void
  /** Calls a listener on each event of that name. One that throws harms nobody. */
  on<E extends keyof LpiEvents>(event: E, listener: LpiEvents[E]): this
  /** Calls a listener on the next event of that name. */
  once<E extends keyof LpiEvents>(event: E, listener: LpiEvents[E]): this
  /** Takes a listener away. */
  off<E extends keyof LpiEvents>(event: E, listener: LpiEvents[E]): this
}

/** Node's Buffer; where Node's types are not there, the Uint8Array that it is too. */
export type Bytes = typeof globalThis extends Record<'Buffer', Record<'isBuffer', (value: unknown) => value is infer NodeBuffer>> ? NodeBuffer : Uint8Array

/**
 * Answers the peer's packets. What it throws in answer to a Prepare goes to the peer as an ILP Reject, with the error's `ilpErrorCode`
 * or F00; in answer to anything else as a BTP Error.
 */
export type DataHandler = (data: Bytes) => Promise<Bytes>

/** Hears of what the peer has settled: an integer string in base units. It is credited already; what this throws is logged. */
export type MoneyHandler = (amount: string) => Promise<void>

/** The Ledger Plugin Interface v2 (RFC 24), as a host sees it. */
export interface LedgerPluginV2 {
  /** Dials the peer, or listens for it. */
  connect(options?: ConnectOptions): Promise<void>
  /** Ends all connections. */
  disconnect(options?: DisconnectOptions): Promise<void>
  /** Whether there is an authenticated session with the peer. */
  isConnected(): boolean
  /** Sends an ILPv4 packet; resolves with the packet that answers it. */
  sendData(data: Uint8Array): Promise<Bytes>
  /** Settles so much: an integer string in base units. */
  sendMoney(amount: string): Promise<void>
  /** Sets what answers the peer's packets. Throws where there is one. */
  registerDataHandler(handler: DataHandler): void
  /** Takes the data handler away. */
  deregisterDataHandler(): void
  /** Sets what hears of the peer's settlements. Throws where there is one. */
  registerMoneyHandler(handler: MoneyHandler): void
  /** Takes the money handler away. */
  deregisterMoneyHandler(): void
  /** A session began or ended. */
  on(event: 'connect' | 'disconnect', listener: () => void): this
  /** Something failed that no call was told of. */
  on(event: 'error', listener: (error: Error) => void): this
}
