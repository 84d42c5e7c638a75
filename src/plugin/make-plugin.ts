/**
 * Makes the plugin classes: the plain one, and those of payment channel modules. Imports core.
 */
import type { Environment } from './environment.js'
import { classNameOf, validateModule } from './module.js'
import type { AnyModule, PaymentChannelModule } from './module.js'
import type { PluginOptions, PluginServices } from './options.js'
import { LedgerPlugin } from './plugin.js'

/** The plugin's options with a module's. Where those may have any name, a value of type PluginOptions will do too. */
type OptionsWith<Options extends object> = PluginOptions & Options | (string extends keyof Options ? PluginOptions : never)

/** A class that a host can name in its configuration, construct and subclass. `Options` are the module's own, beside the plugin's. */
export interface PluginClass<Options extends object = object> {
  /** @throws InvalidFieldsError naming the option; what the module's constructor throws */
  new (options: OptionsWith<Options>, services?: PluginServices): LedgerPlugin
  /** Each has all of LedgerPlugin's methods. */
  readonly prototype: LedgerPlugin
  /** By this hosts know that the class has LPI v2 (RFC 24). */
  readonly version: 2
}

/** Makes the class whose instances settle with the given module, or not at all without one. */
function classFor<Options extends object>(environment: Environment, module?: AnyModule): PluginClass<Options> {
  const made = class extends LedgerPlugin {
    constructor(options: OptionsWith<Options>, services?: PluginServices) {
      super(environment, module, options, services)
    }
  }
  Object.defineProperty(made, 'name', { value: classNameOf(module?.pluginName) })
  return made
}

/** What an entry exports, on its platform. */
export function pluginsFor(environment: Environment) {
  const makePaymentChannelPlugin = <State extends object, Options extends object>(module: PaymentChannelModule<State, Options>): PluginClass<Options> => {
    validateModule(module)
    return classFor<Options>(environment, module)
  }
  return { PaychanPlugin: classFor<object>(environment), makePaymentChannelPlugin }
}
