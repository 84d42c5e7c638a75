/**
 * One side's durable state as the auditor reads it: from the batches that reached the disk, by the layout of the records and nothing of the
 * plugin's. The balance and the holds are added up here, from the transfers themselves.
 */
import { createHash } from 'node:crypto'
import type { Writes } from './disk.js'

/** What is held for a transfer that is in one of these. */
const HELD = new Set(['offered', 'sent', 'checking', 'held', 'fulfilling', 'handed'])
/** What counts in the balance. */
const COUNTED = new Set(['answered', 'fulfilled'])

/** What the peer has sent of a preimage, by its condition. */
export type PreimageOf = (condition: string) => string | undefined

/** Where a transfer stands, and what is known of it. */
export interface Status {
  readonly id: string
  /** As design.md names the stages. */
  readonly stage: string
  readonly isIncoming: boolean
  readonly amount: number
  readonly condition: string
  readonly expiresAt: number
  readonly fulfillment: string | undefined
}

export const isHeld = (status: Status | undefined): boolean => status !== undefined && HELD.has(status.stage)
export const isCounted = (status: Status | undefined): boolean => status !== undefined && COUNTED.has(status.stage)
export const isOver = (status: Status | undefined): boolean => status !== undefined && !isHeld(status) && !isCounted(status)

export interface Change {
  readonly before: Status | undefined
  readonly after: Status | undefined
}

interface TransferOfRecord {
  readonly id: string
  readonly amount: string
  readonly executionCondition: string
  readonly expiresAt: string
}

interface OwnRecord {
  readonly transfer: TransferOfRecord
  readonly isIncoming: boolean
  readonly state: string
  readonly fulfillment?: string
}

interface OpenRecord extends Partial<OwnRecord> {
  readonly id: string
  readonly stage: string
  readonly fulfillment?: string
}

/** A settlement under way, and what was credited. */
export interface Settlements {
  readonly last: number
  readonly sending: ReadonlyArray<{ number: number; amount: string; claim?: string }>
  readonly claimed?: string
  readonly credited?: { ledger: string; number: number }
}

export interface Claim {
  readonly channel: string
  readonly amount: string
  readonly signature: string
}

const NO_SETTLEMENTS: Settlements = { last: 0, sending: [] }
const OWN = ':tl:transfer:'
const OPEN = ':paychan:open:'
const DISPUTED = ':paychan:disputed:'
/** What is in books that are in use. */
const BOOKS = /^:tl:|^:paychan:(open|settled):/

export class Books {
  readonly values = new Map<string, string>()
  readonly statuses = new Map<string, Status>()
  /** Sums of what counts, of what is held. */
  readonly fulfilled = { incoming: 0, outgoing: 0 }
  readonly held = { incoming: 0, outgoing: 0 }
  readonly #own = new Map<string, OwnRecord>()
  readonly #open = new Map<string, OpenRecord>()
  readonly #pages = new Map<string, string[]>()
  readonly #byCondition = new Map<string, string>()
  settlements = NO_SETTLEMENTS
  /** They were emptied, and nothing is in them yet. */
  isBlank = false
  /** The amount of each settlement that was ever begun, by its number. */
  readonly begun = new Map<number, string>()
  /** The text of each claim of its own that was ever durable. */
  readonly claimsMade = new Set<string>()

  get balance(): number {
    return this.fulfilled.incoming - this.fulfilled.outgoing
  }

  /** A number under a key; 0 where there is none. */
  sum(key: string): number {
    return Number(this.values.get(key) ?? 0)
  }

  get settledOut(): number {
    return this.sum(':paychan:settled:out')
  }

  get settledIn(): number {
    return this.sum(':paychan:settled:in')
  }

  /** What settlements under way come to. */
  get underWay(): number {
    return this.settlements.sending.reduce((sum, { amount }) => sum + Number(amount), 0)
  }

  /** The best claim of the peer, as the module of test/examples keeps it. */
  get bestClaim(): Claim | undefined {
    const text = this.values.get('incoming_claim:mvt:maximum')
    if (text === undefined) return undefined
    const { value, data } = JSON.parse(text) as { value: string; data: Omit<Claim, 'amount'> }
    return { ...data, amount: value }
  }

  /** The claim that was made last. */
  get ownClaim(): { sum: string; claim?: { sum: string; text: string } } | undefined {
    const text = this.values.get(':paychan:claim:outgoing')
    return text === undefined ? undefined : JSON.parse(text) as { sum: string; claim?: { sum: string; text: string } }
  }

  of(condition: string): Status | undefined {
    const id = this.#byCondition.get(condition)
    return id === undefined ? undefined : this.statuses.get(id)
  }

  /** A batch is durable. What it changes about transfers. */
  apply(writes: Writes, preimageOf: PreimageOf): Change[] {
    const touched = new Set<string>()
    for (const [key, value] of writes) {
      if (key.startsWith(OWN)) this.#writeOwn(key.slice(OWN.length), value, touched)
      else if (key.startsWith(OPEN)) this.#writePage(key, value, touched)
      else if (key.startsWith(DISPUTED)) touched.add(key.slice(DISPUTED.length))
      else if (key === ':paychan:settlements') this.#settle(value === undefined ? NO_SETTLEMENTS : JSON.parse(value) as Settlements)
      if (value === undefined) this.values.delete(key)
      else this.values.set(key, value)
      if (key === ':paychan:claim:outgoing') this.claimsMade.add(this.ownClaim?.claim?.text ?? '')
    }
    const isFirst = this.isBlank && writes.some(([key]) => BOOKS.test(key))
    const ended = [...touched].filter(id => this.#hasEndedUnrecorded(id))
    const changes = [...touched].filter(id => !ended.includes(id)).flatMap(id => this.#update(id, this.#statusOf(id)))
    changes.push(...this.#endUnrecorded(ended, preimageOf))
    if (isFirst) this.#openWith()
    return changes
  }

  #settle(settlements: Settlements): void {
    this.settlements = settlements
    for (const { number, amount } of settlements.sending) this.begun.set(number, amount)
  }

  /** These are what is left of others that were lost: claims that were made are known. */
  empty(claimsMade: Iterable<string>): void {
    this.isBlank = true
    for (const text of claimsMade) this.claimsMade.add(text)
  }

  /** What was taken from the peer, or nothing: beyond it the sums are those of the transfers, as ever. */
  #openWith(): void {
    this.isBlank = false
    this.fulfilled.incoming += Math.max(0, this.sum(':tl:balance:if') - this.fulfilled.incoming)
    this.fulfilled.outgoing += Math.max(0, this.sum(':tl:balance:of') - this.fulfilled.outgoing)
  }

  /** Whether it is a packet of which nothing is kept when it is final. */
  #hasEndedUnrecorded(id: string): boolean {
    const before = this.statuses.get(id)
    return before !== undefined && ['sent', 'unsure', 'answered'].includes(before.stage) && !this.#own.has(id) && !this.#open.has(id)
  }

  /**
   * How packets have ended that left no record. Of those that were sent the sum tells it: as many count as it has grown by, first those
   * whose preimages have come. Where none do, the sum is wrong, which is found by who compares it.
   */
  #endUnrecorded(ids: readonly string[], preimageOf: PreimageOf): Change[] {
    const sent: Status[] = []
    const changes: Change[] = []
    for (const before of ids.map(id => this.statuses.get(id))) {
      if (before?.stage === 'sent') sent.push(before)
      else if (before !== undefined) changes.push(...this.#update(before.id, { ...before, stage: this.#endOf(before) }))
    }
    const grown = this.sum(':tl:balance:of') - this.fulfilled.outgoing
    const counted = subsetOf(sent.sort((a, b) => Number(preimageOf(b.condition) !== undefined) - Number(preimageOf(a.condition) !== undefined)), grown) ?? []
    for (const before of sent) {
      const after = counted.includes(before) ? { ...before, stage: 'fulfilled', fulfillment: preimageOf(before.condition) } : { ...before, stage: 'cancelled' }
      changes.push(...this.#update(before.id, after))
    }
    return changes
  }

  #endOf({ id, stage }: Status): string {
    if (stage === 'unsure') return 'cancelled'
    return this.values.has(DISPUTED + id) ? 'disputed' : 'fulfilled'
  }

  #writeOwn(id: string, value: string | undefined, touched: Set<string>): void {
    touched.add(id)
    if (value === undefined) this.#own.delete(id)
    else this.#own.set(id, JSON.parse(value) as OwnRecord)
  }

  #writePage(key: string, value: string | undefined, touched: Set<string>): void {
    const records = value === undefined ? [] : JSON.parse(value) as OpenRecord[]
    for (const id of this.#pages.get(key) ?? []) {
      touched.add(id)
      // In one batch a record may have moved to another page, which may have been read first.
      if (![...this.#pages].some(([other, ids]) => other !== key && ids.includes(id))) this.#open.delete(id)
    }
    this.#pages.set(key, records.map(({ id }) => id))
    for (const record of records) {
      touched.add(record.id)
      this.#open.set(record.id, record)
    }
  }

  #update(id: string, after: Status | undefined): Change[] {
    const before = this.statuses.get(id)
    if (before?.stage === after?.stage) return []
    if (after === undefined) this.statuses.delete(id)
    else {
      this.statuses.set(id, after)
      this.#byCondition.set(after.condition, id)
    }
    if (before !== undefined) this.#count(before, -1)
    if (after !== undefined) this.#count(after, 1)
    return [{ before, after }]
  }

  #statusOf(id: string): Status | undefined {
    const own = this.#own.get(id)
    const open = this.#open.get(id)
    const { transfer } = own ?? open ?? {}
    if (transfer === undefined) return undefined
    const fulfillment = own?.fulfillment ?? open?.fulfillment
    return {
      id,
      stage: this.#stageOf(id, own, open),
      isIncoming: (own ?? open)?.isIncoming === true,
      amount: Number(transfer.amount),
      condition: transfer.executionCondition,
      expiresAt: Date.parse(transfer.expiresAt),
      fulfillment
    }
  }

  /** The record of a transfer that was offered may be ahead of what says that it is open. */
  #stageOf(id: string, own: OwnRecord | undefined, open: OpenRecord | undefined): string {
    if (open !== undefined && !(open.stage === 'offered' && own !== undefined && own.state !== 'prepared')) return open.stage
    if (own?.state === 'cancelled' && this.values.has(DISPUTED + id)) return 'disputed'
    return own?.state ?? 'lost'
  }

  #count(status: Status, sign: 1 | -1): void {
    const direction = status.isIncoming ? 'incoming' : 'outgoing'
    if (isHeld(status)) this.held[direction] += sign * status.amount
    if (isCounted(status)) this.fulfilled[direction] += sign * status.amount
  }
}

/** Some of these that come to that sum together, the first ones first. */
function subsetOf(statuses: readonly Status[], sum: number): Status[] | undefined {
  const [first, ...rest] = statuses
  if (first === undefined) return sum === 0 ? [] : undefined
  const withFirst = sum < first.amount ? undefined : subsetOf(rest, sum - first.amount)
  return withFirst === undefined ? subsetOf(rest, sum) : [first, ...withFirst]
}

/** The condition of a preimage, both in base64url. */
export function conditionOf(preimage: string): string {
  return createHash('sha256').update(Buffer.from(preimage, 'base64url')).digest('base64url')
}
