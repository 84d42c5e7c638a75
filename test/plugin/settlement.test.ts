/** The claims between two peers: made once, kept, delivered in order, taken in order. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { json, octets, readJson, text } from '../../src/btp/protocol-data.js'
import type { JsonValue } from '../../src/btp/protocol-data.js'
import type { ResponsePacket, SubProtocol } from '../../src/btp/packets.js'
import { toUtf8 } from '../../src/core/bytes.js'
import { InvalidFieldsError, NotAcceptedError, StoreError, UnreachableError } from '../../src/core/errors.js'
import { CLAIM_LIMIT, Settlement } from '../../src/plugin/settlement.js'
import { MemoryLog } from '../support/memory-log.js'
import { VirtualClock, settle } from '../support/virtual-clock.js'

const ANSWER: ResponsePacket = { type: 'response', requestId: 1, protocolData: [] }

/** One side of an account: a settlement with everything around it in the hands of the test. */
class Side {
  readonly clock = new VirtualClock()
  readonly log = new MemoryLog()
  readonly stored = new Map<string, string>()
  /** What was ever fulfilled outgoing. */
  sum = 0
  /** The peer: ours, an old one, or away. */
  peer: 'ours' | 'old' | 'away' = 'ours'
  /** The sums that the module was called with. */
  readonly balances: string[] = []
  /** The claims that left in Messages. */
  readonly messages: JsonValue[] = []
  readonly handled: JsonValue[] = []

  create: (balance: string) => Promise<JsonValue | undefined> = async balance => ({ claim: balance })
  answer: () => Promise<ResponsePacket> = () => Promise.resolve(ANSWER)
  handle: (claim: JsonValue) => Promise<void> = () => Promise.resolve()
  write: (name: string, value: string) => Promise<void> = async (name, value) => { this.stored.set(name, value) }

  settlement = this.#start()

  #start(): Settlement {
    return new Settlement({
      clock: this.clock,
      random: { bytes: length => new Uint8Array(length) },
      log: this.log,
      module: {
        createOutgoingClaim: balance => { this.balances.push(balance); return this.create(balance) },
        handleIncomingClaim: claim => { this.handled.push(claim); return this.handle(claim) }
      },
      records: { read: async name => this.stored.get(name), write: (name, value) => this.write(name, value) },
      outgoingFulfilled: async () => String(this.sum),
      request: async ({ protocolData }) => {
        this.messages.push(...claimsIn(protocolData))
        if (this.peer === 'away') throw new UnreachableError('no session')
        return this.answer()
      },
      session: () => this.peer === 'away' ? undefined : { peer: { announced: this.peer === 'ours' } }
    })
  }

  async load(): Promise<this> {
    await this.settlement.load()
    return this
  }

  /** The process dies and starts again over the same store; nothing of the old one reaches the store any more. */
  async restart(): Promise<void> {
    this.settlement.stop()
    this.settlement = this.#start()
    await this.settlement.load()
  }

  /** An outgoing transfer is fulfilled: resolves with the claims on the Response. */
  async fulfill(amount: number): Promise<JsonValue[]> {
    this.sum += amount
    return claimsIn(await this.settlement.claimForResponse())
  }
}

const started = (): Promise<Side> => new Side().load()
const claimsIn = (protocolData: readonly SubProtocol[]): JsonValue[] => protocolData.map(sub => {
  expect([sub.protocolName, sub.contentType]).toEqual(['claim', 2])
  return readJson(sub)
})

describe('a claim for the Response to a Fulfill', () => {
  it('C39: is for everything that was ever fulfilled', async () => {
    const side = await started()
    expect(await side.fulfill(5)).toEqual([{ claim: '5' }])
    expect(await side.fulfill(7)).toEqual([{ claim: '12' }])
    expect(side.balances).toEqual(['5', '12'])
  })

  it('I7: is stored before it is sent', async () => {
    const side = await started()
    let stored: () => void = () => undefined
    side.write = () => new Promise(resolve => { stored = resolve })
    const response = side.fulfill(5)
    await settle()
    let sent = false
    void response.then(() => { sent = true })
    await settle()
    expect([side.balances, sent]).toEqual([['5'], false])
    stored()
    expect(await response).toEqual([{ claim: '5' }])
  })

  it('C39: does not hold the Response up for longer than 500 ms; a late claim goes to a peer of ours at once', async () => {
    const side = await started()
    side.create = balance => new Promise(resolve => { side.clock.setTimer(700, () => { resolve(balance) }) })
    const response = side.fulfill(5)
    await side.clock.advance(500)
    expect(await response).toEqual([])
    await side.clock.advance(200)
    expect(side.messages).toEqual(['5'])
  })

  it('C39: a late claim goes to an old peer on the next Response', async () => {
    const side = await started()
    side.peer = 'old'
    side.create = async balance => {
      if (balance !== '5') return undefined
      await new Promise<void>(resolve => { side.clock.setTimer(700, resolve) })
      return balance
    }
    const response = side.fulfill(5)
    await side.clock.advance(60_000)
    expect(await response).toEqual([])
    expect(await side.fulfill(1)).toEqual(['5'])
    expect(side.messages).toEqual([])
  })

  it('H16: one call at a time, those who wait share the next, and the balance grows', async () => {
    const side = await started()
    let running = 0
    side.create = async balance => {
      expect(++running).toBe(1)
      await settle()
      running--
      return balance
    }
    const first = [1, 1, 1].map(amount => side.fulfill(amount))
    await Promise.resolve()
    await Promise.resolve()
    const second = [1, 1].map(amount => side.fulfill(amount))
    expect(await Promise.all([...first, ...second])).toEqual([['3'], ['3'], ['3'], ['5'], ['5']])
    expect(side.balances).toEqual(['3', '5'])
  })

  it('nothing is made when nothing is owed, and nothing twice for the same sum', async () => {
    const side = await started()
    expect(await side.fulfill(0)).toEqual([])
    expect(side.balances).toEqual([])
    await side.fulfill(5)
    expect(await side.fulfill(0)).toEqual([{ claim: '5' }])
    expect(side.balances).toEqual(['5'])
  })

  it('H15: rides again on the Response to a repeated Fulfill', async () => {
    const side = await started()
    side.peer = 'old'
    expect(await side.fulfill(5)).toEqual([{ claim: '5' }])
    expect(claimsIn(await side.settlement.claimForResponse())).toEqual([{ claim: '5' }])
  })

  it.each([undefined, null])('a module that returns %s sends nothing new, and is not called for that sum again', async nothing => {
    const side = await started()
    side.peer = 'old'
    side.create = async balance => balance === '5' ? 'five' : nothing
    expect(await side.fulfill(5)).toEqual(['five'])
    expect(await side.fulfill(1)).toEqual(['five'])
    await side.restart()
    expect(await side.fulfill(0)).toEqual(['five'])
    expect(side.balances).toEqual(['5', '6'])
  })

  it('a module that fails is logged, and called again at the next fulfill', async () => {
    const side = await started()
    side.create = async balance => {
      if (balance === '5') throw new Error('network\u001bdown')
      return balance
    }
    expect(await side.fulfill(5)).toEqual([])
    expect(side.log.at('warn')[0]).toContain('network\\u001bdown')
    expect(await side.fulfill(1)).toEqual(['6'])
  })

  it('a module that fails is called again when a session comes up', async () => {
    const side = await started()
    side.create = () => Promise.reject(new Error('down'))
    await side.fulfill(5)
    side.create = async balance => balance
    side.settlement.onSessionUp()
    await side.clock.advance(1)
    expect(side.balances).toEqual(['5', '5'])
    expect(side.messages).toEqual(['5'])
  })

  it.each<[string, unknown]>([
    ['cannot be written as JSON', () => undefined],
    ['is larger than a frame has room for', 'x'.repeat(CLAIM_LIMIT)]
  ])('a claim that %s is logged and not sent', async (_what, claim) => {
    const side = await started()
    side.create = async () => claim as JsonValue
    expect(await side.fulfill(5)).toEqual([])
    expect(side.log.at('warn')).toHaveLength(1)
  })

  it('a claim that the store refuses is not sent, nor made anew: it is stored and sent later', async () => {
    const side = await started()
    const { write } = side
    side.write = () => Promise.reject(new StoreError('disk full'))
    expect(await side.fulfill(5)).toEqual([])
    side.write = write
    expect(await side.fulfill(0)).toEqual([{ claim: '5' }])
    expect(side.balances).toEqual(['5'])
  })
})

describe('delivery to a peer of ours', () => {
  it('H16: a claim that rode on a Response is confirmed by a Message after a quiet second, only the latest', async () => {
    const side = await started()
    await side.fulfill(1)
    await side.clock.advance(900)
    await side.fulfill(1)
    await side.clock.advance(999)
    expect(side.messages).toEqual([])
    await side.clock.advance(1)
    expect(side.messages).toEqual([{ claim: '2' }])
    await side.clock.advance(600_000)
    expect(side.messages).toHaveLength(1)
    expect(side.clock.pending).toBe(0)
  })

  it('what the peer has taken rides on no later Response, restarts included', async () => {
    const side = await started()
    await side.fulfill(5)
    await side.clock.advance(1000)
    expect(await side.fulfill(0)).toEqual([])
    await side.restart()
    side.settlement.onSessionUp()
    await side.clock.advance(600_000)
    expect(await side.fulfill(0)).toEqual([])
    expect(side.messages).toEqual([{ claim: '5' }])
    expect(await side.fulfill(1)).toEqual([{ claim: '6' }])
  })

  it('H16: sends the same claim again, later each time, until it is answered', async () => {
    const side = await started()
    const times: number[] = []
    const begin = side.clock.now()
    side.answer = () => {
      times.push(side.clock.now() - begin)
      return times.length < 9 ? Promise.reject(new UnreachableError('no answer')) : Promise.resolve(ANSWER)
    }
    await side.fulfill(5)
    await side.clock.advance(600_000)
    const gaps = times.map((time, i) => time - (times[i - 1] ?? 0))
    expect(gaps).toEqual([1000, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000])
    expect(new Set(side.messages.map(message => JSON.stringify(message)))).toEqual(new Set(['{"claim":"5"}']))
    expect(side.balances).toEqual(['5'])
    expect(side.clock.pending).toBe(0)
  })

  it('C24: an F error ends the attempts for a claim, until the next claim or session, and is logged once', async () => {
    const side = await started()
    side.answer = () => Promise.reject(new NotAcceptedError('bad signature'))
    await side.fulfill(5)
    await side.clock.advance(600_000)
    expect(side.messages).toEqual([{ claim: '5' }])
    expect(side.log.at('warn')).toHaveLength(1)
    await side.fulfill(1)
    await side.clock.advance(600_000)
    expect(side.messages).toEqual([{ claim: '5' }, { claim: '6' }])
    side.answer = () => Promise.resolve(ANSWER)
    side.settlement.onSessionUp()
    await side.clock.advance(600_000)
    expect(side.messages).toEqual([{ claim: '5' }, { claim: '6' }, { claim: '6' }])
  })

  it('a claim that came up while another was under way is sent after it', async () => {
    const side = await started()
    let answered: () => void = () => undefined
    side.answer = () => new Promise(resolve => { answered = () => { resolve(ANSWER) } })
    await side.fulfill(5)
    await side.clock.advance(1000)
    await side.fulfill(1)
    await side.clock.advance(5000)
    expect(side.messages).toEqual([{ claim: '5' }])
    answered()
    await side.clock.advance(1000)
    expect(side.messages).toEqual([{ claim: '5' }, { claim: '6' }])
  })

  it('H16: after a restart the stored claim is sent as it was, and none is made for the same sum', async () => {
    const side = await started()
    side.peer = 'away'
    await side.fulfill(5)
    await side.restart()
    side.peer = 'ours'
    side.settlement.onSessionUp()
    await side.clock.advance(1)
    expect(side.messages).toEqual([{ claim: '5' }])
    expect(side.balances).toEqual(['5'])
  })

  it('after a crash between fulfill and claim, the missing claim is made at the next session', async () => {
    const side = await started()
    await side.fulfill(5)
    side.sum += 3
    await side.restart()
    expect(side.balances).toEqual(['5'])
    side.settlement.onSessionUp()
    await side.clock.advance(1)
    expect(side.messages).toEqual([{ claim: '8' }])
  })

  it('sends nothing while there is no session, and keeps no timer running', async () => {
    const side = await started()
    side.peer = 'away'
    await side.fulfill(5)
    await side.clock.advance(600_000)
    expect(side.messages).toEqual([])
    expect(side.clock.pending).toBe(0)
  })

  it('an old peer gets no Message, and the claim on every Response', async () => {
    const side = await started()
    side.peer = 'old'
    side.settlement.onSessionUp()
    expect(await side.fulfill(5)).toEqual([{ claim: '5' }])
    await side.clock.advance(600_000)
    expect(await side.fulfill(0)).toEqual([{ claim: '5' }])
    expect(side.messages).toEqual([])
  })

  it('a store that does not take the confirmation harms nothing', async () => {
    const side = await started()
    await side.fulfill(5)
    side.write = () => Promise.reject(new StoreError('disk full'))
    await side.clock.advance(600_000)
    expect(side.messages).toHaveLength(1)
    expect(side.log.at('warn')).toEqual([])
  })

  it('stop ends everything that was planned, and load begins anew', async () => {
    const side = await started()
    await side.fulfill(5)
    side.settlement.stop()
    expect(side.clock.pending).toBe(0)
    side.settlement.onSessionUp()
    await side.clock.advance(10_000)
    expect(side.messages).toEqual([])
    await side.settlement.load()
    side.settlement.onSessionUp()
    await side.clock.advance(1)
    expect(side.messages).toEqual([{ claim: '5' }])
  })

  it('stop lets a Response go that waits for a slow module, and idle waits for the module', async () => {
    const side = await started()
    let made: (claim: string) => void = () => undefined
    side.create = () => new Promise(resolve => { made = resolve })
    const first = side.fulfill(5)
    await settle()
    const second = side.fulfill(1)
    await settle()
    side.settlement.stop()
    expect(await second).toEqual([])
    let idle = false
    void side.settlement.idle().then(() => { idle = true })
    await settle()
    expect(idle).toBe(false)
    made('five')
    await settle()
    expect(idle).toBe(true)
    expect(await first).toEqual(['five'])
    expect(side.clock.pending).toBe(0)
  })

  it('a module that hangs does not keep idle waiting for ever', async () => {
    const side = await started()
    side.create = () => new Promise(() => undefined)
    void side.fulfill(5)
    await settle()
    side.settlement.stop()
    let idle = false
    void side.settlement.idle().then(() => { idle = true })
    await side.clock.advance(4999)
    expect(idle).toBe(false)
    await side.clock.advance(1)
    expect(idle).toBe(true)
  })

  it('a module that keeps failing is reported once, and again after it has worked', async () => {
    const side = await started()
    const fail = () => Promise.reject(new Error('down'))
    for (const create of [fail, fail, async (balance: string) => balance, fail, fail]) {
      side.create = create
      await side.fulfill(1)
    }
    expect(side.log.at('warn')).toHaveLength(2)
  })

  it('a stored confirmation that does not parse only costs one more Message', async () => {
    const side = await started()
    await side.fulfill(5)
    await side.clock.advance(1000)
    side.stored.set('claim:taken', '5')
    await side.restart()
    side.settlement.onSessionUp()
    await side.clock.advance(600_000)
    expect(side.messages).toEqual([{ claim: '5' }, { claim: '5' }])
  })

  it.each(['{', 'null', '[]', '{"v":2,"sum":"5"}', '{"v":1,"sum":5}', '{"v":1,"sum":"-5"}', '{"v":1,"sum":"5","claim":{"sum":"5"}}'])(
    'a stored record %s is an error, not a new beginning', async record => {
      const side = new Side()
      side.stored.set('claim:outgoing', record)
      await expect(side.load()).rejects.toThrow(StoreError)
    })
})

describe('H16: whatever is lost', () => {
  const event = fc.oneof(
    fc.record({ type: fc.constant('fulfill' as const), amount: fc.integer({ min: 1, max: 9 }), takes: fc.integer({ min: 0, max: 1500 }) }),
    fc.record({ type: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 3000 }) }),
    fc.constantFrom({ type: 'drop' as const }, { type: 'restart' as const }, { type: 'lose' as const })
  )

  it('claims leave in ascending order, each for one sum only, and in the end the peer has the one for all that is owed', async () => {
    await fc.assert(fc.asyncProperty(fc.array(event, { maxLength: 30 }), async events => {
      const side = await started()
      const left: number[] = []
      let lost = 0
      let takes = 0
      side.create = balance => new Promise(resolve => { side.clock.setTimer(takes, () => { resolve({ claim: balance }) }) })
      side.answer = async () => {
        left.push(sumOf(side.messages.at(-1)))
        if (lost-- > 0) throw new UnreachableError('lost')
        return ANSWER
      }
      for (const step of events) {
        if (step.type === 'fulfill') {
          takes = step.takes
          void side.fulfill(step.amount).then(claims => { left.push(...claims.map(sumOf)) })
          await settle()
        } else if (step.type === 'wait') {
          await side.clock.advance(step.ms)
        } else if (step.type === 'lose') {
          lost = 1
        } else if (step.type === 'drop') {
          side.peer = 'away'
          await side.clock.advance(50)
          side.peer = 'ours'
          side.settlement.onSessionUp()
        } else {
          // What the module is doing may still land in the store, so it ends first: the store has one owner.
          side.settlement.stop()
          await side.clock.advance(3000)
          await side.restart()
          side.settlement.onSessionUp()
        }
      }
      await side.clock.advance(10_000)
      expect(left).toEqual([...left].sort((a, b) => a - b))
      expect(new Set(side.balances).size).toBe(side.balances.length)
      if (side.sum > 0) expect(sumOf(side.messages.at(-1))).toBe(side.sum)
      expect(side.clock.pending).toBe(0)
    }), { numRuns: 200 })
  })
})

function sumOf(claim: JsonValue | undefined): number {
  return Number((claim as { claim: string }).claim)
}

describe('claims of the peer', () => {
  it('reach the module one at a time, in order of arrival', async () => {
    const side = await started()
    const order: string[] = []
    side.handle = async claim => {
      order.push(`begin ${JSON.stringify(claim)}`)
      await settle()
      order.push(`end ${JSON.stringify(claim)}`)
    }
    await Promise.all(['a', 'b'].map(claim => side.settlement.receive(json('claim', claim))))
    expect(order).toEqual(['begin "a"', 'end "a"', 'begin "b"', 'end "b"'])
  })

  it('a claim that the module refuses rejects, and holds nothing up', async () => {
    const side = await started()
    const refused = new NotAcceptedError('bad signature')
    side.handle = claim => claim === 'bad' ? Promise.reject(refused) : Promise.resolve()
    const bad = side.settlement.receive(json('claim', 'bad'))
    const good = side.settlement.receive(json('claim', 'good'))
    await expect(bad).rejects.toBe(refused)
    await good
    expect(side.handled).toEqual(['bad', 'good'])
  })

  it('null never reaches the module, nor does what is malformed', async () => {
    const side = await started()
    await side.settlement.receive(json('claim', null))
    await expect(side.settlement.receive({ ...json('claim', 1), data: toUtf8('undefined') })).rejects.toThrow(InvalidFieldsError)
    await expect(side.settlement.receive(octets('claim', new Uint8Array([1, 2])))).rejects.toThrow(InvalidFieldsError)
    await expect(side.settlement.receive({ ...json('claim', 1), data: toUtf8('{"__proto__":1}') })).rejects.toThrow(InvalidFieldsError)
    await side.settlement.receiveOnResponse([])
    await side.settlement.receiveOnResponse([octets('ilp', new Uint8Array())])
    expect(side.handled).toEqual([])
  })

  it('a text claim, as the old package sends a string, is taken', async () => {
    const side = await started()
    await side.settlement.receive(text('claim', 'abc'))
    expect(side.handled).toEqual(['abc'])
  })

  it('a module that hangs makes the peer wait and try again, and costs bounded memory', async () => {
    const side = await started()
    side.handle = () => new Promise(() => undefined)
    const outcomes = Array.from({ length: 1001 }, (_, i) => side.settlement.receive(json('claim', i)))
    await expect(outcomes[1000]).rejects.toThrow(UnreachableError)
    expect(side.handled).toEqual([0])
  })

  it('C39: on a Response, the call ends when the module has handled it, or after 500 ms', async () => {
    const side = await started()
    await side.settlement.receiveOnResponse([json('claim', 'fast')])
    expect(side.handled).toEqual(['fast'])
    expect(side.clock.pending).toBe(0)
    side.handle = () => new Promise(() => undefined)
    let done = false
    void side.settlement.receiveOnResponse([json('claim', 'slow')]).then(() => { done = true })
    await side.clock.advance(499)
    expect(done).toBe(false)
    await side.clock.advance(1)
    expect(done).toBe(true)
  })

  it('on a Response, a claim that is refused is logged and rejects nothing', async () => {
    const side = await started()
    side.handle = () => Promise.reject(new NotAcceptedError('bad\u0007signature'))
    await side.settlement.receiveOnResponse([json('claim', 1)])
    await side.clock.advance(600_000)
    expect(side.log.at('warn')).toEqual(['warn a claim of the peer was not taken: bad\\u0007signature'])
    expect(side.handled).toHaveLength(1)
  })

  it('H19: a claim of an old peer that the module cannot take yet is handed to it again, later each time', async () => {
    const side = await started()
    side.peer = 'old'
    let attempts = 0
    side.handle = () => ++attempts < 4 ? Promise.reject(new UnreachableError('not visible yet')) : Promise.resolve()
    await side.settlement.receiveOnResponse([json('claim', { txid: 'a' })])
    await side.clock.advance(1000 + 2000 + 4000)
    expect(attempts).toBe(4)
    await side.clock.advance(600_000)
    expect(attempts).toBe(4)
    expect(side.clock.pending).toBe(0)
  })

  it('a peer of ours sends such a claim again by itself', async () => {
    const side = await started()
    side.handle = () => Promise.reject(new UnreachableError('not visible yet'))
    await side.settlement.receiveOnResponse([json('claim', { txid: 'a' })])
    expect(side.clock.pending).toBe(0)
  })

  it('after stop none is taken, and none is waited for', async () => {
    const side = await started()
    side.peer = 'old'
    side.handle = () => Promise.reject(new UnreachableError('not visible yet'))
    await side.settlement.receiveOnResponse([json('claim', { txid: 'a' })])
    side.settlement.stop()
    expect(side.clock.pending).toBe(0)
    await expect(side.settlement.receive(json('claim', 1))).rejects.toThrow(UnreachableError)
  })
})
