/**
 * Where the records of open transfers lie in the store: in pages, several to a page, and each transfer in one page only. Imports core.
 *
 * What a commit opens or moves on gets pages of its own, and the pages that it lay in are written anew without it, or deleted when nothing
 * stays in them. So a commit of many changes writes few records, whatever becomes of each transfer, and no order among pages matters.
 */
import type { Group } from './committer.js'
import type { LedgerKeys } from './records.js'

/** The most transfers in a page, and the most characters unless one has more: when one of them ends, the others are written again. */
const PAGE_TRANSFERS = 32
const PAGE_CHARACTERS = 65_536

/** What a commit does to the pages. */
export interface PageChange {
  /** What leaves the page it is in, if any. */
  readonly leaving: ReadonlySet<string>
  /** What gets a new page, of those that leave. */
  readonly arriving: readonly string[]
  /** The record of a transfer that is open. */
  readonly record: (id: string) => string
}

export class OpenPages {
  readonly #keys: LedgerKeys
  readonly #pages = new Map<number, Set<string>>()
  readonly #pageOf = new Map<string, number>()
  #last = 0

  constructor(keys: LedgerKeys) {
    this.#keys = keys
  }

  /** Takes note of a page that the store has. */
  add(page: number, ids: Iterable<string>): void {
    this.#last = Math.max(this.#last, page)
    this.#place(page, ids)
  }

  /** Writes what changes, and takes note of it when that is durable. */
  write(group: Group, { leaving, arriving, record }: PageChange): void {
    const left = new Set<number>()
    for (const id of leaving) {
      const page = this.#pageOf.get(id)
      if (page !== undefined) left.add(page)
    }
    for (const page of left) {
      const staying = [...this.#pages.get(page) ?? []].filter(id => !leaving.has(id))
      if (staying.length === 0) group.delete(this.#keys.open(page))
      else group.put(this.#keys.open(page), textOf(staying.map(record)))
    }
    const added = pagesOf(arriving, record)
    for (const [index, { text }] of added.entries()) group.put(this.#keys.open(this.#last + index + 1), text)
    group.onDurable(() => {
      for (const id of leaving) this.#remove(id)
      for (const { ids } of added) this.#place(++this.#last, ids)
    })
  }

  #place(page: number, ids: Iterable<string>): void {
    const placed = new Set(ids)
    this.#pages.set(page, placed)
    for (const id of placed) this.#pageOf.set(id, page)
  }

  #remove(id: string): void {
    const page = this.#pageOf.get(id)
    if (page === undefined) return
    this.#pageOf.delete(id)
    const others = this.#pages.get(page)
    others?.delete(id)
    if (others?.size === 0) this.#pages.delete(page)
  }
}

function pagesOf(arriving: readonly string[], record: (id: string) => string): Array<{ ids: string[]; text: string }> {
  const pages: Array<{ ids: string[]; records: string[]; characters: number }> = []
  for (const id of arriving) {
    const text = record(id)
    let page = pages.at(-1)
    if (page === undefined || page.ids.length === PAGE_TRANSFERS || page.characters + text.length > PAGE_CHARACTERS) {
      page = { ids: [], records: [], characters: 0 }
      pages.push(page)
    }
    page.ids.push(id)
    page.records.push(text)
    page.characters += text.length
  }
  return pages.map(({ ids, records }) => ({ ids, text: textOf(records) }))
}

function textOf(records: readonly string[]): string {
  return `[${records.join(',')}]`
}
