/**
 * A wallet page and a Node process pay each other in both directions, with a durable store each. The page is reloaded, closed, and killed with
 * its browser, again and again, in the middle of it, and now and then its peer is. Then everything that anybody was told must be true on both sides.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { expect, it } from 'vitest'
import { root } from '../scripts/setup.mjs'
import { audit } from '../test/crash/audit.js'
import type { Report } from '../test/crash/audit.js'
import { Peer } from '../test/crash/peer-process.js'
import { IN_FLIGHT, SEED, killsOr, tellFigures, timeoutFor } from '../test/crash/settings.js'
import { Witness } from '../test/crash/witness.js'
import type { Testimony } from '../test/crash/witness.js'
import { chooser } from '../test/support/chooser.js'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { openSite } from './support/site.js'

const KILLS = killsOr(20)
const KILLS_V2 = killsOr(5)

/** What page/load.js has as globals. */
interface LoadGlobals {
  begin(server: string, isV2: boolean): Promise<void>
  life: { load(inFlight: number): void; quiet(): Promise<void>; report(): Promise<Report> }
}

/** The page through all its lives. */
class WalletPage {
  readonly #url: string
  readonly #server: string
  readonly #isV2: boolean
  readonly #witness: Witness
  #browser: OpenBrowser
  #page: Page | undefined

  constructor({ url, server, isV2, witness, browser }: { url: string; server: string; isV2: boolean; witness: Witness; browser: OpenBrowser }) {
    this.#url = url
    this.#server = server
    this.#isV2 = isV2
    this.#witness = witness
    this.#browser = browser
  }

  async open(): Promise<void> {
    const page = await this.#browser.context.newPage()
    await page.exposeFunction('tell', (told: Testimony) => { this.#witness.hear(told) })
    page.on('pageerror', error => { this.#witness.hear({ trouble: error.message }) })
    await page.goto(this.#url)
    this.#page = page
    await this.#begin(page)
  }

  async #begin(page: Page): Promise<void> {
    await page.waitForFunction(() => 'begin' in globalThis)
    await page.evaluate(([server, isV2]) => (globalThis as unknown as LoadGlobals).begin(server, isV2), [this.#server, this.#isV2] as const)
  }

  async load(): Promise<void> {
    await this.#page!.evaluate(inFlight => { (globalThis as unknown as LoadGlobals).life.load(inFlight) }, IN_FLIGHT)
  }

  quiet(): Promise<void> {
    return this.#page!.evaluate(() => (globalThis as unknown as LoadGlobals).life.quiet())
  }

  report(): Promise<Report> {
    return this.#page!.evaluate(() => (globalThis as unknown as LoadGlobals).life.report())
  }

  async reload(): Promise<void> {
    await this.#page!.reload()
    await this.#begin(this.#page!)
  }

  async closeAndOpen(): Promise<void> {
    await this.#page!.close()
    await this.open()
  }

  async kill(): Promise<void> {
    this.#browser = await this.#browser.crash()
    await this.open()
  }

  close(): Promise<void> {
    return this.#browser.close()
  }
}

it(`I1, I3, I7, I8, H5, H6: a wallet page whose browser is killed ${KILLS} times under load loses nothing and applies nothing twice (seed ${SEED})`, { timeout: 2 * timeoutFor(KILLS) }, () => crash('LPI v1', KILLS))

it(`I1, I3, I7, I8, H5, H6: so does one whose host is of LPI v2, ${KILLS_V2} times (seed ${SEED})`, { timeout: 2 * timeoutFor(KILLS_V2) }, () => crash('LPI v2', KILLS_V2))

async function crash(host: 'LPI v1' | 'LPI v2', kills: number): Promise<void> {
  const startedAt = Date.now()
  const isV2 = host === 'LPI v2'
  const { upTo, pick } = chooser(SEED)
  const witness = new Witness()
  const folder = mkdtempSync(join(tmpdir(), 'paychan-kill-'))
  const site = await openSite()
  const peer = new Peer({ entry: join(root, 'dist', 'node.js'), path: folder, inFlight: IN_FLIGHT, isV2, witness })
  await peer.start()
  const wallet = new WalletPage({ url: site.urlOf('/load.html'), server: `btp+ws://:secret@127.0.0.1:${peer.port}`, isV2, witness, browser: await openBrowser() })
  try {
    await wallet.open()
    await wallet.load()
    peer.load()
    for (let kill = 0; kill < kills; kill++) {
      await witness.untilTold(20 + upTo(200))
      await wallet.kill()
      await wallet.load()
      // And in between what users do, and a peer that dies too.
      await witness.untilTold(20 + upTo(200))
      const next = pick(['reload', 'closeAndOpen', 'crash'] as const)
      if (next === 'crash') {
        await peer.kill()
        await peer.start()
        peer.load()
        continue
      }
      await wallet[next]()
      await wallet.load()
    }
    await witness.untilTold(100)
    await Promise.all([wallet.quiet(), peer.quiet()])
    // What is checked is what the stores hold, not what a process remembers.
    await Promise.all([wallet.kill(), peer.kill().then(() => peer.start())])
    const [a, b] = [await wallet.report(), await peer.report()]
    tellFigures(`Chromium, ${host}`, kills, startedAt, [a, b], witness)
    expect(witness.troubles).toEqual([])
    expect(audit(a, b, witness.acknowledged).slice(0, 20)).toEqual([])
    // The test has tested something.
    expect(witness.count('fulfilled')).toBeGreaterThan(25 * kills)
    expect(witness.count('cancelled')).toBeGreaterThan(2 * kills)
  } finally {
    await Promise.all([wallet.close(), peer.kill(), site.close()])
    rmSync(folder, { recursive: true, force: true })
  }
}
