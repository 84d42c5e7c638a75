/**
 * `npm run size`: how much each entry loads, gzipped, and which packages the browser bundle is made of. Fails over a limit.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import nodeResolve from '@rollup/plugin-node-resolve'
import { rollup } from 'rollup'
import { minifySync } from 'rolldown/utils'
import { root } from './setup.mjs'

const read = name => readFileSync(join(root, 'dist', name), 'utf8')

/** For who loads everything in a page. The README names it. */
const LIMIT = 60_000

/** Most bytes, gzipped, of each thing that somebody loads. */
const ENTRIES = [
  { name: 'script tag (the UMD file)', limit: LIMIT, code: () => read('ilp-plugin-paychan.umd.js') },
  { name: "import Plugin, in a browser's bundle", limit: LIMIT, code: () => bundle("export { default } from './dist/browser.js'") },
  { name: "import { MemoryStore }, in a browser's bundle", limit: 3_000, code: () => bundle("export { MemoryStore } from './dist/browser.js'") },
  { name: 'Node (the CommonJS file)', limit: 95_000, code: () => read('node.cjs') }
]

for (const { name, limit, code } of ENTRIES) {
  const text = await code()
  const gzipped = gzipSync(text, { level: 9 }).length
  console.log(`${name}: ${kilobytes(gzipped)} gzipped of at most ${kilobytes(limit)} (${kilobytes(Buffer.byteLength(text))} raw)`)
  if (gzipped > limit) {
    console.error(`${name} is ${kilobytes(gzipped - limit)} too big.`)
    process.exitCode = 1
  }
}

const pieces = Object.entries(JSON.parse(readFileSync(join(root, '.build', 'pieces.json'), 'utf8')))
const total = pieces.reduce((sum, [, bytes]) => sum + bytes, 0)
console.log('The UMD file before minification:')
for (const [name, bytes] of pieces.sort((a, b) => b[1] - a[1])) {
  console.log(`  ${name.padEnd(16)} ${((bytes / total) * 100).toFixed(1).padStart(5)} %`)
}

/** What a consumer's bundler makes of a line of code: bundled as package.json tells it, and minified. */
async function bundle(code) {
  const id = join(root, 'consumer.js')
  const entry = { name: 'entry', resolveId: source => (source === id ? id : null), load: source => (source === id ? code : null) }
  const built = await rollup({ input: id, plugins: [entry, nodeResolve({ browser: true })] })
  const { output: [chunk] } = await built.generate({ format: 'es' })
  await built.close()
  return minifySync('consumer.js', chunk.code, { module: true }).code
}

function kilobytes(bytes) {
  return `${(bytes / 1000).toFixed(1)} kB`
}
