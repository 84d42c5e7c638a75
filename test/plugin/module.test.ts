/** The contract of payment channel modules: what is accepted as one, and how it is called. */
import { describe, expect, expectTypeOf, it, vi } from 'vitest'
import type { JsonValue } from '../../src/btp/protocol-data.js'
import { InvalidFieldsError, NotAcceptedError, UnreachableError } from '../../src/core/errors.js'
import type { IncomingTransfer, LedgerInfo } from '../../src/plugin/lpi.js'
import { ModuleRunner, classNameOf, logNameOf, validateModule } from '../../src/plugin/module.js'
import type { AnyModule, PaymentChannelModule, PluginContext } from '../../src/plugin/module.js'
import { MemoryLog } from '../support/memory-log.js'
import { VirtualClock } from '../support/virtual-clock.js'

const TRANSFER: IncomingTransfer = {
  id: '94adc29e-26cd-471b-987e-8d41e8773864',
  amount: '5',
  executionCondition: '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
  expiresAt: '2018-01-01T00:00:10.000Z',
  from: 'test.peer',
  to: 'test.own',
  ledger: 'test.'
}

const PLAIN: AnyModule = {
  connect() {},
  disconnect() {},
  getAccount: () => 'test.own',
  getPeerAccount: () => 'test.peer',
  getInfo: () => ({ prefix: 'test.', currencyScale: 9 }),
  handleIncomingPrepare() {},
  createOutgoingClaim() {},
  handleIncomingClaim() {}
}

function run(callbacks: Partial<AnyModule>) {
  const clock = new VirtualClock()
  const log = new MemoryLog()
  const module = { ...PLAIN, ...callbacks }
  validateModule(module)
  const runner = new ModuleRunner({ module, context: { state: {} } as PluginContext, clock, log })
  return { runner, clock, log }
}

describe('validateModule', () => {
  it('accepts an object literal, with and without the optional parts', () => {
    expect(() => { validateModule(PLAIN) }).not.toThrow()
    expect(() => { validateModule({ ...PLAIN, constructor() {}, getAuthToken: () => 'x', pluginName: 'xrp-paychan' }) }).not.toThrow()
    expect(() => { validateModule(Object.assign(Object.create(null), PLAIN)) }).not.toThrow()
  })

  it.each([
    'connect', 'disconnect', 'getAccount', 'getPeerAccount', 'getInfo', 'handleIncomingPrepare', 'createOutgoingClaim', 'handleIncomingClaim'
  ])('names %s when it is missing or no function', name => {
    for (const value of [undefined, null, 'text', {}]) {
      const check = () => { validateModule({ ...PLAIN, [name]: value }) }
      expect(check).toThrow(InvalidFieldsError)
      expect(check).toThrow(`the module's ${name} must be a function`)
    }
  })

  it('names an optional callback that is no function', () => {
    expect(() => { validateModule({ ...PLAIN, getAuthToken: 'token' }) }).toThrow('getAuthToken')
    expect(() => { validateModule({ ...PLAIN, constructor: 'x' }) }).toThrow('constructor')
  })

  it.each([undefined, null, 'module', () => PLAIN])('refuses %s, which is no object', module => {
    expect(() => { validateModule(module) }).toThrow(InvalidFieldsError)
  })

  it.each(['', '-', 'a--b', 'a b', '__proto__', 'x\n', 7, null])('refuses the pluginName %j', pluginName => {
    expect(() => { validateModule({ ...PLAIN, pluginName }) }).toThrow('pluginName')
  })
})

describe('names', () => {
  it('H41: a pluginName names the class and the log', () => {
    expect(classNameOf('xrp-paychan')).toBe('PluginXrpPaychan')
    expect(classNameOf('ETHEREUM')).toBe('PluginEthereum')
    expect(logNameOf('xrp-paychan')).toBe('ilp-plugin-xrp-paychan')
    expect(logNameOf('Ethereum')).toBe('ilp-plugin-ethereum')
  })

  it('a module without one has the names of the plain plugin', () => {
    expect(classNameOf(undefined)).toBe('PaychanPlugin')
    expect(logNameOf(undefined)).toBe('ilp-plugin-virtual')
  })
})

describe('ModuleRunner', () => {
  it("calls a literal's own constructor with context and options, and passes on what it throws", () => {
    const seen: unknown[] = []
    const { runner } = run({ constructor(ctx: PluginContext, options: object) { seen.push(ctx.state, options) } })
    const options = { maxUnsecured: '5' }
    runner.construct(options)
    expect(seen).toEqual([{}, options])
    const failing = run({ constructor() { throw new InvalidFieldsError('maxUnsecured is missing') } })
    expect(() => { failing.runner.construct({}) }).toThrow('maxUnsecured is missing')
  })

  it('calls no inherited constructor, and lets the methods of a class instance use this', async () => {
    let instances = 0
    class CountingModule implements PaymentChannelModule {
      calls = 0
      constructor() { instances++ }
      connect(): void { this.calls++ }
      disconnect(): void { this.calls++ }
      getAccount(): string { return `test.${this.calls}` }
      getPeerAccount(): string { return 'test.peer' }
      getInfo(): LedgerInfo { return { prefix: 'test.' } }
      handleIncomingPrepare(): void {}
      createOutgoingClaim(): undefined { return undefined }
      handleIncomingClaim(): void {}
    }
    const module = new CountingModule()
    validateModule(module)
    const runner = new ModuleRunner({ module, context: { state: {} } as PluginContext, clock: new VirtualClock(), log: new MemoryLog() })
    runner.construct({})
    await runner.connect({})
    expect(instances).toBe(1)
    expect(runner.getAccount()).toBe('test.1')
  })

  it('calls the constructor callback of a module that another object inherits from', () => {
    const seen: unknown[] = []
    const base = { ...PLAIN, constructor(_ctx: unknown, options: unknown) { seen.push(options) } }
    const module = Object.create(base) as AnyModule
    new ModuleRunner({ module, context: { state: {} } as PluginContext, clock: new VirtualClock(), log: new MemoryLog() }).construct({ a: 1 })
    expect(seen).toEqual([{ a: 1 }])
  })

  it('H40: asks for no metadata before connect has finished', async () => {
    const asked: string[] = []
    const { runner } = run({
      connect: async () => { asked.push('connect') },
      getInfo: () => { asked.push('info'); return { prefix: 'test.' } },
      getAccount: () => { asked.push('account'); return 'test.own' }
    })
    for (const ask of [() => runner.getInfo(), () => runner.getAccount(), () => runner.getPeerAccount()]) {
      expect(ask).toThrow(UnreachableError)
    }
    expect(asked).toEqual([])
    await runner.connect({})
    expect(asked[0]).toBe('connect')
    expect(runner.getAccount()).toBe('test.own')
    await runner.disconnect()
    expect(runner.getInfo()).toEqual({ prefix: 'test.' })
  })

  it('a connect that failed leaves the metadata unknown', async () => {
    const { runner } = run({ connect: () => Promise.reject(new NotAcceptedError('no channel')) })
    await expect(runner.connect({})).rejects.toThrow('no channel')
    expect(runner.hasConnected).toBe(false)
    expect(() => runner.getInfo()).toThrow(UnreachableError)
  })

  it.each([
    ['getInfo', { getInfo: () => undefined as unknown as LedgerInfo }],
    ['getInfo', { getInfo: () => ({}) as LedgerInfo }],
    ['getInfo', { getInfo: () => Promise.resolve({ prefix: 'test.' }) as unknown as LedgerInfo }],
    ['getAccount', { getAccount: () => 'other.own' }],
    ['getAccount', { getAccount: () => 'test.' }],
    ['getPeerAccount', { getPeerAccount: () => undefined as unknown as string }]
  ])('connect refuses a module whose %s is wrong, and lets it go', async (name, callbacks) => {
    const disconnect = vi.fn()
    const { runner } = run({ ...callbacks, disconnect })
    await expect(runner.connect({})).rejects.toThrow(InvalidFieldsError)
    await expect(runner.connect({})).rejects.toThrow(name)
    expect(runner.hasConnected).toBe(false)
    expect(disconnect).toHaveBeenCalledTimes(2)
  })

  it('copies what getInfo returns, deep down', async () => {
    const info = { prefix: 'test.', connectors: ['test.a'] }
    const { runner } = run({ getInfo: () => info })
    await runner.connect({})
    runner.getInfo().connectors?.push('test.b')
    expect(info.connectors).toEqual(['test.a'])
  })

  it('a token that is no string is refused without being shown', () => {
    expect(run({}).runner.getAuthToken()).toBeUndefined()
    expect(run({ getAuthToken: () => 's3cret' }).runner.getAuthToken()).toBe('s3cret')
    expect(() => run({ getAuthToken: () => 12345 as unknown as string }).runner.getAuthToken()).toThrow(/^((?!12345).)*$/)
  })

  it('what handleIncomingPrepare throws, synchronously or not, rejects', async () => {
    const thrown = new NotAcceptedError('too much at risk')
    await expect(run({ handleIncomingPrepare() { throw thrown } }).runner.handleIncomingPrepare(TRANSFER)).rejects.toBe(thrown)
    await expect(run({ handleIncomingPrepare: () => Promise.reject(thrown) }).runner.handleIncomingPrepare(TRANSFER)).rejects.toBe(thrown)
  })

  describe('the 500 ms rule', () => {
    it('reports a callback that takes longer, without cutting it off', async () => {
      const { runner, clock, log } = run({
        createOutgoingClaim: () => new Promise(resolve => { clock.setTimer(800, () => { resolve('late') }) })
      })
      const claim = runner.createOutgoingClaim('5')
      await clock.advance(500)
      expect(log.lines).toEqual([])
      await clock.advance(1)
      expect(log.at('warn')).toHaveLength(1)
      expect(log.lines[0]).toContain('createOutgoingClaim')
      await clock.advance(500)
      expect(await claim).toBe('late')
      expect(clock.pending).toBe(0)
    })

    it('reports each callback once, and one that never ends too', async () => {
      const forever = () => new Promise<void>(() => undefined)
      const { runner, clock, log } = run({ handleIncomingClaim: forever, handleIncomingPrepare: forever })
      for (let i = 0; i < 3; i++) {
        void runner.handleIncomingClaim(i)
        void runner.handleIncomingPrepare(TRANSFER)
        await clock.advance(1000)
      }
      expect(log.at('warn')).toHaveLength(2)
    })

    it('reports one that blocks everything, also a synchronous one', async () => {
      const { runner, clock, log } = run({
        getAccount: () => { clock.jump(600); return 'test.own' },
        handleIncomingPrepare: async () => { clock.jump(600) }
      })
      await runner.connect({})
      await runner.handleIncomingPrepare(TRANSFER)
      expect(log.at('warn').map(line => /module's (\w+)/.exec(line)?.[1])).toEqual(['getAccount', 'handleIncomingPrepare'])
    })

    it('leaves no timer behind a fast one, and lets connect and disconnect take their time', async () => {
      const { runner, clock, log } = run({
        connect: () => new Promise(resolve => { clock.setTimer(60_000, resolve) }),
        disconnect: () => new Promise(resolve => { clock.setTimer(60_000, resolve) })
      })
      const connected = runner.connect({})
      await clock.advance(60_000)
      await connected
      const disconnected = runner.disconnect()
      await clock.advance(60_000)
      await disconnected
      await runner.handleIncomingClaim({ a: 1 })
      expect(clock.pending).toBe(0)
      expect(log.lines).toEqual([])
    })
  })
})

describe('types', () => {
  interface State { sum: number }
  interface Options { maxUnsecured: string }
  type Any = Record<string, unknown>
  const define = <S extends object = Any, O extends object = Any>(module: PaymentChannelModule<S, O>) => module

  it('the author gets state, options, transfers and claims typed', () => {
    const module = define<State, Options>({
      ...PLAIN,
      constructor(ctx, options) {
        expectTypeOf(ctx.state).toEqualTypeOf<State>()
        expectTypeOf(options).toEqualTypeOf<Options>()
        ctx.state.sum = 0
      },
      handleIncomingPrepare: (ctx, transfer) => {
        expectTypeOf(transfer).toEqualTypeOf<IncomingTransfer>()
        expectTypeOf(ctx.state).not.toHaveProperty('missing')
      },
      handleIncomingClaim: (_ctx, claim) => {
        expectTypeOf(claim).toEqualTypeOf<JsonValue>()
        expectTypeOf(claim).not.toHaveProperty('txid')
      }
    })
    expectTypeOf(module).toExtend<AnyModule>()
  })

  it('TypeScript finds a callback that is missing or returns the wrong thing', () => {
    const refused = [
      // @ts-expect-error -- no callbacks
      () => define({}),
      // @ts-expect-error -- the prefix is missing
      () => define({ ...PLAIN, getInfo: () => ({ currencyScale: 9 }) }),
      // @ts-expect-error -- a date is no JSON
      () => define({ ...PLAIN, createOutgoingClaim: async () => new Date(0) })
    ]
    expect(refused).toHaveLength(3)
  })
})
