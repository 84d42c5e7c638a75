/**
 * A store whose calls fail, wait and are counted as a test wants it. Imports core.
 */
import { StoreError } from '../../src/core/errors.js'
import type { Batch, ListOptions, Store } from '../../src/core/store.js'

/** Lets a held call go on. */
export type Release = () => void

/** What happens to a commit. */
type Fault =
  | { kind: 'fail'; error: Error }
  | { kind: 'unknown'; lands: 'now' | 'never' | 'later' }
  | { kind: 'swallowed'; lands: 'now' | 'never' }

/** Wraps a store. Without a word from the test it does what the wrapped one does. */
export class FaultyStore implements Store {
  /** Every call, by name; `gets` and `lists` name the keys and prefixes that were asked for. */
  readonly counts = { get: 0, list: 0, commit: 0 }
  readonly gets: string[] = []
  readonly lists: Array<{ prefix: string; limit: number | undefined }> = []
  /** The batches that were asked for, whatever became of them. */
  readonly batches: Batch[] = []
  readonly #inner: Store
  readonly #faults: Fault[] = []
  readonly #late: Batch[] = []
  #getFailures = 0
  #commitGate: Promise<void> | undefined
  #holdsFrom: (batch: Batch) => void = () => undefined
  readonly #getGates = new Map<string, Promise<void>>()

  constructor(inner: Store) {
    this.#inner = inner
  }

  get opensInOldPackage(): boolean {
    return this.#inner.opensInOldPackage === true
  }

  /** The next commit rejects, and nothing of it is written. */
  failNextCommit(error: Error = new Error('disk full')): void {
    this.#faults.push({ kind: 'fail', error })
  }

  /**
   * The next commit rejects with `outcome: 'unknown'`. It lands before that, or never, or `later`: when `landLate` is called,
   * if its guards hold then.
   */
  loseNextCommit(lands: 'now' | 'never' | 'later'): void {
    this.#faults.push({ kind: 'unknown', lands })
  }

  /** The next commit is never answered, whether it lands or not. Everything else works. */
  swallowNextCommit(lands: 'now' | 'never'): void {
    this.#faults.push({ kind: 'swallowed', lands })
  }

  /** The commits that were to land later reach the store now. Returns whether each of them landed. */
  async landLate(): Promise<boolean[]> {
    return Promise.all(this.#late.splice(0).map(batch => this.#inner.commit(batch)))
  }

  /** What was to happen to commits that have not come happens to none. */
  clearFaults(): void {
    this.#faults.length = 0
  }

  /** The next reads by key fail. */
  failGets(count: number): void {
    this.#getFailures = count
  }

  /** Commits wait, from the next one on, or from the first that is meant, until the returned function is called. */
  holdCommits(isMeant: (batch: Batch) => boolean = () => true): Release {
    let open: Release = () => undefined
    const gate = new Promise<void>(resolve => { open = resolve })
    this.#holdsFrom = batch => {
      if (isMeant(batch)) this.#commitGate = gate
    }
    return () => {
      this.#holdsFrom = () => undefined
      this.#commitGate = undefined
      open()
    }
  }

  /** Reads of one key give what it holds then, but only when the returned function is called; `passGets` lets later reads pass. */
  holdGet(key: string): Release {
    let open: Release = () => undefined
    this.#getGates.set(key, new Promise(resolve => { open = resolve }))
    return () => {
      this.#getGates.delete(key)
      open()
    }
  }

  /** Reads that begin from now on are held up no more; those that wait keep waiting. */
  passGets(): void {
    this.#getGates.clear()
  }

  async get(key: string): Promise<string | undefined> {
    this.counts.get++
    this.gets.push(key)
    if (this.#getFailures > 0) {
      this.#getFailures--
      throw new Error('cannot read')
    }
    const gate = this.#getGates.get(key)
    const value = await this.#inner.get(key)
    await gate
    return value
  }

  async list(prefix: string, options: ListOptions = {}): Promise<Array<[key: string, value: string]>> {
    this.counts.list++
    this.lists.push({ prefix, limit: options.limit })
    return this.#inner.list(prefix, options)
  }

  async commit(batch: Batch): Promise<boolean> {
    this.counts.commit++
    this.batches.push(batch)
    this.#holdsFrom(batch)
    await this.#commitGate
    const fault = this.#faults.shift()
    if (fault?.kind === 'fail') throw fault.error
    if (fault === undefined) return this.#inner.commit(batch)
    if (fault.lands === 'now') await this.#inner.commit(batch)
    if (fault.kind === 'swallowed') return new Promise(() => undefined)
    if (fault.lands === 'later') this.#late.push(batch)
    throw new StoreError('the store does not answer', { outcome: 'unknown' })
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}
