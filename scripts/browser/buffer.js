/**
 * Node's Buffer as far as our codecs, btp-packet's writing and what stands in for oer-utils use it, in a tenth of the size of the
 * package `buffer`. The browser builds have it in that package's place. What it has does what Node's does; nothing of it is
 * handed to users, who get Uint8Array.
 */
export class Buffer extends Uint8Array {
  /** From a text in an encoding, a view of an ArrayBuffer (nothing is copied), or a copy of bytes. */
  static from(value, encodingOrOffset, length) {
    if (typeof value === 'string') return fromText(value, encodingOrOffset ?? 'utf8')
    if (value instanceof ArrayBuffer) return new Buffer(value, encodingOrOffset, length)
    return new Buffer(value)
  }

  static alloc(length) {
    return new Buffer(length)
  }

  static isBuffer(value) {
    return value instanceof Buffer
  }

  /** A view, as Node's is: unlike that of Uint8Array. */
  slice(start, end) {
    return this.subarray(start, end)
  }

  copy(target, targetStart = 0, start = 0, end = this.length) {
    const part = Uint8Array.prototype.subarray.call(this, start, Math.min(end, start + target.length - targetStart))
    target.set(part, targetStart)
    return part.length
  }

  /** Writes as much of a text as there is room for; returns how many bytes that were. */
  write(text, offset = 0, encoding = 'utf8') {
    return fromText(text, encoding).copy(this, offset)
  }

  toString(encoding = 'utf8', start = 0, end = this.length) {
    return toText(this.subarray(start, end), encoding)
  }

  readUIntBE(offset, length) {
    checkRange(this, offset, length)
    let value = 0
    for (let i = 0; i < length; i++) value = value * 256 + this[offset + i]
    return value
  }

  writeBigUInt64BE(value, offset = 0) {
    checkRange(this, offset, 8)
    if (value < 0n || value >= 2n ** 64n) throw new RangeError(`${value} is no unsigned integer of 8 bytes`)
    this.writeUIntBE(Number(value >> 32n), offset, 4)
    return this.writeUIntBE(Number(value & 0xffffffffn), offset + 4, 4)
  }

  writeUIntBE(value, offset, length) {
    checkRange(this, offset, length)
    if (!(value >= 0 && value < 2 ** (8 * length))) throw new RangeError(`${value} is no unsigned integer of ${length} bytes`)
    let rest = value
    for (let i = length - 1; i >= 0; i--) {
      this[offset + i] = rest % 256
      rest = Math.floor(rest / 256)
    }
    return offset + length
  }
}

function checkRange(bytes, offset, length) {
  if (!(offset >= 0 && offset + length <= bytes.length)) throw new RangeError('the offset lies outside of the buffer')
}

// Loops over bytes, since each payment has some hundred of them read and written as texts.

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const HEX = Array.from({ length: 256 }, (_none, byte) => byte.toString(16).padStart(2, '0'))

function fromText(text, encoding) {
  if (encoding === 'utf8') return new Buffer(encoder.encode(text))
  if (encoding === 'latin1') return fill(text.length, at => text.charCodeAt(at))
  if (encoding === 'hex') {
    const pairs = text.match(/[0-9a-f]{2}/gi) ?? []
    return fill(pairs.length, at => parseInt(pairs[at], 16))
  }
  if (encoding === 'base64' || encoding === 'base64url') return fromText(fromBase64(text), 'latin1')
  throw new TypeError(`the encoding ${encoding} is not here`)
}

function fill(length, byteAt) {
  const bytes = new Buffer(length)
  for (let at = 0; at < length; at++) bytes[at] = byteAt(at)
  return bytes
}

/** Reads either alphabet, padded or not, up to the padding; passes over what is neither, as Node does. */
function fromBase64(text) {
  const [letters] = /^[\w-]*$/.test(text) ? [text] : text.replace(/[^\w+/=-]/g, '').split('=')
  const standard = letters.replaceAll('-', '+').replaceAll('_', '/')
  return atob(standard.length % 4 === 1 ? standard.slice(0, -1) : standard)
}

function toText(bytes, encoding) {
  if (encoding === 'utf8') return decoder.decode(bytes)
  if (encoding === 'latin1') return join(bytes, String.fromCharCode)
  if (encoding === 'hex') return join(bytes, byte => HEX[byte])
  if (encoding === 'base64') return btoa(toText(bytes, 'latin1'))
  if (encoding === 'base64url') return toText(bytes, 'base64').replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
  throw new TypeError(`the encoding ${encoding} is not here`)
}

function join(bytes, textOf) {
  let text = ''
  for (let at = 0; at < bytes.length; at++) text += textOf(bytes[at])
  return text
}
