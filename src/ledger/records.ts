/**
 * What the ledger keeps in a store: the keys, and the texts under them. Imports core.
 *
 * Under the old package's keys lie exactly the old package's values, so that either opens the other's store. What is ours lies
 * under `<key>:paychan:` and carries a version.
 */
import { parseLimit, parseSum } from '../core/amounts.js'
import type { Amount, Limit } from '../core/amounts.js'
import { printable, printableMessage } from '../core/bytes.js'
import { InvalidFieldsError, StoreError, TransferNotFoundError, messageOf } from '../core/errors.js'
import { isObject } from '../core/json.js'
import { STATE_OF } from './stages.js'
import type { Stage, TransferState } from './stages.js'

/**
 * The least that a log must know of a transfer; whatever else it holds is kept and given back.
 * `amount` is an integer string in base units.
 */
export interface LoggedTransfer {
  /** By which the log knows it: no two transfers share one. */
  id: string
  /** An integer string, 0 or more. */
  amount: string
}

/** A transfer and where it stands, as `TransferLog.get` returns it and as the old package stored it. */
export interface TransferWithInfo<T extends LoggedTransfer = LoggedTransfer> {
  /** As it was prepared. */
  transfer: T
  /** Whether the peer is its sender. */
  isIncoming: boolean
  /** Where it stands. One in dispute reads as `cancelled`. */
  state: TransferState
  /** Base64url; present only when `state` is `fulfilled`. */
  fulfillment?: string
}

/** What is stored beside a transfer while something about it is still to be done. */
export interface OpenRecord {
  v: 1
  /** Where it stands, unless the transfer's own record is ahead of it: then that one counts (`afterFinal`). */
  stage: Stage
  /** When it was prepared: milliseconds since 1970. */
  at: number
  /** The preimage, while the sender has not answered our Fulfill, or may say that it came too late. */
  fulfillment?: string
  /** The ILP packet, base64url, that goes along with the Fulfill or the Reject, or came along with it; or is the Fulfill itself. */
  ilp?: string
  /** The event that may not have been raised yet: it is raised (again) after a restart. */
  report?: 'fulfill' | 'reject' | 'cancel' | 'dispute'
  /** What the sender answered to a Fulfill that it does not take. */
  reason?: string
}

const VERSION = 1

/**
 * Whether the record of an outgoing transfer that has become final says all that this one would say, so that what was there while it
 * was offered may stay.
 */
export function isImplied({ stage, ilp, report }: OpenRecord): boolean {
  return ilp === undefined && ((stage === 'fulfilled' && report === 'fulfill') || (stage === 'cancelled' && report === 'cancel'))
}

/** What is open about a transfer that was offered when its open record was written, and has become final since. */
export function afterFinal({ v, at }: OpenRecord, { state, fulfillment }: TransferWithInfo): OpenRecord {
  if (state === 'fulfilled') return { v, stage: state, at, report: 'fulfill', ...(fulfillment === undefined ? {} : { fulfillment }) }
  return { v, stage: 'cancelled', at, report: 'cancel' }
}

/** Sorts newest first: the complement of the time, in fixed width (13 digits reach the year 2286). */
const LATEST = 9_999_999_999_999
const newestFirst = (at: number): string => String(Math.min(LATEST, Math.max(0, LATEST - Math.trunc(at)))).padStart(13, '0')

/** The keys of the ledger named `key`; the plugin's own is ''. */
export function ledgerKeys(key: string) {
  const ours = `${key}:paychan:`
  return {
    transfer: (id: string) => `${key}:tl:transfer:${id}`,
    balancePrefix: `${key}:tl:balance:`,
    incomingFulfilled: `${key}:tl:balance:if`,
    outgoingFulfilled: `${key}:tl:balance:of`,
    settledPrefix: `${ours}settled:`,
    settledIn: `${ours}settled:in`,
    settledOut: `${ours}settled:out`,
    maximum: `${key}:tl:maximum`,
    minimum: `${key}:tl:minimum`,
    openPrefix: `${ours}open:`,
    open: (page: number) => `${ours}open:${String(page).padStart(12, '0')}`,
    historyPrefix: `${ours}history:`,
    /** `<complement of the time>.<id>` of the newest transfer in a page: ascending keys are newest first. */
    history: (at: number, id: string) => `${ours}history:${newestFirst(at)}.${id}`,
    disputed: (id: string) => `${ours}disputed:${id}`
  }
}

export type LedgerKeys = ReturnType<typeof ledgerKeys>

/** When a transfer was prepared, and which. */
export type Moment = readonly [at: number, id: string]

/** The text of a page of the history, newest first, under the key of its first. What was pruned leaves its place empty. */
export function historyPageOf(moments: ReadonlyArray<Moment | null>): string {
  // Most pages of a wallet hold one, which its key tells.
  return moments.length === 1 ? '' : JSON.stringify(moments)
}

/** Reads a page of the history. @throws StoreError that names the key, when it does not parse */
export function parseHistoryPage(key: string, text: string, prefix: string): Array<Moment | null> {
  if (text === '') return [[LATEST - Number(key.slice(prefix.length, prefix.length + 13)), key.slice(prefix.length + 14)]]
  const page = parseJson(key, text)
  const isMoment = (value: unknown): boolean =>
    value === null || (Array.isArray(value) && typeof value[0] === 'number' && typeof value[1] === 'string')
  if (!Array.isArray(page) || !page.every(isMoment)) throw damaged(key, 'is no page')
  return page as Array<Moment | null>
}

/** Reads a stored transfer. @throws StoreError that names the key, when it does not parse */
export function parseTransferRecord(key: string, text: string): TransferWithInfo {
  const value = parseJson(key, text) as { transfer?: unknown; isIncoming?: unknown; state?: unknown } | null
  const sound = isObject(value) && isObject(value.transfer) && typeof value.isIncoming === 'boolean' &&
    (value.state === 'prepared' || value.state === 'fulfilled' || value.state === 'cancelled')
  if (!sound) throw damaged(key, 'is no transfer')
  return value as unknown as TransferWithInfo
}

/** What a page says of one open transfer: `info` where the transfer lies within. */
export interface StoredOpen {
  readonly id: string
  readonly open: OpenRecord
  readonly info: TransferWithInfo | undefined
}

/**
 * Reads a page of open transfers.
 * @throws StoreError that names the key, when it does not parse
 */
export function parseOpenPage(key: string, text: string): StoredOpen[] {
  const page = parseJson(key, text)
  if (!Array.isArray(page)) throw damaged(key, 'is no page')
  return page.map(value => parseOpen(key, value))
}

function parseOpen(key: string, value: unknown): StoredOpen {
  if (!isOpenRecord(value)) throw damaged(key, 'is of no known version')
  const { id, isIncoming, transfer, ...open } = value
  if (transfer === undefined) return { id, open, info: undefined }
  if (!isObject(transfer) || typeof isIncoming !== 'boolean') throw damaged(key, 'is no transfer')
  const info = { transfer: transfer as unknown as LoggedTransfer, isIncoming, state: STATE_OF[open.stage] }
  const { fulfillment } = open
  return { id, open, info: info.state === 'fulfilled' && fulfillment !== undefined ? { ...info, fulfillment } : info }
}

function isOpenRecord(value: unknown): value is OpenRecord & { id: string; isIncoming?: unknown; transfer?: unknown } {
  const record = value as Partial<Record<keyof OpenRecord | 'id', unknown>> | null
  return isObject(record) && record.v === VERSION && typeof record.id === 'string' && typeof record.at === 'number' &&
    typeof record.stage === 'string' && Object.hasOwn(STATE_OF, record.stage)
}

/**
 * Reads a stored sum, or the amount of a stored transfer: an integer, 0 or more. The old package took more forms of an amount than
 * are taken today (`1e3`, numbers), so what it wrote is read generously.
 * @throws StoreError that names the key, when it is no such thing
 */
export function parseStoredSum(key: string, value: unknown): Amount {
  const sum = parseStored(key, () => parseSum(String(value), 'the sum'))
  if (sum < 0n) throw damaged(key, 'is negative')
  return sum
}

/** Reads a stored limit: an integer, `Infinity` or `-Infinity`. @throws StoreError that names the key, when it is no such thing */
export function parseStoredLimit(key: string, text: string): Limit {
  return parseStored(key, () => text.endsWith('Infinity') ? parseLimit(text, 'the limit') : parseSum(text, 'the limit'))
}

/** What is thrown for a record that cannot be read. */
export function damaged(key: string, what: string, cause?: unknown): StoreError {
  return new StoreError(`the record under '${printable(key)}' ${what}`, { cause })
}

function parseJson(key: string, text: string): unknown {
  return parseStored(key, () => JSON.parse(text) as unknown)
}

/** Reads a part of a record. @throws StoreError that names the key, for whatever `parse` throws */
export function parseStored<V>(key: string, parse: () => V): V {
  try {
    return parse()
  } catch (cause) {
    throw damaged(key, `does not parse: ${printableMessage(cause)}`, cause)
  }
}

/**
 * How each record of a transfer begins.
 * @throws InvalidFieldsError for what has no JSON
 */
export function headOf(transfer: LoggedTransfer, isIncoming: boolean): string {
  return `{"transfer":${jsonOf(transfer)},"isIncoming":${String(isIncoming)}`
}

/** The record of what is open, without its opening brace. Written by hand, since each transfer takes two: none of its own texts needs escapes. */
export function openRecordOf(id: string, { v, stage, at, fulfillment, ilp, report, reason }: OpenRecord): string {
  let text = `"id":${JSON.stringify(id)},"v":${v},"stage":"${stage}","at":${at}`
  if (fulfillment !== undefined) text += `,"fulfillment":${JSON.stringify(fulfillment)}`
  if (ilp !== undefined) text += `,"ilp":${JSON.stringify(ilp)}`
  if (report !== undefined) text += `,"report":"${report}"`
  if (reason !== undefined) text += `,"reason":${JSON.stringify(reason)}`
  return `${text}}`
}

/** @throws InvalidFieldsError for what has no JSON */
function jsonOf(transfer: LoggedTransfer): string {
  try {
    return JSON.stringify(transfer)
  } catch (cause) {
    throw new InvalidFieldsError(`the transfer must be JSON: ${messageOf(cause)}`, { cause })
  }
}

/**
 * A transfer in the form in which it will be read again, out of its maker's reach.
 * @throws InvalidFieldsError for what has no JSON
 */
export function copyOf<T extends LoggedTransfer>(transfer: T): T {
  const json = jsonOf(transfer) as string | undefined
  if (json === undefined) throw new InvalidFieldsError('the transfer must be JSON')
  return JSON.parse(json) as T
}

/** Whether two transfers are the same to the last field, as JSON sees them. @throws InvalidFieldsError for what has no JSON */
export function sameTransfer(a: LoggedTransfer, b: LoggedTransfer): boolean {
  return sameJson(copyOf(a), copyOf(b))
}

/** Compares what JSON.parse returned: names have no order, and none of them means anything to us (H37). */
function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every(name =>
    Object.hasOwn(b, name) && sameJson(a[name as keyof typeof a], b[name as keyof typeof b]))
}

/** What was found under an id. @throws TransferNotFoundError when nothing was */
export function found<E>(entry: E | undefined, id: string): E {
  if (entry === undefined) throw new TransferNotFoundError(`no transfer has the id ${printable(id)}`)
  return entry
}

/**
 * The longest id that a log takes, in UTF-16 code units: of any id so long, all keys fit into every store.
 */
const LONGEST_ID = 500

/** @throws InvalidFieldsError for an id that no log takes: one that a store refuses would take its whole group along */
export function checkLogId(id: unknown): asserts id is string {
  if (typeof id !== 'string' || id === '') throw new InvalidFieldsError('id must be a string that is not empty')
  if (id.length > LONGEST_ID) throw new InvalidFieldsError(`id must have at most ${LONGEST_ID} characters`)
  if (/\p{Surrogate}/u.test(id)) throw new InvalidFieldsError('id must be well-formed Unicode')
}
