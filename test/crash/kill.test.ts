/**
 * Two Node processes pay each other in both directions, with a durable store each. One of them is killed, again and again, in the middle
 * of it: without a warning, as by a power cut. Then everything that anybody was told must be true on both sides.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { chooser } from '../support/chooser.js'
import { audit } from './audit.js'
import { Peer } from './peer-process.js'
import { Witness } from './witness.js'

const KILLS = 20
/** Transfers that each side has under way at a time. */
const IN_FLIGHT = 32
const SEED = Number(process.env['CRASH_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))

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
  const { upTo, pick } = chooser(SEED)
  const witness = new Witness()
  const both = { entry: join(folder, 'js', 'node.js'), inFlight: IN_FLIGHT, witness }
  const listener = new Peer({ ...both, path: join(folder, 'listener') })
  await listener.start()
  const dialler = new Peer({ ...both, path: join(folder, 'dialler'), server: `btp+ws://:secret@127.0.0.1:${listener.port}` })
  const peers = [listener, dialler]
  try {
    await dialler.start()
    for (const peer of peers) peer.load()
    for (let kill = 0; kill < KILLS; kill++) {
      await witness.untilTold(20 + upTo(400))
      const victim = pick(peers)
      await victim.kill()
      await victim.start()
      victim.load()
    }
    await witness.untilTold(200)
    await Promise.all(peers.map(peer => peer.quiet()))
    // What is checked is what the stores hold, not what a process remembers.
    await Promise.all(peers.map(peer => peer.kill()))
    await listener.start()
    await dialler.start()
    const [a, b] = [await listener.report(), await dialler.report()]
    expect(witness.troubles).toEqual([])
    expect(audit(a, b, witness.acknowledged).slice(0, 20)).toEqual([])
    // The test has tested something.
    expect(witness.count('fulfilled')).toBeGreaterThan(500)
    expect(witness.count('cancelled')).toBeGreaterThan(50)
  } finally {
    await Promise.all(peers.map(peer => peer.kill()))
  }
})
