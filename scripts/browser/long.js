/**
 * 64-bit integers on BigInt: what oer-utils uses of the package `long`, in a tenth of its size. The browser builds have it in
 * that package's place; Node, where size is nothing, keeps the package. Same results, wrapping included.
 */
export default class Long {
  static ZERO = new Long(0n, false)
  static UZERO = new Long(0n, true)
  static MIN_VALUE = new Long(-(2n ** 63n), false)
  static MAX_VALUE = new Long(2n ** 63n - 1n, false)
  static MAX_UNSIGNED_VALUE = new Long(2n ** 64n - 1n, true)

  constructor(value, unsigned) {
    this.unsigned = unsigned
    this.value = unsigned ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value)
  }

  static isLong(value) {
    return value instanceof Long
  }

  /** Takes integers; those beyond 64 bits become the nearest that fits. */
  static fromNumber(value, unsigned) {
    const [least, most] = unsigned ? [Long.UZERO, Long.MAX_UNSIGNED_VALUE] : [Long.MIN_VALUE, Long.MAX_VALUE]
    if (value >= Number(most.value)) return most
    return value <= Number(least.value) ? least : new Long(BigInt(value), unsigned)
  }

  /** Takes decimal digits, with a sign where it is signed. */
  static fromString(text, unsigned) {
    return new Long(BigInt(text), unsigned)
  }

  shiftLeft(bits) {
    return new Long(this.value << BigInt(bits), this.unsigned)
  }

  shiftRight(bits) {
    return new Long(this.value >> BigInt(bits), this.unsigned)
  }

  shiftRightUnsigned(bits) {
    return new Long(BigInt.asUintN(64, this.value) >> BigInt(bits), this.unsigned)
  }

  /** `other` is a Long or an integer, as in the comparisons and `multiply`. */
  add(other) {
    return new Long(this.value + valueOf(other), this.unsigned)
  }

  multiply(other) {
    return new Long(this.value * valueOf(other), this.unsigned)
  }

  lessThanOrEqual(other) {
    return this.value <= valueOf(other)
  }

  greaterThanOrEqual(other) {
    return this.value >= valueOf(other)
  }

  toNumber() {
    return Number(this.value)
  }

  toString(radix) {
    return this.value.toString(radix)
  }

  /** The eight bytes, the highest first. */
  toBytesBE() {
    return Array.from({ length: 8 }, (_none, index) => Number((this.value >> BigInt(56 - 8 * index)) & 255n))
  }
}

function valueOf(other) {
  return Long.isLong(other) ? other.value : BigInt(other)
}
