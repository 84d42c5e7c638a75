/**
 * The ilp-connector behind the wallets: a process of its own, with an account for the receiver of STREAM payments and one for each wallet
 * that dials it. Our plugin is in all of them, over the connector's own store.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Its ILP address, below which the accounts have theirs. */
const ILP_ADDRESS = 'test.connector'
/** How long it may take to start, or to add an account, in milliseconds. */
const PATIENCE_MS = 30_000
/** How long it may take to end before it is made to, in milliseconds. */
const ENDING_MS = 5000
/** How many of its last characters are told when it ends by itself. */
const LAST_WORDS = 2000

/** An account as ilp-connector has it in its configuration; see demo/connector/account.json. */
interface AccountConfig {
  readonly options: Readonly<Record<string, unknown>>
}

interface Answer {
  readonly number: number
  readonly value?: unknown
  readonly error?: string
}

interface Question {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

export interface ConnectorOptions {
  /** The project's folder. */
  readonly root: string
  /** Where it keeps its books. */
  readonly folder: string
  /** It has ended by itself; `why` says what it said last. */
  readonly onDeath: (why: string) => void
}

export class Connector {
  readonly #child: ChildProcess
  readonly #account: AccountConfig
  readonly #asked = new Map<number, Question>()
  /** The ports of the accounts, by their ids. */
  readonly #ports = new Map<string, Promise<number>>()
  #count = 0
  #output = ''
  #isOver = false

  private constructor({ root, onDeath }: ConnectorOptions) {
    this.#account = JSON.parse(readFileSync(join(root, 'demo', 'connector', 'account.json'), 'utf8')) as AccountConfig
    this.#child = fork(join(root, 'demo', 'connector', 'main.cjs'), {
      // Where it finds our plugin by its name.
      env: { ...process.env, NODE_PATH: join(root, '.build', 'demo', 'modules') },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc']
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => { this.#output = (this.#output + chunk.toString()).slice(-LAST_WORDS) })
    }
    this.#child.on('message', (answer: Answer) => { this.#answered(answer) })
    this.#child.on('error', error => { this.#ended(error.message, onDeath) })
    this.#child.on('close', (code, signal) => { this.#ended(`it ended with ${signal ?? `exit code ${String(code)}`}`, onDeath) })
  }

  /** Starts it; resolves when it serves. @throws Error that says why it does not */
  static async start(options: ConnectorOptions): Promise<Connector> {
    mkdirSync(options.folder, { recursive: true })
    const connector = new Connector(options)
    try {
      await connector.#ask('start', {
        env: 'test',
        ilpAddress: ILP_ADDRESS,
        backend: 'one-to-one',
        spread: 0,
        store: join(options.root, 'demo', 'connector', 'store.cjs'),
        storePath: options.folder,
        accounts: {}
      })
    } catch (error) {
      await connector.stop()
      throw error
    }
    return connector
  }

  /**
   * Opens an account, at the first call; resolves with the port at which it is dialled.
   * @throws Error when the connector has ended, or refuses
   */
  open(id: string, token: string): Promise<number> {
    const known = this.#ports.get(id)
    if (known !== undefined) return known
    const { options } = this.#account
    const account = { ...this.#account, options: { ...options, listener: { host: '127.0.0.1', port: 0 }, incomingSecret: token } }
    const port = this.#ask('add', { id, account }) as Promise<number>
    this.#ports.set(id, port)
    port.catch(() => { this.#ports.delete(id) })
    return port
  }

  /** Ends it, and waits until it has ended. */
  async stop(): Promise<void> {
    this.#isOver = true
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return
    const exited = once(this.#child, 'exit')
    const timer = setTimeout(() => { this.#child.kill('SIGKILL') }, ENDING_MS)
    if (this.#child.connected) this.#child.disconnect()
    await exited
    clearTimeout(timer)
  }

  async #ask(method: 'start' | 'add', value: object): Promise<unknown> {
    if (!this.#child.connected) throw new Error('the connector has ended')
    const number = ++this.#count
    let timer: ReturnType<typeof setTimeout> | undefined
    try {
      return await new Promise((resolve, reject) => {
        this.#asked.set(number, { resolve, reject })
        timer = setTimeout(() => { reject(new Error(`the connector does not answer.${this.#lastWords()}`)) }, PATIENCE_MS)
        this.#child.send({ number, method, value }, error => { if (error !== null) reject(error) })
      })
    } finally {
      clearTimeout(timer)
      this.#asked.delete(number)
    }
  }

  #answered({ number, value, error }: Answer): void {
    const question = this.#asked.get(number)
    if (error === undefined) question?.resolve(value)
    else question?.reject(new Error(`the connector refuses: ${error}`))
  }

  #ended(how: string, onDeath: ConnectorOptions['onDeath']): void {
    const why = `${how}.${this.#lastWords()}`
    const hasStarted = this.#asked.size === 0
    for (const { reject } of this.#asked.values()) reject(new Error(`the connector cannot go on: ${why}`))
    if (!this.#isOver && hasStarted) onDeath(why)
    this.#isOver = true
  }

  #lastWords(): string {
    return this.#output === '' ? '' : ` It said:\n${this.#output.trimEnd()}`
  }
}
