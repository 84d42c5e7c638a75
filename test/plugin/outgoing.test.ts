/** Outgoing transfers between two plugins, and against scripted peers: from `sendTransfer` to the one final event. */
import { describe, expect, it } from 'vitest'
import {
  AccountNotFoundError, AlreadyRolledBackError, DuplicateIdError, InsufficientBalanceError, InvalidFieldsError, MissingFulfillmentError,
  NotAcceptedError, StoreError, TransferNotFoundError, UnreachableError
} from '../../src/core/errors.js'
import type { Packet } from '../../src/btp/packets.js'
import { encodeIlpError } from '../../src/btp/ilp-error.js'
import type { RequestBody } from '../../src/btp/session.js'
import { octets } from '../../src/btp/protocol-data.js'
import { Lab, PREFIX, WRONG_PREIMAGE, answers, asks, settle, watch } from '../support/lab.js'
import type { LabOptions } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'

/** Alice, connected to a peer that a test speaks for. */
async function openScripted({ announces = false, ...options }: LabOptions & { announces?: boolean } = {}) {
  const lab = new Lab(options)
  const peer = new ScriptedPeer(lab, { announces })
  await peer.listen()
  await lab.alice.start()
  return { lab, peer, alice: lab.alice }
}

const errorName = (packet: Packet): string => packet.type === 'error' ? packet.name : packet.type
const refusing = (type: string, code: string, name: string) => (packet: { type: string }) => packet.type === type ? { code, name } : undefined

describe('sendTransfer', () => {
  it('C26, C45: resolves when the peer acknowledged, which holds it durably by then', async () => {
    const lab = await Lab.open()
    const payment = lab.payment()
    const pass = lab.network.hold(answers('prepare'))
    const sent = watch(lab.alice.plugin.sendTransfer(payment.transfer))
    await settle()
    expect(sent.state).toBe('pending')
    expect((await lab.bob.durable()).open).toEqual({ [payment.id]: 'held' })
    pass()
    await settle()
    expect(sent.state).toBe('resolved')
    expect(lab.alice.story).toEqual(['outgoing_prepare'])
    expect(lab.bob.story).toEqual(['incoming_prepare'])
  })

  it('I7: stores the transfer before the Prepare is sent', async () => {
    const lab = await Lab.open()
    const release = lab.alice.store.holdCommits()
    const sent = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    await settle()
    expect(lab.network.count(asks('prepare'))).toBe(0)
    release()
    await settle()
    expect(lab.network.count(asks('prepare'))).toBe(1)
    expect(sent.state).toBe('resolved')
  })

  it('C43: with no session rejects with UnreachableError and stores nothing', async () => {
    const lab = await Lab.open()
    lab.network.isUp = false
    lab.network.cut()
    await settle()
    const payment = lab.payment()
    await expect(lab.alice.plugin.sendTransfer(payment.transfer)).rejects.toThrow(UnreachableError)
    expect((await lab.alice.durable()).states).toEqual({})
    await expect(lab.alice.plugin.getFulfillment(payment.id)).rejects.toThrow(TransferNotFoundError)
  })

  it('C45: names the field that is wrong, and stores and sends nothing', async () => {
    const lab = await Lab.open()
    const { transfer } = lab.payment()
    for (const [wrong, error] of [
      [{ amount: '1.5' }, InvalidFieldsError],
      [{ id: 'x' }, InvalidFieldsError],
      [{ executionCondition: 'x' }, InvalidFieldsError],
      [{ expiresAt: 'tomorrow' }, InvalidFieldsError],
      [{ expiresAt: new Date(lab.clock.now()).toISOString() }, InvalidFieldsError],
      [{ to: 'test.lab.mallory' }, AccountNotFoundError],
      [{ to: 'test.lab.server2' }, AccountNotFoundError]
    ] as const) {
      await expect(lab.alice.plugin.sendTransfer({ ...transfer, ...wrong })).rejects.toThrow(error)
    }
    expect((await lab.alice.durable()).states).toEqual({})
    expect(lab.network.count(asks('prepare'))).toBe(0)
  })

  it('C45, C28: a transfer beyond our own limit is InsufficientBalanceError; the same again is refused again (H1)', async () => {
    const lab = await Lab.open({ alice: { options: { minBalance: '-25' } } })
    await lab.prepared({ amount: '20' })
    const { transfer } = lab.payment({ amount: '6' })
    await expect(lab.alice.plugin.sendTransfer(transfer)).rejects.toThrow(InsufficientBalanceError)
    await expect(lab.alice.plugin.sendTransfer(transfer)).rejects.toThrow(InsufficientBalanceError)
    await lab.prepared({ amount: '5' })
    expect(lab.held(lab.alice)).toEqual({ incoming: 0, outgoing: 25 })
    expect(lab.network.count(asks('prepare'))).toBe(2)
  })

  it('C45: the peer refuses: NotAcceptedError, the hold is free, nothing is reported beside the rejection', async () => {
    const lab = await Lab.open({ alice: { options: { minBalance: '-30' } }, bob: { options: { maxBalance: '15' } } })
    await expect(lab.alice.plugin.sendTransfer(lab.payment({ amount: '16' }).transfer)).rejects.toThrow(NotAcceptedError)
    expect(lab.held(lab.alice)).toEqual({ incoming: 0, outgoing: 0 })
    await lab.prepared({ amount: '15' })
    expect(lab.alice.story).toEqual(['outgoing_prepare'])
  })

  it('C27, C45: an id of another transfer is DuplicateIdError, also when that is final or came from the peer (H4)', async () => {
    const lab = await Lab.open()
    const first = await lab.prepared()
    const other = { ...first.transfer, amount: '11' }
    await expect(lab.alice.plugin.sendTransfer(other)).rejects.toThrow(DuplicateIdError)
    await lab.bob.plugin.fulfillCondition(first.id, first.fulfillment)
    await expect(lab.alice.plugin.sendTransfer(other)).rejects.toThrow(DuplicateIdError)
    await expect(lab.alice.plugin.sendTransfer(first.transfer)).rejects.toThrow(DuplicateIdError)
    await expect(lab.bob.plugin.sendTransfer({ ...first.transfer, to: `${PREFIX}client` })).rejects.toThrow(DuplicateIdError)
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('C27: an exact repeat of one in flight waits for the same answer, and is sent and held once', async () => {
    const lab = await Lab.open()
    const { transfer } = lab.payment()
    const pass = lab.network.hold(answers('prepare'))
    const release = lab.alice.store.holdCommits()
    const first = watch(lab.alice.plugin.sendTransfer(transfer))
    const second = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    const third = watch(lab.alice.plugin.sendTransfer(transfer))
    release()
    await settle()
    const fourth = watch(lab.alice.plugin.sendTransfer({ ...transfer }))
    await settle()
    expect([first, second, third, fourth].map(({ state }) => state)).toEqual(Array(4).fill('pending'))
    pass()
    await settle()
    expect([first, second, third, fourth].map(({ state }) => state)).toEqual(Array(4).fill('resolved'))
    expect(lab.network.count(asks('prepare'))).toBe(1)
    expect(lab.held(lab.alice).outgoing).toBe(10)
    expect(lab.alice.story).toEqual(['outgoing_prepare'])
  })

  it('C27: an exact repeat that is decided in one group with the first waits for the same answer', async () => {
    const lab = await Lab.open()
    const pass = lab.network.hold(answers('prepare'))
    const release = lab.alice.store.holdCommits()
    watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    await settle()
    const { transfer, id } = lab.payment()
    const first = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    const second = watch(lab.alice.plugin.sendTransfer(transfer))
    await settle()
    release()
    await settle()
    expect([first.state, second.state]).toEqual(['pending', 'pending'])
    expect(lab.network.count(({ packet }) => packet.type === 'prepare' && packet.transferId === id)).toBe(1)
    pass()
    await settle()
    expect([first.state, second.state]).toEqual(['resolved', 'resolved'])
  })

  it('an id in capitals is the same transfer', async () => {
    const lab = await Lab.open()
    const payment = lab.payment()
    const id = 'ABCDEF00-0000-4000-8000-000000000001'
    await lab.alice.plugin.sendTransfer({ ...payment.transfer, id })
    await settle()
    await lab.bob.plugin.fulfillCondition(id, payment.fulfillment)
    expect(await lab.alice.plugin.getFulfillment(id.toLowerCase())).toBe(payment.fulfillment)
  })

  it('C46: what the host does to noteToSelf after the call changes nothing', async () => {
    const lab = await Lab.open()
    const { transfer } = lab.payment({ to: 'bob' })
    const noteToSelf = { why: ['rent'] }
    const sent = lab.alice.plugin.sendTransfer({ ...transfer, noteToSelf })
    noteToSelf.why.push('changed')
    await sent
    noteToSelf.why.push('changed again')
    expect(lab.alice.plugin.inFlight()[0]?.transfer.noteToSelf).toEqual({ why: ['rent'] })
  })

  it('noteToSelf that is no JSON is InvalidFieldsError', async () => {
    const lab = await Lab.open()
    const { transfer } = lab.payment({ to: 'bob' })
    await expect(lab.alice.plugin.sendTransfer({ ...transfer, noteToSelf: { amount: 1n } })).rejects.toThrow(InvalidFieldsError)
    expect(lab.alice.plugin.inFlight()).toEqual([])
  })

  it('C46: noteToSelf and data come back with every event, and never leave this side', async () => {
    const lab = await Lab.open()
    const noteToSelf = { hop: 'next.one', n: 7 }
    const payment = await lab.prepared({ more: { noteToSelf, data: { d: 1 }, custom: { c: 2 }, ilp: 'AAAA' } })
    await lab.alice.restart()
    await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    const [incoming] = lab.bob.seen('incoming_prepare')
    expect(incoming?.[1]).toEqual({
      id: payment.id, amount: '10', to: `${PREFIX}server`, from: `${PREFIX}client`, ledger: PREFIX, ilp: 'AAAA', custom: { c: 2 },
      executionCondition: payment.transfer.executionCondition, expiresAt: payment.transfer.expiresAt
    })
    expect(lab.alice.seen('outgoing_fulfill')[0]?.[1]).toMatchObject({ noteToSelf, data: { d: 1 } })
    const texts = lab.network.traffic.flatMap(({ packet }) => packet.protocolData.map(({ data }) => new TextDecoder().decode(data)))
    expect(texts.join()).toContain('"c":2')
    expect(texts.join()).not.toContain('next.one')
  })

  it('C52: a listener that changes what it is given changes nothing of ours', async () => {
    const lab = await Lab.open()
    lab.alice.plugin.on('outgoing_prepare', transfer => { Object.assign(transfer, { id: 'x', amount: '999', executionCondition: 'y' }) })
    const payment = await lab.prepared()
    expect(lab.alice.plugin.inFlight()[0]?.transfer).toMatchObject(payment.transfer)
    await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    expect(lab.alice.seen('outgoing_fulfill')[0]?.[1]).toMatchObject(payment.transfer)
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('C44: works with amount 0, and with one just below 2^64', async () => {
    const most = String(2n ** 64n - 1n)
    const lab = await Lab.open({ alice: { options: { minBalance: '-Infinity' } }, bob: { options: { maxBalance: 'Infinity' } } })
    for (const amount of ['0', most]) {
      const payment = await lab.prepared({ amount })
      await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    }
    expect(await lab.alice.plugin.getBalance()).toBe(`-${most}`)
    expect(await lab.bob.plugin.getBalance()).toBe(most)
  })
})

describe('a Prepare whose answer is lost', () => {
  it('H2, H11: is sent again to a peer of ours with the same id; the host there sees it once, and sendTransfer resolves once', async () => {
    const lab = await Lab.open()
    lab.network.drop(answers('prepare'), 1)
    const payment = lab.payment()
    const sent = watch(lab.alice.plugin.sendTransfer(payment.transfer))
    await settle()
    lab.network.cut()
    await lab.reconnect()
    expect(sent.state).toBe('resolved')
    expect(lab.network.count(carried => carried.packet.type === 'prepare' && carried.packet.transferId === payment.id)).toBe(2)
    expect(lab.bob.story).toEqual(['incoming_prepare'])
    expect(lab.alice.story).toEqual(['outgoing_prepare'])
    expect(lab.held(lab.bob).incoming).toBe(10)
  })

  it('C24: is sent again on the same session after answer time-outs, later each time, while there is time', async () => {
    const lab = await Lab.open()
    lab.network.drop(asks('prepare'))
    const began = lab.clock.now()
    const sent = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 60_000 }).transfer))
    const times: number[] = []
    await settle()
    for (let second = 0; second <= 59; second++) {
      while (lab.network.count(asks('prepare')) > times.length) times.push((lab.clock.now() - began) / 1000)
      await lab.clock.advance(1000)
    }
    // 5 s for each answer, then a pause of 1, 2, 4, 8 s.
    expect(times).toEqual([0, 6, 13, 22, 35, 56])
    expect(sent.state).toBe('pending')
    await lab.clock.advance(1500)
    expect(sent.error).toBeInstanceOf(UnreachableError)
    expect(sent.error?.outcome).toBeUndefined()
    expect(lab.network.count(asks('prepare'))).toBe(6)
    expect(lab.alice.story).toEqual(['outgoing_cancel'])
  })

  it('is not sent again to a peer that is not ours, where the Fulfill settles it', async () => {
    const { lab, peer, alice } = await openScripted()
    peer.script = packet => packet.type === 'prepare' ? 'silence' : undefined
    const payment = lab.payment({ expiresInMs: 60_000 })
    const sent = watch(alice.plugin.sendTransfer(payment.transfer))
    await lab.clock.advance(20_000)
    lab.network.cut()
    await lab.reconnect()
    expect(peer.requests('prepare')).toHaveLength(1)
    expect(sent.state).toBe('pending')
    expect(lab.held(alice).outgoing).toBe(10)
    const answer = await peer.ask({ type: 'fulfill', transferId: payment.id, fulfillment: payment.fulfillment, protocolData: [] })
    await settle()
    expect(answer.type).toBe('response')
    expect(sent.state).toBe('resolved')
    expect(alice.story).toEqual(['outgoing_prepare', 'outgoing_fulfill'])
  })

  it('H11: is not sent again to a peer that is not ours, where else the expiry ends the hold', async () => {
    const { lab, peer, alice } = await openScripted()
    peer.script = packet => packet.type === 'prepare' ? 'silence' : undefined
    const sent = watch(alice.plugin.sendTransfer(lab.payment().transfer))
    await lab.clock.advance(10_499)
    expect(sent.state).toBe('pending')
    expect(lab.held(alice).outgoing).toBe(10)
    await lab.clock.advance(1)
    expect(sent.error).toBeInstanceOf(UnreachableError)
    expect(lab.held(alice).outgoing).toBe(0)
    expect(alice.story).toEqual(['outgoing_cancel'])
    expect(peer.requests('prepare')).toHaveLength(1)
  })

  it('is sent once when a session that was lost before it could be sent comes back, also to a peer that is not ours', async () => {
    const { lab, peer, alice } = await openScripted()
    const release = alice.store.holdCommits()
    const sent = watch(alice.plugin.sendTransfer(lab.payment().transfer))
    await settle()
    lab.network.cut()
    await settle()
    release()
    await settle()
    expect(peer.requests('prepare')).toHaveLength(0)
    await lab.reconnect()
    expect(peer.requests('prepare')).toHaveLength(1)
    expect(sent.state).toBe('resolved')
  })

  it('I8: is not sent any more once it has expired', async () => {
    const lab = await Lab.open()
    lab.network.drop(asks('prepare'), 1)
    watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 3000 }).transfer))
    await settle()
    lab.network.isUp = false
    lab.network.cut()
    await lab.clock.advance(3100)
    lab.network.isUp = true
    await lab.clock.advance(5000)
    expect(lab.network.count(asks('prepare'))).toBe(1)
    expect(lab.alice.story).toEqual(['outgoing_cancel'])
    expect(lab.bob.story).toEqual([])
  })
})

describe('an Error that answers a Prepare', () => {
  it('releases the hold at once when it was the only attempt, whatever it is', async () => {
    for (const [code, name, thrown] of [
      ['F00', 'NotAcceptedError', NotAcceptedError], ['T00', 'UnreachableError', UnreachableError], ['F00', 'TypeError', NotAcceptedError],
      ['F05', 'DuplicateIdError', DuplicateIdError], ['F08', 'InsufficientBalanceError', NotAcceptedError],
      ['F06', 'AlreadyRolledBackError', NotAcceptedError]
    ] as const) {
      const { lab, peer, alice } = await openScripted({ announces: true })
      peer.script = refusing('prepare', code, name)
      const payment = lab.payment()
      await expect(alice.plugin.sendTransfer(payment.transfer)).rejects.toThrow(thrown)
      expect(lab.held(alice).outgoing).toBe(0)
      expect((await alice.durable()).states).toEqual({ [payment.id]: 'cancelled' })
      await lab.clock.advance(20_000)
      expect(peer.requests('prepare')).toHaveLength(1)
      expect(alice.story).toEqual([])
    }
  })

  it('does not release the hold when it answers a repeat: the first may have arrived', async () => {
    const { lab, peer, alice } = await openScripted({ announces: true })
    peer.script = packet => packet.type !== 'prepare' ? undefined
      : peer.requests('prepare').length === 1 ? 'silence' : { code: 'F00', name: 'NotAcceptedError' }
    const payment = lab.payment({ expiresInMs: 30_000 })
    const sent = watch(alice.plugin.sendTransfer(payment.transfer))
    await lab.clock.advance(10_000)
    expect(peer.requests('prepare')).toHaveLength(2)
    expect(sent.state).toBe('pending')
    expect(lab.held(alice).outgoing).toBe(10)
    const answer = await peer.ask({ type: 'fulfill', transferId: payment.id, fulfillment: payment.fulfillment, protocolData: [] })
    await settle()
    expect(answer.type).toBe('response')
    expect(sent.state).toBe('resolved')
    expect((await alice.durable()).balance).toBe(-10)
  })

  it('C24: a temporary one that answers a repeat is tried again', async () => {
    const { lab, peer, alice } = await openScripted({ announces: true })
    peer.script = packet => packet.type !== 'prepare' ? undefined
      : peer.requests('prepare').length === 1 ? 'silence' : peer.requests('prepare').length < 4 ? { code: 'T00', name: 'StoreError' } : []
    const sent = watch(alice.plugin.sendTransfer(lab.payment({ expiresInMs: 60_000 }).transfer))
    await lab.clock.advance(30_000)
    expect(peer.requests('prepare')).toHaveLength(4)
    expect(sent.state).toBe('resolved')
  })

  it('AlreadyFulfilledError to the only attempt is a refusal like any other: nothing will come of it', async () => {
    const { lab, peer, alice } = await openScripted({ announces: true })
    peer.script = refusing('prepare', 'F07', 'AlreadyFulfilledError')
    await expect(alice.plugin.sendTransfer(lab.payment().transfer)).rejects.toThrow(NotAcceptedError)
    expect(lab.held(alice).outgoing).toBe(0)
  })

  it('AlreadyFulfilledError to a repeat is an acknowledgement: the Fulfill is still to come', async () => {
    const { lab, peer, alice } = await openScripted({ announces: true })
    peer.script = packet => packet.type !== 'prepare' ? undefined
      : peer.requests('prepare').length === 1 ? 'silence' : { code: 'F07', name: 'AlreadyFulfilledError' }
    const sent = watch(alice.plugin.sendTransfer(lab.payment({ expiresInMs: 30_000 }).transfer))
    await lab.clock.advance(7000)
    expect(sent.state).toBe('resolved')
    expect(lab.held(alice).outgoing).toBe(10)
    await lab.clock.advance(20_000)
    expect(peer.requests('prepare')).toHaveLength(2)
  })

  it('AlreadyRolledBackError to a repeat releases the hold', async () => {
    const { lab, peer, alice } = await openScripted({ announces: true })
    peer.script = packet => packet.type !== 'prepare' ? undefined
      : peer.requests('prepare').length === 1 ? 'silence' : { code: 'F06', name: 'AlreadyRolledBackError' }
    const sent = watch(alice.plugin.sendTransfer(lab.payment({ expiresInMs: 30_000 }).transfer))
    await lab.clock.advance(7000)
    expect(sent.error).toBeInstanceOf(NotAcceptedError)
    expect(lab.held(alice).outgoing).toBe(0)
    await lab.clock.advance(60_000)
    expect(alice.story).toEqual([])
  })
})

describe("the peer's Fulfill and Reject", () => {
  it('C30, C32: a Fulfill with the right preimage in time is booked, and answered when that is durable', async () => {
    const lab = await Lab.open()
    const payment = await lab.prepared()
    const release = lab.alice.store.holdCommits()
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment, 'AAAA'))
    await settle()
    expect(lab.network.count(answers('fulfill'))).toBe(0)
    expect(lab.alice.story).toEqual(['outgoing_prepare'])
    release()
    await settle()
    expect(fulfilled.state).toBe('resolved')
    expect(await lab.balances()).toEqual([-10, 10])
    expect(lab.alice.seen('outgoing_fulfill')).toMatchObject([['outgoing_fulfill', payment.transfer, payment.fulfillment, 'AAAA']])
    expect(await lab.alice.plugin.getFulfillment(payment.id)).toBe(payment.fulfillment)
  })

  it('a Fulfill that overtakes the Response of its Prepare acknowledges it', async () => {
    const lab = await Lab.open()
    const pass = lab.network.hold(answers('prepare'))
    const payment = lab.payment()
    const sent = watch(lab.alice.plugin.sendTransfer(payment.transfer))
    await settle()
    await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    await settle()
    expect(sent.state).toBe('resolved')
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_fulfill'])
    pass()
    await lab.clock.advance(60_000)
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_fulfill'])
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it('a Reject that overtakes the Response of its Prepare acknowledges it', async () => {
    const lab = await Lab.open()
    const pass = lab.network.hold(answers('prepare'))
    const payment = lab.payment()
    const sent = watch(lab.alice.plugin.sendTransfer(payment.transfer))
    await settle()
    await lab.bob.plugin.rejectIncomingTransfer(payment.id, { code: 'F99' })
    pass()
    await lab.clock.advance(60_000)
    expect(sent.state).toBe('resolved')
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_reject'])
    expect(lab.held(lab.alice).outgoing).toBe(0)
  })

  it('C31, H46: an exact repeat of the Fulfill is answered alike, and changes and raises nothing', async () => {
    const { lab, peer, alice } = await openScripted()
    const { transfer, id, fulfillment } = lab.payment()
    await alice.plugin.sendTransfer(transfer)
    const fulfill = { type: 'fulfill', transferId: id, fulfillment, protocolData: [] } satisfies RequestBody
    const both = await Promise.all([peer.ask(fulfill), peer.ask(fulfill)])
    both.push(await peer.ask(fulfill))
    await alice.restart()
    both.push(await peer.ask(fulfill))
    expect(both.map(errorName)).toEqual(Array(4).fill('response'))
    expect(alice.seen('outgoing_fulfill')).toHaveLength(1)
    expect((await alice.durable()).balance).toBe(-10)
  })

  it('C31: unknown, mismatched, rejected or expired: the named Error, and no change', async () => {
    const { lab, peer, alice } = await openScripted()
    const [mismatched, rejected, expired] = [lab.payment(), lab.payment(), lab.payment({ expiresInMs: 1000 })]
    for (const { transfer } of [mismatched, rejected, expired]) await alice.plugin.sendTransfer(transfer)
    await peer.ask({ type: 'reject', transferId: rejected.id, protocolData: [] })
    await lab.clock.advance(1500)
    const fulfill = async (id: string, fulfillment: string) => errorName(await peer.ask({ type: 'fulfill', transferId: id, fulfillment, protocolData: [] }))
    expect(await fulfill('00000000-0000-4000-8000-00000000ffff', WRONG_PREIMAGE)).toBe('TransferNotFoundError')
    expect(await fulfill(mismatched.id, WRONG_PREIMAGE)).toBe('InvalidFulfillmentError')
    expect(await fulfill(rejected.id, rejected.fulfillment)).toBe('AlreadyRolledBackError')
    expect(await fulfill(rejected.id, WRONG_PREIMAGE)).toBe('InvalidFulfillmentError')
    expect(await fulfill(expired.id, expired.fulfillment)).toBe('AlreadyRolledBackError')
    expect((await alice.durable()).balance).toBe(0)
    expect(await fulfill(mismatched.id, mismatched.fulfillment)).toBe('response')
    expect((await alice.durable()).balance).toBe(-10)
  })

  it('C33: a Reject of a prepared one and its repeats are answered with a Response; the event is raised once', async () => {
    const { lab, peer, alice } = await openScripted()
    const { transfer, id } = lab.payment()
    await alice.plugin.sendTransfer(transfer)
    const reject = { type: 'reject', transferId: id, protocolData: [] } satisfies RequestBody
    const given = await Promise.all([peer.ask(reject), peer.ask(reject)])
    given.push(await peer.ask(reject))
    expect(given.map(errorName)).toEqual(['response', 'response', 'response'])
    expect(alice.story).toEqual(['outgoing_prepare', 'outgoing_reject'])
    expect(alice.seen('outgoing_reject')[0]?.[2]).toMatchObject({ code: 'F00', name: 'Bad Request', triggered_by: `${PREFIX}server` })
    expect(lab.held(alice).outgoing).toBe(0)
  })

  it('C33: a Reject of an unknown one or after the Fulfill is the named Error', async () => {
    const { lab, peer, alice } = await openScripted()
    const { transfer, id, fulfillment } = lab.payment()
    await alice.plugin.sendTransfer(transfer)
    await peer.ask({ type: 'fulfill', transferId: id, fulfillment, protocolData: [] })
    expect(errorName(await peer.ask({ type: 'reject', transferId: id, protocolData: [] }))).toBe('AlreadyFulfilledError')
    const unknown = '00000000-0000-4000-8000-00000000ffff'
    expect(errorName(await peer.ask({ type: 'reject', transferId: unknown, protocolData: [] }))).toBe('TransferNotFoundError')
    expect(alice.story).toEqual(['outgoing_prepare', 'outgoing_fulfill'])
  })

  it('C29: only the receiver fulfills or rejects: the sender of a transfer that tries is refused', async () => {
    const { lab, peer, alice } = await openScripted()
    const payment = lab.payment({ to: 'alice' })
    expect((await peer.prepare(payment)).type).toBe('response')
    const { id: transferId, fulfillment } = payment
    expect(errorName(await peer.ask({ type: 'fulfill', transferId, fulfillment, protocolData: [] }))).toBe('NotAcceptedError')
    expect(errorName(await peer.ask({ type: 'reject', transferId, protocolData: [] }))).toBe('NotAcceptedError')
    expect((await alice.durable()).open).toEqual({ [transferId]: 'held' })
    expect(alice.story).toEqual(['incoming_prepare'])
  })

  it('I3: a Fulfill and a Reject at once: one of them counts, and one event is raised', async () => {
    for (const order of [['fulfill', 'reject'], ['reject', 'fulfill']] as const) {
      const { lab, peer, alice } = await openScripted()
      const { transfer, id: transferId, fulfillment } = lab.payment()
      await alice.plugin.sendTransfer(transfer)
      const given = await Promise.all(order.map(type => peer.ask({ type, transferId, fulfillment, protocolData: [] })))
      expect(given.map(errorName)).toEqual(['response', order[0] === 'fulfill' ? 'AlreadyFulfilledError' : 'AlreadyRolledBackError'])
      expect(alice.story).toEqual(['outgoing_prepare', `outgoing_${order[0]}`])
    }
  })

  it('C50: getFulfillment names what is missing', async () => {
    const lab = await Lab.open()
    const payment = await lab.prepared()
    await expect(lab.alice.plugin.getFulfillment(payment.id)).rejects.toThrow(MissingFulfillmentError)
    await expect(lab.bob.plugin.getFulfillment(payment.id)).rejects.toThrow(MissingFulfillmentError)
    await expect(lab.alice.plugin.getFulfillment('00000000-0000-4000-8000-00000000ffff')).rejects.toThrow(TransferNotFoundError)
    await expect(lab.alice.plugin.getFulfillment('x')).rejects.toThrow(InvalidFieldsError)
    await lab.bob.plugin.rejectIncomingTransfer(payment.id)
    await expect(lab.alice.plugin.getFulfillment(payment.id)).rejects.toThrow(AlreadyRolledBackError)
    await expect(lab.bob.plugin.getFulfillment(payment.id)).rejects.toThrow(AlreadyRolledBackError)
  })
})

describe('the end of time', () => {
  it('C34: at expiresAt plus the grace the hold ends, and that is reported as a cancel', async () => {
    const { lab, peer, alice } = await openScripted()
    const { transfer } = lab.payment({ expiresInMs: 2000 })
    await alice.plugin.sendTransfer(transfer)
    await lab.clock.advance(2499)
    expect(lab.held(alice).outgoing).toBe(10)
    expect(alice.story).toEqual(['outgoing_prepare'])
    await lab.clock.advance(1)
    expect(lab.held(alice).outgoing).toBe(0)
    expect(alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
    expect(alice.seen('outgoing_cancel')[0]?.[2]).toMatchObject({ code: 'R00', name: 'Transfer Timed Out', triggered_by: `${PREFIX}client` })
    expect(peer.requests('reject')).toHaveLength(0)
  })

  it('I4: a Fulfill is taken until the end of the grace, and no more after it', async () => {
    for (const [atMs, answer] of [[1999, 'response'], [2000, 'response'], [2499, 'response'], [2500, 'AlreadyRolledBackError']] as const) {
      const { lab, peer, alice } = await openScripted()
      const { transfer, id, fulfillment } = lab.payment({ expiresInMs: 2000 })
      await alice.plugin.sendTransfer(transfer)
      await lab.clock.advance(atMs)
      expect(errorName(await peer.ask({ type: 'fulfill', transferId: id, fulfillment, protocolData: [] }))).toBe(answer)
      expect((await alice.durable()).balance).toBe(answer === 'response' ? -10 : 0)
    }
  })

  it('takes no Fulfill after the grace when timers are late: the time decides', async () => {
    const { lab, peer, alice } = await openScripted()
    const { transfer, id, fulfillment } = lab.payment({ expiresInMs: 2000 })
    await alice.plugin.sendTransfer(transfer)
    lab.clock.jump(2501)
    expect(errorName(await peer.ask({ type: 'fulfill', transferId: id, fulfillment, protocolData: [] }))).toBe('AlreadyRolledBackError')
  })

  it('graceMs 0 is the letter of BTP/1.0: the hold ends at expiresAt', async () => {
    const { lab, alice } = await openScripted({ alice: { options: { graceMs: 0 } } })
    await alice.plugin.sendTransfer(lab.payment({ expiresInMs: 2000 }).transfer)
    await lab.clock.advance(1999)
    expect(lab.held(alice).outgoing).toBe(10)
    await lab.clock.advance(1)
    expect(lab.held(alice).outgoing).toBe(0)
  })

  it("the receiver's R00 releases the hold at once, and is reported as a cancel", async () => {
    const lab = await Lab.open()
    await lab.prepared({ expiresInMs: 2000 })
    await lab.clock.advance(2000)
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
    expect(lab.held(lab.alice).outgoing).toBe(0)
    expect(lab.bob.story).toEqual(['incoming_prepare', 'incoming_cancel'])
    expect(lab.alice.seen('outgoing_cancel')[0]?.[2]).toMatchObject({ code: 'R00', triggered_by: `${PREFIX}server` })
    await lab.clock.advance(10_000)
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
  })

  it("a host's own rejection with R00 is a reject", async () => {
    const lab = await Lab.open()
    const payment = await lab.prepared()
    await lab.bob.plugin.rejectIncomingTransfer(payment.id, { code: 'R00', name: 'Transfer Timed Out', additional_info: 'expired' })
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_reject'])
    const forwarded = encodeIlpError({
      code: 'R00', name: 'Transfer Timed Out', triggeredBy: 'test.far', forwardedBy: [`${PREFIX}server`], triggeredAt: new Date(0), data: 'expired'
    })
    const scripted = await openScripted()
    const other = scripted.lab.payment()
    await scripted.alice.plugin.sendTransfer(other.transfer)
    await scripted.peer.ask({ type: 'reject', transferId: other.id, protocolData: [octets('ilp', forwarded)] })
    expect(scripted.alice.story).toEqual(['outgoing_prepare', 'outgoing_reject'])
  })

  it('H12: an expiry more than 2^31 ms away is waited for', async () => {
    const lab = await Lab.open()
    const expiresInMs = 2 ** 31 + 86_400_000
    const payment = await lab.prepared({ expiresInMs })
    await lab.clock.advance(1000)
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual([10, 10])
    lab.clock.jump(2 ** 31)
    await lab.alice.restart()
    await lab.bob.restart()
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual([10, 10])
    await lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    expect(await lab.balances()).toEqual([-10, 10])
  })
})

describe('a failing store on the sending side', () => {
  it('sendTransfer rejects with StoreError, and nothing is held or sent', async () => {
    const lab = await Lab.open()
    lab.alice.store.failNextCommit()
    const payment = lab.payment()
    await expect(lab.alice.plugin.sendTransfer(payment.transfer)).rejects.toThrow(StoreError)
    expect(lab.held(lab.alice).outgoing).toBe(0)
    expect(lab.network.count(asks('prepare'))).toBe(0)
    await lab.alice.plugin.sendTransfer(payment.transfer)
    expect(lab.held(lab.alice).outgoing).toBe(10)
  })

  it('H7: a Fulfill that could not be stored is answered T00, and taken when it comes again', async () => {
    const lab = await Lab.open()
    const payment = await lab.prepared()
    lab.alice.store.failNextCommit()
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment))
    await settle()
    const [answer] = lab.network.traffic.filter(answers('fulfill'))
    expect(answer?.packet).toMatchObject({ type: 'error', code: 'T00', name: 'StoreError' })
    expect(fulfilled.state).toBe('pending')
    expect(lab.alice.story).toEqual(['outgoing_prepare'])
    await lab.clock.advance(1000)
    expect(fulfilled.state).toBe('resolved')
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_fulfill'])
    expect(await lab.balances()).toEqual([-10, 10])
  })

  it.each([[2, 4400], [3, 3000], [8, 1000]])('I4: a Fulfill that came in time counts, though the store fails %i times and its time is over then', async (times, atMs) => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 5000 })
    await lab.clock.advance(atMs)
    for (let time = 0; time < times; time++) lab.alice.store.failNextCommit()
    const fulfilling = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(30_000)
    expect([await lab.balances(), fulfilling.state, lab.held(lab.alice).outgoing]).toEqual([[-10, 10], 'resolved', 0])
    expect([lab.bob.seen('dispute'), lab.alice.story.filter(name => name.startsWith('outgoing'))]).toEqual([[], ['outgoing_prepare', 'outgoing_fulfill']])
  })

  it('a cancel that could not be stored is tried again, and reported then', async () => {
    const { lab, alice } = await openScripted()
    await alice.plugin.sendTransfer(lab.payment({ expiresInMs: 2000 }).transfer)
    alice.store.failNextCommit()
    alice.store.failNextCommit()
    await lab.clock.advance(3000)
    expect(alice.story).toEqual(['outgoing_prepare'])
    expect(lab.held(alice).outgoing).toBe(10)
    await lab.clock.advance(3000)
    expect(alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
    expect(lab.held(alice).outgoing).toBe(0)
  })

  it('a release after a refusal that could not be stored is tried again, and sendTransfer rejects then', async () => {
    const { lab, peer, alice } = await openScripted()
    peer.script = refusing('prepare', 'F00', 'NotAcceptedError')
    const pass = lab.network.hold(answers('prepare'))
    const sent = watch(alice.plugin.sendTransfer(lab.payment().transfer))
    await settle()
    alice.store.failNextCommit()
    alice.store.failNextCommit()
    pass()
    await lab.clock.advance(1500)
    expect(sent.state).toBe('pending')
    expect(lab.held(alice).outgoing).toBe(10)
    await lab.clock.advance(1000)
    expect(sent.error).toBeInstanceOf(NotAcceptedError)
    expect(lab.held(alice).outgoing).toBe(0)
  })

  it('a commit of unknown outcome is read back: sendTransfer goes on when it landed, and rejects when not', async () => {
    for (const lands of ['now', 'never', 'later'] as const) {
      const lab = await Lab.open()
      lab.alice.store.loseNextCommit(lands)
      const sent = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
      await lab.clock.advance(2000)
      expect(await lab.alice.store.landLate()).toEqual(lands === 'later' ? [false] : [])
      expect(sent.state).toBe(lands === 'now' ? 'resolved' : 'rejected')
      if (lands !== 'now') expect(sent.error).toBeInstanceOf(StoreError)
      expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual(lands === 'now' ? [10, 10] : [0, 0])
    }
  })
})
