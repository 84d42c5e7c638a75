/** Two peers of ours compare their books on each session: what the hosts are told of a difference, what stops, and how it is decided. */
import { describe, expect, it } from 'vitest'
import { json, readJson } from '../../src/btp/protocol-data.js'
import { DisputeError, InvalidFieldsError, UnreachableError } from '../../src/core/errors.js'
import type { BalanceDispute } from '../../src/plugin/account.js'
import { chooser } from '../support/chooser.js'
import { codeOf, fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'
import type { LabOptions, Matches, Payment, Side, SideName } from '../support/lab.js'
import { ScriptedPeer, report } from '../support/scripted-peer.js'
import { openSettling } from '../support/settling.js'

const V2: LabOptions = { alice: { services: {} }, bob: { services: {} } }
const BOOKS = ':paychan:reconcile'

async function fulfilled(lab: Lab, to: SideName = 'bob', amount = '10'): Promise<Payment> {
  const payment = await lab.prepared({ to, amount })
  await lab[to].plugin.fulfillCondition(payment.id, payment.fulfillment)
  await settle()
  return payment
}

/** What hosts were told of balances. */
const differences = (side: Side): BalanceDispute[] =>
  side.seen('dispute').map(([, dispute]) => dispute).filter(dispute => dispute.id === undefined)

const questions: Matches = ({ packet }) => {
  const [primary] = packet.protocolData
  return packet.type === 'message' && primary?.protocolName === 'paychan' && 'reconcile' in Object(readJson(primary))
}

/** While alice is dead, her store is changed. */
async function restartWith(lab: Lab, ...puts: Array<[string, string]>): Promise<void> {
  lab.alice.crash()
  await settle()
  await lab.alice.disk.commit({ puts, guards: [] })
  await lab.alice.start()
  await lab.reconnect()
}

/** Alice has paid 10 and received 20; then her store says that she has paid 7. */
async function openDiffering(options: LabOptions = {}): Promise<Lab> {
  const lab = await Lab.open(options)
  await fulfilled(lab, 'bob', '10')
  await fulfilled(lab, 'alice', '20')
  await restartWith(lab, [':tl:balance:of', '7'])
  return lab
}

describe('books that agree', () => {
  it('are compared on each session, and nobody is told anything', async () => {
    const lab = await Lab.open()
    await fulfilled(lab)
    const before = lab.network.count(questions)
    lab.network.cut()
    await lab.reconnect()
    expect(lab.network.count(questions)).toBe(before + 2)
    await fulfilled(lab, 'alice')
    expect([differences(lab.alice), differences(lab.bob)]).toEqual([[], []])
  })

  it('agree while a Fulfill is on its way, and are compared again when it is over', async () => {
    const lab = await Lab.open()
    await fulfilled(lab)
    const payment = await lab.prepared()
    const release = lab.network.drop(({ request, packet }) => request?.type === 'fulfill' && packet.type === 'response')
    void lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    await settle()
    expect(await lab.balances()).toEqual([-20, 10])
    lab.network.cut()
    await lab.reconnect()
    expect([differences(lab.alice), differences(lab.bob), lab.network.count(questions)]).toEqual([[], [], expect.any(Number)])
    const before = lab.network.count(questions)
    release()
    await lab.clock.advance(70_000)
    expect(await lab.balances()).toEqual([-20, 20])
    expect(lab.network.count(questions)).toBeGreaterThan(before)
    expect([differences(lab.alice), differences(lab.bob)]).toEqual([[], []])
    // When nothing is uncertain any more, nobody asks any more.
    const after = lab.network.count(questions)
    await lab.clock.advance(600_000)
    expect(lab.network.count(questions)).toBe(after)
  })
})

describe('books that differ', () => {
  it('H14: are told once on each side, with both numbers', async () => {
    const lab = await openDiffering()
    expect(differences(lab.alice)).toEqual([{ sum: 'outgoingFulfilled', ours: '7', theirs: '10' }])
    expect(differences(lab.bob)).toEqual([{ sum: 'incomingFulfilled', ours: '10', theirs: '7' }])
    expect(lab.alice.log.lines.filter(line => line.includes('resolveDispute'))).toHaveLength(1)
    lab.network.cut()
    await lab.reconnect()
    expect([differences(lab.alice).length, differences(lab.bob).length]).toEqual([1, 1])
  })

  it('stop what is new and goes out, and nothing that comes in or is in flight', async () => {
    const lab = await Lab.open()
    await fulfilled(lab, 'bob')
    const [out, back] = [await lab.prepared({ expiresInMs: 100_000 }), await lab.prepared({ to: 'alice', expiresInMs: 100_000 })]
    await restartWith(lab, [':tl:balance:of', '7'])
    await expect(lab.alice.plugin.sendTransfer(lab.payment().transfer)).rejects.toThrow(DisputeError)
    await expect(lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer)).rejects.toMatchObject({ name: 'DisputeError', message: expect.stringContaining('incomingFulfilled is 10 here, 7 with the peer') as string })
    await lab.bob.plugin.fulfillCondition(out.id, out.fulfillment)
    await lab.alice.plugin.fulfillCondition(back.id, back.fulfillment)
    expect((await lab.alice.durable()).states).toMatchObject({ [out.id]: 'fulfilled', [back.id]: 'fulfilled' })
  })

  it('are taken by one side only until the other has looked: what the peer sends is taken within the limits', async () => {
    const lab = new Lab()
    const peer = new ScriptedPeer(lab, { announces: true })
    peer.script = packet => books(packet.protocolData, { incomingFulfilled: '5' })
    await peer.listen()
    await lab.alice.disk.commit({ puts: [[':tl:balance:of', '3'], [':tl:balance:if', '1']], guards: [] })
    await lab.alice.start()
    await settle()
    expect(differences(lab.alice).map(({ sum, ours, theirs }) => [sum, ours, theirs])).toEqual([['incomingFulfilled', '1', '0'], ['outgoingFulfilled', '3', '5']])
    expect((await peer.prepare(lab.payment({ to: 'alice' }))).type).toBe('response')
    expect((await peer.prepare(lab.payment({ to: 'alice', amount: '2000000' }))).type).toBe('error')
  })

  it('stop packets and settlements of LPI v2 too, with a code by which connectors take another way', async () => {
    const { lab } = await openSettling()
    const pay = () => lab.alice.plugin.sendData(ilpPayment(`payment ${lab.clock.now()}`, lab.clock.now() + 10_000).prepare)
    expect(codeOf(await pay())).toBe('fulfill')
    await restartWith(lab, [':paychan:settled:out', '4'])
    expect(differences(lab.alice)).toEqual([{ sum: 'settledOut', ours: '4', theirs: '0' }])
    expect(differences(lab.bob)).toEqual([{ sum: 'settledIn', ours: '0', theirs: '4' }])
    await expect(pay()).rejects.toMatchObject({ ilpErrorCode: 'T01' })
    await expect(lab.alice.plugin.sendMoney('1')).rejects.toThrow(DisputeError)
    expect(await lab.alice.plugin.sendData(ilpPayment('no amount', lab.clock.now() + 10_000, '0').prepare)).toBeInstanceOf(Uint8Array)
    await lab.alice.plugin.resolveDispute('theirs')
    await settle()
    expect(codeOf(await pay())).toBe('fulfill')
    expect(codeOf(await lab.alice.plugin.sendData(ilpPayment('again', lab.clock.now() + 10_000).prepare))).toBe('fulfill')
  })

  it('a restart does not forget the stop, and tells of it again: the process may have died before it did', async () => {
    const lab = await openDiffering()
    await lab.bob.restart()
    await expect(lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer)).rejects.toThrow(DisputeError)
    expect(differences(lab.bob)).toHaveLength(2)
  })

  it('a difference that hides behind what is in flight is found when that is final', async () => {
    const lab = new Lab(V2)
    lab.bob.onStart = plugin => { plugin.registerDataHandler(packet => packet.includes('hides') ? new Promise(() => undefined) : Promise.resolve(fulfillOf(packet))) }
    await lab.bob.start()
    await lab.alice.start()
    const send = (seed: string, amount: string) => lab.alice.plugin.sendData(ilpPayment(seed, lab.clock.now() + 30_000, amount).prepare)
    await send('is counted', '10')
    void send('hides it', '50').catch(() => undefined)
    await settle()
    await restartWith(lab, [':tl:balance:of', '4'])
    await lab.clock.advance(20_000)
    expect([differences(lab.alice), differences(lab.bob)]).toEqual([[], []])
    await lab.clock.advance(120_000)
    expect(differences(lab.alice)).toEqual([{ sum: 'outgoingFulfilled', ours: '4', theirs: '10' }])
    expect(differences(lab.bob)).toEqual([{ sum: 'incomingFulfilled', ours: '10', theirs: '4' }])
  })
})

describe('a late Fulfill that the peer does not concede', () => {
  it('is a difference: its sender was told by the transfer, stops, and goes on by its own numbers', async () => {
    const lab = new Lab({ alice: { services: {} } })
    const peer = new ScriptedPeer(lab, { announces: true })
    const { prepare, fulfill } = ilpPayment('late', lab.clock.now() + 3000)
    let counted = 0
    peer.script = ({ protocolData }) => {
      const [primary] = protocolData
      if (primary?.protocolName === 'ilp') return 'silence'
      const { ask, late } = Object(primary && readJson(primary)) as { ask?: string[]; late?: string }
      if (late !== undefined) return { code: 'F07', name: 'AlreadyFulfilledError' }
      if (ask === undefined) return books(protocolData, { incomingFulfilled: String(counted) })
      if (ask.length > 0) counted = 10
      return [json('paychan', { fulfilled: Object.fromEntries(ask.map(id => [id, fulfill.toString('base64url')])), cancelled: [], held: [] })]
    }
    await peer.listen()
    await lab.alice.start()
    const sent = watch(lab.alice.plugin.sendData(prepare))
    await lab.clock.advance(60_000)
    expect([sent.state, lab.alice.seen('dispute').map(([, dispute]) => dispute.id === undefined ? 'balances' : dispute.direction)]).toEqual(['rejected', ['outgoing']])
    const next = () => lab.alice.plugin.sendData(ilpPayment('next', lab.clock.now() + 3000).prepare)
    await expect(next()).rejects.toThrow('outgoingFulfilled is 0 here, 10 with the peer')
    lab.network.cut()
    await lab.reconnect()
    await lab.alice.restart()
    await expect(next()).rejects.toThrow(DisputeError)
    expect(lab.alice.seen('dispute').slice(1).map(([, dispute]) => dispute)).toEqual([{ sum: 'outgoingFulfilled', ours: '0', theirs: '10' }])
    await lab.alice.plugin.resolveDispute('ours')
    void next().catch(() => undefined)
    await settle()
    expect(lab.held(lab.alice).outgoing).toBe(10)
    lab.network.cut()
    await lab.clock.advance(100_000)
    expect(lab.alice.seen('dispute')).toHaveLength(2)
  })
})

describe('resolveDispute', () => {
  it.each([['alice', [20, -20]], ['bob', [13, -13]]] as const)("%s takes the peer's numbers, and both sides trade again", async (name, balances) => {
    const lab = await openDiffering()
    expect(await lab.balances()).toEqual([13, -10])
    const expected = name === 'alice' ? [10, -10] : balances
    await lab[name].plugin.resolveDispute('theirs')
    await settle()
    await lab.clock.advance(100)
    expect(await lab.balances()).toEqual(expected)
    await fulfilled(lab, 'bob')
    await fulfilled(lab, 'alice')
    expect([differences(lab.alice).length, differences(lab.bob).length]).toEqual([1, 1])
    expect([await lab.alice.disk.get(BOOKS), await lab.bob.disk.get(BOOKS)]).toEqual(Array(2).fill('{"v":1,"open":[],"accepted":[]}'))
  })

  it('both keep their own: what is known is told no more, a further difference is', async () => {
    const lab = await openDiffering()
    await lab.alice.plugin.resolveDispute('ours')
    await expect(lab.bob.plugin.sendTransfer(lab.payment({ to: 'alice' }).transfer)).rejects.toThrow(DisputeError)
    await lab.bob.plugin.resolveDispute('ours')
    await settle()
    await fulfilled(lab, 'bob')
    await fulfilled(lab, 'alice')
    await lab.alice.restart()
    await lab.bob.restart()
    await fulfilled(lab, 'bob')
    expect(await lab.balances()).toEqual([13 - 10, -10 + 10])
    expect([differences(lab.alice).length, differences(lab.bob).length]).toEqual([1, 1])
    await restartWith(lab, [':tl:balance:of', '26'])
    expect(differences(lab.alice)[1]).toEqual({ sum: 'outgoingFulfilled', ours: '26', theirs: '30' })
    expect(differences(lab.bob)[1]).toEqual({ sum: 'incomingFulfilled', ours: '30', theirs: '26' })
  })

  it('does nothing where nothing is in dispute, and nothing twice', async () => {
    const lab = await openDiffering()
    await lab.alice.plugin.resolveDispute('theirs')
    await lab.alice.plugin.resolveDispute('ours')
    await settle()
    await lab.bob.plugin.resolveDispute('theirs')
    expect(await lab.balances()).toEqual([10, -10])
    await expect(lab.alice.plugin.resolveDispute('mine' as 'ours')).rejects.toThrow(InvalidFieldsError)
  })

  it("takes the peer's numbers neither without a session nor while they are uncertain", async () => {
    const lab = await Lab.open()
    await fulfilled(lab)
    const payment = await lab.prepared({ expiresInMs: 100_000 })
    const release = lab.network.drop(({ request }) => request?.type === 'fulfill')
    void lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment)
    await settle()
    await restartWith(lab, [':tl:balance:of', '107'])
    await expect(lab.alice.plugin.resolveDispute('theirs')).rejects.toThrow('in flight')
    lab.network.isUp = false
    lab.network.cut()
    await settle()
    await expect(lab.alice.plugin.resolveDispute('theirs')).rejects.toThrow(UnreachableError)
    release()
    lab.network.isUp = true
    await lab.clock.advance(70_000)
    await lab.alice.plugin.resolveDispute('theirs')
    expect(await lab.balances()).toEqual([-20, 20])
  })

  it('has happened when the store has taken it: a crash before leaves the stop, one after leaves the decision', async () => {
    for (const moment of ['before', 'after'] as const) {
      const lab = await openDiffering()
      lab.alice.crashAtCommit(moment, ({ puts = [] }) => puts.some(([key]) => key === BOOKS))
      void lab.alice.plugin.resolveDispute('theirs')
      await settle()
      expect(lab.alice.isAlive).toBe(false)
      const isBack = lab.alice.start()
      await lab.reconnect()
      await isBack
      expect(await lab.balances()).toEqual(moment === 'before' ? [13, -10] : [10, -10])
      const sending = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
      await settle()
      expect(sending.state).toBe(moment === 'before' ? 'rejected' : 'resolved')
    }
  })
})

/** Answers a comparison by blank books but for those. */
function books(protocolData: Parameters<ScriptedPeer['script']>[0]['protocolData'], parts: object) {
  const [primary] = protocolData
  if (primary?.protocolName !== 'paychan' || !('reconcile' in Object(readJson(primary)))) return undefined
  return [json('paychan', { reconcile: report(parts) })]
}


/** Alice, who has paid 3, beside a peer of ours that speaks by hand. */
async function besideScript(script: ScriptedPeer['script'], announces = true): Promise<{ lab: Lab; peer: ScriptedPeer }> {
  const lab = new Lab()
  const peer = new ScriptedPeer(lab, { announces })
  peer.script = script
  await peer.listen()
  await lab.alice.disk.commit({ puts: [[':tl:balance:of', '3']], guards: [] })
  await lab.alice.start()
  await settle()
  return { lab, peer }
}

describe('other peers', () => {
  it('an older one of ours, that does not know the question, is asked once, and nothing stops', async () => {
    const { lab, peer } = await besideScript(({ protocolData }) => protocolData[0]?.protocolName === 'paychan' ? { code: 'F01', name: 'InvalidFieldsError' } : undefined)
    await lab.clock.advance(600_000)
    expect(peer.requests('message').filter(({ protocolData }) => protocolData[0]?.protocolName === 'paychan')).toHaveLength(1)
    await lab.alice.plugin.sendTransfer(lab.payment().transfer)
    expect(differences(lab.alice)).toEqual([])
  })

  it('a foreign one is never asked, and gets no answer', async () => {
    const { lab, peer } = await besideScript(() => undefined, false)
    await lab.clock.advance(600_000)
    expect(peer.received.flatMap(({ protocolData }) => protocolData).filter(({ protocolName }) => protocolName === 'paychan')).toEqual([])
    for (const question of [{ reconcile: report({}) }, { recover: '' }]) {
      expect(await peer.ask({ type: 'message', protocolData: [json('paychan', question)] })).toMatchObject({ type: 'error', name: 'NotAcceptedError' })
    }
  })

  it('a client without a store is not compared with', async () => {
    const lab = await Lab.open({ alice: { options: { store: undefined } as never } })
    expect(lab.network.count(questions)).toBe(0)
    await fulfilled(lab)
    await lab.alice.restart()
    await fulfilled(lab)
    expect([differences(lab.bob), await lab.alice.plugin.getBalance()]).toEqual([[], '-20'])
  })

  it.each([
    ['nothing', []],
    ['a list', [json('paychan', [])]],
    ['a negative sum', [json('paychan', { reconcile: report({ incomingFulfilled: '-3' }) })]],
    ['a huge one', [json('paychan', { reconcile: report({ incomingFulfilled: '9'.repeat(61) }) })]],
    ['a number', [json('paychan', { reconcile: report({ incomingFulfilled: 3 }) })]],
    ['half of it', [json('paychan', { reconcile: { incomingFulfilled: '3' } })]]
  ])('an answer of %s is none', async (_name, answer) => {
    const { lab } = await besideScript(packet => books(packet.protocolData, {}) === undefined ? undefined : answer)
    await lab.alice.plugin.sendTransfer(lab.payment().transfer)
    expect(differences(lab.alice)).toEqual([])
  })

  it('malformed questions are refused, and change nothing', async () => {
    const { lab, peer } = await besideScript(packet => books(packet.protocolData, { incomingFulfilled: '3' }))
    for (const question of [{ reconcile: 1 }, { reconcile: {} }, { reconcile: report({ sent: null }) }, { recover: 1 }]) {
      expect(await peer.ask({ type: 'message', protocolData: [json('paychan', question)] })).toMatchObject({ type: 'error', name: 'InvalidFieldsError' })
    }
    await lab.alice.plugin.sendTransfer(lab.payment().transfer)
  })
})

describe('no false alarm', () => {
  /** Traffic in both directions, while connections go and processes die. */
  async function soak(seed: number, isV2: boolean): Promise<void> {
    const { upTo, chance, pick } = chooser(seed)
    const lab = new Lab({ ...(isV2 ? V2 : {}), seed })
    const handle = (plugin: Side['plugin'], side: Side): void => {
      plugin.registerDataHandler(async packet => {
        await new Promise<void>(resolve => { lab.clock.setTimer(upTo(400), resolve) })
        return fulfillOf(packet)
      })
      plugin.on('incoming_prepare', ({ id }) => {
        const payment = payments.get(id)
        if (payment !== undefined) lab.clock.setTimer(upTo(400), () => { if (side.plugin === plugin) plugin.fulfillCondition(id, payment.fulfillment).catch(() => undefined) })
      })
    }
    const payments = new Map<string, Payment>()
    const sides = [lab.alice, lab.bob]
    for (const side of sides) side.onStart = plugin => { handle(plugin, side) }
    await lab.bob.start()
    await lab.alice.start()
    for (let step = 0; step < 60; step++) {
      for (let n = upTo(4); n > 0; n--) {
        const from = pick(sides)
        if (!from.plugin.isConnected()) continue
        const expiresInMs = 300 + upTo(3000)
        if (isV2) from.plugin.sendData(ilpPayment(`${seed} ${step} ${n} ${from.name}`, lab.clock.now() + expiresInMs, String(1 + upTo(9))).prepare).catch(() => undefined)
        else {
          const payment = lab.payment({ to: from.name === 'alice' ? 'bob' : 'alice', amount: String(1 + upTo(9)), expiresInMs })
          payments.set(payment.id, payment)
          from.plugin.sendTransfer(payment.transfer).catch(() => undefined)
        }
      }
      await lab.clock.advance(upTo(300))
      if (chance(0.4)) lab.network.cut()
      if (chance(0.1)) void pick(sides).restart()
      await lab.clock.advance(upTo(300))
    }
    await lab.clock.advance(200_000)
    const told = sides.flatMap(differences)
    expect(`seed ${seed}: ${JSON.stringify(told)}`).toBe(`seed ${seed}: []`)
    expect(lab.network.count(questions)).toBeGreaterThan(20)
    const [alice, bob] = await lab.balances()
    expect(alice).toBe(-bob)
  }

  it('under traffic with many reconnects: LPI v1', async () => {
    for (let seed = 1; seed <= 12; seed++) await soak(seed, false)
  })

  it('under traffic with many reconnects: LPI v2', async () => {
    for (let seed = 101; seed <= 112; seed++) await soak(seed, true)
  })
})

describe('a peer that says that its books are new, though they should not be', () => {
  async function begin(): Promise<Lab> {
    const lab = new Lab()
    await lab.alice.disk.commit({ puts: [[':tl:balance:of', '10']], guards: [] })
    const peer = new ScriptedPeer(lab, { announces: true })
    peer.script = ({ protocolData: [primary] }) => primary?.protocolName === 'paychan' ? [json('paychan', { reconcile: { ...report({}), isNew: true } })] : undefined
    await peer.listen()
    watch(lab.alice.make().connect())
    await lab.clock.advance(500)
    await expect(async () => lab.alice.plugin.sendTransfer(lab.payment().transfer)).rejects.toThrow('lost its books')
    return lab
  }

  it('is traded with again when it comes as one with which nothing is compared', async () => {
    const lab = await begin()
    lab.network.cut()
    await new ScriptedPeer(lab).listen()
    await lab.clock.advance(60_000)
    const sending = watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
    await lab.clock.advance(100)
    expect(sending.state).toBe('resolved')
  })

  it('is in dispute after ten seconds by the timer, also where the wall clock is put back', async () => {
    const lab = await begin()
    lab.clock.putBack(3_600_000)
    await lab.clock.advance(60_000)
    expect(lab.alice.seen('dispute')).toHaveLength(1)
  })
})
