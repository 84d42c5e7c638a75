/**
 * The auditor: knows what the hosts asked for and were told, sees each batch that becomes durable and each frame that leaves or arrives,
 * and holds the rules I1 to I9 of the design against them at every such step. It adds up by itself, and asks the plugins nothing.
 */
import { decodePacket } from '../../src/btp/packets.js'
import type { MessagePacket, Packet, RequestPacket, ResponsePacket, SubProtocol } from '../../src/btp/packets.js'
import { Books, conditionOf, isCounted, isHeld, isOver } from './books.js'
import type { Change, Claim, Status } from './books.js'
import type { Writes } from './disk.js'
import { ilpOf, jsonOf, nameOf, readIlp } from './frames.js'
import { otherSide } from './world.js'
import type { SideName, World } from './world.js'

/** A payment that a host set out to make. */
export interface Payment {
  readonly number: number
  readonly from: SideName
  readonly amount: number
  readonly condition: string
  /** The preimage. */
  readonly fulfillment: string
  readonly expiresAt: number
}

/** What the auditor may know of a side beside its books. */
export interface Observed {
  /** Another one with each process, connect and disconnect: what began in one may end in another. */
  readonly era: object
  readonly now: number
  /** Another one with each process. */
  readonly life: object
  /** How far the clock of this process was put back, all told. */
  readonly putBackMs: number
  readonly graceMs: number
  readonly limits: { maximum: number; minimum: number }
  /** Whether the user has agreed to take the books from the peer. */
  readonly recovers: boolean
}

/** What a host was told of a payment. */
type Word = 'prepared' | 'fulfilled' | 'cancelled' | 'disputed'

const SIDES = ['alice', 'bob'] as const

const stageOf = (status: Status | undefined): string => status?.stage ?? 'absent'

/** Where a transfer may go from each stage: the design's table, written anew. */
const MOVES: Readonly<Record<string, readonly string[]>> = {
  // A packet that the host of the receiver has is in memory only, until it is fulfilled.
  absent: ['offered', 'sent', 'checking', 'held', 'answered'],
  offered: ['fulfilled', 'cancelled'],
  sent: ['fulfilled', 'cancelled', 'unsure'],
  unsure: ['cancelled'],
  // The host finds it in flight after a restart: then its word and the module's may be in one commit.
  checking: ['held', 'fulfilling', 'rejecting', 'cancelled', 'absent'],
  held: ['fulfilling', 'rejecting', 'cancelled'],
  fulfilling: ['fulfilled', 'disputed'],
  answered: ['fulfilled', 'disputed'],
  rejecting: ['cancelled'],
  fulfilled: [],
  cancelled: [],
  disputed: []
}

/** What blank books have none of. */
const REPORTED = ['incomingFulfilled', 'outgoingFulfilled', 'settledIn', 'settledOut', 'incomingHeld']

export interface AuditorOptions {
  readonly isV2: boolean
  /** Whether a module proves what is settled. */
  readonly hasClaims: boolean
  /** Whether a signature under a claim is that of its channel's source. */
  readonly verify: (claim: Claim) => boolean
}

export class Auditor {
  readonly payments = new Map<string, Payment>()
  /** The packets that each host has, by their conditions, and in which life. */
  readonly #inHand: Record<SideName, Array<{ era: object; condition: string }>> = { alice: [], bob: [] }
  readonly books: Record<SideName, Books> = { alice: new Books(), bob: new Books() }
  readonly observed: Partial<Record<SideName, Observed>> = {}
  readonly #world: World
  readonly #options: AuditorOptions
  /** The requests on each wire, by who asked. */
  readonly #requests = new Map<string, RequestPacket>()
  readonly #told: Record<SideName, Map<string, Word[]>> = { alice: new Map(), bob: new Map() }
  /** In which era of its sender a Fulfill came in time, by its condition. */
  readonly #due = new Map<string, object>()
  /** How far the clock had been put back when a side came to know of a transfer. */
  readonly #known = new Map<string, { life: object; putBackMs: number }>()
  /** What has come to each side, by its condition. */
  readonly #preimages: Record<SideName, Map<string, string>> = { alice: new Map(), bob: new Map() }
  /** The transfers whose Prepare has left, and those of which the peer has said that it holds nothing; by side and id. */
  readonly #offered = new Set<string>()
  readonly #released = new Set<string>()
  /** What each side knew before its books were emptied. */
  readonly #lost: Record<SideName, Set<string>> = { alice: new Set(), bob: new Set() }
  /** What was in the books of a process whose store was emptied under it, until something is written there again: what it says is true by these. */
  readonly #gone = new Map<SideName, Books>()
  /** Who has told blank books, and was answered that they should not be. */
  readonly #warned = new Set<SideName>()
  /** Or that they are rightly blank. */
  readonly #agreed = new Set<SideName>()
  /** Who knows on which wire that there is a session. */
  readonly #sessions = new Set<string>()
  /** What the hosts were told is settled, and what they heard that the peer has settled. */
  readonly settled: Record<SideName, { done: number; heard: number }> = { alice: { done: 0, heard: 0 }, bob: { done: 0, heard: 0 } }

  constructor(world: World, options: AuditorOptions) {
    this.#world = world
    this.#options = options
  }

  /** A side has lost its books, and all that its host knew; or its process knows it still. */
  emptied(side: SideName, isInUse: boolean): void {
    const { [side]: gone } = this.books
    this.books[side] = new Books()
    this.books[side].empty(gone.claimsMade)
    if (isInUse) this.#gone.set(side, gone)
    this.#warned.delete(side)
    this.#agreed.delete(side)
    this.#told[side].clear()
    this.settled[side] = { done: 0, heard: 0 }
    for (const { condition, from } of this.payments.values()) {
      this.#lost[side].add(condition)
      if (from === side) this.#due.delete(condition)
    }
  }

  /** Whether a process has not noticed that its store was emptied. */
  isUnaware(side: SideName): boolean {
    return this.#gone.has(side)
  }

  /** It has: what was written is another owner's, if it is the same process. */
  #notices(side: SideName): void {
    if (!this.#gone.delete(side)) return
    this.#world.note(side, () => 'has noticed that its store is empty')
    this.#told[side].clear()
    this.settled[side] = { done: 0, heard: 0 }
  }

  /** By which the word of a side's process is judged. */
  knownTo(side: SideName): Books {
    return this.#gone.get(side) ?? this.books[side]
  }

  /** Whether a side may have nothing of a payment since its books were emptied: what the peer has of it is in its sums. */
  #isLost(side: SideName, condition: string): boolean {
    return this.#lost[side].has(condition) && this.books[side].of(condition) === undefined
  }

  // ---- what becomes durable

  durable(side: SideName, writes: Writes): void {
    this.#notices(side)
    const books = this.books[side]
    const wasBlank = books.isBlank
    const before = { ...books.held, settledOut: books.settledOut, settledIn: books.settledIn, best: books.bestClaim?.amount ?? '0', claimed: books.ownClaim?.sum ?? '0' }
    const changes = books.apply(writes, condition => this.#preimages[side].get(condition))
    for (const { before: was, after } of changes) {
      if (was !== undefined || after === undefined) continue
      this.#meets(side, after.condition)
      this.#checkTaken(side, after)
    }
    for (const change of changes) this.#checkChange(side, change)
    if (wasBlank && !books.isBlank) this.#checkAgreed(side)
    this.#checkSums(side)
    this.#checkLimits(side, changes, before)
    this.#checkSettlements(side)
    if (writes.some(([key]) => key === 'incoming_claim:mvt:maximum')) this.#checkBestClaim(side, before.best)
    if (Number(books.ownClaim?.sum ?? 0) < Number(before.claimed)) this.#world.violate('I6', `${side}'s own claims fall from ${before.claimed}`)
  }

  /** I1: what was emptied is not traded on where the peer has said that it has something, unless the user has agreed to take its word. */
  #checkAgreed(side: SideName): void {
    if (this.#warned.has(side) && !this.#look(side).recovers) this.#world.violate('I1', `${side} trades on emptied books, and nobody has agreed to that`)
  }

  /** I1: nothing is taken from books that are gone, once it has been said that nothing is known of them. */
  #checkTaken(side: SideName, taken: Status): void {
    const from = otherSide(side)
    if (!taken.isIncoming || !this.#agreed.has(from) || !this.#isLost(from, taken.condition)) return
    this.#world.violate('I1', `${side} takes ${this.#called(from, taken)}, of which ${from} knows nothing any more`)
  }

  /** I2, I3: one transfer, by its own id and with its own preimage, along the legal moves. */
  #checkChange(side: SideName, { before, after }: Change): void {
    const status = after ?? before
    if (status === undefined) return
    const [from, to] = [before, after].map(stageOf) as [string, string]
    const what = (): string => `${this.#called(side, status)} goes from ${from} to ${to}`
    this.#world.note(side, what)
    if (!this.#mayGo(side, status.condition, from, to)) this.#world.violate('I3', what())
    const payment = this.payments.get(status.condition)
    if (payment === undefined) {
      this.#world.violate('I2', `${side} has ${status.id}, which nobody has sent`)
      return
    }
    if (payment.amount !== status.amount || (payment.from === side) === status.isIncoming) this.#world.violate('I2', `${what()}, but is another transfer`)
    if (isCounted(after) && conditionOf(status.fulfillment ?? '') !== status.condition) this.#world.violate('I2', `${what()} without its preimage`)
    this.#checkPair(payment)
    this.#checkDue(side, payment, after)
    if (before !== undefined && !before.isIncoming && isHeld(before) && isOver(after)) this.#checkGivenUp(side, before)
  }

  #mayGo(side: SideName, condition: string, from: string, to: string): boolean {
    // What the peer had fulfilled comes with its books.
    const isTaken = from === 'absent' && to === 'fulfilled' && this.#lost[side].has(condition)
    return isTaken || MOVES[from]?.includes(to) === true
  }

  /** I1, for one transfer: what its sender counts its receiver has the preimage of, and counts or is about to; and the other way round. */
  #checkPair(payment: Payment): void {
    if (SIDES.some(side => this.#isLost(side, payment.condition))) return
    const sent = this.books[payment.from].of(payment.condition)
    const received = this.books[otherSide(payment.from)].of(payment.condition)
    const what = (): string => `payment ${payment.number} is ${stageOf(sent)} with its sender, ${stageOf(received)} with its receiver`
    if (isCounted(sent) && !isCounted(received) && received?.stage !== 'fulfilling') this.#world.violate('I1', what())
    // Under LPI v2 the receiver counts first.
    if (!this.#options.isV2 && isCounted(received) && !isCounted(sent)) this.#world.violate('I1', what())
    if (isCounted(received) && sent === undefined) this.#world.violate('I1', what())
  }

  /** I4: what came in time is not cancelled by whoever it came to. */
  #checkDue(side: SideName, payment: Payment, after: Status | undefined): void {
    const due = this.#due.get(payment.condition)
    if (due === undefined || side !== payment.from || isHeld(after)) return
    this.#due.delete(payment.condition)
    const { era } = this.#look(side)
    if (!isCounted(after) && due === era) {
      this.#world.violate('I4', `${this.#called(side, payment)} is ${stageOf(after)}, though its Fulfill came in time`)
    }
  }

  /** I4: whoever sent it waits for the peer's word or the end of its time: a Fulfill may be on its way. */
  #checkGivenUp(side: SideName, status: Status): void {
    const { id, condition, expiresAt } = status
    const { graceMs } = this.#look(side)
    const key = `${side} ${id}`
    if (this.#timeFor(side, condition) >= expiresAt + graceMs || !this.#offered.has(key) || this.#released.has(key)) return
    this.#world.violate('I4', `${this.#called(side, status)} is given up before its time, and the peer has not let go of it`)
  }

  /** I2: the stored sums are those of the transfers. */
  #checkSums(side: SideName): void {
    const books = this.books[side]
    const stored = { incoming: books.sum(':tl:balance:if'), outgoing: books.sum(':tl:balance:of') }
    for (const direction of ['incoming', 'outgoing'] as const) {
      if (stored[direction] === books.fulfilled[direction]) continue
      this.#world.violate('I2', `${side}'s ${direction} sum is ${stored[direction]}, its transfers make ${books.fulfilled[direction]}`)
    }
  }

  /**
   * I5: nothing is taken on hold that would exceed a limit. What is settled may, since it is paid; and so may what is conceded, since it
   * was counted before.
   */
  #checkLimits(side: SideName, changes: Change[], before: { settledOut: number; settledIn: number }): void {
    const books = this.books[side]
    const { maximum, minimum } = this.#look(side).limits
    const isNew = (isIncoming: boolean): boolean => changes.some(change => change.before === undefined && isHeld(change.after) && change.after?.isIncoming === isIncoming)
    const highest = books.balance + Math.min(books.settledOut, before.settledOut) - Math.max(books.settledIn, before.settledIn) + books.held.incoming
    const conceded = changes.reduce((sum, { before: was, after }) => sum + (isCounted(was) && after?.stage === 'disputed' ? after.amount : 0), 0)
    const lowest = books.balance + conceded + Math.max(books.settledOut, before.settledOut) - Math.min(books.settledIn, before.settledIn) - books.held.outgoing
    const counts = (isIncoming: boolean): boolean => !this.#options.isV2 || isNew(isIncoming)
    if (counts(true) && highest > maximum) this.#world.violate('I5', `${side} may have ${highest}, more than ${maximum}`)
    if (counts(false) && lowest < minimum) this.#world.violate('I5', `${side} may have ${lowest}, less than ${minimum}`)
  }

  /** I1 for settlements: nothing is credited that was not begun, nothing counts as settled that is not credited. */
  #checkSettlements(side: SideName): void {
    // Books that were emptied are not compared before they were filled.
    if (!this.#options.isV2 || SIDES.some(one => this.books[one].isBlank)) return
    for (const payer of [side, otherSide(side)]) {
      const [paying, paid] = [this.books[payer], this.books[otherSide(payer)]]
      if (paying.settledOut > paid.settledIn || paid.settledIn > paying.settledOut + paying.underWay) {
        this.#world.violate('I1', `${payer} has settled ${paying.settledOut}, and ${paying.underWay} under way; ${otherSide(payer)} has credited ${paid.settledIn}`)
      }
    }
  }

  /** I6: only upwards, signed, and for no more than what is owed. */
  #checkBestClaim(side: SideName, before: string): void {
    const best = this.books[side].bestClaim
    const peer = this.books[otherSide(side)]
    if (best === undefined || Number(best.amount) < Number(before)) this.#world.violate('I6', `${side}'s best claim falls from ${before} to ${best?.amount ?? 'none'}`)
    if (best === undefined) return
    if (!this.#options.verify(best)) this.#world.violate('I6', `${side} has a claim for ${best.amount} that nobody signed`)
    const owed = this.#options.isV2 ? peer.settledOut + peer.underWay : peer.fulfilled.outgoing
    if (!peer.isBlank && Number(best.amount) > owed) this.#world.violate('I6', `${side} has a claim for ${best.amount}, ${owed} is owed`)
  }

  // ---- what passes on the wire

  /** I7: a frame leaves a process only when what it says is durable there. */
  sent(from: SideName, wire: number, frame: Uint8Array): void {
    const packet = decodePacket(frame)
    if (packet.type === 'response' || packet.type === 'error') {
      const request = this.#requests.get(`${wire} ${otherSide(from)} ${packet.requestId}`)
      if (isLogin(packet, request)) this.#sessions.add(`${wire} ${from}`)
      this.#world.note(from, () => `sends ${nameOf(packet, request)}`)
      if (packet.type === 'response' && request !== undefined) this.#checkResponse(from, packet, request)
      // It says that it cannot take it now, so that it will come again: its host disconnects. What a store does not take counts all the same.
      if (packet.type === 'error' && packet.code.startsWith('T') && packet.name !== 'StoreError' && request?.type === 'fulfill') this.#due.delete(this.knownTo(from).statuses.get(request.transferId)?.condition ?? '')
    } else {
      this.#requests.set(`${wire} ${from} ${packet.requestId}`, packet)
      this.#world.note(from, () => `sends ${nameOf(packet)}`)
      this.#checkRequest(from, packet)
    }
  }

  #checkRequest(from: SideName, packet: RequestPacket): void {
    const { statuses, settlements, begun } = this.knownTo(from)
    switch (packet.type) {
      case 'prepare':
        // Old ones hand it to their host a second time.
        if (this.#world.odd.areForeign && this.#offered.has(`${from} ${packet.transferId}`)) {
          this.#world.violate('I3', `${from} sends a foreign peer ${packet.transferId} once more`)
        }
        this.#offered.add(`${from} ${packet.transferId}`)
        this.#mustBe(from, packet, statuses.has(packet.transferId))
        break
      case 'fulfill': this.#mustBe(from, packet, ['fulfilling', 'fulfilled'].includes(statuses.get(packet.transferId)?.stage ?? '')); break
      case 'reject': this.#mustBe(from, packet, isOver(statuses.get(packet.transferId))); break
      case 'transfer': {
        const number = settlementOf(packet.protocolData)
        // A process that does not know yet that another has its store sends again what that one has settled.
        const isOld = this.#world.odd.shares === from && begun.get(number ?? 0) === packet.amount
        this.#mustBe(from, packet, isOld || settlements.sending.some(one => one.number === number && one.amount === packet.amount))
        break
      }
      case 'message': this.#checkMessage(from, packet)
    }
  }

  #checkMessage(from: SideName, packet: MessagePacket): void {
    const { statuses, claimsMade } = this.knownTo(from)
    const primary = packet.protocolData[0]?.protocolName
    if (primary === 'ilp') {
      const id = transferOf(packet.protocolData)
      if (id === undefined) return
      this.#offered.add(`${from} ${id}`)
      this.#mustBe(from, packet, statuses.has(id))
    } else if (primary === 'claim') {
      const claim = jsonOf(packet.protocolData, 'claim')
      this.#mustBe(from, packet, claimsMade.has(JSON.stringify(claim)))
    }
  }

  #checkResponse(from: SideName, packet: ResponsePacket, request: RequestPacket): void {
    const { statuses, settlements } = this.knownTo(from)
    switch (request.type) {
      case 'prepare': {
        const stage = statuses.get(request.transferId)?.stage
        this.#mustBe(from, request, stage !== undefined && stage !== 'checking')
        break
      }
      case 'fulfill': this.#mustBe(from, request, statuses.get(request.transferId)?.stage === 'fulfilled'); break
      case 'reject': this.#mustBe(from, request, isOver(statuses.get(request.transferId))); break
      case 'transfer': this.#mustBe(from, request, (settlements.credited?.number ?? 0) >= (settlementOf(request.protocolData) ?? 0)); break
      case 'message': this.#checkAnswer(from, packet, request)
    }
  }

  #checkAnswer(from: SideName, packet: ResponsePacket, request: MessagePacket): void {
    const { statuses, bestClaim } = this.knownTo(from)
    const primary = request.protocolData[0]?.protocolName
    const id = transferOf(request.protocolData)
    if (primary === 'ilp' && id !== undefined) {
      const status = statuses.get(id)
      const isFulfill = ilpOf(packet.protocolData)?.type === 'fulfill'
      this.#mustBe(from, request, isFulfill ? isCounted(status) : !isHeld(status) && !isCounted(status))
    } else if (primary === 'claim') {
      const { amount } = jsonOf(request.protocolData, 'claim') as unknown as Claim
      this.#mustBe(from, request, Number(bestClaim?.amount ?? 0) >= Number(amount))
    } else if (primary === 'paychan') {
      this.#checkFates(from, packet, request)
      this.#noteWarning(otherSide(from), packet, request)
    }
  }

  #noteWarning(asker: SideName, packet: ResponsePacket, request: MessagePacket): void {
    const [asked, answered] = [request, packet].map(({ protocolData }) => reportOf(protocolData))
    if (asked?.['isNew'] !== true || answered === undefined) return
    if (REPORTED.some(name => answered[name] !== '0')) {
      this.#warned.add(asker)
      return
    }
    // What it held may have come to nothing meanwhile.
    this.#warned.delete(asker)
    this.#agreed.add(asker)
  }

  /** What a receiver says became of packets. */
  #checkFates(from: SideName, packet: ResponsePacket, request: MessagePacket): void {
    const { statuses } = this.knownTo(from)
    const { late } = (jsonOf(request.protocolData, 'paychan') ?? {}) as { late?: string }
    if (late !== undefined) this.#mustBe(from, request, isOver(statuses.get(late)))
    const { fulfilled = {}, cancelled = [] } = (jsonOf(packet.protocolData, 'paychan') ?? {}) as { fulfilled?: object; cancelled?: string[] }
    // One may be in dispute by now, since the sender itself has said so meanwhile.
    for (const id of Object.keys(fulfilled)) this.#mustBe(from, request, isCounted(statuses.get(id)) || statuses.get(id)?.stage === 'disputed')
    for (const id of cancelled) this.#mustBe(from, request, !isHeld(statuses.get(id)) && !isCounted(statuses.get(id)))
  }

  #mustBe(from: SideName, packet: Packet, isDurable: boolean): void {
    if (!isDurable) this.#world.violate('I7', `${from} has sent or answered ${nameOf(packet)} before what it says was durable`)
  }

  /** I4: a valid Fulfill reaches the sender while it may still be taken. */
  arrives(to: SideName, wire: number, frame: Uint8Array, life: object): void {
    const packet = decodePacket(frame)
    const request = this.#requests.get(`${wire} ${to} ${packet.requestId}`)
    this.#world.note(to, () => `gets ${nameOf(packet, request)}`)
    if (isLogin(packet, request)) this.#sessions.add(`${wire} ${to}`)
    // Whoever does not know yet that it is logged in takes nothing.
    if (!this.#sessions.has(`${wire} ${to}`)) return
    for (const id of releasedBy(packet, request)) this.#released.add(`${to} ${id}`)
    const offered = packet.type === 'message' ? ilpOf(packet.protocolData) : undefined
    if (offered?.type === 'prepare') this.#meets(to, offered.condition)
    // What comes to a process that another has robbed comes to nobody.
    if (life !== this.#look(to).life) return
    if (packet.type === 'fulfill') this.#expect(to, packet.transferId, packet.fulfillment)
    if (packet.type === 'response' && request?.type === 'message') this.#hears(to, packet, request)
  }

  /** The preimages in an answer. */
  #hears(to: SideName, packet: ResponsePacket, request: MessagePacket): void {
    const reply = ilpOf(packet.protocolData)
    const { fulfilled = {} } = (jsonOf(packet.protocolData, 'paychan') ?? {}) as { fulfilled?: Record<string, string> }
    for (const ilp of [reply, ...Object.values(fulfilled).map(text => readIlp(Buffer.from(text, 'base64url')))]) {
      if (ilp?.type === 'fulfill') this.#preimages[to].set(conditionOf(ilp.fulfillment), ilp.fulfillment)
    }
    if (reply?.type === 'fulfill') this.#expect(to, transferOf(request.protocolData), reply.fulfillment)
  }

  #expect(to: SideName, id: string | undefined, fulfillment: string): void {
    const { era, graceMs } = this.#look(to)
    const status = this.books[to].statuses.get(id ?? '')
    if (status === undefined || !['offered', 'sent'].includes(status.stage)) return
    const isInTime = this.#timeFor(to, status.condition) < status.expiresAt + graceMs
    if (isInTime && conditionOf(fulfillment) === status.condition) this.#due.set(status.condition, era)
  }

  #meets(side: SideName, condition: string): void {
    const { life, putBackMs } = this.#look(side)
    this.#known.set(`${side} ${condition}`, { life, putBackMs })
  }

  /**
   * The time of a side as its timer for a transfer has it. A timer counts what passes, so where the clock was put back in between it fires
   * before the clock shows its time; that is right, or else all that is in flight would be held for as much longer.
   */
  #timeFor(side: SideName, condition: string): number {
    const { now, life, putBackMs } = this.#look(side)
    const known = this.#known.get(`${side} ${condition}`)
    return now + putBackMs - (known?.life === life ? known.putBackMs : 0)
  }

  /** I5: what a host is handed has room below the maximum, with all else that it has in hand. What this side settles may exceed it. */
  handed(side: SideName, condition: string): void {
    const { era, limits } = this.#look(side)
    const { balance, settledIn } = this.knownTo(side)
    const inHand = this.#inHand[side].filter(one => one.era === era && one.condition !== condition)
    this.#inHand[side] = [...inHand, { era, condition }]
    const held = this.#inHand[side].reduce((sum, one) => {
      const payment = this.payments.get(one.condition)
      const isHeld = payment !== undefined && this.knownTo(side).of(one.condition) === undefined && this.#timeFor(side, one.condition) < payment.expiresAt
      return isHeld ? sum + payment.amount : sum
    }, 0)
    const highest = balance - settledIn + held
    if (highest > limits.maximum) this.#world.violate('I5', `${side} may have ${highest} with what its host has in hand, more than ${limits.maximum}`)
  }

  /** The host has answered. */
  letGo(side: SideName, condition: string): void {
    this.#inHand[side] = this.#inHand[side].filter(one => one.condition !== condition)
  }

  // ---- what hosts are told

  /** A host is told of a payment: by an event, or by how a call has ended. I7: it is durable by then; I3: and final once it is told so. */
  told(side: SideName, condition: string, word: Word, by: string): void {
    const payment = this.payments.get(condition)
    this.#world.note(side, () => `host hears: ${word} of payment ${payment?.number ?? '?'} (${by})`)
    if (payment === undefined) return
    const status = this.knownTo(side).of(condition)
    const isTrue = { prepared: status !== undefined || this.#options.isV2, fulfilled: isCounted(status), cancelled: status === undefined || isOver(status), disputed: this.#isDisputed(side, payment) }
    if (!isTrue[word]) this.#world.violate('I7', `${side}'s host hears ${word} of payment ${payment.number} (${by}), which is ${stageOf(status)}`)
    const words = this.#told[side].get(condition) ?? []
    this.#told[side].set(condition, [...words, word])
    if (word === 'fulfilled' && words.includes('cancelled')) this.#world.violate('I3', `${side}'s host hears fulfilled of payment ${payment.number} after cancelled (${by})`)
    if (word === 'cancelled' && words.includes('fulfilled')) this.#world.violate('I3', `${side}'s host hears cancelled of payment ${payment.number} after fulfilled (${by})`)
  }

  /** I1: none of these books was ever changed from outside, so that they never differ by more than what is in flight. */
  toldOfDifference(side: SideName, { sum, ours, theirs }: { sum: string; ours: string; theirs: string }): void {
    // Whoever has lost its books has a while to take them from the peer.
    if (SIDES.some(one => this.books[one].isBlank)) return
    this.#world.violate('I1', `${side}'s host hears that ${sum} is ${ours}, and ${theirs} with the peer`)
  }

  /** An incoming payment is disputed here; an outgoing one is cancelled here, and the peer keeps it. */
  #isDisputed(side: SideName, payment: Payment): boolean {
    const status = this.knownTo(side).of(payment.condition)
    return payment.from === side ? isOver(status) : status?.stage === 'disputed'
  }

  /** A host is given what happens once only. */
  toldOnce(side: SideName, condition: string, what: string): void {
    const key = `${what} ${condition}`
    const words = this.#told[side].get(key) ?? []
    if (words.length > 0) this.#world.violate('I3', `${side}'s host hears ${what} of payment ${this.payments.get(condition)?.number ?? '?'} again`)
    this.#told[side].set(key, [...words, 'prepared'])
  }

  /** Settlements that a host was told of are durable. */
  toldOfMoney(side: SideName): void {
    const { done, heard } = this.settled[side]
    const books = this.knownTo(side)
    if (done > books.settledOut) this.#world.violate('I7', `${side}'s host was told that ${done} are settled, ${books.settledOut} are`)
    if (heard > books.settledIn) this.#world.violate('I7', `${side}'s host heard that the peer has settled ${heard}, ${books.settledIn} are credited`)
  }

  // ---- the end

  /** Whatever is not final yet, in words; with `isSettled` also what no claim secures. */
  unfinished({ isSettled = false } = {}): string[] {
    return SIDES.flatMap(side => {
      const { statuses, settlements } = this.books[side]
      const open = [...statuses.values()].filter(status => isHeld(status) || status.stage === 'unsure').map(status => `${this.#called(side, status)} is ${status.stage}`)
      return [...open, ...(settlements.sending.length > 0 ? [`${side} has settlements under way`] : []), ...(isSettled ? this.#unsecured(side) : [])]
    })
  }

  #unsecured(side: SideName): string[] {
    const owed = this.books[side].fulfilled.outgoing
    const claim = Number(this.books[otherSide(side)].bestClaim?.amount ?? 0)
    const isSecured = !this.#options.hasClaims || this.#options.isV2 || claim === owed
    return isSecured ? [] : [`${otherSide(side)} has a claim for ${claim}, ${owed} is owed`]
  }

  /** Everything is final: I1 for the whole, I9 where the two are apart, and what hosts must have heard by now. */
  checkEnd(): void {
    let apart = 0
    for (const payment of this.payments.values()) apart += this.#checkPaymentEnd(payment)
    const { alice, bob } = this.books
    if (alice.balance + bob.balance !== apart) this.#world.violate('I1', `the balances are ${alice.balance} and ${bob.balance}, disputes explain ${apart}`)
    for (const [payer, payee] of [[alice, bob], [bob, alice]] as const) {
      if (payer.settledOut !== payee.settledIn) this.#world.violate('I1', `${payer.settledOut} are settled, ${payee.settledIn} credited`)
    }
  }

  /** By how much the balances are apart for this one. */
  #checkPaymentEnd(payment: Payment): number {
    const { from, condition, number } = payment
    const to = otherSide(from)
    const [sent, received] = [this.books[from].of(condition), this.books[to].of(condition)]
    const words = this.#told[from].get(condition) ?? []
    this.#checkTold(from, condition, sent)
    this.#checkTold(to, condition, received)
    if (isCounted(sent) && !this.#options.isV2 && !words.includes('fulfilled')) this.#world.violate('I8', `${from}'s host has not heard that payment ${number} is fulfilled`)
    const isUntold = received?.stage === 'disputed' && this.#told[to].get(condition)?.includes('disputed') !== true
    if (isUntold) this.#world.violate('I9', `${to}'s host has not heard that payment ${number} is disputed`)
    if (isCounted(sent) === isCounted(received) || this.#isLost(from, condition) || this.#isLost(to, condition)) return 0
    if (words.includes('disputed')) return payment.amount
    this.#world.violate('I9', `payment ${number} is ${stageOf(sent)} with its sender, ${stageOf(received)} with its receiver, and nobody was told`)
    return payment.amount
  }

  /** I3: what a host was told is how it has ended. */
  #checkTold(side: SideName, condition: string, status: Status | undefined): void {
    const words = this.#told[side].get(condition) ?? []
    const isWrong = isCounted(status) ? words.includes('cancelled') : words.includes('fulfilled')
    if (isWrong) this.#world.violate('I3', `${this.#called(side, { condition })} is ${stageOf(status)}, its host was told ${words.join(', ')}`)
  }

  /** How many payments have come to which end with their senders. */
  get count(): { payments: number; fulfilled: number; disputed: number } {
    const sent = [...this.payments.values()].map(({ from, condition }) => this.books[from].of(condition)).filter(status => status !== undefined)
    const disputed = [this.books.alice, this.books.bob].flatMap(({ statuses }) => [...statuses.values()]).filter(({ stage }) => stage === 'disputed')
    return { payments: sent.length, fulfilled: sent.filter(isCounted).length, disputed: disputed.length }
  }

  #look(side: SideName): Observed {
    const observed = this.observed[side]
    if (observed === undefined) throw new TypeError(`nobody is ${side}`)
    return observed
  }

  #called(side: SideName, { condition }: { condition: string }): string {
    return `${side}'s payment ${this.payments.get(condition)?.number ?? '?'}`
  }
}

function isLogin(packet: Packet, request: RequestPacket | undefined): boolean {
  return packet.type === 'response' && request?.protocolData[0]?.protocolName === 'auth'
}

/** The id beside an ILPv4 packet. */
function transferOf(protocolData: readonly SubProtocol[]): string | undefined {
  return (jsonOf(protocolData, 'paychan') as { transfer?: string } | undefined)?.transfer
}

/** The number of a settlement. */
function settlementOf(protocolData: readonly SubProtocol[]): number | undefined {
  return (jsonOf(protocolData, 'paychan') as { settlement?: number } | undefined)?.settlement
}

/** Of which transfers a packet says that its sender holds nothing: a Reject, an Error to a Prepare, what it answers a question with. */
function releasedBy(packet: Packet, request: RequestPacket | undefined): readonly string[] {
  if (packet.type === 'reject') return [packet.transferId]
  if (request?.type === 'prepare') return packet.type === 'error' ? [request.transferId] : []
  if (request?.type !== 'message') return []
  const asked = transferOf(request.protocolData)
  if (packet.type === 'error' || ilpOf(packet.protocolData)?.type === 'reject') return asked === undefined ? [] : [asked]
  return (jsonOf(packet.protocolData, 'paychan') as { cancelled?: string[] } | undefined)?.cancelled ?? []
}

/** What is told where books are compared. */
function reportOf(protocolData: readonly SubProtocol[]): Record<string, unknown> | undefined {
  return (jsonOf(protocolData, 'paychan') as { reconcile?: Record<string, unknown> } | undefined)?.reconcile
}
