/** What a crash, a restart or a disconnect leaves of transfers, and how they are taken up again. */
import { describe, expect, it } from 'vitest'
import { AlreadyRolledBackError, NotAcceptedError, UnreachableError } from '../../src/core/errors.js'
import type { Batch } from '../../src/core/store.js'
import type { AnyModule } from '../../src/plugin/module.js'
import { Lab, PREFIX, answers, asks, settle, watch } from '../support/lab.js'
import type { Side } from '../support/lab.js'
import { openRecords } from '../support/stored-transfers.js'
import { ScriptedPeer } from '../support/scripted-peer.js'
import type { Answer } from '../support/scripted-peer.js'

/** A commit that moves a transfer to that state, as everybody reads it. */
const makes = (id: string, state: string) => ({ puts = [] }: Batch): boolean =>
  puts.some(([key, text]) => key === `:tl:transfer:${id}` && (JSON.parse(text) as { state: string }).state === state)

/** A commit after which a transfer is open in that stage. */
const opens = (id: string, stage: string) => ({ puts = [] }: Batch): boolean =>
  openRecords(Object.fromEntries(puts))[id]?.stage === stage

const transfersOf = (side: Side) => side.plugin.inFlight().map(({ transfer }) => transfer.id)

describe('H5: after a restart', () => {
  it('holds of both directions are there again, and both can be fulfilled', async () => {
    const lab = await Lab.open()
    const there = await lab.prepared({ amount: '7' })
    const back = await lab.prepared({ to: 'alice', amount: '5' })
    await lab.alice.restart()
    await lab.bob.restart()
    for (const side of [lab.alice, lab.bob]) expect(transfersOf(side).sort()).toEqual([there.id, back.id].sort())
    await lab.bob.plugin.fulfillCondition(there.id, there.fulfillment)
    await lab.alice.plugin.fulfillCondition(back.id, back.fulfillment)
    expect(await lab.balances()).toEqual([-2, 2])
    expect(lab.alice.story.filter(name => name.endsWith('prepare'))).toEqual(['outgoing_prepare', 'incoming_prepare'])
    expect(lab.bob.story.filter(name => name.endsWith('prepare'))).toEqual(['incoming_prepare', 'outgoing_prepare'])
  })

  it('I5: the limits count what was held before', async () => {
    const lab = await Lab.open({ bob: { options: { maxBalance: '15' } } })
    await lab.prepared({ amount: '10' })
    await lab.bob.restart()
    await expect(lab.alice.plugin.sendTransfer(lab.payment({ amount: '6' }).transfer)).rejects.toThrow(NotAcceptedError)
    await lab.prepared({ amount: '5' })
  })

  it('expiries are armed again, on both sides', async () => {
    const lab = await Lab.open()
    await lab.prepared({ expiresInMs: 60_000 })
    await lab.alice.restart()
    await lab.bob.restart()
    await lab.clock.advance(50_000)
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual([10, 10])
    await lab.clock.advance(10_000)
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual([0, 0])
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_cancel'])
  })

  it('what expired while it was down is cancelled at once', async () => {
    const lab = await Lab.open()
    const payment = await lab.prepared({ expiresInMs: 5000 })
    lab.alice.crash()
    lab.bob.crash()
    await lab.clock.advance(60_000)
    await lab.bob.start()
    await lab.alice.start()
    await lab.clock.advance(1)
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_cancel'])
    await expect(lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)).rejects.toThrow(AlreadyRolledBackError)
  })

  it('H11: a Prepare that was stored and never sent is sent, and held by the peer', async () => {
    const lab = await Lab.open()
    const { id, transfer, fulfillment } = lab.payment()
    lab.alice.crashAtCommit('after', opens(id, 'offered'))
    watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    expect(lab.network.count(asks('prepare'))).toBe(0)
    await lab.alice.restart()
    expect(lab.bob.story).toEqual(['incoming_prepare'])
    const again = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    expect(again.state).toBe('resolved')
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('a Prepare that was not stored was never there', async () => {
    const lab = await Lab.open()
    const { id, transfer } = lab.payment()
    lab.alice.crashAtCommit('before', opens(id, 'offered'))
    watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    await lab.alice.restart()
    expect(transfersOf(lab.alice)).toEqual([])
    await lab.alice.plugin.sendTransfer(transfer)
    expect(lab.bob.story).toEqual(['incoming_prepare'])
  })

  it('an acknowledgement that was lost with the sender is found out by one repeat; the host is not told again', async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared({ expiresInMs: 60_000 })
    await lab.alice.restart()
    await lab.clock.advance(20_000)
    expect(lab.network.count(({ packet }) => packet.type === 'prepare' && packet.transferId === id)).toBe(2)
    expect(lab.alice.story).toEqual(['outgoing_prepare'])
    expect(lab.bob.story).toEqual(['incoming_prepare'])
  })

  it('a peer that is not ours gets no Prepare a second time', async () => {
    const lab = new Lab()
    const peer = new ScriptedPeer(lab)
    await peer.listen()
    await lab.alice.start()
    const { transfer, id, fulfillment } = await lab.prepared()
    await lab.alice.restart()
    await lab.clock.advance(5000)
    expect(peer.requests('prepare')).toHaveLength(1)
    const again = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    expect(again.state).toBe('pending')
    await peer.ask({ type: 'fulfill', transferId: id, fulfillment, protocolData: [] })
    await settle()
    expect(again.state).toBe('resolved')
    expect((await lab.alice.durable()).balance).toBe(-10)
  })

  it('an Error to the repeat of a Prepare from before does not release the hold, but AlreadyRolledBackError does and is reported', async () => {
    for (const [name, held, story] of [
      ['NotAcceptedError', 10, ['outgoing_prepare']],
      ['TransferNotFoundError', 10, ['outgoing_prepare']],
      ['AlreadyFulfilledError', 10, ['outgoing_prepare']],
      ['AlreadyRolledBackError', 0, ['outgoing_prepare', 'outgoing_cancel']]
    ] as const) {
      const lab = new Lab()
      const peer = new ScriptedPeer(lab, { announces: true })
      await peer.listen()
      await lab.alice.start()
      await lab.prepared()
      peer.script = packet => packet.type === 'prepare' ? { code: 'F00', name } : undefined
      await lab.alice.restart()
      expect(peer.requests('prepare')).toHaveLength(2)
      expect(lab.held(lab.alice).outgoing).toBe(held)
      expect(lab.alice.story).toEqual(story)
    }
  })

  it('I7: incoming_prepare is raised at most once: not again after a crash between its storing and its raising', async () => {
    const lab = await Lab.open()
    const { id, transfer, fulfillment } = lab.payment()
    lab.bob.crashAtCommit('after', opens(id, 'held'))
    const sent = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    await lab.bob.restart()
    await lab.clock.advance(1000)
    expect(sent.state).toBe('resolved')
    expect(lab.bob.story).toEqual([])
    // The host finds it here, and can fulfill it by its id.
    expect(transfersOf(lab.bob)).toEqual([id])
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
    expect(await lab.balances()).toEqual([-10, 10])
  })
})

describe('a Fulfill', () => {
  it('H15, I4: survives a crash of the receiver at each of its commits, and is booked once on both sides', async () => {
    for (const [moment, stage] of [['after', 'fulfilling'], ['before', 'fulfilled'], ['after', 'fulfilled']] as const) {
      const lab = await Lab.open()
      const { id, fulfillment } = await lab.prepared()
      lab.bob.crashAtCommit(moment, stage === 'fulfilled' ? makes(id, stage) : opens(id, stage))
      watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
      await settle()
      expect(lab.bob.isAlive).toBe(false)
      await lab.bob.restart()
      await settle()
      expect(await lab.balances()).toEqual([-10, 10])
      expect(lab.alice.seen('outgoing_fulfill')).toHaveLength(1)
      expect(await lab.bob.plugin.getFulfillment(id)).toBe(fulfillment)
      await lab.bob.plugin.fulfillCondition(id, fulfillment)
      expect([transfersOf(lab.alice), transfersOf(lab.bob)]).toEqual([[], []])
    }
  })

  it('that was not stored before the crash is not sent: the transfer is still held', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared()
    lab.bob.crashAtCommit('before', opens(id, 'fulfilling'))
    watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await settle()
    await lab.bob.restart()
    expect(lab.network.count(asks('fulfill'))).toBe(0)
    expect((await lab.bob.durable()).open).toEqual({ [id]: 'held' })
    await lab.bob.plugin.fulfillCondition(id, fulfillment)
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('survives a crash of the sender before and after it was stored there; outgoing_fulfill is raised at least once', async () => {
    for (const moment of ['before', 'after'] as const) {
      const lab = await Lab.open()
      const { id, fulfillment } = await lab.prepared({ more: { noteToSelf: { n: 1 } } })
      lab.alice.crashAtCommit(moment, makes(id, 'fulfilled'))
      const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment, 'AAAA'))
      await settle()
      expect(lab.alice.story).toEqual(['outgoing_prepare'])
      expect(fulfilled.state).toBe('pending')
      await lab.alice.restart()
      await settle()
      expect(fulfilled.state).toBe('resolved')
      expect(await lab.balances()).toEqual([-10, 10])
      expect(lab.alice.seen('outgoing_fulfill')).toEqual([
        ['outgoing_fulfill', expect.objectContaining({ id, noteToSelf: { n: 1 } }) as unknown, fulfillment, 'AAAA']
      ])
      await lab.alice.restart()
      expect(lab.alice.seen('outgoing_fulfill').length).toBeLessThanOrEqual(2)
    }
  })

  it('I1: is answered as temporary by a sender that booked it, and cannot read its store now', async () => {
    const lab = await Lab.open()
    const payment = await lab.prepared()
    lab.network.drop(answers('fulfill'), 1)
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment))
    await settle()
    // After another change the sender keeps nothing about the first that it would remember.
    await lab.prepared()
    const pass = lab.network.hold(asks('fulfill'))
    await lab.alice.restart()
    lab.alice.store.failGets(1)
    pass()
    await lab.clock.advance(2000)
    expect(fulfilled).toMatchObject({ state: 'resolved' })
    expect(await lab.balances()).toEqual([-10, 10])
    const answered = lab.network.traffic.filter(answers('fulfill')).map(({ packet }) => packet.type === 'error' ? packet.code : packet.type)
    expect(answered).toEqual(['response', 'T00', 'response'])
  })

  it('does not expire on the receiving side, is sent on each session, and a late one is disputed after the restart', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 5000 })
    lab.network.drop(asks('fulfill'))
    watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await settle()
    for (let n = 1; n <= 3; n++) {
      expect(lab.network.count(asks('fulfill'))).toBe(n)
      lab.network.cut()
      await lab.reconnect()
    }
    await lab.bob.restart()
    await lab.clock.advance(60_000)
    expect(lab.held(lab.bob).incoming).toBe(10)
    expect(lab.bob.story).toEqual(['incoming_prepare'])
    lab.network.clearRules()
    await lab.bob.restart()
    await lab.clock.advance(60_000)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'dispute'])
    expect(await lab.balances()).toEqual([0, 0])
  })

  it('crash between the dispute and its event: that is raised by the next life, nothing is counted or sent again', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 5000 })
    lab.network.isUp = false
    lab.network.cut()
    await settle()
    watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(10_000)
    lab.network.isUp = true
    lab.bob.crashAtCommit('after', makes(id, 'cancelled'))
    await lab.reconnect()
    expect(lab.bob.isAlive).toBe(false)
    const before = lab.network.count(asks('fulfill'))
    await lab.bob.restart()
    expect(lab.network.count(asks('fulfill'))).toBe(before)
    expect(lab.bob.seen('dispute')).toMatchObject([['dispute', { id, direction: 'incoming', fulfillment, reason: expect.stringContaining(id) as string }]])
    expect(JSON.parse(await lab.bob.disk.get(`:paychan:disputed:${id}`) ?? '')).toMatchObject({ fulfillment })
    await lab.bob.plugin.disconnect()
    expect(await lab.bob.durable()).toEqual({ balance: 0, states: { [id]: 'cancelled' }, open: {} })
    await lab.bob.restart()
    expect(lab.bob.seen('dispute')).toHaveLength(1)
  })
})

describe('a Reject', () => {
  it('survives a restart of the rejecting side until it is answered', async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared({ expiresInMs: 60_000 })
    lab.network.drop(asks('reject'), 1)
    watch(lab.bob.plugin.rejectIncomingTransfer(id, { code: 'F77' }))
    await settle()
    expect((await lab.bob.durable()).open).toEqual({ [id]: 'rejecting' })
    expect(lab.held(lab.bob).incoming).toBe(0)
    await lab.bob.restart()
    await settle()
    expect(lab.alice.seen('outgoing_reject')[0]?.[2]).toMatchObject({ code: 'F77' })
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_reject'])
    await lab.prepared()
    expect((await lab.bob.durable()).open[id]).toBeUndefined()
  })

  it('is sent no more after a restart when the sender has let it expire', async () => {
    const lab = await Lab.open()
    const { id } = await lab.prepared({ expiresInMs: 5000 })
    lab.network.isUp = false
    lab.network.cut()
    await settle()
    watch(lab.bob.plugin.rejectIncomingTransfer(id))
    await settle()
    lab.bob.crash()
    await lab.clock.advance(60_000)
    lab.network.isUp = true
    await lab.bob.start()
    await lab.reconnect()
    await lab.clock.advance(10_000)
    expect(lab.network.count(asks('reject'))).toBe(0)
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
  })

  it('outgoing_reject and outgoing_cancel are raised after a crash between their storing and their raising', async () => {
    for (const event of ['outgoing_reject', 'outgoing_cancel'] as const) {
      const lab = await Lab.open()
      const { id } = await lab.prepared({ expiresInMs: 5000 })
      lab.alice.crashAtCommit('after', makes(id, 'cancelled'))
      if (event === 'outgoing_reject') watch(lab.bob.plugin.rejectIncomingTransfer(id))
      else await lab.clock.advance(5500)
      await settle()
      expect(lab.alice.story).toEqual(['outgoing_prepare'])
      await lab.alice.restart()
      expect(lab.alice.story).toEqual(['outgoing_prepare', event])
      expect(lab.held(lab.alice).outgoing).toBe(0)
    }
  })
})

describe('checking', () => {
  it('asks the module again after a restart, and raises incoming_prepare once it agreed', async () => {
    const asked: string[] = []
    let isHanging = true
    const module: AnyModule = {
      connect: () => undefined,
      disconnect: () => undefined,
      getAccount: () => `${PREFIX}server`,
      getPeerAccount: () => `${PREFIX}client`,
      getInfo: () => ({ prefix: PREFIX }),
      handleIncomingPrepare: (_ctx, { id }) => {
        asked.push(id)
        return isHanging ? new Promise(() => undefined) : undefined
      },
      createOutgoingClaim: () => undefined,
      handleIncomingClaim: () => undefined
    }
    const lab = await Lab.open({ bob: { module } })
    const { id, transfer } = lab.payment({ expiresInMs: 60_000 })
    const sent = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    isHanging = false
    await lab.bob.restart()
    await lab.clock.advance(1000)
    expect(asked).toEqual([id, id])
    expect([sent.state, lab.bob.story]).toEqual(['resolved', ['incoming_prepare']])
    expect(lab.alice.story).toEqual(['outgoing_prepare'])
  })

  it('is forgotten when the module refuses after the restart, and the sender keeps its hold until the expiry', async () => {
    const given: { refusal?: Error } = {}
    const module: AnyModule = {
      connect: () => undefined,
      disconnect: () => undefined,
      getAccount: () => `${PREFIX}server`,
      getPeerAccount: () => `${PREFIX}client`,
      getInfo: () => ({ prefix: PREFIX }),
      handleIncomingPrepare: () => given.refusal === undefined ? new Promise(() => undefined) : Promise.reject(given.refusal),
      createOutgoingClaim: () => undefined,
      handleIncomingClaim: () => undefined
    }
    const lab = await Lab.open({ bob: { module } })
    const { transfer } = lab.payment({ expiresInMs: 20_000 })
    const sent = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    given.refusal = new NotAcceptedError('no')
    await lab.bob.restart()
    await lab.clock.advance(5000)
    expect(await lab.bob.durable()).toEqual({ balance: 0, states: {}, open: {} })
    // The first Prepare might have been accepted before, as far as alice knows.
    expect([sent.state, lab.held(lab.alice).outgoing]).toEqual(['pending', 10])
    await lab.clock.advance(20_000)
    expect([sent.state, lab.held(lab.alice).outgoing]).toEqual(['rejected', 0])
    expect(lab.bob.story).toEqual([])
  })

  it('expires while the receiver is down', async () => {
    const lab = await Lab.open()
    const { id, transfer } = lab.payment({ expiresInMs: 5000 })
    lab.bob.crashAtCommit('after', opens(id, 'held'))
    watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    await lab.clock.advance(60_000)
    await lab.bob.start()
    await lab.clock.advance(2000)
    expect((await lab.bob.durable()).states).toEqual({ [id]: 'cancelled' })
    expect(lab.alice.story).toEqual(['outgoing_cancel'])
  })
})

describe('disconnect()', () => {
  it("rejects what is pending with outcome 'unknown'; it carries on at the next connect, and is reported", async () => {
    const lab = await Lab.open()
    const [fulfilling, rejecting] = [await lab.prepared({ to: 'alice', expiresInMs: 60_000 }), await lab.prepared({ to: 'alice', expiresInMs: 60_000 })]
    const offered = lab.payment({ expiresInMs: 60_000 })
    lab.network.drop(({ from, packet }) => from === 'alice' && packet.type !== 'message')
    const calls = [
      watch(lab.alice.plugin.sendTransfer(offered.transfer)),
      watch(lab.alice.plugin.fulfillCondition(fulfilling.id, fulfilling.fulfillment)),
      watch(lab.alice.plugin.rejectIncomingTransfer(rejecting.id))
    ]
    await settle()
    const stopped = lab.alice.plugin.disconnect()
    await lab.clock.advance(6000)
    await stopped
    for (const { error } of calls) {
      expect(error).toBeInstanceOf(UnreachableError)
      expect(error?.outcome).toBe('unknown')
    }
    expect((await lab.alice.durable()).open).toEqual({ [offered.id]: 'offered', [fulfilling.id]: 'fulfilling', [rejecting.id]: 'rejecting' })
    expect(lab.clock.pending).toBeLessThan(10)
    lab.network.clearRules()
    await lab.alice.plugin.connect()
    await lab.clock.advance(1000)
    expect([...lab.bob.story].sort()).toEqual(['incoming_prepare', 'outgoing_fulfill', 'outgoing_prepare', 'outgoing_prepare', 'outgoing_reject'])
    expect(lab.alice.story).toEqual(['incoming_prepare', 'incoming_prepare', 'incoming_reject', 'incoming_fulfill'])
    await lab.bob.plugin.fulfillCondition(offered.id, offered.fulfillment)
    expect(await lab.balances()).toEqual([0, 0])
    expect((await lab.alice.durable()).open[rejecting.id]).toBeUndefined()
  })

  it('a call whose commit is under way meanwhile is told the same, and nothing hangs', async () => {
    const lab = await Lab.open()
    const incoming = await lab.prepared({ to: 'alice', expiresInMs: 60_000 })
    const other = await lab.prepared({ to: 'alice', expiresInMs: 60_000 })
    const release = lab.alice.store.holdCommits()
    const offered = lab.payment({ expiresInMs: 60_000 })
    const calls = [
      watch(lab.alice.plugin.sendTransfer(offered.transfer)),
      watch(lab.alice.plugin.fulfillCondition(incoming.id, incoming.fulfillment)),
      watch(lab.alice.plugin.rejectIncomingTransfer(other.id))
    ]
    await settle()
    const stopped = lab.alice.plugin.disconnect()
    await settle()
    release()
    await lab.clock.advance(6000)
    await stopped
    expect(calls.map(({ state, error }) => [state, error?.outcome])).toEqual(Array(3).fill(['rejected', 'unknown']))
    await lab.clock.advance(3_600_000)
    expect(lab.network.count(({ packet }) => ['fulfill', 'reject'].includes(packet.type))).toBe(0)
  })

  it('a call for what is under way already is not told that it is done, though it was stored before', async () => {
    const lab = await Lab.open()
    const [fulfilling, rejecting, other] = [await lab.prepared({ expiresInMs: 60_000 }), await lab.prepared({ expiresInMs: 60_000 }), await lab.prepared()]
    const { plugin, store } = lab.bob
    lab.network.drop(({ from, packet }) => from === 'bob' && packet.type !== 'response')
    watch(plugin.fulfillCondition(fulfilling.id, fulfilling.fulfillment))
    watch(plugin.rejectIncomingTransfer(rejecting.id))
    await settle()
    // While this one is written, the repeats wait.
    const release = store.holdCommits()
    watch(plugin.rejectIncomingTransfer(other.id))
    await settle()
    const repeats = [watch(plugin.fulfillCondition(fulfilling.id, fulfilling.fulfillment)), watch(plugin.rejectIncomingTransfer(rejecting.id))]
    const stopped = plugin.disconnect()
    await settle()
    release()
    await lab.clock.advance(6000)
    await stopped
    expect(repeats.map(({ state, error }) => [state, error?.outcome])).toEqual([['rejected', 'unknown'], ['rejected', 'unknown']])
  })

  it('a release that waits for a failing store is left to the next connect, which reports it', async () => {
    const lab = await Lab.open({ bob: { options: { maxBalance: '5' } } })
    const { transfer, id } = lab.payment({ expiresInMs: 60_000 })
    const pass = lab.network.hold(answers('prepare'))
    const sent = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    lab.alice.store.failNextCommit()
    pass()
    await settle()
    await lab.alice.plugin.disconnect()
    await lab.alice.plugin.connect()
    await lab.clock.advance(70_000)
    expect(sent.error?.outcome).toBe('unknown')
    expect([(await lab.alice.durable()).states[id], lab.alice.story]).toEqual(['cancelled', ['outgoing_cancel']])
  })

  it('a dispute that waits for a failing store is left to the next connect, and raised once', async () => {
    const lab = new Lab()
    const peer = new ScriptedPeer(lab, { announces: true })
    await peer.listen()
    await lab.alice.start()
    const { plugin, store } = lab.alice
    const payment = lab.payment({ to: 'alice', expiresInMs: 60_000 })
    await peer.prepare(payment)
    const answer = (given: Answer): void => { peer.script = ({ type }) => type === 'fulfill' ? given : undefined }
    answer('silence')
    watch(plugin.fulfillCondition(payment.id, payment.fulfillment))
    await lab.clock.advance(5500)
    answer({ code: 'F06', name: 'AlreadyRolledBackError' })
    store.failNextCommit()
    await lab.clock.advance(600)
    await plugin.disconnect()
    answer('silence')
    await plugin.connect()
    answer({ code: 'F06', name: 'AlreadyRolledBackError' })
    await lab.clock.advance(20_000)
    expect([lab.alice.story, (await lab.alice.durable()).states]).toEqual([['incoming_prepare', 'dispute'], { [payment.id]: 'cancelled' }])
  })

  it('drainMs waits for what is in flight, takes nothing new meanwhile, and no longer than it must', async () => {
    const lab = await Lab.open()
    const payment = await lab.prepared({ expiresInMs: 60_000 })
    const stopped = watch(lab.bob.plugin.disconnect({ drainMs: 10_000 }))
    await lab.clock.advance(3000)
    expect(stopped.state).toBe('pending')
    await expect(lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer)).rejects.toThrow(UnreachableError)
    const refused = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    await settle()
    expect(refused.error).toBeInstanceOf(UnreachableError)
    expect(lab.held(lab.alice).outgoing).toBe(10)
    await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    await lab.clock.advance(100)
    expect(stopped.state).toBe('resolved')
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('drainMs ends though something is in flight', async () => {
    const lab = await Lab.open()
    const payment = await lab.prepared({ expiresInMs: 60_000 })
    const stopped = watch(lab.bob.plugin.disconnect({ drainMs: 1000 }))
    await lab.clock.advance(999)
    expect(stopped.state).toBe('pending')
    await lab.clock.advance(1)
    expect(stopped.state).toBe('resolved')
    await lab.bob.plugin.connect()
    expect(transfersOf(lab.bob)).toEqual([payment.id])
  })

  it('drainMs ends when it has passed, though the clock was put back meanwhile', async () => {
    const lab = await Lab.open()
    await lab.prepared({ expiresInMs: 60_000 })
    const stopped = watch(lab.bob.plugin.disconnect({ drainMs: 1000 }))
    await lab.clock.advance(500)
    lab.clock.putBack(3_600_000)
    await lab.clock.advance(499)
    expect(stopped.state).toBe('pending')
    await lab.clock.advance(1)
    expect(stopped.state).toBe('resolved')
  })

  it('leaves no timer of a transfer behind, and nothing expires while it is disconnected', async () => {
    const lab = await Lab.open()
    await lab.prepared({ expiresInMs: 5000 })
    await lab.alice.plugin.disconnect()
    await lab.bob.plugin.disconnect()
    await lab.clock.advance(2000)
    expect(lab.clock.pending).toBe(0)
    await lab.clock.advance(10_000)
    expect((await lab.bob.durable()).open).not.toEqual({})
    await lab.bob.plugin.connect()
    await lab.alice.plugin.connect()
    await lab.clock.advance(1)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_cancel'])
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
  })
})

describe('a connection that goes', () => {
  it('half open: calls stay pending, and end on the session that replaces it', async () => {
    const lab = await Lab.open({ alice: { options: { heartbeatMs: 1000, heartbeatTimeoutMs: 500 } } })
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 60_000 })
    lab.network.freeze()
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(5000)
    expect(fulfilled.state).toBe('resolved')
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('a flapping one: a hundred transfers both ways come to their ends, once', async () => {
    const lab = await Lab.open()
    const payments = Array.from({ length: 100 }, (_, n) => lab.payment({ to: n % 2 === 0 ? 'bob' : 'alice', expiresInMs: 60_000 }))
    for (const side of [lab.alice, lab.bob]) {
      side.plugin.on('incoming_prepare', ({ id }) => {
        const payment = payments.find(one => one.id === id)
        if (payment !== undefined) void side.plugin.fulfillCondition(id, payment.fulfillment)
      })
    }
    const sent = []
    for (const [n, { transfer }] of payments.entries()) {
      const side = n % 2 === 0 ? lab.alice : lab.bob
      while (!side.plugin.isConnected()) await lab.clock.advance(100)
      sent.push(watch(side.plugin.sendTransfer(transfer)))
      if (n % 10 === 9) lab.network.cut()
      if (n % 7 === 0) await settle()
    }
    await lab.clock.advance(10_000)
    expect(sent.map(({ state }) => state)).toEqual(Array(100).fill('resolved'))
    for (const side of [lab.alice, lab.bob]) {
      for (const event of ['incoming_prepare', 'incoming_fulfill', 'outgoing_fulfill'] as const) {
        expect(new Set(side.seen(event).map(([, { id }]) => id)).size).toBe(50)
        expect(side.seen(event)).toHaveLength(50)
      }
    }
    expect(await lab.balances()).toEqual([0, 0])
    expect(lab.network.count(answers('prepare'))).toBeGreaterThanOrEqual(90)
  })
})
