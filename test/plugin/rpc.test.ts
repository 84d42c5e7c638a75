/** ctx.rpc: calls between two modules over JSON side protocols. */
import { describe, expect, it } from 'vitest'
import { octets, text, json } from '../../src/btp/protocol-data.js'
import type { JsonValue } from '../../src/btp/protocol-data.js'
import type { SubProtocol } from '../../src/btp/packets.js'
import { fromUtf8, toUtf8 } from '../../src/core/bytes.js'
import { InvalidFieldsError, NotAcceptedError, UnreachableError } from '../../src/core/errors.js'
import { Rpc } from '../../src/plugin/rpc.js'

/** Two ends, each of which sends to the other; `wire` is what went over, as text. */
function pair() {
  const wire: string[] = []
  const note = (protocolData: readonly SubProtocol[]) => {
    wire.push(protocolData.map(sub => `${sub.protocolName}/${sub.contentType} ${fromUtf8(sub.data)}`).join(', '))
  }
  const there: Rpc = new Rpc(() => Promise.reject(new UnreachableError('not needed')))
  const here = new Rpc(async ({ protocolData }) => {
    note(protocolData)
    const answer = await there.handle(protocolData)
    note(answer)
    return { type: 'response', requestId: 1, protocolData: answer }
  })
  return { here, there, wire }
}

function answering(...protocolData: SubProtocol[]): Rpc {
  return new Rpc(async () => ({ type: 'response', requestId: 1, protocolData }))
}

describe('Rpc', () => {
  it('C38: a call reaches the method as its one argument, and the result returns under the same name', async () => {
    const { here, there, wire } = pair()
    const seen: unknown[][] = []
    there.addMethod('add', (...args: unknown[]) => { seen.push(args); return { sum: 5 } })
    expect(await here.call('add', 'test.prefix.', { a: 2, b: 3 })).toEqual({ sum: 5 })
    expect(seen).toEqual([[{ a: 2, b: 3 }]])
    expect(wire).toEqual(['add/2 {"a":2,"b":3}', 'add/2 {"sum":5}'])
  })

  it.each<JsonValue>([null, 0, '', 'text', false, [], [1, { a: null }], {}])('C38: carries %j both ways', async value => {
    const { here, there } = pair()
    there.addMethod('echo', argument => Promise.resolve(argument))
    expect(await here.call('echo', 'test.', value)).toEqual(value)
  })

  it('C38: a method that returns nothing gives {}, as does an answer without the name', async () => {
    const { here, there } = pair()
    there.addMethod('silent', () => undefined)
    expect(await here.call('silent', 'test.', 1)).toEqual({})
    expect(await answering(json('other', 1)).call('silent', 'test.', 1)).toEqual({})
  })

  it('C38: the answer of an old peer may be text', async () => {
    expect(await answering(text('name', 'a text')).call('name')).toBe('a text')
  })

  it('C38: a call without an argument passes null', async () => {
    const { here, there } = pair()
    there.addMethod('echo', argument => argument)
    expect(await here.call('echo')).toBeNull()
  })

  it('an unknown method is NotAcceptedError that names it, printable', async () => {
    const { there } = pair()
    await expect(there.handle([json('no\u001b[2Jmethod', 1)])).rejects.toThrow(NotAcceptedError)
    await expect(there.handle([json('no\u001b[2Jmethod', 1)])).rejects.toThrow('no\\u001b[2Jmethod')
  })

  it('C23: secondary sub-protocols are called where they name a method, and ignored otherwise', async () => {
    const { there } = pair()
    there.addMethod('a', argument => ['a', argument])
    there.addMethod('b', argument => ['b', argument])
    const answer = await there.handle([json('a', 1), json('unknown', 2), json('b', 3)])
    expect(answer).toEqual([json('a', ['a', 1]), json('b', ['b', 3])])
    await expect(there.handle([json('unknown', 2), json('a', 1)])).rejects.toThrow(NotAcceptedError)
  })

  it('no method runs when an argument of the packet is bad', async () => {
    const { there } = pair()
    const calls: JsonValue[] = []
    there.addMethod('a', argument => { calls.push(argument) ; return null })
    there.addMethod('b', argument => { calls.push(argument) ; return null })
    for (const bad of [octets('b', new Uint8Array([1])), { ...json('b', 1), data: toUtf8('{"a":') }]) {
      await expect(there.handle([json('a', 1), bad])).rejects.toThrow(InvalidFieldsError)
    }
    expect(calls).toEqual([])
  })

  it('what a method throws reaches the caller as it is, and a second method of the name replaces the first', async () => {
    const { here, there } = pair()
    const error = new NotAcceptedError('no channel yet')
    there.addMethod('open', () => { throw error })
    await expect(here.call('open')).rejects.toBe(error)
    there.addMethod('open', () => 'opened')
    expect(await here.call('open')).toBe('opened')
  })

  it('a result that is no JSON is InvalidFieldsError that names the method', async () => {
    const { there } = pair()
    const circle: { self?: unknown } = {}
    circle.self = circle
    there.addMethod('circle', () => circle as JsonValue)
    await expect(there.handle([json('circle', null)])).rejects.toThrow(/circle/)
  })

  it.each(['ilp', 'custom', 'auth', 'auth_token', 'info', 'balance', 'limit', 'claim', 'paychan', '', 'a b', 'ä', 'a\n', 'x'.repeat(129)])(
    'refuses the name %j', async name => {
      const { here, there } = pair()
      expect(() => { there.addMethod(name, () => null) }).toThrow(InvalidFieldsError)
      await expect(here.call(name)).rejects.toThrow(InvalidFieldsError)
    })

  it('H37: names such as __proto__ and constructor are unknown until they are added', async () => {
    const { here, there } = pair()
    for (const name of ['__proto__', 'constructor', 'toString']) {
      await expect(here.call(name)).rejects.toThrow(NotAcceptedError)
      there.addMethod(name, () => 'called')
      expect(await here.call(name)).toBe('called')
    }
    expect(({} as { called?: unknown }).called).toBeUndefined()
  })

  it('refuses a method that is no function', () => {
    expect(() => { pair().there.addMethod('a', 'b' as unknown as () => null) }).toThrow(InvalidFieldsError)
  })
})
