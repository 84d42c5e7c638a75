/**
 * Makes a store of a host's plain `{get, put, del}`, which can do one key at a time and cannot list. Imports core.
 *
 * What the caller puts under a key stands there as it is, so that a store which the old package wrote opens here, and the other
 * way round. All that the wrapper adds lies under keys that begin with `paychan:store:`:
 *
 * - `paychan:store:journal`: a whole batch, as one value. From the moment that this put has landed the batch counts: what a
 *   crash or an error leaves undone is done again from it, by the next call or at the next opening. It is deleted when the keys
 *   hold their values.
 * - `paychan:store:index:<n>`: the pages of the index (see key-tree.ts), which change in the same batch as the keys that they
 *   list. Keys that only the old package wrote are not in it: `get` reaches them, `list` does not.
 *
 * What is asked of the host's store: a put takes effect as a whole or not at all; one that rejected may have taken effect, but
 * will not later on; nobody else writes to it meanwhile. Writes go to it one at a time, as they did from the old package.
 *
 * And it answers each call, be it with an error, as one does whose connection is lost. There is no deadline here: a write that was given up
 * could take effect behind later ones and undo them, money with them. So all wait for the one that hangs, whoever asked is told by his own
 * deadline, and a store that never answers is as good as one that is away, until the process starts anew.
 */
import { fromUtf8 } from '../core/bytes.js'
import { InvalidFieldsError, messageOf, StoreError } from '../core/errors.js'
import { parseIfJson } from '../core/json.js'
import type { Batch, KeyValueStore, ListOptions, Store } from '../core/store.js'
import { checkBatch, checkKey, checkList, closedError } from './check.js'
import { keysOf, KeyTreeChange, type Page, parsePage } from './key-tree.js'

const OWN_PREFIX = 'paychan:store:'
const JOURNAL_KEY = `${OWN_PREFIX}journal`
const PAGE_PREFIX = `${OWN_PREFIX}index:`

/** How many pages of the index stay in memory. */
const CACHED_PAGES = 256

/** How often a write is tried before the call ends; without a pause, since a store has no clock. */
const ATTEMPTS = 3

/** What a batch does to each key: a value, or null to delete it. */
type Writes = ReadonlyMap<string, string | null>

interface Journal {
  readonly version: 1
  /** One more than the journal before it, to tell them apart. */
  readonly id: number
  readonly writes: ReadonlyArray<readonly [key: string, value: string | null]>
}

const wrappers = new WeakMap<KeyValueStore, Map<string, JournaledStore>>()

/**
 * Wraps a host's plain store. The same object gets the same wrapper until that is closed: it keeps the commits of all its users
 * apart, so their guards hold among each other. Between processes, or between two objects over the same data, they do not.
 *
 * `commit` resolves with true once the keys hold their values. If the journal landed, but a key cannot be written even after
 * repeated attempts, it resolves with true as well, for the batch is durable: reads show it, and every later call first
 * tries to complete it. Until that succeeds further commits reject.
 *
 * @param keyPrefix what all keys begin with in the host's store, where that needs to be told apart from other things there
 * @throws InvalidFieldsError naming the method that is missing
 */
export function wrapKeyValueStore(store: KeyValueStore, keyPrefix = ''): Store {
  const given: unknown = store
  if (typeof given !== 'object' || given === null) throw new InvalidFieldsError('store must be an object with get, put and del')
  for (const method of ['get', 'put', 'del'] as const) {
    if (typeof store[method] !== 'function') throw new InvalidFieldsError(`store.${method} must be a function`)
  }
  const wrappersOfStore = wrappers.get(store) ?? new Map<string, JournaledStore>()
  wrappers.set(store, wrappersOfStore)
  let wrapper = wrappersOfStore.get(keyPrefix)
  if (wrapper?.isOpen !== true) {
    wrapper = new JournaledStore(store, keyPrefix, wrapper)
    wrappersOfStore.set(keyPrefix, wrapper)
  }
  return wrapper
}

class JournaledStore implements Store {
  /** The old package put no prefix before its keys. */
  readonly opensInOldPackage: boolean
  readonly #host: KeyValueStore
  readonly #keyPrefix: string
  /** The end of all jobs so far: commits and listings run one after the other. Never rejects (H7). */
  #tail: Promise<void> = Promise.resolve()
  #closed = false
  /** Whether the host may hold a journal that we do not know: at first, and after a put of which we could not learn the outcome. */
  #journalUnknown = true
  /** Whether the journal in the host still has to be deleted, once what it says is done. */
  #journalStands = false
  #journalId = 0
  /** What has landed in the journal and may not stand under its keys yet. */
  #landed: Writes = new Map()
  readonly #pages = new Map<number, Page>()

  /** Begins when the one before has ended, which was closed. */
  constructor(host: KeyValueStore, keyPrefix: string, before: JournaledStore | undefined) {
    if (before !== undefined) this.#tail = before.#tail
    this.#host = host
    this.#keyPrefix = keyPrefix
    this.opensInOldPackage = keyPrefix === ''
  }

  async get(key: string): Promise<string | undefined> {
    this.#checkOpen()
    checkKey(key)
    checkOwn(key)
    // Does not wait for a commit that is under way, and shows nothing of it before its journal has landed.
    if (this.#journalUnknown) await this.#exclusive(() => this.#recover())
    return this.#read(key)
  }

  async list(prefix: string, options: ListOptions = {}): Promise<Array<[key: string, value: string]>> {
    this.#checkOpen()
    const { from, limit } = checkList(prefix, options)
    return this.#exclusive(async () => {
      await this.#recover()
      const entries: Array<[string, string]> = []
      if (limit === 0) return entries
      for await (const keys of keysOf(this.#readPage, prefix, from)) {
        const wanted = keys.filter(key => key !== options.after)
        const values = await Promise.all(wanted.map(key => this.#read(key)))
        for (const [index, key] of wanted.entries()) {
          const value = values[index]
          // A key that somebody removed past us is still in the index.
          if (value === undefined) continue
          entries.push([key, value])
          if (entries.length === limit) return entries
        }
      }
      return entries
    })
  }

  async commit(batch: Batch): Promise<boolean> {
    this.#checkOpen()
    checkBatch(batch)
    const { puts = [], deletes = [], guards = [] } = batch
    for (const [key] of puts) checkOwn(key)
    for (const [key] of guards) checkOwn(key)
    for (const key of deletes) checkOwn(key)
    return this.#exclusive(async () => {
      await this.#recover()
      if (this.#landed.size > 0) throw new StoreError('the store has not taken all of an earlier write yet; try again later')
      const held = await Promise.all(guards.map(([key]) => this.#read(key)))
      if (guards.some(([, expected], index) => held[index] !== expected)) {
        // It is not what its user takes it for: it may have been emptied, or another one was put in its place, with an index of its own.
        this.#pages.clear()
        return false
      }
      if (puts.length === 0 && deletes.length === 0) return true
      const writes = new Map<string, string | null>(puts)
      const index = await KeyTreeChange.begin([...writes.keys(), ...deletes], this.#readPage)
      for (const key of writes.keys()) index.add(key)
      for (const key of deletes) {
        writes.set(key, null)
        index.remove(key)
      }
      for (const [id, page] of index.changed) writes.set(pageKey(id), page === undefined ? null : JSON.stringify(page))
      await this.#writeJournal(writes)
      // From here on the batch has landed, whatever happens.
      for (const [id, page] of index.changed) this.#cachePage(id, page)
      await this.#complete()
      return true
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#pages.clear()
    await this.#tail
  }

  get isOpen(): boolean {
    return !this.#closed
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError()
  }

  /** Runs a job after all that were given before it, whether those succeeded or not. */
  #exclusive<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(job)
    const tidy = (): Promise<void> => this.#deleteJournal()
    this.#tail = result.then(tidy, tidy)
    return result
  }

  /** Finds the journal of an earlier crash or error, and completes what it says. */
  async #recover(): Promise<void> {
    if (this.#journalUnknown) {
      const text = await this.#readHost(JOURNAL_KEY)
      const journal = text === undefined ? undefined : parseJournal(text)
      this.#landed = new Map(journal?.writes)
      this.#journalId = Math.max(this.#journalId, journal?.id ?? 0)
      this.#journalStands = text !== undefined
      this.#journalUnknown = false
    }
    await this.#complete()
  }

  /**
   * Puts a whole batch into the journal.
   * @throws StoreError when it did not land; with `outcome: 'unknown'` when that cannot be said: the next call finds out
   */
  async #writeJournal(writes: Writes): Promise<void> {
    const journal: Journal = { version: 1, id: ++this.#journalId, writes: [...writes] }
    try {
      await this.#host.put(this.#keyPrefix + JOURNAL_KEY, JSON.stringify(journal))
    } catch (cause) {
      const message = `the store did not take a write: ${messageOf(cause)}`
      let found: string | undefined
      try {
        found = await this.#readHost(JOURNAL_KEY)
      } catch {
        this.#journalUnknown = true
        this.#pages.clear()
        throw new StoreError(message, { cause, outcome: 'unknown' })
      }
      if (found === undefined || parseJournal(found)?.id !== journal.id) throw new StoreError(message, { cause })
    }
    this.#journalStands = true
    this.#landed = writes
  }

  /** Gives the keys the values that have landed. Those that cannot be written now stay in `#landed`. */
  async #complete(): Promise<void> {
    for (const [key, value] of this.#landed) {
      if (!(await this.#writeHost(key, value))) return
    }
    this.#landed = new Map()
  }

  /** A journal that cannot be deleted does no harm: the next one takes its place, and it says only what already stands. */
  async #deleteJournal(): Promise<void> {
    if (!this.#journalStands || this.#landed.size > 0 || this.#journalUnknown) return
    this.#journalStands = !(await this.#writeHost(JOURNAL_KEY, null))
  }

  async #writeHost(key: string, value: string | null): Promise<boolean> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        await (value === null ? this.#host.del(this.#keyPrefix + key) : this.#host.put(this.#keyPrefix + key, value))
        return true
      } catch (error) {
        if (value === null && isNotFound(error)) return true
      }
    }
    return false
  }

  async #read(key: string): Promise<string | undefined> {
    const landed = this.#landed.get(key)
    return landed === undefined ? this.#readHost(key) : (landed ?? undefined)
  }

  async #readHost(key: string): Promise<string | undefined> {
    try {
      return textOf(await this.#host.get(this.#keyPrefix + key))
    } catch (cause) {
      if (isNotFound(cause)) return undefined
      throw new StoreError(`the store cannot read ${key}: ${messageOf(cause)}`, { cause })
    }
  }

  readonly #readPage = async (id: number): Promise<Page | undefined> => {
    let page = this.#pages.get(id)
    if (page === undefined) {
      const text = await this.#read(pageKey(id))
      page = text === undefined ? undefined : parsePage(pageKey(id), text)
    }
    this.#cachePage(id, page)
    return page
  }

  /** Keeps a page as the one used last, and lets go of the one that was not used for longest. */
  #cachePage(id: number, page: Page | undefined): void {
    this.#pages.delete(id)
    if (page === undefined) return
    this.#pages.set(id, page)
    if (this.#pages.size <= CACHED_PAGES) return
    for (const oldest of this.#pages.keys()) {
      this.#pages.delete(oldest)
      return
    }
  }
}

function pageKey(id: number): string {
  return `${PAGE_PREFIX}${id}`
}

function checkOwn(key: string): void {
  if (key.startsWith(OWN_PREFIX)) throw new InvalidFieldsError(`keys that begin with ${OWN_PREFIX} are the store's own`)
}

/**
 * Reads a journal. One that is cut short was never written as a whole, and nothing of its batch can have begun: so it counts
 * as none.
 * @throws StoreError for the journal of a newer version
 */
function parseJournal(text: string): Journal | undefined {
  const journal = parseIfJson(text) as Partial<Journal> | null | undefined
  if (journal === undefined) return undefined
  if (journal?.version !== 1 || typeof journal.id !== 'number' || !Array.isArray(journal.writes)) {
    throw new StoreError(`the record under '${JOURNAL_KEY}' is damaged, or was written by a newer version`)
  }
  return journal as Journal
}

/** The text of what a host gave for a key: some parse JSON for us, some give bytes, some null for what is absent. */
function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  const text = value instanceof Uint8Array ? fromUtf8(value) : typeof value === 'string' ? value : JSON.stringify(value)
  if (typeof text !== 'string') throw new StoreError('the value is no text')
  return text
}

function isNotFound(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  return ('notFound' in error && error.notFound === true) || ('name' in error && error.name === 'NotFoundError')
}
