/**
 * A store in a page, used from here: so that the suite for stores runs over a real browser's.
 */
import type { Page } from 'playwright-core'
import * as errors from '../../src/core/errors.js'
import type { Batch, ListOptions, Store } from '../../src/core/store.js'

/** What a page has as globals: the package, and the stores that were made there, by number. */
interface PageGlobals {
  library: { IndexedDBStore: new (options: object) => Store }
  stores: Store[] | undefined
}

/** What became of a call in the page; the value is JSON. */
type Answer = { readonly value: string } | { readonly error: { name: string; message: string; outcome: errors.Outcome | undefined } }

export class PageStore implements Store {
  readonly #page: Page
  readonly #number: number
  /** What commits wait for: something that is done to the browser from another side. */
  beforeCommit: Promise<unknown> | undefined

  private constructor(page: Page, number: number) {
    this.#page = page
    this.#number = number
  }

  /** Makes an IndexedDBStore in a page that has the package as `library`. */
  static async make(page: Page, name: string): Promise<PageStore> {
    const number = await page.evaluate(name => {
      const here = globalThis as unknown as PageGlobals
      here.stores ??= []
      return here.stores.push(new here.library.IndexedDBStore({ name })) - 1
    }, name)
    return new PageStore(page, number)
  }

  get(key: string): Promise<string | undefined> {
    return this.#call('get', [key]) as Promise<string | undefined>
  }

  list(prefix: string, options?: ListOptions): Promise<Array<[key: string, value: string]>> {
    return this.#call('list', options === undefined ? [prefix] : [prefix, options]) as Promise<Array<[string, string]>>
  }

  async commit(batch: Batch): Promise<boolean> {
    if (this.beforeCommit !== undefined) await this.beforeCommit
    return this.#call('commit', [batch]) as Promise<boolean>
  }

  async close(): Promise<void> {
    await this.#call('close', [])
  }

  /** Values go as JSON, which keeps half of a surrogate pair; the channel to the browser would not. */
  async #call(method: keyof Store, values: unknown[]): Promise<unknown> {
    const text = JSON.stringify(values, (_key, value: unknown) => (isLostInJson(value) ? { mark: String(value) } : value))
    const answer = await this.#page.evaluate(callInPage, { number: this.#number, method, text })
    if ('value' in answer) return (JSON.parse(answer.value) as { value?: unknown }).value
    const { name, message, outcome } = answer.error
    if (name === 'InvalidFieldsError') throw new errors.InvalidFieldsError(message)
    if (name === 'StoreError') throw new errors.StoreError(message, outcome === undefined ? {} : { outcome })
    throw new Error(`${name}: ${message}`)
  }
}

function isLostInJson(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && !Number.isFinite(value))
}

/** Runs in the page, where nothing from outside of it is at hand. */
async function callInPage({ number, method, text }: { number: number; method: keyof Store; text: string }): Promise<Answer> {
  const marks: Readonly<Record<string, unknown>> = { undefined, NaN, Infinity, '-Infinity': -Infinity }
  const isMark = (value: unknown): value is { mark: string } => typeof value === 'object' && value !== null && 'mark' in value
  // What is undefined becomes a hole in its array, which reads as undefined.
  const values = JSON.parse(text, (_key, value: unknown) => (isMark(value) ? marks[value.mark] : value)) as unknown[]
  const store = (globalThis as unknown as PageGlobals).stores?.[number] as unknown as Record<string, (...values: unknown[]) => Promise<unknown>>
  try {
    return { value: JSON.stringify({ value: await store[method]?.(...values) }) }
  } catch (thrown) {
    const { name, message, outcome } = thrown as errors.StoreError
    return { error: { name, message, outcome } }
  }
}
