/** The part of the package `long` that oer-utils uses. */
export default class Long {
  static readonly ZERO: Long
  static readonly UZERO: Long
  static readonly MIN_VALUE: Long
  static readonly MAX_VALUE: Long
  static readonly MAX_UNSIGNED_VALUE: Long
  static isLong(value: unknown): value is Long
  static fromNumber(value: number, unsigned: boolean): Long
  static fromString(text: string, unsigned: boolean): Long
  readonly unsigned: boolean
  shiftLeft(bits: number): Long
  shiftRight(bits: number): Long
  shiftRightUnsigned(bits: number): Long
  add(other: Long | number): Long
  multiply(other: Long | number): Long
  lessThanOrEqual(other: Long | number): boolean
  greaterThanOrEqual(other: Long | number): boolean
  toNumber(): number
  toString(radix?: number): string
  toBytesBE(): number[]
}
