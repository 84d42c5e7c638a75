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
import { IN_FLIGHT, SEED, killsOr, tellFigures, timeoutFor } from './settings.js'
import { Witness } from './witness.js'

const KILLS = killsOr(20)
const KILLS_V2 = killsOr(10)

let compiled: Awaited<ReturnType<typeof compilePackage>>
beforeAll(async () => { compiled = await compilePackage() }, 60_000)
afterAll(() => compiled.remove())

it(`I1, I3, I7, I8, H5, H6: what was acknowledged survives kill -9, ${KILLS} times under load (seed ${SEED})`, { timeout: timeoutFor(KILLS) }, () => crash('LPI v1', KILLS))

it(`I1, I3, I7, I8, H5, H6: so do packets under hosts of LPI v2, ${KILLS_V2} times (seed ${SEED})`, { timeout: timeoutFor(KILLS_V2) }, () => crash('LPI v2', KILLS_V2))

async function crash(host: 'LPI v1' | 'LPI v2', kills: number): Promise<void> {
  const startedAt = Date.now()
  const { upTo, pick } = chooser(SEED)
  const witness = new Witness()
  const folder = join(compiled.path, host.replace(' ', '-'))
  const both = { entry: compiled.entry, inFlight: IN_FLIGHT, isV2: host === 'LPI v2', witness }
  const listener = new Peer({ ...both, path: join(folder, 'listener') })
  await listener.start()
  const dialler = new Peer({ ...both, path: join(folder, 'dialler'), server: `btp+ws://:secret@127.0.0.1:${listener.port}` })
  const peers = [listener, dialler]
  try {
    await dialler.start()
    for (const peer of peers) peer.load()
    for (let kill = 0; kill < kills; kill++) {
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
    tellFigures(`Node, ${host}`, kills, startedAt, [a, b], witness)
    expect(witness.troubles).toEqual([])
    expect(audit(a, b, witness.acknowledged).slice(0, 20)).toEqual([])
    // The test has tested something.
    expect(witness.count('fulfilled')).toBeGreaterThan(25 * kills)
    expect(witness.count('cancelled')).toBeGreaterThan(2 * kills)
  } finally {
    await Promise.all(peers.map(peer => peer.kill()))
  }
}
