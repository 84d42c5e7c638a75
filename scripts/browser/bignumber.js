/**
 * What our sources ask of bignumber.js: they read sums with it as old stores hold them, decimal digits with or without an exponent. Nothing
 * is computed with it. The browser builds have this in its place, which brings arithmetic in any base along.
 */
export class BigNumber {
  #integer
  #isInteger

  constructor(text) {
    const [, whole, fraction = '', exponent = '0'] = /^(-?[0-9]+)(?:\.([0-9]+))?(?:e\+([0-9]+))?$/.exec(text)
    const places = Number(exponent)
    this.#integer = BigInt(whole + fraction.slice(0, places).padEnd(places, '0'))
    this.#isInteger = /^0*$/.test(fraction.slice(places))
  }

  isInteger() {
    return this.#isInteger
  }

  /** Of an integer. */
  toFixed() {
    return this.#integer.toString()
  }
}
