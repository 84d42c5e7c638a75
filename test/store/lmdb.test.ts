import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type * as Lmdb from 'lmdb'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { InvalidFieldsError, StoreError } from '../../src/core/errors.js'
import { LmdbStore } from '../../src/store/lmdb.js'
import { describeStore } from '../contract/store.js'
import { compile, type CompiledFolder } from '../support/compiled.js'

const run = promisify(execFile)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'paychan-lmdb-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

let folders = 0
const newPath = (): string => join(folder, `${++folders}`)

describeStore('LmdbStore', () => {
  const path = newPath()
  let store = new LmdbStore({ path })
  const reopen = async (): Promise<LmdbStore> => {
    await store.close()
    store = new LmdbStore({ path })
    return store
  }
  return Promise.resolve({ store, reopen, dispose: () => store.close() })
})

describe('LmdbStore: opening', () => {
  it.each([
    ['path', {}],
    ['path', { path: '' }],
    ['path', { path: 5 }],
    ['path', { path: 'a\0b' }],
    ['path', undefined],
    ['path', null],
    ['readOnly', { path: 'x', readOnly: true }]
  ])('refuses wrong options and names %s', (field, options) => {
    const make = (): LmdbStore => new LmdbStore(options as never)
    expect(make).toThrow(InvalidFieldsError)
    expect(make).toThrow(field)
  })

  it('creates its folder, with those above it, also when its name has a dot', async () => {
    const path = join(newPath(), 'deep', 'wallet.v1')
    const store = new LmdbStore({ path })
    await store.commit({ puts: [['a', '1']] })
    await store.close()
    const again = new LmdbStore({ path })
    expect(await again.get('a')).toBe('1')
    await again.close()
  })

  it('touches no file before it is used', async () => {
    await new LmdbStore({ path: '/dev/null/no such folder' }).close()
  })

  it.each([
    ['the path is a file', '', 'text'],
    ['its data file is no database', 'data.mdb', 'text '.repeat(10_000)],
    ['its data file is shorter than a head', 'data.mdb', 'x']
  ])('rejects with StoreError when %s, and opens once that is mended', async (_what, name, text) => {
    const path = newPath()
    if (name !== '') await new LmdbStore({ path }).commit({}).then(() => rm(join(path, 'data.mdb')))
    await writeFile(join(path, name), text)
    const store = new LmdbStore({ path })
    await expect(store.get('a')).rejects.toBeInstanceOf(StoreError)
    await expect(store.commit({ puts: [['a', '1']] })).rejects.toThrow(path)
    await rm(path, { recursive: true })
    expect(await store.commit({ puts: [['a', '1']] })).toBe(true)
    expect(await store.get('a')).toBe('1')
    await store.close()
  })

  it('lets several stores of one process share a file, and closes each for itself', async () => {
    const path = newPath()
    const [one, other] = [new LmdbStore({ path }), new LmdbStore({ path })]
    const outcomes = await Promise.all([one, other].map(store => store.commit({ puts: [['a', '1']], guards: [['a', undefined]] })))
    // Whichever has opened the file first.
    expect(outcomes.sort()).toEqual([false, true])
    expect(await other.get('a')).toBe('1')
    await one.close()
    expect(await other.commit({ puts: [['a', '2']], guards: [['a', '1']] })).toBe(true)
    expect(await other.get('a')).toBe('2')
    await other.close()
  })

  it('survives a close while it is being opened', async () => {
    const store = new LmdbStore({ path: newPath() })
    const reading = store.get('a').catch((error: unknown) => error)
    await store.close()
    expect(await reading).toBeInstanceOf(StoreError)
  })
})

describe('LmdbStore: other processes', () => {
  let compiled: CompiledFolder
  beforeAll(async () => {
    compiled = await compile(['core', 'store'], { dependencies: true, files: PROGRAMS })
  })
  afterAll(() => compiled.remove())

  it('says what to install where lmdb is missing', async () => {
    const bare = await compile(['core', 'store'], { dependencies: false, files: PROGRAMS })
    const { stdout } = await run(process.execPath, ['missing.js', newPath()], { cwd: bare.path })
    await bare.remove()
    expect(stdout).toMatch(/^StoreError: .*npm install lmdb\n$/)
  })

  it('H7: loses no increment of three processes that write at once, while the file grows', async () => {
    const path = newPath()
    const writers = [1, 2, 3].map(n => run(process.execPath, ['increment.js', path, `${n}`], { cwd: compiled.path }))
    await Promise.all(writers)
    const store = new LmdbStore({ path })
    expect(await store.get('n')).toBe('300')
    expect(await store.list('by:', { limit: Infinity })).toHaveLength(300)
    await store.close()
  })

  it('sees at once what another process committed', async () => {
    const path = newPath()
    const store = new LmdbStore({ path })
    const child = spawn(process.execPath, ['count.js', path], { cwd: compiled.path, stdio: ['pipe', 'pipe', 'inherit'] })
    for await (const line of createInterface(child.stdout)) {
      expect(await store.get('n')).toBe(line)
      expect(await store.list('n')).toEqual([['n', line]])
      if (line === '20') break
      child.stdin.write('next\n')
    }
    child.stdin.end()
    await ended(child)
    await store.close()
  })

  it('H6: holds after kill -9 every batch that was committed, and none in part', async () => {
    const path = newPath()
    for (let round = 0; round < 5; round++) {
      const child = spawn(process.execPath, ['pairs.js', path], { cwd: compiled.path, stdio: ['ignore', 'pipe', 'inherit'] })
      let committed = 0
      for await (const line of createInterface(child.stdout)) {
        committed = Number(line)
        if (committed % 50 === 49) break
      }
      child.kill('SIGKILL')
      await ended(child)
      const store = new LmdbStore({ path })
      const left = await store.list('left:', { limit: Infinity })
      const right = await store.list('right:', { limit: Infinity })
      expect(left.length).toBeGreaterThan(committed)
      expect(right.map(([, value]) => value)).toEqual(left.map(([, value]) => value))
      expect(await store.get('n')).toBe(`${left.length}`)
      await store.close()
    }
  })

  // A limit on the size of files stands in for a full disk: Windows has none, and there this is no test.
  if (process.platform !== 'win32') it('H7: stays as it was when the disk is full, and goes on when there is room', async () => {
    const { stdout } = await run('sh', ['-c', 'ulimit -f 1000 && exec "$0" full.js "$1"', process.execPath, newPath()], { cwd: compiled.path })
    expect(stdout.trim().split('\n')).toEqual([
      'refused: StoreError, outcome undefined, with a cause',
      'first of the refused batch: undefined',
      'all before it are there: true',
      'guard still holds: true',
      'after deletes there is room: true'
    ])
  })
})

describe('LmdbStore: a disk that fails so badly that nothing can be read any more', () => {
  afterEach(() => { vi.doUnmock('lmdb') })

  it.each([['lands', '2'], ['does not', '1']] as const)('H6: does not claim to know of the write, which %s, and opens the file anew', async (how, value) => {
    // No disk does that on demand. All else is lmdb itself.
    const { open, ...others } = await vi.importActual<typeof Lmdb>('lmdb')
    let breaks = false
    vi.doMock('lmdb', () => ({
      ...others,
      open: (options: object) => {
        const database = open(options as never)
        const whole = database.transactionSync.bind(database)
        let isBroken = false
        return Object.assign(database, {
          transactionSync: (act: () => boolean) => {
            if (!breaks) return whole(act)
            breaks = false
            isBroken = true
            if (how === 'lands') whole(act)
            throw new Error('MDB_PANIC')
          },
          resetReadTxn: () => { if (isBroken) throw new Error('MDB_PANIC') }
        })
      }
    }))
    const store = new LmdbStore({ path: newPath() })
    await store.commit({ puts: [['a', '1']] })
    breaks = true
    await expect(store.commit({ puts: [['a', '2']] })).rejects.toMatchObject({ name: 'StoreError', outcome: 'unknown' })
    expect(await store.get('a')).toBe(value)
    expect(await store.commit({ puts: [['a', '3']], guards: [['a', value]] })).toBe(true)
    await store.close()
  })
})

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

const PROGRAMS: Record<string, string> = {
  'missing.js': `
    import { LmdbStore } from './store/lmdb.js'
    await new LmdbStore({ path: process.argv[2] }).get('a').catch(error => console.log(error.name + ': ' + error.message))
  `,
  'increment.js': `
    import { LmdbStore } from './store/lmdb.js'
    const [path, name] = process.argv.slice(2)
    const store = new LmdbStore({ path })
    for (let i = 0; i < 100; i++) {
      for (;;) {
        const before = await store.get('n')
        const puts = [['n', String(Number(before ?? 0) + 1)], ['by:' + name + ':' + i, 'x'.repeat(10000)]]
        if (await store.commit({ puts, guards: [['n', before]] })) break
      }
    }
    await store.close()
  `,
  'count.js': `
    import { createInterface } from 'node:readline'
    import { LmdbStore } from './store/lmdb.js'
    const store = new LmdbStore({ path: process.argv[2] })
    let n = 0
    const next = async () => {
      await store.commit({ puts: [['n', String(++n)]] })
      console.log(n)
    }
    await next()
    for await (const line of createInterface(process.stdin)) await next()
    await store.close()
  `,
  'pairs.js': `
    import { LmdbStore } from './store/lmdb.js'
    const store = new LmdbStore({ path: process.argv[2] })
    for (let n = Number((await store.get('n')) ?? 0); ; n++) {
      const id = String(n).padStart(8, '0')
      await store.commit({ puts: [['left:' + id, id], ['n', String(n + 1)], ['right:' + id, id]] })
      process.stdout.write(n + '\\n')
    }
  `,
  'full.js': `
    import { LmdbStore } from './store/lmdb.js'
    const store = new LmdbStore({ path: process.argv[2] })
    let n = 0
    for (; n < 1000; n++) {
      const puts = [['first:' + n, String(n)], ['second:' + n, 'x'.repeat(5000)], ['n', String(n)]]
      const error = await store.commit({ puts }).then(() => undefined, error => error)
      if (error === undefined) continue
      console.log('refused: ' + error.name + ', outcome ' + error.outcome + ', with ' + (error.cause ? 'a cause' : 'no cause'))
      break
    }
    console.log('first of the refused batch: ' + (await store.get('first:' + n)))
    console.log('all before it are there: ' + ((await store.list('second:', { limit: Infinity })).length === n))
    console.log('guard still holds: ' + (await store.commit({ guards: [['n', String(n - 1)]] })))
    const deletes = Array.from({ length: n }, (_, i) => 'second:' + i)
    console.log('after deletes there is room: ' + (await store.commit({ deletes }) && await store.commit({ puts: [['last', '1']] })))
    await store.close()
  `
}
