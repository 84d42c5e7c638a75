/** The part of oer-utils that our codecs use, and what stands in for btp-packet. */
import type { Buffer } from 'node:buffer'

export class Reader {
  buffer: Buffer
  cursor: number
  constructor(buffer: Buffer)
  readUIntNumber(length: number): number
  readUInt32Number(): number
  readVarOctetString(): Buffer
  read(length: number): Buffer
}

export class Writer {
  readonly length: number
  writeUInt8(value: number): void
  writeUInt32(value: number): void
  writeUInt64(value: string): void
  writeUInt(value: number, length: number): void
  writeVarUInt(value: number): void
  writeVarOctetString(bytes: Buffer): void
  write(bytes: Buffer): void
  getBuffer(): Buffer
}
