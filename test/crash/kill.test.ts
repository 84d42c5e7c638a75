/**
 * Two Node processes pay each other in both directions, with a durable store each. One of them is killed, again and again, in the middle
 * of it: without a warning, as by a power cut. Then everything that anybody was told must be true on both sides.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { chooser } from '../support/chooser.js'
import { compilePackage } from '../support/compiled.js'
import { audit } from './audit.js'
import { Peer } from './peer-process.js'
import { Witness } from './witness.js'

const KILLS = 20
/** Transfers that each side has under way at a time. */
const IN_FLIGHT = 32
const SEED = Number(process.env['CRASH_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))

let compiled: Awaited<ReturnType<typeof compilePackage>>
beforeAll(async () => { compiled = await compilePackage() }, 60_000)
afterAll(() => compiled.remove())

it(`I1, I3, I7, I8, H5, H6: what was acknowledged survives kill -9, ${KILLS} times under load (seed ${SEED})`, { timeout: 120_000 }, async () => {
  const { upTo, pick } = chooser(SEED)
  const witness = new Witness()
  const both = { entry: compiled.entry, inFlight: IN_FLIGHT, witness }
  const listener = new Peer({ ...both, path: join(compiled.path, 'listener') })
  await listener.start()
  const dialler = new Peer({ ...both, path: join(compiled.path, 'dialler'), server: `btp+ws://:secret@127.0.0.1:${listener.port}` })
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
