/**
 * Visits to the listener: what a stranger, or the peer of an attacked account, sends on one socket. A visit is laid out by chance before
 * anything is sent, so that a seed sends the same again; only ids and hashes that the listener chooses, and times, are of the moment.
 */
import { Buffer } from 'node:buffer'
import { setTimeout } from 'node:timers'
import * as btp from './packets.mjs'
import { OPCODES, Wire, frame, upgrade } from './wire.mjs'

const HOUR = 3_600_000
/** Requests from this number on are those whose answers count. */
const OWN = 0xf000_0000
const LEDGER = 'fa'.repeat(16)
const FAR = '99991231235959.999Z'
const BAD_TIMES = ['', 'now', '20171324000000.000Z', '20170229000000.000Z', '2017-12-24T16:14:32Z', '20171224161432.2790001Z', '00000000000000.000Z', '20171224161432.279+01', '\0'.repeat(19), '9'.repeat(300), FAR, '19700101000000Z']
const AMOUNTS = [0n, 1n, 999n, 1_000_000_000_001n, 2n ** 63n, 2n ** 64n - 1n]
const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'prototype', '', 'ilp', 'custom', 'claim', 'paychan', 'auth', 'auth_token', 'info', 'balance', 'limit', 'ccp', 'x'.repeat(3000), 'caf\xe9', '\0\x1b[2J']
const TEXTS = [
  '{}', 'null', '[]', '""', '0', '{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '{"a":', '\ud83d', '{"\\u005f_proto__":1}',
  '['.repeat(30_000), '{"a":'.repeat(9000), '[['.repeat(20) + ']]'.repeat(20), '1e999', '{"amount":"-1"}', '{"method":"__proto__","params":[]}', '{"to":"x","data":{}}', '\u2028'
]
/** What another one of ours says of its books. */
const REPORT = Object.fromEntries(['incomingFulfilled', 'outgoingFulfilled', 'settledIn', 'settledOut', 'incomingHeld', 'fulfilling', 'sent', 'settling'].map(name => [name, '0']))
const MESSAGES = {
  paychan: known => [
    { probe: true }, { ask: [] }, { ask: [known], more: true }, { ask: [known] }, { ask: ['__proto__'] }, { ask: Array(201).fill(known) }, { ask: Array(200).fill(known) },
    { ask: 5 }, { late: known }, { late: null }, { late: { id: known } }, { transfer: known }, { settlement: 1 }, { v: 1, ledger: LEDGER }, { v: 1e9 }, null, [],
    { recover: '' }, { recover: known }, { recover: '\uffff' }, { recover: 5 }, { recover: '', reconcile: REPORT }, { reconcile: REPORT }, { reconcile: { ...REPORT, isNew: true } },
    { reconcile: { ...REPORT, incomingFulfilled: '9'.repeat(60) } }, { reconcile: { ...REPORT, sent: '9'.repeat(61) } }, { reconcile: { ...REPORT, settledIn: '-1' } }, { reconcile: null }, { reconcile: [] }
  ],
  claim: () => [null, {}, { amount: '5' }, { amount: '99999999999999999999' }, { amount: '-5', signature: {} }, 'x'.repeat(33_000), [[[[]]]]]
}
/** What the account's own books are for an honest peer, whose they are too, with nothing in flight. */
const mirrored = ({ incomingFulfilled, outgoingFulfilled, settledIn, settledOut }) =>
  ({ ...REPORT, incomingFulfilled: outgoingFulfilled, outgoingFulfilled: incomingFulfilled, settledIn: settledOut, settledOut: settledIn })
/** What is answered to the account's report of its books. Those after the first two differ from them by what nothing explains, or are none. */
const BOOKS = {
  mirrored,
  blank: () => REPORT,
  more: report => ({ ...mirrored(report), outgoingFulfilled: String(BigInt(report.incomingFulfilled) + 1_000_000_000n) }),
  less: report => ({ ...mirrored(report), incomingFulfilled: '0', outgoingFulfilled: '0' }),
  huge: report => ({ ...mirrored(report), incomingFulfilled: '9'.repeat(60), sent: '9'.repeat(60) }),
  changing: (report, luck) => ({ ...mirrored(report), settledOut: String(luck.upTo(2 ** 40)), settledIn: String(luck.upTo(2 ** 40)) }),
  isNew: report => ({ ...mirrored(report), isNew: true }),
  negative: report => ({ ...mirrored(report), settledIn: '-1' }),
  nothing: () => undefined,
  list: () => [],
  prototype: () => ({ ...REPORT, sent: undefined, __proto__: { sent: '0' } }),
  numbers: report => Object.fromEntries(Object.keys(mirrored(report)).map(name => [name, 5]))
}
const MARKS = [1, 0, -1, 1.5, 2 ** 60, '1', null, {}]
/** Names of errors, first those that decide what becomes of a Fulfill. */
const ERRORS = ['AlreadyRolledBackError', 'AlreadyFulfilledError', 'NotAcceptedError', 'UnreachableError', 'InvalidFieldsError', 'TypeError', '__proto__', 'constructor', '']

/** In so many rounds the attackers answer also by other errors. */
const MOST_DOUBTING = 20

const uuid = bytes => bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
const moment = ms => new Promise(resolve => { setTimeout(resolve, ms) })

// ---- how bytes are spoilt, and in what frames they go

/** Bytes that are not any more what they were. */
const SPOILS = {
  cut: (bytes, luck) => bytes.subarray(0, luck.upTo(bytes.length)),
  longer: (bytes, luck) => Buffer.concat([bytes, luck.bytes(1 + luck.upTo(40))]),
  flipped(bytes, luck) {
    const changed = Buffer.from(bytes)
    for (let times = 1 + luck.upTo(5); times > 0 && changed.length > 0; times--) changed[luck.upTo(changed.length - 1)] ^= 1 << luck.upTo(7)
    return changed
  },
  /** The length of the whole, which is behind type and number. */
  misframed: (bytes, luck) => Buffer.concat([bytes.subarray(0, 5), luck.pick([[0x80], [0xff], [0x84, 255, 255, 255, 255], [0x88, ...Array(8).fill(255)], [0], [0x82, 0, 1]].map(Buffer.from)), bytes.subarray(6)]),
  spliced: (bytes, luck) => Buffer.concat([bytes.subarray(0, luck.upTo(bytes.length)), bytes.subarray(luck.upTo(bytes.length))]),
  garbage: (_bytes, luck) => luck.bytes(luck.upTo(300))
}

/** Frames around one packet. Those of the first three bring it to the other side as it is. */
const FRAMINGS = {
  whole: bytes => [frame(bytes)],
  split(bytes, luck) {
    const whole = frame(bytes)
    const at = luck.upTo(whole.length)
    return [whole.subarray(0, at), whole.subarray(at)]
  },
  fragments(bytes, luck) {
    const frames = []
    for (let at = 0, first = true; at < bytes.length || first; first = false) {
      const end = Math.min(bytes.length, at + 1 + luck.upTo(60))
      frames.push(frame(bytes.subarray(at, end), { opcode: first ? OPCODES.binary : OPCODES.continuation, fin: end === bytes.length }))
      if (luck.is(0.2)) frames.push(frame(Buffer.alloc(0), { opcode: OPCODES.ping }))
      at = end
    }
    return frames
  },
  text: bytes => [frame(Buffer.from(bytes.toString('hex')), { opcode: OPCODES.text })],
  pings: (_bytes, luck) => Array.from({ length: 50 + luck.upTo(500) }, () => frame(Buffer.alloc(luck.upTo(3)), { opcode: OPCODES.ping })),
  pongs: () => [frame(Buffer.from('nobody asked'), { opcode: OPCODES.pong })],
  // What follows costs the connection.
  badText: () => [frame(Buffer.of(0xc3, 0x28, 0xff), { opcode: OPCODES.text })],
  badOpcode: (bytes, luck) => [frame(bytes, { opcode: luck.pick([3, 5, 7, 11, 15]) })],
  unmasked: bytes => [frame(bytes, { masked: false })],
  reserved: (bytes, luck) => [frame(bytes, { rsv: 1 + luck.upTo(6) })],
  oversized: (_bytes, luck) => [frame(Buffer.alloc(65_537 + luck.upTo(3)))],
  lying: (bytes, luck) => [frame(bytes, { claims: luck.pick([bytes.length + 5, 70_000, 2 ** 31, Number.MAX_SAFE_INTEGER]) })],
  badControl: (_bytes, luck) => [frame(Buffer.alloc(luck.pick([126, 5])), { opcode: luck.pick([8, 9, 10]), fin: luck.is(0.5) })],
  badClose: (_bytes, luck) => [frame(luck.pick([[0], [0, 1], [0x03, 0xed], [0x03, 0xe8, 0xff, 0xfe]].map(Buffer.from)), { opcode: OPCODES.close })],
  stray: bytes => [frame(bytes, { opcode: OPCODES.continuation })],
  nested: bytes => [frame(bytes, { fin: false }), frame(bytes)]
}
const SOUND = { whole: 60, split: 10, fragments: 10 }
const BENT = { text: 3, pings: 2, pongs: 2 }
const BROKEN = Object.fromEntries(['badText', 'badOpcode', 'unmasked', 'reserved', 'oversized', 'lying', 'badControl', 'badClose', 'stray', 'nested'].map(name => [name, 0.4]))

// ---- what the peer of an attacked account sends

/** What one lane of visits to an account remembers, and makes packets of. */
class Attacker {
  constructor(luck, { v2, announced, memory, model }) {
    Object.assign(this, { luck, v2, announced, memory, model })
  }

  requestId() {
    return this.luck.is(0.1) ? 1 : this.luck.upTo(OWN - 1)
  }

  /** A transfer that the account's host fulfills. */
  pay() {
    const { luck, v2, announced, memory, model } = this
    const known = luck.bytes(16)
    const amount = 1 + luck.upTo(999)
    const condition = btp.conditionOf(known)
    const expiresAt = Date.now() + (luck.is(0.2) ? 600 : 3000)
    memory.push(known)
    if (memory.length > 200) memory.shift()
    const bytes = v2
      ? btp.message(this.requestId(), [
        ['ilp', 0, btp.ilpPrepare({ amount, time: btp.ilpTime(expiresAt), condition, data: known })], ...announced ? [btp.json('paychan', { transfer: uuid(known) })] : []
      ])
      : btp.prepare(this.requestId(), { id: known, amount, condition, time: btp.timestamp(expiresAt) })
    this.last = { bytes, condition, amount }
    model.offered(condition, amount)
    return [bytes]
  }

  /** Again, to the byte. */
  repeat() {
    if (this.last === undefined) return this.pay()
    this.model.offered(this.last.condition, this.last.amount)
    return [this.last.bytes]
  }

  /** One that nobody can fulfill, of any form. */
  odd() {
    const { luck, v2, memory } = this
    const id = luck.is(0.3) && memory.length > 0 ? luck.pick(memory) : luck.bytes(16)
    const amount = luck.pick(AMOUNTS)
    const condition = luck.bytes(32)
    const time = luck.is(0.5) ? luck.pick(BAD_TIMES) : btp.timestamp(Date.now() + luck.pick([-HOUR, -1, 1, 500, 3000, HOUR, 1e5 * HOUR]))
    if (!v2 || luck.is(0.2)) return [btp.prepare(this.requestId(), { id, amount, condition, time }, luck.is(0.2) ? [this.sub()] : [])]
    const ilp = btp.ilpPrepare({
      amount, condition, time: time.replace(/[.Z]/g, '').slice(0, 17).padEnd(17, '0'), data: luck.bytes(luck.upTo(40)), destination: luck.pick(['test.fuzz', '', 'peer.config', '..', 'x'.repeat(2000), '\xff'])
    })
    const mark = luck.is(0.5) ? [btp.json('paychan', { transfer: luck.pick([uuid(id), '__proto__', 5, null]) })] : []
    return [btp.message(this.requestId(), [['ilp', 0, luck.is(0.3) ? this.spoilt(ilp) : ilp], ...mark])]
  }

  spoilt(bytes) {
    return SPOILS[this.luck.pick(Object.keys(SPOILS))](bytes, this.luck)
  }

  /** Ends of transfers that have none, or are not the sender's to end. */
  end() {
    const { luck, memory } = this
    const id = luck.is(0.7) && memory.length > 0 ? luck.pick(memory) : luck.bytes(16)
    return [luck.is(0.6)
      ? btp.fulfill(this.requestId(), id, luck.is(0.5) ? btp.preimageOf(id) : luck.bytes(32))
      : btp.reject(this.requestId(), id, luck.is(0.5) ? [['ilp', 0, luck.bytes(luck.upTo(60))]] : [])]
  }

  /** Answers that nobody asked for. */
  answer() {
    const { luck } = this
    const requestId = this.requestId()
    const answers = [btp.response(requestId, luck.is(0.5) ? [this.sub()] : []), btp.error(requestId, luck.pick(ERRORS), luck.pick(['F00', 'T00', '\0\0\0']), luck.pick(BAD_TIMES), luck.pick(TEXTS).slice(0, 9000))]
    return luck.is(0.5) ? answers : [luck.pick(answers)]
  }

  /** One sub-protocol of any name and content. */
  sub() {
    const { luck, memory } = this
    const name = luck.pick(NAMES)
    const known = uuid(luck.is(0.5) && memory.length > 0 ? luck.pick(memory) : luck.bytes(16))
    const makes = Object.hasOwn(MESSAGES, name) ? MESSAGES[name] : undefined
    if (makes === undefined || luck.is(0.2)) return [name, luck.upTo(3), luck.is(0.7) ? luck.pick(TEXTS) : luck.bytes(luck.upTo(200))]
    const value = luck.pick(makes(known))
    if (value?.late !== undefined) for (const one of memory) this.model.doubted(btp.conditionOf(one))
    return btp.json(name, value)
  }

  ask() {
    const { luck } = this
    const list = Array.from({ length: luck.pick([0, 1, 1, 1, 2, 3]) }, () => this.sub())
    if (luck.is(0.05)) return [btp.message(this.requestId(), Array.from({ length: 3000 }, () => ['', 0, '']))]
    return [btp.message(this.requestId(), luck.is(0.1) ? [...list, ...list] : list)]
  }

  settle() {
    const { luck } = this
    return [btp.transfer(this.requestId(), luck.pick(AMOUNTS), luck.is(0.6) ? [btp.json('paychan', { settlement: luck.pick(MARKS) })] : [this.sub()])]
  }

  strange() {
    const { luck } = this
    const type = luck.pick([0, 8, 42, 127, 255, ...Object.values(btp.TYPES)])
    return [btp.packet(type, this.requestId(), luck.bytes(luck.upTo(200)), luck.is(0.3) ? luck.upTo(5) + 1 : undefined)]
  }

  auth() {
    return [btp.auth(this.requestId(), this.luck.bytes(8).toString('hex'), this.luck.is(0.5) ? LEDGER : undefined)]
  }

  flood() {
    const { luck } = this
    const make = luck.pick(['pay', 'odd', 'odd', 'ask', 'end', 'answer'])
    return Array.from({ length: 100 + luck.upTo(900) }, () => this[make]()).flat()
  }

  /** Asks for much, so that much has to be answered. */
  greed() {
    const { luck } = this
    const large = this.v2 ? ['ilp', 0, Buffer.alloc(50_000, 99)] : btp.json('custom', { x: 'x'.repeat(50_000) })
    return Array.from({ length: 50 + luck.upTo(350) }, () => btp.message(this.requestId(), [large]))
  }
}

const KINDS = { pay: 30, repeat: 6, odd: 15, end: 8, answer: 8, ask: 20, settle: 4, strange: 5, auth: 1, flood: 0.7, greed: 1 }

/** Steps of a visit: what is sent, in frames, and how it is called. */
function layOut(attacker, luck) {
  const steps = []
  for (let left = 1 + luck.upTo(30); left > 0; left--) {
    const kind = luck.weighted(KINDS)
    const packets = attacker[kind]()
    const spoil = kind !== 'pay' && kind !== 'repeat' && packets.length === 1 && luck.is(0.3) ? luck.pick(Object.keys(SPOILS)) : undefined
    const framing = packets.length > 3 ? 'whole' : luck.weighted({ ...SOUND, ...BENT, ...BROKEN })
    const writes = packets.flatMap(bytes => FRAMINGS[framing](spoil === undefined ? bytes : SPOILS[spoil](bytes, luck), luck))
    steps.push({ names: [kind, ...spoil === undefined ? [] : [spoil], framing], packets: packets.length, writes, deaf: kind === 'greed' || luck.is(0.01), waits: luck.is(0.1) })
  }
  return steps
}

/** What is answered to the account's own requests, and when it shows its preimages. */
function manners(luck, round) {
  // What decides nothing leaves a Fulfill in doubt for minutes, or until its sender tells its balance: many would leave room for nothing else.
  const errors = round < MOST_DOUBTING ? ERRORS : ERRORS.slice(0, 2)
  return {
    fulfill: luck.weighted({ response: 12, nothing: 2, error: 2, twice: 1 }),
    prepare: luck.weighted({ response: 8, nothing: 2, error: 2 }),
    then: luck.weighted({ right: 5, wrong: 2, reject: 2, nothing: 2 }),
    claim: luck.pick([undefined, ...MESSAGES.claim()]),
    error: luck.pick(errors),
    books: luck.weighted({ mirrored: 6, ...Object.fromEntries(Object.keys(BOOKS).slice(1).map(name => [name, 1])) }),
    isTwice: luck.is(0.2),
    luck
  }
}

/** Answers the account's requests on a wire. */
class Answerer {
  #asked = new Map()

  constructor(wire, { v2, model, manners, count }) {
    Object.assign(this, { wire, v2, model, manners, count })
  }

  take(bytes) {
    const packet = btp.read(bytes)
    this.count(`got ${packet.type}`)
    this[packet.type]?.(packet)
  }

  send(bytes) {
    this.wire.write(frame(bytes))
  }

  /** Our transfer was paid. */
  fulfill({ requestId, id, fulfillment }) {
    const { manners, model } = this
    if (btp.preimageOf(id).equals(fulfillment)) model.fulfilled(btp.sha256(fulfillment))
    if (manners.fulfill === 'error') {
      model.doubted(btp.sha256(fulfillment))
      this.send(btp.error(requestId, manners.error))
    } else if (manners.fulfill !== 'nothing') {
      this.send(btp.response(requestId, manners.claim === undefined ? [] : [btp.json('claim', manners.claim)]))
      if (manners.fulfill === 'twice') this.send(btp.response(requestId))
    }
  }

  reject({ requestId }) {
    if (this.manners.fulfill !== 'nothing') this.send(btp.response(requestId))
  }

  /** A transfer of the account's host. */
  prepare({ requestId, id, condition }) {
    const { manners, model } = this
    if (manners.prepare === 'response') this.send(btp.response(requestId))
    if (manners.prepare === 'error') this.send(btp.error(requestId, manners.error))
    const ours = OWN + this.#asked.size
    if (manners.then === 'right') {
      model.paid(condition, false)
      this.#asked.set(ours, condition)
      this.send(btp.fulfill(ours, id, btp.preimageOf(id)))
    }
    if (manners.then === 'wrong') this.send(btp.fulfill(OWN - 1, id, condition))
    if (manners.then === 'reject') this.send(btp.reject(OWN - 1, id))
  }

  message({ requestId, subs }) {
    const { manners, model } = this
    const ilp = subs.get('ilp')
    const known = subs.get('paychan')
    if (manners.prepare === 'nothing') return
    if (ilp !== undefined) {
      const { condition, data } = btp.readIlp(ilp)
      if (manners.then === 'right') model.paid(condition, false)
      const answer = { right: () => btp.ilpFulfill(btp.preimageOf(data)), wrong: () => btp.ilpFulfill(condition), reject: () => btp.ilpReject('T00'), nothing: () => Buffer.of(13, 0) }[manners.then]()
      this.send(btp.response(requestId, [['ilp', 0, answer]]))
    } else if (known !== undefined && manners.then !== 'wrong') {
      const { ask, reconcile } = JSON.parse(known)
      if (reconcile !== undefined) {
        this.compare(requestId, reconcile)
        return
      }
      this.send(btp.response(requestId, Array.isArray(ask) ? [btp.json('paychan', { fulfilled: {}, cancelled: ask, held: [] })] : []))
    } else this.send(manners.prepare === 'error' ? btp.error(requestId, manners.error) : btp.response(requestId))
  }

  /** The account tells its books, and asks for ours. */
  compare(requestId, report) {
    const { isTwice, luck } = this.manners
    // Blank books to which a peer tells others are not traded on until the user decides: as it should be, and the end of the attack.
    const books = report.isNew === true ? 'mirrored' : this.manners.books
    this.count(`books ${books}`)
    const answer = btp.response(requestId, [btp.json('paychan', { reconcile: BOOKS[books](report, luck) })])
    this.send(answer)
    if (isTwice) this.send(answer)
  }

  error({ name }) {
    this.count(`told ${name}`)
  }

  response({ requestId, subs }) {
    const ilp = subs.get('ilp')
    if (this.#asked.has(requestId)) this.model.paid(this.#asked.get(requestId), true)
    if (!this.v2 || ilp === undefined || ilp[0] !== 13) return
    const { fulfillment } = btp.readIlp(ilp)
    this.model.fulfilled(btp.sha256(fulfillment))
  }
}

/** One visit by the peer of an attacked account. */
export async function attack(luck, { port, secret, v2, round, memory, model, count }) {
  const announced = luck.is(0.5)
  const attacker = new Attacker(luck, { v2, announced, memory, model })
  const ledger = announced ? LEDGER : undefined
  const authentication = frame(btp.auth(1, secret, ledger))
  const steps = layOut(attacker, luck)
  const behaviour = manners(luck, round)
  const end = luck.pick(['close', 'end', 'reset'])
  const isPolite = luck.is(0.8)
  const deafMs = luck.upTo(300)

  const wire = new Wire(port)
  const answerer = new Answerer(wire, { v2, model, manners: behaviour, count })
  wire.onFrame = bytes => { answerer.take(bytes) }
  count('sockets')
  if (await wire.upgrade()) {
    wire.write(authentication)
    if (isPolite) await wire.sync()
    for (const { names, packets, writes, deaf, waits } of steps) {
      if (!wire.isOpen) break
      for (const name of names) count(name, name === names[0] ? packets : 1)
      count('frames', writes.length)
      wire.write(Buffer.concat(writes))
      if (deaf) await wire.deaf(names[0] === 'greed' ? 1000 : deafMs)
      if (names[0] === 'greed' && !wire.isOpen) count('cut off')
      if (waits) await wire.sync()
    }
    if (isPolite) {
      await wire.sync()
      await moment(deafMs / 3)
    }
  }
  await wire.leave(end)
}

/** The peer of an attacked account answers all that it is asked, until nothing is in flight. Resolves with whether that came to pass. */
export async function makeGood({ port, secret, v2, model, count, held, withinMs }) {
  const wire = new Wire(port)
  const answerer = new Answerer(wire, { v2, model, count, manners: { fulfill: 'response', prepare: 'response', then: 'reject', error: 'NotAcceptedError', books: 'mirrored' } })
  wire.onFrame = bytes => { answerer.take(bytes) }
  await wire.upgrade()
  wire.write(frame(btp.auth(1, secret, LEDGER)))
  const deadline = Date.now() + withinMs
  while (await held() > 0 && Date.now() < deadline) await moment(100)
  const isQuiet = await held() === 0
  await wire.leave('close')
  return isQuiet
}

// ---- strangers

const HELLO = Buffer.from('16030100c2010000be0303', 'hex')
const REQUESTS = [
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nx', 'GET / HTTP/9.9\r\n\r\n', '\r\n\r\n\r\n', `GET /${'a'.repeat(70_000)} HTTP/1.1\r\n\r\n`,
  upgrade({ key: 'short' }), upgrade({ version: '99' }), upgrade({ more: 'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n' }), upgrade({ more: `X: ${'y'.repeat(20_000)}\r\n` }),
  upgrade({ more: 'Sec-WebSocket-Protocol: ,,,\r\n' }), upgrade({ path: '/%zz/../..' }), 'GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upg', 'CONNECT x:1 HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
]

/** What a stranger does with one socket, or with many. */
const STRANGERS = {
  async garbage(luck, open) {
    const bytes = luck.is(0.3) ? HELLO : luck.bytes(1 + luck.upTo(500))
    const ms = luck.upTo(100)
    const wire = open()
    wire.write(bytes)
    await moment(ms)
    await wire.leave(luck.pick(['end', 'reset']))
  },
  async http(luck, open) {
    const request = luck.pick(REQUESTS)
    const at = luck.upTo(request.length)
    const end = luck.pick(['end', 'reset'])
    const wire = open()
    wire.write(request.slice(0, at))
    await moment(20)
    wire.write(request.slice(at))
    await moment(50)
    await wire.leave(end)
  },
  /** Many sockets, of which most say nothing. */
  async crowd(luck, open) {
    const guests = Array.from({ length: 20 + luck.upTo(130) }, () => ({ does: luck.pick(['nothing', 'upgrades', 'speaks']), end: luck.pick(['end', 'reset']), bytes: luck.bytes(20) }))
    const ms = luck.upTo(400)
    await Promise.all(guests.map(async ({ does, end, bytes }) => {
      const wire = open()
      if (does !== 'nothing') await wire.upgrade()
      if (does === 'speaks') wire.write(frame(bytes))
      await moment(ms)
      await wire.leave(end)
    }))
  },
  /** Frames where an auth Message should be first. */
  async unknown(luck, open, stranger) {
    const steps = layOut(stranger, luck)
    const first = frame(stranger.spoilt(btp.auth(1, 'x'.repeat(20), luck.is(0.5) ? LEDGER : undefined)))
    const [isSpoilt, isAhead] = [luck.is(0.5), luck.is(0.3)]
    const end = luck.pick(['close', 'end', 'reset'])
    const wire = open()
    if (isAhead) wire.write(Buffer.concat(steps.flatMap(({ writes }) => writes)))
    await wire.upgrade()
    wire.write(isSpoilt ? first : frame(btp.auth(1, 'wrong')))
    for (const { writes } of steps) if (wire.isOpen) wire.write(Buffer.concat(writes))
    await wire.sync(200)
    await wire.leave(end)
  }
}

/** One visit by a stranger. */
export async function pester(luck, { port, count, memory }) {
  const kind = luck.weighted({ garbage: 3, http: 3, crowd: 1, unknown: 4 })
  count(kind)
  const nobody = { offered: () => undefined, doubted: () => undefined }
  await STRANGERS[kind](luck, () => {
    count('sockets')
    return new Wire(port)
  }, new Attacker(luck, { v2: luck.is(0.5), announced: luck.is(0.5), memory, model: nobody }))
}
