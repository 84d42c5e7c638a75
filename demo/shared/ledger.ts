/**
 * What the ledger of the demo is, for both of its sides.
 */

/** The code that ISO 4217 keeps for tests. */
export const CURRENCY = 'XTS'

/** One base unit is a hundredth. */
export const SCALE = 2

/** How far the balance of a wallet may go either way, in base units. */
export const LIMIT = '100000'

/** An amount of base units as people read it, `-1,234.50`, with a minus sign that is as wide as a digit. */
export function formatAmount(amount: string | bigint): string {
  const units = BigInt(amount)
  const digits = (units < 0n ? -units : units).toString().padStart(SCALE + 1, '0')
  const whole = digits.slice(0, -SCALE).replace(/\B(?=(\d{3})+$)/g, ',')
  return `${units < 0n ? '\u2212' : ''}${whole}.${digits.slice(-SCALE)}`
}

/** What somebody typed as base units; `undefined` for what is no amount above zero. */
export function parseAmount(text: string): string | undefined {
  const [, whole = '', fraction = ''] = /^\s*(\d{1,15})(?:\.(\d{1,2}))?\s*$/.exec(text) ?? []
  if (whole === '') return undefined
  const units = BigInt(whole + fraction.padEnd(SCALE, '0'))
  return units > 0n ? units.toString() : undefined
}
