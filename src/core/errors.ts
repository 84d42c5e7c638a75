/**
 * Every error that this package throws or puts on the wire. Imports nothing.
 *
 * An error has a `name` (by which peers and hosts tell errors apart), a `code` for the wire, a `message` that says what was
 * wrong and what to do, and where there is one a `cause`. BTP's codes are those of RFC 23, section "Error Codes"; the names
 * are those of RFC 4 and RFC 23. The old package numbered its codes differently, so a received error is told by its name.
 */

/** The wire codes of BTP (RFC 23). `T` errors may be retried, `F` errors may not. */
export type BtpErrorCode = 'T00' | 'F00' | 'F01' | 'F03' | 'F04' | 'F05' | 'F06' | 'F07' | 'F08'

/** The codes of ILP errors (RFC 27) that a host of LPI v2 is told. */
export type IlpErrorCode = 'F00' | 'F01' | 'F05' | 'R00' | 'T00' | 'T01' | 'T04'

/** What became of a call that did not end in an answer: `'unknown'` means that the records carry on and decide it later. */
export type Outcome = 'unknown'

/** What an error may have besides its message. */
export interface PaychanErrorOptions {
  /** What was thrown further down, where something was. */
  cause?: unknown
  /** Given where the call ended before its transfer did. */
  outcome?: Outcome
  /** Whether the peer has answered so. Default false. */
  fromPeer?: boolean
}

/** The base of all errors here. `code` is what the peer is sent when this error answers its request. */
export abstract class PaychanError extends Error {
  /** By which errors are told apart: those of RFC 4 and RFC 23, and the names of ours. */
  abstract override readonly name: string
  /** What an Error packet with it carries. The same code stands for several names. */
  abstract readonly code: BtpErrorCode
  /** The code of the ILP Reject that a host of LPI v2 makes of this error. */
  readonly ilpErrorCode: IlpErrorCode = 'F00'
  /** `'unknown'` where the call ended before its transfer did: look the transfer up, never send it anew under another id. */
  readonly outcome?: Outcome
  /** Whether this is the peer's explicit answer, as opposed to something found out on this side. */
  readonly fromPeer: boolean

  constructor(message: string, options: PaychanErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    if (options.outcome !== undefined) this.outcome = options.outcome
    this.fromPeer = options.fromPeer ?? false
  }
}

/** The request was understood and is refused: by a limit, by the module, by the credentials. */
export class NotAcceptedError extends PaychanError {
  override readonly name = 'NotAcceptedError'
  override readonly code = 'F00'
}

/** A field is missing or malformed; the message names it. */
export class InvalidFieldsError extends PaychanError {
  override readonly name = 'InvalidFieldsError'
  override readonly code = 'F01'
  override readonly ilpErrorCode = 'F01'
}

/** No transfer has this id. */
export class TransferNotFoundError extends PaychanError {
  override readonly name = 'TransferNotFoundError'
  override readonly code = 'F03'
}

/** The preimage does not hash to the transfer's condition. */
export class InvalidFulfillmentError extends PaychanError {
  override readonly name = 'InvalidFulfillmentError'
  override readonly code = 'F04'
  override readonly ilpErrorCode = 'F05'
}

/** The id belongs to another transfer already. */
export class DuplicateIdError extends PaychanError {
  override readonly name = 'DuplicateIdError'
  override readonly code = 'F05'
}

/** The transfer was rejected, or its time is over. */
export class AlreadyRolledBackError extends PaychanError {
  override readonly name = 'AlreadyRolledBackError'
  override readonly code = 'F06'
  override readonly ilpErrorCode = 'R00'
}

/** The transfer was fulfilled. */
export class AlreadyFulfilledError extends PaychanError {
  override readonly name = 'AlreadyFulfilledError'
  override readonly code = 'F07'
}

/** Our own limit does not allow this outgoing transfer. */
export class InsufficientBalanceError extends PaychanError {
  override readonly name = 'InsufficientBalanceError'
  override readonly code = 'F08'
  override readonly ilpErrorCode = 'T04'
}

/** The peer cannot be reached now, or did not answer in time. */
export class UnreachableError extends PaychanError {
  override readonly name = 'UnreachableError'
  override readonly code = 'T00'
  override readonly ilpErrorCode = 'T01'
}

/**
 * The two sides' balances differ, and nobody has decided about it: `resolveDispute` does. To hosts it is as temporary as an
 * UnreachableError: what cannot be sent here now may go another way.
 */
export class DisputeError extends PaychanError {
  override readonly name = 'DisputeError'
  override readonly code = 'T00'
  override readonly ilpErrorCode = 'T01'
}

/** The store is empty, but the peer has books of this account: see the option `recover`. */
export class EmptiedStoreError extends PaychanError {
  override readonly name = 'EmptiedStoreError'
  override readonly code = 'T00'
  override readonly ilpErrorCode = 'T00'
}

/** The store failed, so nothing was changed; `outcome: 'unknown'` where even that cannot be said. */
export class StoreError extends PaychanError {
  override readonly name = 'StoreError'
  override readonly code = 'T00'
  override readonly ilpErrorCode = 'T00'
}

/** Another process or tab owns the store now: this one only reads. */
export class StandbyError extends PaychanError {
  override readonly name = 'StandbyError'
  override readonly code = 'T00'
  override readonly ilpErrorCode = 'T00'
}

/** The destination of a transfer or message is not the peer's account. */
export class AccountNotFoundError extends PaychanError {
  override readonly name = 'AccountNotFoundError'
  override readonly code = 'F01'
}

/** The transfer exists, and is not fulfilled yet. */
export class MissingFulfillmentError extends PaychanError {
  override readonly name = 'MissingFulfillmentError'
  override readonly code = 'F00'
}

/** The peer has no request handler. */
export class NoSubscriptionsError extends PaychanError {
  override readonly name = 'NoSubscriptionsError'
  override readonly code = 'F00'
  override readonly ilpErrorCode = 'T01'
}

/** A request handler is registered already; deregister it first. */
export class RequestHandlerAlreadyRegisteredError extends PaychanError {
  override readonly name = 'RequestHandlerAlreadyRegisteredError'
  override readonly code = 'F00'
}

/** A data handler is registered already; deregister it first. */
export class DataHandlerAlreadyRegisteredError extends PaychanError {
  override readonly name = 'DataHandlerAlreadyRegisteredError'
  override readonly code = 'F00'
}

/** A money handler is registered already; deregister it first. */
export class MoneyHandlerAlreadyRegisteredError extends PaychanError {
  override readonly name = 'MoneyHandlerAlreadyRegisteredError'
  override readonly code = 'F00'
}

/**
 * Bytes that are no packet. Stays on this side: an unreadable packet is answered with silence (RFC 23). Where only a value in
 * a well-formed request is wrong (a date, say), `requestId` is set, and the request can be answered with InvalidFieldsError.
 */
export class PacketError extends PaychanError {
  override readonly name = 'PacketError'
  override readonly code = 'F01'
  override readonly ilpErrorCode = 'F01'
  /** The request to answer with it; absent where the bytes are met with silence. */
  readonly requestId?: number

  constructor(message: string, options: PaychanErrorOptions & { requestId?: number } = {}) {
    super(message, options)
    if (options.requestId !== undefined) this.requestId = options.requestId
  }
}

/**
 * An error that the peer sent under a name which this table lacks. `remoteName` and `remoteCode` are the peer's, unchecked.
 */
export class RemoteError extends PaychanError {
  override readonly name = 'RemoteError'
  /** `T00` where the peer's code begins with a T, so that a retry may help, else `F00`. */
  readonly code: BtpErrorCode
  override readonly ilpErrorCode: IlpErrorCode
  /** The name that the peer gave, of any form. */
  readonly remoteName: string
  /** The code that the peer gave, of any form. */
  readonly remoteCode: string

  constructor(message: string, remote: { name: string; code: string }) {
    super(message, { fromPeer: true })
    this.remoteName = remote.name
    this.remoteCode = remote.code
    this.code = remote.code.startsWith('T') ? 'T00' : 'F00'
    this.ilpErrorCode = this.code
  }
}

/** The errors that travel: each name in RFC 23's table, and the class that stands for it here. */
const WIRE_ERRORS = {
  UnreachableError,
  NotAcceptedError,
  InvalidFieldsError,
  TransferNotFoundError,
  InvalidFulfillmentError,
  DuplicateIdError,
  AlreadyRolledBackError,
  AlreadyFulfilledError,
  InsufficientBalanceError,
  NoSubscriptionsError,
  StoreError
} as const

/** Makes the error object for what the peer sent, by its name (C25). */
export function errorFromPeer(remote: { name: string; code: string; message: string }): PaychanError {
  if (Object.hasOwn(WIRE_ERRORS, remote.name)) {
    return new WIRE_ERRORS[remote.name as keyof typeof WIRE_ERRORS](remote.message, { fromPeer: true })
  }
  return new RemoteError(remote.message, remote)
}

/** Whether the same request may be sent again later (RFC 23: `T` errors are temporary). */
export function isTemporary(error: unknown): boolean {
  return error instanceof PaychanError && error.code.startsWith('T')
}

/** Whether what failed so may have been done, or may be yet. */
export function isUnknown(error: unknown): boolean {
  return error instanceof PaychanError && error.outcome === 'unknown'
}

/** The message of anything that was thrown. Never throws itself, whatever a host or a module has thrown. */
export function messageOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown)
  } catch {
    return 'unknown error'
  }
}
