/** LPI v2's packets where modules and stores are slow, hosts come and go, and peers ask, object and answer as no honest one does. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as IlpPacket from 'ilp-packet'
import { describe, expect, it } from 'vitest'
import { askMessage, lateMessage } from '../../src/btp/inquiry.js'
import { json, octets } from '../../src/btp/protocol-data.js'
import type { AnyModule } from '../../src/plugin/module.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, PREFIX, answers, settle, watch } from '../support/lab.js'
import type { LabOptions } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'

/** A module that judges a Prepare when the test says so, and counts the claims that it makes. */
function slowModule(name: 'alice' | 'bob') {
  const waiting: Array<() => void> = []
  const claims: string[] = []
  const state = { isSlow: false }
  const module: AnyModule = {
    connect: () => undefined,
    disconnect: () => undefined,
    getAccount: () => PREFIX + name,
    getPeerAccount: () => PREFIX + (name === 'alice' ? 'bob' : 'alice'),
    getInfo: () => ({ prefix: PREFIX }),
    handleIncomingPrepare: () => state.isSlow ? new Promise<void>(resolve => { waiting.push(resolve) }) : undefined,
    createOutgoingClaim: (_ctx, sum) => {
      claims.push(sum)
      return { sum }
    },
    handleIncomingClaim: (_ctx, claim) => (claim as { sum: string }).sum
  }
  return { module, claims, state, judge: () => { for (const resolve of waiting.splice(0)) resolve() } }
}

describe('a packet that the module judges slowly', () => {
  async function open() {
    const [a, b] = [slowModule('alice'), slowModule('bob')]
    b.state.isSlow = true
    const lab = new Lab({ alice: { services: {}, module: a.module }, bob: { services: {}, module: b.module } })
    let calls = 0
    lab.bob.onStart = plugin => {
      plugin.registerDataHandler(async packet => {
        calls++
        return fulfillOf(packet)
      })
    }
    await lab.bob.start()
    await lab.alice.start()
    return { lab, b, calls: () => calls }
  }

  it('is not given to the host when its sender was answered R00 meanwhile', async () => {
    const { lab, b, calls } = await open()
    const sent = watch(lab.alice.plugin.sendData(ilpPayment('one', lab.clock.now() + 10_000).prepare))
    await lab.clock.advance(11_000)
    expect(sent.state).not.toBe('pending')
    expect([lab.bob.plugin.inFlight(), (await lab.bob.durable()).states]).toEqual([[], {}])
    b.judge()
    await settle()
    // What the host pays further on for it, nobody pays back.
    expect(calls()).toBe(0)
  })

  it('is not given to the host after a disconnect and the next connect, which have cancelled it', async () => {
    const { lab, b, calls } = await open()
    watch(lab.alice.plugin.sendData(ilpPayment('one', lab.clock.now() + 60_000).prepare))
    await settle()
    await lab.bob.plugin.disconnect()
    await lab.bob.plugin.connect()
    await lab.clock.advance(2000)
    expect([lab.bob.plugin.inFlight(), (await lab.bob.durable()).states]).toEqual([[], {}])
    b.judge()
    await settle()
    expect(calls()).toBe(0)
  })
})

describe('a packet whose hold the store takes long to write', () => {
  it('is not given to the host when its time is over by then', async () => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {} } })
    let calls = 0
    lab.bob.onStart = plugin => {
      plugin.registerDataHandler(async packet => {
        calls++
        return fulfillOf(packet)
      })
    }
    await lab.bob.start()
    await lab.alice.start()
    const release = lab.bob.store.holdCommits()
    watch(lab.alice.plugin.sendData(ilpPayment('one', lab.clock.now() + 3000).prepare))
    await lab.clock.advance(4000)
    release()
    await lab.clock.advance(1000)
    expect(calls).toBe(0)
  })
})

describe('a host of LPI v1 with a module that sends packets', () => {
  it('settles what they owe: its module is asked for a claim', async () => {
    const [a, b] = [slowModule('alice'), slowModule('bob')]
    const lab = new Lab({ alice: { module: a.module }, bob: { module: b.module } })
    lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.bob.start()
    await lab.alice.start()
    expect(codeOf(await lab.alice.plugin.sendData(ilpPayment('one', lab.clock.now() + 10_000).prepare))).toBe('fulfill')
    await lab.clock.advance(600_000)
    expect(a.claims).toEqual(['10'])
  })
})

describe('a foreign peer of BTP 2.0 that asks for the info first', () => {
  it('is sent packets, once it has sent one', async () => {
    const lab = new Lab({ alice: { services: {} } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    lab.alice.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.alice.start()
    const back = ilpPayment('back', lab.clock.now() + 10_000)
    peer.script = packet => packet.type === 'message' && packet.protocolData[0]?.protocolName === 'ilp' ? [octets('ilp', back.fulfill)] : undefined
    await peer.ask({ type: 'message', protocolData: [octets('info', Uint8Array.of(2))] })
    const there = await peer.ask({ type: 'message', protocolData: [octets('ilp', ilpPayment('there', lab.clock.now() + 10_000).prepare)] })
    expect(there.type).toBe('response')
    expect(codeOf(await lab.alice.plugin.sendData(back.prepare))).toBe('fulfill')
  })
})

/** The right preimage, and 3 bytes of data whose length is written in a form that is not canonical: 81 03 instead of 03. */
function oddFulfill(fulfillment: Uint8Array): Buffer {
  const body = Buffer.concat([fulfillment, Buffer.from([0x81, 0x03, 1, 2, 3])])
  return Buffer.concat([Buffer.from([13, body.length]), body])
}

describe('a Fulfill with the right preimage that ilp-packet, and so the connector above, does not read', () => {
  it.each([true, false])('is not paid for, or is passed on in a form that can be read (peer of ours: %s)', async announces => {
    const lab = new Lab({ alice: { services: {} } })
    const peer = new ScriptedPeer(lab, { announces })
    await peer.listen()
    const payment = ilpPayment('odd', lab.clock.now() + 10_000)
    const { fulfillment } = IlpPacket.deserializeIlpFulfill(payment.fulfill)
    peer.script = packet => packet.type === 'message' && packet.protocolData[0]?.protocolName === 'ilp' ? [octets('ilp', oddFulfill(fulfillment))] : undefined
    await lab.alice.start()
    const sent = watch<Uint8Array>(lab.alice.plugin.sendData(payment.prepare))
    await settle()
    // ilp-connector's validate-fulfillment middleware does this with what sendData resolves with: where it throws, the sender is rejected.
    const isReadable = (): boolean => {
      try {
        return IlpPacket.deserializeIlpFulfill(Buffer.from(sent.value ?? [])).fulfillment.equals(fulfillment)
      } catch {
        return false
      }
    }
    const { balance } = await lab.alice.durable()
    expect([balance, isReadable()]).toEqual(isReadable() ? [-10, true] : [0, false])
  })
})

async function play(isDisconnecting: boolean): Promise<[number, number]> {
  const options = { trustSettlements: true }
  const lab = new Lab({ alice: { services: {}, options }, bob: { services: {}, options: { ...options, maxBalance: '100' } } })
  let handle: (packet: Buffer) => Promise<Buffer> = async packet => fulfillOf(packet)
  lab.bob.onStart = plugin => {
    plugin.registerDataHandler(packet => handle(packet))
    plugin.registerMoneyHandler(async () => undefined)
  }
  await lab.bob.start()
  await lab.alice.start()
  let made = 0
  const send = async (count: number, expiresInMs: number): Promise<void> => {
    for (let n = 0; n < count; n++) watch(lab.alice.plugin.sendData(ilpPayment(`payment ${made++}`, lab.clock.now() + expiresInMs).prepare))
    await settle()
  }
  // Ten packets are being answered while bob's host disconnects, and connects again.
  const waiting: Array<() => void> = []
  handle = packet => new Promise(resolve => { waiting.push(() => { resolve(fulfillOf(packet)) }) })
  await send(10, 60_000)
  const release = isDisconnecting ? lab.bob.store.holdCommits() : () => undefined
  for (const answer of waiting) answer()
  await settle()
  if (isDisconnecting) {
    const disconnected = lab.bob.plugin.disconnect()
    await settle()
    release()
    await disconnected
    await lab.bob.plugin.connect()
  }
  await lab.clock.advance(5000)
  expect(await lab.balances()).toEqual([-100, 100])
  // All that is long past: the sender is in no doubt about any of it.
  await lab.clock.advance(130_000)
  await lab.alice.plugin.getPeerBalance()
  await lab.clock.advance(20_000)
  await lab.alice.plugin.sendMoney('100')
  expect(Object.values((await lab.bob.durable()).open).length).toBeLessThanOrEqual(10)
  // No answer comes through while she sends as much as she may, settles for some of it, and sends that much more: then all expires.
  handle = async packet => fulfillOf(packet)
  const pass = lab.network.drop(answers('message'))
  await send(10, 5000)
  await lab.alice.plugin.sendMoney('50')
  await send(5, 5000)
  await lab.clock.advance(10_000)
  pass()
  await lab.clock.advance(200_000)
  return lab.balances()
}

describe('I1: the balances of both sides agree after Fulfills that came too late', () => {
  it('where nobody has disconnected before', async () => {
    expect(await play(false)).toEqual([-100, 100])
  })

  it('where the receiver has disconnected once before, while answers were being stored', async () => {
    expect(await play(true)).toEqual([-100, 100])
  })
})

describe('a peer that asks and asks, and never says that it was all', () => {
  it('costs no memory', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const lab = new Lab({ alice: { services: {} } })
    const peer = new ScriptedPeer(lab, { announces: true })
    await peer.listen()
    await lab.alice.start()
    let asked = 0
    const ask = async (questions: number): Promise<number> => {
      for (let n = 0; n < questions; n++) {
        const ids = Array.from({ length: 200 }, () => `00000000-0000-4000-8000-${String(asked++).padStart(12, '0')}`)
        await peer.ask({ type: 'message', protocolData: [askMessage(ids, false)] }, 7)
        for (const kept of [lab.network.traffic, lab.alice.store.gets, lab.alice.log.lines]) kept.length = 0
      }
      await settle()
      collect()
      return process.memoryUsage().heapUsed / 1e6
    }
    // As many as are remembered as refused, and more.
    const before = await ask(100)
    expect(await ask(500) - before, 'MB for 100,000 ids').toBeLessThan(3)
  }, 60_000)
})

describe('a handler that was taken away', () => {
  it('is not called any more, for what the store takes its time to hold', async () => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {} } })
    let calls = 0
    lab.bob.onStart = plugin => {
      plugin.registerDataHandler(async packet => {
        calls++
        return fulfillOf(packet)
      })
    }
    await lab.bob.start()
    await lab.alice.start()
    const release = lab.bob.store.holdCommits()
    watch(lab.alice.plugin.sendData(ilpPayment('one', lab.clock.now() + 10_000).prepare))
    await settle()
    lab.bob.plugin.deregisterDataHandler()
    release()
    await settle()
    expect(calls).toBe(0)
  })
})

describe('I9: what was disputed', () => {
  it('takes room below the maximum for half an hour at least, wherever the wall clock goes, so that no peer has as much again and again', async () => {
    const lab = new Lab({ alice: { services: {}, options: { maxBalance: '10' } } })
    const peer = new ScriptedPeer(lab, { announces: true })
    await peer.listen()
    let delivered = 0
    lab.alice.onStart = plugin => {
      plugin.registerDataHandler(async packet => {
        delivered += 5
        return fulfillOf(packet)
      })
    }
    await lab.alice.start()
    let made = 0
    const payAndDispute = async (): Promise<void> => {
      const id = `00000000-0000-4000-8000-${String(made++).padStart(12, '0')}`
      await peer.ask({ type: 'message', protocolData: [octets('ilp', ilpPayment(id, lab.clock.now() + 10_000, '5').prepare), json('paychan', { transfer: id })] })
      await peer.ask({ type: 'message', protocolData: [lateMessage(id)] })
      await settle()
    }
    for (let n = 0; n < 50; n++) await payAndDispute()
    expect([delivered, lab.alice.seen('dispute').length, await lab.alice.plugin.getBalance()]).toEqual([10, 2, '0'])
    lab.clock.putBack(-7_200_000)
    await payAndDispute()
    expect(delivered).toBe(10)
    lab.clock.putBack(10_000_000)
    await lab.clock.advance(1_790_000)
    await payAndDispute()
    expect(delivered).toBe(10)
    await lab.clock.advance(1_820_000)
    await payAndDispute()
    await payAndDispute()
    await payAndDispute()
    expect(delivered).toBe(20)
  })

  it('takes it under LPI v1, too', async () => {
    const lab = new Lab({ alice: { options: { maxBalance: '10' } } })
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    await lab.alice.start()
    peer.script = packet => packet.type === 'fulfill' ? { code: 'F06', name: 'AlreadyRolledBackError', message: 'late' } : undefined
    for (const n of [1, 2, 3]) {
      const payment = lab.payment({ to: 'alice', amount: '5' })
      const answer = await peer.prepare(payment)
      expect(answer.type).toBe(n === 3 ? 'error' : 'response')
      if (n < 3) await expect(lab.alice.plugin.fulfillCondition(payment.id, payment.fulfillment)).rejects.toThrow('rolled')
    }
    expect(lab.alice.seen('dispute')).toHaveLength(2)
  })
})

describe('I3: an id of which there is a record', () => {
  const uuid = (n: number): string => `00000000-0000-4000-9000-${String(n).padStart(12, '0')}`

  async function open(options: LabOptions) {
    const lab = new Lab(options)
    const peer = new ScriptedPeer(lab, { announces: true })
    await peer.listen()
    const handled: string[] = []
    lab.alice.onStart = plugin => {
      plugin.registerDataHandler(async packet => {
        handled.push('packet')
        return fulfillOf(packet)
      })
    }
    await lab.alice.start()
    let n = 0
    const pay = async (id: string, more: object = {}) => {
      const answer = await peer.ask({ type: 'message', protocolData: [octets('ilp', ilpPayment(`seed ${n++}`, lab.clock.now() + 10_000).prepare), json('paychan', { transfer: id, ...more })] })
      await settle()
      return answer
    }
    return { lab, peer, pay, handled }
  }

  it('is not taken again for a packet when it was disputed, and its evidence stays', async () => {
    const { lab, peer, pay, handled } = await open({ alice: { services: {} } })
    await pay(uuid(1))
    await peer.ask({ type: 'message', protocolData: [lateMessage(uuid(1))] })
    await settle()
    const evidence = async () => (await lab.alice.disk.list('', { limit: Infinity })).filter(([key]) => key.includes('disputed')).map(([, value]) => value)
    const before = await evidence()
    expect(before).toHaveLength(1)
    for (let n = 2; n < 400; n++) await pay(uuid(n), { n, final: n })
    const count = handled.length
    const again = await pay(uuid(1))
    expect([again.type, handled.length]).toEqual(['error', count])
    await peer.ask({ type: 'message', protocolData: [lateMessage(uuid(1))] })
    await settle()
    expect(await evidence()).toEqual(before)
  })

  it('is not taken for a packet when it was a transfer of LPI v1, after a restart', async () => {
    const { lab, peer, pay, handled } = await open({})
    const payment = lab.payment({ to: 'alice' })
    await peer.prepare(payment)
    await lab.alice.plugin.fulfillCondition(payment.id, payment.fulfillment)
    await settle()
    const restarting = lab.alice.start()
    await lab.reconnect()
    await restarting
    const answer = await pay(payment.id)
    expect([answer.type, handled.length, (await lab.alice.durable()).balance]).toEqual(['error', 0, 10])
    expect(await lab.alice.plugin.getFulfillment(payment.id)).toBe(payment.fulfillment)
  })
})
