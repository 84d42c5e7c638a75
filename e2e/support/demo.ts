/**
 * `npm start` as a process of its own, on a free port and with a folder of its own.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { expect } from 'vitest'
import { root } from '../../scripts/setup.mjs'
import type { OpenBrowser } from './browser.js'

export interface Demo {
  /** Where the page is, without a slash at its end. */
  readonly url: string
  readonly pid: number | undefined
  output(): string
  /** Ctrl-C; resolves with the exit code. */
  stop(): Promise<number | null>
}

/** A folder for the accounts; `remove` takes it away. */
export function accountsFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'paychan-demo-'))
  return { path, remove: () => { rmSync(path, { recursive: true, force: true }) } }
}

/** Runs the demo; resolves when it prints its address. */
export async function startDemo(data: string, ...args: string[]): Promise<Demo> {
  const child = spawn(process.execPath, ['scripts/start.mjs', '--data', data, '--port', '0', ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const url = new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      output += chunk.toString()
      const [found] = /http:\/\/localhost:\d+/.exec(output) ?? []
      if (found !== undefined) resolve(found)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('exit', code => { reject(new Error(`the demo ended with ${String(code)}:\n${output}`)) })
  })
  return {
    url: await url,
    pid: child.pid,
    output: () => output,
    async stop() {
      if (child.exitCode !== null) return child.exitCode
      const exit = once(child, 'exit') as Promise<[number | null]>
      child.kill('SIGINT')
      const [code] = await exit
      return code
    }
  }
}

/** Runs it until it ends by itself. */
export async function runDemo(...args: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, ['scripts/start.mjs', ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { output += chunk.toString() })
  const [code] = await once(child, 'close') as [number | null]
  return { code, output }
}

/** Waits until the page shows these two balances, and that both sides agree. */
export async function expectBooks(page: Page, own: string, peer: string): Promise<void> {
  await expect.poll(async () => [
    await page.locator('#own-books').textContent(),
    await page.locator('#peer-books').textContent(),
    await page.locator('#agreement').textContent()
  ]).toEqual([`${own} XTS`, `${peer} XTS`, ' Both sides agree'])
}

/** A page on which no wallet has been opened yet, and nothing was chosen. */
export async function openNew({ context }: OpenBrowser, url: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${url}/icon.svg`)
  await page.evaluate(() => new Promise((resolve, reject) => {
    localStorage.clear()
    Object.assign(indexedDB.deleteDatabase('paychan-demo'), { onsuccess: resolve, onerror: reject, onblocked: reject })
  }))
  return page
}

/** Opens the wallet page and waits until it is connected. */
export async function openWallet(page: Page, url: string): Promise<void> {
  await page.goto(url)
  await expectState(page, 'connected')
}

export async function expectState(page: Page, state: string): Promise<void> {
  await page.locator(`.pill[data-state="${state}"]`).waitFor({ timeout: 20_000 })
}

/** Fills in the payment form, and presses the button. */
export async function pay(page: Page, button: 'Pay the peer' | 'Be paid', amount: string, hold = 'at once'): Promise<void> {
  await page.getByLabel('Amount in XTS').fill(amount)
  await page.getByLabel('The receiver takes it').selectOption({ label: hold })
  await page.getByRole('button', { name: button, exact: true }).click()
}
