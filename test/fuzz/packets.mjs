/**
 * BTP and ILPv4 packets as bytes, made and read by hand: nothing of what is under test has a part in it, and anything can be written wrong.
 */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'

export const TYPES = { response: 1, error: 2, prepare: 3, fulfill: 4, reject: 5, message: 6, transfer: 7 }
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, type]) => [type, name]))

export const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts.map(part => Buffer.from(part)))).digest()

/** What everybody here pays with: the preimage follows from what the transfer is known by, its id or an ILP packet's data. */
export const preimageOf = known => sha256('fuzz', known)
export const conditionOf = known => sha256(preimageOf(known))

// ---- writing

/** Bytes behind their length (X.696). `form` forces a longer form than need be. */
export function sized(bytes, form = bytes.length < 128 ? 0 : bytes.length < 256 ? 1 : bytes.length < 65_536 ? 2 : 3) {
  if (form === 0) return Buffer.concat([Buffer.of(bytes.length), bytes])
  const head = Buffer.alloc(1 + form)
  head[0] = 0x80 | form
  head.writeUIntBE(bytes.length, 1, form)
  return Buffer.concat([head, bytes])
}

const uint64 = value => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

export const packet = (type, requestId, body, form) => {
  const head = Buffer.alloc(5)
  head[0] = type
  head.writeUInt32BE(requestId, 1)
  return Buffer.concat([head, sized(body, form)])
}

/** Sub-protocols: `[name, contentType, data]` each. */
export const subs = list => Buffer.concat([
  list.length < 256 ? Buffer.of(1, list.length) : Buffer.of(2, list.length >> 8, list.length & 255),
  ...list.map(([name, contentType, data]) => Buffer.concat([sized(Buffer.from(name, 'latin1')), Buffer.of(contentType), sized(Buffer.from(data))]))
])

export const json = (name, value) => [name, 2, typeof value === 'string' ? value : JSON.stringify(value)]

/** `20171224161432.279Z` */
export const timestamp = ms => new Date(ms).toISOString().replace(/[-:T]/g, '')
/** `20171224161432279` */
export const ilpTime = ms => timestamp(ms).replace(/[.Z]/g, '')

export const message = (requestId, list) => packet(TYPES.message, requestId, subs(list))
export const response = (requestId, list = []) => packet(TYPES.response, requestId, subs(list))
export const error = (requestId, name, code = 'F00', time = timestamp(0), data = '') => packet(TYPES.error, requestId, Buffer.concat([
  Buffer.from(code, 'latin1'), sized(Buffer.from(name, 'latin1')), sized(Buffer.from(time, 'latin1')), sized(Buffer.from(data)), subs([])
]))
export const prepare = (requestId, { id, amount, condition, time }, list = []) => packet(TYPES.prepare, requestId, Buffer.concat([
  id, uint64(amount), condition, sized(Buffer.from(time, 'latin1')), subs(list)
]))
export const fulfill = (requestId, id, fulfillment, list = []) => packet(TYPES.fulfill, requestId, Buffer.concat([id, fulfillment, subs(list)]))
export const reject = (requestId, id, list = []) => packet(TYPES.reject, requestId, Buffer.concat([id, subs(list)]))
export const transfer = (requestId, amount, list = []) => packet(TYPES.transfer, requestId, Buffer.concat([uint64(amount), subs(list)]))

export const auth = (requestId, token, announced) => message(requestId, [
  ['auth', 0, ''], ['auth_username', 1, ''], ['auth_token', 1, token],
  ...announced === undefined ? [] : [json('paychan', { v: 1, ledger: announced })]
])

export const ilpPrepare = ({ amount, time, condition, destination = 'test.fuzz', data }) => Buffer.concat([Buffer.of(12), sized(Buffer.concat([
  uint64(amount), Buffer.from(time, 'latin1'), condition, sized(Buffer.from(destination, 'latin1')), sized(data)
]))])
export const ilpFulfill = (fulfillment, data = Buffer.alloc(0)) => Buffer.concat([Buffer.of(13), sized(Buffer.concat([fulfillment, sized(data)]))])
export const ilpReject = (code = 'F00') => Buffer.concat([Buffer.of(14), sized(Buffer.concat([
  Buffer.from(code), sized(Buffer.alloc(0)), sized(Buffer.from('no')), sized(Buffer.alloc(0))
]))])

// ---- reading what the listener sends, which is sound

function reader(bytes) {
  let at = 0
  const take = length => bytes.subarray(at, at += length)
  const length = () => {
    const first = take(1)[0]
    return first < 128 ? first : take(first & 127).readUIntBE(0, first & 127)
  }
  return { take, sized: () => take(length()), rest: () => bytes.subarray(at) }
}

/** A packet: its type and requestId, and of some the id, the fulfillment or the sub-protocols by their names. */
export function read(frame) {
  const all = reader(frame)
  const type = NAMES[all.take(1)[0]]
  const requestId = all.take(4).readUInt32BE()
  const body = reader(all.sized())
  const known = { type, requestId }
  if (type === 'error') return { ...known, code: body.take(3).toString('latin1'), name: body.sized().toString('latin1') }
  if (type === 'prepare' || type === 'fulfill' || type === 'reject') known.id = body.take(16)
  if (type === 'prepare') Object.assign(known, { amount: body.take(8), condition: body.take(32), time: body.sized() })
  if (type === 'fulfill') known.fulfillment = body.take(32)
  if (type === 'transfer') body.take(8)
  const count = body.take(body.take(1)[0])
  known.subs = new Map()
  for (let left = count.readUIntBE(0, count.length); left > 0; left--) {
    const name = body.sized().toString('latin1')
    body.take(1)
    known.subs.set(name, body.sized())
  }
  return known
}

/** An ILPv4 packet: its type, and what pays or proves. */
export function readIlp(bytes) {
  const all = reader(bytes)
  const type = all.take(1)[0]
  const body = reader(all.sized())
  if (type === 13) return { type, fulfillment: body.take(32) }
  if (type !== 12) return { type }
  const amount = body.take(8).readBigUInt64BE()
  body.take(17)
  const condition = body.take(32)
  body.sized()
  return { type, amount, condition, data: body.sized() }
}
