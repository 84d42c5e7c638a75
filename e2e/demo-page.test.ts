/**
 * The wallet page of the demo in a real browser: what it does, with the Node side behind it.
 */
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { accountsFolder, expectBooks, expectState, openNew, openWallet, pay, startDemo } from './support/demo.js'
import type { Demo } from './support/demo.js'

const folder = accountsFolder()
let demo: Demo
let browser: OpenBrowser
let page: Page
const complaints: string[] = []

beforeAll(async () => {
  demo = await startDemo(folder.path)
  browser = await openBrowser()
})

afterAll(async () => {
  await browser.close()
  await demo.stop()
  folder.remove()
})

/** Each test has a wallet of its own. */
beforeEach(async () => {
  page = await openNew(browser, demo.url)
  complaints.length = 0
  page.on('pageerror', error => complaints.push(error.message))
  await openWallet(page, demo.url)
})

afterEach(async () => {
  await page.close()
  expect(complaints).toEqual([])
})

/** Another page in its place, on which no wallet has been opened yet. */
async function replace(old: Page): Promise<Page> {
  await old.close()
  return openNew(browser, demo.url)
}

const notice = () => page.locator('#notice')

describe('the wallet page', () => {
  it('pays the peer, is paid by it, and finds its balance again after a reload and after a restart of the peer', async () => {
    await expectBooks(page, '0.00', '0.00')
    await pay(page, 'Pay the peer', '25')
    await expectBooks(page, '\u221225.00', '+25.00')
    expect(await notice().textContent()).toBe(' Paid 25.00 XTS')

    await pay(page, 'Be paid', '40.5')
    await expectBooks(page, '+15.50', '\u221215.50')
    expect(await notice().textContent()).toBe(' Received 40.50 XTS')
    expect(await page.locator('#in-flight').textContent()).toBe('0')
    const rows = page.locator('.history tbody tr')
    expect(await rows.allTextContents()).toEqual([expect.stringContaining('Received+40.50'), expect.stringContaining('Paid\u221225.00')])
    expect(await rows.locator('time').first().getAttribute('title')).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
    await expect.poll(() => demo.output()).toMatch(/pays 25.00 XTS, balance 25.00\n.*is paid 40.50 XTS, balance \u221215.50/)

    await page.reload()
    await expectBooks(page, '+15.50', '\u221215.50')

    const port = Number(new URL(demo.url).port)
    expect(await demo.stop()).toBe(0)
    await expectState(page, 'lost')
    demo = await startDemo(folder.path, '--port', String(port))
    await expectState(page, 'connected')
    await expectBooks(page, '+15.50', '\u221215.50')
  })

  it('says what is wrong with an amount, and what came of a payment that its receiver never took', async () => {
    await pay(page, 'Pay the peer', '5')
    await expect.poll(() => notice().textContent()).toBe(' Paid 5.00 XTS')
    const hints = {
      '1,5': 'With a point: 1.5',
      '1,000.50': 'Without the commas',
      '1.234': 'Two decimals at most',
      '-1': 'An amount above zero',
      '0': 'An amount above zero',
      'ten': 'A number, such as 2.50',
      '': 'A number, such as 2.50',
      '9999999999999999': 'That is too much'
    }
    for (const [amount, hint] of Object.entries(hints)) {
      await pay(page, 'Pay the peer', amount)
      expect([amount, await page.locator('#amount-help').textContent()]).toEqual([amount, hint])
      expect(await page.getByLabel('Amount in XTS').getAttribute('aria-invalid')).toBe('true')
      expect(await notice().textContent()).toBe('')
    }
    await page.getByLabel('Amount in XTS').fill('2.5')
    expect(await page.getByLabel('Amount in XTS').getAttribute('aria-invalid')).toBe('false')
    await page.getByLabel('Each, in XTS').fill('0,5')
    expect(await page.locator('#stream-help').textContent()).toBe('With a point: 0.5')
    await pay(page, 'Be paid', '5')
    await expectBooks(page, '0.00', '0.00')
    await pay(page, 'Pay the peer', '3', 'never')
    await expect.poll(() => page.locator('#in-flight').textContent()).toBe('1')
    expect(await page.locator('.flights').textContent()).toMatch(/Outgoing3.00 XTS\d+\.\d s left/)
    expect(await page.locator('.limits').textContent()).toContain('Held for payments in flight3.00')
    await expect.poll(() => notice().textContent()).toBe(' Not paid 3.00 XTS: its time was over')
    await expectBooks(page, '0.00', '0.00')
  })

  it('says in its own units how much more can be paid when a payment, or a stream of either side, comes to the limit', async () => {
    await pay(page, 'Pay the peer', '5000')
    await expect.poll(() => notice().textContent()).toBe(' Not paid 5,000.00 XTS: only 1,000.00 XTS can be paid now')
    await pay(page, 'Be paid', '5000')
    await expect.poll(() => notice().textContent()).toBe(' Not received 5,000.00 XTS: only 1,000.00 XTS can be paid now')
    await page.getByLabel('Each, in XTS').fill('600')
    await page.getByRole('button', { name: 'Start paying' }).click()
    await expect.poll(() => notice().textContent()).toBe(' The stream has ended: only 400.00 XTS can be paid now')
    await pay(page, 'Pay the peer', '400')
    await expectBooks(page, '\u22121,000.00', '+1,000.00')
    await pay(page, 'Pay the peer', '1')
    await expect.poll(() => notice().textContent()).toBe(' Not paid 1.00 XTS: nothing more can be paid now')
    await page.getByLabel('Each, in XTS').fill('1500')
    await page.getByRole('button', { name: 'Start being paid' }).click()
    await expect.poll(() => notice().textContent()).toBe(' The stream has ended: only 500.00 XTS can be paid now')
    await expectBooks(page, '+500.00', '\u2212500.00')
  })

  it('streams small payments in both directions at once, and both sides agree when it stops', async () => {
    await page.getByLabel('How often').selectOption({ label: '20 a second' })
    await page.getByRole('button', { name: 'Start paying' }).click()
    await page.getByRole('button', { name: 'Start being paid' }).click()
    await expect.poll(() => demo.output()).toMatch(/\d+ payments\/s, \d+ so far/)
    await expect.poll(() => page.locator('.history tbody tr').count()).toBe(12)
    await page.getByRole('button', { name: 'Stop paying' }).click()
    await page.getByRole('button', { name: 'Stop being paid' }).click()
    await expect.poll(() => page.locator('#agreement').textContent()).toBe(' Both sides agree')
    expect(await page.getByRole('button', { name: 'Start paying' }).count()).toBe(1)
    await expect.poll(() => page.locator('#in-flight').textContent()).toBe('0')
  })

  it('turns the pages of its history', async () => {
    await page.getByLabel('How often').selectOption({ label: '50 a second' })
    await page.getByRole('button', { name: 'Start being paid' }).click()
    await expect.poll(async () => Number((await page.locator('#own-books').textContent())?.replace(/[^\d.]/g, ''))).toBeGreaterThan(0.3)
    await page.getByRole('button', { name: 'Stop being paid' }).click()
    await expect.poll(() => page.locator('#agreement').textContent()).toBe(' Both sides agree')
    await page.getByRole('button', { name: 'Older' }).click()
    await expect.poll(() => page.locator('#history-page').textContent()).toBe('2')
    const transfers = () => page.locator('.history tbody tr').evaluateAll(rows => rows.map(row => row.getAttribute('data-transfer')))
    const older = await transfers()
    await page.getByRole('button', { name: 'Newer' }).click()
    await expect.poll(() => page.locator('#history-page').textContent()).toBe('1')
    const newest = await transfers()
    expect([older.length, newest.length]).toEqual([12, 12])
    expect(newest.filter(id => older.includes(id))).toEqual([])
    expect(await page.getByRole('button', { name: 'Newer' }).isDisabled()).toBe(true)
  })

  it('loses nothing of a payment during which the connection is cut, and mended', async () => {
    await pay(page, 'Pay the peer', '7', 'after 5 seconds')
    await expect.poll(() => page.locator('#in-flight').textContent()).toBe('1')
    await page.getByRole('button', { name: 'Cut the connection' }).click()
    await expectState(page, 'lost')
    await page.getByRole('button', { name: 'Mend the connection' }).click()
    await expectState(page, 'connected')
    await expectBooks(page, '\u22127.00', '+7.00')
    expect(await notice().textContent()).toBe(' Paid 7.00 XTS')
  })

  it('ends a stream of either side while the connection is cut, the peer\'s as soon as it can be told', async () => {
    await page.getByRole('button', { name: 'Start paying' }).click()
    await page.getByRole('button', { name: 'Start being paid' }).click()
    await page.getByRole('button', { name: 'Stop being paid' }).waitFor()
    await page.getByRole('button', { name: 'Cut the connection' }).click()
    await expectState(page, 'lost')
    await page.getByRole('button', { name: 'Stop paying' }).click()
    await page.getByRole('button', { name: 'Stop being paid' }).click()
    await expect.poll(() => page.locator('.stream .help').allTextContents()).toEqual(['Not running', 'Ends when connected again'])
    await page.getByRole('button', { name: 'Mend the connection' }).click()
    await expect.poll(() => page.locator('.stream .help').allTextContents()).toEqual(['Not running', 'Not running'])
    await expect.poll(() => page.locator('#agreement').textContent()).toBe(' Both sides agree')
  })

  it('knows in each tab that the connection was cut in another, and calls no books different that are the same', async () => {
    const second = await browser.context.newPage()
    await second.goto(demo.url)
    await expectState(second, 'standby')
    await expectBooks(second, '0.00', '0.00')
    await second.getByRole('button', { name: 'Cut the connection' }).click()
    await second.getByRole('button', { name: 'Mend the connection' }).waitFor()
    // What the first tab is told by its own connection, it need not be told by the second.
    await page.getByRole('button', { name: 'Mend the connection' }).waitFor()
    const judged = new Set<string | null>()
    await second.getByRole('button', { name: 'Start paying' }).click()
    for (const end = Date.now() + 2500; Date.now() < end;) judged.add(await second.locator('#agreement').getAttribute('data-agreement'))
    expect([...judged]).not.toContain('differ')
    await second.getByRole('button', { name: 'Stop paying' }).click()
    await page.getByRole('button', { name: 'Mend the connection' }).click()
    await expectState(page, 'connected')
    await page.getByRole('button', { name: 'Cut the connection' }).waitFor()
    await second.close()
  })

  it('carries on with payments in both directions that a reload, or the end of the browser, has cut short', async () => {
    await pay(page, 'Pay the peer', '7', 'after 5 seconds')
    await pay(page, 'Be paid', '3', 'after 5 seconds')
    await expect.poll(() => page.locator('#in-flight').textContent()).toBe('2')
    await page.reload()
    await expect.poll(() => page.locator('#in-flight').textContent()).toBe('2')
    await expectBooks(page, '\u22124.00', '+4.00')

    await pay(page, 'Pay the peer', '1', 'after 5 seconds')
    await pay(page, 'Be paid', '2', 'after 5 seconds')
    await expect.poll(() => page.locator('#in-flight').textContent()).toBe('2')
    browser = await browser.crash()
    page = await browser.context.newPage()
    await openWallet(page, demo.url)
    await expectBooks(page, '\u22123.00', '+3.00')
    expect(await page.locator('.history tbody tr').count()).toBe(4)
  })

  it('has one connection for two tabs: the second stands by, shows and pays as the first does, and takes over from it', async () => {
    const second = await browser.context.newPage()
    await second.goto(demo.url)
    await expectState(second, 'standby')
    await pay(second, 'Pay the peer', '5')
    await expectBooks(second, '\u22125.00', '+5.00')
    await expectBooks(page, '\u22125.00', '+5.00')
    expect(await second.locator('#notice').textContent()).toBe(' Paid 5.00 XTS')
    expect(await second.locator('.history tbody tr').count()).toBe(1)

    await pay(second, 'Be paid', '9', 'after 5 seconds')
    await expect.poll(() => second.locator('#in-flight').textContent()).toBe('1')
    await page.close()
    page = second
    await expectState(page, 'connected')
    await expectBooks(page, '+4.00', '\u22124.00')
  })

  it('shows BTP packets decoded, by type, direction and text, and holds them while it is paused', async () => {
    await pay(page, 'Pay the peer', '12.34')
    await expectBooks(page, '\u221212.34', '+12.34')
    const log = page.locator('.log > li')
    const types = async (): Promise<Set<string | null>> => new Set(await page.locator('.log .type').allTextContents())
    await expect.poll(types).toContain('fulfill')
    const onlyType = async (type: string): Promise<void> => {
      for (const box of await page.locator('.chips label').all()) await box.getByRole('checkbox').setChecked(await box.textContent() === type)
    }
    await onlyType('prepare')
    await expect.poll(() => log.allTextContents()).toEqual([expect.stringMatching(/sentprepare12.34 XTS, transfer [0-9a-f]{8}, until /)])
    await page.getByLabel('Direction').selectOption({ label: 'received' })
    expect(await page.locator('.packets .empty').textContent()).toBe('No packet passes these filters.')
    await page.getByLabel('Direction').selectOption({ label: 'both' })
    await page.getByLabel('Text', { exact: true }).fill('executionCondition')
    expect(await log.count()).toBe(1)
    await log.locator('summary').click()
    await expect.poll(() => page.locator('.fields').textContent()).toMatch(/amount1234.*executionCondition[\w-]{43}.*custom \(JSON, \d+ bytes\)\{"invoice":"[0-9a-f]{32}"/)

    expect(await page.getByRole('button', { name: 'Resume' }).getAttribute('aria-pressed')).toBe('true')
    await pay(page, 'Pay the peer', '1')
    await expectBooks(page, '\u221213.34', '+13.34')
    expect(await log.count()).toBe(1)
    await page.getByRole('button', { name: 'Resume' }).click()
    await expect.poll(() => log.count()).toBe(2)
    await page.getByRole('button', { name: 'Clear' }).click()
    await expect.poll(() => log.count()).toBe(0)
  })

  it('shows no secret among the packets', async () => {
    page = await replace(page)
    const answer = page.waitForResponse(response => response.url().endsWith('/accounts'))
    await openWallet(page, demo.url)
    const { token } = await (await answer).json() as { token: string }
    expect(token).toMatch(/^[\w-]{32}$/)
    await page.getByLabel('Text', { exact: true }).fill(token)
    await pay(page, 'Pay the peer', '1')
    await expectBooks(page, '\u22121.00', '+1.00')
    await page.getByLabel('Leave out').uncheck()
    expect(await page.locator('.log > li').count()).toBe(0)
  })

  it('opens a new account when the Node side knows the old one no longer', async () => {
    page = await replace(page)
    await page.route('**/accounts', route => route.fulfill({ status: 201, json: { id: '00'.repeat(8), token: 'gone' } }), { times: 1 })
    await page.goto(demo.url)
    await page.getByRole('button', { name: 'Open a new account' }).click()
    await expectState(page, 'connected')
    await expectBooks(page, '0.00', '0.00')
  })
})

describe('the small wallet', () => {
  it('is a page of 30 lines that pays', async () => {
    await page.goto(`${demo.url}/small/`)
    await page.getByRole('button', { name: 'Pay 1.00' }).click()
    await expect.poll(() => page.locator('#said').textContent()).toBe('paid')
    await expect.poll(() => page.locator('#balance').textContent()).toBe('-100')
    await page.reload()
    await expect.poll(() => page.locator('#balance').textContent()).toBe('-100')
    expect((await (await fetch(`${demo.url}/small/`)).text()).trimEnd().split('\n').length).toBeLessThanOrEqual(30)
  })
})
