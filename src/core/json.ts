/**
 * What is asked of values that came as JSON, or that a host gave. Imports nothing.
 */

/** Whether a value is an object as JSON has them: no array, not null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
