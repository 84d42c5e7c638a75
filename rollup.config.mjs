/**
 * From .build/js (TypeScript's output) to dist:
 *
 *   browser.js                  ES module with all dependencies inside, for bundlers and <script type="module">
 *   browser.cjs                 the same for bundlers of CommonJS code
 *   ilp-plugin-paychan.umd.js   the same, minified, for a script tag (global IlpPluginPaychan) and AMD
 *   node.cjs                    CommonJS, dependencies outside; the one copy of the code in a Node process
 *   node.js                     ES module that only hands on what node.cjs has, so that import and require give the same classes
 *   *.d.ts, *.d.cts             types for each of them
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import commonjs from '@rollup/plugin-commonjs'
import inject from '@rollup/plugin-inject'
import nodeResolve from '@rollup/plugin-node-resolve'
import terser from '@rollup/plugin-terser'
import dts from 'rollup-plugin-dts'

const GLOBAL_NAME = 'IlpPluginPaychan'
const CLASS_NAME = 'PaychanPlugin'

const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
const outside = [...Object.keys({ ...dependencies, ...peerDependencies }), ...builtinModules, /^node:/]

/**
 * An entry whose one export is the plugin class, with the named exports as its properties: what require() returns and the
 * global is. `default` is among them, so that compiled `import Plugin from` finds the class with and without interop helpers.
 */
function classEntry(entry) {
  const id = '\0class-entry'
  return {
    name: 'class-entry',
    resolveId: source => (source === id ? id : null),
    load: source => (source === id ? `import * as all from '${entry}'\nexport default Object.assign(all.default, all)` : null),
    options: options => ({ ...options, input: id })
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

/** Turns the export list at the end of bundled declarations into `export =` a class merged with a namespace of the rest. */
function exportEquals() {
  return {
    name: 'export-equals',
    renderChunk(code) {
      const names = []
      const body = code.replace(/^export (?:type )?\{([^}]*)\};?$/gm, (_statement, list) => {
        names.push(...list.split(',').map(name => name.trim()).filter(name => name !== ''))
        return ''
      })
      if (!new RegExp(`^declare (abstract )?class ${CLASS_NAME}\\b`, 'm').test(body)) {
        this.error(`the declarations have no class ${CLASS_NAME} to export`)
      }
      return `${body.trim()}\ndeclare namespace ${CLASS_NAME} {\n  export { ${names.join(', ')} }\n}\nexport = ${CLASS_NAME}\n`
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
          const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1] ?? 'ours'
          pieces[name] = (pieces[name] ?? 0) + renderedLength
        }
      }
      writeFileSync(file, JSON.stringify(pieces))
    }
  }
}

/** Hands TypeScript's source maps to Rollup, so that the maps in dist lead to src. */
function typescriptMaps() {
  return {
    name: 'typescript-maps',
    load(id) {
      if (!id.includes('/.build/js/') || !id.endsWith('.js')) return null
      return { code: readFileSync(id, 'utf8'), map: JSON.parse(readFileSync(`${id}.map`, 'utf8')) }
    }
  }
}

/** For the browser everything is bundled; the dependencies' global Buffer comes from the buffer package. */
const forBrowser = () => [
  typescriptMaps(),
  nodeResolve({ browser: true, preferBuiltins: false }),
  commonjs(),
  inject({ modules: { Buffer: ['buffer', 'Buffer'] }, include: ['**/node_modules/{btp-packet,oer-utils,ilp-packet}/**'] })
]

/** Only what is no dependency is bundled for Node: packages that come as ES modules alone, which old loaders cannot require. */
const forNode = () => [typescriptMaps(), nodeResolve({ exportConditions: ['node'], preferBuiltins: true }), commonjs()]

/** A warning of the bundler is a mistake of ours, but for circles inside of other people's packages. */
function onLog(level, log, handler) {
  if (log.code === 'CIRCULAR_DEPENDENCY' && log.ids?.every(id => id.includes('node_modules'))) return
  handler(level === 'warn' ? 'error' : level, log)
}

const common = { onLog, treeshake: { moduleSideEffects: id => !id.includes('/.build/js/') } }
const output = { sourcemap: true, generatedCode: 'es2015', interop: 'auto' }
const named = { ...output, exports: 'named' }
const classOnly = { ...output, exports: 'default' }

const browser = './.build/js/index.js'
const node = './.build/js/node.js'

const umd = {
  ...classOnly,
  file: 'dist/ilp-plugin-paychan.umd.js',
  format: 'umd',
  name: GLOBAL_NAME,
  // Class names show in consoles and logs, and cost little.
  plugins: [terser({ keep_classnames: true }), notePieces('.build/pieces.json')]
}

const declarations = (input, name) => ({
  input: input.replace('.js', '.d.ts'),
  external: outside,
  plugins: [dts()],
  output: [
    { file: `dist/${name}.d.ts`, format: 'es' },
    { file: `dist/${name}.d.cts`, format: 'es', plugins: [exportEquals()] }
  ]
})

export default [
  { ...common, input: browser, plugins: forBrowser(), output: { ...named, file: 'dist/browser.js', format: 'es' } },
  {
    ...common,
    input: browser,
    plugins: [classEntry(browser), ...forBrowser()],
    output: [{ ...classOnly, file: 'dist/browser.cjs', format: 'cjs' }, umd]
  },
  {
    ...common,
    input: node,
    external: outside,
    plugins: [classEntry(node), ...forNode()],
    output: { ...classOnly, file: 'dist/node.cjs', format: 'cjs' }
  },
  {
    ...common,
    input: node,
    external: outside,
    plugins: forNode(),
    output: { ...named, sourcemap: false, file: 'dist/node.js', format: 'es', plugins: [handOnFrom('./node.cjs')] }
  },
  declarations(browser, 'browser'),
  declarations(node, 'node')
]
