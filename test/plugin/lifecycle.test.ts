/** What meets in one plugin's life: calls and packets in the middle of its connecting and closing, under virtual time. */
import { describe, expect, it } from 'vitest'
import { NotAcceptedError } from '../../src/core/errors.js'
import type { AnyModule } from '../../src/plugin/module.js'
import { Lab, PREFIX, watch } from '../support/lab.js'
import type { Outcome } from '../support/lab.js'

/** Alice's module, which does nothing but what the test says. */
function aModule(more: Partial<AnyModule>): AnyModule {
  return {
    connect: () => undefined,
    disconnect: () => undefined,
    getAccount: () => `${PREFIX}client`,
    getPeerAccount: () => `${PREFIX}server`,
    getInfo: () => ({ prefix: PREFIX }),
    handleIncomingPrepare: () => undefined,
    createOutgoingClaim: () => undefined,
    handleIncomingClaim: () => undefined,
    ...more
  }
}

/** Another owner takes alice's store. */
async function takeAway({ alice: { disk } }: Lab, also: Array<[string, string]> = []): Promise<void> {
  const head = await disk.get('paychan:head') ?? '{}'
  const { epoch } = JSON.parse(head) as { epoch: number }
  await disk.commit({ puts: [['paychan:head', JSON.stringify({ v: 1, owner: 'another', epoch: epoch + 1, attempt: 1 })], ...also] })
}

describe('a Fulfill that comes while the module connects', () => {
  /** Alice sends, goes, and comes back with a module that takes its time to connect. */
  async function returning(tookMs: number, expiresInMs: number, fails: () => boolean = () => false) {
    let lives = 0
    const connect = async (): Promise<void> => {
      if (lives++ === 0) return
      await new Promise<void>(resolve => { lab.clock.setTimer(tookMs, resolve) })
      if (fails()) throw new NotAcceptedError('the ledger is down')
    }
    const lab = await Lab.open({ alice: { module: aModule({ connect }) } })
    const payment = await lab.prepared({ expiresInMs })
    await lab.alice.plugin.disconnect()
    const fulfilled = watch(lab.bob.plugin.fulfillCondition(payment.id, payment.fulfillment))
    return { lab, fulfilled }
  }

  it('I4: is judged by when it arrived', async () => {
    const { lab, fulfilled } = await returning(9000, 5000)
    const connected = watch(lab.alice.plugin.connect())
    await lab.clock.advance(20_000)
    expect([connected.state, fulfilled.state]).toEqual(['resolved', 'resolved'])
    expect([await lab.balances(), lab.alice.story]).toEqual([[-10, 10], ['outgoing_prepare', 'outgoing_fulfill']])
  })

  it('I4: is not decided by a module that fails to: it comes again, and counts', async () => {
    let isDown = true
    const { lab, fulfilled } = await returning(500, 60_000, () => isDown)
    const failed = watch(lab.alice.plugin.connect())
    await lab.clock.advance(2000)
    expect([failed.error?.message, fulfilled.state]).toEqual(['the ledger is down', 'pending'])
    isDown = false
    const connected = watch(lab.alice.plugin.connect())
    await lab.clock.advance(20_000)
    expect([connected.state, fulfilled.state]).toEqual(['resolved', 'resolved'])
    expect([await lab.balances(), lab.bob.story.at(-1)]).toEqual([[-10, 10], 'incoming_fulfill'])
  })
})

describe('connect() in the middle of closing', () => {
  it('a host that connects as soon as it hears that it was disconnected is connected in the end', async () => {
    // It holds the closing up for 5 s.
    const createOutgoingClaim = (): Promise<undefined> => new Promise(() => undefined)
    const lab = await Lab.open({ alice: { module: aModule({ createOutgoingClaim }) } })
    const { id, fulfillment } = await lab.prepared()
    watch(lab.bob.plugin.fulfillCondition(id, fulfillment))
    await lab.clock.advance(600)
    let again: Outcome<void> | undefined
    lab.alice.plugin.once('disconnect', () => { again = watch(lab.alice.plugin.connect()) })
    await takeAway(lab)
    await lab.alice.plugin.sendTransfer(lab.payment().transfer).catch(() => undefined)
    await lab.clock.advance(30_000)
    expect([again?.state, lab.alice.plugin.isConnected()]).toEqual(['resolved', true])
    await lab.prepared()
  })
})

describe('a module that throws when it is asked for its account', () => {
  it('while a lost event is raised again: the connect rejects', async () => {
    let asked = 0
    let isBroken = false
    const getAccount = (): string => {
      // Its first answer of each life is still good.
      if (isBroken && asked++ > 0) throw new NotAcceptedError('no account')
      return `${PREFIX}client`
    }
    const lab = await Lab.open({ alice: { module: aModule({ getAccount }) } })
    const { id } = await lab.prepared({ expiresInMs: 2000 })
    await lab.bob.plugin.disconnect()
    lab.alice.crashAtCommit('after', ({ puts = [] }) => puts.some(([key, text]) => key === `:tl:transfer:${id}` && text.includes('cancelled')))
    await lab.clock.advance(3000)
    expect(lab.alice.isAlive).toBe(false)
    await lab.bob.plugin.connect()
    isBroken = true
    const connecting = watch(lab.alice.make().connect())
    await lab.clock.advance(10_000)
    expect([connecting.state, connecting.error?.message]).toEqual(['rejected', 'no account'])
    isBroken = false
    await lab.alice.plugin.connect()
    expect(lab.alice.story).toEqual(['outgoing_prepare', 'outgoing_cancel'])
  })
})

describe('disconnect() while the store does not answer', () => {
  it.each(['a commit hangs', 'what became of a commit cannot be read back'])("%s: it ends, calls are told outcome 'unknown', the next connect goes by the store", async what => {
    const lab = await Lab.open()
    const { store, plugin } = lab.alice
    const release = store.holdCommits()
    const [{ transfer, id }, other] = [lab.payment({ expiresInMs: 60_000 }), lab.payment({ expiresInMs: 60_000 })]
    const sent = watch(plugin.sendTransfer(transfer))
    await lab.settle()
    const behind = watch(plugin.sendTransfer(other.transfer))
    await lab.settle()
    if (what !== 'a commit hangs') {
      store.loseNextCommit('now')
      store.failGets(1000)
      release()
    }
    const stopped = watch(plugin.disconnect())
    await lab.clock.advance(10_000)
    expect([stopped.state, sent.error?.outcome, behind.error?.name]).toEqual(['resolved', 'unknown', 'StoreError'])
    expect(behind.error?.outcome).toBeUndefined()
    store.failGets(0)
    release()
    await lab.clock.advance(2000)
    await plugin.connect()
    await lab.clock.advance(2000)
    expect([(await lab.alice.durable()).open, (await lab.bob.durable()).open]).toEqual([{ [id]: 'offered' }, { [id]: 'held' }])
  })
})

describe('disconnect() in the middle of connecting', () => {
  /** A side whose module connects when it is told to. */
  async function withSlowModule() {
    const calls: string[] = []
    const connects: Array<() => void> = []
    const module = aModule({
      connect: () => new Promise<void>(resolve => { connects.push(resolve) }),
      disconnect: () => { calls.push('disconnect') }
    })
    const lab = new Lab({ alice: { module } })
    await lab.bob.start()
    return { lab, calls, connects }
  }

  it('a module whose connect succeeds after it is disconnected too', async () => {
    const { lab, calls, connects } = await withSlowModule()
    const connecting = watch(lab.alice.make().connect())
    await lab.settle()
    await lab.alice.plugin.disconnect()
    expect([connecting.state, calls]).toEqual(['rejected', []])
    connects[0]?.()
    await lab.settle()
    expect(calls).toEqual(['disconnect'])
  })

  it('not so where the next connect has begun, which wants it', async () => {
    const { lab, calls, connects } = await withSlowModule()
    watch(lab.alice.make().connect())
    await lab.settle()
    await lab.alice.plugin.disconnect()
    const again = watch(lab.alice.plugin.connect())
    await lab.clock.advance(1000)
    for (const connect of connects) connect()
    await lab.settle()
    expect([again.state, calls]).toEqual(['resolved', []])
    await lab.alice.plugin.disconnect()
    expect(calls).toEqual(['disconnect'])
  })

  it('the store is not kept, so that the next connect reads what another owner has written since', async () => {
    const lab = new Lab()
    await lab.bob.disk.commit({ puts: [[':tl:balance:of', '7']], guards: [] })
    await lab.bob.start()
    const release = lab.alice.store.holdCommits()
    const connecting = watch(lab.alice.make().connect())
    await lab.settle()
    const stopped = watch(lab.alice.plugin.disconnect())
    await lab.clock.advance(100)
    release()
    await lab.settle()
    expect([connecting.state, stopped.state]).toEqual(['rejected', 'resolved'])
    await takeAway(lab, [[':tl:balance:if', '7']])
    await lab.alice.plugin.connect()
    expect(await lab.alice.plugin.getBalance()).toBe('7')
    await lab.prepared()
  })
})
