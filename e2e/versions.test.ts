/**
 * The packed package in each version of Node that it is for: imported and required, with lmdb and without it.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { NODE_VERSIONS, nodeOf } from './support/node-versions.js'
import { PAY } from './support/programs.js'

const HEADS: Readonly<Record<string, string>> = {
  mjs: `import { createHash, randomBytes, randomUUID } from 'node:crypto'
    import Plugin, { BtpListener, LmdbStore, MemoryStore } from 'ilp-plugin-paychan'`,
  cjs: `const { createHash, randomBytes, randomUUID } = require('node:crypto')
    const Plugin = require('ilp-plugin-paychan')
    const { BtpListener, LmdbStore, MemoryStore } = Plugin`
}

/** Two plugins that pay each other over a real socket; prints the balances, and what a store that is opened anew has of them. */
const PROGRAM = `
  const [, , storeName, folder] = process.argv
  const openStore = name => storeName === 'LmdbStore' ? new LmdbStore({ path: folder + '/' + name }) : new MemoryStore()

  ${PAY}

  async function main() {
    const listener = new BtpListener({ port: 0 })
    const limits = { maxBalance: '1000', minBalance: '-1000' }
    const stores = [openStore('server'), openStore('client')]
    const server = new Plugin({ listener, incomingSecret: 'secret', prefix: 'test.a.', info: {}, ...limits, store: stores[0] })
    await server.connect()
    const client = new Plugin({ server: 'btp+ws://:secret@localhost:' + listener.port, ...limits, store: stores[1] })
    await client.connect()
    await pay(client, server, '7')
    await pay(server, client, '3')
    const balances = [await client.getBalance(), await server.getBalance()]
    await client.disconnect()
    await server.disconnect()
    await Promise.all(stores.map(store => store.close()))
    const again = openStore('client')
    const kept = await new Plugin({ server: 'btp+ws://:secret@localhost:1', ...limits, store: again }).getBalance()
    await again.close()
    console.log(JSON.stringify({ version: process.version, balances, kept }))
  }
  main()`

describe.each(NODE_VERSIONS)('Node %i', major => {
  let node: string

  beforeAll(() => { node = nodeOf(major) }, 300_000)

  describe.each(Object.keys(HEADS))('as .%s', extension => {
    it.each([
      ['without lmdb, with a store in memory', 'project', 'MemoryStore', '0'],
      ['with lmdb, over which the balance is kept', 'projectWithLmdb', 'LmdbStore', '-4']
    ] as const)('lets two plugins pay each other, and exits by itself: %s', (_name, where, store, kept) => {
      const folder = inject(where)
      const program = join(folder, `versions.${extension}`)
      writeFileSync(program, `${HEADS[extension] ?? ''}\n${PROGRAM}`)
      const data = join(folder, `data-${major}-${extension}`)
      const output = execFileSync(node, [program, store, data], { cwd: folder, encoding: 'utf8', timeout: 50_000, stdio: ['ignore', 'pipe', 'pipe'] })
      const { version, ...found } = JSON.parse(output) as { version: string }
      expect(version).toMatch(new RegExp(`^v${major}\\.`))
      expect(found).toEqual({ balances: ['-4', '4'], kept })
    })
  })
})
