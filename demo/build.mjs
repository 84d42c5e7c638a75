/**
 * Makes .build/demo out of demo/: peer.js, which Node runs, and page/, which is served: the wallet page, the small one, and the
 * documents. The package is taken by its name, as any user of it would.
 */
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'
import { renderDocuments } from './documents.mjs'

const require = createRequire(import.meta.url)
const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '..')
const out = join(root, '.build', 'demo')
const page = join(out, 'page')

/** Builds everything when it was made from other sources, or for another build of the package, than those here. */
export async function buildDemoWhenStale() {
  const current = digestOfSources()
  const digest = join(out, 'digest')
  if (existsSync(digest) && readFileSync(digest, 'utf8') === current) return
  console.log('Building the demo ...')
  await buildDemo()
  writeFileSync(digest, current)
}

async function buildDemo() {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(page, { recursive: true })
  await bundle({ input: join(here, 'peer', 'main.ts'), platform: 'node', external: /^[^./]/ }, { dir: out, entryFileNames: 'peer.js', sourcemap: true })
  makePackage(join(out, 'modules', 'ilp-plugin-paychan'))
  const shims = join(here, 'page', 'shims')
  await bundle({
    input: join(here, 'page', 'main.tsx'),
    platform: 'browser',
    alias: {
      // What ilp-protocol-stream needs, which is in a chunk that the page loads when it pays by it.
      'assert': join(shims, 'assert.cjs'),
      'buffer': require.resolve('buffer/'),
      'events': require.resolve('events/'),
      'ilp-logger': join(shims, 'logger.cjs'),
      'stream': require.resolve('readable-stream/readable-browser.js')
    },
    inject: { Buffer: ['buffer', 'Buffer'], process: [join(shims, 'node.js'), 'process'] }
  }, { dir: page, entryFileNames: 'wallet.js', chunkFileNames: '[name].js', sourcemap: true, minify: true })
  const styles = readdirSync(join(here, 'page', 'styles')).sort().map(name => readFileSync(join(here, 'page', 'styles', name), 'utf8'))
  const chart = readFileSync(join(root, 'node_modules', 'uplot', 'dist', 'uPlot.min.css'), 'utf8')
  writeFileSync(join(page, 'wallet.css'), [chart, ...styles].join('\n'))
  for (const name of ['index.html', 'early-theme.js', 'icon.svg']) copyFileSync(join(here, 'page', name), join(page, name))
  renderDocuments(join(here, 'docs'), join(page, 'docs'))
  writeFileSync(join(page, 'docs', 'documents.css'), [styles[0], readFileSync(join(here, 'docs', 'documents.css'), 'utf8')].join('\n'))
  // What is shown where the reference would be.
  mkdirSync(join(page, 'api'))
  renameSync(join(page, 'docs', 'api.html'), join(page, 'api', 'index.html'))
  mkdirSync(join(page, 'small'))
  copyFileSync(join(here, 'small', 'index.html'), join(page, 'small', 'index.html'))
  copyFileSync(join(root, 'dist', 'ilp-plugin-paychan.umd.js'), join(page, 'small', 'ilp-plugin-paychan.umd.js'))
}

/** Puts the package where whoever has that folder in NODE_PATH finds it by its name, as it would be if it were installed. */
function makePackage(folder) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'ilp-plugin-paychan', main: 'index.cjs' }))
  writeFileSync(join(folder, 'index.cjs'), `module.exports = require(${JSON.stringify(join(root, 'dist', 'node.cjs'))})\n`)
}

function digestOfSources() {
  const sources = readdirSync(here, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .sort()
  const digest = createHash('sha256')
  for (const path of [...sources, join(root, '.build', 'digest')]) digest.update(path.slice(root.length)).update('\0').update(readFileSync(path)).update('\0')
  return digest.digest('hex')
}

/** Bundles one entry. Types are checked by `npm run types`; here they are only taken away. */
async function bundle({ alias = {}, inject = {}, ...input }, output) {
  const bundled = await rolldown({
    ...input,
    resolve: { alias, extensionAlias: { '.js': ['.ts', '.tsx', '.js'] } },
    tsconfig: false,
    transform: { jsx: { runtime: 'automatic', importSource: 'preact' }, inject },
    onLog: (level, log, handler) => { handler(level === 'warn' ? 'error' : level, log) }
  })
  await bundled.write({ format: 'es', ...output })
  await bundled.close()
}
