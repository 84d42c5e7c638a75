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

/** The most digits before the point that an amount may have. */
const MOST_DIGITS = 15

/** What somebody typed as base units; `undefined` for what is no amount above zero. */
export function parseAmount(text: string): string | undefined {
  const [, whole = '', fraction = ''] = /^\s*(\d+)(?:\.(\d{1,2}))?\s*$/.exec(text) ?? []
  if (whole === '' || whole.length > MOST_DIGITS) return undefined
  const units = BigInt(whole + fraction.padEnd(SCALE, '0'))
  return units > 0n ? units.toString() : undefined
}

/** What to do about what somebody typed and `parseAmount` does not take, in a few words. */
export function amountHint(text: string): string {
  const typed = text.trim()
  // A comma is a point in half of the world: nobody's money is guessed at.
  if (/^\d{1,6},\d{1,2}$/.test(typed)) return `With a point: ${typed.replace(',', '.')}`
  if (/^\d{1,3}(,\d{3})+(\.\d*)?$/.test(typed)) return 'Without the commas'
  if (/^\d*\.\d{3,}$/.test(typed)) return 'Two decimals at most'
  if (/^[-\u2212]\d+([.,]\d+)?$|^0+(\.0*)?$/.test(typed)) return 'An amount above zero'
  return /^\d+(\.\d*)?$/.test(typed) && typed.length > MOST_DIGITS ? 'That is too much' : 'A number, such as 2.50'
}
