/**
 * The host in another process, from its parent's side.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { LedgerPlugin } from '../../src/node.js'
import { afterTest } from '../support/hosts.js'

type Method = { [K in keyof LedgerPlugin]: LedgerPlugin[K] extends (...args: never[]) => unknown ? K : never }[keyof LedgerPlugin]
type Told = { event: string; what?: unknown } | { id: number; value?: unknown; error?: object }

export class HostProcess {
  /** The events so far, and what they were about where that is a text. */
  readonly events: string[] = []
  readonly #child: ChildProcess
  readonly #calls = new Map<number, (told: { value?: unknown; error?: object }) => void>()
  #lastId = 0
  #wake: Array<() => void> = []

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (told: Told) => { this.#hear(told) })
  }

  /** Ends with the test at the latest. */
  static async start(entry: string, path: string, server: string): Promise<HostProcess> {
    const child = fork(fileURLToPath(new URL('host.mjs', import.meta.url)), [entry, JSON.stringify({ path, server })], { execArgv: [] })
    const host = new HostProcess(child)
    afterTest(() => host.kill())
    await host.until('started')
    return host
  }

  #hear(told: Told): void {
    if ('id' in told) {
      this.#calls.get(told.id)?.(told)
      return
    }
    this.events.push(typeof told.what === 'string' ? `${told.event} ${told.what}` : told.event)
    for (const wake of this.#wake.splice(0)) wake()
  }

  /** Waits for an event, from the beginning or from a place in `events` on. */
  async until(event: string, from = 0): Promise<void> {
    while (!this.events.includes(event, from)) await new Promise<void>(resolve => this.#wake.push(resolve))
  }

  /** What it has of the events from now on. */
  get now(): number {
    return this.events.length
  }

  /** Has the plugin do something; rejects with the name and the outcome of its error. */
  ask(method: Method | 'role', ...args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#calls.set(id, ({ value, error }) => {
        if (error === undefined) resolve(value)
        else reject(Object.assign(new Error('in the other process'), error))
      })
      this.#child.send({ id, method, args })
    })
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}
