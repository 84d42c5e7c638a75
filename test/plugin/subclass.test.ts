import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, expectTypeOf, it } from 'vitest'
import DefaultPlugin, { MemoryStore, PaychanPlugin, errors, makePaymentChannelPlugin } from '../../src/node.js'
import type { LedgerInfo, LedgerPlugin, PluginOptions } from '../../src/node.js'
import * as browserEntry from '../../src/index.js'
import { compile } from '../support/compiled.js'
import { PREFIX, afterTest, clientOptions, keep, makeServer, pay, serverOptions } from '../support/hosts.js'

const module = {
  connect: () => undefined,
  disconnect: () => undefined,
  getAccount: () => `${PREFIX}me`,
  getPeerAccount: () => `${PREFIX}you`,
  getInfo: () => ({ prefix: PREFIX }),
  handleIncomingPrepare: () => undefined,
  createOutgoingClaim: () => null,
  handleIncomingClaim: () => undefined
}

describe('the classes', () => {
  it('H41: have names', () => {
    expect(PaychanPlugin.name).toBe('PaychanPlugin')
    expect(DefaultPlugin).toBe(PaychanPlugin)
    expect(makePaymentChannelPlugin({ ...module, pluginName: 'xrp-paychan' }).name).toBe('PluginXrpPaychan')
    expect(makePaymentChannelPlugin(module).name).toBe('PaychanPlugin')
    expect(browserEntry.default.name).toBe('PaychanPlugin')
  })

  it('H41: can be subclassed, with the wallet in full', async () => {
    class Wallet extends PaychanPlugin {
      readonly label: string
      constructor(options: PluginOptions & { label: string }) {
        expect(new.target).toBe(Wallet)
        super(options)
        this.label = options.label
      }

      override getInfo(): LedgerInfo {
        return { ...super.getInfo(), currencyCode: this.label }
      }

      paid(): Promise<string> {
        return this.getBalance()
      }
    }
    const server = makeServer()
    await server.connect()
    const wallet = keep(new Wallet({ ...clientOptions(server, { store: new MemoryStore(), maxBalance: '100' }), label: 'mine' }))
    expect([wallet instanceof PaychanPlugin, wallet instanceof Wallet, Wallet.name, wallet.constructor.name]).toEqual([true, true, 'Wallet', 'Wallet'])
    await wallet.connect()
    await pay(wallet, server, '8')
    expect([await wallet.paid(), wallet.getInfo().currencyCode]).toEqual(['-8', 'mine'])
  })

  it("H41: a module's class can be subclassed too, and each class keeps to its module", () => {
    const [One, Two] = [makePaymentChannelPlugin({ ...module, pluginName: 'one' }), makePaymentChannelPlugin({ ...module, pluginName: 'two' })]
    class Special extends One {}
    const plugin = new Special(serverOptions())
    expect([plugin instanceof One, plugin instanceof Two, plugin instanceof PaychanPlugin, Special.name]).toEqual([true, false, false, 'Special'])
  })

  it('H41: methods can be taken off the object and replaced on it, as hosts that instrument do', async () => {
    const server = makeServer()
    await server.connect()
    const { getInfo } = server
    expect(getInfo.call(server)).toMatchObject({ prefix: PREFIX })
    let calls = 0
    server.getBalance = async () => { calls++; return '1' }
    expect([await server.getBalance(), calls]).toEqual(['1', 1])
  })

  it('are typed: a module author gets the types of state and options, and a host those of the options', () => {
    const Plugin = makePaymentChannelPlugin<{ count: number }, { secretKey: string }>({
      ...module,
      connect(ctx, options) {
        expectTypeOf(ctx.state.count).toEqualTypeOf<number>()
        expectTypeOf(options.secretKey).toEqualTypeOf<string>()
      }
    })
    expectTypeOf<InstanceType<typeof Plugin>>().toEqualTypeOf<LedgerPlugin>()
    // @ts-expect-error -- the module's own option is missing
    expect(() => new Plugin({ server: 'btp+ws://:x@localhost' })).toThrow(errors.InvalidFieldsError)
    // @ts-expect-error -- ports are numbers
    expect(() => new PaychanPlugin({ listener: { port: '5' } })).toThrow(errors.InvalidFieldsError)
  })

  it('H42: errors are classes, told apart by class, name and code', () => {
    const error = new errors.InsufficientBalanceError('too much')
    expect(error).toBeInstanceOf(Error)
    expect(error).toBeInstanceOf(errors.PaychanError)
    expect([error.name, error.code, error.message]).toEqual(['InsufficientBalanceError', 'F08', 'too much'])
    expect(error).not.toBeInstanceOf(errors.NotAcceptedError)
  })
})

describe('a process', () => {
  it('H26: ends by itself once its plugins have disconnected, with payments and time-outs behind them', async () => {
    const folders = ['btp', 'core', 'ledger', 'platform', 'plugin', 'store', 'transport']
    const script = `
      import { createHash, randomBytes, randomUUID } from 'node:crypto'
      import { pluginsFor } from './plugin/make-plugin.js'
      import { systemClock } from './platform/system-clock.js'
      import { systemRandom } from './platform/system-random.js'
      import { debugLogger, hostLogger } from './platform/debug-log.js'
      import { MemoryStore } from './store/memory.js'
      import { BtpListener } from './transport/listener.js'
      import { dialFromNode } from './transport/node-socket.js'
      const { PaychanPlugin } = pluginsFor({
        clock: systemClock, random: systemRandom, dial: dialFromNode, debugLogger, hostLogger,
        memoryStore: () => new MemoryStore(), createListener: options => new BtpListener(options)
      })
      const server = new PaychanPlugin({ listener: { port: 0 }, prefix: 'test.a.', info: {}, incomingSecret: 'x', maxBalance: '100', store: new MemoryStore() })
      await server.connect()
      const client = new PaychanPlugin({ server: 'btp+ws://:x@127.0.0.1:' + server.port, maxBalance: '100', store: new MemoryStore() })
      await client.connect()
      const preimage = randomBytes(32)
      const transfer = () => ({
        id: randomUUID(), to: 'test.a.server', amount: '5', expiresAt: new Date(Date.now() + 3600000).toISOString(),
        executionCondition: createHash('sha256').update(preimage).digest('base64url')
      })
      server.once('incoming_prepare', ({ id }) => { void server.fulfillCondition(id, preimage.toString('base64url')) })
      const done = new Promise(resolve => client.once('outgoing_fulfill', resolve))
      await client.sendTransfer(transfer())
      await done
      await client.sendTransfer(transfer())
      const lost = new PaychanPlugin({ server: 'btp+ws://:x@127.0.0.1:1' })
      await lost.connect({ timeout: 20 }).catch(error => { console.log(error.name) })
      await client.disconnect()
      await server.disconnect()
      console.log(await client.getBalance())
    `
    const compiled = await compile(folders, { dependencies: true, files: { 'main.js': script } })
    afterTest(() => compiled.remove())
    // Without an end of its own it is killed, and the call rejects.
    const { stdout } = await promisify(execFile)(process.execPath, ['main.js'], { cwd: compiled.path, timeout: 15_000 })
    expect(stdout).toBe('UnreachableError\n-5\n')
  })
})
