/** Modules in real plugins over a real socket: when each callback runs, and what reaches the peer. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { MemoryStore, errors, makePaymentChannelPlugin } from '../../src/node.js'
import type { LedgerPlugin, PluginContext, PluginOptions } from '../../src/node.js'
import type { AnyModule } from '../../src/plugin/module.js'

const running: LedgerPlugin[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map(plugin => plugin.disconnect()))
})

/** A module that notes which callbacks ran, and leaves the balance unsecured. */
function noting(side: string, calls: string[], callbacks: Partial<AnyModule> = {}): AnyModule {
  const note = (callback: string) => () => { calls.push(`${side} ${callback}`) }
  return {
    connect: note('connect'),
    disconnect: note('disconnect'),
    getAccount: () => `test.module.${side}`,
    getPeerAccount: () => `test.module.${side === 'client' ? 'server' : 'client'}`,
    getInfo: () => { calls.push(`${side} getInfo`); return { prefix: 'test.module.', connectors: [] } },
    handleIncomingPrepare: note('handleIncomingPrepare'),
    createOutgoingClaim: (_ctx, balance) => { calls.push(`${side} createOutgoingClaim ${balance}`); return { balance } },
    handleIncomingClaim: (_ctx, claim) => { calls.push(`${side} handleIncomingClaim ${JSON.stringify(claim)}`) },
    ...callbacks
  }
}

/** Without a token, the modules have to supply it. */
async function startTwo(serverModule: AnyModule, clientModule: AnyModule, token: string | null = 'secret') {
  const start = async (module: AnyModule, options: PluginOptions) => {
    const plugin = new (makePaymentChannelPlugin(module))({ ...options, maxBalance: '1000', store: new MemoryStore() })
    running.push(plugin)
    await plugin.connect()
    return plugin
  }
  const server = await start(serverModule, { listener: { port: 0 }, ...(token === null ? {} : { incomingSecret: token }) })
  const credentials = token === null ? '' : `:${token}@`
  const client = await start(clientModule, { server: `btp+ws://${credentials}localhost:${server.port}` })
  return { server, client }
}

async function pay(from: LedgerPlugin, to: LedgerPlugin, amount: string): Promise<void> {
  const preimage = randomBytes(32)
  const id = randomUUID()
  const prepared = new Promise(resolve => to.once('incoming_prepare', resolve))
  await from.sendTransfer({
    id,
    to: from.getPeerAccount(),
    amount,
    executionCondition: createHash('sha256').update(preimage).digest('base64url'),
    expiresAt: new Date(Date.now() + 10_000).toISOString()
  })
  await prepared
  await to.fulfillCondition(id, preimage.toString('base64url'))
}

describe('a module in a plugin', () => {
  it('H40: connects first, judges the prepare, makes the claim, and takes it; disconnects at the end', async () => {
    const calls: string[] = []
    const { server, client } = await startTwo(noting('server', calls), noting('client', calls))
    await pay(client, server, '5')
    await pay(client, server, '7')
    await client.disconnect()
    await server.disconnect()
    expect(calls.filter(call => call.startsWith('server'))[0]).toBe('server connect')
    expect(calls.filter(call => call.startsWith('client'))[0]).toBe('client connect')
    expect(calls.filter(call => !/getInfo|server connect|client connect/.test(call))).toEqual([
      'server handleIncomingPrepare',
      'client createOutgoingClaim 5',
      'server handleIncomingClaim {"balance":"5"}',
      'server handleIncomingPrepare',
      'client createOutgoingClaim 12',
      'server handleIncomingClaim {"balance":"12"}',
      'client disconnect',
      'server disconnect'
    ])
  })

  it('what handleIncomingPrepare throws is the answer of the peer, and nothing is kept', async () => {
    const refusing = { handleIncomingPrepare() { throw new errors.NotAcceptedError('too much is unsecured') } }
    const { server, client } = await startTwo(noting('server', [], refusing), noting('client', []))
    const refusal = pay(client, server, '5')
    await expect(refusal).rejects.toThrow(errors.NotAcceptedError)
    await expect(refusal).rejects.toThrow('too much is unsecured')
    expect([await client.getBalance(), client.inFlight(), server.inFlight()]).toEqual(['0', [], []])
  })

  it('C39: a claim that fails on either side leaves the transfer fulfilled', async () => {
    const failing = {
      createOutgoingClaim() { throw new Error('no channel') },
      handleIncomingClaim() { throw new Error('bad claim') }
    }
    const { server, client } = await startTwo(noting('server', [], failing), noting('client', [], failing))
    await pay(client, server, '5')
    await pay(server, client, '2')
    expect([await client.getBalance(), await server.getBalance()]).toEqual(['-3', '3'])
  })

  it('C38: modules call each other, also while one of them is still connecting', async () => {
    const contexts: PluginContext[] = []
    const greeting = {
      constructor(ctx: PluginContext) {
        contexts.push(ctx)
        ctx.rpc.addMethod('greet', name => ({ greeting: `hello ${JSON.stringify(name)}` }))
      }
    }
    let greeted: unknown
    const { server, client } = await startTwo(
      noting('server', [], greeting),
      noting('client', [], { ...greeting, async connect(ctx) { greeted = await ctx.rpc.call('greet', 'test.module.', 'server') } })
    )
    expect(greeted).toEqual({ greeting: 'hello "server"' })
    expect(await contexts[0]?.rpc.call('greet', 'test.module.', 'client')).toEqual({ greeting: 'hello "client"' })
    const unknown = contexts[1]?.rpc.call('unknown', 'test.module.', null)
    await expect(unknown).rejects.toThrow(errors.NotAcceptedError)
    await expect(unknown).rejects.toThrow('unknown')
    expect([server.isConnected(), client.isConnected()]).toEqual([true, true])
  })

  it('getAuthToken supplies the token where neither the URI nor incomingSecret does', async () => {
    const token = { getAuthToken: () => 'from the module' }
    const { client } = await startTwo(noting('server', [], token), noting('client', [], token), null)
    expect(client.isConnected()).toBe(true)
    const other = { getAuthToken: () => 'another' }
    await expect(startTwo(noting('server', [], token), noting('client', [], other), null)).rejects.toMatchObject({ name: 'NotAcceptedError' })
    const { client: explicit } = await startTwo(noting('server', [], token), noting('client', [], other))
    expect(explicit.isConnected()).toBe(true)
  })

  it('H41: the class has the name of the module, and can be subclassed', () => {
    const PluginXrpPaychan = makePaymentChannelPlugin({ ...noting('server', []), pluginName: 'xrp-paychan' })
    expect(PluginXrpPaychan.name).toBe('PluginXrpPaychan')
    class Loud extends PluginXrpPaychan {
      shout(): string { return 'here' }
    }
    const loud = new Loud({ server: 'btp+ws://:x@localhost', maxBalance: '1', store: new MemoryStore() })
    expect(loud.shout()).toBe('here')
    expect(loud).toBeInstanceOf(PluginXrpPaychan)
    expect(() => loud.getInfo()).toThrow()
  })

  it("the module's constructor throws what `new` throws", () => {
    const Picky = makePaymentChannelPlugin({
      ...noting('server', []),
      constructor(_ctx: PluginContext, options: { maxUnsecured?: string }) {
        if (options.maxUnsecured === undefined) throw new errors.InvalidFieldsError('maxUnsecured is missing')
      }
    })
    expect(() => new Picky({ server: 'btp+ws://:x@localhost', maxBalance: '1', store: new MemoryStore() })).toThrow('maxUnsecured is missing')
  })
})
