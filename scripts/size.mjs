/**
 * `npm run size`: how much a page loads, gzipped, and which packages it is made of. Fails over the limit.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { root } from './setup.mjs'

const LIMIT = 55_000
const FILE = 'dist/ilp-plugin-paychan.umd.js'

const gzipped = gzipSync(readFileSync(join(root, FILE)), { level: 9 }).length
const raw = statSync(join(root, FILE)).size
console.log(`${FILE}: ${kilobytes(gzipped)} gzipped of at most ${kilobytes(LIMIT)} (${kilobytes(raw)} raw)`)

const pieces = Object.entries(JSON.parse(readFileSync(join(root, '.build', 'pieces.json'), 'utf8')))
const total = pieces.reduce((sum, [, bytes]) => sum + bytes, 0)
for (const [name, bytes] of pieces.sort((a, b) => b[1] - a[1])) {
  console.log(`  ${name.padEnd(16)} ${((bytes / total) * 100).toFixed(1).padStart(5)} % of the code before minification`)
}

if (gzipped > LIMIT) {
  console.error(`The bundle is ${kilobytes(gzipped - LIMIT)} too big.`)
  process.exitCode = 1
}

function kilobytes(bytes) {
  return `${(bytes / 1000).toFixed(1)} kB`
}
