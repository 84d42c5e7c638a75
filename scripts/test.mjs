/**
 * `npm test`: installs what is missing, runs every check of the project in order, and ends with `N passed, N failed`, and `, N skipped` where
 * a browser is missing that may be.
 * A step counts as one check, one that runs tests as many as it has tests, and one that tries deliberate bugs as many as it tries. A failing step does not stop those after it,
 * but what needs a build is not run without one.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { installBrowsers, installDependencies, requireNode, root } from './setup.mjs'

const WORK = join(root, '.build')
const SUMMARY = join(WORK, 'summary')

const STEPS = [
  { name: 'lint', script: 'node_modules/eslint/bin/eslint.js', args: ['.', '--max-warnings', '0'] },
  { name: 'types', script: 'node_modules/typescript/bin/tsc', args: ['-p', '.'] },
  { name: 'unused code', script: 'node_modules/knip/bin/knip.js', args: ['--no-progress'] },
  { name: 'API reference', script: 'node_modules/typedoc/bin/typedoc', args: ['--logLevel', 'Warn'] },
  { name: 'build', script: 'scripts/build.mjs', args: [] },
  { name: 'unit, contract and interop tests', suite: 'unit', config: 'vitest.config.ts' },
  { name: 'deliberate bugs', script: 'test/mutants/main.mjs', args: ['--of-commit'], figures: 'mutants' },
  { name: 'size', script: 'scripts/size.mjs', args: [], needsBuild: true },
  { name: 'packed package', script: 'scripts/check-package.mjs', args: [], needsBuild: true },
  { name: "users' projects, browser and demo tests", suite: 'e2e', config: 'vitest.e2e.config.ts', needsBuild: true }
]

requireNode()
rmSync(SUMMARY, { force: true })
installDependencies()
installBrowsers()
mkdirSync(WORK, { recursive: true })

const results = []
for (const step of STEPS) {
  const build = results.find(({ name }) => name === 'build')
  if (step.needsBuild && build.failed > 0) {
    console.log(`\n== ${step.name}: not run, there is no build`)
    results.push({ name: step.name, passed: 0, failed: 1, skipped: 0, seconds: '0.0' })
    continue
  }
  console.log(`\n== ${step.name}`)
  const result = perform(step)
  results.push(result)
  console.log(`== ${step.name}: ${describe(result)}`)
}

console.log('\n== summary')
for (const result of results) {
  console.log(`${result.failed > 0 ? 'FAILED' : 'ok    '}  ${result.name}: ${describe(result)}`)
  for (const failure of result.failures ?? []) console.log(failure.replace(/^/gm, '          '))
}
const failed = sum('failed')
const summary = count({ passed: sum('passed'), failed, skipped: sum('skipped') })
writeFileSync(SUMMARY, `${summary}\n`)
console.log(`\n${summary}`)
process.exitCode = failed > 0 ? 1 : 0

/** Runs a step; returns how many checks passed, failed and were skipped, and its time in seconds. */
function perform(step) {
  const start = process.hrtime.bigint()
  const counts = step.suite === undefined ? runScript(step) : runSuite(step)
  return { name: step.name, ...counts, seconds: (Number(process.hrtime.bigint() - start) / 1e9).toFixed(1) }
}

function runScript({ script, args, figures }) {
  if (figures !== undefined) return runCounting(script, args, join(WORK, `${figures}.json`))
  return node(script, args) ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 }
}

/** One that leaves the number of its checks in a file. */
function runCounting(script, args, file) {
  rmSync(file, { force: true })
  const succeeded = node(script, [...args, '--figures', file])
  const { passed = 0, failed = 0 } = read(file)
  return { passed, failed: succeeded ? failed : Math.max(failed, 1), skipped: 0 }
}

function runSuite({ suite, config }) {
  const report = join(WORK, `${suite}.json`)
  rmSync(report, { force: true })
  const vitest = ['run', '--config', config, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const succeeded = node('node_modules/vitest/vitest.mjs', vitest)
  const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped, testResults } = read(report)
  // A run can fail without a failed test: a file that does not load, an error that nobody caught, no report at all.
  return { passed, failed: succeeded ? failed : Math.max(failed, 1), skipped, failures: failuresOf(testResults) }
}

/** What failed, each with the first of its messages in full: the end of a long output is often all that is kept of it. */
function failuresOf(files) {
  return files.flatMap(({ name, message, assertionResults }) => {
    const failed = assertionResults.filter(({ status }) => status === 'failed')
    const tests = failed.map(({ fullName, failureMessages: [first] }) => `${relative(root, name)}: ${fullName}\n${first}`)
    return message === '' ? tests : [...tests, `${relative(root, name)}\n${message}`]
  })
}

function read(report) {
  try {
    return JSON.parse(readFileSync(report, 'utf8'))
  } catch {
    return { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, testResults: [] }
  }
}

function node(script, args) {
  return spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0
}

function describe(result) {
  return `${count(result)}, ${result.seconds} s`
}

function count({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

function sum(field) {
  return results.reduce((total, result) => total + result[field], 0)
}
