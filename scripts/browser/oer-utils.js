/**
 * What our codecs use of oer-utils, and what stands in for btp-packet: lengths, unsigned integers and octet strings (RFC 30). The browser
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

/** Writes into a Buffer that grows. */
export class Writer {
  buffer = Buffer.alloc(64)
  length = 0

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
    this.writeUInt8(length)
    this.writeUInt(value, length)
  }

  writeVarOctetString(bytes) {
    const { length } = bytes
    if (length < 0x80) {
      this.writeUInt8(length)
    } else {
      const size = sizeOf(length)
      this.writeUInt8(0x80 | size)
      this.writeUInt(length, size)
    }
    this.write(bytes)
  }

  write(bytes) {
    const offset = this.advance(bytes.length)
    this.buffer.set(bytes, offset)
  }

  getBuffer() {
    return this.buffer.slice(0, this.length)
  }

  /** Takes the next bytes; returns where they begin. */
  advance(length) {
    const offset = this.length
    const end = offset + length
    if (end > this.buffer.length) {
      const grown = Buffer.alloc(2 * end)
      grown.set(this.buffer)
      this.buffer = grown
    }
    this.length = end
    return offset
  }
}

/** How many bytes an unsigned integer takes, at least one. */
function sizeOf(value) {
  let size = 1
  while (value >= 256 ** size) size++
  return size
}
