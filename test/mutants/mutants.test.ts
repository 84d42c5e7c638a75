/** That the list of deliberate bugs fits the sources. `npm run mutants` tries them. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { MUTANTS } from './list.mjs'

const root = join(import.meta.dirname, '..', '..')
const read = (file: string): string => readFileSync(join(root, file), 'utf8')

describe('the list of deliberate bugs', () => {
  it('has at least 40, each under a name of its own', () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(40)
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length)
  })

  it.each(MUTANTS)('$name: there is one place for it, in $file', ({ file, find, replace }) => {
    expect(read(file).split(find)).toHaveLength(2)
    expect(replace).not.toBe(find)
  })

  it('names rules and hazards that there are, and tests that catch', () => {
    const known = read('test/HAZARDS.md') + read('test/CONFORMANCE.md')
    for (const { rule, by } of MUTANTS) {
      expect(/^I[1-9]$/.test(rule) || known.includes(`| ${rule} |`)).toBe(true)
      expect('sim' in by ? by.sim > 0 : existsSync(join(root, by.test))).toBe(true)
    }
  })
})
