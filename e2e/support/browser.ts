/**
 * A real Chromium with a profile of its own.
 */
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { BrowserContext } from 'playwright-core'
import { findBrowser, howToGet } from '../../scripts/setup.mjs'

const QUIET = ['--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync']

export interface OpenBrowser {
  context: BrowserContext
  /** The folder of the profile. */
  profile: string
  close(): Promise<void>
  /** Ends the browser's processes at once, as a crash or the system does, and starts it again with the same profile. */
  crash(): Promise<OpenBrowser>
}

/** Opens it with further flags, over a profile of its own or one that is left. */
export async function openBrowser(flags: readonly string[] = [], profile = mkdtempSync(join(tmpdir(), 'paychan-profile-'))): Promise<OpenBrowser> {
  const executablePath = findBrowser()
  if (executablePath === undefined) throw new Error(howToGet('chromium'))
  // Chromium's sandbox refuses to run as root.
  const isRoot = process.getuid?.() === 0
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    chromiumSandbox: !isRoot,
    args: [...isRoot ? ['--no-sandbox'] : [], ...QUIET, ...flags]
  })
  return {
    context,
    profile,
    async close() {
      await context.close()
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    },
    async crash() {
      const closed = new Promise<void>(resolve => { context.once('close', () => resolve()) })
      // The lock on the profile names the browser's main process, `<machine>-<number>`, which leads a group of its own.
      const pid = Number(readlinkSync(join(profile, 'SingletonLock')).split('-').pop())
      process.kill(-pid, 'SIGKILL')
      await closed
      return openBrowser(flags, profile)
    }
  }
}
