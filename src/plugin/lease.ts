/**
 * Which of the processes over one store holds the connection: a lease in the store itself, where nothing else connects them. Imports core.
 *
 * Two records. One names the holder. The other is put there by whoever waits, and while it is there the holder beats: it writes its record
 * anew each second. So a holder behind which nobody waits only reads, and writes nothing. Each change is guarded by the record as it was
 * last seen, so of two that take the lease at once one gets it, and whoever was robbed of it learns so at its next beat.
 *
 * No two clocks are compared. Whoever waits counts how often it has looked and found the record unchanged: a jump of its clock counts for
 * nothing, nor does the time that it was asleep itself. The holder stops serving when it has had no answer of the store for a little less
 * than that, by a timer of its own that began before it asked; so it has stopped when the lease is taken, unless its whole process stood
 * still. Then it wakes up late, and the epoch in the guard of each commit keeps whatever it still does from landing.
 */
import type { CancelTimer } from '../core/clock.js'
import { StoreError, messageOf } from '../core/errors.js'
import { isObject, parseIfJson } from '../core/json.js'
import { callStore } from '../core/patience.js'
import type { Batch, Store } from '../core/store.js'
import { waitAtMost } from '../core/timers.js'
import { Deferred } from './deferred.js'
import { parseMessage } from './sibling-messages.js'
import type { HolderState, KnownIdentity } from './sibling-messages.js'
import type { Tenure, TenureOptions } from './tenure.js'

const LEASE_KEY = 'paychan:lease'
const WAITING_KEY = 'paychan:lease:waiting'

/** How often the holder asks the store whether it still holds: a write each, while somebody waits. Two fit into `HOLD_MS`, so one may be lost. */
const BEAT_MS = 1000
/** How often whoever waits looks: a read each. A lease that was released is taken so soon. */
const LOOK_MS = 250
/** So many times in a row the record is found unchanged before the lease is taken: with the look before, 2.5 s after the last beat. Of the 3 s that a take-over may take, the rest is for the take-over itself. */
const SILENT_LOOKS = 9
/** How long after the holder last asked, and had an answer, it stops: before the silence is over. */
const HOLD_MS = (SILENT_LOOKS - 1) * LOOK_MS
/** After so many attempts in a row that the store was too slow for, a connect is told so; one that stands by tries on. */
const MOST_LATE_TAKES = 3

const NO_ANSWER = 'the store does not answer'

/** Who runs on this machine, where that can be told. */
export interface Processes {
  /** Names this process, so that no other one of this machine ever has the same name; `undefined` where there is no telling. */
  readonly own: string | undefined
  /** Whether it is certain that the process of that name is not there any more. */
  isGone(name: string): boolean
}

export interface LeaseOptions extends TenureOptions {
  readonly store: Store
  /** How long the store is waited for, in milliseconds. */
  readonly storeTimeoutMs: number
  /** What the holder knows about the two sides. */
  readonly learn: (identity: KnownIdentity) => void
  /** Reads anew what is in flight. */
  readonly refresh: () => Promise<void>
}

/** What stands in the store. */
interface Found {
  /** The holder's record. */
  readonly text: string | undefined
  /** That of somebody who waits. */
  readonly mark: string | undefined
}

export class Lease implements Tenure {
  readonly #options: LeaseOptions
  readonly #processes: Processes | undefined
  #place: 'out' | 'waiting' | 'held' = 'out'
  /** Counts the changes of place: what was begun before one is not carried on after it. */
  #turn = 0
  /** The record as it was seen last; while this one holds, as it wrote it. */
  #text: string | undefined
  /** The holder's, as it told last: it changes with all that the holder writes. */
  #head: string | undefined
  /** How often the record was seen unchanged since. */
  #silentLooks = 0
  /** How often in a row the store took too long to take the lease. */
  #lateTakes = 0
  /** The mark as it was seen at the last look, and as this one wrote it last. */
  #mark: string | undefined
  #ownMark: string | undefined
  /** So that no two records of this one are the same. */
  #writes = 0
  /** The turn of which a beat is under way. */
  #beating: number | undefined
  #cancelTimer: CancelTimer = () => undefined
  /** Ends the hold where no beat comes through. */
  #cancelEnd: CancelTimer = () => undefined
  /** Settled when it is clear who holds. */
  #decided = new Deferred<void>()
  #isDecided = false

  constructor(options: LeaseOptions, processes?: Processes) {
    this.#options = options
    this.#processes = processes
  }

  get isHeld(): boolean {
    return this.#place === 'held'
  }

  async join(): Promise<void> {
    this.#decided = new Deferred()
    this.#isDecided = false
    this.#wait(0)
    await this.#decided.promise
  }

  requeue(pauseMs: number): void {
    void this.#stop()
    this.#wait(pauseMs)
  }

  async leave(): Promise<void> {
    const released = this.#stop()
    this.#decide()
    // Without an answer of the store it ends by itself, no later than that.
    await waitAtMost(this.#options.clock, HOLD_MS, released)
  }

  announce(): void {
    if (this.#place === 'held') void this.#beat(this.#turn)
  }

  #decide(): void {
    this.#isDecided = true
    this.#decided.resolve()
  }

  /** Resolves when nothing of this one is left in the store, as far as that takes it. */
  async #stop(): Promise<void> {
    const [place, text] = [this.#place, this.#text]
    this.#turnTo('out')
    if (place === 'held') await this.#remove(LEASE_KEY, text)
    if (place === 'waiting' && this.#ownMark !== undefined) await this.#remove(WAITING_KEY, this.#ownMark)
  }

  #turnTo(place: 'out' | 'waiting' | 'held'): number {
    this.#cancelTimer()
    this.#cancelEnd()
    this.#place = place
    return ++this.#turn
  }

  async #remove(key: string, text: string | undefined): Promise<void> {
    try {
      await this.#commit({ deletes: [key], guards: [[key, text]] })
    } catch (error) {
      // A lease ends by itself, and the mark of somebody who waits goes with the next one.
      this.#options.log.debug(`the store did not let go of ${key}: ${messageOf(error)}`)
    }
  }

  // ---- waiting

  #wait(pauseMs: number): void {
    const turn = this.#turnTo('waiting')
    this.#text = undefined
    this.#silentLooks = 0
    this.#mark = undefined
    this.#ownMark = undefined
    if (pauseMs === 0) void this.#look(turn)
    else this.#lookIn(pauseMs, turn)
  }

  #lookIn(delayMs: number, turn: number): void {
    // A process that only stands by has nothing else that keeps it.
    this.#cancelTimer = this.#options.clock.setTimer(delayMs, () => { void this.#look(turn) }, { keepsProcessAlive: true })
  }

  async #look(turn: number): Promise<void> {
    try {
      const found = await this.#read()
      if (turn !== this.#turn) return
      this.#see(found)
      if (this.#isFree(found.text) || this.#silentLooks >= SILENT_LOOKS) await this.#take(turn, found.text)
      // Whoever has taken the lease, and whoever has waited and left, takes it away.
      else if (found.mark === undefined) await this.#markWaiting()
    } catch (error) {
      if (turn !== this.#turn) return
      if (!this.#isDecided) {
        this.#turnTo('out')
        this.#decided.reject(error)
      }
      this.#options.log.debug(`the lease cannot be looked at now: ${messageOf(error)}`)
    }
    if (turn === this.#turn) this.#lookIn(LOOK_MS, turn)
  }

  async #markWaiting(): Promise<void> {
    this.#ownMark = `${this.#options.id} ${++this.#writes}`
    await this.#commit({ puts: [[WAITING_KEY, this.#ownMark]] })
  }

  #see({ text, mark }: Found): void {
    const isFirst = this.#text === undefined
    // A holder that may have found no mark in between was silent, and may be well.
    const wasMarked = mark !== undefined && mark === this.#mark
    this.#mark = mark
    if (text === this.#text) {
      this.#silentLooks = wasMarked ? this.#silentLooks + 1 : 0
      return
    }
    this.#text = text
    this.#silentLooks = 0
    // Only what has changed while this one looked was written by somebody who is there.
    if (isFirst || text === undefined || this.#isFree(text)) return
    const message = parseMessage(text)
    if (message?.type === 'here') this.#meet(message)
    this.#decide()
  }

  #meet({ identity, head }: HolderState): void {
    const { learn, refresh, log } = this.#options
    if (identity !== undefined) learn(identity)
    if (head !== this.#head) refresh().catch((error: unknown) => { log.debug(`the store cannot be read now: ${messageOf(error)}`) })
    this.#head = head
  }

  /** Whether a record stands for nobody, or for this one, or for a process that has died: as after `kill -9` and a new start. */
  #isFree(text: string | undefined): boolean {
    if (text === undefined) return true
    const record = parseIfJson(text)
    if (!isObject(record)) return false
    const { from, process } = record
    return from === this.#options.id || (typeof process === 'string' && this.#processes?.isGone(process) === true)
  }

  async #take(turn: number, before: string | undefined): Promise<void> {
    const text = this.#record()
    const end = { isOver: false, act: (): void => undefined }
    const cancelEnd = this.#endIn(() => {
      end.isOver = true
      end.act()
    })
    let isTaken = false
    try {
      isTaken = await this.#commit({ puts: [[LEASE_KEY, text]], deletes: [WAITING_KEY], guards: [[LEASE_KEY, before]] })
    } finally {
      if (!isTaken) cancelEnd()
    }
    if (!isTaken) return
    if (turn !== this.#turn) {
      cancelEnd()
      await this.#remove(LEASE_KEY, text)
      return
    }
    // Where it took so long that another one may have it again, this one finds its own record at the next look, if not.
    if (end.isOver) {
      if (++this.#lateTakes < MOST_LATE_TAKES) return
      this.#lateTakes = 0
      throw new StoreError(`the store takes longer than ${HOLD_MS} ms for a write: processes cannot share it`)
    }
    this.#lateTakes = 0
    const held = this.#turnTo('held')
    this.#text = text
    end.act = () => { this.#lose(held, NO_ANSWER) }
    this.#cancelEnd = cancelEnd
    this.#beatIn(BEAT_MS, held)
    this.#decide()
    this.#options.onHeld()
  }

  // ---- holding

  /** Begins before the store is asked: whoever waits cannot have seen the answer any earlier. */
  #endIn(end: () => void): CancelTimer {
    return this.#options.clock.setTimer(HOLD_MS, end)
  }

  #beatIn(delayMs: number, turn: number): void {
    this.#cancelTimer = this.#options.clock.setTimer(delayMs, () => { void this.#beat(turn) })
  }

  async #beat(turn: number): Promise<void> {
    if (this.#beating === turn) return
    this.#beating = turn
    this.#cancelTimer()
    const cancelEnd = this.#endIn(() => { this.#lose(turn, NO_ANSWER) })
    let outcome: 'renewed' | 'robbed' | 'failed'
    try {
      outcome = await this.#renew(turn) ? 'renewed' : 'robbed'
    } catch (error) {
      this.#options.log.warn(`the lease was not renewed: ${messageOf(error)}`)
      outcome = 'failed'
    }
    if (turn !== this.#turn || outcome !== 'renewed') cancelEnd()
    if (turn !== this.#turn) return
    this.#beating = undefined
    if (outcome === 'robbed') {
      this.#lose(turn, 'another process has taken it')
      return
    }
    if (outcome === 'renewed') {
      this.#cancelEnd()
      this.#cancelEnd = cancelEnd
    }
    this.#beatIn(outcome === 'renewed' ? BEAT_MS : LOOK_MS, turn)
  }

  async #renew(turn: number): Promise<boolean> {
    const { text, mark } = await this.#read()
    if (turn !== this.#turn) return false
    if (text !== this.#text && (text === undefined || parseMessage(text)?.from !== this.#options.id)) return false
    // One of its own that it does not know is that of a beat which failed, and landed all the same.
    this.#text = text
    if (mark === undefined) return true
    const next = this.#record()
    const isRenewed = await this.#commit({ puts: [[LEASE_KEY, next]], guards: [[LEASE_KEY, text]] })
    if (isRenewed && turn === this.#turn) this.#text = next
    return isRenewed
  }

  #lose(turn: number, reason: string): void {
    if (turn !== this.#turn) return
    this.#options.log.warn(`the lease of the store is lost: ${reason}`)
    this.#turnTo('out')
    this.#options.onLost()
  }

  // ---- the store

  /** A message as siblings have it, so that it is read as one; different each time. */
  #record(): string {
    const { id, state } = this.#options
    return JSON.stringify({ v: 1, from: id, type: 'here', beat: ++this.#writes, process: this.#processes?.own, ...state() })
  }

  async #read(): Promise<Found> {
    const { store, clock, storeTimeoutMs } = this.#options
    // In one reading, so that the two belong together.
    const found = new Map(await callStore(clock, storeTimeoutMs, 'read', () => store.list(LEASE_KEY, { limit: 2 })))
    return { text: found.get(LEASE_KEY), mark: found.get(WAITING_KEY) }
  }

  #commit(batch: Batch): Promise<boolean> {
    const { store, clock, storeTimeoutMs } = this.#options
    return callStore(clock, storeTimeoutMs, 'write', () => store.commit(batch))
  }
}
