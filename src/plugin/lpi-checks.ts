/**
 * The checks of what a host hands in: LPI v1's transfers, messages, fulfillments (RFC 4). Imports core and btp.
 *
 * Each returns the value in the form that is stored and sent, and throws InvalidFieldsError naming the field.
 */
import { formatAmount, parseAmount } from '../core/amounts.js'
import { isBase64url, toUtf8 } from '../core/bytes.js'
import { LATEST_MS } from '../core/clock.js'
import { AccountNotFoundError, InvalidFieldsError } from '../core/errors.js'
import { checkObject, jsonCopyOf } from '../core/json.js'
import { parseBytes32, parseTransferId } from '../core/ids.js'
import { stringifyJson } from '../btp/protocol-data.js'
import type { Message, OutgoingMessage, OutgoingTransfer, Transfer } from './lpi.js'

/** The most that `ilp` and `custom` may come to together, in bytes: a frame has 64 KiB. */
const DATA_LIMIT = 60_000

/** `2017-12-24T16:14:32.279Z`, with the fraction or without; always UTC. */
const ISO_DATE = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,3})?Z$/

/** What goes to the other host, in a transfer, a message or its answer. */
interface Payload {
  ilp?: string | undefined
  custom?: object | undefined
}

export interface Addresses {
  account: string
  peer: string
  prefix: string
}

/**
 * @throws InvalidFieldsError naming the field; AccountNotFoundError when `to` is not the peer's account
 */
export function checkTransfer(transfer: OutgoingTransfer & { account?: string }, addresses: Addresses): Transfer {
  checkObject(transfer, 'transfer')
  const { id, amount, executionCondition, expiresAt, ilp, custom, data, noteToSelf, direction } = transfer
  parseTransferId(id)
  checkAddressing(transfer, addresses)
  const checked: Transfer = {
    id,
    amount: formatAmount(parseAmount(amount)),
    executionCondition: parseBytes32(executionCondition, 'executionCondition'),
    expiresAt: checkDate(expiresAt),
    to: addresses.peer,
    from: addresses.account,
    ledger: addresses.prefix
  }
  if (data !== undefined) checked.data = copyOfObject(data, 'data')
  if (noteToSelf !== undefined) checked.noteToSelf = copyOfObject(noteToSelf, 'noteToSelf')
  if (direction === 'outgoing') checked.direction = direction
  return withPayload(checked, { ilp, custom: custom === undefined ? undefined : copyOfObject(custom, 'custom') })
}

/** @throws InvalidFieldsError naming the field; AccountNotFoundError when `to` is not the peer's account */
export function checkMessage(message: OutgoingMessage & { account?: string }, addresses: Addresses): OutgoingMessage {
  checkObject(message, 'message')
  checkAddressing(message, addresses)
  const checked: OutgoingMessage = { to: addresses.peer, from: addresses.account, ledger: addresses.prefix }
  return withPayload(checked, message)
}

/**
 * What a host's request handler returned, addressed to who asked.
 * @throws InvalidFieldsError naming the field
 */
export function checkAnswer(answer: OutgoingMessage, asked: Message): OutgoingMessage {
  checkObject(answer, "the request handler's answer")
  const checked: OutgoingMessage = { to: asked.from, from: asked.to, ledger: asked.ledger }
  return withPayload(checked, answer)
}

/** Adds what goes to the other host, checked; what is absent stays so. */
function withPayload<T extends Payload>(checked: T, { ilp, custom }: Payload): T {
  if (ilp !== undefined) checked.ilp = checkBase64url(ilp, 'ilp')
  if (custom !== undefined) checked.custom = checkObject(custom, 'custom')
  checkSize(checked)
  return checked
}

/** The ILP packet that goes along with a fulfillment. @throws InvalidFieldsError */
export function checkIlp(ilp: unknown): string {
  const checked = checkBase64url(ilp, 'ilp')
  checkSize({ ilp: checked })
  return checked
}

/** @throws InvalidFieldsError unless it is 32 bytes in base64url */
export function checkFulfillment(fulfillment: unknown): string {
  return parseBytes32(fulfillment, 'fulfillment')
}

/** There is one peer: `to` is its account, or an address below it (H18). `account` is LPI's old name for `to`. */
function checkAddressing(given: { to?: string; from?: string; ledger?: string; account?: string }, { account, peer, prefix }: Addresses): void {
  const to: unknown = given.to ?? given.account
  if (typeof to !== 'string' || to === '') throw new InvalidFieldsError("to must be the peer's account")
  if (!isAtOrBelow(to, peer)) throw new AccountNotFoundError(`to must be the peer's account, ${peer}`)
  if (given.from !== undefined && !isAtOrBelow(given.from, account)) throw new InvalidFieldsError(`from must be the own account, ${account}`)
  if (given.ledger !== undefined && given.ledger !== prefix) throw new InvalidFieldsError(`ledger must be the own prefix, ${prefix}`)
}

function isAtOrBelow(address: unknown, account: string): boolean {
  return typeof address === 'string' && (address === account || address.startsWith(`${account}.`))
}

function checkDate(value: unknown): string {
  const time = typeof value === 'string' && ISO_DATE.test(value) ? Date.parse(value) : NaN
  // A day or month that does not exist either does not parse, or comes out as another day.
  if (Number.isNaN(time) || time < 0 || time > LATEST_MS || new Date(time).getUTCDate() !== Number((value as string).slice(8, 10))) {
    throw new InvalidFieldsError('expiresAt must be a UTC time, to the millisecond')
  }
  return value as string
}

function checkBase64url(value: unknown, field: string): string {
  if (typeof value !== 'string' || !isBase64url(value)) throw new InvalidFieldsError(`${field} must be a base64url string`)
  return value
}

/** As JSON has it, and out of the host's reach: the ledger keeps it. Some objects, dates for one, are none in JSON. */
function copyOfObject(value: object, field: string): object {
  return checkObject(jsonCopyOf(checkObject(value, field), field), field)
}

/** Also finds what is no JSON, or too deep for the peer to read: nothing of that may be stored as a transfer that is to be sent. */
function checkSize({ ilp = '', custom }: Payload): void {
  const size = (custom === undefined ? 0 : toUtf8(stringifyJson(custom, 'custom')).length) + Math.ceil(ilp.length * 3 / 4)
  if (size > DATA_LIMIT) throw new InvalidFieldsError(`ilp and custom must be at most ${DATA_LIMIT} bytes together`)
}
