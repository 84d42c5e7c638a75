/**
 * Octet Encoding Rules (RFC 30) where oer-utils is narrower than the grammar, and what BTP and ILP packets share: timestamps,
 * views of bytes. Imports core and oer-utils.
 */
import { Buffer } from 'buffer'
import { Reader } from 'oer-utils'
import { InvalidFieldsError, PacketError } from '../core/errors.js'
import { TRANSFER_ID_BYTES, transferIdOf } from '../core/ids.js'

const TIMESTAMP = /^\d{14}(\.\d{1,3})?Z$/
/** Where the fraction's digits begin, and the length of a timestamp that has three of them: `20171224161432.279Z`. */
const FRACTION_AT = 15
export const TIMESTAMP_BYTES = 19
const PRINTABLE_ASCII = /^[\x20-\x7e]*$/

/** The same bytes as a Buffer, which the codec libraries insist on. Nothing is copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The same bytes as a plain Uint8Array: unlike a Buffer's, its `slice` copies on every platform. Nothing is copied here. */
export function asBytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
}

/**
 * Checks a text that goes into an IA5String: a character above 7 bits would come out as another one.
 * @throws InvalidFieldsError naming `field`
 */
export function checkAscii(value: string, field: string): string {
  if (!PRINTABLE_ASCII.test(value)) throw new InvalidFieldsError(`${field} must be printable ASCII`)
  return value
}

/**
 * Reads OER from bytes of a stranger. Throws PacketError and nothing else; a length is believed only as far as there are bytes,
 * so none makes it allocate (H38).
 */
export class OerReader extends Reader {
  /** Where the bytes end that may be read. */
  #end: number

  constructor(bytes: Uint8Array) {
    super(asBuffer(bytes))
    this.#end = bytes.length
  }

  get available(): number {
    return this.#end - this.cursor
  }

  override ensureAvailable(bytes: number): void {
    if (bytes > this.available) throw new PacketError(`packet ends ${bytes - this.available} bytes too early`)
  }

  /** Most of a packet is read by single bytes: without the library's detours. */
  override readUInt8Number(): number {
    this.ensureAvailable(1)
    return this.buffer[this.cursor++] ?? 0
  }

  override readUInt32Number(): number {
    this.ensureAvailable(4)
    this.cursor += 4
    return this.buffer.readUIntBE(this.cursor - 4, 4)
  }

  /** Unlike oer-utils', takes a determinant that is longer than it need be (C3). 0x80 and 0xff are none (X.696, 8.6). */
  override readLengthPrefix(): number {
    const first = this.readUInt8Number()
    if (first < 0x80) return first
    if (first === 0x80 || first === 0xff) throw new PacketError('packet has a malformed length')
    return this.readBoundedNumber(first & 0x7f)
  }

  /** A count of things to come, each of a byte at least; leading zeros are taken. */
  readQuantity(): number {
    const length = this.readLengthPrefix()
    if (length === 0) throw new PacketError('packet has an empty quantity')
    return this.readBoundedNumber(length)
  }

  /** An unsigned 64-bit integer as a decimal string. */
  readAmount(): string {
    const high = this.readUInt32Number()
    const low = this.readUInt32Number()
    return high < 0x200000 ? String(high * 0x100000000 + low) : String((BigInt(high) << 32n) | BigInt(low))
  }

  /** Reads on within the variable-length bytes that come here: nothing is read behind their end. */
  enter(): void {
    const length = this.readLengthPrefix()
    this.ensureAvailable(length)
    this.#end = this.cursor + length
  }

  /** Passes so many bytes; tells where they begin. */
  skipBytes(length: number): number {
    this.ensureAvailable(length)
    const start = this.cursor
    this.cursor += length
    return start
  }

  /** Passes variable-length bytes. */
  skipVarBytes(): void {
    this.skipBytes(this.readLengthPrefix())
  }

  readTransferId(): string {
    return transferIdOf(this.buffer, this.skipBytes(TRANSFER_ID_BYTES))
  }

  /** So many bytes as a text. */
  readText(length: number, encoding: 'base64url' | 'latin1'): string {
    const start = this.skipBytes(length)
    return this.buffer.toString(encoding, start, this.cursor)
  }

  /** Variable-length bytes as a view of the packet's. */
  readBytes(): Uint8Array {
    const length = this.readLengthPrefix()
    const start = this.skipBytes(length)
    return new Uint8Array(this.buffer.buffer, this.buffer.byteOffset + start, length)
  }

  /** A decimal number of so many digits; NaN where something else is among them. */
  readDigits(count: number): number {
    let value = 0
    for (let at = this.skipBytes(count); at < this.cursor; at++) {
      const digit = (this.buffer[at] ?? 0) - 0x30
      value = digit >= 0 && digit <= 9 ? value * 10 + digit : NaN
    }
    return value
  }

  /** An IA5String. A byte above 0x7f keeps its value, so that no two different names read alike. */
  readAscii(): string {
    return this.readText(this.readLengthPrefix(), 'latin1')
  }

  /** A timestamp, or `undefined` where the text is none: the caller reads on to see whether the rest is sound. */
  readTimestamp(): Date | undefined {
    return parseTimestamp(this.readAscii())
  }

  /** A big-endian number of `length` bytes that counts bytes or things to come, so that more than the packet has is too much. */
  private readBoundedNumber(length: number): number {
    this.ensureAvailable(length)
    let value = 0
    for (let i = 0; i < length; i++) {
      value = value * 0x100 + this.readUInt8Number()
      if (value > this.#end) throw new PacketError('packet has a length beyond its end')
    }
    return value
  }
}

/** How many bytes the length determinant before so many bytes takes. */
export function lengthBytes(length: number): number {
  if (length < 0x80) return 1
  return length < 0x100 ? 2 : length < 0x10000 ? 3 : length < 0x1000000 ? 4 : 5
}

/** Writes a length determinant in its shortest form. Returns where it ends. */
export function writeLength(buffer: Buffer, at: number, length: number): number {
  const bytes = lengthBytes(length)
  if (bytes === 1) return buffer.writeUIntBE(length, at, 1)
  buffer[at] = 0x7f + bytes
  return buffer.writeUIntBE(length, at + 1, bytes - 1)
}

/**
 * Reads a GeneralizedTime of RFC 30: UTC with `Z`, at most milliseconds, no offset, no 24:00, no leap second (which no Date can
 * hold). Canonical writers leave trailing zeros out, so one or two decimals are read too.
 */
function parseTimestamp(text: string): Date | undefined {
  if (!TIMESTAMP.test(text)) return undefined
  const fraction = text.length < FRACTION_AT + 1 ? 0 : digits(text, FRACTION_AT, text.length - 1) * 10 ** (TIMESTAMP_BYTES - text.length)
  const seconds = digits(text, 12, 14)
  return dateOf(digits(text, 0, 4), digits(text, 4, 6), digits(text, 6, 8), digits(text, 8, 10), digits(text, 10, 12), seconds, fraction)
}

/** The date of such parts, in UTC; `undefined` where one is not in its range, or no number. */
export function dateOf(
  year: number, month: number, day: number, hours: number, minutes: number, seconds: number, milliseconds: number
): Date | undefined {
  const date = new Date(Date.UTC(year, month - 1, day, hours, minutes, seconds, milliseconds))
  // Which takes the years of the first century for those of the twentieth.
  if (year < 100) date.setUTCFullYear(year, month - 1, day)
  // A part that is too large is carried over: 31 February and 24:00 come out as another day, a month 13 as another month.
  const isReal = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && hours < 24 && minutes < 60 && seconds < 60
  return isReal ? date : undefined
}

function digits(text: string, from: number, to: number): number {
  let value = 0
  for (let i = from; i < to; i++) value = value * 10 + text.charCodeAt(i) - 0x30
  return value
}

/** What was written last: of what comes at once, much ends at once, and to write a time costs more than all else of a packet's fields. */
let [lastTime, lastIso] = [NaN, '']
let [lastShortened, lastDigits] = ['', '']

/** The ISO form of a valid date. */
export function isoOf(date: Date): string {
  if (date.getTime() !== lastTime) [lastIso, lastTime] = [date.toISOString(), date.getTime()]
  return lastIso
}

/**
 * The ISO form of a date that a packet can carry: years 1000 to 9999, which also btp-packet writes with four digits.
 * @throws InvalidFieldsError naming `field`
 */
export function toIsoTimestamp(date: Date, field: string): string {
  const year = date.getUTCFullYear()
  if (!(year >= 1000 && year <= 9999)) throw new InvalidFieldsError(`${field} must be in the years 1000 to 9999`)
  return isoOf(date)
}

/**
 * Writes a date with milliseconds, always three digits: older peers read nothing else (C6).
 * @throws InvalidFieldsError naming `field`
 */
export function formatTimestamp(date: Date, field: string): string {
  const iso = toIsoTimestamp(date, field)
  if (iso !== lastShortened) [lastShortened, lastDigits] = [iso, iso.replace(/[-:T]/g, '')]
  return lastDigits
}
