/** A log that keeps its lines, for tests that look at what was reported. */
import type { Logger } from '../../src/core/log.js'

export class MemoryLog implements Logger {
  /** `<level> <message>`, in order. */
  readonly lines: string[] = []

  trace(message: string): void { this.lines.push(`trace ${message}`) }
  debug(message: string): void { this.lines.push(`debug ${message}`) }
  info(message: string): void { this.lines.push(`info ${message}`) }
  warn(message: string): void { this.lines.push(`warn ${message}`) }
  error(message: string): void { this.lines.push(`error ${message}`) }

  /** The lines of one level. */
  at(level: 'trace' | 'debug' | 'info' | 'warn' | 'error'): string[] {
    return this.lines.filter(line => line.startsWith(`${level} `))
  }
}
