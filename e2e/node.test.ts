/**
 * The packed package in Node: as ES module, as CommonJS, in TypeScript.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { root } from '../scripts/setup.mjs'
import { PAY } from './support/programs.js'

const project = inject('project')

/** Writes a program into the user's project and runs it; returns what it printed as JSON. */
function run(name: string, code: string): unknown {
  writeFileSync(join(project, name), code)
  return JSON.parse(execFileSync(process.execPath, [name], { cwd: project, encoding: 'utf8', timeout: 30_000 }))
}

describe('in Node', () => {
  it('C55: is the plugin class when required, with the named exports as properties', () => {
    const facts = run(
      'facts.cjs',
      `const Plugin = require('ilp-plugin-paychan')
       const { PaychanPlugin, MemoryStore, LmdbStore, BtpListener, makePaymentChannelPlugin, wrapKeyValueStore, errors } = Plugin
       console.log(JSON.stringify({
         isClass: /^class\\b/.test(Function.prototype.toString.call(Plugin)),
         name: Plugin.name,
         same: Plugin === PaychanPlugin && Plugin === Plugin.default,
         kinds: [MemoryStore, LmdbStore, BtpListener, makePaymentChannelPlugin, wrapKeyValueStore].map(one => typeof one),
         error: new errors.NotAcceptedError('no').name
       }))`
    )
    expect(facts).toEqual({ isClass: true, name: 'PaychanPlugin', same: true, kinds: Array(5).fill('function'), error: 'NotAcceptedError' })
  })

  it('gives the same objects to import and to require in one process', () => {
    const facts = run(
      'same.mjs',
      `import { createRequire } from 'node:module'
       import Plugin, * as all from 'ilp-plugin-paychan'
       import { PaychanPlugin, MemoryStore, errors } from 'ilp-plugin-paychan'
       const required = createRequire(import.meta.url)('ilp-plugin-paychan')
       console.log(JSON.stringify({
         same: [Plugin, PaychanPlugin, all.default].every(one => one === required),
         named: MemoryStore === required.MemoryStore && errors.NotAcceptedError === required.errors.NotAcceptedError,
         missing: Object.keys(required).filter(name => all[name] !== required[name] && !Object.hasOwn(class extends required {}, name) && name !== 'version')
       }))`
    )
    expect(facts).toEqual({ same: true, named: true, missing: [] })
  })

  it('says what to install when the embedded store is used without lmdb', () => {
    const message = run(
      'store.mjs',
      `import { LmdbStore } from 'ilp-plugin-paychan'
       const failure = await new LmdbStore({ path: './nowhere' }).get('key').catch(error => error)
       console.log(JSON.stringify({ name: failure.name, message: failure.message }))`
    )
    expect(message).toEqual({ name: 'StoreError', message: expect.stringContaining('npm install lmdb') as string })
  })

  it('lets a peer that imports it and one that requires it pay each other, and exits by itself', () => {
    const balances = run(
      'pay.mjs',
      `import { createRequire } from 'node:module'
       import { createHash, randomBytes, randomUUID } from 'node:crypto'
       import Plugin, { BtpListener, MemoryStore } from 'ilp-plugin-paychan'
       const Required = createRequire(import.meta.url)('ilp-plugin-paychan')
       const listener = new BtpListener({ port: 0 })
       const limits = { maxBalance: '1000', minBalance: '-1000' }
       const server = new Plugin({ listener, incomingSecret: 'secret', prefix: 'test.a.', info: {}, ...limits, store: new MemoryStore() })
       await server.connect()
       const client = new Required({ server: 'btp+ws://:secret@localhost:' + listener.port, ...limits, store: new Required.MemoryStore() })
       await client.connect()
       ${PAY}
       await pay(client, server, '7')
       await pay(server, client, '3')
       const balances = [await client.getBalance(), await server.getBalance()]
       await client.disconnect()
       await server.disconnect()
       console.log(JSON.stringify(balances))`
    )
    expect(balances).toEqual(['-4', '4'])
  })
})

describe('in TypeScript', () => {
  const usage = `
    const plugin: LedgerPluginV1 = new Plugin({ server: 'btp+ws://:secret@localhost:1' })
    const again: Plugin = new PaychanPlugin({ server: 'btp+ws://:secret@localhost:1' })
    const failure: Error = new errors.NotAcceptedError('no')
    const balance: Promise<string> = plugin.getBalance()
    class Mine extends Plugin {}
    plugin.on('outgoing_fulfill', (transfer, fulfillment) => { const id: string = transfer.id; void [id, fulfillment] })
    // @ts-expect-error an event that there is not
    plugin.on('outgoing_nonsense', () => undefined)
    // @ts-expect-error only a type: the code has no such export
    void LedgerPlugin
    // @ts-expect-error balances are strings
    const wrong: Promise<number> = plugin.getBalance()
    void [again, failure, balance, wrong, Mine, new MemoryStore()]
  `
  const asModule = `import Plugin, { PaychanPlugin, MemoryStore, errors, type LedgerPluginV1, type LedgerPlugin } from 'ilp-plugin-paychan'\n${usage}`
  const asCommonJs = `import Plugin = require('ilp-plugin-paychan')
    import { PaychanPlugin, MemoryStore, errors } from 'ilp-plugin-paychan'
    type LedgerPluginV1 = Plugin.LedgerPluginV1
    type LedgerPlugin = Plugin.LedgerPlugin\n${usage}`

  /** Compiles files in the user's project, declarations of libraries included; returns the compiler's complaints. */
  function compile(files: Readonly<Record<string, string>>, options: Record<string, unknown>): string {
    const folder = mkdtempSync(join(project, 'types-'))
    for (const [name, code] of Object.entries(files)) writeFileSync(join(folder, name), code)
    const compilerOptions = { strict: true, noEmit: true, target: 'ES2022', lib: ['ES2022', 'DOM'], types: ['node'], skipLibCheck: false, skipDefaultLibCheck: true, ...options }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: Object.keys(files) }))
    try {
      return execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], { cwd: project, encoding: 'utf8' })
    } catch (error) {
      return (error as { stdout: string }).stdout
    }
  }

  it.each([
    ['for Node', {}],
    ['for browsers', { customConditions: ['browser'] }]
  ])('has types for bundlers, %s', (_name, options) => {
    expect(compile({ 'use.ts': asModule }, { ...options, module: 'ESNext', moduleResolution: 'bundler' })).toBe('')
  })

  it.each([
    ['node16', { module: 'Node16', moduleResolution: 'Node16' }],
    ['nodenext', { module: 'NodeNext', moduleResolution: 'NodeNext' }],
    ['node16 for browsers', { module: 'Node16', moduleResolution: 'Node16', customConditions: ['browser'] }]
  ])('has types for ES modules and CommonJS under %s, with import = require and with interop', (_name, options) => {
    expect(compile({ 'module.mts': asModule, 'required.cts': asCommonJs, 'interop.cts': asModule }, { ...options, esModuleInterop: true })).toBe('')
  })
})
