/**
 * One TCP socket to the listener, with WebSocket frames made by hand, so that each can be wrong in any way.
 */
import { Buffer } from 'node:buffer'
import { connect } from 'node:net'
import { clearTimeout, setTimeout } from 'node:timers'

export const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 }

const MASK = Buffer.of(0x12, 0x34, 0x56, 0x78)
const HANDSHAKE_MS = 3000

/** A frame. `claims` is the length that it says it has. */
export function frame(payload, { opcode = OPCODES.binary, fin = true, rsv = 0, masked = true, claims = payload.length } = {}) {
  const long = claims >= 65_536
  const head = Buffer.alloc(2 + (long ? 8 : claims >= 126 ? 2 : 0))
  head[0] = (fin ? 0x80 : 0) | rsv << 4 | opcode
  head[1] = (masked ? 0x80 : 0) | (long ? 127 : claims >= 126 ? 126 : claims)
  if (long) head.writeBigUInt64BE(BigInt(claims), 2)
  else if (claims >= 126) head.writeUInt16BE(claims, 2)
  if (!masked) return Buffer.concat([head, payload])
  const body = Buffer.from(payload)
  for (let i = 0; i < body.length; i++) body[i] ^= MASK[i & 3]
  return Buffer.concat([head, MASK, body])
}

export const upgrade = ({ path = '/', key = 'ZnV6emVyLWZ1enplci0hIQ==', version = '13', more = '' } = {}) =>
  `GET ${path} HTTP/1.1\r\nHost: fuzz\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: ${version}\r\n${more}\r\n`

export class Wire {
  /** Called with each binary frame's payload. */
  onFrame = () => undefined
  isOpen = true
  #socket
  #unread = Buffer.alloc(0)
  #isUpgraded = false
  #upgraded = []
  #pongs = []
  #closed

  constructor(port) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    // The listener may hang up at any point; that is its right.
    this.#socket.on('error', () => undefined)
    this.#closed = new Promise(resolve => {
      this.#socket.on('close', () => {
        this.isOpen = false
        resolve()
        for (const settle of [...this.#upgraded.splice(0), ...this.#pongs.splice(0)]) settle(false)
      })
    })
    this.#socket.on('data', data => {
      this.#unread = Buffer.concat([this.#unread, data])
      this.#read()
    })
  }

  /** Writes bytes as they are. */
  write(bytes) {
    if (this.isOpen && this.#socket.writable) this.#socket.write(bytes)
  }

  /** Asks for a web socket. Whether there is one. */
  async upgrade() {
    this.write(upgrade())
    return this.#within(HANDSHAKE_MS, this.#upgraded)
  }

  /** Whether all that was written before has been read by the other side: told by a pong. */
  async sync(ms = 500) {
    this.write(frame(Buffer.from('sync'), { opcode: OPCODES.ping }))
    return this.#within(ms, this.#pongs)
  }

  /** Reads no more for so long. */
  async deaf(ms) {
    this.#socket.pause()
    await new Promise(resolve => { setTimeout(resolve, ms) })
    this.#socket.resume()
  }

  /** `end` says goodbye to TCP, `reset` does not, `close` says goodbye to the web socket first. */
  async leave(how) {
    if (how === 'close') this.write(frame(Buffer.of(0x03, 0xe8), { opcode: OPCODES.close }))
    if (how === 'reset' && this.isOpen) this.#socket.resetAndDestroy()
    else this.#socket.end()
    const timer = setTimeout(() => { this.#socket.destroy() }, 200)
    await this.#closed
    clearTimeout(timer)
  }

  #within(ms, waiting) {
    if (!this.isOpen) return Promise.resolve(false)
    return new Promise(resolve => {
      const timer = setTimeout(() => { settle(false) }, ms)
      const settle = value => {
        clearTimeout(timer)
        resolve(value)
      }
      waiting.push(settle)
    })
  }

  #read() {
    if (!this.#isUpgraded) {
      const end = this.#unread.indexOf('\r\n\r\n')
      if (end < 0) return
      const accepted = this.#unread.subarray(0, 12).toString().endsWith('101')
      this.#unread = this.#unread.subarray(end + 4)
      this.#isUpgraded = accepted
      for (const settle of this.#upgraded.splice(0)) settle(accepted)
      if (!accepted) return
    }
    while (this.#unread.length >= 2) {
      const short = this.#unread[1] & 0x7f
      const head = short === 127 ? 10 : short === 126 ? 4 : 2
      if (this.#unread.length < head) return
      const length = short === 127 ? Number(this.#unread.readBigUInt64BE(2)) : short === 126 ? this.#unread.readUInt16BE(2) : short
      if (this.#unread.length < head + length) return
      const opcode = this.#unread[0] & 15
      const payload = Buffer.from(this.#unread.subarray(head, head + length))
      this.#unread = this.#unread.subarray(head + length)
      if (opcode === OPCODES.binary) this.onFrame(payload)
      if (opcode === OPCODES.ping) this.write(frame(payload, { opcode: OPCODES.pong }))
      // Those of floods are empty.
      if (opcode === OPCODES.pong && payload.length === 4) this.#pongs.shift()?.(true)
    }
  }
}
