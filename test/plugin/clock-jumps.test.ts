/**
 * The wall clock is put back by a day, back by a second, or forward by a day, in the middle of each thing that a plugin waits for. What
 * is waited for comes when so much time has passed as was meant, neither sooner nor later nor never.
 */
import { describe, expect, it } from 'vitest'
import { Dialler } from '../../src/btp/dialler.js'
import type { Packet } from '../../src/btp/packets.js'
import { json, readJson } from '../../src/btp/protocol-data.js'
import type { Session } from '../../src/btp/session.js'
import { UnreachableError } from '../../src/core/errors.js'
import type { Account } from '../../src/plugin/account.js'
import { Disputable } from '../../src/plugin/disputable.js'
import { Lease } from '../../src/plugin/lease.js'
import type { AnyModule } from '../../src/plugin/module.js'
import { MemoryStore } from '../../src/store/memory.js'
import { fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, Life, PREFIX, answers, asks, settle, watch } from '../support/lab.js'
import type { LabOptions, Outcome } from '../support/lab.js'
import { MemoryLog } from '../support/memory-log.js'
import { countingRandom } from '../support/peers.js'
import { OLD_REPEAT, ScriptedPeer, report } from '../support/scripted-peer.js'
import { Tabs } from '../support/tabs.js'
import { VirtualClock } from '../support/virtual-clock.js'

const DAY = 86_400_000

/** Each with how far it puts the clock forward. */
const JUMPS: ReadonlyArray<readonly [string, number]> = [['back by a day', -DAY], ['back by a second', -1000], ['forward by a day', DAY]]

/** Something that is waited for. */
interface Wait {
  readonly clock: VirtualClock
  readonly hasCome: () => boolean | Promise<boolean>
  /** After how many milliseconds that pass it comes: exactly, or not before the first and by the second. */
  readonly due: number | readonly [number, number]
  /** After how many the clock jumps. By default in the middle. */
  readonly jumpsAt?: number
}

/** The time of day changes. Timers go on by what passes. */
function jump(clock: VirtualClock, aheadMs: number): void {
  clock.putBack(-aheadMs)
}

/** What waits, and how it begins. */
function rows(all: Record<string, () => Promise<Wait>>): void {
  const names = Object.keys(all)
  it.each(names.flatMap(name => JUMPS.map(([how, byMs]) => [name, how, byMs] as const)))('%s: the clock is put %s', async (name, _how, byMs) => {
    const { clock, hasCome, due, jumpsAt } = await all[name]!()
    const [earliest, latest] = typeof due === 'number' ? [due, due] : due
    const before = jumpsAt ?? Math.floor(earliest / 2)
    await clock.advance(before)
    expect(await hasCome()).toBe(false)
    jump(clock, byMs)
    await clock.advance(earliest - before - 1)
    expect(await hasCome()).toBe(false)
    await clock.advance(latest - earliest + 1)
    expect(await hasCome()).toBe(true)
  })
}

const V2: LabOptions = { alice: { services: {} }, bob: { services: {} } }

const isOver = (outcome: Outcome<unknown>) => (): boolean => outcome.state !== 'pending'

/** A module that does nothing but what the test says. */
function aModule(name: 'alice' | 'bob', more: Partial<AnyModule>): AnyModule {
  const account = { alice: `${PREFIX}client`, bob: `${PREFIX}server` }
  return {
    connect: () => undefined,
    disconnect: () => undefined,
    getAccount: () => account[name],
    getPeerAccount: () => account[name === 'alice' ? 'bob' : 'alice'],
    getInfo: () => ({ prefix: PREFIX }),
    handleIncomingPrepare: () => undefined,
    createOutgoingClaim: () => undefined,
    handleIncomingClaim: () => undefined,
    ...more
  }
}

const never = (): Promise<never> => new Promise(() => undefined)

describe('connecting', () => {
  rows({
    'connect() with no peer there': async () => {
      const lab = new Lab()
      const connecting = watch(lab.alice.make().connect({ timeout: 7000 }))
      await settle()
      return { clock: lab.clock, hasCome: isOver(connecting), due: 7000 }
    },
    'connect() to a peer that does not tell its info': async () => {
      const lab = new Lab({ alice: { options: { prefix: undefined, info: undefined } as object } })
      const peer = new ScriptedPeer(lab)
      peer.script = () => 'silence'
      await peer.listen()
      const connecting = watch(lab.alice.make().connect({ timeout: 7000 }))
      await settle()
      return { clock: lab.clock, hasCome: isOver(connecting), due: 7000 }
    },
    'an attempt to dial that hangs': async () => {
      const clock = new VirtualClock()
      let isAborted = false
      const dialler = new Dialler({
        clock, random: countingRandom(), reconnectMinMs: 1000, reconnectMaxMs: 1000, needed: () => !isAborted,
        attempt: signal => new Promise(resolve => {
          signal.addEventListener('abort', () => {
            isAborted = true
            resolve('again')
          })
        })
      })
      dialler.begin()
      return { clock, hasCome: () => isAborted, due: 15_000 }
    },
    'a connection before the door that does not authenticate': async () => {
      const lab = new Lab()
      await lab.bob.start()
      const connection = await lab.network.dial(new Life())('bob', new AbortController().signal)
      let isClosed = false
      connection.open({ message: () => undefined, alive: () => undefined, close: () => { isClosed = true } })
      return { clock: lab.clock, hasCome: () => isClosed, due: 2000 }
    },
    'the next attempt after a connection was lost': async () => {
      const lab = await Lab.open({ alice: { options: { reconnectMinMs: 10_000, reconnectMaxMs: 10_000 } } })
      lab.network.cut()
      await settle()
      return { clock: lab.clock, hasCome: () => lab.alice.plugin.isConnected(), due: 10_000 }
    },
    'a peer that has nothing to say': async () => {
      const lab = await Lab.open({ alice: { options: { heartbeatMs: 30_000, heartbeatTimeoutMs: 4000 } } })
      lab.network.freeze()
      lab.network.isUp = false
      // Where the clock is put back it looks once more, since it cannot tell how long the silence was.
      return { clock: lab.clock, hasCome: () => !lab.alice.plugin.isConnected(), due: [34_000, 35_000] }
    },
    'a peer that does not answer a probe': async () => {
      const lab = await Lab.open({ alice: { options: { heartbeatMs: 30_000, heartbeatTimeoutMs: 4000 } } })
      lab.network.freeze()
      lab.network.isUp = false
      return { clock: lab.clock, hasCome: () => !lab.alice.plugin.isConnected(), due: 34_000, jumpsAt: 31_000 }
    }
  })
})

it.each(JUMPS)('a peer that answers is not given up: the clock is put %s', async (_how, byMs) => {
  const options = { heartbeatMs: 30_000, heartbeatTimeoutMs: 4000 }
  const lab = await Lab.open({ alice: { options }, bob: { options } })
  await lab.clock.advance(15_000)
  jump(lab.clock, byMs)
  await lab.clock.advance(300_000)
  expect([lab.alice.seen('disconnect'), lab.bob.seen('disconnect')]).toEqual([[], []])
})

describe('the wait before the next attempt', () => {
  /** Many attempts have failed before there was this session; it lasted so long, and the clock was put forward meanwhile. */
  async function waitedAfter(lastedMs: number, aheadMs: number): Promise<number> {
    const lab = await Lab.open({ alice: { options: { reconnectMinMs: 100, reconnectMaxMs: 10_000 } } })
    lab.network.isUp = false
    lab.network.cut()
    await lab.clock.advance(60_000)
    lab.network.isUp = true
    while (!lab.alice.plugin.isConnected()) await lab.clock.advance(1)
    await lab.clock.advance(lastedMs / 2)
    jump(lab.clock, aheadMs)
    await lab.clock.advance(lastedMs / 2)
    lab.network.cut()
    await settle()
    let waited = 0
    for (; !lab.alice.plugin.isConnected(); waited++) await lab.clock.advance(1)
    return waited
  }

  it.each(JUMPS)('is short after a session that lasted, and as long as before after one that did not: the clock is put %s', async (_how, byMs) => {
    expect(await waitedAfter(10_100, byMs)).toBeLessThanOrEqual(200)
    expect(await waitedAfter(10, byMs)).toBeGreaterThan(200)
  })
})

describe('a request', () => {
  rows({
    'that is not answered': async () => {
      const lab = await Lab.open()
      lab.network.freeze()
      const asking = watch(lab.alice.plugin.getPeerBalance())
      await settle()
      return { clock: lab.clock, hasCome: isOver(asking), due: 5000 }
    }
  })
})

describe('a transfer of LPI v1', () => {
  rows({
    'that was sent, until its expiry and the grace': async () => {
      const lab = await Lab.open()
      await lab.prepared({ expiresInMs: 30_000 })
      lab.network.freeze()
      return { clock: lab.clock, hasCome: () => lab.alice.story.includes('outgoing_cancel') && lab.held(lab.alice).outgoing === 0, due: 30_500 }
    },
    'that was sent, within the grace': async () => {
      const lab = await Lab.open({ alice: { options: { graceMs: 5000 } } })
      await lab.prepared({ expiresInMs: 30_000 })
      lab.network.freeze()
      return { clock: lab.clock, hasCome: () => lab.held(lab.alice).outgoing === 0, due: 35_000, jumpsAt: 32_000 }
    },
    'that nobody acknowledges': async () => {
      const lab = await Lab.open()
      lab.network.drop(asks('prepare'))
      const sending = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 30_000 }).transfer))
      await settle()
      return { clock: lab.clock, hasCome: isOver(sending), due: 30_500 }
    },
    'that was received, until its expiry': async () => {
      const lab = await Lab.open()
      await lab.prepared({ expiresInMs: 30_000 })
      return { clock: lab.clock, hasCome: () => lab.bob.story.includes('incoming_cancel') && lab.held(lab.bob).incoming === 0, due: 30_000 }
    },
    'that a module does not judge, until its expiry': async () => {
      const lab = await Lab.open({ bob: { module: aModule('bob', { handleIncomingPrepare: never }) } })
      watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 30_000 }).transfer))
      await settle()
      return { clock: lab.clock, hasCome: () => lab.held(lab.bob).incoming === 0, due: 30_000 }
    },
    'whose Fulfill got lost, until that is sent again': async () => {
      const lab = await Lab.open()
      const { id, fulfillment } = await lab.prepared({ expiresInMs: 30_000 })
      lab.network.drop(asks('fulfill'), 1)
      watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
      await settle()
      // It is sent again a second after the answer was given up.
      return { clock: lab.clock, hasCome: () => lab.network.count(asks('fulfill')) === 2, due: 6000, jumpsAt: 5500 }
    },
    'of which an old peer may have booked the Fulfill, until its balance is asked for the second time': async () => {
      const lab = new Lab()
      const peer = new ScriptedPeer(lab)
      await peer.listen()
      await lab.alice.start()
      const payment = lab.payment({ to: 'alice', expiresInMs: 600_000 })
      await peer.prepare(payment)
      peer.book(payment.id)
      peer.script = packet => packet.type === 'fulfill' ? OLD_REPEAT : undefined
      const fulfilled = watch(lab.alice.plugin.fulfillCondition(payment.id, payment.fulfillment))
      await settle()
      return { clock: lab.clock, hasCome: () => fulfilled.state === 'resolved', due: 1000 }
    },
    'that disconnect() waits for': async () => {
      const lab = await Lab.open()
      await lab.prepared({ expiresInMs: 600_000 })
      const stopping = watch(lab.alice.plugin.disconnect({ drainMs: 8000 }))
      await settle()
      return { clock: lab.clock, hasCome: isOver(stopping), due: 8000 }
    }
  })

  it('is not fulfilled when the clock was put past its expiry, and both holds end when its time has passed', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 30_000 })
    await lab.clock.advance(10_000)
    jump(lab.clock, DAY)
    await expect(lab.bob.plugin.fulfillCondition(id, fulfillment)).rejects.toMatchObject({ name: 'AlreadyRolledBackError' })
    await lab.clock.advance(19_999)
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming]).toEqual([10, 10])
    await lab.clock.advance(501)
    expect([lab.held(lab.alice).outgoing, lab.held(lab.bob).incoming, await lab.balances()]).toEqual([0, 0, [0, 0]])
  })

  it('whose Fulfill arrives when the clock was put past its expiry and grace is disputed by the receiver, and counts nowhere', async () => {
    const lab = await Lab.open()
    const { id, fulfillment } = await lab.prepared({ expiresInMs: 30_000 })
    const pass = lab.network.hold(asks('fulfill'))
    watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(1000)
    jump(lab.clock, DAY)
    pass()
    await lab.clock.advance(60_000)
    expect([lab.bob.story, await lab.balances()]).toEqual([['incoming_prepare', 'dispute'], [0, 0]])
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
  })

  it.each([1000, DAY])('is fulfilled in time where the clock was put back by %i ms, and not any more when as much has passed as it had', async byMs => {
    const lab = await Lab.open()
    const [first, second] = [await lab.prepared({ expiresInMs: 30_000 }), await lab.prepared({ expiresInMs: 30_000 })]
    await lab.clock.advance(10_000)
    jump(lab.clock, -byMs)
    await lab.clock.advance(19_000)
    await lab.bob.plugin.fulfillCondition(first.id, first.fulfillment)
    await lab.clock.advance(1000)
    await expect(lab.bob.plugin.fulfillCondition(second.id, second.fulfillment)).rejects.toMatchObject({ name: 'AlreadyRolledBackError' })
    expect(await lab.balances()).toEqual([-10, 10])
  })
})

describe('a packet of LPI v2', () => {
  /** Bob's host never answers. */
  async function sent(amount: string) {
    const lab = new Lab(V2)
    lab.bob.onStart = plugin => { plugin.registerDataHandler(never) }
    await lab.bob.start()
    await lab.alice.start()
    const sending = watch(lab.alice.plugin.sendData(ilpPayment('waits', lab.clock.now() + 30_000, amount).prepare))
    await settle()
    return { lab, sending }
  }

  rows({
    'that was sent, until its expiry': async () => {
      const { lab, sending } = await sent('10')
      lab.network.freeze()
      return { clock: lab.clock, hasCome: isOver(sending), due: 30_000 }
    },
    'that moves nothing, until its expiry': async () => {
      const { lab, sending } = await sent('0')
      lab.network.freeze()
      return { clock: lab.clock, hasCome: isOver(sending), due: 30_000 }
    },
    'that was received, until its expiry': async () => {
      const { lab } = await sent('10')
      expect(lab.held(lab.bob).incoming).toBe(10)
      return { clock: lab.clock, hasCome: () => lab.held(lab.bob).incoming === 0, due: 30_000 }
    },
    'whose answer got lost, until the peer is asked again': async () => {
      const lab = new Lab(V2)
      lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
      await lab.bob.start()
      await lab.alice.start()
      lab.network.drop(({ from, request }) => from === 'bob' && request?.protocolData[0]?.protocolName === 'ilp', 1)
      lab.network.drop(({ packet }) => isQuestion(packet), 1)
      const sending = watch(lab.alice.plugin.sendData(ilpPayment('lost', lab.clock.now() + 2 * DAY).prepare))
      await settle()
      lab.network.cut()
      await lab.reconnect()
      expect([lab.network.count(({ packet }) => isQuestion(packet)), sending.state]).toEqual([1, 'pending'])
      // It is asked again a second after the answer to the first question was given up.
      return { clock: lab.clock, hasCome: () => sending.state === 'resolved', due: [5000, 6000] }
    }
  })

  rows({
    'that was fulfilled, until its sender may not object any more': async () => {
      const clock = new VirtualClock()
      let isClosed = false
      const session = { get lastHeard() { return clock.now() } } as unknown as Session
      const ledger = { close: () => { isClosed = true }, currentLimits: { maximum: Infinity, minimum: -Infinity } }
      const disputable = new Disputable({ clock, session: () => session, ledger } as unknown as Account)
      disputable.add('first', 1n, { session, number: 0, expiresAt: clock.now() + 30_000, position: 0n })
      // A minute after its expiry, and what it takes until that is noticed.
      return { clock, hasCome: () => isClosed, due: [90_000, 120_000] }
    }
  })

  it("whose Fulfill comes late may be objected to, also where the receiver's clock was put forward long before", async () => {
    const lab = new Lab({ alice: { services: {} }, bob: { services: {}, options: { heartbeatMs: 5000 } } })
    lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.bob.start()
    await lab.alice.start()
    const pass = lab.network.hold(answers('message'))
    const sending = watch(lab.alice.plugin.sendData(ilpPayment('objects', lab.clock.now() + 30_000).prepare))
    await lab.clock.advance(1000)
    jump(lab.clock, DAY)
    await lab.clock.advance(30_000)
    pass()
    await lab.clock.advance(60_000)
    expect([sending.state, await lab.balances(), lab.bob.seen('dispute').length]).toEqual(['rejected', [0, 0], 1])
  })

  it('whose Fulfill arrives when the clock was put past its expiry is refused, and counts nowhere', async () => {
    const lab = new Lab(V2)
    lab.bob.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
    await lab.bob.start()
    await lab.alice.start()
    const pass = lab.network.hold(answers('message'))
    const sending = watch(lab.alice.plugin.sendData(ilpPayment('late', lab.clock.now() + 30_000).prepare))
    await lab.clock.advance(1000)
    jump(lab.clock, DAY)
    pass()
    await lab.clock.advance(60_000)
    expect([sending.state, await lab.balances(), lab.bob.seen('dispute').length]).toEqual(['rejected', [0, 0], 1])
  })
})

/** Whether a packet asks what became of some packet. */
function isQuestion({ type, protocolData: [primary] }: Packet): boolean {
  if (type !== 'message' || primary?.protocolName !== 'paychan') return false
  const { ask } = Object(readJson(primary)) as { ask?: string[] }
  return ask !== undefined && ask.length > 0
}

describe('a store', () => {
  rows({
    'that hangs, until a call is told so': async () => {
      const lab = await Lab.open()
      lab.alice.store.holdCommits()
      const sending = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 600_000 }).transfer))
      await settle()
      return { clock: lab.clock, hasCome: () => sending.error?.outcome === 'unknown', due: 10_000 }
    },
    'that cannot be read, until a call is told so': async () => {
      const lab = await Lab.open()
      lab.alice.store.loseNextCommit('never')
      lab.alice.store.failGets(1000)
      const sending = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 600_000 }).transfer))
      await settle()
      return { clock: lab.clock, hasCome: () => sending.error?.outcome === 'unknown', due: [10_000, 11_000] }
    },
    'that could not be read, until it is read again': async () => {
      const lab = await Lab.open()
      lab.alice.store.loseNextCommit('now')
      lab.alice.store.failGets(1)
      const sending = watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 2 * DAY }).transfer))
      await settle()
      return { clock: lab.clock, hasCome: () => sending.state === 'resolved', due: 1000 }
    },
    'that failed at the end of a transfer, until it is written again': async () => {
      const lab = await Lab.open()
      await lab.prepared({ expiresInMs: 30_000 })
      lab.network.freeze()
      lab.alice.store.failNextCommit()
      return { clock: lab.clock, hasCome: () => lab.held(lab.alice).outgoing === 0, due: 31_500, jumpsAt: 31_000 }
    },
    'that hangs while disconnect() waits for it': async () => {
      const lab = await Lab.open()
      lab.alice.store.holdCommits()
      watch(lab.alice.plugin.sendTransfer(lab.payment({ expiresInMs: 600_000 }).transfer))
      await settle()
      const stopping = watch(lab.alice.plugin.disconnect())
      await settle()
      return { clock: lab.clock, hasCome: isOver(stopping), due: 5000 }
    }
  })
})

describe('a lease', () => {
  function make(clock: VirtualClock, store: MemoryStore, id: string) {
    const life = new Life()
    const lease: Lease = new Lease({
      store, storeTimeoutMs: 10_000, id, clock: life.clock(clock, 0), log: new MemoryLog(), state: () => ({}),
      onHeld: () => undefined, onLost: () => undefined, learn: () => undefined, refresh: async () => undefined
    })
    return { lease, life, store }
  }

  async function pair() {
    const clock = new VirtualClock()
    const store = new MemoryStore()
    const [first, second] = [make(clock, store, 'first'), make(clock, store, 'second')]
    await first.lease.join()
    void second.lease.join()
    await clock.advance(5000)
    expect([first.lease.isHeld, second.lease.isHeld]).toEqual([true, false])
    return { clock, first, second }
  }

  rows({
    'whose holder died, until whoever waits takes it': async () => {
      const { clock, first, second } = await pair()
      first.life.end()
      return { clock, hasCome: () => second.lease.isHeld, due: [750, 2500] }
    }
  })

  it.each(JUMPS)('stays with a holder that lives: the clock is put %s', async (_how, byMs) => {
    const { clock, first, second } = await pair()
    jump(clock, byMs)
    for (let passed = 0; passed < 10_000; passed += 100) {
      await clock.advance(100)
      expect([first.lease.isHeld, second.lease.isHeld]).toEqual([true, false])
    }
  })
})

describe('the tabs of a wallet', () => {
  async function open() {
    const lab = new Lab()
    const tabs = new Tabs(lab)
    await lab.bob.start()
    const [first, second] = [await tabs.open(), await tabs.open()]
    expect([first.role, second.role]).toEqual(['holder', 'standby'])
    return { lab, first, second }
  }

  rows({
    'of which the one that holds the connection hangs, until another one takes it': async () => {
      const { lab, first, second } = await open()
      first.hang()
      // Where a timer seems to come late, the holder is asked once more.
      return { clock: lab.clock, hasCome: () => second.role === 'holder', due: [750, 2000] }
    },
    'of which one waits for the answer of the one that holds the connection': async () => {
      const { lab, second } = await open()
      lab.network.drop(answers('message'))
      const asking = watch(second.plugin.getPeerBalance())
      await settle()
      return { clock: lab.clock, hasCome: isOver(asking), due: 5000 }
    }
  })
})

describe('books that are compared', () => {
  rows({
    'with a peer that says that its books are new, until that is a dispute': async () => {
      const lab = new Lab()
      await lab.alice.disk.commit({ puts: [[':tl:balance:of', '10']], guards: [] })
      const peer = new ScriptedPeer(lab, { announces: true })
      peer.script = ({ protocolData: [primary] }) => primary?.protocolName === 'paychan' ? [json('paychan', { reconcile: { ...report({}), isNew: true } })] : undefined
      await peer.listen()
      watch(lab.alice.make().connect())
      await settle()
      // At ten seconds its patience ends, and the next question comes some seconds later: after 1, 3, 7 and 15.
      return { clock: lab.clock, hasCome: () => lab.alice.seen('dispute').length === 1, due: 15_000 }
    }
  })
})

describe('a module', () => {
  rows({
    'that takes its time for a claim, until the Response goes without': async () => {
      const lab = await Lab.open({ alice: { module: aModule('alice', { createOutgoingClaim: never }) } })
      const { id, fulfillment } = await lab.prepared()
      const fulfilling = watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
      await settle()
      return { clock: lab.clock, hasCome: () => fulfilling.state === 'resolved', due: 500 }
    },
    'that takes longer than 500 ms, until that is logged': async () => {
      const lab = await Lab.open({ bob: { module: aModule('bob', { handleIncomingPrepare: never }) } })
      watch(lab.alice.plugin.sendTransfer(lab.payment().transfer))
      await settle()
      return { clock: lab.clock, hasCome: () => lab.bob.log.at('warn').some(line => line.includes('takes longer')), due: 501 }
    },
    'that is at work on a claim, until disconnect() waits no longer': async () => {
      const lab = await Lab.open({ alice: { module: aModule('alice', { createOutgoingClaim: never }) } })
      const { id, fulfillment } = await lab.prepared()
      watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
      await lab.clock.advance(1000)
      const stopping = watch(lab.alice.plugin.disconnect())
      await settle()
      return { clock: lab.clock, hasCome: isOver(stopping), due: [5000, 10_000] }
    },
    'of a peer that could not take a claim now, until it is sent again': async () => {
      let offered = 0
      const refuse = (): void => {
        if (offered++ === 0) throw new UnreachableError('the ledger is down')
      }
      const lab = await Lab.open({
        alice: { module: aModule('alice', { createOutgoingClaim: async (_ctx, balance) => ({ balance }) }) },
        bob: { module: aModule('bob', { handleIncomingClaim: refuse }) }
      })
      const { id, fulfillment } = await lab.prepared()
      await lab.bob.plugin.fulfillCondition(id, fulfillment)
      await lab.clock.advance(0)
      return { clock: lab.clock, hasCome: () => offered === 2, due: [1000, 1500] }
    }
  })
})
