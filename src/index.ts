/**
 * The universal entry: all that a browser needs.
 */
export * as errors from './core/errors.js'

/** The plugin class. */
export class PaychanPlugin {
  isConnected(): boolean {
    return false
  }
}

export default PaychanPlugin
