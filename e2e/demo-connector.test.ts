/**
 * The demo with its ilp-connector: payments by STREAM from the page, through the connector, to the receiver behind it.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../scripts/setup.mjs'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { accountsFolder, expectState, openNew, runDemo, startDemo } from './support/demo.js'
import type { Demo } from './support/demo.js'

const folder = accountsFolder()
let demo: Demo
let browser: OpenBrowser
let page: Page

beforeAll(async () => {
  demo = await startDemo(folder.path, '--connector')
  browser = await openBrowser()
  page = await openNew(browser, demo.url)
  await page.goto(demo.url)
})

afterAll(async () => {
  await browser.close()
  await demo.stop()
  folder.remove()
})

const text = (selector: string): Promise<string | null> => page.locator(selector).textContent()

/** Begins a payment once the connector can be reached. */
async function pay(amount: string): Promise<void> {
  await expect.poll(() => page.locator('#stream-link').getAttribute('data-state')).toBe('connected')
  await page.getByLabel('In all, in XTS').fill(amount)
  await page.getByRole('button', { name: 'Pay the receiver' }).click()
}

/** Waits until both sides of the account with the connector have this balance. */
async function expectConnectorBooks(balance: string): Promise<void> {
  await expect.poll(async () => [await text('#stream-balance'), await text('#stream-peer-balance')]).toEqual([`${balance} XTS`, `${balance} XTS`])
}

/** The process that the demo has started. */
function connectorOf({ pid }: Demo): number {
  const children = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(pid)], { encoding: 'utf8' }).split('\n')
  return Number.parseInt(children.find(line => line.includes('connector')) ?? '', 10)
}

describe('the demo with a connector', () => {
  it('pays by STREAM: the receiver has it, the packets are shown, and both sides of the account agree', async () => {
    await pay('12.34')
    await expect.poll(() => text('#stream-notice')).toBe(' Paid 12.34 XTS in 13 packets')
    await expect.poll(() => demo.output()).toContain('the receiver is paid 12.34 XTS by STREAM in 13 packets, balance 12.34')
    await expectConnectorBooks('\u221212.34')
    expect([await text('#stream-sent'), await text('#stream-delivered'), await text('#stream-rate-of')]).toEqual(['12.34 XTS', '12.34 XTS', '1.00'])
    expect(await text('#stream-packets')).toMatch(/^13 fulfilled, \d+ refused$/)

    await page.getByLabel('Text', { exact: true }).fill('ILP prepare 0.34 XTS')
    const log = page.locator('.log > li')
    await expect.poll(() => log.allTextContents()).toEqual([
      expect.stringMatching(/receivedresponseILP fulfill, to message: ILP prepare 0.34 XTS to test\.connector\.receiver/),
      expect.stringMatching(/sentmessageILP prepare 0.34 XTS to test\.connector\.receiver/)
    ])
    await log.last().locator('summary').click()
    await expect.poll(() => page.locator('.fields').textContent()).toMatch(/ILP amount34.*ILP executionCondition[0-9a-f]{64}.*ILP destinationtest\.connector\.receiver/)
    await page.getByRole('button', { name: 'Resume' }).click()
  })

  it('stops when it is told to, and both sides agree on what was paid', async () => {
    await pay('5000')
    await expect.poll(() => text('#stream-notice')).toBe(' Paying 5,000.00 XTS \u2026')
    await page.getByRole('button', { name: 'Stop', exact: true }).click()
    await expect.poll(() => text('#stream-notice')).toMatch(/^ Stopped after [\d,.]+ XTS in \d+ packets$/)
    const paid = BigInt((await text('#stream-delivered') ?? '').replace(/\D/g, ''))
    expect(paid).toBeLessThan(500_000n)
    const units = (paid + 1234n).toString()
    await expectConnectorBooks(`\u2212${units.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ',')}.${units.slice(-2)}`)
  })

  it('carries on with a payment during which the connection was cut, and mended', async () => {
    await pay('40')
    await expect.poll(async () => Number.parseInt(await text('#stream-packets') ?? '', 10)).toBeGreaterThan(2)
    await page.getByRole('button', { name: 'Cut the connection' }).click()
    await expect.poll(() => page.locator('#stream-link').getAttribute('data-state')).toBe('lost')
    await page.getByRole('button', { name: 'Mend the connection' }).click()
    await expect.poll(() => text('#stream-notice')).toBe(' Paid 40.00 XTS in 40 packets')
    await expect.poll(async () => await text('#stream-balance') === await text('#stream-peer-balance')).toBe(true)
  })

  it('says in words what cannot be paid', async () => {
    await pay('1,5')
    expect(await text('#stream-pay-help')).toBe('With a point: 1.5')
    await pay('20000')
    await expect.poll(() => text('#stream-notice')).toMatch(/^ Nothing was paid: only [\d,.]+ XTS can be paid now$/)
  })

  it('lets only one tab pay at a time, which has the connection; the next one takes over', async () => {
    const second = await browser.context.newPage()
    await second.goto(demo.url)
    await expect.poll(() => second.locator('#stream-link').textContent()).toBe('Another tab is connected: pay there')
    expect(await second.getByRole('button', { name: 'Pay the receiver' }).isDisabled()).toBe(true)
    await page.close()
    page = second
    await pay('1')
    await expect.poll(() => text('#stream-notice')).toBe(' Paid 1.00 XTS in 1 packet')
  })

  it('has nothing that axe-core objects to, light or dark, and fits a phone of 360 pixels', async () => {
    await page.evaluate(readFileSync(join(root, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8'))
    await page.setViewportSize({ width: 360, height: 740 })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run())
      expect([colorScheme, violations.map(({ id, nodes }) => [id, nodes.map(({ target }) => target)])]).toEqual([colorScheme, []])
    }
    expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBe(0)
  })

  it('says that the connector is gone, and goes on without', async () => {
    process.kill(connectorOf(demo), 'SIGKILL')
    await expect.poll(() => demo.output()).toContain('the connector is gone, and with it all payments by STREAM: it ended with SIGKILL')
    await expect.poll(() => text('#stream-link')).toBe('Connection lost, dialling again')
    await expectState(page, 'connected')
  })

  it('says in one line why a connector cannot start, and fails', async () => {
    const other = accountsFolder()
    mkdirSync(join(other.path, 'connector', 'store', 'data.mdb'), { recursive: true })
    const { code, output } = await runDemo('--connector', '--port', '0', '--data', other.path)
    expect([code, output]).toEqual([1, expect.stringMatching(/^the connector refuses: .*\n$/)])
    other.remove()
  })

  it('starts again with the same books, and ends with an exit code of 0', async () => {
    const before = await text('#stream-balance')
    const start = Date.now()
    expect(await demo.stop()).toBe(0)
    expect(Date.now() - start).toBeLessThan(20_000)
    demo = await startDemo(folder.path, '--connector', '--port', new URL(demo.url).port)
    await page.reload()
    await expect.poll(async () => [await text('#stream-balance'), await text('#stream-peer-balance')]).toEqual([before, before])
  })
})
