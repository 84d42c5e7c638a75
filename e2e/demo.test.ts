/**
 * The demo's Node side, as `npm start` runs it: what it takes, whom it answers, what it prints.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Console } from '../demo/peer/console.js'
import { isOurHost, isOurOrigin } from '../demo/peer/origin.js'
import PaychanPlugin from '../src/node.js'
import { accountsFolder, runDemo, startDemo } from './support/demo.js'
import type { Demo } from './support/demo.js'

const folder = accountsFolder()
let demo: Demo

beforeAll(async () => { demo = await startDemo(folder.path) })

afterAll(async () => {
  await demo.stop()
  folder.remove()
})

/** Sends a request as it stands; resolves with the answer. */
async function request(lines: string): Promise<string> {
  const socket = connect(Number(new URL(demo.url).port), '127.0.0.1')
  socket.write(`${lines}\r\nConnection: close\r\n\r\n`)
  return Buffer.concat(await socket.toArray() as Buffer[]).toString()
}

const host = (): string => new URL(demo.url).host

describe('the server of the demo', () => {
  it('serves the page, its files, the documents and the small wallet', async () => {
    for (const path of ['/', '/wallet.js', '/wallet.css', '/icon.svg', '/small/', '/docs/what-survives-what.html']) {
      expect([path, (await fetch(demo.url + path)).status]).toEqual([path, 200])
    }
  })

  it('has what STREAM needs in a file of its own, which the page loads when there is a connector', async () => {
    const read = async (path: string): Promise<string> => (await fetch(demo.url + path)).text()
    expect(await read('/stream-pay.js')).toContain('maximumPacketAmount')
    expect(await read('/wallet.js')).not.toContain('maximumPacketAmount')
    expect((await fetch(`${demo.url}/receiver`)).status).toBe(404)
  })

  it('answers requests that make no sense, and goes on', async () => {
    for (const path of ['//', '/%00', '/%', '/docs', '/accounts/', '/btp/0', '/../../package.json', '/%2e%2e/%2e%2e/package.json', '/..%2f..%2fpackage.json']) {
      expect([path, (await request(`GET ${path} HTTP/1.1\r\nHost: ${host()}`)).slice(0, 12)]).toEqual([path, 'HTTP/1.1 404'])
    }
    expect(await request(`PUT / HTTP/1.1\r\nHost: ${host()}\r\nContent-Length: 0`)).toMatch(/^HTTP\/1.1 405 /)
    expect((await fetch(demo.url)).status).toBe(200)
  })

  it('answers nobody who calls it by a foreign name, and no page of another site', async () => {
    const open = 'POST /accounts HTTP/1.1\r\nContent-Length: 0'
    expect(await request(`${open}\r\nHost: rebound.example`)).toMatch(/^HTTP\/1.1 403 /)
    expect(await request(`${open}\r\nHost: ${host()}\r\nOrigin: https://evil.example`)).toMatch(/^HTTP\/1.1 403 /)
    expect(await request(`GET /btp/0011223344556677 HTTP/1.1\r\nHost: rebound.example\r\nUpgrade: websocket`)).not.toContain('101')
    expect(await request(`${open}\r\nHost: ${host()}\r\nOrigin: http://${host()}`)).toMatch(/^HTTP\/1.1 201 /)
  })

  it('tells nobody about an account without its token', async () => {
    const { id, token } = await (await fetch(`${demo.url}/accounts`, { method: 'POST' })).json() as { id: string; token: string }
    expect((await fetch(`${demo.url}/accounts/${id}`)).status).toBe(404)
    expect((await fetch(`${demo.url}/accounts/${id}/cut`, { method: 'POST', headers: { authorization: 'Bearer other' } })).status).toBe(404)
    const headers = { authorization: `Bearer ${token}` }
    expect(await (await fetch(`${demo.url}/accounts/${id}`, { headers })).json()).toEqual({ isCut: false, hasConnector: false })
  })

  it('knows its own names: localhost, any address, and what it was told to listen at', () => {
    const listensAt = 'wallet.example'
    const known = ['localhost', 'localhost:8080', 'pay.localhost', '127.0.0.1:8080', '[::1]:8080', '192.168.1.7', 'wallet.example:80']
    expect(known.filter(name => !isOurHost(name, listensAt))).toEqual([])
    const foreign = [undefined, '', 'localhost.evil.example', 'evil.example', '127.0.0.1.evil.example', 'a b']
    expect(foreign.filter(name => isOurHost(name, listensAt))).toEqual([])
    expect(isOurOrigin(undefined, 'localhost:1')).toBe(true)
    expect(isOurOrigin('http://localhost:2', 'localhost:1')).toBe(false)
  })
})

describe('npm start', () => {
  it('tells what it takes', async () => {
    const { code, output } = await runDemo('--help')
    expect(code).toBe(0)
    for (const option of ['--port', '--host', '--data', '--connector']) expect(output).toContain(option)
  })

  it('says what is wrong in one line, and fails', async () => {
    expect(await runDemo('--port', 'many')).toEqual({ code: 1, output: "the port must be a number from 0 to 65535, not 'many'\n" })
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const { code, output } = await runDemo('--port', String(port), '--data', folder.path)
    expect([code, output]).toEqual([1, `port ${port} is taken: choose another with --port, or end what listens there\n`])
    taken.close()
  })

  it('ends with an exit code of 0, and opens its accounts again', async () => {
    const other = accountsFolder()
    const first = await startDemo(other.path)
    await fetch(`${first.url}/accounts`, { method: 'POST' })
    expect(await first.stop()).toBe(0)
    const second = await startDemo(other.path)
    await expect.poll(() => second.output()).toContain('1 wallet has its account')
    expect(await second.stop()).toBe(0)
    other.remove()
  })

  it('ends within seconds while it holds a payment that it was asked not to take', async () => {
    const other = accountsFolder()
    const started = await startDemo(other.path)
    const { id, token } = await (await fetch(`${started.url}/accounts`, { method: 'POST' })).json() as { id: string; token: string }
    const wallet = new PaychanPlugin({ server: `btp+ws://:${token}@${new URL(started.url).host}/btp/${id}`, answerTimeoutMs: 20_000 })
    await wallet.connect({ timeout: 20_000 })
    const to = wallet.getPeerAccount()
    const { custom } = await wallet.sendRequest({ to, custom: { method: 'invoice', amount: '1' } })
    const { condition: executionCondition } = custom as { condition: string }
    const expiresAt = new Date(Date.now() + 50_000).toISOString()
    await wallet.sendTransfer({ id: randomUUID(), to, amount: '1', executionCondition, expiresAt, custom: { ...custom, holdMs: 60_000 } })
    const before = Date.now()
    expect(await started.stop()).toBe(0)
    expect(Date.now() - before).toBeLessThan(20_000)
    await wallet.disconnect()
    other.remove()
  })

  it('is not held up by a folder that is no account', async () => {
    const other = accountsFolder()
    mkdirSync(join(other.path, 'accounts', 'half'), { recursive: true })
    writeFileSync(join(other.path, 'accounts', 'stray'), '')
    const started = await startDemo(other.path)
    expect((await fetch(`${started.url}/accounts`, { method: 'POST' })).status).toBe(201)
    await started.stop()
    other.remove()
  })
})

describe('the console', () => {
  /** A console whose time and timers are in the test's hands. */
  function makeConsole(isTTY: boolean) {
    let text = ''
    let now = Date.parse('2026-11-22T12:00:00')
    const timers = new Map<() => void, { everyMs: number; next: number }>()
    const screen = new Console({
      output: { isTTY, write: part => { text += part } },
      now: () => now,
      repeat: (everyMs, action) => {
        timers.set(action, { everyMs, next: now + everyMs })
        return () => { timers.delete(action) }
      }
    })
    const pass = (ms: number): void => {
      const until = now + ms
      for (;;) {
        const [due] = [...timers].filter(([, { next }]) => next <= until).sort(([, a], [, b]) => a.next - b.next)
        if (due === undefined) break
        const [action, timer] = due
        now = timer.next
        timer.next += timer.everyMs
        action()
      }
      now = until
    }
    const flow = (count: number, everyMs: number): void => {
      for (let i = 0; i < count; i++) {
        screen.payment('aabbccdd', { direction: 'in', amount: '1' }, '250', 3)
        pass(everyMs)
      }
    }
    return { screen, flow, pass, text: () => text }
  }

  it('tells single payments one by one', () => {
    const { screen, flow, text } = makeConsole(false)
    screen.connected('aabbccdd')
    flow(2, 1000)
    screen.payment('aabbccdd', { direction: 'out', amount: '1200', failed: 'its time was over' }, '250', 0)
    expect(text()).toBe([
      '12:00:00  wallet aabb connected',
      '12:00:00  wallet aabb pays 0.01 XTS, balance 2.50',
      '12:00:01  wallet aabb pays 0.01 XTS, balance 2.50',
      '12:00:02  wallet aabb is paid 12.00 XTS: failed, its time was over, balance 2.50',
      ''
    ].join('\n'))
  })

  it('tells of many payments at most once in a second, and sums them up in the end', () => {
    const { flow, pass, text } = makeConsole(false)
    flow(500, 10)
    pass(3000)
    const lines = text().trimEnd().split('\n')
    const progress = lines.filter(line => line.includes('payments/s'))
    expect(progress.length).toBeGreaterThanOrEqual(4)
    expect(progress.length).toBeLessThanOrEqual(6)
    expect(progress[1]).toMatch(/^12:00:02 {2}wallet aabb (99|100) payments\/s, \d+ so far, balance 2.50, 3 in flight$/)
    expect(lines.at(-1)).toMatch(/^12:00:0\d {2}wallet aabb 496 payments in [56] s, balance 2.50$/)
  })

  it('rewrites the progress line in place on a terminal, and breaks it for anything else', () => {
    const { screen, flow, pass, text } = makeConsole(true)
    flow(100, 10)
    screen.connected('eeff0011')
    flow(100, 10)
    pass(3000)
    const lines = text().split('\n')
    expect(lines.filter(line => line.includes('\r')).length).toBeLessThanOrEqual(2)
    expect(lines.some(line => line.endsWith('wallet eeff connected') && !line.includes('\r'))).toBe(true)
    expect(lines.at(-2)?.split('\r\u001b[2K').at(-1)).toMatch(/^12:00:0\d {2}wallet aabb \d+ payments in [23] s, balance 2.50$/)
  })
})
