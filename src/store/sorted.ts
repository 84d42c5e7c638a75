/**
 * Searching in sorted arrays of keys, for the stores that keep their order themselves. Imports nothing.
 */

/** The first position in a sorted array whose element is not less than `key`. */
export function lowerBound(sorted: readonly string[], key: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? '') < key) low = middle + 1
    else high = middle
  }
  return low
}
