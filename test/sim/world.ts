/**
 * What one run of the simulator has in common: the time, the chance, which faults may strike, what has struck, and the trace. All of it
 * from one seed.
 */
import { chooser } from '../support/chooser.js'
import type { Chooser } from '../support/chooser.js'
import { VirtualClock } from '../support/virtual-clock.js'

export type SideName = 'alice' | 'bob'

export const otherSide = (side: SideName): SideName => side === 'alice' ? 'bob' : 'alice'

/** What strikes, as the figures name it. */
export const FAULTS = [
  'kill', 'cut', 'freeze', 'drop', 'late frame', 'refused dial', 'slow store', 'hung store', 'failed store', 'unknown commit', 'torn write', 'skewed clock', 'clock jump', 'clock put back', 'frozen process', 'emptied store', 'store emptied in use', 'disconnect', 'slow module', 'failed module'
] as const
export type Fault = (typeof FAULTS)[number]

/** What is done wrong on purpose, so that a run has something to find (see wrong.ts). */
export interface Mutant {
  /** A commit is answered when it is given to the disk, which takes it later, or never if the process dies. */
  acknowledgesEarly?: boolean
  /** One put of a commit is lost, now and then. */
  losesPuts?: boolean
  /** Timers of more than a second never fire. */
  sleepsOn?: boolean
  /** The plugin is told of a maximum that is twice what the host allows. */
  exceedsLimits?: boolean
  /** A claim is taken without a look at its signature; and is not worth anything. */
  believesClaims?: boolean
  /** The plugin gives its peer no grace. */
  hurries?: boolean
  /** A store takes what any process writes, whoever has taken it over. */
  forgetsOwners?: boolean
  /** Emptied books are filled from the peer's, without a word to the user. */
  recoversUnasked?: boolean
}

/** What is out of the ordinary in a world. */
export interface Oddities {
  /** Clocks are put back too. */
  readonly putsBack: boolean
  /** Both listen and both dial: of their connections one carries the traffic. */
  readonly isSymmetric: boolean
  /** Whose store two processes share: one of them trades, the other stands by. */
  readonly shares: SideName | undefined
  /** Whose store is emptied once, while its process is dead. */
  readonly empties: SideName | undefined
  /** Or while it lives, where it is a store of ours: nothing else tells a process whose its store is. */
  readonly emptiesInUse: boolean
  /** Each hears nothing of what only peers of ours know, as from a package that knows no more than BTP 1.0. */
  readonly areForeign: boolean
  /** Whether those two run on one machine, where it can be told that a process is gone. */
  readonly isOneMachine: boolean
  /** Stores hang too: longer than they are waited for, or for ever. */
  readonly hangs: boolean
}

const ORDINARY: Oddities = { putsBack: false, isSymmetric: false, shares: undefined, empties: undefined, emptiesInUse: false, areForeign: false, isOneMachine: false, hangs: false }

/** Each for a share of the seeds, and drawn by none of the other choices, so that those stay what they were. */
function odditiesOf(seed: number): Oddities {
  const { chance, pick } = chooser(Math.imul(seed, 0x85ebca6b) ^ 0x27d4eb2f)
  const drawn = {
    putsBack: chance(0.2),
    isSymmetric: chance(0.2),
    shares: chance(0.15) ? pick<SideName>(['alice', 'bob']) : undefined,
    isOneMachine: chance(0.5)
  }
  const empties = chance(0.2) && drawn.shares === undefined ? pick<SideName>(['alice', 'bob']) : undefined
  // Where one of these has lost its books nobody can tell, and where both dial each connection names them anew.
  const areForeign = chance(0.25) && empties === undefined && !drawn.isSymmetric
  const emptiesInUse = empties !== undefined && chance(0.7)
  return { ...drawn, empties, areForeign, emptiesInUse, hangs: chance(0.2) }
}

/** Takes the lines of a trace. */
export type Trace = (line: string) => void

/** Where one of the two dies, in its first life: at which point, and how many turns after it. */
export interface KillAt {
  readonly side: SideName
  readonly point: number
  readonly turns: number
}

export interface RunOptions {
  /** This death is all that goes wrong. */
  readonly killAt?: KillAt | undefined
  readonly trace?: Trace | undefined
  readonly mutant?: Mutant | undefined
}

/** How long stores are waited for, and the shortest time that one hangs. */
export const HANGS_MS = 10_000

export class World {
  readonly seed: number
  readonly clock = new VirtualClock()
  /** Chance of what the hosts do. */
  readonly choice: Chooser
  /** Chance of what goes wrong. */
  readonly fate: Chooser
  /** The same for stores that hang, so that all else stays what it was without them. */
  readonly hanging: Chooser
  readonly odd: Oddities
  readonly mutant: Mutant
  readonly struck = new Map<Fault, number>()
  /** What the rules forbid and happened all the same. */
  readonly violations: string[] = []
  readonly killAt: KillAt | undefined
  /** How many points each has passed in its first life, while faults may strike. */
  readonly points: Record<SideName, number> = { alice: 0, bob: 0 }
  /** How many processes there were, and the names of those that are gone. */
  lives = 0
  readonly dead = new Set<string>()
  /** Whether faults may strike still. */
  isFaulty = true
  readonly #trace: Trace | undefined
  readonly #began: number

  constructor(seed: number, { trace, killAt, mutant = {} }: RunOptions = {}) {
    this.seed = seed
    this.choice = chooser(seed)
    this.fate = chooser(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995)
    this.hanging = chooser(Math.imul(seed, 0xc2b2ae35) ^ 0x165667b1)
    this.odd = killAt === undefined ? odditiesOf(seed) : ORDINARY
    this.mutant = mutant
    this.killAt = killAt
    this.#trace = trace
    this.#began = this.clock.now()
  }

  /** Whether a fault strikes, counted. */
  strikes(fault: Fault, probability: number): boolean {
    if (!this.isFaulty || this.killAt !== undefined || !this.fate.chance(probability)) return false
    this.count(fault)
    return true
  }

  /** For how long a call of a store hangs, if it does: always longer than it is waited for. */
  hangsFor(probability: number): number {
    if (!this.isFaulty || !this.odd.hangs || !this.hanging.chance(probability)) return 0
    this.count('hung store')
    return HANGS_MS + this.hanging.upTo(HANGS_MS)
  }

  count(fault: Fault): void {
    this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1)
    this.note('', () => `FAULT ${fault}`)
  }

  /** Waits in virtual time. */
  pause(delayMs: number): Promise<void> {
    return new Promise(resolve => { this.clock.setTimer(delayMs, resolve) })
  }

  violate(rule: string, what: string): void {
    const violation = `${rule}: ${what}`
    this.note('', () => `VIOLATION ${violation}`)
    this.violations.push(violation)
  }

  /** A line of the trace. Texts are made only where there is one. */
  note(side: SideName | '', what: () => string): void {
    this.#trace?.(`${((this.clock.now() - this.#began) / 1000).toFixed(3).padStart(9)} ${side.padEnd(5)} ${what()}`)
  }
}
