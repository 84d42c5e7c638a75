/**
 * The process under attack: five accounts on one listener. Of the attacked ones two are under hosts of LPI v1, the second with a payment
 * channel module, and one under a host of LPI v2, which believes settlements; of the honest ones one is under each. Tells of whatever must not be; answers with its books and its memory when it is asked. Run with --expose-gc.
 *
 * The hosts fulfill what has the right condition (see packets.mjs), leave some of it to run out, and refuse the rest. To the attackers they
 * also send transfers of their own.
 */
import { Buffer } from 'node:buffer'
import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import process from 'node:process'
import { setInterval, setTimeout } from 'node:timers'
import { pathToFileURL } from 'node:url'
import { conditionOf, ilpFulfill, ilpPrepare, ilpReject, ilpTime, preimageOf, readIlp } from './packets.mjs'

const [, , entry, settings] = process.argv
const { PaychanPlugin, makePaymentChannelPlugin, BtpListener, LmdbStore, errors } = await import(pathToFileURL(entry).href)
const { folder, secrets, caps } = JSON.parse(settings)

const MAXIMUM = 1_000_000_000_000
const LINE_CHARACTERS = 1500
/** How long the hosts take to answer large messages. */
const SLOW_MS = 300

const moment = ms => new Promise(resolve => { setTimeout(resolve, ms) })

const troubles = []
const trouble = text => { if (troubles.length < 20) troubles.push(text) }
process.on('unhandledRejection', reason => { trouble(`nobody has handled: ${reason?.stack ?? reason}`) })
process.on('uncaughtException', error => { trouble(`nobody has caught: ${error.stack}`) })

let lines = 0
function log(line) {
  lines++
  for (const secret of Object.values(secrets)) if (line.includes(secret)) trouble(`a secret is in the log: ${line.slice(0, 200)}`)
  if (/[^\x20-\x7e]/.test(line)) trouble(`a control character is in the log: ${JSON.stringify(line.slice(0, 200))}`)
  if (line.length > LINE_CHARACTERS) trouble(`a line of the log has ${line.length} characters: ${line.slice(0, 200)}`)
}
const _log = Object.fromEntries(['trace', 'debug', 'info', 'warn', 'error'].map(level => [level, (...parts) => { log(parts.join(' ')) }]))

/** Whatever becomes of a call under attack, it ends in one of our errors. */
function expected(error) {
  if (!(error instanceof Error && Object.values(errors).some(one => typeof one === 'function' && error instanceof one))) trouble(`an error of no kind: ${error?.stack ?? error}`)
}

const bytesOf = id => Buffer.from(id.replaceAll('-', ''), 'hex')
const base64url = bytes => bytes.toString('base64url')
/** A sixteenth is left to run out. */
const isForgotten = known => known.at(-1) >> 4 === 0

const listener = new BtpListener({ port: 0, host: '127.0.0.1', authTimeoutMs: 500, maxUnauthenticated: 50 })

/** Claims are bare sums, of at most so many digits. */
const CLAIM = /^[0-9]{1,20}$/

function makeClaims(name) {
  let best
  return makePaymentChannelPlugin({
    pluginName: 'fuzz-claims',
    constructor({ backend }) { best = backend.getMaxValueTracker('incoming_claim') },
    connect() {},
    disconnect() {},
    getInfo: () => ({ prefix: `test.${name}.`, currencyCode: 'EUR', currencyScale: 9, connectors: [] }),
    getAccount: () => `test.${name}.server`,
    getPeerAccount: () => `test.${name}.client`,
    async handleIncomingPrepare() { await moment(1) },
    createOutgoingClaim: (_ctx, amount) => ({ amount }),
    async handleIncomingClaim(_ctx, claim) {
      if (typeof claim?.amount !== 'string' || !CLAIM.test(claim.amount)) throw new errors.NotAcceptedError('this is no claim')
      await best.setIfMax({ value: claim.amount, data: null })
    }
  })
}

function open(name, services, Plugin = PaychanPlugin) {
  const attacked = name.startsWith('attacked')
  return new Plugin({
    listener,
    incomingSecret: secrets[name],
    prefix: `test.${name}.`,
    info: {},
    packetHistory: true,
    maxBalance: attacked ? String(MAXIMUM) : 'Infinity',
    minBalance: attacked ? String(-MAXIMUM) : '-Infinity',
    store: new LmdbStore({ path: join(folder, name) }),
    _log,
    ...attacked ? caps : {},
    ...name === 'attacked2' ? { trustSettlements: true } : {}
  }, ...services)
}

function hostV1(name, Plugin) {
  const plugin = open(name, [], Plugin)
  plugin.on('incoming_prepare', ({ id, executionCondition }) => {
    const known = bytesOf(id)
    if (base64url(conditionOf(known)) !== executionCondition) plugin.rejectIncomingTransfer(id, { code: 'F00', message: 'unknown' }).catch(expected)
    else if (!isForgotten(known)) plugin.fulfillCondition(id, base64url(preimageOf(known))).catch(expected)
  })
  plugin.registerRequestHandler(async ({ custom, ilp }) => {
    if (custom?.x !== undefined) await moment(SLOW_MS)
    return { ...custom === undefined ? {} : { custom }, ...ilp === undefined ? {} : { ilp } }
  })
  return plugin
}

function hostV2(name) {
  const plugin = open(name, [{}])
  plugin.registerDataHandler(async packet => {
    const { type, condition, data } = readIlp(packet)
    if (type !== 12) {
      if (packet.length > 40_000) await moment(SLOW_MS)
      return packet
    }
    if (!conditionOf(data).equals(condition)) return ilpReject()
    return isForgotten(data) ? new Promise(() => undefined) : ilpFulfill(preimageOf(data))
  })
  plugin.registerMoneyHandler(async () => undefined)
  // A Prepare of the other generation.
  plugin.on('incoming_prepare', ({ id }) => { plugin.rejectIncomingTransfer(id).catch(expected) })
  return plugin
}

const accounts = { attacked1: hostV1('attacked1'), attacked2: hostV2('attacked2'), attacked3: hostV1('attacked3', makeClaims('attacked3')), honest1: hostV1('honest1'), honest2: hostV2('honest2') }
for (const plugin of Object.values(accounts)) await plugin.connect()

/** The hosts of attacked accounts stand by their own numbers, after a moment in which nothing new is sent. */
const DECIDES_AFTER_MS = 300
let disputes = 0
for (const [name, plugin] of Object.entries(accounts)) {
  plugin.on('dispute', ({ id }) => {
    if (id !== undefined) return
    disputes++
    if (!name.startsWith('attacked')) trouble(`the books of ${name} are in dispute`)
    setTimeout(() => { plugin.resolveDispute('ours').catch(expected) }, DECIDES_AFTER_MS)
  })
}

/** What the hosts send to whoever is there. */
let isSending = true
setInterval(() => {
  const { attacked1, attacked2, attacked3 } = accounts
  for (const plugin of [attacked1, attacked3]) {
    if (!isSending || !plugin.isConnected()) continue
    const id = randomUUID()
    const expiresAt = new Date(Date.now() + 1500).toISOString()
    plugin.sendTransfer({ id, to: plugin.getPeerAccount(), amount: '7', executionCondition: base64url(conditionOf(bytesOf(id))), expiresAt }).catch(expected)
  }
  if (isSending && attacked2.isConnected()) {
    const data = randomBytes(16)
    const packet = ilpPrepare({ amount: 7, time: ilpTime(Date.now() + 1500), condition: conditionOf(data), data })
    attacked2.sendData(packet).catch(expected)
  }
}, 100).unref()

const conditionsInFlight = plugin => plugin.inFlight().map(({ transfer }) => transfer.executionCondition)

/** The books of one account. */
async function report(plugin) {
  const rows = []
  for (let before; ;) {
    const page = await plugin.history({ limit: 1000, ...(before === undefined ? {} : { before }) })
    for (const { transfer: { id, amount, executionCondition }, isIncoming, state } of page) rows.push({ id, amount, condition: executionCondition, isIncoming, state })
    if (page.length < 1000) break
    before = page.at(-1).cursor
  }
  return { balance: await plugin.getBalance(), inFlight: conditionsInFlight(plugin), rows }
}

const answers = {
  async memory() {
    // Twice, since finalizers run in between.
    for (let i = 0; i < 2; i++) {
      globalThis.gc()
      await moment(50)
    }
    const { heapUsed, rss, external } = process.memoryUsage()
    return { heapUsed, rss, external, lines, disputes }
  },
  async held() {
    return Object.fromEntries(Object.entries(accounts).map(([name, plugin]) => [name, conditionsInFlight(plugin)]))
  },
  async quiet() {
    isSending = false
    return true
  },
  async books() {
    const books = {}
    for (const [name, plugin] of Object.entries(accounts)) books[name] = await report(plugin)
    return books
  },
  async troubles() {
    return troubles
  }
}

process.on('message', async ({ id, ask }) => {
  try {
    process.send({ id, answer: await answers[ask]() })
  } catch (error) {
    process.send({ id, failure: error.stack })
  }
})
process.on('disconnect', () => process.exit())
process.send({ id: 0, answer: listener.port })
