/**
 * From .build/js (TypeScript's output) to dist:
 *
 *   browser.js                  ES module for bundlers and <script type="module">, in chunks: browser-plugin.js, browser-stores.js
 *   browser.cjs                 the same in one file, for bundlers of CommonJS code
 *   ilp-plugin-paychan.umd.js   the same, minified, for a script tag (global IlpPluginPaychan) and AMD
 *   node.cjs                    CommonJS, dependencies outside; the one copy of the code in a Node process
 *   node.js                     ES module that only hands on what node.cjs has, so that import and require give the same classes
 *   *.d.ts, *.d.cts             types for each of them
 *   licenses.txt                of the packages whose code is in these files
 *
 * The browser builds have all dependencies inside, so that a page never needs configuration, and never has another version than the
 * tested one. Some packages need a global Buffer, which no bundler brings any more, or bring many times what a page needs of them: small
 * files of scripts/browser stand in their place.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import commonjs from '@rollup/plugin-commonjs'
import nodeResolve from '@rollup/plugin-node-resolve'
import { minifySync } from 'rolldown/utils'
import dts from 'rollup-plugin-dts'
import { minify as terser } from 'terser'
import { internalNames } from './scripts/internal-names.mjs'
import { licenses, packageOf } from './scripts/licenses.mjs'

const GLOBAL_NAME = 'IlpPluginPaychan'

const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
const outside = [...Object.keys({ ...dependencies, ...peerDependencies }), ...builtinModules, /^node:/]

const ENTRY = '\0entry'

/** An entry that is not a file, but has the code that `makeCode` returns. */
function entryOf(makeCode) {
  return {
    name: 'entry',
    resolveId: source => (source === ENTRY ? ENTRY : null),
    load: source => (source === ENTRY ? makeCode() : null),
    options: options => ({ ...options, input: ENTRY })
  }
}

const nothing = () => ''

/**
 * An entry whose one export is the plugin class, with the named exports as its properties: what require() returns and the
 * global is. `default` is among them, so that compiled `import Plugin from` finds the class with and without interop helpers.
 */
const classEntry = (path, before = nothing) => entryOf(() => `${before()}import * as all from '${path}'\nexport default Object.assign(all.default, all)`)

/** An entry that only hands on. Rollup puts the code itself into other chunks then. */
const facadeEntry = (path, before = nothing) => entryOf(() => `${before()}export * from '${path}'\nexport { default } from '${path}'`)

/**
 * The order in which our files come in the browser builds, as far as imports leave it open; those that it does not name come last. gzip knows
 * a text again that stood up to 32 KB before, so that a file costs less behind others that resemble it: this saves nearly two percent of what
 * a page loads. `node scripts/find-order.mjs` looks for a better one.
 */
const ORDER = JSON.parse(readFileSync('scripts/bundle-order.json', 'utf8'))

/** Imports of all files that an entry leads to. They change nothing but the order. */
function inOrder(entry, order) {
  const files = new Set()
  const visit = path => {
    if (files.has(path)) return
    files.add(path)
    for (const [, next] of readFileSync(path, 'utf8').matchAll(/^(?:import|export) .*from '(\.[^']+)'/gm)) visit(posix.join(posix.dirname(path), next))
  }
  visit(posix.normalize(entry))
  const rank = path => (order.indexOf(nameOf(path)) + order.length + 1) % (order.length + 1)
  return [...files].sort((a, b) => rank(a) - rank(b)).map(path => `import './${path}'\n`).join('')
}

/** The name of one of our files, as the order has it. */
const nameOf = path => path.slice('.build/js/'.length, -'.js'.length)

/** The names that each entry's code exports, noted when it is bundled: declarations export types besides. */
const namesInCode = new Map()

function noteExports(entry) {
  return {
    name: 'note-exports',
    generateBundle(_options, bundle) {
      for (const chunk of Object.values(bundle)) if (chunk.isEntry) namesInCode.set(entry, chunk.exports)
    }
  }
}

/** Replaces an ES chunk's code by one that takes every export from the CommonJS file. */
function handOnFrom(file) {
  return {
    name: 'hand-on',
    generateBundle(_options, bundle) {
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== 'chunk') continue
        const names = chunk.exports.filter(name => name !== 'default').sort()
        chunk.code = `import Plugin from '${file}'\nexport default Plugin\nexport const {\n  ${names.join(',\n  ')}\n} = Plugin\n`
        chunk.map = null
      }
    }
  }
}

/** The specifiers in the export lists of bundled declarations, those of values and those of types alone; and what comes before. */
function splitExports(code, entry) {
  const specifiers = []
  const body = code.replace(/^export (?:type )?\{([^}]*)\};?$/gm, (_statement, list) => {
    specifiers.push(...list.split(',').map(one => one.trim()).filter(one => one !== ''))
    return ''
  })
  const isValue = specifier => namesInCode.get(entry).includes(specifier.split(' as ').at(-1))
  return { body: body.trim(), values: specifiers.filter(isValue), types: specifiers.filter(one => !isValue(one)) }
}

/** Exports classes that the code keeps to itself as types: who would construct one is told so by the compiler. */
function exportTypes(entry) {
  return {
    name: 'export-types',
    renderChunk(code) {
      const { body, values, types } = splitExports(code, entry)
      return `${body}\nexport { ${values.join(', ')} }\nexport type { ${types.join(', ')} }\n`
    }
  }
}

/**
 * Turns the export list into `export =` a class merged with a namespace of the rest. The class stands for the plugin class,
 * which the sources may declare as a constant, and a constant merges with no namespace.
 */
function exportEquals(entry) {
  return {
    name: 'export-equals',
    renderChunk(code) {
      const { body, values, types } = splitExports(code, entry)
      const [, plugin] = /^(\w+) as default$/m.exec(values.join('\n')) ?? this.error('the declarations have no default export')
      const statements = [
        body,
        `declare class ${GLOBAL_NAME} extends ${plugin} {}`,
        `declare namespace ${GLOBAL_NAME} {\n  export { ${values.join(', ')} }\n  export type { ${types.join(', ')} }\n}`,
        `export = ${GLOBAL_NAME}`
      ]
      return `${statements.join('\n')}\n`
    }
  }
}

/** Notes how many bytes each package contributes to the bundle, for `npm run size`. */
function notePieces(file) {
  return {
    name: 'note-pieces',
    generateBundle(_options, bundle) {
      const pieces = {}
      for (const chunk of Object.values(bundle)) {
        for (const [id, { renderedLength }] of Object.entries(chunk.modules ?? {})) {
          const name = packageOf(id)
          pieces[name] = (pieces[name] ?? 0) + renderedLength
        }
      }
      writeFileSync(file, JSON.stringify(pieces))
    }
  }
}

const NOTICE = '/*! ilp-plugin-paychan, Apache-2.0; see licenses.txt */'

/** Puts constants and short functions where they are used; what `minify` does after it comes out smaller than by either alone. */
function inline() {
  return {
    name: 'inline',
    renderChunk: source => terser(source, { ecma: 2022, compress: { inline: 1, lhs_constants: false }, mangle: false, sourceMap: true })
  }
}

/** Minifies what a script tag loads. The types that users get must be in dist already. */
function minify() {
  return {
    name: 'minify',
    renderChunk(source, { fileName, modules }) {
      const others = Object.keys(modules).filter(id => !isOurs(id) && !id.startsWith('\0') && !substitutes.has(id))
      const names = internalNames(readFileSync('dist/browser.d.ts', 'utf8'), [...substitutes], others)
      const mangleProps = { include: new RegExp(`^(${names.join('|')})$`) }
      const { code, map, errors } = minifySync(fileName, source, { compress: { target: 'es2022' }, mangle: true, mangleProps, sourcemap: true })
      if (errors.length > 0) this.error(errors[0].message)
      // A line more before the code is a semicolon more before its mappings.
      return { code: `${NOTICE}\n${code}`, map: { ...map, mappings: `;${map.mappings}` } }
    }
  }
}

/**
 * Takes the comments out of what Node loads, most of its bytes: the sources and the types in the package have them. Names stay, and each
 * statement has its line.
 */
function withoutComments() {
  return {
    name: 'without-comments',
    renderChunk(source, { fileName }) {
      const codegen = { removeWhitespace: false, legalComments: 'inline' }
      const { code, map, errors } = minifySync(fileName, source, { compress: false, mangle: false, codegen, sourcemap: true })
      if (errors.length > 0) this.error(errors[0].message)
      return { code, map }
    }
  }
}

/** Whether a module is TypeScript's output; on Windows its path has backslashes. */
const isOurs = id => /[\\/]\.build[\\/]js[\\/]/.test(id)

/** Hands TypeScript's source maps to Rollup, so that the maps in dist lead to src. */
function typescriptMaps() {
  return {
    name: 'typescript-maps',
    load(id) {
      if (!isOurs(id) || !id.endsWith('.js')) return null
      return { code: readFileSync(id, 'utf8'), map: JSON.parse(readFileSync(`${id}.map`, 'utf8')) }
    }
  }
}

/** What stands in the place of which package in browsers, where every kilobyte is loaded by a user. */
const SUBSTITUTES = ['@stablelib/sha256', 'bignumber.js', 'btp-packet', 'buffer', 'debug', 'oer-utils']

const substitutePath = name => fileURLToPath(new URL(`scripts/browser/${posix.basename(name, '.js')}.js`, import.meta.url))

const substitutes = new Set(SUBSTITUTES.map(substitutePath))

const substitute = () => ({ name: 'substitute', resolveId: source => (SUBSTITUTES.includes(source) ? substitutePath(source) : null) })

/** For the browser everything is bundled. */
export const forBrowser = () => [typescriptMaps(), substitute(), nodeResolve({ browser: true, preferBuiltins: false }), commonjs({ requireReturnsDefault: 'auto' })]

/** Only what is no dependency is bundled for Node: packages that come as ES modules alone, which old loaders cannot require. */
const forNode = () => [typescriptMaps(), nodeResolve({ exportConditions: ['node'], preferBuiltins: true }), commonjs()]

/** A warning of the bundler is a mistake of ours, but for circles inside of other people's packages. */
function onLog(level, log, handler) {
  if (log.code === 'CIRCULAR_DEPENDENCY' && log.ids?.every(id => id.includes('node_modules'))) return
  handler(level === 'warn' ? 'error' : level, log)
}

/**
 * The chunk of a module of browser.js: `stores` for the stores, the errors and what these need, `plugin` for all else. Since
 * package.json says that our files have no side effects, a bundler leaves out a chunk of which nothing is used, whatever the
 * libraries in it do when they are loaded; in one file it would have to keep that.
 */
function chunkOf(id, { getModuleIds, getModuleInfo }) {
  const reached = new Set()
  const visit = from => {
    if (reached.has(from)) return
    reached.add(from)
    getModuleInfo(from).importedIds.forEach(visit)
  }
  for (const one of getModuleIds()) if (isOurs(one) && /[\\/](store[\\/][^\\/]+|core[\\/]errors)\.js$/.test(one)) visit(one)
  if (reached.has(id)) return 'stores'
  return id === ENTRY ? null : 'plugin'
}

const common = { onLog, treeshake: { moduleSideEffects: id => !isOurs(id) } }
const output = { sourcemap: true, generatedCode: { preset: 'es2015', symbols: false }, interop: 'auto', freeze: false, externalLiveBindings: false }
const named = { ...output, exports: 'named' }
const classOnly = { ...output, exports: 'default' }

const browser = './.build/js/index.js'
const node = './.build/js/node.js'

const umd = {
  ...classOnly,
  file: 'dist/ilp-plugin-paychan.umd.js',
  format: 'umd',
  name: GLOBAL_NAME,
  plugins: [inline(), minify(), notePieces('.build/pieces.json'), licenses('licenses.txt')]
}

/** What the files that have everything are made of, and `umd`, into what: also for `scripts/find-order.mjs`. */
export const inOneFile = order => ({ ...common, plugins: [classEntry(browser, () => inOrder(browser, order)), ...forBrowser()] })
export { ORDER, umd }

const declarations = (input, name) => ({
  input: input.replace('.js', '.d.ts'),
  external: outside,
  plugins: [dts()],
  output: [
    { file: `dist/${name}.d.ts`, format: 'es', plugins: [exportTypes(input)] },
    { file: `dist/${name}.d.cts`, format: 'es', plugins: [exportEquals(input)] }
  ]
})

export default [
  {
    ...common,
    plugins: [facadeEntry(browser, () => inOrder(browser, ORDER)), ...forBrowser()],
    output: {
      ...named,
      dir: 'dist',
      entryFileNames: 'browser.js',
      chunkFileNames: 'browser-[name].js',
      manualChunks: chunkOf,
      format: 'es',
      plugins: [noteExports(browser)]
    }
  },
  declarations(browser, 'browser'),
  {
    ...inOneFile(ORDER),
    output: [{ ...classOnly, file: 'dist/browser.cjs', format: 'cjs' }, umd]
  },
  {
    ...common,
    external: outside,
    plugins: [classEntry(node), ...forNode()],
    output: { ...classOnly, file: 'dist/node.cjs', format: 'cjs', plugins: [withoutComments()] }
  },
  {
    ...common,
    input: node,
    external: outside,
    plugins: forNode(),
    output: { ...named, sourcemap: false, file: 'dist/node.js', format: 'es', plugins: [noteExports(node), handOnFrom('./node.cjs')] }
  },
  declarations(node, 'node')
]
