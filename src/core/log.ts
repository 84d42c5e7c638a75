/**
 * The log port. Never given a secret; a peer's text goes through `printable` first. Imports nothing.
 */
export interface Logger {
  trace(message: string): void
  debug(message: string): void
  info(message: string): void
  warn(message: string): void
  error(message: string): void
  /** Whether `trace` and `debug` go anywhere: lets a hot path skip building a message. Absent means yes. */
  readonly enabled?: boolean
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** A host's own logger: any of the five levels, as methods. What it lacks is dropped. */
export type HostLog = { readonly [level in LogLevel]?: ((message: string) => void) | undefined }
