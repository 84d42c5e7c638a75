/**
 * Looks for an order of our files in which the minified file is smaller: `node scripts/find-order.mjs`, after a build, for ten minutes or
 * `--minutes N`. Moves one file or several to another place, and keeps what makes the file smaller, in bundle-order.json.
 */
import console from 'node:console'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chdir } from 'node:process'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { rollup } from 'rollup'
import { root } from './setup.mjs'

chdir(root)
const { ORDER, inOneFile, umd } = await import('../rollup.config.mjs')
const { values: { minutes } } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } })
const end = Date.now() + Number(minutes) * 60_000

let best = ORDER
let least = await sizeOf(best)
console.log(`${least} bytes`)
while (Date.now() < end) {
  const next = [...best]
  const moved = next.splice(random(next.length), Math.random() < 0.6 ? 1 : 2 + random(4))
  next.splice(random(next.length + 1), 0, ...moved)
  const size = await sizeOf(next)
  if (size >= least) continue
  best = next
  least = size
  console.log(`${least} bytes: ${moved.join(', ')}`)
  writeFileSync(join(root, 'scripts', 'bundle-order.json'), `${JSON.stringify(best, null, 2)}\n`)
}

async function sizeOf(order) {
  const built = await rollup(inOneFile(order))
  const { output: [{ code }] } = await built.generate(umd)
  await built.close()
  return gzipSync(code, { level: 9 }).length
}

function random(below) {
  return Math.floor(Math.random() * below)
}
