/**
 * A connector, unmodified, as its users run it: a process of its own that reads its configuration from the environment.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { vi } from 'vitest'

/** How long a connector may take for anything that is waited for, on a busy machine. */
const DEADLINE_MS = 30_000

export class HostProcess {
  readonly #main: string
  readonly #environment: Readonly<Record<string, string>>
  #child: ChildProcess | undefined
  #output = ''

  /** @param main the file that is run */
  constructor(main: string, environment: Readonly<Record<string, string>>) {
    this.#main = main
    this.#environment = environment
  }

  /** Begins a life; it is not ready at once. */
  begin(): void {
    const child = fork(this.#main, {
      execArgv: ['--require', fileURLToPath(new URL('end-with-parent.cjs', import.meta.url))],
      env: { PATH: process.env['PATH'], ...this.#environment },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc']
    })
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => { this.#output += chunk.toString() })
    this.#child = child
  }

  /** Everything that it has printed. */
  get output(): string {
    return this.#output
  }

  /** Polls until it is so. Rejects with its output when that takes too long, or it has ended. */
  async waitUntil(isSo: () => boolean | Promise<boolean>, description: () => string): Promise<void> {
    try {
      await vi.waitUntil(() => this.#child?.exitCode !== null || isSo(), { timeout: DEADLINE_MS, interval: 50 })
    } catch (cause) {
      throw new Error(`not after ${DEADLINE_MS} ms: ${description()}\n${this.#output}`, { cause })
    }
    if (this.#child?.exitCode !== null) throw new Error(`the connector has ended:\n${this.#output}`)
  }

  /** Ends it without a warning. */
  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  /** Ends it by Ctrl-C. */
  stop(): Promise<void> {
    return this.#end('SIGINT')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
}
