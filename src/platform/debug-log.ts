/**
 * Where log lines go: to the `debug` package, or to the logger that a host hands in. Imports core.
 */
import createDebug from 'debug'
import type { HostLog, Logger, LogLevel } from '../core/log.js'

/** A logger over the `debug` package: shown when `DEBUG` (in browsers `localStorage.debug`) matches the namespace. */
export function debugLogger(namespace: string): Logger {
  const debug = createDebug(namespace)
  // The text is an argument, not the format: a `%` in it has no meaning.
  return {
    trace: message => { debug('%s', message) },
    debug: message => { debug('%s', message) },
    info: message => { debug('%s', message) },
    warn: message => { debug('warning: %s', message) },
    error: message => { debug('error: %s', message) },
    // Asked each time, since `debug.enable` may be called at any moment; before the first time it is undefined, against its type.
    get enabled() { return (debug.enabled as boolean | undefined) === true }
  }
}

/**
 * Adapts a host's logger (LPI v2's `log`, `console`, any object with some of the five levels). One that throws harms nothing.
 */
export function hostLogger(log: HostLog): Logger {
  const write = (level: LogLevel, message: string): void => {
    try {
      log[level]?.(message)
    } catch {
      // There is nowhere left to report this to.
    }
  }
  return {
    trace: message => { write('trace', message) },
    debug: message => { write('debug', message) },
    info: message => { write('info', message) },
    warn: message => { write('warn', message) },
    error: message => { write('error', message) },
    get enabled() { return typeof log.trace === 'function' || typeof log.debug === 'function' }
  }
}
