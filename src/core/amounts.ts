/**
 * Amounts, sums and limits: integers in base units, as decimal strings outside and bigints inside. Imports core.
 */
import { BigNumber } from 'bignumber.js'
import { InvalidFieldsError } from './errors.js'

export type Amount = bigint

/** What a balance may be: an integer, or the number `Infinity` or `-Infinity`. */
export type Limit = Amount | number

/** One more than the largest amount that a transfer can carry (RFC 23, ASN.1 UInt64). */
const AMOUNT_LIMIT = 2n ** 64n

const AMOUNT = /^(0|[1-9][0-9]*)(\.0+)?$/
const SIGNED = /^-?[0-9]+$/
const SUM = /^-?[0-9]+(\.[0-9]+)?(e\+[0-9]{1,3})?$/

/**
 * Reads a transfer's amount: a decimal integer string, 0 <= amount < 2^64. `5.0` is read as `5`, as the old package did.
 * @throws InvalidFieldsError naming `field`, for anything else
 */
export function parseAmount(value: unknown, field = 'amount'): Amount {
  if (typeof value !== 'string' || value.length > 40 || !AMOUNT.test(value)) {
    throw new InvalidFieldsError(`${field} must be an integer string, 0 or more`)
  }
  const point = value.indexOf('.')
  const amount = BigInt(point === -1 ? value : value.slice(0, point))
  if (amount >= AMOUNT_LIMIT) throw new InvalidFieldsError(`${field} must be less than 2^64`)
  return amount
}

/**
 * Reads a balance limit: an integer string of either sign, or `Infinity` or `-Infinity`.
 * @throws InvalidFieldsError naming `field`, for anything else
 */
export function parseLimit(value: unknown, field: string): Limit {
  if (value === 'Infinity' || value === '-Infinity') return Number(value)
  if (typeof value !== 'string' || value.length > 100 || !SIGNED.test(value)) {
    throw new InvalidFieldsError(`${field} must be an integer string, 'Infinity' or '-Infinity'`)
  }
  return BigInt(value)
}

/**
 * Reads a sum as a store holds it. The old package wrote large sums with an exponent (`1e+21`), which is read too.
 * @throws InvalidFieldsError naming `field`, for what is no integer
 */
export function parseSum(value: string, field: string): Amount {
  const sum = SUM.test(value) ? new BigNumber(value) : undefined
  if (sum?.isInteger() !== true) throw new InvalidFieldsError(`${field} is no integer`)
  return BigInt(sum.toFixed())
}

/** Turns a balance around to the peer's point of view. "0" stays "0" (H21). */
export function negate(value: string): string {
  return formatAmount(-parseLimit(value, 'balance'))
}

/** The decimal string of an amount, sum or limit; never with an exponent, never `-0`. */
export function formatAmount(amount: Limit): string {
  return amount.toString()
}
