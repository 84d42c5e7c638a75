/**
 * What is asked of values that came as JSON, or that a host gave.
 */
import { InvalidFieldsError } from './errors.js'

/** Whether a value is an object as JSON has them: no array, not null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @throws InvalidFieldsError naming `field`, for what is no object as JSON has them */
export function checkObject(value: unknown, field: string): Record<string, unknown> {
  if (!isObject(value)) throw new InvalidFieldsError(`${field} must be an object`)
  return value
}

/** What a text says, none of it believed yet; `undefined` where it is no JSON. */
export function parseIfJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A value as JSON has it, and out of its maker's reach. @throws InvalidFieldsError naming `field`, for what has no JSON */
export function jsonCopyOf<T>(value: T, field: string): T {
  try {
    return JSON.parse(JSON.stringify(value)) as T
  } catch (cause) {
    throw new InvalidFieldsError(`${field} must be JSON`, { cause })
  }
}
