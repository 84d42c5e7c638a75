/**
 * The store port: ordered keys, text values, atomic guarded batches. Imports nothing.
 *
 * What a crash may leave: all of a batch or nothing of it. A `commit` that resolved with true survives a power cut (as far as
 * the medium allows: a memory store survives nothing).
 *
 * Keys and values are well-formed Unicode (no half of a surrogate pair alone), a key is 1 to 1978 bytes long: anything else is
 * refused with InvalidFieldsError before anything is written. A value may be empty.
 */

/** All parts may be absent or empty; an empty batch resolves with true. */
export interface Batch {
  /** A key may be put twice: the last put counts. */
  puts?: ReadonlyArray<readonly [key: string, value: string]>
  /** Deleting what is absent does nothing. A key that is also put makes the batch invalid: InvalidFieldsError. */
  deletes?: readonly string[]
  /** What the keys must hold for the batch to land; `undefined` for absent. */
  guards?: ReadonlyArray<readonly [key: string, expected: string | undefined]>
}

/** Which part of a list is asked for. */
export interface ListOptions {
  /** Only keys that sort after this one (which need not exist). */
  after?: string
  /** The most entries to return: an integer, 0 or more, or Infinity. Default 1000. */
  limit?: number
}

/**
 * Where a ledger is kept. Write one for another database, and hold it to the contract: keys in order, batches that land whole or
 * not at all, nothing acknowledged that a power cut could take back.
 */
export interface Store {
  /**
   * Whether the old package may open what is here: then a transfer has its own record from the beginning, as there. Otherwise it lies in
   * the record of what is open until it is final, which is one record less to write, and at a place where its neighbours are written too.
   */
  readonly opensInOldPackage?: boolean
  /**
   * Names what this store's data are, where instances in other tabs, workers or processes may have the same: one of them holds the
   * connection, and the others stand by. In browsers they find each other by this name; in Node by a lease that they keep in the store,
   * in records of their own. Absent: nobody else has them, or nobody can tell.
   */
  readonly shared?: string
  /** The value of a key; `undefined` where there is none. */
  get(key: string): Promise<string | undefined>
  /** Entries whose keys begin with `prefix`, in ascending order of the keys' UTF-16 code units. */
  list(prefix: string, options?: ListOptions): Promise<Array<[key: string, value: string]>>
  /**
   * Applies the whole batch or nothing. Resolves with true when it is durable, with false (and nothing written) when a guard
   * does not hold. The batch must stay as it is until then.
   *
   * Rejects when it failed. Nothing was written then, unless the error is a StoreError with `outcome: 'unknown'`: then the
   * caller must read back what the keys hold.
   */
  commit(batch: Batch): Promise<boolean>
  /** Lets go of files and handles, once what is under way has ended. Idempotent. A closed store rejects further calls with StoreError. */
  close(): Promise<void>
}

/** The store that plugin hosts pass as `_store`, those of LPI v2 among their services (RFC 4, RFC 24). */
export interface KeyValueStore {
  /** Resolves with the value; for an absent key with undefined or null, or rejects with a NotFoundError as LevelUP does. */
  get(key: string): unknown
  /** Sets a value; what it returns is waited for. */
  put(key: string, value: string): unknown
  /** Takes a key away, if it is there; what it returns is waited for. */
  del(key: string): unknown
}
