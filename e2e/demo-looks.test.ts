/**
 * How the demo's pages look and read: for axe-core, for who has no mouse, in the dark, and on a phone.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { root } from '../scripts/setup.mjs'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { accountsFolder, expectBooks, expectState, openNew, openWallet, pay, startDemo } from './support/demo.js'
import type { Demo } from './support/demo.js'

const DOCUMENTS = ['wallet-in-30-lines', 'what-survives-what', 'from-the-old-package', 'ilp-connector', 'pay-by-stream'].map(name => `/docs/${name}.html`)
const AXE = readFileSync(join(root, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8')

const folder = accountsFolder()
let demo: Demo
let browser: OpenBrowser
let page: Page

beforeAll(async () => {
  demo = await startDemo(folder.path)
  browser = await openBrowser()
})

afterAll(async () => {
  await browser.close()
  await demo.stop()
  folder.remove()
})

beforeEach(async () => { page = await openNew(browser, demo.url) })

afterEach(async () => { await page.close() })

/** What axe-core has to say against the page as it is now. */
async function violations(): Promise<string[]> {
  await page.evaluate(AXE)
  const { violations: found } = await page.evaluate(() => (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run())
  return found.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary ?? ''}`))
}

const ground = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor)

/** How many pixels of the page stand over the edge of the screen. */
const overhang = (): Promise<number> => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)

/** A wallet in the middle of things: something in every part of the page. */
async function openBusyWallet(): Promise<void> {
  await openWallet(page, demo.url)
  await pay(page, 'Be paid', '120')
  await expectBooks(page, '+120.00', '\u2212120.00')
  await pay(page, 'Pay the peer', '1,5')
  await pay(page, 'Pay the peer', '20', 'never')
  await expect.poll(() => page.locator('#in-flight').textContent()).toBe('1')
  await page.locator('.log summary').first().click()
  await page.locator('.fields').waitFor()
}

describe('the pages of the demo', () => {
  it('have nothing that axe-core objects to, new or in use, light or dark', async () => {
    await openWallet(page, demo.url)
    await expectBooks(page, '0.00', '0.00')
    expect(await violations()).toEqual([])
    await openBusyWallet()
    for (const colorScheme of ['light', 'dark'] as const) {
      // Without motion, since no colour is to be judged while it changes.
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      expect([colorScheme, await violations()]).toEqual([colorScheme, []])
    }
    for (const path of DOCUMENTS) {
      await page.goto(demo.url + path)
      expect([path, await violations()]).toEqual([path, []])
    }
  })

  it('are dark where the system is, and keep what was chosen over a reload', async () => {
    await page.emulateMedia({ colorScheme: 'light' })
    await openWallet(page, demo.url)
    const light = await ground()
    await page.emulateMedia({ colorScheme: 'dark' })
    const dark = await ground()
    expect(dark).not.toBe(light)
    await page.getByRole('radio', { name: 'Light' }).check()
    expect(await ground()).toBe(light)
    await page.reload()
    await page.locator('.balance').waitFor()
    expect(await ground()).toBe(light)
    await page.goto(demo.url + '/docs/what-survives-what.html')
    expect(await ground()).toBe(light)
  })

  it('fit a phone of 360 pixels', async () => {
    await page.setViewportSize({ width: 360, height: 740 })
    await openBusyWallet()
    expect(await overhang()).toBe(0)
    for (const path of [...DOCUMENTS, '/small/']) {
      await page.goto(demo.url + path)
      expect([path, await overhang()]).toEqual([path, 0])
    }
  })

  it('stand still whatever they have to say, on a wide screen and on a phone', async () => {
    // Where each part begins, in pixels from the top of the page, wherever that is scrolled to.
    const places = (): Promise<number[]> => page.locator('main, main .card, .sides, .turner').evaluateAll(parts =>
      parts.map(part => part.getBoundingClientRect().top - document.body.getBoundingClientRect().top))
    // A rounded pixel is no jump.
    const areSame = (some: number[], others: number[]): boolean => some.every((place, i) => Math.abs(place - (others[i] ?? 0)) <= 1)
    for (const width of [360, 1024, 1280, 1600]) {
      await page.setViewportSize({ width, height: 740 })
      await openWallet(page, demo.url)
      await expect.poll(() => page.locator('#agreement').textContent()).toBe(' Both sides agree')
      const still = await places()
      const expectStill = async (what: string): Promise<void> => {
        const now = await places()
        if (!areSame(now, still)) expect([width, what, now]).toEqual([width, what, still])
      }
      await pay(page, 'Pay the peer', '1,5')
      await expectStill('a bad amount')
      await page.getByLabel('Each, in XTS').fill('0,5')
      await expectStill('a bad amount to stream')
      await pay(page, 'Be paid', '5000')
      await expect.poll(() => page.locator('#notice').textContent()).toContain('Not received')
      await expectStill('a refusal')
      await page.getByRole('button', { name: 'Cut the connection' }).click()
      await expectState(page, 'lost')
      await expectStill('no connection')
      await page.reload()
      await page.locator('#own-books').waitFor()
      await expectState(page, 'connecting')
      await expectStill('connecting')
      await page.getByRole('button', { name: 'Mend the connection' }).click()
      await expectState(page, 'connected')
      await expectStill('connected')
    }
    await page.setViewportSize({ width: 360, height: 740 })
    // The history, which is the last but two, grows.
    const before = (await places()).slice(0, -2)
    for (const amount of ['1', '2', '3', '4']) await pay(page, 'Pay the peer', amount, 'never')
    await expect.poll(() => page.locator('#in-flight').textContent()).toBe('4')
    expect(areSame(before, await places())).toBe(true)
  })

  it('take a payment from who has only a keyboard', async () => {
    await openWallet(page, demo.url)
    const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.textContent ?? '')
    await page.keyboard.press('Tab')
    expect(await focused()).toBe('Skip to the payments')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Control+A')
    await page.keyboard.type('4.20')
    await page.keyboard.press('Enter')
    await expectBooks(page, '\u22124.20', '+4.20')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    expect(await focused()).toBe(' Be paid')
    expect(await page.evaluate(() => getComputedStyle(document.activeElement ?? document.body).outlineStyle)).toBe('solid')
    await page.keyboard.press('Space')
    await expectBooks(page, '0.00', '0.00')
  })

  it('lead to one another, and to nothing that is not there', async () => {
    for (const path of ['/', ...DOCUMENTS]) {
      await page.goto(demo.url + path)
      await page.locator('nav a').first().waitFor()
      const links = await page.locator('a').evaluateAll(found => found.map(link => (link as HTMLAnchorElement).href))
      expect(links.length).toBeGreaterThan(3)
      for (const link of links.filter(one => one.startsWith(demo.url))) expect([link, (await fetch(link)).status]).toEqual([link, 200])
    }
  })
})
