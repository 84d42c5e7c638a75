/**
 * Where the records of open transfers lie in the store: in pages, several to a page, and each transfer in one page only. Imports core.
 *
 * What a commit opens or moves on gets pages of its own, and the pages that it lay in are written anew without it, or deleted when nothing
 * stays in them. So a commit of many changes writes few records, whatever becomes of each transfer, and no order among pages matters.
 */
import { passingMap } from '../core/passing-map.js'
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

/** A page that the store has. */
interface OpenPage {
  readonly number: number
  /** The transfers that lay there when it was last written. Those that lie there still are known by `#pageOf`. */
  ids: readonly string[]
}

export class OpenPages {
  readonly #keys: LedgerKeys
  readonly #pageOf = passingMap<string, OpenPage>()
  #last = 0

  constructor(keys: LedgerKeys) {
    this.#keys = keys
  }

  /** Takes note of a page that the store has. */
  add(number: number, ids: readonly string[]): void {
    this.#last = Math.max(this.#last, number)
    const page: OpenPage = { number, ids }
    for (const id of ids) this.#pageOf.set(id, page)
  }

  /** Writes what changes, and takes note of it when that is durable. */
  write(group: Group, { leaving, arriving, record }: PageChange): void {
    const left = new Map<OpenPage, readonly string[]>()
    for (const id of leaving) {
      const page = this.#pageOf.get(id)
      if (page !== undefined && !left.has(page)) left.set(page, page.ids.filter(one => this.#pageOf.get(one) === page && !leaving.has(one)))
    }
    left.forEach((staying, { number }) => {
      if (staying.length === 0) group.delete(this.#keys.open(number))
      else group.put(this.#keys.open(number), textOf(staying.map(record)))
    })
    const added = pagesOf(arriving, record)
    for (const [index, { text }] of added.entries()) group.put(this.#keys.open(this.#last + index + 1), text)
    group.onDurable(() => {
      for (const id of leaving) this.#pageOf.delete(id)
      left.forEach((staying, page) => { page.ids = staying })
      for (const { ids } of added) this.add(this.#last + 1, ids)
    })
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

/** Joined once: each text that is made of others on the way there is copied once more. */
function textOf(records: readonly string[]): string {
  const parts = ['[']
  for (const record of records) parts.push(record, ',')
  parts[parts.length - 1] = ']'
  return parts.join('')
}
