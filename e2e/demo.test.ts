/**
 * `npm start`: the peer, and the wallet page in a real browser.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../scripts/setup.mjs'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'

const data = mkdtempSync(join(tmpdir(), 'paychan-demo-'))

let browser: OpenBrowser | undefined
let running: Demo | undefined

interface Demo {
  url: string
  process: ChildProcess
  output: () => string
  /** Ctrl-C; resolves with the exit code. */
  stop(): Promise<number | null>
}

/** Runs the demo on free ports, or on the given one for BTP; resolves when it prints its address. */
async function start(btpPort: string): Promise<Demo> {
  const env = { ...process.env, PORT: '0', BTP_PORT: btpPort, DATA_DIR: data }
  const child = spawn(process.execPath, ['scripts/start.mjs'], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const url = new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk.toString()
      const [found] = /http:\/\/localhost:\d+/.exec(output) ?? []
      if (found !== undefined) resolve(found)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('exit', code => reject(new Error(`the demo ended with ${String(code)}:\n${output}`)))
  })
  return {
    url: await url,
    process: child,
    output: () => output,
    async stop() {
      const exit = once(child, 'exit') as Promise<[number | null]>
      child.kill('SIGINT')
      const [code] = await exit
      return code
    }
  }
}

const text = (page: Page, selector: string) => page.locator(selector).textContent()

/** Waits until both balances on the page are these. */
async function expectBalances(page: Page, own: string, peer: string): Promise<void> {
  await expect.poll(async () => [await text(page, '#balance'), await text(page, '#peer-balance')], { timeout: 15_000 }).toEqual([own, peer])
}

describe('the demo', () => {
  beforeAll(async () => {
    running = await start('0')
    browser = await openBrowser()
  })

  afterAll(async () => {
    await browser?.close()
    if (running?.process.exitCode === null) await running.stop()
    rmSync(data, { recursive: true, force: true })
  })

  it('answers requests that make no sense, and goes on', async () => {
    if (running === undefined) throw new Error('the demo is not up')
    const { port } = new URL(running.url)
    const socket = connect(Number(port), '127.0.0.1')
    socket.write('GET // HTTP/1.1\r\nHost: page\r\nConnection: close\r\n\r\n')
    expect(Buffer.concat(await socket.toArray() as Buffer[]).toString()).toMatch(/^HTTP\/1.1 404 /)
    expect((await fetch(running.url)).status).toBe(200)
  })

  it('pays the peer, is paid by it, and finds its balance again after a reload and after a restart of the peer', async () => {
    if (browser === undefined || running === undefined) throw new Error('the demo is not up')
    const page = await browser.context.newPage()
    const complaints: string[] = []
    page.on('pageerror', error => complaints.push(error.message))
    // Each payment shows at once: not only when the page looks again.
    await page.addInitScript(() => { globalThis.setInterval = (() => 0) as unknown as typeof setInterval })
    await page.goto(running.url)
    await expectBalances(page, '0', '0')

    await page.getByLabel('Amount').fill('25')
    await page.getByRole('button', { name: 'Pay the peer' }).click()
    await expectBalances(page, '-25', '25')

    await page.getByLabel('Amount').fill('40')
    await page.getByRole('button', { name: 'Be paid by the peer' }).click()
    await expectBalances(page, '15', '-15')
    expect(await text(page, '#in-flight')).toBe('0')
    expect(await page.getByRole('listitem').allTextContents()).toEqual([expect.stringContaining('Received 40'), expect.stringContaining('Paid 25')])
    expect(running.output()).toContain('the wallet pays 25, balance 25')

    await page.reload()
    await expectBalances(page, '15', '-15')

    expect(await running.stop()).toBe(0)
    await expect.poll(() => text(page, '#state')).toContain('Connection lost')
    running = await start('0')
    await page.goto(running.url)
    await expectBalances(page, '15', '-15')
    expect(complaints).toEqual([])
  })
})
