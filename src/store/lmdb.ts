/**
 * The embedded store for Node: one LMDB environment in a folder, which several processes may share. Imports core.
 *
 * The package `lmdb` is an optional peer, loaded when the store is first used, so that whoever does not use it need not have it.
 */
import { Buffer } from 'node:buffer'
import { realpathSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type * as Lmdb from 'lmdb'
import { InvalidFieldsError, messageOf, StoreError } from '../core/errors.js'
import type { Batch, ListOptions, Store } from '../core/store.js'
import { checkBatch, checkKey, checkList, closedError, MAX_KEY_BYTES } from './check.js'

/** Where the database is. */
export interface LmdbStoreOptions {
  /** The folder of the database; it is created, with the folders above it, when it does not exist. */
  path: string
}

type Database = Lmdb.RootDatabase<string, Uint8Array>

/**
 * Keeps everything in a memory-mapped file. A commit is one write transaction of LMDB: other processes wait for it, its guards
 * are checked inside it, and it is on the disk when the promise resolves. The file is opened on first use; a failure to open
 * it rejects that call, and the next call tries again.
 */
export class LmdbStore implements Store {
  readonly #path: string
  #opening: Promise<Database> | undefined
  #closed = false

  /** @throws InvalidFieldsError for an unknown option, and for a path that is not a string or is empty */
  constructor(options: LmdbStoreOptions) {
    this.#path = checkOptions(options)
  }

  /** Other processes, and other objects in this one, may have the same folder. */
  get shared(): string {
    try {
      return `lmdb:${realpathSync(this.#path)}`
    } catch {
      // It is not there yet.
      return `lmdb:${resolve(this.#path)}`
    }
  }

  async get(key: string): Promise<string | undefined> {
    checkKey(key)
    const database = await this.#open()
    return this.#reading(database, () => database.get(encodeKey(key)))
  }

  async list(prefix: string, options: ListOptions = {}): Promise<Array<[key: string, value: string]>> {
    const { from, limit } = checkList(prefix, options)
    const database = await this.#open()
    return this.#reading(database, () => {
      const entries: Array<[string, string]> = []
      if (limit === 0) return entries
      // A longer start than a key can be is cut, and then may match a key that does not sort after it: hence the comparison below.
      const start = from === '' ? FIRST_KEY : encodeKey(from).subarray(0, MAX_KEY_BYTES)
      for (const { key: bytes, value } of database.getRange({ start })) {
        const key = decodeKey(bytes)
        if (options.after !== undefined && key <= options.after) continue
        if (!key.startsWith(prefix)) break
        entries.push([key, value])
        if (entries.length === limit) break
      }
      return entries
    })
  }

  async commit(batch: Batch): Promise<boolean> {
    checkBatch(batch)
    const database = await this.#open()
    try {
      // Synchronous, because an asynchronous transaction of lmdb-js is not rolled back when its callback throws. It is flushed
      // to the disk before this returns: the default of transactionSync, with `overlappingSync` off (see `openDatabase`).
      return database.transactionSync(() => {
        for (const [key, expected] of batch.guards ?? []) {
          if (database.get(encodeKey(key)) !== expected) return false
        }
        for (const [key, value] of batch.puts ?? []) database.putSync(encodeKey(key), value)
        for (const key of batch.deletes ?? []) database.removeSync(encodeKey(key))
        return true
      })
    } catch (error) {
      throw await this.#afterFailedCommit(database, error)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    const opening = this.#opening
    this.#opening = undefined
    // What could not be opened has nothing to close, and whoever opened it was told.
    const database = await opening?.catch(() => undefined)
    await database?.close()
  }

  async #open(): Promise<Database> {
    if (this.#closed) throw closedError()
    this.#opening ??= openDatabase(this.#path)
    const opening = this.#opening
    try {
      const database = await opening
      // `close` may have been called while the file was being opened: lmdb-js must not be touched after that.
      if (this.#opening !== opening) throw closedError()
      return database
    } catch (error) {
      if (this.#opening === opening) this.#opening = undefined
      throw error
    }
  }

  #reading<T>(database: Database, read: () => T): T {
    try {
      // lmdb-js keeps one snapshot for a turn of the event loop: without this, what another process committed is not seen.
      database.resetReadTxn()
      return read()
    } catch (error) {
      throw new StoreError(`cannot read ${this.#path}: ${messageOf(error)}`, { cause: error })
    }
  }

  /**
   * LMDB writes a transaction's pages first and its root last. If that last write fails, it cannot say which root the disk
   * holds, and refuses all further use of the environment: so if reading still works, nothing of the batch has landed.
   */
  async #afterFailedCommit(database: Database, cause: unknown): Promise<StoreError> {
    const message = `cannot write ${this.#path}: ${messageOf(cause)}`
    try {
      database.resetReadTxn()
      database.get(FIRST_KEY)
      return new StoreError(message, { cause })
    } catch {
      this.#opening = undefined
      await database.close().catch(() => undefined)
      return new StoreError(message, { cause, outcome: 'unknown' })
    }
  }
}

function checkOptions(options: unknown): string {
  if (typeof options !== 'object' || options === null) throw new InvalidFieldsError('LmdbStore needs an object with a path')
  const unknown = Object.keys(options).find(name => name !== 'path')
  if (unknown !== undefined) throw new InvalidFieldsError(`${unknown} is no option of LmdbStore`)
  const path = 'path' in options ? options.path : undefined
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new InvalidFieldsError('path must be the name of a folder')
  }
  return path
}

async function openDatabase(path: string): Promise<Database> {
  const { open } = await loadLmdb()
  try {
    await checkFile(join(path, 'data.mdb'))
    return open<string, Uint8Array>({
      path,
      // The path is a folder, also when there is a dot in its name.
      noSubdir: false,
      encoding: 'string',
      keyEncoding: 'binary',
      // With it a commit would be visible, and transactionSync could return, before the disk has it.
      overlappingSync: false
    })
  } catch (error) {
    throw new StoreError(`cannot open ${path}: ${messageOf(error)}`, { cause: error })
  }
}

/** Opening a file that is no database ends the process in lmdb 3.5 (a segmentation fault), so its head is checked here first. */
async function checkFile(file: string): Promise<void> {
  // Not there, or not readable: opening the database creates it, or says why not.
  const handle = await openFile(file, 'r').catch(() => undefined)
  if (handle === undefined) return
  try {
    const head = new DataView(new ArrayBuffer(MAGIC_AT + 4))
    const { bytesRead } = await handle.read(head, 0, head.byteLength, 0)
    const isDatabase = head.getUint32(MAGIC_AT, true) === MAGIC || head.getUint32(MAGIC_AT, false) === MAGIC
    if (bytesRead > 0 && !isDatabase) throw new StoreError(`${file} is no LMDB database`)
  } finally {
    await handle.close()
  }
}

async function loadLmdb(): Promise<typeof Lmdb> {
  try {
    return await import('lmdb')
  } catch (cause) {
    throw new StoreError('LmdbStore needs the package lmdb, which is not installed or does not run here: npm install lmdb', { cause })
  }
}

/** The number by which LMDB knows its files, in the machine's byte order, and where it stands in the first page. */
const MAGIC = 0xbeefc0de
const MAGIC_AT = 24

const SURROGATE = /[\ud800-\udfff]/

/** Sorts before or at every key. */
const FIRST_KEY = new Uint8Array(1)

/**
 * The bytes of a key. They sort as the key's UTF-16 code units do, which UTF-8 does not: so each half of a surrogate pair is
 * encoded for itself (CESU-8). Without such pairs the two are the same.
 */
function encodeKey(key: string): Uint8Array {
  if (!SURROGATE.test(key)) return Buffer.from(key, 'utf8')
  const bytes = new Uint8Array(key.length * 3)
  let length = 0
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i)
    if (unit < 0x80) {
      bytes[length++] = unit
    } else if (unit < 0x800) {
      bytes[length++] = 0xc0 | (unit >> 6)
      bytes[length++] = 0x80 | (unit & 0x3f)
    } else {
      bytes[length++] = 0xe0 | (unit >> 12)
      bytes[length++] = 0x80 | ((unit >> 6) & 0x3f)
      bytes[length++] = 0x80 | (unit & 0x3f)
    }
  }
  return bytes.subarray(0, length)
}

function decodeKey(bytes: Uint8Array): string {
  let key = ''
  for (let i = 0; i < bytes.length;) {
    const first = bytes[i++] ?? 0
    if (first < 0x80) {
      key += String.fromCharCode(first)
    } else if (first < 0xe0) {
      key += String.fromCharCode(((first & 0x1f) << 6) | ((bytes[i++] ?? 0) & 0x3f))
    } else {
      key += String.fromCharCode(((first & 0x0f) << 12) | (((bytes[i++] ?? 0) & 0x3f) << 6) | ((bytes[i++] ?? 0) & 0x3f))
    }
  }
  return key
}
