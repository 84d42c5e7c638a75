import { randomBytes, createHash, randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import PaychanPlugin, { MemoryStore } from '../../src/node.js'

it('two peers pay each other over a real socket', async () => {
  const server = new PaychanPlugin({ listener: { port: 0 }, prefix: 'test.a.', info: {}, incomingSecret: 'pass', maxBalance: '1000000', store: new MemoryStore() })
  await server.connect()
  const client = new PaychanPlugin({ server: `btp+ws://:pass@localhost:${server.port}`, maxBalance: '1000', store: new MemoryStore() })
  await client.connect()
  expect(client.getAccount()).toBe('test.a.client')
  const preimage = randomBytes(32)
  const executionCondition = createHash('sha256').update(preimage).digest('base64url')
  server.on('incoming_prepare', t => { void server.fulfillCondition(t.id, preimage.toString('base64url')) })
  const done = new Promise(resolve => server.once('incoming_fulfill', resolve))
  await client.sendTransfer({ id: randomUUID(), to: 'test.a.server', amount: '10', executionCondition, expiresAt: new Date(Date.now() + 10000).toISOString() })
  await done
  expect(await client.getBalance()).toBe('-10')
  expect(await client.getPeerBalance()).toBe('-10')
  await client.disconnect()
  await server.disconnect()
})
