/**
 * One deliberate bug at a time, in a copy of the project: patched in, hunted by what should catch it, taken out again.
 *
 * A bug counts as caught only for the right reason: the simulator names a rule that is violated, or a test fails by itself. A patch that
 * does not fit, does not compile or names what is not there is a fault of the list; so is a catcher that fails without the patch.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { URL, fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** The longest that a catcher may take. Those of the list take a few seconds; in a browser, for which all is built and packed, a minute. */
const PATIENCE_MS = 180_000
/** What is no source: made, installed, or kept by somebody. */
const NO_SOURCES = new Set(['.git', 'node_modules', 'dist', 'dist-docs', '.build', '.data', 'coverage'])
/** A program that cannot run at all proves nothing of its tests. */
const BROKEN = /^ReferenceError|^SyntaxError(?!.*JSON)|is not (a function|a constructor|defined)|Cannot find (module|package)|Failed to (resolve|load)/

/** @typedef {{ outcome: 'caught' | 'survived' | 'wrong', what: string }} Verdict `wrong`: the list is, not the program */

/** What git runs, or undefined where there is no git, or no repository. */
export function git(...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

/** The sources in a folder of their own. */
export class Copy {
  #folder = mkdtempSync(join(tmpdir(), 'paychan-mutants-'))

  constructor() {
    const listed = existsSync(join(root, '.git')) ? git('ls-files', '--cached', '--others', '--exclude-standard') : undefined
    const names = listed === undefined ? readdirSync(root).filter(name => !NO_SOURCES.has(name) && !name.endsWith('.tgz')) : listed.split('\n')
    for (const name of names) {
      const from = join(root, name)
      // What is deleted and not committed yet is listed all the same.
      if (!existsSync(from)) continue
      mkdirSync(dirname(join(this.#folder, name)), { recursive: true })
      cpSync(from, join(this.#folder, name), { recursive: true })
    }
    symlinkSync(join(root, 'node_modules'), join(this.#folder, 'node_modules'), 'junction')
  }

  remove() {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** @returns {Verdict} of one bug */
  try({ file, find, replace, by }) {
    const path = join(this.#folder, file)
    if (!existsSync(path)) return wrong(`there is no ${file}`)
    const source = readFileSync(path, 'utf8')
    const count = source.split(find).length - 1
    if (count !== 1) return wrong(`what to find is ${count} times in ${file}`)
    writeFileSync(path, source.replace(find, () => replace))
    try {
      return this.hunt(by)
    } finally {
      writeFileSync(path, source)
    }
  }

  /** Runs a catcher as the sources are now: what it says of them. @returns {Verdict} */
  hunt(by) {
    if ('sim' in by) return this.#simulate(by.sim)
    if (!by.test.startsWith('e2e/')) return this.#test(by)
    const { status, stdout, stderr } = this.#node(['scripts/build.mjs'])
    return status === 0 ? this.#test(by, ['--config', 'vitest.e2e.config.ts']) : wrong(firstLine(stderr || stdout))
  }

  #simulate(seeds) {
    const { status, stdout, stderr, error } = this.#node(['test/sim/main.mjs', '--seeds', String(seeds), '--first'])
    const violated = /^(seed \d+: [^\n;]{1,160})/m.exec(stdout)
    if (violated !== null && status === 1) return { outcome: 'caught', what: violated[1] }
    if (status === 0) return { outcome: 'survived', what: `${seeds} seeds` }
    return wrong(error?.message ?? firstLine(stderr || stdout))
  }

  #test({ test, only }, options = ['--testTimeout=10000']) {
    const report = join(this.#folder, '.build', 'mutant.json')
    rmSync(report, { force: true })
    const fast = ['--pool=threads', '--no-isolate', '--no-file-parallelism', '--bail=1', ...options]
    const { status, stderr, error } = this.#node([
      'node_modules/vitest/vitest.mjs', 'run', test, ...fast, '--reporter=json', `--outputFile=${report}`, ...(only === undefined ? [] : ['-t', only])
    ])
    if (!existsSync(report)) return wrong(error?.message ?? firstLine(stderr))
    const tests = JSON.parse(readFileSync(report, 'utf8')).testResults
    const all = tests.flatMap(({ assertionResults }) => assertionResults)
    const failed = all.find(one => one.status === 'failed')
    if (failed === undefined) {
      if (status !== 0) return wrong(firstLine(tests.find(({ message }) => message)?.message ?? stderr))
      const passed = all.filter(one => one.status === 'passed').length
      return passed > 0 ? { outcome: 'survived', what: `${passed} tests of ${test}` } : wrong(`no test of ${test} is called ${only}`)
    }
    const reason = firstLine(failed.failureMessages[0] ?? '')
    return BROKEN.test(reason) ? wrong(reason) : { outcome: 'caught', what: `${test}: ${failed.title}` }
  }

  #node(args) {
    return spawnSync(process.execPath, args, { cwd: this.#folder, encoding: 'utf8', timeout: PATIENCE_MS, killSignal: 'SIGKILL', maxBuffer: 2 ** 28 })
  }
}

function wrong(what) {
  return { outcome: 'wrong', what }
}

function firstLine(text) {
  return text.split('\n').find(line => line.trim() !== '')?.trim() ?? 'no word of why'
}
