/**
 * The claims between two peers: has the module make one for what we owe, keeps it, and sends it until the peer has taken it; hands
 * the peer's claims to the module. Imports core, btp and the module contract.
 *
 * A claim is for a sum that only grows, so a newer claim replaces every older one: only the latest is kept and sent. It is stored
 * before it is sent, and sent again as it is. It rides on the Responses to the peer's Fulfills. To a peer of ours it also goes as a
 * Message, of which an answer tells that the claim was taken; an old peer cannot tell, so there it rides on every Response.
 *
 * After a restart, what the module was called for last is compared with what was ever fulfilled: a claim that is missing is made then.
 */
import { stringifyJson } from '../btp/protocol-data.js'
import type { JsonValue } from '../btp/protocol-data.js'
import { ContentType } from '../btp/packets.js'
import type { SubProtocol } from '../btp/packets.js'
import { parseSum } from '../core/amounts.js'
import { printableMessage, toUtf8 } from '../core/bytes.js'
import type { CancelTimer, Clock } from '../core/clock.js'
import { InvalidFieldsError, StoreError, isTemporary } from '../core/errors.js'
import { parseIfJson } from '../core/json.js'
import type { Logger } from '../core/log.js'
import type { Random } from '../core/random.js'
import { waitAtMost } from '../core/timers.js'
import { CLAIM, IncomingClaims, claimRetryDelay } from './incoming-claims.js'
import { CALLBACK_LIMIT_MS } from './module.js'
import type { ModuleRunner } from './module.js'
import type { SendMessage } from './rpc.js'

export { CLAIM }

/** The largest claim, in bytes of JSON: with room to spare in a frame of 64 KiB. */
export const CLAIM_LIMIT = 32_768
/** A claim that rode on a Response is confirmed by a Message when there was no newer one for so long. */
const QUIET_MS = 1000
/** How long a module that hangs is waited for at the end. */
export const IDLE_LIMIT_MS = 5000

export const OUTGOING_RECORD = 'claim:outgoing'
/** Where the settlements are under a host of LPI v2. A store has one or the other: claims are for another sum there. */
export const MONEY_RECORD = 'settlements'
const TAKEN_RECORD = 'claim:taken'

/** Small texts of the settlement in the plugin's store. */
export interface Records {
  read(name: string): Promise<string | undefined>
  /** Resolves when it is durable. @throws StoreError, StandbyError */
  write(name: string, value: string): Promise<void>
}

export interface SettlementOptions {
  clock: Clock
  random: Random
  log: Logger
  module: Pick<ModuleRunner, 'createOutgoingClaim' | 'handleIncomingClaim'>
  records: Records
  /** The sum of all outgoing transfers that were ever fulfilled, as far as it is durable. */
  outgoingFulfilled(): Promise<string>
  /** Sends on the current session. @throws UnreachableError when there is none, or it ends before the answer */
  request: SendMessage
  /** The current session; `announced` when the peer is one of ours. */
  session(): { readonly peer: { readonly announced: boolean } } | undefined
}

/** What the module has done for us so far. */
interface Outgoing {
  v: 1
  /** The sum that it was last called with, and finished. */
  sum: string
  /** The latest claim, as JSON, and the sum that it was made for. Absent as long as it returned none. */
  claim?: { sum: string; text: string }
}

/** One call of `createOutgoingClaim`, and those who wait for it. */
class Round {
  readonly ended: Promise<void>
  /** Those who waited were let go before it ended. */
  overdue = false
  #end: () => void = () => undefined
  #cancelTimer: CancelTimer | undefined

  constructor() {
    this.ended = new Promise(resolve => { this.#end = resolve })
  }

  /** Whether a Response waits, or has waited, for it. */
  get awaited(): boolean {
    return this.#cancelTimer !== undefined
  }

  /** Lets all who wait go after the time that a callback may take, counted from the first of them. */
  awaitedFrom(clock: Clock): void {
    this.#cancelTimer ??= clock.setTimer(CALLBACK_LIMIT_MS, () => {
      this.overdue = true
      this.#end()
    })
  }

  end(): void {
    this.#cancelTimer?.()
    this.#end()
  }
}

export class Settlement {
  readonly #options: SettlementOptions
  #active = false

  #outgoing: Outgoing = { v: 1, sum: '0' }
  /** What the module has done and the store has not taken yet: nothing of it is sent. */
  #unwritten: Outgoing | undefined
  /** The sum of the latest claim that the peer has taken. */
  #taken = ''
  /** The sum of the claim that the peer refused in this session. */
  #refused = ''

  /** What was last reported about the module's failures. */
  #complaint = ''
  #running: Promise<void> | undefined
  #next: Round | undefined
  #delivering = false
  #deliveryFailures = 0
  #cancelDelivery: CancelTimer | undefined

  readonly #incoming: IncomingClaims

  constructor(options: SettlementOptions) {
    this.#options = options
    const { clock, random, log, module } = options
    this.#incoming = new IncomingClaims({ clock, random, log, module, peerRepeats: () => this.#isPeerOurs() })
  }

  /**
   * Reads what is stored, and begins to work. Called when the module is connected and the store is ours.
   * @throws StoreError when the store fails, or its record is of no version that is known here; InvalidFieldsError where the ledger was
   *   settled under a host of LPI v2
   */
  async load(): Promise<void> {
    const [outgoing, taken, money] = await Promise.all([OUTGOING_RECORD, TAKEN_RECORD, MONEY_RECORD].map(name => this.#options.records.read(name)))
    if (money !== undefined) throw new InvalidFieldsError('this store was settled under a host of LPI v2: begin with a new store')
    this.#outgoing = outgoing === undefined ? { v: 1, sum: '0' } : parseOutgoing(outgoing)
    this.#taken = taken === undefined ? '' : parseTaken(taken)
    if (this.#unwritten !== undefined && !this.#isAhead(this.#unwritten.sum)) this.#unwritten = undefined
    this.#active = true
    this.#incoming.start()
  }

  /** Makes the claim that may be missing, and sends the latest one if the peer has not taken it. */
  onSessionUp(): void {
    if (!this.#active) return
    this.#refused = ''
    this.#deliveryFailures = 0
    this.#gather()
  }

  /** Begins nothing any more. What the module is doing goes on: `idle` waits for it. */
  stop(): void {
    this.#active = false
    this.#cancelDelivery?.()
    this.#next?.end()
    this.#next = undefined
    this.#incoming.stop()
  }

  /** Resolves when the module has ended what it was called for; after 5 s also if it has not. */
  async idle(): Promise<void> {
    await waitAtMost(this.#options.clock, IDLE_LIMIT_MS, Promise.all([this.#running, this.#incoming.idle()]))
  }

  /** Something was fulfilled that no Response of ours follows: an ILPv4 packet. */
  onOwed(): void {
    if (this.#active) this.#gather()
  }

  /**
   * The claim to put on the Response to a Fulfill, once the transfer is durably fulfilled: for all that was fulfilled until now,
   * when it is made and stored within 500 ms; else the one before, unless the peer has taken it; or none. Never rejects.
   */
  async claimForResponse(): Promise<SubProtocol[]> {
    if (this.#active) {
      const round = this.#gather()
      round.awaitedFrom(this.#options.clock)
      await round.ended
    }
    const claim = this.#untaken()
    return claim === undefined ? [] : [toSubProtocol(claim.text)]
  }

  /**
   * Hands a claim that came as a Message to the module.
   * @throws InvalidFieldsError when it is neither JSON nor text; UnreachableError when too many are waiting; what the module throws
   */
  async receive(sub: SubProtocol): Promise<void> {
    await this.#incoming.receive(sub)
  }

  /**
   * Hands the claim on the Response to our Fulfill, if there is one, to the module. Resolves when the module has handled it, or
   * after 500 ms (C39). Never rejects: the transfer is fulfilled whatever the claim is worth.
   */
  receiveOnResponse(protocolData: readonly SubProtocol[]): Promise<void> {
    return this.#incoming.receiveOnResponse(protocolData)
  }

  /** The round that takes in everything fulfilled until now. One runs at a time; those who come meanwhile share the next. */
  #gather(): Round {
    this.#next ??= new Round()
    this.#running ??= this.#run()
    return this.#next
  }

  async #run(): Promise<void> {
    // Fulfills that became durable in one group come in one turn: a turn later they share the first round.
    await Promise.resolve()
    while (this.#next !== undefined) {
      const round = this.#next
      this.#next = undefined
      const made = await this.#settle()
      const rides = round.awaited && !round.overdue
      round.end()
      if (made) this.#deliverIn(rides ? QUIET_MS : 0)
      else if (!round.awaited) this.#deliverIn(0)
    }
    // In the same turn in which nothing was left to do, so that whoever comes later begins anew.
    this.#running = undefined
  }

  /** Has the module make what is missing, and stores it. Tells whether there is a new claim. Never rejects. */
  async #settle(): Promise<boolean> {
    const before = this.#outgoing.claim
    try {
      await this.#write()
      const sum = await this.#options.outgoingFulfilled()
      if (this.#isAhead(sum)) {
        const made = await this.#options.module.createOutgoingClaim(sum)
        this.#unwritten = advance(this.#outgoing, sum, made)
        await this.#write()
      }
      this.#complaint = ''
    } catch (error) {
      this.#complain(`what is owed could not be settled: ${printableMessage(error)}`)
    }
    return this.#outgoing.claim !== before
  }

  /** Once for each trouble: a module may fail with the same words thousands of times in a second. */
  #complain(complaint: string): void {
    if (complaint !== this.#complaint) this.#options.log.warn(complaint)
    this.#complaint = complaint
  }

  async #write(): Promise<void> {
    const next = this.#unwritten
    if (next === undefined) return
    await this.#options.records.write(OUTGOING_RECORD, JSON.stringify(next))
    this.#outgoing = next
    this.#unwritten = undefined
  }

  #isAhead(sum: string): boolean {
    return parseSum(sum, 'sum') > parseSum(this.#outgoing.sum, 'sum')
  }

  /** The latest claim, as JSON, taken by the peer or not. */
  get latestClaim(): string | undefined {
    return this.#outgoing.claim?.text
  }

  #untaken(): { sum: string; text: string } | undefined {
    const { claim } = this.#outgoing
    return claim === undefined || claim.sum === this.#taken || claim.sum === this.#refused ? undefined : claim
  }

  #isPeerOurs(): boolean {
    return this.#options.session()?.peer.announced === true
  }

  #deliverIn(delayMs: number): void {
    this.#cancelDelivery?.()
    if (!this.#active || this.#untaken() === undefined) return
    this.#cancelDelivery = this.#options.clock.setTimer(delayMs, () => { void this.#deliver() })
  }

  async #deliver(): Promise<void> {
    const claim = this.#untaken()
    if (claim === undefined || this.#delivering || !this.#isPeerOurs()) return
    this.#delivering = true
    let delayMs = QUIET_MS
    try {
      await this.#options.request({ type: 'message', protocolData: [toSubProtocol(claim.text)] })
      this.#deliveryFailures = 0
      await this.#markTaken(claim.sum)
    } catch (error) {
      if (isTemporary(error)) {
        delayMs = claimRetryDelay(this.#options.random, this.#deliveryFailures++)
      } else {
        this.#refused = claim.sum
        this.#options.log.warn(`our claim for ${claim.sum} was refused: ${printableMessage(error)}`)
      }
    }
    this.#delivering = false
    // Sends nothing if this claim was taken or refused, and no newer one has come meanwhile.
    this.#deliverIn(delayMs)
  }

  /** Only saves traffic, so a failing store harms nothing: the claim is sent once more after a restart. */
  async #markTaken(sum: string): Promise<void> {
    this.#taken = sum
    try {
      await this.#options.records.write(TAKEN_RECORD, JSON.stringify({ v: 1, sum }))
    } catch (error) {
      this.#options.log.debug(`the store did not take a write: ${printableMessage(error)}`)
    }
  }
}

function advance(before: Outgoing, sum: string, made: JsonValue | undefined): Outgoing {
  if (made === undefined || made === null) return { ...before, sum }
  return { v: 1, sum, claim: { sum, text: claimText(made) } }
}

/** A claim as it is stored and sent. @throws InvalidFieldsError when it is no JSON, or too large */
export function claimText(made: JsonValue): string {
  const text = stringifyJson(made, 'the claim')
  if (toUtf8(text).length > CLAIM_LIMIT) throw new InvalidFieldsError(`the claim must be at most ${CLAIM_LIMIT} bytes of JSON`)
  return text
}

export function toSubProtocol(claim: string): SubProtocol {
  return { protocolName: CLAIM, contentType: ContentType.json, data: toUtf8(claim) }
}

function parseOutgoing(text: string): Outgoing {
  const value = parseIfJson(text) as Partial<Outgoing> | null | undefined
  const claim = value?.claim as Partial<NonNullable<Outgoing['claim']>> | null | undefined
  const isSound = value?.v === 1 && typeof value.sum === 'string' && /^[0-9]+$/.test(value.sum) &&
    (claim === undefined || (typeof claim?.sum === 'string' && typeof claim.text === 'string'))
  if (isSound) return value as Outgoing
  throw new StoreError(`the record under ':paychan:${OUTGOING_RECORD}' is of no known version`)
}

/** Of a version that is not known, or does not parse: then the peer gets the claim once more. */
function parseTaken(text: string): string {
  const value = parseIfJson(text) as { v?: unknown; sum?: unknown } | null | undefined
  return value?.v === 1 && typeof value.sum === 'string' ? value.sum : ''
}
