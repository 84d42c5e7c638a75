/**
 * What btp-packet's writing and our codecs use of oer-utils: lengths, unsigned integers and octet strings (RFC 30). The browser
 * builds have it in that package's place, which brings signed integers, bookmarks and 64-bit arithmetic along. Same bytes; what
 * the package refuses is refused here too, though with other words.
 */
import { Buffer } from './buffer.js'

/**
 * What our OerReader extends. It has a readUInt8Number and a readLengthPrefix of its own, and does not ask for those of the package.
 */
export class Reader {
  constructor(buffer) {
    this.buffer = buffer
    this.cursor = 0
  }

  readUIntNumber(length) {
    const value = this.buffer.readUIntBE(this.cursor, length)
    this.cursor += length
    return value
  }

  readUInt32Number() {
    return this.readUIntNumber(4)
  }

  readVarOctetString() {
    return this.read(this.readLengthPrefix())
  }

  read(length) {
    this.ensureAvailable(length)
    const bytes = this.buffer.slice(this.cursor, this.cursor + length)
    this.cursor += length
    return bytes
  }
}

export class Writer {
  /** Writes into a Buffer, into a new one of so many bytes, or into one that grows. */
  constructor(room) {
    this.buffer = Buffer.isBuffer(room) ? room : Buffer.alloc(room ?? 0)
    this.mayGrow = room === undefined
    this.length = 0
  }

  writeUInt8(value) {
    this.writeUInt(value, 1)
  }

  writeUInt32(value) {
    this.writeUInt(value, 4)
  }

  writeUInt64(value) {
    const offset = this.advance(8)
    this.buffer.writeBigUInt64BE(BigInt(value), offset)
  }

  /** An integer of at most six bytes. */
  writeUInt(value, length) {
    const offset = this.advance(length)
    this.buffer.writeUIntBE(value, offset, length)
  }

  writeVarUInt(value) {
    const length = sizeOf(value)
    this.writeLengthPrefix(length)
    this.writeUInt(value, length)
  }

  writeVarOctetString(bytes) {
    this.writeLengthPrefix(bytes.length)
    this.write(bytes)
  }

  /** Makes room for an octet string of that length; returns the Writer to fill it with. */
  createVarOctetString(length) {
    this.writeLengthPrefix(length)
    const offset = this.advance(length)
    return new Writer(this.buffer.slice(offset, offset + length))
  }

  write(bytes) {
    const offset = this.advance(bytes.length)
    bytes.copy(this.buffer, offset)
  }

  getBuffer() {
    return this.buffer.slice(0, this.length)
  }

  writeLengthPrefix(length) {
    if (length < 0x80) {
      this.writeUInt8(length)
      return
    }
    const size = sizeOf(length)
    this.writeUInt8(0x80 | size)
    this.writeUInt(length, size)
  }

  /** Takes the next bytes; returns where they begin. */
  advance(length) {
    const offset = this.length
    const end = offset + length
    if (end > this.buffer.length) {
      if (!this.mayGrow) throw new RangeError('there is no more room to write')
      const grown = Buffer.alloc(Math.max(2 * this.buffer.length, end, 32))
      this.buffer.copy(grown)
      this.buffer = grown
    }
    this.length = end
    return offset
  }
}

/** A Writer that only counts. */
export class Predictor {
  static measureVarOctetString(length) {
    return length + (length < 0x80 ? 1 : 1 + sizeOf(length))
  }

  length = 0

  writeUInt8() {
    this.length++
  }

  writeUInt64() {
    this.length += 8
  }

  writeUInt(_value, length) {
    this.length += length
  }

  writeVarOctetString(bytes) {
    this.length += Predictor.measureVarOctetString(bytes.length)
  }

  write(bytes) {
    this.length += bytes.length
  }
}

/** How many bytes an unsigned integer takes, at least one. */
function sizeOf(value) {
  let size = 1
  while (value >= 256 ** size) size++
  return size
}
