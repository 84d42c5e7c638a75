/**
 * `npm run build`: TypeScript to .build, then Rollup to dist. `buildWhenStale` is for those who only need a build to be there.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'
import { root } from './setup.mjs'

const DIGEST = join(root, '.build', 'digest')
const CONFIGURATION = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'rollup.config.mjs', 'scripts/bundle-order.json', 'scripts/internal-names.mjs', 'scripts/licenses.mjs']

/** Builds when dist was made from other sources than those here. Returns whether there is a build of these sources now. */
export function buildWhenStale() {
  const current = existsSync(join(root, 'dist')) && existsSync(DIGEST) && readFileSync(DIGEST, 'utf8') === digestOfSources()
  if (current) return true
  console.log('Building ...')
  return build()
}

/** Builds; returns whether it succeeded. A failed build leaves no dist that could be taken for a good one. */
function build() {
  rmSync(join(root, '.build', 'js'), { recursive: true, force: true })
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  const built = node('typescript/bin/tsc', '-p', 'tsconfig.build.json') && node('rollup/dist/bin/rollup', '-c', '--silent')
  if (!built) {
    rmSync(join(root, 'dist'), { recursive: true, force: true })
    return false
  }
  mkdirSync(join(root, '.build'), { recursive: true })
  writeFileSync(DIGEST, digestOfSources())
  return true
}

function node(script, ...args) {
  const path = join(root, 'node_modules', script)
  return spawnSync(process.execPath, [path, ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0
}

function digestOfSources() {
  const sources = ['src', join('scripts', 'browser')]
    .flatMap(folder => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .sort()
  const digest = createHash('sha256')
  for (const path of [...sources, ...CONFIGURATION.map(name => join(root, name))]) {
    digest.update(path.slice(root.length)).update('\0').update(readFileSync(path)).update('\0')
  }
  return digest.digest('hex')
}

if (argv[1] === fileURLToPath(import.meta.url) && !build()) process.exitCode = 1
