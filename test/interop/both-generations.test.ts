/** One listener, and on the same port an old peer that speaks BTP 1.0 and a peer of today that speaks BTP 2.0. */
import { createRequire } from 'node:module'
import { expect, it } from 'vitest'
import PaychanPlugin, { BtpListener, MemoryStore } from '../../src/node.js'
import { fulfillOf, ilpPayment } from '../support/ilp.js'
import { OldPlugin } from '../support/old-plugin.js'
import { INFO, PREFIX, payment } from '../support/old-pair.js'
import { afterTest, keep, nextEvent } from '../support/hosts.js'

interface BtpPlugin {
  connect(): Promise<void>
  disconnect(): Promise<void>
  sendData(data: Buffer): Promise<Buffer>
}
const BtpPlugin = createRequire(import.meta.url)('ilp-plugin-btp') as new (options: object) => BtpPlugin

it('C54, C56: are served at once, each in its own generation, by plugins that share the listener', async () => {
  const listener = new BtpListener({ port: 0, host: '127.0.0.1' })
  const forOld = keep(new PaychanPlugin({
    listener, incomingSecret: 'old', prefix: PREFIX, info: INFO, maxBalance: '1000', minBalance: '-1000', store: new MemoryStore()
  }))
  const forNew = keep(new PaychanPlugin({ listener, incomingSecret: 'new', maxBalance: '1000' }, {}))
  forNew.registerDataHandler(async packet => fulfillOf(packet))
  await Promise.all([forOld.connect(), forNew.connect()])
  const address = (token: string): string => `btp+ws://:${token}@127.0.0.1:${listener.port ?? 0}`
  const [old, today] = [new OldPlugin({ server: address('old') }), new BtpPlugin({ server: address('new') })]
  afterTest(async () => {
    await today.disconnect()
    await old.disconnect()
  })
  await Promise.all([old.connect(), today.connect()])

  const { transfer, fulfillment } = payment(forOld.getPeerAccount(), '5')
  const prepared = nextEvent(forOld, 'outgoing_fulfill')
  old.on('incoming_prepare', () => { old.fulfillCondition(transfer.id, fulfillment).catch(() => undefined) })
  const packet = ilpPayment('both', Date.now() + 10_000, '7')
  const [answer] = await Promise.all([today.sendData(packet.prepare), forOld.sendTransfer(transfer), prepared])
  expect(answer).toEqual(packet.fulfill)
  expect([await forOld.getBalance(), await forNew.getBalance()]).toEqual(['-5', '7'])
  await expect(forNew.sendTransfer({ ...transfer, to: forNew.getPeerAccount() })).rejects.toThrow(/speaks BTP 2.0 only/)
})
