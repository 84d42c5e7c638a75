/**
 * The history, page by page: the newest page follows what happens, older ones stay as they are.
 */
import { computed, signal } from '@preact/signals'
import type { HistoryEntry, LedgerPlugin } from 'ilp-plugin-paychan'

const PAGE_SIZE = 12

export class Pages {
  readonly entries = signal<readonly HistoryEntry[]>([])
  readonly hasOlder = signal(false)
  /** Counted from 1, the newest. */
  readonly number = signal(1)
  readonly hasNewer = computed(() => this.number.value > 1)
  readonly #plugin: LedgerPlugin
  /** What comes before each of the pages that were turned: the cursor of the last entry of the one before. */
  readonly #cursors: string[] = []

  constructor(plugin: LedgerPlugin) {
    this.#plugin = plugin
  }

  /** Reads the page that is shown again. */
  async refresh(): Promise<void> {
    const before = this.#cursors.at(-1)
    // One more than is shown tells whether there is an older page.
    const found = await this.#plugin.history({ limit: PAGE_SIZE + 1, ...(before === undefined ? {} : { before }) })
    // Whoever turned the page meanwhile reads that one.
    if (before !== this.#cursors.at(-1)) return
    this.entries.value = found.slice(0, PAGE_SIZE)
    this.hasOlder.value = found.length > PAGE_SIZE
    this.number.value = this.#cursors.length + 1
  }

  async older(): Promise<void> {
    const last = this.entries.value.at(-1)
    if (last === undefined || !this.hasOlder.value) return
    this.#cursors.push(last.cursor)
    await this.refresh()
  }

  async newer(): Promise<void> {
    this.#cursors.pop()
    await this.refresh()
  }

  async newest(): Promise<void> {
    this.#cursors.length = 0
    await this.refresh()
  }
}
