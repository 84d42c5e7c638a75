/**
 * A real Chromium with a profile of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { BrowserContext } from 'playwright-core'
import { HOW_TO_GET_A_BROWSER, findBrowser } from '../../scripts/setup.mjs'

const QUIET = ['--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync']

export interface OpenBrowser {
  context: BrowserContext
  close(): Promise<void>
}

export async function openBrowser(): Promise<OpenBrowser> {
  const executablePath = findBrowser()
  if (executablePath === undefined) throw new Error(HOW_TO_GET_A_BROWSER)
  const profile = mkdtempSync(join(tmpdir(), 'paychan-profile-'))
  // Chromium's sandbox refuses to run as root.
  const isRoot = process.getuid?.() === 0
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    chromiumSandbox: !isRoot,
    args: isRoot ? ['--no-sandbox', ...QUIET] : QUIET
  })
  return {
    context,
    async close() {
      await context.close()
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}
