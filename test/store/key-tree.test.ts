import fc from 'fast-check'
import { expect, it } from 'vitest'
import { keysOf, KeyTreeChange, type Page, PAGE_KEYS, parsePage } from '../../src/store/key-tree.js'

/** The pages as a store would hold them: texts, so that nothing can change them but a commit. */
class Pages {
  readonly texts = new Map<number, string>()
  reads = 0

  readonly read = (id: number): Promise<Page | undefined> => {
    this.reads++
    const text = this.texts.get(id)
    return Promise.resolve(text === undefined ? undefined : deepFreeze(parsePage(`page ${id}`, text)))
  }

  async change(adds: readonly string[], removes: readonly string[]): Promise<KeyTreeChange> {
    const change = await KeyTreeChange.begin([...adds, ...removes], this.read)
    for (const key of adds) change.add(key)
    for (const key of removes) change.remove(key)
    for (const [id, page] of change.changed) {
      if (page === undefined) this.texts.delete(id)
      else this.texts.set(id, JSON.stringify(page))
    }
    return change
  }

  async keys(prefix = '', from = prefix): Promise<string[]> {
    const keys: string[] = []
    for await (const some of keysOf(this.read, prefix, from)) keys.push(...some)
    return keys
  }

  /** How many pages can be reached from the root. */
  async reachable(id = 0): Promise<number> {
    let count = 1
    for (const child of (await this.read(id))?.children ?? []) count += await this.reachable(child)
    return count
  }
}

function deepFreeze(page: Page): Page {
  Object.freeze(page.keys)
  Object.freeze(page.children)
  return Object.freeze(page)
}

const name = (n: number): string => `${'ab'.charAt(n % 2)}:${String(n).padStart(4, '0')}`

/** Runs of keys, upwards and downwards, dense and sparse, taken in or thrown out. */
const run = fc.record({ first: fc.nat(1999), step: fc.constantFrom(1, -1, 2, -2, 7, -61), count: fc.nat(400), remove: fc.boolean() })

it('agrees with a sorted set, keeps its pages bounded, and leaves none behind', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(run, { maxLength: 4 }), { maxLength: 8 }), fc.nat(1999), async (changes, from) => {
      const pages = new Pages()
      const model = new Set<string>()
      for (const runs of changes) {
        const keysOfRuns = (remove: boolean): string[] =>
          runs.flatMap(({ first, step, count, remove: removes }) =>
            removes === remove ? Array.from({ length: count }, (_, n) => name((2000 + ((first + n * step) % 2000)) % 2000)) : []
          )
        const [adds, removes] = [keysOfRuns(false), keysOfRuns(true)]
        await pages.change(adds, removes)
        for (const key of adds) model.add(key)
        for (const key of removes) model.delete(key)
        const sorted = [...model].sort()
        expect(await pages.keys()).toEqual(sorted)
        expect(await pages.keys('a:')).toEqual(sorted.filter(key => key.startsWith('a:')))
        expect(await pages.keys('', name(from))).toEqual(sorted.filter(key => key >= name(from)))
        for (const [id, text] of pages.texts) expect(parsePage(`page ${id}`, text).keys.length).toBeLessThanOrEqual(PAGE_KEYS)
        expect(await pages.reachable()).toBe(Math.max(1, pages.texts.size))
      }
    }),
    { numRuns: 150 }
  )
})

it('changes no page for keys that are there already, or absent already', async () => {
  const pages = new Pages()
  const all = Array.from({ length: 1000 }, (_, n) => `k:${n}`)
  await pages.change(all, [])
  expect((await pages.change(all, ['x', 'k:', 'k:1000'])).changed.size).toBe(0)
})

it('reads and writes only the pages on the way to a key', async () => {
  const pages = new Pages()
  await pages.change(Array.from({ length: 20_000 }, (_, n) => `k:${String(n).padStart(6, '0')}`), [])
  pages.reads = 0
  const change = await pages.change(['k:010000x'], [])
  expect(pages.reads).toBeLessThanOrEqual(3)
  expect(change.changed.size).toBeLessThanOrEqual(4)
})
