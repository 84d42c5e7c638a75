/**
 * Tabs with a wallet, in each of the browsers, all driven alike.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { firefox } from 'playwright-core'
import type { BrowserContext, Frame, Page } from 'playwright-core'
import { Builder, Capabilities } from 'selenium-webdriver'
import type { WebDriver } from 'selenium-webdriver'
import { DriverService } from 'selenium-webdriver/remote'
import { findBrowser, howToGet } from '../../scripts/setup.mjs'
import type { BrowserName } from '../../scripts/setup.mjs'
import { openBrowser } from './browser.js'
import { callInPage, valueOf, walletOver } from './wallet.js'
import type { Answer, Wallet } from './wallet.js'

export interface Tab {
  readonly wallet: Wallet
  /** Loads the page anew; its wallet has to connect again. */
  reload(): Promise<void>
  close(): Promise<void>
}

export interface TabBrowser {
  /** Resolves when the page has its wallet. */
  openTab(url: string): Promise<Tab>
  close(): Promise<void>
}

/** The wallet that a page or a frame has. */
export function walletIn(page: Page | Frame): Wallet {
  return walletOver(async (name, values) => valueOf(await page.evaluate(callInPage, { name, values })))
}

/** Opens tabs in a browser that Playwright drives. */
export async function openPlaywrightTab(context: BrowserContext, url: string): Promise<Tab> {
  const page = await context.newPage()
  const ready = () => page.waitForFunction(() => 'wallet' in globalThis)
  await page.goto(url)
  await ready()
  return {
    wallet: walletIn(page),
    async reload() {
      await page.reload()
      await ready()
    },
    close: () => page.close()
  }
}

async function openChromium(): Promise<TabBrowser> {
  const { context, close } = await openBrowser()
  return { openTab: url => openPlaywrightTab(context, url), close }
}

async function openFirefox(executablePath: string, isPrivate: boolean): Promise<TabBrowser> {
  const profile = mkdtempSync(join(tmpdir(), 'paychan-firefox-'))
  const firefoxUserPrefs = { 'browser.privatebrowsing.autostart': isPrivate }
  // The one that Playwright would bring has patches; this channel drives any Firefox.
  const context = await firefox.launchPersistentContext(profile, { channel: 'moz-firefox', executablePath, headless: true, firefoxUserPrefs })
  return {
    openTab: url => openPlaywrightTab(context, url),
    async close() {
      await context.close()
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}

/** What an X server without a screen shows nothing on: WebKitGTK has no mode without windows. */
async function openDisplay(): Promise<{ name: string; close(): void }> {
  const server = spawn('Xvfb', ['-displayfd', '1', '-nolisten', 'tcp'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const number = await new Promise<string>((resolve, reject) => {
    server.stdout.once('data', (data: Buffer) => { resolve(data.toString().trim()) })
    server.once('exit', code => { reject(new Error(`Xvfb ended with ${String(code)}`)) })
    server.once('error', reject)
  })
  return { name: `:${number}`, close: () => { server.kill() } }
}

async function openWebKit(driverPath: string): Promise<TabBrowser> {
  const display = await openDisplay()
  const home = mkdtempSync(join(tmpdir(), 'paychan-webkit-'))
  const environment = { ...process.env as Record<string, string>, DISPLAY: display.name, HOME: home, XDG_RUNTIME_DIR: home }
  const service = new DriverService.Builder(driverPath).setLoopback(true).setEnvironment(environment).build()
  const capabilities = new Capabilities({ browserName: 'MiniBrowser' })
  const driver = await new Builder().usingServer(await service.start()).withCapabilities(capabilities).build()
  await driver.manage().setTimeouts({ script: 60_000 })
  const windows = new WebKitWindows(driver, await driver.getWindowHandle())
  return {
    openTab: url => windows.open(url),
    async close() {
      await driver.quit()
      await service.kill()
      display.close()
      rmSync(home, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}

/** The windows of a browser that is told what to do in one of them after the other. */
class WebKitWindows {
  readonly #driver: WebDriver
  /** Shows nothing, and stays: the browser ends with its last window. */
  readonly #first: string
  #last: Promise<unknown> = Promise.resolve()

  constructor(driver: WebDriver, first: string) {
    this.#driver = driver
    this.#first = first
  }

  async open(url: string): Promise<Tab> {
    const handle = await this.#in(this.#first, async () => {
      await this.#driver.switchTo().newWindow('tab')
      await this.#driver.get(url)
      await this.#untilReady()
      return this.#driver.getWindowHandle()
    })
    return {
      wallet: walletOver(async (name, values) => valueOf(await this.#in(handle, () => this.#call(name, values)))),
      reload: () => this.#in(handle, async () => {
        await this.#driver.navigate().refresh()
        await this.#untilReady()
      }),
      close: () => this.#in(handle, () => this.#driver.close())
    }
  }

  #call(name: keyof Wallet, values: unknown[]): Promise<Answer> {
    const script = `const [call, done] = arguments; (${callInPage.toString()})(call).then(done)`
    return this.#driver.executeAsyncScript(script, { name, values })
  }

  async #untilReady(): Promise<void> {
    await this.#driver.wait(() => this.#driver.executeScript<boolean>('return "wallet" in globalThis'), 30_000)
  }

  #in<T>(handle: string, action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(async () => {
      await this.#driver.switchTo().window(handle)
      return action()
    })
    this.#last = result.catch(() => undefined)
    return result
  }
}

const OPENERS: Readonly<Record<BrowserName, (path: string, isPrivate: boolean) => Promise<TabBrowser>>> = {
  chromium: openChromium, firefox: openFirefox, webkit: openWebKit
}

/** Opens a browser with a profile of its own; `isPrivate`: all windows of Firefox are private ones. */
export async function openTabs(name: BrowserName, { isPrivate = false } = {}): Promise<TabBrowser> {
  const path = findBrowser(name)
  if (path === undefined) throw new Error(howToGet(name))
  return OPENERS[name](path, isPrivate)
}
