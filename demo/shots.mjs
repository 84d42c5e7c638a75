/**
 * `npm run shots`: pictures of the wallet page for the README, in demo/shots: light, dark, and on a phone. What they show is made of
 * real payments, so that no two runs give the same bytes.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { findBrowser, howToGet, root } from '../scripts/setup.mjs'

const WIDE = { width: 1280, height: 900 }
const PHONE = { width: 390, height: 844 }
const PAYMENTS = [['Be paid', '48.00'], ['Pay the peer', '12.50'], ['Be paid', '31.20'], ['Pay the peer', '40.00'], ['Be paid', '64.90']]

const executablePath = findBrowser()
if (executablePath === undefined) throw new Error(howToGet('chromium'))
const out = join(root, 'demo', 'shots')
const work = mkdtempSync(join(tmpdir(), 'paychan-shots-'))
mkdirSync(out, { recursive: true })

const server = spawn(process.execPath, [join(root, 'scripts', 'start.mjs'), '--port', '0', '--data', work], { stdio: ['ignore', 'pipe', 'inherit'] })
const url = await new Promise((resolve, reject) => {
  server.stdout.on('data', chunk => {
    const [found] = /http:\/\/localhost:\d+/.exec(chunk.toString()) ?? []
    if (found !== undefined) resolve(found)
  })
  server.once('exit', code => { reject(new Error(`the demo ended with ${code}`)) })
})
const isRoot = process.getuid?.() === 0
const browser = await chromium.launch({ executablePath, chromiumSandbox: !isRoot, args: isRoot ? ['--no-sandbox', '--disable-gpu'] : ['--disable-gpu'] })
try {
  const page = await browser.newPage({ viewport: WIDE, colorScheme: 'light', reducedMotion: 'reduce' })
  await page.goto(url)
  await page.locator('.pill[data-state="connected"]').waitFor()
  await use(page)
  await shoot(page, 'light')
  await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' })
  await shoot(page, 'dark')
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' })
  await page.setViewportSize(PHONE)
  await shoot(page, 'phone', false)
} finally {
  await browser.close()
  const ended = once(server, 'exit')
  server.kill('SIGINT')
  await ended
  rmSync(work, { recursive: true, force: true })
}

/** Pays to and fro, streams for a while, and leaves two payments in flight. */
async function use(page) {
  for (const [button, amount] of PAYMENTS) {
    await pay(page, button, amount)
    await page.locator('#notice[data-kind="done"]').waitFor()
    await page.waitForTimeout(1500)
  }
  await page.getByLabel('Each, in XTS').fill('0.35')
  await page.getByRole('button', { name: 'Start being paid' }).click()
  await page.waitForTimeout(15_000)
  await pay(page, 'Pay the peer', '18.00', 'never')
  await pay(page, 'Be paid', '7.25', 'never')
  await page.getByLabel('The receiver takes it').selectOption({ label: 'at once' })
  await page.mouse.move(0, 0)
  await page.waitForTimeout(2000)
}

async function pay(page, button, amount, hold = 'at once') {
  await page.getByLabel('Amount in XTS').fill(amount)
  await page.getByLabel('The receiver takes it').selectOption({ label: hold })
  await page.getByRole('button', { name: button, exact: true }).click()
}

async function shoot(page, name, fullPage = true) {
  // What is drawn on a canvas follows the colours a moment later.
  await page.waitForTimeout(500)
  await page.screenshot({ path: join(out, `${name}.png`), fullPage })
}
