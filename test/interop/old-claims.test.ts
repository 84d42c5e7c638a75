/**
 * Payment channel modules on both sides, ours in our plugin and one of the old kind in the old package: claims and calls, both ways.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { makePaymentChannelPlugin } from '../../src/node.js'
import type { PaymentChannelModule } from '../../src/plugin/module.js'
import type { JsonValue } from '../../src/btp/protocol-data.js'
import type { Rpc } from '../../src/plugin/rpc.js'
import { INFO, PREFIX, SECRET, connectPair, next, payment } from '../support/old-pair.js'
import type { OldRole, Pair, PairOptions } from '../support/old-pair.js'
import { OldPlugin, forgetClosedSockets, oldErrorOf, oldMemoryStore } from '../support/old-plugin.js'
import type { OldContext } from '../support/old-plugin.js'

/** What the modules of both sides have done. */
interface Books {
  /** The sums that each was asked to secure. */
  asked: { ours: string[]; old: string[] }
  /** The claims that each was handed. */
  taken: { ours: unknown[]; old: unknown[] }
  rpc: { ours?: Rpc; old?: OldContext['rpc'] }
}

const claimFor = (by: string, sum: string): { by: string; sum: string } => ({ by, sum })

interface Behaviour {
  makeOurs?: (sum: string) => JsonValue | undefined
  makeOld?: (sum: string) => unknown
  takeOld?: (claim: unknown) => void
}

function modules(oldRole: OldRole, books: Books, behaviour: Behaviour): PairOptions {
  const [ourName, oldName] = oldRole === 'dials' ? ['server', 'client'] : ['client', 'server']
  const ourModule: PaymentChannelModule<object, object> = {
    pluginName: 'interop',
    getInfo: () => INFO,
    getAccount: () => `${PREFIX}${ourName}`,
    getPeerAccount: () => `${PREFIX}${oldName}`,
    connect: ctx => {
      books.rpc.ours = ctx.rpc
      ctx.rpc.addMethod('double', argument => Promise.resolve({ doubled: Number(argument) * 2 }))
    },
    disconnect: () => undefined,
    handleIncomingPrepare: (_ctx, { amount }) => { if (amount === '666') throw new RangeError('not that one') },
    createOutgoingClaim: (_ctx, sum) => {
      books.asked.ours.push(sum)
      return (behaviour.makeOurs ?? (due => claimFor('ours', due)))(sum)
    },
    handleIncomingClaim: (_ctx, claim) => { books.taken.ours.push(claim) }
  }
  return {
    ours: { incomingSecret: SECRET },
    old: { _store: oldMemoryStore(), maxBalance: '1000000', prefix: PREFIX },
    OurClass: makePaymentChannelPlugin(ourModule),
    OldClass: OldPlugin.makePaymentChannelPlugin({
      pluginName: 'interop',
      constructor: ctx => {
        books.rpc.old = ctx.rpc
        ctx.rpc.addMethod('triple', argument => Promise.resolve({ tripled: Number(argument) * 3 }))
      },
      getInfo: () => INFO,
      getAccount: () => `${PREFIX}${oldName}`,
      getPeerAccount: () => `${PREFIX}${ourName}`,
      getAuthToken: () => SECRET,
      connect: () => Promise.resolve(),
      disconnect: () => Promise.resolve(),
      handleIncomingPrepare: () => Promise.resolve(),
      createOutgoingClaim: (_ctx, sum) => {
        books.asked.old.push(sum)
        return Promise.resolve((behaviour.makeOld ?? (due => claimFor('old', due)))(sum))
      },
      handleIncomingClaim: (_ctx, claim) => {
        books.taken.old.push(claim)
        behaviour.takeOld?.(claim)
        return Promise.resolve()
      }
    })
  }
}

describe.each<OldRole>(['dials', 'listens'])('an old peer with a module that %s', oldRole => {
  let pair: Pair
  let books: Books

  const connect = async (behaviour: Behaviour = {}): Promise<void> => {
    books = { asked: { ours: [], old: [] }, taken: { ours: [], old: [] }, rpc: {} }
    pair = await connectPair(oldRole, modules(oldRole, books, behaviour))
    // With info of its own the old package dials at its first request only (H31).
    await pair.old.getPeerBalance()
  }

  /** Ours pays, the old host fulfills and its module has been handed the claim. */
  const pay = async (amount: string): Promise<void> => {
    const { ours, old } = pair
    const { transfer, fulfillment } = payment(ours.getPeerAccount(), amount)
    const prepared = next(old, 'incoming_prepare')
    await ours.sendTransfer(transfer)
    await prepared
    await old.fulfillCondition(transfer.id, fulfillment)
  }

  /** The old peer pays, our host fulfills and our module has been handed the claim. */
  const bePaid = async (amount: string): Promise<void> => {
    const { ours, old } = pair
    const { transfer, fulfillment } = payment(old.getPeerAccount(), amount)
    await old.sendTransfer(transfer)
    await ours.fulfillCondition(transfer.id, fulfillment)
  }

  afterEach(() => pair.end())

  it('C39: our claim rides on the Response to the old peer\'s Fulfill, for the sum of all', async () => {
    await connect()
    await pay('10')
    await pay('5')
    expect(books.taken.old).toEqual([claimFor('ours', '10'), claimFor('ours', '15')])
    expect(books.asked.ours).toEqual(['10', '15'])
  })

  it('C39: the old peer\'s claim reaches our module before fulfillCondition resolves', async () => {
    await connect()
    await bePaid('10')
    expect(books.taken.ours).toEqual([claimFor('old', '10')])
    await bePaid('5')
    expect(books.taken.ours).toEqual([claimFor('old', '10'), claimFor('old', '15')])
  })

  it('C39: a claim that is a text goes both ways', async () => {
    await connect({ makeOurs: sum => `ours ${sum}`, makeOld: sum => `old ${sum}` })
    await pay('1')
    await bePaid('2')
    expect(books.taken.old).toEqual(['ours 1'])
    expect(books.taken.ours).toEqual(['old 2'])
  })

  it('C39: no claim is no claim, both ways', async () => {
    await connect({ makeOurs: () => undefined, makeOld: () => undefined })
    await pay('1')
    await bePaid('2')
    expect(books.taken.old).toEqual([undefined])
    expect(books.taken.ours).toEqual([])
  })

  it('H15, H16: a claim that could not be made once goes with the next one, for the whole sum', async () => {
    let failures = 1
    await connect({ makeOurs: sum => {
      if (failures-- > 0) throw new RangeError('no signature today')
      return claimFor('ours', sum)
    } })
    await pay('10')
    await pay('5')
    expect(books.taken.old).toEqual([undefined, claimFor('ours', '15')])
  })

  // An old peer that dials never dials again, so there is no next Response.
  if (oldRole === 'listens') it('H16: a claim is lost with its Response, and the next Response has one for the whole sum', async () => {
    books = { asked: { ours: [], old: [] }, taken: { ours: [], old: [] }, rpc: {} }
    pair = await connectPair(oldRole, { ...modules(oldRole, books, {}), tapped: true })
    const { ours, old, tap } = pair
    const { transfer, fulfillment } = payment(ours.getPeerAccount(), '10')
    const prepared = next(old, 'incoming_prepare')
    await ours.sendTransfer(transfer)
    await prepared
    tap.decide = ({ request }) => {
      if (request?.type !== 'fulfill') return true
      tap.decide = () => true
      tap.cut()
      return false
    }
    const connected = next(ours, 'connect')
    // Ends when the old package gives up on the answer.
    old.fulfillCondition(transfer.id, fulfillment).catch(() => undefined)
    await connected
    forgetClosedSockets(old)
    await pay('5')
    expect(books.taken.old).toEqual([claimFor('ours', '15')])
    expect(await ours.getPeerBalance()).toBe('-15')
  })

  it('H16: many at once make claims that never decrease', async () => {
    await connect()
    await Promise.all([...Array.from({ length: 10 }, () => pay('1')), ...Array.from({ length: 10 }, () => bePaid('2'))])
    const sums = books.asked.ours.map(Number)
    expect(sums).toEqual([...sums].sort((a, b) => a - b))
    expect(sums.at(-1)).toBe(10)
    // Those from the old package overtake each other; the module sorts them by their sums. Ours do not go back.
    const taken = books.taken.old.map(claim => claim === undefined ? 0 : Number((claim as { sum: string }).sum))
    expect(Math.max(...taken)).toBe(10)
    expect(await pair.ours.getBalance()).toBe('10')
    expect(await pair.ours.getPeerBalance()).toBe('10')
  })

  it('what our module refuses, the old sender is told, and nothing is held', async () => {
    await connect()
    const { ours, old } = pair
    const refused = await oldErrorOf(old.sendTransfer(payment(old.getPeerAccount(), '666').transfer))
    expect(refused).toMatchObject({ code: 'F00', name: 'NotAcceptedError' })
    expect(JSON.parse(refused.data)).toEqual({ message: 'not that one' })
    expect(ours.inFlight()).toEqual([])
  })

  it('C38: modules call each other, both ways', async () => {
    await connect()
    expect(await books.rpc.ours?.call('triple', PREFIX, 14)).toEqual({ tripled: 42 })
    expect(await books.rpc.old?.call('double', PREFIX, 21)).toEqual({ doubled: 42 })
  })

  it('C38: a method that the other module lacks is an error, both ways', async () => {
    await connect()
    await expect(books.rpc.ours?.call('unheard_of')).rejects.toThrow(/unheard_of/)
    expect((await oldErrorOf(books.rpc.old?.call('unheard_of', PREFIX, {}) ?? Promise.resolve())).name).toBe('NotAcceptedError')
  })
})
