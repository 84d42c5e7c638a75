/**
 * The Node process of a peer of a kill test, from its parent's side.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Report } from './audit.js'
import type { Testimony, Witness } from './witness.js'

export interface PeerOptions {
  /** The compiled package. */
  entry: string
  /** Where its store is. */
  path: string
  /** Whom it dials; without, it listens. */
  server?: string
  /** Transfers that it has under way at a time. */
  inFlight: number
  /** Whether its host is one of LPI v2. */
  isV2?: boolean
  witness: Witness
}

type Told = Testimony | { ready: true; port?: number } | { quiet: true } | { report: Report }

/** One peer in a Node process, through all its lives. */
export class Peer {
  /** The port that it listens on, the same in each life. */
  port = 0
  readonly #entry: string
  readonly #path: string
  readonly #server: string | undefined
  readonly #inFlight: number
  readonly #isV2: boolean
  readonly #witness: Witness
  #child: ChildProcess | undefined

  constructor({ entry, path, server, inFlight, isV2 = false, witness }: PeerOptions) {
    this.#entry = entry
    this.#path = path
    this.#server = server
    this.#inFlight = inFlight
    this.#isV2 = isV2
    this.#witness = witness
  }

  /** Begins a life; resolves when it is connected, or listens. */
  async start(): Promise<void> {
    const settings = { path: this.#path, port: this.port, inFlight: this.#inFlight, isV2: this.#isV2, server: this.#server }
    const child = fork(fileURLToPath(new URL('peer.mjs', import.meta.url)), [this.#entry, JSON.stringify(settings)], { execArgv: [] })
    this.#child = child
    child.on('message', (told: Told) => { this.#witness.hear(told) })
    const { port = 0 } = await this.#tells('ready')
    this.port = port
  }

  load(): void {
    this.#child?.send({ ask: 'load' })
  }

  async quiet(): Promise<void> {
    this.#child?.send({ ask: 'quiet' })
    await this.#tells('quiet')
  }

  async report(): Promise<Report> {
    this.#child?.send({ ask: 'report' })
    return (await this.#tells('report')).report
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child?.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  /** The next message that says so. */
  #tells<K extends string>(what: K): Promise<Extract<Told, Record<K, unknown>>> {
    return new Promise((resolve, reject) => {
      const child = this.#child
      const heard = (told: Told): void => {
        if (!(what in told)) return
        child?.off('message', heard)
        child?.off('exit', gone)
        resolve(told as Extract<Told, Record<K, unknown>>)
      }
      const gone = (): void => { reject(new RangeError(`the peer ended before it told that it is ${what}`)) }
      child?.on('message', heard)
      child?.on('exit', gone)
    })
  }
}
