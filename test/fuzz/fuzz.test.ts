/**
 * The fuzzer for a few seconds, by a seed that is always the same. `npm run fuzz` goes on for as long as it is told, by another one each time.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { compilePackage } from '../support/compiled.js'

const SEED = 20_171_224
/** Visits of each lane: about ten seconds. */
const ROUNDS = 15

const run = promisify(execFile)

let compiled: Awaited<ReturnType<typeof compilePackage>>
beforeAll(async () => { compiled = await compilePackage() }, 60_000)
afterAll(() => compiled.remove())

it('H22, H32, H37, H38, H47: whatever is sent, the listener lives, honest peers are served, books are exact and memory is flat', { timeout: 120_000 }, async () => {
  const main = fileURLToPath(new URL('main.mjs', import.meta.url))
  // What must not be is told by a status that is not 0, and by what is written then.
  const { stdout } = await run(process.execPath, [main, '--entry', compiled.entry, '--seed', String(SEED), '--rounds', String(ROUNDS)])
  expect(stdout).toContain(`seed ${SEED}, ${ROUNDS} rounds`)
  // The test has tested something.
  for (const figure of [/(\d+) of \d+ fulfilled/, /(\d+) slow readers/, /oversized (\d+)/, /(\d+) honest payments/]) {
    expect([figure.source, Number(figure.exec(stdout)?.[1])]).not.toEqual([figure.source, 0])
  }
})
