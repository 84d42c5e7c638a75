/** What many runs come to, and what is said of one that fails. */
import { run } from './run.js'
import type { Result } from './run.js'
import { FAULTS } from './world.js'
import type { Fault, KillAt, RunOptions } from './world.js'

export class Figures {
  seeds = 0
  violations = 0
  #payments = 0
  #fulfilled = 0
  #disputed = 0
  #longestMs = 0
  readonly #struck = new Map<Fault, number>()

  add({ violations, struck, payments, fulfilled, disputed, finalAfterMs }: Result): void {
    this.seeds++
    this.violations += violations.length
    this.#payments += payments
    this.#fulfilled += fulfilled
    this.#disputed += disputed
    this.#longestMs = Math.max(this.#longestMs, finalAfterMs)
    for (const [fault, count] of struck) this.#struck.set(fault, this.count(fault) + count)
  }

  count(fault: Fault): number {
    return this.#struck.get(fault) ?? 0
  }

  get fulfilled(): number {
    return this.#fulfilled
  }

  /** All of it in one line. */
  get line(): string {
    const faults = FAULTS.map(fault => `${fault} ${this.count(fault)}`).join(', ')
    const transfers = `${this.#payments} transfers, ${this.#fulfilled} fulfilled, ${this.#disputed} disputed`
    return `${this.seeds} seeds; faults: ${faults}; ${transfers}; all final after ${(this.#longestMs / 1000).toFixed(1)} s at most; ${this.violations} violations`
  }
}

/** Plays a seed that has failed again, and tells how it comes to that. */
export async function report(seed: number, options: RunOptions = {}): Promise<string> {
  const lines: string[] = []
  const { violations } = await run(seed, { ...options, trace: line => { lines.push(line) } })
  const { killAt } = options
  const command = `npm run sim -- --seed ${seed}${killAt === undefined ? '' : ` --kill ${nameOf(killAt)}`}`
  return [`seed ${seed}: ${violations.join('; ')}`, command, ...uptoLast(lines)].join('\n')
}

function nameOf({ side, point, turns }: KillAt): string {
  return `${side}:${point}:${turns}`
}

/** What comes behind the last violation explains none. */
function uptoLast(lines: string[]): string[] {
  return lines.slice(0, lines.map(line => line.includes('VIOLATION')).lastIndexOf(true) + 1)
}
