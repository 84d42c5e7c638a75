/**
 * STREAM payments (ilp-protocol-stream 2.7) over our plugin on every link: from a sender through two ilp-connector 23 to a receiver. A
 * connector is killed in the middle of a payment; then the books of both sides of each account must agree.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import * as IlpPacket from 'ilp-packet'
import type { Connection, DataAndMoneyStream, Server } from 'ilp-protocol-stream'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import PaychanPlugin, { MemoryStore } from '../../src/node.js'
import type { LedgerPlugin } from '../../src/node.js'
import { Deferred } from '../../src/plugin/deferred.js'
import { audit } from '../crash/audit.js'
import type { Report } from '../crash/audit.js'
import { fulfillOf, ilpPaymentTo } from '../support/ilp.js'
import { SECRET, afterTest, freePort, keep } from '../support/hosts.js'
import { Connector, WITH_BOOKS, booksOf, diallingAccount, listeningAccount } from './support/connector.js'
import { installPackage } from './support/package.js'
import type { InstalledPackage } from './support/package.js'
import { createConnection, createServer } from './support/stream.js'

const TIMEOUT_MS = 180_000
/** How long it may take until all that is in flight has ended. Prepares expire after 30 s at most. */
const QUIET_MS = 60_000
/** How many packets each of the two beside the payment has under way at a time. */
const IN_FLIGHT = 8

let installed: InstalledPackage
beforeAll(async () => { installed = await installPackage() }, TIMEOUT_MS)
afterAll(() => installed.remove())

interface Path {
  readonly sender: LedgerPlugin
  readonly receiver: LedgerPlugin
  /** Two others, who have accounts beside those of the sender and the receiver. */
  readonly carol: LedgerPlugin
  readonly dave: LedgerPlugin
  readonly first: Connector
  readonly second: Connector
}

/** Where the accounts of the connectors have their books: in an LmdbStore each, or in their connector's own store. */
type Shelf = 'LmdbStore' | "the connector's store"

function clientOf(port: number): LedgerPlugin {
  return keep(new PaychanPlugin({ server: `btp+ws://:${SECRET}@127.0.0.1:${port}`, store: new MemoryStore(), packetHistory: true, reconnectMaxMs: 200 }, {}))
}

/** A sender, two connectors that are peers, and a receiver, all connected, with routes between them. */
async function layPath(shelf: Shelf): Promise<Path> {
  const folder = await mkdtemp(join(tmpdir(), 'paychan-stream-'))
  afterTest(() => rm(folder, { recursive: true, force: true }))
  const ports = { alice: await freePort(), carol: await freePort(), first: await freePort(), bob: await freePort(), dave: await freePort() }
  const keeping = (name: string): { plugin: string; options: { path?: string } } => ({
    plugin: WITH_BOOKS,
    options: shelf === 'LmdbStore' ? { path: join(folder, name) } : {}
  })
  const { NODE_PATH } = installed
  const first = await Connector.start({
    ilpAddress: 'test.first',
    accounts: {
      alice: listeningAccount(ports.alice, keeping('alice')),
      carol: listeningAccount(ports.carol, keeping('carol')),
      second: diallingAccount(ports.first, keeping('second'))
    },
    NODE_PATH,
    ...(shelf !== 'LmdbStore' && { storePath: join(folder, 'store-of-first') })
  })
  afterTest(() => first.stop())
  const second = await Connector.start({
    ilpAddress: 'test.second',
    accounts: {
      bob: listeningAccount(ports.bob, keeping('bob')),
      dave: listeningAccount(ports.dave, keeping('dave')),
      first: listeningAccount(ports.first, { relation: 'peer', ...keeping('first') })
    },
    NODE_PATH,
    ...(shelf !== 'LmdbStore' && { storePath: join(folder, 'store-of-second') })
  })
  afterTest(() => second.stop())
  const path = { sender: clientOf(ports.alice), carol: clientOf(ports.carol), receiver: clientOf(ports.bob), dave: clientOf(ports.dave), first, second }
  await Promise.all([path.sender, path.carol, path.receiver, path.dave].map(plugin => plugin.connect({ timeout: 30_000 })))
  await untilRouted(path)
  return path
}

async function untilRouted({ first, second }: Path): Promise<void> {
  await Promise.all([
    first.until({ connected: ['alice', 'carol', 'second'], routes: ['test.first.alice', 'test.first.carol', 'test.second'] }),
    second.until({ connected: ['bob', 'dave', 'first'], routes: ['test.second.bob', 'test.second.dave', 'test.first'] })
  ])
}

/** What does not fit between the two sides of each account. */
async function auditAll({ sender, carol, receiver, dave, first, second }: Path): Promise<string[]> {
  const accounts: Array<[string, Report, Report]> = [
    ['alice', await booksOf(sender), await first.books('alice')],
    ['carol', await booksOf(carol), await first.books('carol')],
    ['first and second', await first.books('second'), await second.books('first')],
    ['bob', await booksOf(receiver), await second.books('bob')],
    ['dave', await booksOf(dave), await second.books('dave')]
  ]
  return accounts.flatMap(([name, a, b]) => audit(a, b, new Map()).map(complaint => `${name}: ${complaint}`))
}

/** Takes STREAM payments, and counts what comes. */
class Till {
  /** Of each packet, in order. */
  readonly amounts: number[] = []
  readonly #server: Server
  readonly #waiting = new Map<number, () => void>()

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (connection: Connection) => {
      connection.on('stream', (stream: DataAndMoneyStream) => {
        stream.setReceiveMax(1_000_000_000)
        stream.on('money', (amount: string) => {
          this.#waiting.get(this.amounts.push(Number(amount)))?.()
        })
      })
    })
  }

  static async open(plugin: LedgerPlugin): Promise<Till> {
    return new Till(await createServer({ plugin }))
  }

  /** Where to pay to, and the secret for it. */
  get address(): { destinationAccount: string; sharedSecret: Buffer } {
    return this.#server.generateAddressAndSecret()
  }

  get sum(): number {
    return this.amounts.reduce((sum, amount) => sum + amount, 0)
  }

  /** Until so many packets have come, from now on those that come. */
  async untilPackets(count: number): Promise<void> {
    if (this.amounts.length < count) await new Promise<void>(resolve => { this.#waiting.set(count, resolve) })
  }
}

/** Two who send each other small packets, so many at once, from now on until `end`. Those that fail are not counted. */
class Traffic {
  fulfilled = 0
  failed = 0
  #isOver = false
  readonly #lanes: Array<Promise<void>>

  constructor(ends: Array<[from: LedgerPlugin, to: LedgerPlugin, address: string]>, atOnce: number) {
    for (const [, to] of ends) to.registerDataHandler(async packet => fulfillOf(packet))
    this.#lanes = ends.flatMap(([from, , address]) => Array.from({ length: atOnce }, () => this.#drive(from, address)))
  }

  async #drive(from: LedgerPlugin, address: string): Promise<void> {
    while (!this.#isOver) {
      try {
        const answer = await from.sendData(ilpPaymentTo(address, Date.now() + 20_000, '3').prepare)
        if (answer[0] === IlpPacket.Type.TYPE_ILP_FULFILL) this.fulfilled++
        else this.failed++
      } catch {
        this.failed++
      }
      // What fails at once must not keep the process busy with failing.
      await nextTurn()
    }
  }

  async end(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#lanes)
  }
}

it('C54, C56: a STREAM payment goes through two connectors over our plugin on every link; what a kill of the first one cuts off is paid by another', { timeout: TIMEOUT_MS }, async () => {
  const path = await layPath('LmdbStore')
  const { sender, receiver, first } = path
  const till = await Till.open(receiver)
  const connection = await createConnection({ plugin: sender, ...till.address })
  await connection.createStream().sendTotal(20_000)
  expect([till.sum, connection.totalDelivered, connection.totalSent]).toEqual([20_000, '20000', '20000'])
  expect(await auditAll(path)).toEqual([])

  // STREAM ends its connection when its plugin cannot send.
  connection.createStream().sendTotal(1_000_000).catch(() => undefined)
  await till.untilPackets(till.amounts.length + 10)
  const closed = new Promise(resolve => { connection.once('close', resolve) })
  await first.kill()
  first.begin()
  await closed
  await Promise.all([sender.connect({ timeout: 30_000 }), untilRouted(path)])
  const before = till.sum
  const again = await createConnection({ plugin: sender, ...till.address })
  await again.createStream().sendTotal(20_000)
  expect(till.sum - before).toBe(20_000)
  await vi.waitFor(async () => { expect(await auditAll(path)).toEqual([]) }, { timeout: QUIET_MS, interval: 250 })
  expect(await receiver.getBalance()).toBe(String(till.sum))
})

it('C54, C56, I1, I8: a STREAM payment of 1,000 packets survives a kill of the second connector in its middle, with other packets in flight', { timeout: TIMEOUT_MS }, async () => {
  const path = await layPath("the connector's store")
  const { sender, receiver, carol, dave, first, second } = path
  const till = await Till.open(receiver)
  // A connector that has just started answers F02 until it has heard of routes, which STREAM takes for the end: its host waits that long.
  let routes = Promise.resolve()
  const sendData = sender.sendData.bind(sender)
  sender.sendData = async packet => routes.then(() => sendData(packet))
  const connection = await createConnection({ plugin: sender, ...till.address })
  const payment = connection.createStream().sendTotal(1_000_000, { timeout: TIMEOUT_MS })
  await till.untilPackets(450)
  const traffic = new Traffic([[carol, dave, 'test.second.dave'], [dave, carol, 'test.first.carol']], IN_FLIGHT)
  await till.untilPackets(500)
  const hasBegun = new Deferred<void>()
  // Twice, since the first one may not have noticed at once that the second was gone.
  routes = hasBegun.promise.then(() => untilRouted(path)).then(() => untilRouted(path))
  await second.kill()
  second.begin()
  hasBegun.resolve()
  await till.untilPackets(550)
  await traffic.end()
  await payment
  expect(connection.totalSent).toBe('1000000')
  // A packet whose Fulfill died with the connector was sent again.
  expect(till.sum).toBeGreaterThanOrEqual(1_000_000)
  expect(till.amounts.length).toBeGreaterThanOrEqual(1000)
  expect(traffic.fulfilled).toBeGreaterThan(2 * IN_FLIGHT)
  await vi.waitFor(async () => { expect(await auditAll(path)).toEqual([]) }, { timeout: QUIET_MS, interval: 250 })

  // What they have stored says the same as what they remember.
  await Promise.all([first.kill(), second.kill()])
  first.begin()
  second.begin()
  await Promise.all([first.until({ connected: ['second'] }), second.until({ connected: ['first'] })])
  expect(await auditAll(path)).toEqual([])
  expect([await sender.getBalance(), await receiver.getBalance()]).toEqual(['-1000000', String(till.sum)])
  // What a connector that keeps no packets loses by a kill is no more than what it had in hand.
  expect(till.sum).toBeLessThanOrEqual(1_001_000)
  expect(Math.abs(Number(await carol.getBalance()) + Number(await dave.getBalance()))).toBeLessThanOrEqual(2 * IN_FLIGHT * 3)
})
