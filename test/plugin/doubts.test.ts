/** Fulfills that an old peer answers in a way which decides nothing: its balance tells what it has booked. */
import { describe, expect, it } from 'vitest'
import { AlreadyRolledBackError, UnreachableError } from '../../src/core/errors.js'
import { json } from '../../src/btp/protocol-data.js'
import type { Entry } from '../../src/ledger/draft.js'
import type { Account } from '../../src/plugin/account.js'
import { Doubts } from '../../src/plugin/doubts.js'
import type { Transfer } from '../../src/plugin/lpi.js'
import { Lab, settle, watch } from '../support/lab.js'
import type { Payment } from '../support/lab.js'
import { MemoryLog } from '../support/memory-log.js'
import { OLD_REPEAT, ScriptedPeer } from '../support/scripted-peer.js'
import { VirtualClock } from '../support/virtual-clock.js'

/** Alice holds transfers of an old peer: of these amounts. */
async function holding(amounts: string[]) {
  const lab = new Lab()
  const peer = new ScriptedPeer(lab)
  await peer.listen()
  await lab.alice.start()
  const payments: Payment[] = []
  for (const amount of amounts) {
    const payment = lab.payment({ to: 'alice', amount, expiresInMs: 600_000 })
    await peer.prepare(payment)
    payments.push(payment)
  }
  const fulfill = ({ id, fulfillment }: Payment) => watch(lab.alice.plugin.fulfillCondition(id, fulfillment))
  const balances = () => peer.received.filter(({ type, protocolData }) => type === 'message' && protocolData[0]?.protocolName === 'balance').length
  return { lab, peer, alice: lab.alice, payments, fulfill, balances }
}

/** Each Fulfill is answered as a repeat; the peer had booked these. */
function repeats(peer: ScriptedPeer, booked: Payment[]): void {
  for (const { id } of booked) peer.book(id)
  peer.script = packet => packet.type === 'fulfill' ? OLD_REPEAT : undefined
}

describe('an old peer that answers a repeated Fulfill with F00 and a TypeError', () => {
  it('H15: had booked it, and its answer was lost: fulfilled here too', async () => {
    const { lab, peer, alice, payments, fulfill } = await holding(['10'])
    let isFirst = true
    peer.script = packet => {
      if (packet.type !== 'fulfill' || !isFirst) return undefined
      isFirst = false
      peer.book(packet.transferId)
      return 'silence'
    }
    const fulfilled = fulfill(payments[0]!)
    await lab.clock.advance(5500)
    lab.network.cut()
    await lab.clock.advance(10_000)
    expect(peer.requests('fulfill')).toHaveLength(2)
    expect(fulfilled.state).toBe('resolved')
    expect(alice.story).toEqual(['incoming_prepare', 'incoming_fulfill'])
    expect([(await alice.durable()).balance, peer.balance]).toEqual([10, -10])
  })

  it('H14: had cancelled it: disputed, not counted', async () => {
    const { lab, peer, alice, payments, fulfill } = await holding(['10'])
    repeats(peer, [])
    const fulfilled = fulfill(payments[0]!)
    await lab.clock.advance(10_000)
    expect(fulfilled.error).toBeInstanceOf(AlreadyRolledBackError)
    expect(alice.story).toEqual(['incoming_prepare', 'dispute'])
    expect((await alice.durable()).balance).toBe(0)
    expect(await alice.disk.get(`:paychan:disputed:${payments[0]!.id}`)).toBeDefined()
  })

  it('after a restart, too', async () => {
    const { lab, peer, alice, payments, fulfill } = await holding(['10', '4'])
    peer.script = packet => packet.type === 'fulfill' ? 'silence' : undefined
    payments.forEach(fulfill)
    await settle()
    repeats(peer, [payments[0]!])
    await alice.restart()
    await lab.clock.advance(10_000)
    expect((await alice.durable()).states).toEqual({ [payments[0]!.id]: 'fulfilled', [payments[1]!.id]: 'cancelled' })
    expect((await alice.durable()).balance).toBe(10)
    expect(alice.story.slice(2)).toEqual(['incoming_fulfill', 'dispute'])
  })

  it('any other Error to a Fulfill is decided alike', async () => {
    for (const name of ['NotAcceptedError', 'TransferNotFoundError', 'InvalidFulfillmentError', 'InvalidFieldsError', 'NeverHeardOfError']) {
      for (const isBooked of [true, false]) {
        const { lab, peer, alice, payments, fulfill } = await holding(['10'])
        if (isBooked) peer.book(payments[0]!.id)
        peer.script = packet => packet.type === 'fulfill' ? { code: 'F99', name } : undefined
        fulfill(payments[0]!)
        await lab.clock.advance(10_000)
        expect(alice.story.at(-1)).toBe(isBooked ? 'incoming_fulfill' : 'dispute')
      }
    }
  })

  it('several in doubt: those whose amounts make up the difference are fulfilled, the others disputed', async () => {
    const { lab, peer, alice, payments, fulfill } = await holding(['1', '2', '4', '8', '16'])
    repeats(peer, [payments[1]!, payments[2]!, payments[4]!])
    payments.forEach(fulfill)
    await lab.clock.advance(10_000)
    expect(Object.values((await alice.durable()).states)).toEqual(['cancelled', 'fulfilled', 'fulfilled', 'cancelled', 'fulfilled'])
    expect([(await alice.durable()).balance, peer.balance]).toEqual([22, -22])
  })

  it('several of the same amount: as many as the peer has booked, so that the balances are equal', async () => {
    const { lab, peer, alice, payments, fulfill } = await holding(['5', '5', '5'])
    repeats(peer, [payments[2]!])
    payments.forEach(fulfill)
    await lab.clock.advance(10_000)
    expect(Object.values((await alice.durable()).states).sort()).toEqual(['cancelled', 'cancelled', 'fulfilled'])
    expect((await alice.durable()).balance).toBe(5)
  })

  it('while its balance cannot be had, or tells nothing that fits, it is asked again, later each time; nothing is decided', async () => {
    const { lab, peer, alice, payments, fulfill, balances } = await holding(['10'])
    peer.book(payments[0]!.id)
    peer.balance = -3
    peer.script = packet => packet.type === 'fulfill' ? OLD_REPEAT : undefined
    const fulfilled = fulfill(payments[0]!)
    await lab.clock.advance(60_000)
    expect(balances()).toBeGreaterThan(3)
    expect(balances()).toBeLessThan(10)
    expect(fulfilled.state).toBe('pending')
    expect((await alice.durable()).open).toEqual({ [payments[0]!.id]: 'fulfilling' })
    peer.script = packet => packet.type === 'message' && packet.protocolData[0]?.protocolName === 'balance' ? [json('balance', 'nonsense')] : undefined
    await lab.clock.advance(100_000)
    expect(fulfilled.state).toBe('pending')
    peer.script = () => undefined
    peer.balance = -10
    await lab.clock.advance(130_000)
    expect(fulfilled.state).toBe('resolved')
    expect((await alice.durable()).balance).toBe(10)
  })

  it('is not decided by one balance: a transfer that moves in between makes it ask again', async () => {
    const { lab, peer, alice, payments, fulfill } = await holding(['10', '10'])
    // The first is in doubt and was cancelled; the second is booked there while its Response is under way.
    let answer: (() => void) | undefined
    peer.script = packet => {
      if (packet.type !== 'fulfill') return undefined
      if (packet.transferId === payments[0]!.id) return OLD_REPEAT
      peer.book(packet.transferId)
      answer = lab.network.hold(({ request }) => request?.type === 'fulfill' && request.transferId === packet.transferId)
      return []
    }
    const first = fulfill(payments[0]!)
    await settle()
    const second = fulfill(payments[1]!)
    await lab.clock.advance(4000)
    expect([first.state, second.state]).toEqual(['pending', 'pending'])
    answer?.()
    await lab.clock.advance(10_000)
    expect(second.state).toBe('resolved')
    expect(first.error).toBeInstanceOf(AlreadyRolledBackError)
    expect((await alice.durable()).balance).toBe(10)
  })

  it('other transfers go on meanwhile, in both directions', async () => {
    const { lab, peer, alice, payments, fulfill } = await holding(['10', '7'])
    repeats(peer, [payments[0]!])
    const inDoubt = fulfill(payments[0]!)
    await settle()
    peer.script = () => undefined
    const other = fulfill(payments[1]!)
    const own = lab.payment({ amount: '3' })
    await alice.plugin.sendTransfer(own.transfer)
    await peer.ask({ type: 'fulfill', transferId: own.id, fulfillment: own.fulfillment, protocolData: [] })
    peer.balance += 3
    await settle()
    expect([inDoubt.state, other.state]).toEqual(['pending', 'resolved'])
    expect(alice.story).toContain('outgoing_fulfill')
    await lab.clock.advance(10_000)
    expect(inDoubt.state).toBe('resolved')
    expect([(await alice.durable()).balance, peer.balance]).toEqual([14, -14])
  })

  it('I8: a balance that fits nothing, again and again, is a dispute in the end', async () => {
    const { lab, peer, alice, payments, fulfill } = await holding(['10'])
    repeats(peer, [])
    peer.balance = -3
    const fulfilled = fulfill(payments[0]!)
    await lab.clock.advance(100_000)
    expect(fulfilled.state).toBe('pending')
    await lab.clock.advance(500_000)
    expect(fulfilled.error).toBeInstanceOf(AlreadyRolledBackError)
    expect(alice.story).toEqual(['incoming_prepare', 'dispute'])
    expect((await alice.durable()).balance).toBe(0)
  })

  it("a disconnect leaves it open: the call is told 'unknown', and the next connect asks again", async () => {
    const { lab, peer, alice, payments, fulfill, balances } = await holding(['10'])
    repeats(peer, [payments[0]!])
    peer.balance = -3
    const fulfilled = fulfill(payments[0]!)
    await lab.clock.advance(3000)
    await alice.plugin.disconnect()
    expect(fulfilled.error).toBeInstanceOf(UnreachableError)
    expect(fulfilled.error?.outcome).toBe('unknown')
    const before = balances()
    await lab.clock.advance(120_000)
    expect(balances()).toBe(before)
    expect(lab.clock.pending).toBe(0)
    peer.balance = -10
    await alice.plugin.connect()
    await lab.clock.advance(10_000)
    expect((await alice.durable()).balance).toBe(10)
    expect(alice.story).toEqual(['incoming_prepare', 'incoming_fulfill'])
  })
})

describe('thousands in doubt', () => {
  it('are decided by the balance that fits them, however many it has booked', async () => {
    const clock = new VirtualClock()
    const entries = Array.from({ length: 10_000 }, (_, n) => ({ id: String(n), amount: 1n, stage: 'fulfilling' }) as Entry<Transfer>)
    const account = {
      clock,
      ledger: { sums: async () => ({ incomingFulfilled: 0n, outgoingFulfilled: 0n }), open: entries },
      askPeerBalance: async () => '9999',
      log: new MemoryLog()
    } as unknown as Account
    const doubts = new Doubts(account)
    const all = Promise.all(entries.map(entry => doubts.settle(entry, new UnreachableError('decides nothing'))))
    const watched = watch(all)
    await clock.advance(600_000)
    expect(watched.state).toBe('resolved')
    expect((await all).filter(verdict => verdict === 'fulfilled')).toHaveLength(9999)
  })
})
