/**
 * The architecture as a test: which folder may import which, and that core, ledger, btp and plugin own no clock, no random
 * source and no global of Node or the browser, so that a simulator can own them all.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

/** What each folder may import of ours, besides itself. Entries, the files right under src, may import everything. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ledger: ['core'],
  btp: ['core'],
  transport: ['core'],
  store: ['core'],
  platform: ['core'],
  plugin: ['core', 'ledger', 'btp'],
  settlement: ['core', 'plugin/module']
}

/** The folders that reach the outside world through ports only. */
const PURE = ['core', 'ledger', 'btp', 'plugin']

/** Globals of Node and browsers that do the same everywhere, take no time and keep nothing. */
const HARMLESS = new Set(['TextEncoder', 'TextDecoder', 'AbortController', 'AbortSignal', 'URL', 'URLSearchParams', 'queueMicrotask', 'structuredClone'])

/** Built-in modules that a pure folder may import: `buffer` is bundled for browsers. */
const PURE_BUILTINS = new Set(['buffer'])

const folderOf = (path: string) => (path.startsWith('src/') && path.includes('/', 4) ? path.slice(4, path.indexOf('/', 4)) : '')

/** Every module that a file names: by import, export from, import() or import type. */
function modulesNamedIn(file: ts.SourceFile): string[] {
  const names: string[] = []
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
      names.push((node.moduleSpecifier as ts.StringLiteral).text)
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [name] = node.arguments
      names.push(name !== undefined && ts.isStringLiteralLike(name) ? name.text : '(computed)')
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      names.push(node.argument.literal.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return names
}

/** Imports of one file against the arrows between the folders. */
function forbiddenImports(path: string, file: ts.SourceFile): string[] {
  const folder = folderOf(path)
  if (folder === '') return []
  const allowed = MAY_IMPORT[folder]
  if (allowed === undefined) return [`${path}: the folder ${folder} has no rule here`]
  return modulesNamedIn(file).flatMap(name => {
    if (!name.startsWith('.')) {
      return PURE.includes(folder) && isBuiltin(name) && !PURE_BUILTINS.has(name) ? [`${path} imports ${name}`] : []
    }
    const target = posix.join(posix.dirname(path), name)
    const inside = allowed.some(one => target.startsWith(`src/${one}/`) || target === `src/${one}.js`)
    return folderOf(target) === folder || inside ? [] : [`${path} imports ${target}`]
  })
}

/** Uses of time, chance and globals as values in one file. Types vanish and are free. */
function forbiddenGlobals(path: string, file: ts.SourceFile, checker: ts.TypeChecker): string[] {
  const found: string[] = []
  const report = (node: ts.Node, what: string) => {
    found.push(`${path}:${file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1} uses ${what}`)
  }
  const declarationsOf = (node: ts.Identifier) => {
    const shorthand = ts.isShorthandPropertyAssignment(node.parent)
    const symbol = shorthand ? checker.getShorthandAssignmentValueSymbol(node.parent) : checker.getSymbolAtLocation(node)
    return (symbol?.declarations ?? []).map(declaration => declaration.getSourceFile())
  }
  const isOfPlatform = (node: ts.Identifier) => {
    const files = declarationsOf(node)
    return files.length > 0 && files.every(({ fileName }) => /\/lib\.dom[.\w]*\.d\.ts$|\/node_modules\/@types\//.test(fileName))
  }
  const isBuiltIn = (node: ts.Node) => ts.isIdentifier(node) && declarationsOf(node).some(({ isDeclarationFile }) => isDeclarationFile)
  const checkDate = (node: ts.CallExpression | ts.NewExpression) => {
    if (node.expression.getText(file) !== 'Date') return
    if (ts.isCallExpression(node)) report(node, 'Date()')
    else if ((node.arguments?.length ?? 0) === 0) report(node, 'new Date()')
  }
  const visit = (node: ts.Node): void => {
    if (vanishes(node)) return
    if (ts.isPropertyAccessExpression(node)) {
      const text = `${node.expression.getText(file)}.${node.name.text}`
      if ((text === 'Date.now' || text === 'Math.random') && isBuiltIn(node.expression)) report(node, text)
      visit(node.expression)
      return
    }
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) checkDate(node)
    if (ts.isIdentifier(node) && !isNameOfMember(node)) {
      if (node.text === 'globalThis' || (!HARMLESS.has(node.text) && isOfPlatform(node))) report(node, node.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

/** Whether nothing is left of a node when it runs: types, and imports, which have a rule of their own. */
function vanishes(node: ts.Node): boolean {
  return ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node) || ts.isImportDeclaration(node)
}

/** Whether an identifier only names a member: `{ name: 1 }`, `name() {}` in a class, `import.meta`. */
function isNameOfMember(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isShorthandPropertyAssignment(parent)) return false
  if (ts.isBindingElement(parent)) return parent.propertyName === node
  if (ts.isPropertyAssignment(parent) || ts.isClassElement(parent) || ts.isEnumMember(parent)) return parent.name === node
  return ts.isMetaProperty(parent)
}

/** Everything wrong in the given files, by path; `extra` adds files that exist only here. */
function violations(paths: readonly string[], extra: ReadonlyMap<string, string>): Map<string, string[]> {
  const { config } = ts.readConfigFile('tsconfig.json', name => readFileSync(name, 'utf8')) as { config: { compilerOptions: object } }
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, '.')
  const host = ts.createCompilerHost(options, true)
  const { getSourceFile, fileExists } = host
  host.fileExists = name => extra.has(name) || fileExists.call(host, name)
  host.getSourceFile = (name, languageVersion) => {
    const text = extra.get(name)
    return text === undefined ? getSourceFile.call(host, name, languageVersion) : ts.createSourceFile(name, text, languageVersion, true)
  }
  const all = [...paths, ...extra.keys()]
  const program = ts.createProgram(all, options, host)
  const checker = program.getTypeChecker()
  return new Map(
    all.map(path => {
      const file = program.getSourceFile(path)
      if (file === undefined) return [path, [`${path} cannot be read`]]
      const globals = PURE.includes(folderOf(path)) ? forbiddenGlobals(path, file, checker) : []
      return [path, [...forbiddenImports(path, file), ...globals]]
    })
  )
}

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .map(name => posix.join('src', name.replaceAll('\\', '/')))

const BAD_IMPORTS: ReadonlyArray<readonly [folder: string, text: string, expected: string]> = [
  ['core', "import { x } from '../ledger/x.js'", 'imports src/ledger/x.js'],
  ['ledger', "export * from '../btp/x.js'", 'imports src/btp/x.js'],
  ['btp', "export type X = import('../plugin/x.js').X", 'imports src/plugin/x.js'],
  ['store', "export const x = import('../transport/x.js')", 'imports src/transport/x.js'],
  ['plugin', "import type { X } from '../store/x.js'", 'imports src/store/x.js'],
  ['plugin', "import '../index.js'", 'imports src/index.js'],
  ['settlement', "import type { X } from '../plugin/plugin.js'", 'imports src/plugin/plugin.js'],
  ['core', "import fs from 'node:fs'", 'imports node:fs'],
  ['core', "import fs from 'fs'", 'imports fs'],
  ['news', 'export {}', 'the folder news has no rule here']
]

const BAD_GLOBALS: ReadonlyArray<readonly [text: string, expected: string]> = [
  ['const now = Date.now()', 'Date.now'],
  ['const now = new Date()', 'new Date()'],
  ['const now = Date()', 'Date()'],
  ['const chance = Math.random()', 'Math.random'],
  ['setTimeout(() => undefined, 1)', 'setTimeout'],
  ['const timer = { start: setInterval }', 'setInterval'],
  ['const env = process.env', 'process'],
  ['globalThis.setTimeout(() => undefined, 1)', 'globalThis'],
  ['const x = typeof window', 'window'],
  ['document.title', 'document'],
  ['const x = Buffer.alloc(1)', 'Buffer'],
  ['const x = { Buffer }', 'Buffer'],
  ['crypto.getRandomValues(new Uint8Array(1))', 'crypto'],
  ['console.log(1)', 'console']
]

const GOOD = `
  import { Buffer } from 'buffer'
  import type { Clock } from '../core/clock.js'
  interface Timers { setTimeout: typeof setTimeout }
  // Date.now() in a comment, and 'setTimeout' in a text
  export class Process { process(clock: Clock, timers: Timers) { timers.setTimeout(() => undefined, 1); return new Date(clock.now()) } }
  export const f = (window: number) => ({ document: window, crypto: 'setTimeout', bytes: Buffer.alloc(1), url: new URL('a:b') })
`

const snippets = new Map([
  ...BAD_IMPORTS.map(([folder, text], index) => [`src/${folder}/bad-import-${index}.ts`, text] as const),
  ...BAD_GLOBALS.map(([text], index) => [`src/core/bad-global-${index}.ts`, `${text}\nexport {}`] as const),
  ['src/ledger/good.ts', GOOD] as const
])

// One compilation for everything: most of its time goes into the libraries' declarations.
const found = violations(sources, snippets)

describe('the folders of src', () => {
  it('import along the arrows, and reach time, chance and globals through ports only', () => {
    expect(sources.length).toBeGreaterThan(5)
    expect(sources.flatMap(path => found.get(path))).toEqual([])
  })
})

describe('the checker itself', () => {
  it.each(BAD_IMPORTS.map((row, index) => [...row, index] as const))('finds in %s: %s', (folder, _text, expected, index) => {
    expect(found.get(`src/${folder}/bad-import-${index}.ts`)).toEqual([expect.stringContaining(expected)])
  })

  it.each(BAD_GLOBALS.map((row, index) => [...row, index] as const))('finds the forbidden global in: %s', (_text, expected, index) => {
    expect(found.get(`src/core/bad-global-${index}.ts`)).toEqual([`src/core/bad-global-${index}.ts:1 uses ${expected}`])
  })

  it('lets pass what is allowed: ports, dates from numbers, types, names of members, local names', () => {
    expect(found.get('src/ledger/good.ts')).toEqual([])
  })
})
