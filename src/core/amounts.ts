/**
 * Amounts, sums and limits: integers in base units, as decimal strings outside and BigNumbers inside. Imports core.
 */
import { BigNumber } from 'bignumber.js'
import { InvalidFieldsError } from './errors.js'

/** Own settings, so that a host which configures bignumber.js for itself does not change our arithmetic. */
const Big = BigNumber.clone({ EXPONENTIAL_AT: 1e9, DECIMAL_PLACES: 0 })

export type Amount = BigNumber

export const ZERO: Amount = new Big(0)

/** One more than the largest amount that a transfer can carry: 2^64 (RFC 23, ASN.1 UInt64). */
const AMOUNT_LIMIT: Amount = new Big('18446744073709551616')

const AMOUNT = /^(0|[1-9][0-9]*)(\.0+)?$/
const SIGNED = /^-?[0-9]+$/
const SUM = /^-?[0-9]+(\.[0-9]+)?(e\+[0-9]{1,3})?$/

/**
 * Reads a transfer's amount: a decimal integer string, 0 <= amount < 2^64. `5.0` is read as `5`, as the old package did.
 * @throws InvalidFieldsError naming `field`, for anything else
 */
export function parseAmount(value: unknown, field = 'amount'): Amount {
  if (typeof value !== 'string' || value.length > 40 || !AMOUNT.test(value)) {
    throw new InvalidFieldsError(`${field} must be a decimal integer string, 0 or more`)
  }
  // Of so few digits it is exact as a number, which is read faster, and far below the limit.
  if (value.length <= 15) return new Big(Number(value))
  const amount = new Big(value)
  if (amount.gte(AMOUNT_LIMIT)) throw new InvalidFieldsError(`${field} must be less than 2^64`)
  return amount
}

/**
 * Reads a balance limit: an integer string of either sign, or `Infinity` or `-Infinity`.
 * @throws InvalidFieldsError naming `field`, for anything else
 */
export function parseLimit(value: unknown, field: string): Amount {
  if (value === 'Infinity' || value === '-Infinity') return new Big(value)
  if (typeof value !== 'string' || value.length > 100 || !SIGNED.test(value)) {
    throw new InvalidFieldsError(`${field} must be an integer string, 'Infinity' or '-Infinity'`)
  }
  return new Big(value)
}

/**
 * Reads a sum as a store holds it. The old package wrote large sums with an exponent (`1e+21`), which is read too.
 * @throws InvalidFieldsError naming `field`, for what is no integer
 */
export function parseSum(value: string, field: string): Amount {
  const sum = SUM.test(value) ? new Big(value) : undefined
  if (sum?.isInteger() !== true) throw new InvalidFieldsError(`${field} is no integer`)
  return sum
}

/** Turns a balance around to the peer's point of view. "0" stays "0" (H21). */
export function negate(value: string): string {
  return formatAmount(parseLimit(value, 'balance').negated())
}

/** The decimal string of an amount, sum or limit; never with an exponent, never `-0`. */
export function formatAmount(amount: Amount): string {
  return amount.isZero() ? '0' : amount.toFixed()
}
