import { describe, expect, expectTypeOf, it } from 'vitest'
import { fromUtf8 } from '../../src/core/bytes.js'
import { MemoryStore } from '../../src/node.js'
import type { IncomingTransfer, LedgerInfo, Message, ObservedPacket, PluginEvents, RejectionMessage, Transfer } from '../../src/node.js'
import { SafeEmitter } from '../../src/plugin/emitter.js'
import { connectedPair, foreignPeer, makeClient, makeServer, nextEvent, payment, recordEvents, SECRET } from '../support/hosts.js'

interface Events {
  tick: (count: number) => void
  other: () => void
}

function emitter(): { emitter: SafeEmitter<Events>; reports: string[] } {
  const reports: string[] = []
  return { emitter: new SafeEmitter<Events>(message => { reports.push(message) }), reports }
}

describe('listeners', () => {
  it('C52: one that throws harms neither the others nor the plugin, and is reported', () => {
    const { emitter: events, reports } = emitter()
    const seen: number[] = []
    events.on('tick', () => { throw new Error('bad listener') })
    events.on('tick', count => { seen.push(count) })
    expect(events.emit('tick', 1)).toBe(true)
    expect([seen, reports]).toEqual([[1], ['a listener of tick failed: bad listener']])
  })

  it('C52: one that rejects harms nothing, whatever kind of promise it returns, and is reported', async () => {
    const { emitter: events, reports } = emitter()
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- hosts do
    events.on('tick', async () => { await Promise.reject(new Error('later')) })
    events.on('tick', () => ({ then: (_resolve: unknown, reject: (error: Error) => void) => { reject(new Error('of another kind')) } }) as never)
    events.emit('tick', 1)
    await expect.poll(() => reports).toEqual(expect.arrayContaining(['a listener of tick failed: later', 'a listener of tick failed: of another kind']))
  })

  it('C52: one that never resolves holds nothing up', async () => {
    const { server, client } = await connectedPair()
    const hangs = (): Promise<void> => new Promise(() => undefined)
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- hosts do
    for (const [side, event] of [[server, 'incoming_prepare'], [client, 'outgoing_prepare']] as const) side.on(event, hangs)
    server.on('incoming_prepare', () => { throw new Error('bad host') })
    server.on('incoming_fulfill', () => { throw new Error('bad host') })
    client.on('outgoing_fulfill', () => { throw new Error('bad host') })
    const isPrepared = nextEvent(server, 'incoming_prepare')
    const { transfer, fulfillment } = payment(client.getPeerAccount())
    await client.sendTransfer(transfer)
    await isPrepared
    await server.fulfillCondition(transfer.id, fulfillment)
    expect([await client.getBalance(), await server.getBalance()]).toEqual(['-10', '10'])
  })

  it('H32: what a listener throws is escaped in the log', () => {
    const { emitter: events, reports } = emitter()
    events.on('tick', () => { throw new Error('\u001b[2J\nforged line') })
    events.emit('tick', 1)
    expect(reports).toEqual(['a listener of tick failed: \\u001b[2J\\u000aforged line'])
  })

  it('once is called once, off takes away what on or once added, also after it was called', () => {
    const { emitter: events } = emitter()
    const seen: string[] = []
    const always = (): void => { seen.push('always') }
    const once = (): void => { seen.push('once') }
    const never = (): void => { seen.push('never') }
    events.on('tick', always).once('tick', once).once('tick', never).off('tick', never)
    events.off('other', always)
    for (let i = 0; i < 2; i++) events.emit('tick', i)
    events.off('tick', always).off('tick', once).off('tick', () => undefined)
    expect(events.emit('tick', 3)).toBe(false)
    expect(seen).toEqual(['always', 'once', 'always'])
  })

  it('addListener, removeListener, removeAllListeners and listenerCount do as they do in Node', () => {
    const { emitter: events } = emitter()
    const listener = (): void => undefined
    events.addListener('tick', listener).addListener('tick', () => undefined).addListener('other', listener)
    expect([events.listenerCount('tick'), events.listenerCount('other')]).toEqual([2, 1])
    events.removeListener('tick', listener)
    expect(events.listenerCount('tick')).toBe(1)
    events.removeAllListeners('tick')
    expect([events.listenerCount('tick'), events.listenerCount('other')]).toEqual([0, 1])
    events.removeAllListeners()
    expect(events.listenerCount('other')).toBe(0)
  })

  it('a listener may disconnect, connect, or send within an event', async () => {
    const { server, client } = await connectedPair()
    const order = recordEvents(client, 'connect', 'disconnect')
    client.once('disconnect', () => { void client.connect() })
    const isBack = nextEvent(client, 'connect')
    server.once('incoming_prepare', transfer => { void client.disconnect().catch(() => undefined); expect(transfer.amount).toBe('10') })
    await client.sendTransfer(payment(client.getPeerAccount()).transfer).catch(() => undefined)
    await isBack
    expect(order).toEqual(['disconnect', 'connect'])
    expect(client.isConnected()).toBe(true)
  })
})

describe('events of transfers', () => {
  it("C52: carry LPI's fields, with absent ones left out", async () => {
    const { server, client } = await connectedPair()
    const { transfer, fulfillment } = payment(client.getPeerAccount(), '12', { noteToSelf: { secret: 'mine' } })
    const [accounts, prefix] = [{ from: client.getAccount(), to: client.getPeerAccount() }, client.getInfo().prefix]
    const outgoing = nextEvent(client, 'outgoing_prepare')
    const incoming = nextEvent(server, 'incoming_prepare')
    await client.sendTransfer(transfer)
    const { noteToSelf, ...sent } = transfer
    expect(await outgoing).toEqual([{ ...sent, noteToSelf, ...accounts, ledger: prefix }])
    expect(await incoming).toEqual([{ ...sent, ...accounts, ledger: prefix }])
    const fulfilled = [nextEvent(client, 'outgoing_fulfill'), nextEvent(server, 'incoming_fulfill')] as const
    await server.fulfillCondition(transfer.id, fulfillment, 'AAAA')
    expect(await fulfilled[0]).toEqual([{ ...sent, noteToSelf, ...accounts, ledger: prefix }, fulfillment, 'AAAA'])
    expect(await fulfilled[1]).toEqual([{ ...sent, ...accounts, ledger: prefix }, fulfillment])
  })

  it('C52: `direction`, which ilp-connector 18 gives and looks for in what comes back, stays with the transfer, and on this side', async () => {
    const { server, client } = await connectedPair()
    const { transfer, fulfillment } = payment(client.getPeerAccount(), '12', { direction: 'outgoing' })
    const [prepared, incoming, fulfilled] = [nextEvent(client, 'outgoing_prepare'), nextEvent(server, 'incoming_prepare'), nextEvent(client, 'outgoing_fulfill')]
    await client.sendTransfer(transfer)
    expect((await prepared)[0]).toHaveProperty('direction', 'outgoing')
    expect((await incoming)[0]).not.toHaveProperty('direction')
    await server.fulfillCondition(transfer.id, fulfillment)
    expect((await fulfilled)[0]).toHaveProperty('direction', 'outgoing')
  })

  it('C52 C34: a rejection carries the reason on both sides', async () => {
    const { server, client } = await connectedPair()
    const { transfer } = payment(client.getPeerAccount())
    const isPrepared = nextEvent(server, 'incoming_prepare')
    await client.sendTransfer(transfer)
    await isPrepared
    const told = [nextEvent(client, 'outgoing_reject'), nextEvent(server, 'incoming_reject')] as const
    await server.rejectIncomingTransfer(transfer.id, { code: 'F02', name: 'Unreachable', message: 'no route', additional_info: { hop: 3 } })
    const reason = {
      code: 'F02', name: 'Unreachable', triggered_by: server.getAccount(), forwarded_by: server.getAccount(), triggered_at: expect.any(Date) as Date,
      additional_info: { hop: 3 }
    }
    expect((await told[0])[1]).toMatchObject(reason)
    expect((await told[1])[1]).toMatchObject(reason)
  })
})

describe('packet', () => {
  it('shows the packets of both directions, decoded, and no longer once nobody listens', async () => {
    const { server, client } = await connectedPair()
    const seen: string[] = []
    const listener: PluginEvents['packet'] = ({ direction, packet }) => {
      // They compare their books first.
      if (packet.protocolData[0]?.protocolName === 'paychan') return
      seen.push(`${direction} ${packet.type}${packet.type === 'prepare' ? ` of ${packet.amount}` : ''}`)
    }
    client.on('packet', listener)
    const { transfer, fulfillment } = payment(client.getPeerAccount(), '12')
    const isPrepared = nextEvent(server, 'incoming_prepare')
    await client.sendTransfer(transfer)
    await isPrepared
    await server.fulfillCondition(transfer.id, fulfillment)
    expect(seen).toEqual(['out prepare of 12', 'in response', 'in fulfill', 'out response'])
    client.off('packet', listener)
    await client.getPeerBalance()
    expect(seen).toHaveLength(4)
  })

  it('H32: has no token in it, not even when the peer sends one out of turn', async () => {
    const server = makeServer()
    const packets: ObservedPacket[] = []
    server.on('packet', observed => { packets.push(observed) })
    await server.connect()
    const client = makeClient(server, { maxBalance: '10', store: new MemoryStore() })
    client.on('packet', observed => { packets.push(observed) })
    await client.connect()
    await client.getPeerBalance()
    const again = await (await foreignPeer(server)).authenticate()
    expect(again.type).toBe('error')
    const told = packets.flatMap(({ packet }) => packet.protocolData.map(({ protocolName, data }) => `${protocolName} ${fromUtf8(data)}`)).join()
    expect(told).toContain('balance')
    expect(told).not.toContain(SECRET)
  })
})

describe('types', () => {
  it('a listener gets the types of its event', () => {
    const plugin = makeServer()
    plugin.on('connect', (...args) => { expectTypeOf(args).toEqualTypeOf<[]>() })
    plugin.on('error', error => { expectTypeOf(error).toEqualTypeOf<Error>() })
    plugin.on('info_change', info => { expectTypeOf(info).toEqualTypeOf<LedgerInfo>() })
    plugin.on('incoming_prepare', transfer => { expectTypeOf(transfer).toEqualTypeOf<IncomingTransfer>() })
    plugin.on('outgoing_fulfill', (transfer, fulfillment, ilp) => {
      expectTypeOf(transfer).toEqualTypeOf<Transfer>()
      expectTypeOf(fulfillment).toEqualTypeOf<string>()
      expectTypeOf(ilp).toEqualTypeOf<string | undefined>()
    })
    plugin.on('incoming_reject', (_transfer, reason) => { expectTypeOf(reason).toEqualTypeOf<RejectionMessage>() })
    plugin.on('incoming_request', message => { expectTypeOf(message).toEqualTypeOf<Message>() })
    // @ts-expect-error -- there is no such event
    plugin.on('incoming_prepared', () => undefined)
    expect(plugin.listenerCount('connect')).toBe(1)
  })
})
