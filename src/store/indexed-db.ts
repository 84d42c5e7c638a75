/**
 * The browser's store: an IndexedDB database, in pages, dedicated and shared workers. Imports core.
 *
 * The database has one object store of plain strings under plain strings. IndexedDB orders strings by their UTF-16 code units,
 * which is the order that the port asks for.
 *
 * A commit is one transaction, and whatever the transaction waits for is a request of its own: it would be committed half done,
 * or not be there any more, after any other wait.
 */
import { get, promisifyRequest, type UseStore } from 'idb-keyval'
import { InvalidFieldsError, messageOf, StoreError } from '../core/errors.js'
import type { HostLog } from '../core/log.js'
import type { Batch, ListOptions, Store } from '../core/store.js'
import { checkBatch, checkKey, checkList, closedError } from './check.js'

/** Which database of the page's origin, and who is told of it. */
export interface IndexedDBStoreOptions {
  /** The name of the database. Stores of one name and one origin share it, in one page or in several tabs. */
  name: string
  /** Told what became of the request to keep the data, and of connections that were closed from outside. Default: nobody is. */
  log?: HostLog
}

/**
 * How long the browser keeps the data: `'persistent'` until its user removes it; `'best-effort'` until the machine is short of space,
 * or nobody has come to the site for a while; `'unknown'` where the browser does not say.
 */
export type Persistence = 'persistent' | 'best-effort' | 'unknown'

const OBJECT_STORE = 'records'
/** The version of the layout. Another tab with a newer one makes us close the database, and cannot be joined from here. */
const VERSION = 1
const CLOSED_BY_BROWSER = 'the browser has closed the database'
/** The greatest count that `getAll` takes. */
const GREATEST_COUNT = 2 ** 32 - 1

/**
 * Keeps everything in the browser's IndexedDB. A commit is one transaction: those of other tabs wait for it, its guards are checked
 * inside it, and it was written to the disk when the promise resolves, as far as the browser honours `durability: 'strict'`.
 *
 * The database is opened on first use, and again at the next use after it was closed from outside: by the browser, or for a tab that
 * upgrades it. Once it is open the browser is asked to keep the data even when it is short of space; `persistence` tells what it does.
 * A second database, whose name begins with the same, is made then and deleted at once, for the sake of what survives a crash in Chromium.
 *
 * Errors are StoreErrors that say what to do: where there is no IndexedDB (Node, some private windows, pages without an origin), where
 * there is no space left, where a newer version of the app has the database, where the browser has lost it. The store works again as
 * soon as the browser does.
 */
export class IndexedDBStore implements Store {
  /** The other tabs and workers of this origin have the same data under the same name. */
  readonly shared: string
  readonly #name: string
  readonly #log: HostLog
  #opening: Promise<IDBDatabase> | undefined
  /** What was opened last, while it is of use. */
  #database: IDBDatabase | undefined
  #hasOpened = false
  #closed = false
  readonly #underWay = new Set<Promise<unknown>>()

  /** @throws InvalidFieldsError for an unknown option, for a name that is not a string or is empty, for a log that is no object */
  constructor(options: IndexedDBStoreOptions) {
    const { name, log = {} } = checkOptions(options)
    this.shared = `indexed-db:${name}`
    this.#name = name
    this.#log = log
  }

  async get(key: string): Promise<string | undefined> {
    checkKey(key)
    return this.#perform('read', () => get<string>(key, this.#useStore))
  }

  async list(prefix: string, options: ListOptions = {}): Promise<Array<[key: string, value: string]>> {
    const { from, limit } = checkList(prefix, options)
    return this.#perform('read', () => this.#useStore('readonly', async store => {
      const range = rangeOf(prefix, from, from === options.after)
      // A count of 0 would mean all of them.
      if (range === undefined || limit === 0) return []
      const count = limit > GREATEST_COUNT ? undefined : limit
      const [keys, values] = await Promise.all([
        promisifyRequest(store.getAllKeys(range, count) as IDBRequest<string[]>),
        promisifyRequest(store.getAll(range, count) as IDBRequest<string[]>)
      ])
      return keys.map((key, index) => [key, values[index] ?? ''])
    }))
  }

  async commit(batch: Batch): Promise<boolean> {
    checkBatch(batch)
    return this.#perform('write', () => this.#useStore('readwrite', store => write(store, batch)))
  }

  /**
   * How long the browser keeps the data, as it stands now. After the first use it may become `'persistent'` at any time: some browsers
   * ask their user, who may take long to answer, or never does. Never rejects.
   */
  async persistence(): Promise<Persistence> {
    try {
      const isKept = await storageManager()?.persisted?.()
      if (isKept !== undefined) return isKept ? 'persistent' : 'best-effort'
    } catch {
      // It does not say.
    }
    return 'unknown'
  }

  async close(): Promise<void> {
    this.#closed = true
    // What could not be opened has nothing to close, and whoever opened it was told.
    const database = await this.#opening?.catch(() => undefined)
    // Lets the transactions end that have begun.
    database?.close()
    await Promise.allSettled(this.#underWay)
  }

  async #perform<T>(verb: 'read' | 'write', call: () => Promise<T>): Promise<T> {
    if (this.#closed) throw closedError()
    const calling = call()
    this.#underWay.add(calling)
    try {
      return await calling
    } catch (thrown) {
      const outcome = verb === 'write' && thrown instanceof StoreError ? thrown.outcome : undefined
      throw new StoreError(`cannot ${verb} ${this.#name}: ${reasonOf(thrown)}`, { cause: thrown, ...(outcome === undefined ? {} : { outcome }) })
    } finally {
      this.#underWay.delete(calling)
    }
  }

  readonly #useStore: UseStore = async (mode, callback) => {
    const transaction = await this.#begin(mode)
    const { db } = transaction
    try {
      return await new Promise((resolve, reject) => {
        // A transaction that the browser had not heard of yet ends without an event of its own.
        const lose = (): void => { reject(new StoreError(CLOSED_BY_BROWSER, { outcome: 'unknown' })) }
        db.addEventListener('close', lose)
        const result = Promise.resolve(callback(transaction.objectStore(OBJECT_STORE)))
        result.finally(() => { db.removeEventListener('close', lose) }).then(resolve, reject)
      })
    } catch (error) {
      // It may be of no use any more: browsers do not always tell when they close one.
      this.#forget(db)
      throw error
    }
  }

  async #begin(mode: IDBTransactionMode): Promise<IDBTransaction> {
    const database = await this.#open()
    try {
      return database.transaction(OBJECT_STORE, mode, STRICT)
    } catch {
      // Closed without a word. Nothing has begun, so the call goes on with a new connection.
      this.#forget(database)
      return (await this.#open()).transaction(OBJECT_STORE, mode, STRICT)
    }
  }

  async #open(): Promise<IDBDatabase> {
    if (this.#closed) throw closedError()
    this.#opening ??= this.#openAnew()
    return this.#opening
  }

  async #openAnew(): Promise<IDBDatabase> {
    try {
      const database = await openDatabase(this.#name).catch((error: unknown) => {
        // The browser was still about to close all connections: this one got in between.
        if (nameOf(error) === 'AbortError') return openDatabase(this.#name)
        throw error
      })
      database.onversionchange = () => { this.#leave(database, 'another tab upgrades or deletes the database') }
      database.onclose = () => { this.#leave(database, CLOSED_BY_BROWSER) }
      this.#database = database
      if (!this.#hasOpened) {
        this.#hasOpened = true
        void this.#askToBeKept()
        renewLog(this.#name).catch((error: unknown) => { this.#tell('warn', `${this.#name} is less safe from crashes: ${reasonOf(error)}`) })
      }
      return database
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  #leave(database: IDBDatabase, reason: string): void {
    this.#forget(database)
    this.#tell('warn', `${this.#name} will be opened again at the next use: ${reason}`)
  }

  /** Closes a connection, once what runs over it has ended. The next call opens a new one. */
  #forget(database: IDBDatabase): void {
    database.close()
    if (this.#database !== database) return
    this.#database = undefined
    this.#opening = undefined
  }

  /** Nothing waits for this: it may take until a user has answered. */
  async #askToBeKept(): Promise<void> {
    try {
      // A worker cannot ask.
      await storageManager()?.persist?.()
    } catch {
      // What counts is how it stands now.
    }
    const persistence = await this.persistence()
    if (persistence === 'persistent') this.#tell('info', `the browser keeps ${this.#name} until its user removes it`)
    else this.#tell('warn', `the browser may remove ${this.#name} when it is short of space (persistence: ${persistence})`)
  }

  #tell(level: 'info' | 'warn', message: string): void {
    try {
      this.#log[level]?.(message)
    } catch {
      // A log that throws harms nothing.
    }
  }
}

const STRICT: IDBTransactionOptions = { durability: 'strict' }

/**
 * Writes a batch whose guards hold, and waits until the transaction is complete: only then is it committed. The guards are read before
 * anything is put, but their values are not waited for before: what was put is undone where one does not hold, which is rare.
 */
async function write(store: IDBObjectStore, { puts = [], deletes = [], guards = [] }: Batch): Promise<boolean> {
  const { transaction } = store
  const completed = completionOf(transaction)
  try {
    const holding = hold(store, guards)
    for (const [key, value] of puts) store.put(value, key)
    for (const key of deletes) store.delete(key)
    if (!await holding) {
      abort(transaction)
      return false
    }
    // The browser need not first tell us that each request was done.
    transaction.commit()
  } catch (error) {
    // What was written before would be committed.
    abort(transaction)
    throw error
  }
  try {
    await completed
    return true
  } catch (cause) {
    // A lack of space is found before anything is committed. After any other failure, that of the connection above all, it may have been.
    if (nameOf(cause) === 'QuotaExceededError') throw cause
    throw new StoreError(reasonOf(cause), { cause, outcome: 'unknown' })
  }
}

function hold(store: IDBObjectStore, guards: NonNullable<Batch['guards']>): Promise<boolean> {
  // Most guards expect nothing: then there is no value to be handed over.
  const requests = guards.map(([key, expected]) => (expected === undefined ? store.getKey(key) : store.get(key)) as IDBRequest<unknown>)
  const last = requests.at(-1)
  if (last === undefined) return Promise.resolve(true)
  // Requests end in their order: with the last one all are known. Where one fails, so do those behind it.
  const holding = promisifyRequest(last).then(() => guards.every(([, expected], index) => requests[index]?.result === expected))
  // Nobody waits for it where a put throws.
  holding.catch(() => undefined)
  return holding
}

/** Not for idb-keyval, which takes the error of a request for the end, when the transaction's own error is not known yet. */
function completionOf(transaction: IDBTransaction): Promise<void> {
  const completion = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => { resolve() }
    transaction.onabort = () => { reject(transaction.error ?? new StoreError('the transaction was aborted')) }
  })
  // Nobody waits for it where a guard does not hold, or something failed before.
  completion.catch(() => undefined)
  return completion
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort()
  } catch {
    // It has ended already.
  }
}

async function openDatabase(name: string): Promise<IDBDatabase> {
  const { indexedDB } = globalThis as { indexedDB?: IDBFactory | null }
  if (!indexedDB) throw new StoreError('there is no IndexedDB here: use MemoryStore')
  const request = indexedDB.open(name, VERSION)
  let loss: string | undefined
  request.onupgradeneeded = event => {
    // Chromium alone tells.
    loss = (event as { dataLoss?: string }).dataLoss
    if (event.oldVersion < 1) request.result.createObjectStore(OBJECT_STORE)
  }
  const opened = promisifyRequest(request)
  const blocked = new Promise<never>((_resolve, reject) => {
    request.onblocked = () => {
      // It will be opened once the other tab lets go, when nobody waits for it any more.
      opened.then(database => { database.close() }, () => undefined)
      reject(new StoreError('another tab has it open in an older version: close that tab'))
    }
  })
  const database = await Promise.race([opened, blocked])
  const isOurs = database.objectStoreNames.contains(OBJECT_STORE)
  if (isOurs && loss !== 'total') return database
  database.close()
  // Told once: the next call begins with an empty database, since there is nothing else to be had.
  if (isOurs) throw new StoreError('the browser found the data of this site damaged, and removed it')
  throw new StoreError('another program made the database: choose another name')
}

/**
 * Makes Chromium begin a new log, which it does when a database is deleted. After a crash it would go on writing behind a record that was
 * cut off, and so at the next start find the log damaged, and remove all that this site has (https://github.com/google/leveldb/issues/1287).
 */
async function renewLog(name: string): Promise<void> {
  const spare = `${name} (made to be deleted)`
  const request = indexedDB.open(spare)
  request.onupgradeneeded = () => { request.result.createObjectStore(OBJECT_STORE) }
  const database = await promisifyRequest(request)
  database.close()
  await promisifyRequest(indexedDB.deleteDatabase(spare))
}

/** The keys of a listing; `undefined` where there can be none. */
function rangeOf(prefix: string, from: string, isAfter: boolean): IDBKeyRange | undefined {
  const end = endOf(prefix)
  if (end === undefined) return IDBKeyRange.lowerBound(from, isAfter)
  return from < end ? IDBKeyRange.bound(from, end, isAfter, true) : undefined
}

/** The least string that sorts after all that begin with the prefix; `undefined` where there is none. */
function endOf(prefix: string): string | undefined {
  for (let at = prefix.length - 1; at >= 0; at--) {
    const unit = prefix.charCodeAt(at)
    if (unit < 0xffff) return prefix.slice(0, at) + String.fromCharCode(unit + 1)
  }
  return undefined
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.name : ''
}

/** What is wrong, and what to do about it. */
function reasonOf(thrown: unknown): string {
  const message = messageOf(thrown)
  switch (nameOf(thrown)) {
    case 'QuotaExceededError': return 'the browser gives this site no more space: remove something, or prune the history'
    case 'SecurityError': return 'the browser does not let this page keep data: allow it, or use MemoryStore, which forgets everything with the page'
    case 'VersionError': return 'a newer version of this app has been here: reload the page'
    default: return message === '' ? 'the browser does not say why' : message
  }
}

/** The browser's storage manager, as far as there is one: it needs a secure context, and `persist` a window. */
interface StorageManagerLike {
  persist?(): Promise<boolean>
  persisted?(): Promise<boolean>
}

function storageManager(): StorageManagerLike | undefined {
  return (globalThis as { navigator?: { storage?: StorageManagerLike } }).navigator?.storage
}

function checkOptions(options: unknown): IndexedDBStoreOptions {
  if (typeof options !== 'object' || options === null) throw new InvalidFieldsError('IndexedDBStore needs an object with a name')
  const unknown = Object.keys(options).find(name => name !== 'name' && name !== 'log')
  if (unknown !== undefined) throw new InvalidFieldsError(`${unknown} is no option of IndexedDBStore`)
  const { name, log } = options as Partial<Record<keyof IndexedDBStoreOptions, unknown>>
  if (typeof name !== 'string' || name === '') throw new InvalidFieldsError('name must be a string that is not empty')
  if (log !== undefined && (typeof log !== 'object' || log === null)) throw new InvalidFieldsError('log must be an object with methods')
  return options as IndexedDBStoreOptions
}
