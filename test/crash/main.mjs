/**
 * `npm run crash`: the kill tests, as often as one likes, with more in flight than `npm test` has; their figures at the end.
 *
 *     npm run crash -- --kills 200          two Node processes, under hosts of LPI v1, then of LPI v2
 *     npm run crash -- --kills 30 --page    a page in Chromium and a Node process; wants a build
 *     npm run crash -- --seed 5 --in-flight 32
 */
import { spawnSync } from 'node:child_process'
import console from 'node:console'
import { randomInt } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { URL, fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    'in-flight': { type: 'string', default: '256' },
    page: { type: 'boolean', default: false }
  }
})

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'paychan-figures-'))
const figures = join(folder, 'figures')
const tests = values.page ? ['--config', 'vitest.e2e.config.ts', 'e2e/wallet-kill.test.ts'] : ['test/crash/kill.test.ts']

const { status } = spawnSync(process.execPath, [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...tests], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, CRASH_KILLS: values.kills, CRASH_SEED: values.seed, CRASH_IN_FLIGHT: values['in-flight'], CRASH_FIGURES: figures }
})
try {
  console.log(readFileSync(figures, 'utf8').trimEnd())
} catch {
  console.error('no run came to its end')
}
if (status !== 0) console.error(`again: npm run crash -- --kills ${values.kills} --seed ${values.seed} --in-flight ${values['in-flight']}${values.page ? ' --page' : ''}`)
rmSync(folder, { recursive: true, force: true })
process.exitCode = status ?? 1
