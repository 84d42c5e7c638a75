/**
 * Holds README.md against what is there: its code runs, its tables have what the sources have, its links lead somewhere. The page in a
 * real browser, over the packed package, is e2e/browser.test.ts.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createHash, randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import PaychanPlugin, { BtpListener, LmdbStore } from '../src/node.js'
import type { LedgerPlugin } from '../src/node.js'
import { MAX_PAYLOAD } from '../src/transport/node-socket.js'
import { afterTest, freePort, nextEvent } from './support/hosts.js'

const ROOT = join(import.meta.dirname, '..')
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')
const readme = read('README.md')

/** The code blocks in a language. */
const blocks = (language: string): string[] => [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, code = '']) => code)
const only = (codes: string[]): string => {
  expect(codes).toHaveLength(1)
  return codes[0] ?? ''
}

/** Replaces what must be there once. */
function replace(text: string, from: string, to: string): string {
  expect(text.split(from)).toHaveLength(2)
  return text.replace(from, () => to)
}

/** Runs code that may await as a function of the given names, and resolves with the value of an expression at its end. */
async function run(code: string, names: Record<string, unknown>, result: string): Promise<unknown> {
  const AsyncFunction = (async () => undefined).constructor as new (...parts: string[]) => (...values: unknown[]) => Promise<unknown>
  return new AsyncFunction(...Object.keys(names), `${code}\nreturn ${result}`)(...Object.values(names))
}

const peerCode = only(blocks('js'))
const pageCode = /<script type="module">\n([^]*?)<\/script>/.exec(only(blocks('html')))?.[1] ?? ''
const moduleCode = only(blocks('ts'))

/** The smallest Node peer, on a port and in a folder of this test. */
async function startPeer(): Promise<LedgerPlugin> {
  const folder = mkdtempSync(join(tmpdir(), 'paychan-readme-'))
  const store = join(folder, 'alice')
  const [imports, ...others] = peerCode.split(/\n\n/)
  expect(imports?.split('\n').every(line => line.startsWith('import '))).toBe(true)
  const code = replace(replace(others.join('\n\n'), '4195', String(await freePort())), "'./alice'", JSON.stringify(store))
  const peer = await run(code, { createHash, randomBytes, PaychanPlugin, LmdbStore }, 'peer') as LedgerPlugin
  afterTest(async () => {
    await peer.disconnect()
    rmSync(folder, { recursive: true, force: true })
  })
  return peer
}

describe("README's code", () => {
  it.each([['the Node peer', peerCode, ts.ScriptKind.JS], ['the page', pageCode, ts.ScriptKind.JS], ['the module', moduleCode, ts.ScriptKind.TS]])('parses: %s', (_name, code, kind) => {
    expect(code.length).toBeGreaterThan(100)
    const fileName = kind === ts.ScriptKind.JS ? 'block.mjs' : 'block.mts'
    const { diagnostics = [] } = ts.transpileModule(code, { fileName, reportDiagnostics: true, compilerOptions: { allowJs: true, target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext } })
    expect(diagnostics.map(({ messageText }) => messageText)).toEqual([])
  })

  it('the page pays the Node peer, and both know the balance', async () => {
    const peer = await startPeer()
    const said: unknown[][] = []
    let heard: () => void = () => undefined
    const hasSaid = new Promise<void>(resolve => { heard = resolve })
    const console = { log: (...words: unknown[]) => { said.push(words); heard() } }
    const code = replace(pageCode, 'localhost:4195', `localhost:${peer.port ?? 0}`)
    const paid = nextEvent(peer, 'incoming_fulfill')
    const wallet = await run(code, { IlpPluginPaychan: PaychanPlugin, console }, 'wallet') as LedgerPlugin
    afterTest(() => wallet.disconnect())
    await Promise.all([hasSaid, paid])
    expect(said).toEqual([['paid', '10', 'and got', expect.stringMatching(/^[\w-]{43}$/)]])
    expect([await wallet.getBalance(), await peer.getBalance()]).toEqual(['-10', '10'])
  })

  it('the Node peer refuses what it has no invoice for, and less than the price', async () => {
    const peer = await startPeer()
    const wallet = new PaychanPlugin({ server: `btp+ws://:secret@localhost:${peer.port ?? 0}` })
    afterTest(() => wallet.disconnect())
    await wallet.connect()
    const to = wallet.getPeerAccount()
    const { custom } = await wallet.sendRequest({ to, custom: { want: 'an invoice' } })
    for (const [executionCondition, amount] of [['A'.repeat(43), '10'], [custom?.['condition'] as string, '9']] as const) {
      const refused = nextEvent(wallet, 'outgoing_reject')
      const expiresAt = new Date(Date.now() + 10_000).toISOString()
      await wallet.sendTransfer({ id: crypto.randomUUID(), to, amount, executionCondition, expiresAt })
      expect((await refused)[1]).toMatchObject({ code: 'F00', message: 'there is no such invoice' })
    }
    expect(await peer.getBalance()).toBe('0')
  })

  it('the module is the one that the tests of the examples run, in 40 lines', () => {
    const [, example] = /^\/\/ README: from here\n([^]*?)^\/\/ README: to here$/m.exec(read('test/examples/readme-module.ts')) ?? []
    expect(moduleCode).toBe(example)
    expect(moduleCode.split('\n').length).toBeLessThanOrEqual(41)
  })
})

describe("README's options", () => {
  const parse = (path: string): ts.SourceFile => ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest, true)
  const source = parse('src/plugin/options.ts')
  const rows = [...readme.matchAll(/^\| `(\w+)` \| (.*?) ?\| (.*) \|$/gm)].map(([, name = '', usual = '', text = '']) => ({ name, usual, text }))
  const rowOf = (name: string): { name: string; usual: string; text: string } => {
    const row = rows.find(one => one.name === name)
    if (row === undefined) throw new TypeError(`no row for ${name}`)
    return row
  }

  /** The names of an interface's members. */
  function membersOf(name: string, file = source): string[] {
    const found = file.statements.find(one => ts.isInterfaceDeclaration(one) && one.name.text === name)
    return (found as ts.InterfaceDeclaration).members.map(member => member.name?.getText() ?? '')
  }

  /** The constants of the table NUMBERS, by option: default, least, most. */
  function numbers(): Map<string, number[]> {
    const found = new Map<string, number[]>()
    const hour = 3_600_000
    const visit = (node: ts.Node): void => {
      if (ts.isPropertyAssignment(node) && ts.isArrayLiteralExpression(node.initializer)) {
        found.set(node.name.getText(), node.initializer.elements.map(value => value.getText() === 'HOUR' ? hour : Number(value.getText().replaceAll('_', ''))))
      }
      ts.forEachChild(node, visit)
    }
    for (const one of source.statements) if (one.getText().startsWith('const NUMBERS')) visit(one)
    return found
  }

  it('are exactly those that there are', () => {
    expect(rows.map(({ name }) => name).sort()).toEqual(membersOf('PluginOptions').sort())
  })

  it('are exactly those that are read', () => {
    const text = source.getFullText()
    const isRead = new Set([...text.matchAll(/options\['(\w+)'\]|optional\(options, '(\w+)'/g)].map(([, one, other]) => one ?? other ?? ''))
    // Read to be refused.
    isRead.delete('_backend')
    expect([...isRead, ...numbers().keys()].sort()).toEqual(rows.map(({ name }) => name).sort())
  })

  it('have the defaults and limits of the numbers', () => {
    expect([...numbers().keys()].sort()).toEqual(rows.filter(({ text }) => /; \d+ to \d+$/.test(text)).map(({ name }) => name).sort())
    for (const [name, [usual, least, most]] of numbers()) {
      const row = rowOf(name)
      expect([name, row.usual, /; (\d.*)$/.exec(row.text)?.[1]]).toEqual([name, String(usual), `${least} to ${most}`])
    }
  })

  it('have the defaults that the plugin has', () => {
    const { text } = rowOf('listener')
    for (const name of membersOf('ListenerOptions', parse('src/core/transport.ts'))) expect(text).toContain(`\`${name}\``)
    const listener = new BtpListener()
    expect(text).toContain(`\`authTimeoutMs\` (${listener.authTimeoutMs})`)
    expect(text).toContain(`\`maxUnauthenticated\` (${listener.maxUnauthenticated})`)
    expect(text).toContain(`\`maxPayload\` (${MAX_PAYLOAD} `)
    const [, port] = /DEFAULT_PORT = (\d+)/.exec(read('src/transport/listener.ts')) ?? []
    expect(text).toContain(`\`port\` (${port}; `)
    const [, minimum] = /options\['minBalance'\] \?\? '([^']+)'/.exec(source.getFullText()) ?? []
    expect(rowOf('minBalance').usual).toBe(`\`${minimum}\``)
  })
})

describe('README', () => {
  it('links to what is there', () => {
    const targets = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map(([, target = '']) => target).filter(target => !target.startsWith('https:'))
    expect(targets.length).toBeGreaterThan(15)
    expect(targets.filter(target => !existsSync(join(ROOT, target)))).toEqual([])
  })

  it('has a row for each folder of src', () => {
    const folders = ts.sys.getDirectories(join(ROOT, 'src')).filter(folder => readdirSync(join(ROOT, 'src', folder)).length > 0)
    expect(folders.length).toBeGreaterThan(5)
    expect(folders.filter(folder => !readme.includes(`[\`src/${folder}\`](src/${folder})`))).toEqual([])
  })

  it('names commands that there are, and the numbers that they go by', () => {
    const { scripts, engines } = JSON.parse(read('package.json')) as { scripts: Record<string, string>; engines: { node: string } }
    const commands = [...readme.matchAll(/\bnpm (?:run )?([a-z]+)/g)].map(([, name = '']) => name).filter(name => name !== 'install')
    expect(new Set(commands)).toContain('start')
    expect(commands.filter(name => scripts[name] === undefined)).toEqual([])
    expect(`>=${/Node (\d+\.\d+) or newer/.exec(readme)?.[1]}`).toBe(engines.node)
    const [, limit = ''] = /LIMIT = (\d+_?\d*)/.exec(read('scripts/size.mjs')) ?? []
    expect(readme).toContain(`at most ${Number(limit.replaceAll('_', '')) / 1000} kB gzipped (\`npm run size\`)`)
  })

  it('names methods that there are, and all of them', () => {
    const part = readme.slice(readme.indexOf('## What it does'), readme.indexOf('What a call promises'))
    const named = [...part.matchAll(/`(\w+)(?:\([^`]*\))?`/g)].map(([, name = '']) => name)
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(PaychanPlugin.prototype)).filter(name => name !== 'constructor')
    expect(named.sort()).toEqual(methods.sort())
  })
})
