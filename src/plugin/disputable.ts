/**
 * The packets that we fulfilled and of which the sender may still say that the Fulfill came too late. Imports core and btp.
 *
 * A sender of ours is in doubt only as long as it may not have read our answer. With each packet it tells which before are final: those are
 * closed at once, where they were fulfilled in about the order in which they came. Else a packet is closed when a minute after its expiry the
 * sender is heard on the session on which it was told: until then that may be dead, and nobody know it yet. Or when the sender has asked,
 * on a later session, about all that it does not know, and this one was not among them.
 *
 * Beyond what can be in flight nothing is disputable (I9): then the oldest is closed, first of those that were told on a session which
 * lasts. The limit lets no more in beside a packet than the maximum less the position at which that one was taken: so the lowest such
 * position counts, and what was settled beforehand can all be in flight. It is twice that, since while answers are on their way the other
 * side may settle or be paid, which lets as much in again. However often that happens, the bound stays: who has settled for a packet is
 * in no doubt about it. The minimum bounds nothing here: by default there is none.
 */
import type { Amount, Limit } from '../core/amounts.js'
import type { CancelTimer } from '../core/clock.js'
import { passingMap } from '../core/passing-map.js'
import type { PassingMap } from '../core/passing-map.js'
import type { Session } from '../btp/session.js'
import { MOST_REMEMBERED } from './account.js'
import type { Account } from './account.js'

/** How long after its expiry, and after it was told, the sender has for its objection. */
const OBJECTION_MS = 60_000
/** How often is looked which are over. */
const SWEEP_MS = 10_000
/** How many ids of those that are gone are kept beside as many as are there. */
const MOST_GONE = 1000

interface Taken {
  /** Where the sender was told. */
  readonly session: Session
  /** Which of the sender's packets on that session it was. */
  readonly number: number
  readonly expiresAt: number
  /** What limits act on, when it was taken. */
  readonly position: Amount
}

interface Fulfilled {
  readonly amount: Amount
  readonly position: Amount
  /** Where the sender was told, last; and which of its packets there it was, when it was sent there. */
  session: Session | undefined
  number: number
  /** After how many sweeps the sender's time is over. */
  closesAfter: number
}

/** Ids in the order in which they came, as long as they are known. To find the first of a map takes longer the more went before it. */
class Line {
  readonly #known: Pick<PassingMap<string, unknown>, 'has' | 'size'>
  #ids: string[] = []
  #first = 0

  constructor(known: Pick<PassingMap<string, unknown>, 'has' | 'size'>) {
    this.#known = known
  }

  push(id: string): void {
    this.#ids.push(id)
    if (this.#ids.length <= 2 * this.#known.size + MOST_GONE) return
    this.#ids = this.#ids.slice(this.#first).filter(one => this.#known.has(one))
    this.#first = 0
  }

  get first(): string | undefined {
    for (; this.#first < this.#ids.length; this.#first++) {
      const id = this.#ids[this.#first] as string
      if (this.#known.has(id)) return id
    }
    return undefined
  }

  /** Takes the first one out. */
  pass(): void {
    this.#first++
  }

  * [Symbol.iterator](): Iterator<string> {
    if (this.first === undefined) return
    for (let at = this.#first; at < this.#ids.length; at++) {
      const id = this.#ids[at] as string
      if (this.#known.has(id)) yield id
    }
  }
}

export class Disputable {
  readonly #account: Account
  readonly #fulfilled = passingMap<string, Fulfilled>()
  /** Their ids, as they came. */
  #order = new Line(this.#fulfilled)
  /** Of these, what the sender will not settle by a number on the session that there is: it was told again, or on another one. */
  #aside = new Line(this.#fulfilled)
  #sum = 0n
  /** Of their positions; at most so, since it is looked for only now and then. */
  #lowest: Limit = Infinity
  /** What the sender has asked about on the session that is there. */
  #asked: { session: Session; ids: Set<string> } | undefined
  #cancelSweep: CancelTimer | undefined
  #sweeps = 0
  /** When the peer had given its last sign of life, as the last sweep found it. */
  #lastHeard: number | undefined

  constructor(account: Account) {
    this.#account = account
  }

  /**
   * A packet is fulfilled: in a life before where it is not known how it was taken. Then the sender may not have heard of it, and all
   * from there may have been in flight at once.
   */
  add(id: string, amount: Amount, taken?: Taken): void {
    this.#sum += amount
    const position = taken?.position ?? this.#account.ledger.position - this.#sum
    if (position < this.#lowest) this.#lowest = position
    this.#fulfilled.set(id, { amount, position, session: taken?.session, number: taken?.number ?? Infinity, closesAfter: this.#closesAfter(taken?.expiresAt ?? 0) })
    this.#order.push(id)
    this.#makeRoom(id)
    this.#sweepLater()
  }

  /** It is disputed now. */
  drop(id: string): void {
    const known = this.#fulfilled.get(id)
    if (known === undefined) return
    this.#sum -= known.amount
    this.#fulfilled.delete(id)
  }

  /** The sender was told on that session. */
  told(id: string, session: Session, expiresAt: number): void {
    const known = this.#fulfilled.get(id)
    if (known === undefined) return
    known.session = session
    known.number = Infinity
    known.closesAfter = this.#closesAfter(expiresAt)
  }

  /** The sender has stored what became of all that it sent on that session before this number: as most packets are closed. */
  settled(session: Session, number: number): void {
    for (let id = this.#order.first; id !== undefined; id = this.#order.first) {
      const known = this.#fulfilled.get(id)
      const isNumbered = known?.session === session && known.number !== Infinity
      if (isNumbered && known.number >= number) return
      this.#order.pass()
      if (isNumbered) this.#close(id, false)
      else this.#aside.push(id)
    }
  }

  /**
   * The sender has asked about these; with the last question it is in no doubt about any other that was told before this session. A
   * question of an older session says nothing of what was told since.
   */
  asked(ids: readonly string[], isLast: boolean, session: Session): void {
    if (session !== this.#account.session()) return
    if (this.#asked?.session !== session) this.#asked = { session, ids: new Set() }
    for (const id of ids) this.#asked.ids.add(id)
    if (!isLast) return
    for (const [id, known] of this.#fulfilled.entries()) {
      if (known.session !== session && !this.#asked.ids.has(id)) this.#close(id, false)
    }
    this.#asked.ids.clear()
  }

  stop(): void {
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
    this.#fulfilled.clear()
    this.#order = new Line(this.#fulfilled)
    this.#aside = new Line(this.#fulfilled)
    this.#sum = 0n
    this.#lowest = Infinity
    this.#asked = undefined
  }

  /** Counted in sweeps, since the wall clock may jump. The first of them may come at once, and the peer is heard one before the last. */
  #closesAfter(expiresAt: number): number {
    return this.#sweeps + 2 + (Math.max(expiresAt - this.#account.clock.now(), 0) + OBJECTION_MS) / SWEEP_MS
  }

  /** `isInDoubt`: an objection is refused from now on, but it may be asked about, and then the preimage is told. */
  #close(id: string, isInDoubt: boolean): void {
    this.drop(id)
    this.#account.ledger.close(id, isInDoubt)
  }

  #makeRoom(newest: string): void {
    const { maximum } = this.#account.ledger.currentLimits
    const most = typeof maximum === 'bigint' && typeof this.#lowest === 'bigint' ? 2n * (maximum - this.#lowest) : Infinity
    while (this.#fulfilled.size > 1 && (this.#fulfilled.size > MOST_REMEMBERED || this.#sum > most)) {
      this.#close(this.#oldestTold(newest) ?? newest, true)
    }
  }

  /** About the oldest of those that were told on the session that lasts, or else of all; never the one that has just come. */
  #oldestTold(newest: string): string | undefined {
    const current = this.#account.session()
    let oldest: string | undefined
    for (const line of [this.#order, this.#aside]) {
      for (const id of line) {
        if (id === newest) continue
        if (this.#fulfilled.get(id)?.session === current) return id
        oldest ??= id
      }
    }
    return oldest
  }

  #sweepLater(): void {
    this.#cancelSweep ??= this.#account.clock.setTimer(SWEEP_MS, () => {
      this.#cancelSweep = undefined
      this.#sweep()
    })
  }

  #sweep(): void {
    const current = this.#account.session()
    // Since the sweep before: what came earlier may have come over a connection that is dead now.
    const wasHeard = current?.lastHeard !== this.#lastHeard
    this.#lastHeard = current?.lastHeard
    this.#sweeps++
    this.#lowest = Infinity
    for (const [id, { session, closesAfter, position }] of this.#fulfilled.entries()) {
      if (session !== undefined && session === current && wasHeard && this.#sweeps >= closesAfter) this.#close(id, false)
      else if (position < this.#lowest) this.#lowest = position
    }
    if (this.#fulfilled.size > 0) this.#sweepLater()
  }
}
