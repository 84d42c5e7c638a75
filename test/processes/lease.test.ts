/**
 * Two processes over one lmdb file: one holds the connection, the other stands by and takes over, whatever becomes of the first.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { LedgerPlugin } from '../../src/node.js'
import { compilePackage } from '../support/compiled.js'
import { addressOf, makeServer, payment } from '../support/hosts.js'
import { HostProcess } from './host.js'

/** Until another process has taken over, connected to the peer. */
const TAKEOVER_MS = 3000

let compiled: Awaited<ReturnType<typeof compilePackage>>
beforeAll(async () => { compiled = await compilePackage() }, 60_000)
afterAll(() => compiled.remove())

/** The peer, which fulfills what it is paid, and processes over one file that pay it. */
class World {
  readonly peer: LedgerPlugin = makeServer({ minBalance: '-1000000' })
  readonly #path = join(compiled.path, randomUUID())
  readonly #fulfillments = new Map<string, string>()

  async begin(): Promise<void> {
    this.peer.on('incoming_prepare', ({ id }) => { this.peer.fulfillCondition(id, this.#fulfillments.get(id) ?? '').catch(() => undefined) })
    await this.peer.connect()
  }

  start(): Promise<HostProcess> {
    return HostProcess.start(compiled.entry, this.#path, addressOf(this.peer))
  }

  /** A transfer to the peer, which knows its preimage. */
  transfer(amount: string): object {
    const { transfer, fulfillment } = payment(this.peer.getPeerAccount(), amount)
    this.#fulfillments.set(transfer.id, fulfillment)
    return { ...transfer, to: this.peer.getAccount(), from: this.peer.getPeerAccount() }
  }

  async pay(host: HostProcess, amount: string): Promise<void> {
    const from = host.now
    await host.ask('sendTransfer', this.transfer(amount))
    await host.until('outgoing_fulfill', from)
  }

  /** Its own balance and the peer's. */
  async balances(host: HostProcess): Promise<unknown[]> {
    return [await host.ask('getBalance'), await host.ask('getPeerBalance'), await this.peer.getBalance()]
  }
}

async function begin(): Promise<[World, HostProcess, HostProcess]> {
  const world = new World()
  await world.begin()
  const [first, second] = [await world.start(), await world.start()]
  await first.ask('connect')
  await world.pay(first, '5')
  await second.ask('connect')
  expect([await first.ask('role'), await second.ask('role')]).toEqual(['holder', 'standby'])
  return [world, first, second]
}

async function timed(what: Promise<unknown>): Promise<number> {
  const from = performance.now()
  await what
  return performance.now() - from
}

it('the second stands by, reads, and is refused what it would write', async () => {
  const [world, first, second] = await begin()
  expect(await second.ask('isConnected')).toBe(false)
  expect([await second.ask('getBalance'), await second.ask('inFlight')]).toEqual(['-5', []])
  expect(await second.ask('getAccount')).toBe(await first.ask('getAccount'))
  expect(await second.ask('getInfo')).toEqual(await first.ask('getInfo'))
  await expect(second.ask('sendTransfer', world.transfer('1'))).rejects.toMatchObject({ name: 'StandbyError' })
  await expect(second.ask('prune', { before: Date.now() })).rejects.toMatchObject({ name: 'StandbyError' })
  await world.pay(first, '2')
  expect(await second.ask('getBalance')).toBe('-7')
  expect([await first.ask('role'), first.events.filter(event => event === 'disconnect')]).toEqual(['holder', []])
})

it('takes over at once when the first is killed, and the balance goes on', async () => {
  const [world, first, second] = await begin()
  await first.kill()
  const tookMs = await timed(second.until('connect'))
  console.info(`kill -9: took over after ${tookMs.toFixed(0)} ms`)
  expect(tookMs).toBeLessThan(TAKEOVER_MS)
  await world.pay(second, '3')
  expect(await world.balances(second)).toEqual(['-8', '-8', '8'])
})

it('does so when the first lets go', async () => {
  const [world, first, second] = await begin()
  await first.ask('disconnect')
  const tookMs = await timed(second.until('connect'))
  console.info(`disconnect: took over after ${tookMs.toFixed(0)} ms`)
  await world.pay(second, '3')
  expect(await world.balances(second)).toEqual(['-8', '-8', '8'])
})

it('a new start right after kill -9 need not wait for the lease to end', async () => {
  const [world, first, second] = await begin()
  await second.ask('disconnect')
  await first.kill()
  const again = await world.start()
  const tookMs = await timed(again.ask('connect'))
  console.info(`started again: connected after ${tookMs.toFixed(0)} ms`)
  expect(await again.ask('role')).toBe('holder')
  await world.pay(again, '3')
  expect(await world.balances(again)).toEqual(['-8', '-8', '8'])
})

it('takes over when the first hangs; that one writes nothing any more when it wakes up, closes its socket, stands by, and takes over again', async () => {
  const [world, first, second] = await begin()
  const inDoubt = world.transfer('100')
  first.signal('SIGSTOP')
  // It finds this when it wakes up.
  const sent = first.ask('sendTransfer', inDoubt).then(() => 'resolved', (error: unknown) => error)
  const tookMs = await timed(second.until('connect'))
  console.info(`SIGSTOP: took over after ${tookMs.toFixed(0)} ms`)
  expect(tookMs).toBeLessThan(TAKEOVER_MS)
  await world.pay(second, '3')
  const from = first.now
  first.signal('SIGCONT')
  await first.until('role standby', from)
  await first.until('disconnect')
  expect(await sent).toMatchObject({ name: expect.stringMatching(/^(Standby|Unreachable)Error$/) as string })
  expect([await first.ask('isConnected'), await first.ask('getBalance'), await first.ask('inFlight')]).toEqual([false, '-8', []])
  await world.pay(second, '4')
  expect(await world.balances(second)).toEqual(['-12', '-12', '12'])
  const later = first.now
  await second.ask('disconnect')
  await first.until('connect', later)
  await world.pay(first, '6')
  expect(await world.balances(first)).toEqual(['-18', '-18', '18'])
  expect(await first.ask('history')).toHaveLength(4)
})
