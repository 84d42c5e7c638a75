/**
 * Two Node processes pay each other in both directions, with a durable store each. One of them is killed, again and again, in the middle
 * of it: without a warning, as by a power cut. Then everything that anybody was told must be true on both sides.
 */
import { execFile, fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { audit } from './audit.js'
import type { Acknowledgement, Report } from './audit.js'

const KILLS = 20
/** Transfers that each side has under way at a time. */
const IN_FLIGHT = 32
const SILENCE_MS = 20_000
const SEED = Number(process.env['CRASH_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))

/** The same numbers for the same seed, 0 <= n < 1. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

type Told = { acknowledged: Acknowledgement; id: string } | { trouble: string } | { ready: true; port?: number } | { quiet: true } | { report: Report }

/** One peer through all its lives. */
class Peer {
  /** The port that it listens on, the same in each life. */
  port = 0
  readonly #entry: string
  readonly #path: string
  readonly #server: string | undefined
  readonly #onTold: (told: Told) => void
  #child: ChildProcess | undefined

  constructor(entry: string, path: string, server: string | undefined, onTold: (told: Told) => void) {
    this.#entry = entry
    this.#path = path
    this.#server = server
    this.#onTold = onTold
  }

  /** Begins a life; resolves when it is connected, or listens. */
  async start(): Promise<void> {
    const settings = { path: this.#path, port: this.port, inFlight: IN_FLIGHT, server: this.#server }
    const child = fork(fileURLToPath(new URL('peer.mjs', import.meta.url)), [this.#entry, JSON.stringify(settings)], { execArgv: [] })
    this.#child = child
    child.on('message', (told: Told) => { this.#onTold(told) })
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

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

let folder: string

/** The package as JavaScript in a folder of its own: the tests before may have been run without a build. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'paychan-crash-'))
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const only = ['--noCheck', '--declaration', 'false', '--sourceMap', 'false', '--inlineSources', 'false']
  await run(process.execPath, [compiler, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', join(folder, 'js'), ...only])
}, 60_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

it(`I1, I3, I7, I8, H5, H6: what was acknowledged survives kill -9, ${KILLS} times under load (seed ${SEED})`, { timeout: 120_000 }, async () => {
  const random = seeded(SEED)
  const acknowledged = new Map<string, Set<Acknowledgement>>()
  const troubles: string[] = []
  let count = 0
  let wake: (() => void) | undefined
  const onTold = (told: Told): void => {
    if ('trouble' in told) troubles.push(told.trouble)
    if (!('acknowledged' in told)) return
    const known = acknowledged.get(told.id)
    if (known === undefined) acknowledged.set(told.id, new Set([told.acknowledged]))
    else known.add(told.acknowledged)
    count++
    wake?.()
  }
  /** Until so many more were told; if nothing is told for long, why is among the troubles. */
  const untilTold = async (more: number): Promise<void> => {
    const target = count + more
    while (count < target) {
      await new Promise<void>((resolve, reject) => {
        const silence = setTimeout(() => { reject(new RangeError(`nothing happens any more: ${troubles.join('; ')}`)) }, SILENCE_MS)
        wake = () => {
          clearTimeout(silence)
          resolve()
        }
      })
    }
  }

  const entry = join(folder, 'js', 'node.js')
  const listener = new Peer(entry, join(folder, 'listener'), undefined, onTold)
  await listener.start()
  const dialler = new Peer(entry, join(folder, 'dialler'), `btp+ws://:secret@127.0.0.1:${listener.port}`, onTold)
  const peers = [listener, dialler]
  try {
    await dialler.start()
    for (const peer of peers) peer.load()
    for (let kill = 0; kill < KILLS; kill++) {
      await untilTold(20 + Math.trunc(random() * 400))
      const victim = random() < 0.5 ? listener : dialler
      await victim.kill()
      await victim.start()
      victim.load()
    }
    await untilTold(200)
    await Promise.all(peers.map(peer => peer.quiet()))
    // What is checked is what the stores hold, not what a process remembers.
    await Promise.all(peers.map(peer => peer.kill()))
    await listener.start()
    await dialler.start()
    const [a, b] = [await listener.report(), await dialler.report()]
    expect(troubles).toEqual([])
    expect(audit(a, b, acknowledged).slice(0, 20)).toEqual([])
    // The test has tested something.
    const ends = [...acknowledged.values()]
    expect(ends.filter(told => told.has('fulfilled')).length).toBeGreaterThan(500)
    expect(ends.filter(told => told.has('cancelled')).length).toBeGreaterThan(50)
  } finally {
    await Promise.all(peers.map(peer => peer.kill()))
  }
})
