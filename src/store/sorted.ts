/**
 * Searching in sorted arrays of keys, for the stores that keep their order themselves. Imports nothing.
 */

/** The first position, `low` or later, whose element is not less than `key`; from `low` on the array is sorted. */
export function lowerBound(sorted: readonly string[], key: string, low = 0): number {
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? '') < key) low = middle + 1
    else high = middle
  }
  return low
}
