/**
 * Between the instance that holds the connection and those that stand by: these have their calls carried out by that one, and raise
 * its events as their own. Imports core and btp.
 *
 * A call that moves value is made again when the holder that had it is gone: each of them goes by the transfer's id, and does nothing
 * twice. Any other call fails then, since whether it was carried out cannot be known.
 */
import type { CancelTimer, Clock } from '../core/clock.js'
import { StandbyError, StoreError, UnreachableError, isUnknown, messageOf } from '../core/errors.js'
import { isObject, jsonCopyOf } from '../core/json.js'
import type { Logger } from '../core/log.js'
import type { PluginEvents, Role } from './account.js'
import { Deferred } from './deferred.js'
import type { LedgerPluginV1 } from './lpi.js'
import { errorOfRecord, recordOfError } from './sibling-messages.js'
import type { CallMessage, EventMessage, HolderState, KnownIdentity, ResultMessage, Said, SiblingMessage } from './sibling-messages.js'

type Carried = 'sendTransfer' | 'fulfillCondition' | 'rejectIncomingTransfer' | 'sendRequest' | 'getPeerBalance' | 'getLimit'

/** The calls that only the holder can carry out. */
export type Calls = Pick<LedgerPluginV1, Carried> & {
  /** `before`: milliseconds since 1970. */
  prune(before: number): Promise<number>
  resolveDispute(choice: 'ours' | 'theirs'): Promise<void>
}

/** How they are carried out here. `again`: the call may have been carried out before, by a holder that is gone. */
export type LocalCalls = { readonly [C in keyof Calls]: (again: boolean, ...args: Parameters<Calls[C]>) => ReturnType<Calls[C]> }

/** Whether a call moves value: then it goes by a transfer's id, and may be made again. */
const MOVES_VALUE: { readonly [C in keyof Calls]: boolean } = {
  sendTransfer: true,
  fulfillCondition: true,
  rejectIncomingTransfer: true,
  sendRequest: false,
  getPeerBalance: false,
  getLimit: false,
  prune: false,
  resolveDispute: false
}

/** Which events of the holder are raised by those that stand by: all that are about the ledger, and none that are about the instance. */
const IS_MIRRORED: { readonly [E in keyof PluginEvents]: boolean } = {
  connect: false,
  disconnect: false,
  error: false,
  packet: false,
  role: false,
  info_change: true,
  dispute: true,
  incoming_prepare: true,
  incoming_fulfill: true,
  incoming_reject: true,
  incoming_cancel: true,
  outgoing_prepare: true,
  outgoing_fulfill: true,
  outgoing_reject: true,
  outgoing_cancel: true,
  incoming_request: true,
  outgoing_request: true,
  incoming_response: true,
  outgoing_response: true
}

/** The most calls of others that are remembered here. */
const MOST_ANSWERS = 10_000

/** A call of this instance's host that another one carries out. */
interface Pending {
  readonly id: number
  readonly method: keyof Calls
  readonly args: unknown[]
  readonly result: Deferred<unknown>
  /** Whether it has reached a holder, perhaps. */
  again: boolean
  cancelTimer: CancelTimer
}

export interface RelayOptions {
  readonly id: string
  readonly clock: Clock
  readonly log: Logger
  /** How long a holder is waited for, in milliseconds. */
  readonly timeoutMs: number
  readonly local: LocalCalls
  /** Waits for the first session where this instance has just taken over, for a while. */
  readonly settled: () => Promise<void>
  readonly role: () => Role
  /** The own epoch, while this instance holds. */
  readonly epoch: () => number | undefined
  /** @throws StandbyError when another instance has taken the store over */
  readonly checkNotLost: () => Promise<void>
  readonly post: (said: Said) => void
  /** Tells the others what this instance knows. */
  readonly announce: () => void
  /** What the holder knows about the two sides. */
  readonly learn: (identity: KnownIdentity) => void
  /** Reads anew what is in flight. */
  readonly refresh: () => Promise<void>
  readonly emit: (event: keyof PluginEvents, args: unknown[]) => void
}

export class Relay {
  readonly #options: RelayOptions
  readonly #calls = new Map<number, Pending>()
  /** What calls of others have come to, or that they run, the latest last: one that is asked for again runs once all the same. */
  readonly #answers = new Map<string, Said | 'running'>()
  #lastId = 0
  /** The holder, by its epoch. */
  #holder: number | undefined
  #head: string | undefined
  /** What results and events set off here, in the order in which they came. */
  #inbox: Array<{ isEvent: boolean; deliver: () => void }> = []
  #isReading = false

  constructor(options: RelayOptions) {
    this.#options = options
  }

  // ---- calls

  /** Carries a call out: here, or where the connection is. */
  async carry<C extends keyof Calls>(method: C, ...args: Parameters<Calls[C]>): Promise<Awaited<ReturnType<Calls[C]>>> {
    return await this.#carry(method, args, false) as Awaited<ReturnType<Calls[C]>>
  }

  async #carry(method: keyof Calls, args: unknown[], again: boolean): Promise<unknown> {
    const { role, settled } = this.#options
    if (!this.#standsBy()) await settled()
    if (this.#standsBy()) return this.#send(method, args, again)
    if (again && role() === 'disconnected') throw disconnected(again)
    try {
      return await this.#run(method, args, again)
    } catch (error) {
      // Another instance has taken over meanwhile, and carries on what is stored.
      if (MOVES_VALUE[method] && isUndecided(error) && this.#standsBy()) return this.#send(method, args, true)
      throw again ? ofRepeat(error) : error
    }
  }

  #standsBy(): boolean {
    return this.#options.role() === 'standby'
  }

  #run(method: keyof Calls, args: unknown[], again: boolean): Promise<unknown> {
    return Reflect.apply(this.#options.local[method], undefined, [again, ...args]) as Promise<unknown>
  }

  #send(method: keyof Calls, args: unknown[], again: boolean): Promise<unknown> {
    const call: Pending = { id: ++this.#lastId, method, args: jsonCopyOf(args, 'what is given'), result: new Deferred(), again, cancelTimer: () => undefined }
    this.#calls.set(call.id, call)
    this.#awaitAnswer(call)
    this.#post(call)
    return call.result.promise
  }

  /**
   * A holder that has the call answers it within the time-out of its own, and what moves value at its end, however late that is: of that
   * it is asked again meanwhile, in case the call or its answer got lost.
   */
  #awaitAnswer(call: Pending): void {
    const { clock, timeoutMs } = this.#options
    const movesValue = MOVES_VALUE[call.method]
    call.cancelTimer = clock.setTimer(movesValue ? timeoutMs : 2 * timeoutMs, () => {
      if (movesValue && call.again) {
        this.#awaitAnswer(call)
        this.#post(call)
      } else this.#end(call)?.reject(new UnreachableError('whoever holds the connection does not answer'))
    })
  }

  #post(call: Pending): void {
    if (this.#holder === undefined) return
    const { id, method, args, again } = call
    call.again = true
    this.#options.post({ type: 'call', id, epoch: this.#holder, method, args, again })
  }

  /** Who made the call, unless it has ended before. */
  #end(call: Pending): Deferred<unknown> | undefined {
    call.cancelTimer()
    return this.#calls.delete(call.id) ? call.result : undefined
  }

  /** The holder that had the calls is gone: another one takes those that it may. */
  #handOver(take: (call: Pending) => void): void {
    for (const call of [...this.#calls.values()]) {
      if (!call.again || MOVES_VALUE[call.method]) take(call)
      else this.#end(call)?.reject(new UnreachableError('whoever held the connection is gone'))
    }
  }

  /** The role of this instance has changed. */
  roleChanged(role: Role): void {
    this.#answers.clear()
    if (role === 'standby') return
    this.#holder = undefined
    if (role === 'holder') {
      this.#handOver(call => {
        this.#end(call)?.resolve(this.#carry(call.method, call.args, call.again))
      })
      return
    }
    for (const call of [...this.#calls.values()]) this.#end(call)?.reject(disconnected(call.again && MOVES_VALUE[call.method]))
  }

  // ---- events

  /** Shows an event to those that stand by. */
  mirror(event: keyof PluginEvents, args: unknown[]): void {
    // Whoever hears of news asks for them next.
    if (event === 'info_change') this.#options.announce()
    if (IS_MIRRORED[event]) this.#options.post({ type: 'event', name: event, args })
  }

  // ---- messages

  receive(message: SiblingMessage): void {
    switch (message.type) {
      case 'challenge': return
      case 'here': this.#meet(message); return
      case 'call': void this.#answer(message.from, message); return
      case 'event': this.#receiveEvent(message); return
      case 'result': this.#receiveResult(message)
    }
  }

  #receiveEvent({ name, args }: EventMessage): void {
    const event = name as keyof PluginEvents
    if (!Object.hasOwn(IS_MIRRORED, event) || !IS_MIRRORED[event]) return
    this.#enqueue(true, () => { this.#options.emit(event, args.map(withDate)) })
  }

  #receiveResult({ to, id, epoch, value, error }: ResultMessage): void {
    const call = to === this.#options.id ? this.#calls.get(id) : undefined
    // What an earlier holder says of it counts no more: the one that has it now may have begun already.
    if (call === undefined || epoch !== this.#holder) return
    const result = this.#end(call)
    this.#enqueue(false, () => {
      if (error === undefined) result?.resolve(value)
      else result?.reject(errorOfRecord(error))
    })
  }

  #enqueue(isEvent: boolean, deliver: () => void): void {
    this.#inbox.push({ isEvent, deliver })
    if (!this.#isReading) void this.#read()
  }

  #meet({ epoch, head, identity }: HolderState): void {
    const { role, learn, refresh, log } = this.#options
    if (role() === 'holder' || epoch === undefined || epoch < (this.#holder ?? 0)) return
    if (identity !== undefined) learn(identity)
    if (head !== this.#head) refresh().catch((error: unknown) => { log.debug(`the store cannot be read now: ${messageOf(error)}`) })
    this.#head = head
    if (epoch === this.#holder) return
    this.#holder = epoch
    this.#handOver(call => { this.#post(call) })
  }

  async #answer(to: string, call: CallMessage): Promise<void> {
    const { role, settled, post, epoch } = this.#options
    await settled()
    if (role() !== 'holder' || call.epoch !== epoch() || !Object.hasOwn(MOVES_VALUE, call.method)) return
    // With the epoch: what began in an earlier hold of this instance may end in this one, and its answer counts no more.
    const key = `${call.epoch} ${call.id} ${to}`
    const known = this.#answers.get(key)
    if (known === 'running') return
    if (known === undefined) this.#remember(key, 'running')
    const said = known ?? await this.#carryOut(to, call)
    if (said === undefined) return
    if (known === undefined) this.#remember(key, said)
    post(said)
  }

  #remember(key: string, answer: Said | 'running'): void {
    this.#answers.set(key, answer)
    const [oldest] = this.#answers.keys()
    if (this.#answers.size > MOST_ANSWERS && oldest !== undefined) this.#answers.delete(oldest)
  }

  /** What to say of a call; nothing where that is the next holder's. */
  async #carryOut(to: string, { id, epoch, method, args, again }: CallMessage): Promise<Said | undefined> {
    const { role, checkNotLost } = this.#options
    try {
      // Who was asleep while another one took over has yet to hear of it, and must not do now what that one has done.
      await checkNotLost()
      return { type: 'result', to, id, epoch, value: await this.#run(method as keyof Calls, args.map(arg => arg ?? undefined), again) }
    } catch (error) {
      // It is over here before the call is: the next holder will be asked.
      if (role() !== 'holder') return undefined
      return { type: 'result', to, id, epoch, error: recordOfError(again ? ofRepeat(error) : error) }
    }
  }

  /** One after the other, and each event when what it tells can be read here. */
  async #read(): Promise<void> {
    const { refresh, log } = this.#options
    this.#isReading = true
    while (this.#inbox.length > 0) {
      const batch = this.#inbox
      this.#inbox = []
      if (batch.some(({ isEvent }) => isEvent)) {
        await refresh().catch((error: unknown) => { log.warn(`the store cannot be read now: ${messageOf(error)}`) })
      }
      for (const { deliver } of batch) deliver()
    }
    this.#isReading = false
  }
}

/** What a call is told at the end of its own instance. */
function disconnected(isUndecided: boolean): UnreachableError {
  return new UnreachableError('disconnected before the call was answered', isUndecided ? { outcome: 'unknown' } : {})
}

/** Whether the transfer that a call was about goes on without it. */
function isUndecided(error: unknown): boolean {
  return error instanceof StandbyError || isUnknown(error)
}

/** How a call ends that may have been carried out before: that the store fails now says nothing about what it took then. */
function ofRepeat(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error
  return new StoreError(`it is not known what became of the call: ${error.message}`, { cause: error, outcome: 'unknown' })
}

/** A rejection's time is a Date for hosts, and a text in JSON. */
function withDate(arg: unknown): unknown {
  return isObject(arg) && 'triggered_at' in arg ? { ...arg, triggered_at: new Date(String(arg['triggered_at'])) } : arg
}
