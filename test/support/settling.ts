/** Two hosts of LPI v2 that settle: without a module, or each with one of a test's own. Imports src. */
import type { AnyModule } from '../../src/plugin/module.js'
import type { MoneyHandler } from '../../src/plugin/lpi.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import { codeOf, fulfillOf, ilpPayment } from './ilp.js'
import { Lab, PREFIX, settle } from './lab.js'
import type { LabOptions, Side } from './lab.js'

/** A module whose claims are sums that nobody signs, but for what a test has it do otherwise. */
export function plainModule(name: 'alice' | 'bob', otherwise: Partial<AnyModule> = {}): AnyModule {
  return {
    connect: () => undefined,
    disconnect: () => undefined,
    getAccount: () => PREFIX + name,
    getPeerAccount: () => PREFIX + (name === 'alice' ? 'bob' : 'alice'),
    getInfo: () => ({ prefix: PREFIX }),
    handleIncomingPrepare: () => undefined,
    createOutgoingClaim: (_ctx, sum) => ({ sum }),
    handleIncomingClaim: (_ctx, claim) => sumOf(claim),
    ...otherwise
  }
}

export function sumOf(claim: unknown): string {
  return (claim as { sum: string }).sum
}

/** Under a host of LPI v2, and believing its peer. */
const TRUSTING = { services: {}, options: { trustSettlements: true } }

/** Alice settles; `told` is what bob's host heard. */
export async function openSettling(options: LabOptions = {}, handler?: MoneyHandler): Promise<{ lab: Lab; told: string[] }> {
  const told: string[] = []
  const lab = new Lab({ alice: TRUSTING, bob: TRUSTING, ...options })
  lab.bob.onStart = plugin => {
    plugin.registerDataHandler(async packet => fulfillOf(packet))
    plugin.registerMoneyHandler(async amount => {
      told.push(amount)
      await handler?.(amount)
    })
  }
  await lab.bob.start()
  await lab.alice.start()
  return { lab, told }
}

/** What is durable: settled out, settled in. */
export async function settled(side: Side): Promise<[string, string]> {
  return [await side.disk.get(':paychan:settled:out') ?? '0', await side.disk.get(':paychan:settled:in') ?? '0']
}

/** Alice owes; both sides have a module, whose books a test keeps. */
export async function openWithModules<B extends { module(name: 'alice' | 'bob'): AnyModule }>(
  books: { alice: B; bob: B }, ofAlice: Partial<PluginOptions> = {}, ofBob: Partial<PluginOptions> = {}
) {
  const { lab, told } = await openSettling({
    alice: { services: {}, module: books.alice.module('alice'), options: ofAlice },
    bob: { services: {}, module: books.bob.module('bob'), options: ofBob }
  })
  let payments = 0
  const pay = async (amount = '10'): Promise<string> => {
    const answer = await lab.alice.plugin.sendData(ilpPayment(`payment ${payments++}`, lab.clock.now() + 10_000, amount).prepare)
    await settle()
    return codeOf(answer)
  }
  const sums = async () => [await settled(lab.alice), await settled(lab.bob)]
  return { lab, told, books, pay, sums }
}
