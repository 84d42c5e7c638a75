/**
 * The log port. Never given a secret; a peer's text goes through `printable` first. Imports nothing.
 */
export interface Logger {
  /** Each packet, in short. */
  trace(message: string): void
  /** What helps to find out why something happened. */
  debug(message: string): void
  /** What an operator may want to know, though nothing is wrong. */
  info(message: string): void
  /** What is wrong, and mends itself or costs little. */
  warn(message: string): void
  /** What an operator must look at. */
  error(message: string): void
  /** Whether `trace` and `debug` go anywhere: lets a hot path skip building a message. Absent means yes. */
  readonly enabled?: boolean
}

/** The levels, from the least to the most urgent. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** A host's own logger: any of the five levels, as methods. What it lacks is dropped. */
export type HostLog = { readonly [level in LogLevel]?: ((message: string) => void) | undefined }
