/**
 * IndexedDBStore in a real browser, with a profile on the disk: the suite that all stores pass, and what only happens to a browser's.
 */
import { randomUUID } from 'node:crypto'
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CDPSession, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { StoreError } from '../src/core/errors.js'
import type { Store } from '../src/core/store.js'
import type { Persistence } from '../src/store/indexed-db.js'
import { describeLedger } from '../test/contract/ledger.js'
import { describeFailingWrites, describeStore } from '../test/contract/store.js'
import type { StoreHarness } from '../test/contract/store.js'
import { openBrowser } from './support/browser.js'
import type { OpenBrowser } from './support/browser.js'
import { PageStore } from './support/page-store.js'
import { openSite } from './support/site.js'
import type { Site } from './support/site.js'

/** What a page has as a global, here with the store only. */
interface PageGlobals {
  library: { IndexedDBStore: new (options: object) => Store & { persistence(): Promise<Persistence> } }
}

let site: Site
let browser: OpenBrowser
let page: Page

beforeAll(async () => {
  site = await openSite()
  browser = await openBrowser()
  page = await openPage()
})

afterAll(async () => {
  await browser.close()
  await site.close()
})

async function openPage(url = site.urlOf('/umd.html')): Promise<Page> {
  const page = await browser.context.newPage()
  await page.goto(url)
  return page
}

/** A database of its own; it is reopened by the page that is loaded again. */
async function open(): Promise<StoreHarness> {
  const name = randomUUID()
  let store = await PageStore.make(page, name)
  return {
    store,
    async reopen() {
      await store.close()
      await page.reload()
      store = await PageStore.make(page, name)
      return store
    },
    dispose: () => store.close()
  }
}

describeStore('IndexedDBStore', open)
describeLedger('IndexedDBStore', open, { runs: 10 })

describeFailingWrites('IndexedDBStore', async () => ({
  ...await open(),
  failNextWrite() {
    // In the middle of a batch, when a part of it was put already. Calls reach the page in the order in which they are made here.
    void page.evaluate(() => {
      const { put } = IDBObjectStore.prototype
      let left = 1
      IDBObjectStore.prototype.put = function (this: IDBObjectStore, ...values) {
        if (left-- > 0) return put.apply(this, values)
        IDBObjectStore.prototype.put = put
        throw new DOMException('made to fail', 'UnknownError')
      }
    })
  }
}))

describe('IndexedDBStore: a commit', () => {
  it('is one transaction, of strict durability', async () => {
    const page = await openPage()
    const store = await PageStore.make(page, randomUUID())
    await store.commit({ puts: [['a', '1']] })
    await page.evaluate(() => {
      const { transaction } = IDBDatabase.prototype
      const begun: string[] = []
      IDBDatabase.prototype.transaction = function (this: IDBDatabase, ...values) {
        const made = transaction.apply(this, values)
        begun.push(`${made.mode} ${made.durability}`)
        return made
      }
      Object.assign(globalThis, { begun })
    })
    expect(await store.commit({ puts: [['a', '2'], ['b', '2']], deletes: ['c'], guards: [['a', '1'], ['d', undefined]] })).toBe(true)
    expect(await page.evaluate(() => (globalThis as unknown as { begun: string[] }).begun)).toEqual(['readwrite strict'])
    await page.close()
  })
})

describe('IndexedDBStore: several tabs', () => {
  it('H7: loses no increment of two tabs that guard what they have read', async () => {
    const name = randomUUID()
    const other = await openPage()
    const count = (page: Page) => page.evaluate(async name => {
      const store = new (globalThis as unknown as PageGlobals).library.IndexedDBStore({ name })
      for (let i = 0; i < 100;) {
        const before = await store.get('n')
        if (await store.commit({ puts: [['n', `${Number(before ?? 0) + 1}`], [`seen:${before ?? 0}`, '']], guards: [['n', before]] })) i++
      }
    }, name)
    await Promise.all([count(page), count(other)])
    const store = await PageStore.make(other, name)
    expect(await store.get('n')).toBe('200')
    expect(await store.list('seen:')).toHaveLength(200)
    await other.close()
  })

  it('sees at once what another tab has committed', async () => {
    const name = randomUUID()
    const other = await openPage()
    const [one, two] = [await PageStore.make(page, name), await PageStore.make(other, name)]
    for (const value of ['1', '2', '3']) {
      await one.commit({ puts: [['a', value]] })
      expect(await two.get('a')).toBe(value)
      expect(await two.list('')).toEqual([['a', value]])
    }
    await one.close()
    expect(await two.commit({ puts: [['a', '4']], guards: [['a', '3']] })).toBe(true)
    await other.close()
  })

  it('makes way for a tab that deletes the database, and then begins a new one', async () => {
    const name = randomUUID()
    const other = await openPage()
    const store = await PageStore.make(page, name)
    await store.commit({ puts: [['a', '1']] })
    await other.evaluate(name => new Promise<void>((resolve, reject) => {
      const request = indexedDB.deleteDatabase(name)
      request.onsuccess = () => { resolve() }
      request.onblocked = () => { reject(new Error('the store did not make way')) }
    }), name)
    expect(await store.get('a')).toBeUndefined()
    expect(await store.commit({ puts: [['a', '2']] })).toBe(true)
    await other.close()
  })

  it('makes way for a newer version of itself, and says that the page is to be loaded again', async () => {
    const name = randomUUID()
    const other = await openPage()
    const store = await PageStore.make(page, name)
    await store.commit({ puts: [['a', '1']] })
    await other.evaluate(openRaw, { name, version: 2 })
    for (let time = 0; time < 2; time++) await expect(store.commit({ puts: [['a', '2']] })).rejects.toThrow(/reload the page/)
    await expect(store.get('a')).rejects.toBeInstanceOf(StoreError)
    await other.close()
  })

  it('does not wait for a tab that keeps an older version open, and opens once that tab has gone', async () => {
    const name = randomUUID()
    const other = await openPage()
    await other.evaluate(openRaw, { name, version: 1 })
    const newer = await openPage()
    await newer.evaluate(() => {
      const { open } = IDBFactory.prototype
      IDBFactory.prototype.open = function (this: IDBFactory, name) { return open.call(this, name, 2) }
    })
    const store = await PageStore.make(newer, name)
    await expect(store.get('a')).rejects.toThrow(/close that tab/)
    await other.close()
    expect(await store.get('a')).toBeUndefined()
    expect(await store.commit({ puts: [['a', '2']] })).toBe(true)
    await newer.close()
  })

  it("refuses a database of the same name that is somebody else's, and leaves it as it is", async () => {
    const name = randomUUID()
    const other = await openPage()
    await other.evaluate(openRaw, { name, version: 1, objectStore: 'theirs' })
    await other.close()
    const store = await PageStore.make(page, name)
    for (let time = 0; time < 2; time++) await expect(store.get('a')).rejects.toThrow(/choose another name/)
    const left = await page.evaluate(name => new Promise(resolve => {
      const request = indexedDB.open(name)
      request.onsuccess = () => {
        resolve([request.result.version, ...request.result.objectStoreNames])
        request.result.close()
      }
    }), name)
    expect(left).toEqual([1, 'theirs'])
  })
})

/** Runs in a page: opens a database past the store, with the store's own object store or another, and never lets it go. */
function openRaw({ name, version, objectStore = 'records' }: { name: string; version: number; objectStore?: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, version)
    request.onupgradeneeded = ({ oldVersion }) => { if (oldVersion === 0) request.result.createObjectStore(objectStore) }
    request.onsuccess = () => { resolve() }
    request.onerror = () => { reject(new Error(request.error?.message)) }
    request.onblocked = () => { reject(new Error('the store did not make way')) }
  })
}

describe('IndexedDBStore: when the browser fails it', () => {
  let own: Site
  let page: Page
  let devTools: CDPSession
  const origin = (): string => new URL(own.urlOf('/')).origin

  // An origin of its own: the browser remembers for half a minute how much room there was.
  beforeEach(async () => {
    own = await openSite()
    page = await openPage(own.urlOf('/umd.html'))
    devTools = await browser.context.newCDPSession(page)
    return async () => {
      await page.close()
      await own.close()
    }
  })

  it('H7: stays as it was when there is no space left, and goes on when there is', async () => {
    await devTools.send('Storage.overrideQuotaForOrigin', { origin: origin(), quotaSize: 200_000 })
    const store = await PageStore.make(page, 'wallet')
    await store.commit({ puts: [['a', '1'], ['b', '1']] })
    const large = Array.from({ length: 1000 }, (_, n) => [`large:${n}`, 'x'.repeat(10_000)] as const)
    const error = await store.commit({ puts: [['a', '2'], ...large], deletes: ['b'] }).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(StoreError)
    expect(error).toMatchObject({ message: expect.stringMatching(/no more space/) as string, outcome: undefined })
    expect(await store.list('')).toEqual([['a', '1'], ['b', '1']])
    await devTools.send('Storage.overrideQuotaForOrigin', { origin: origin() })
    expect(await store.commit({ puts: [['a', '2'], ...large], guards: [['a', '1']] })).toBe(true)
    expect(await store.get('large:999')).toBe('x'.repeat(10_000))
  })

  it('answers every call when the browser closes the database under it, does not claim to know of writes, and goes on', async () => {
    await page.route('**/close-the-database', async route => {
      await devTools.send('Storage.clearDataForOrigin', { origin: origin(), storageTypes: 'indexeddb' })
      await route.fulfill({ body: '' })
    })
    const { before, after, again } = await page.evaluate(useWhileItIsClosed, 'wallet')
    // The first of them may have landed.
    expect(before).toContain('StoreError, outcome unknown')
    expect(before.filter(outcome => outcome !== 'true' && outcome !== 'StoreError, outcome unknown')).toEqual([])
    expect(after).toEqual(['StoreError, outcome unknown', 'StoreError, outcome undefined', 'StoreError, outcome undefined'])
    expect(again).toEqual(['true', '3'])
  })

  it('goes on over a connection that was closed without a word', async () => {
    const store = await PageStore.make(page, 'wallet')
    await store.commit({ puts: [['a', '1']] })
    await page.evaluate(() => {
      const { transaction } = IDBDatabase.prototype
      IDBDatabase.prototype.transaction = function (this: IDBDatabase) {
        IDBDatabase.prototype.transaction = transaction
        throw new DOMException('the connection is closing', 'InvalidStateError')
      }
    })
    expect(await store.commit({ puts: [['a', '2']], guards: [['a', '1']] })).toBe(true)
    expect(await store.get('a')).toBe('2')
  })

  it('opens at the next call what could not be opened', async () => {
    await page.evaluate(() => {
      const { open } = IDBFactory.prototype
      IDBFactory.prototype.open = function (this: IDBFactory) {
        IDBFactory.prototype.open = open
        throw new DOMException('made to fail', 'UnknownError')
      }
    })
    const store = await PageStore.make(page, 'wallet')
    await expect(store.get('a')).rejects.toThrow(/wallet: made to fail/)
    expect(await store.commit({ puts: [['a', '1']] })).toBe(true)
  })

  it('says what to do where a page may keep nothing', async () => {
    // A page without an origin is the same to IndexedDB as one whose user forbids it.
    const blank = await openPage('data:text/html,nothing')
    await blank.addScriptTag({ path: join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist', 'ilp-plugin-paychan.umd.js') })
    await blank.evaluate('library = IlpPluginPaychan')
    const store = await PageStore.make(blank, 'wallet')
    await expect(store.get('a')).rejects.toThrow(/wallet: the browser does not let this page keep data/)
    await expect(store.commit({})).rejects.toBeInstanceOf(StoreError)
    await blank.close()
  })
})

/**
 * Runs in a page: has commits under way when the browser closes the database, makes more calls before it can hear of that, and then
 * some later ones. Resolves with what became of each.
 */
async function useWhileItIsClosed(name: string): Promise<{ before: string[]; after: string[]; again: string[] }> {
  const store = new (globalThis as unknown as PageGlobals).library.IndexedDBStore({ name })
  await store.commit({ puts: [['a', '0']] })
  const outcome = (call: Promise<unknown>) => call.then(String, (error: unknown) => {
    const { name, outcome } = error as StoreError
    return `${name}, outcome ${String(outcome)}`
  })
  const puts = Array.from({ length: 2000 }, (_, n) => [`k${n}`, 'x'.repeat(1000)] as const)
  const before = Array.from({ length: 30 }, () => outcome(store.commit({ puts })))
  // The transactions begin in microtasks.
  await Promise.resolve().then(() => Promise.resolve())
  const request = new XMLHttpRequest()
  request.open('GET', 'close-the-database', false)
  request.send()
  const after = [store.commit({ puts: [['a', '2']] }), store.get('a'), store.list('')].map(outcome)
  const outcomes = { before: await Promise.all(before), after: await Promise.all(after) }
  return { ...outcomes, again: [await outcome(store.commit({ puts: [['a', '3']] })), await outcome(store.get('a'))] }
}

describe('IndexedDBStore: how long the browser keeps it', () => {
  /** Uses a store in a new page; resolves with what it tells the log of it, and with what it says itself. */
  const use = async () => {
    const page = await openPage()
    const told = await page.evaluate(() => new Promise(resolve => {
      const tell = (level: string) => (message: string) => { void store.persistence().then(kept => { resolve([level, message, kept]) }) }
      const log = { info: tell('info'), warn: tell('warn') }
      const store = new (globalThis as unknown as PageGlobals).library.IndexedDBStore({ name: 'kept', log })
      void store.get('a')
    }))
    await page.close()
    return told
  }

  it('asks the browser to keep the data, and tells what it got', async () => {
    expect(await use()).toEqual(['warn', 'the browser may remove kept when it is short of space (persistence: best-effort)', 'best-effort'])
    const devTools = await browser.context.newCDPSession(page)
    await devTools.send('Browser.grantPermissions', { origin: new URL(site.urlOf('/')).origin, permissions: ['durableStorage'] })
    expect(await use()).toEqual(['info', 'the browser keeps kept until its user removes it', 'persistent'])
    await devTools.send('Browser.resetPermissions')
    await devTools.detach()
  })

  it('waits neither for an answer that does not come, nor for a log that throws', async () => {
    const page = await openPage()
    const values = await page.evaluate(async () => {
      const { IndexedDBStore } = (globalThis as unknown as PageGlobals).library
      const fail = () => { throw new Error('made to fail') }
      const store = new IndexedDBStore({ name: 'kept', log: { info: fail, warn: fail } })
      await store.commit({ puts: [['a', '1']] })
      let asked = 0
      navigator.storage.persist = () => {
        asked++
        return new Promise(() => {})
      }
      const other = new IndexedDBStore({ name: 'kept' })
      return [await other.get('a'), await other.commit({ puts: [['a', '2']] }), typeof await other.persistence(), asked]
    })
    expect(values).toEqual(['1', true, 'string', 1])
    await page.close()
  })
})

describe('IndexedDBStore: workers', () => {
  it.each(['Worker', 'SharedWorker'] as const)('H34: works in a %s, over the same data as the page', async kind => {
    const name = randomUUID()
    const store = await PageStore.make(page, name)
    await store.commit({ puts: [['page', '1']] })
    const answer = await page.evaluate(({ kind, name, library }) => new Promise((resolve, reject) => {
      const code = `
        importScripts(${JSON.stringify(library)})
        const work = async port => {
          const store = new IlpPluginPaychan.IndexedDBStore({ name: ${JSON.stringify(name)} })
          const committed = await store.commit({ puts: [['worker', '1']], guards: [['page', '1'], ['worker', undefined]] })
          port.postMessage([committed, await store.list(''), await store.persistence(), typeof window])
        }
        const start = port => { work(port).catch(error => { port.postMessage(error.message) }) }
        if ('onconnect' in self) onconnect = ({ ports: [port] }) => { start(port) }
        else start(self)`
      const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }))
      const worker = kind === 'Worker' ? new Worker(url) : new SharedWorker(url)
      const port = worker instanceof Worker ? worker : worker.port
      port.onmessage = ({ data }) => { resolve(data) }
      worker.onerror = () => { reject(new Error('the worker failed')) }
    }), { kind, name, library: site.urlOf('/ilp-plugin-paychan.umd.js') })
    expect(answer).toEqual([true, [['page', '1'], ['worker', '1']], 'best-effort', 'undefined'])
    expect(await store.get('worker')).toBe('1')
    await store.close()
  })
})

describe('IndexedDBStore: a crash', () => {
  let crashing: OpenBrowser
  beforeAll(async () => {
    crashing = await openBrowser()
  })
  afterAll(() => crashing.close())

  /** A page of the browser that is going to crash. */
  const openThere = async () => {
    const page = await crashing.context.newPage()
    await page.goto(site.urlOf('/umd.html'))
    return page
  }

  it('H6: holds after the browser was killed every batch that was committed, and none in part', async () => {
    for (let round = 0; round < 5; round++) {
      const page = await openThere()
      // Of the batches that were committed, how many this side has heard of.
      let committed = 0
      const enough = new Promise<void>(resolve => {
        page.on('console', message => {
          committed = Number(message.text())
          if (committed % 100 === 99) resolve()
        })
      })
      await page.evaluate(commitPairs)
      await enough
      crashing = await crashing.crash()
      const store = await PageStore.make(await openThere(), 'pairs')
      const left = await store.list('left:', { limit: Infinity })
      const right = await store.list('right:', { limit: Infinity })
      expect(left.length).toBeGreaterThan(committed)
      expect(right.map(([, value]) => value)).toEqual(left.map(([, value]) => value))
      expect(await store.get('n')).toBe(`${left.length}`)
    }
  })

  it('H6: holds everything after two crashes, the first of which cut off a write', async () => {
    let store = await PageStore.make(await openThere(), 'wallet')
    await store.commit({ puts: [['a', '1']] })
    crashing = await crashing.crash()
    const [log = ''] = logsOf(crashing.profile)
    // The head of a record of 200 bytes, and nothing of them.
    appendFileSync(log, Buffer.from([1, 2, 3, 4, 200, 0, 1]))
    store = await PageStore.make(await openThere(), 'wallet')
    expect(await store.get('a')).toBe('1')
    await store.commit({ puts: [['b', '2']] })
    await expect.poll(() => logsOf(crashing.profile), { timeout: 20_000 }).not.toContain(log)
    crashing = await crashing.crash()
    store = await PageStore.make(await openThere(), 'wallet')
    expect(await store.list('')).toEqual([['a', '1'], ['b', '2']])
  })

  it('says that the browser has lost the data, and begins anew', async () => {
    let store = await PageStore.make(await openThere(), 'wallet')
    await store.commit({ puts: [['a', '1']] })
    crashing = await crashing.crash()
    const [log = ''] = logsOf(crashing.profile)
    store = await PageStore.make(await openThere(), 'wallet')
    expect(await store.get('a')).toBe('1')
    await expect.poll(() => logsOf(crashing.profile), { timeout: 20_000 }).not.toContain(log)
    await store.commit({ puts: [['b', '2']] })
    crashing = await crashing.crash()
    for (const path of logsOf(crashing.profile)) writeFileSync(path, readFileSync(path).map((byte, at) => at === 20 ? byte ^ 1 : byte))
    store = await PageStore.make(await openThere(), 'wallet')
    await expect(store.get('a')).rejects.toThrow(/wallet: the browser found the data of this site damaged/)
    expect(await store.commit({ puts: [['a', '2']], guards: [['a', undefined]] })).toBe(true)
  })
})

/** The logs into which Chromium writes what is committed in databases of the site, by their paths. */
function logsOf(profile: string): string[] {
  const origin = new URL(site.urlOf('/'))
  const folder = join(profile, 'Default', 'IndexedDB', `http_localhost_${origin.port}.indexeddb.leveldb`)
  return readdirSync(folder).filter(name => name.endsWith('.log')).map(name => join(folder, name))
}

/** Runs in a page: commits pairs of records without an end, several at a time, and tells how many there are. */
async function commitPairs(): Promise<void> {
  const store = new (globalThis as unknown as PageGlobals).library.IndexedDBStore({ name: 'pairs' })
  let n = Number((await store.get('n')) ?? 0)
  const next = async (): Promise<void> => {
    const number = n++
    const id = String(number).padStart(8, '0')
    await store.commit({ puts: [[`left:${id}`, id], ['n', String(number + 1)], [`right:${id}`, id]] })
    console.log(number)
    await next()
  }
  for (let i = 0; i < 10; i++) void next()
}
