import { describe, expect, it } from 'vitest'
import { UnreachableError } from '../../src/core/errors.js'
import { connectionPair, PairAcceptor } from '../../src/transport/pair.js'
import { describeConnection, record } from '../contract/connection.js'

describeConnection('in memory', () => {
  const [near, far] = connectionPair()
  return Promise.resolve({ near, far })
})

describeConnection('in memory, through an acceptor', async () => {
  const acceptor = new PairAcceptor()
  const arrived: Parameters<Parameters<PairAcceptor['listen']>[0]>[0][] = []
  await acceptor.listen(connection => { arrived.push(connection) })
  const near = await acceptor.dial('memory://peer', new AbortController().signal)
  const [far] = arrived
  if (far === undefined) throw new Error('nothing arrived')
  return { near, far, dispose: () => acceptor.close() }
})

describe('a pair under a test\'s own schedule', () => {
  it('delivers in order though the schedule does not', () => {
    const deliveries: Array<() => void> = []
    const [near, far] = connectionPair({ defer: deliver => { deliveries.push(deliver) } })
    const atFar = record(far)
    for (let i = 0; i < 4; i++) near.send(Uint8Array.of(i))
    for (const deliver of deliveries.splice(0).reverse()) deliver()
    expect(atFar.frames).toEqual([0, 1, 2, 3].map(i => Uint8Array.of(i)))
  })

  it('loses what the schedule drops, without telling anybody', async () => {
    const [near, far] = connectionPair({ defer: () => undefined, canPing: false })
    const [atNear, atFar] = [record(near), record(far)]
    near.send(Uint8Array.of(1))
    near.close()
    await Promise.resolve()
    expect([atNear.closed, atFar.closed, atFar.frames]).toEqual([[], [], []])
    expect(near.ping).toBeUndefined()
    near.terminate()
    await Promise.resolve()
    expect([atNear.closed.length, atFar.closed.length]).toEqual([1, 0])
  })
})

describe('an acceptor in memory', () => {
  it('cannot be reached while it does not listen, nor once the caller has given up', async () => {
    const acceptor = new PairAcceptor()
    await expect(acceptor.dial('memory://peer', new AbortController().signal)).rejects.toThrow(UnreachableError)
    await acceptor.listen(() => undefined)
    expect(acceptor.port).toBe(0)
    await expect(acceptor.dial('memory://peer', AbortSignal.abort())).rejects.toThrow(UnreachableError)
    const near = await acceptor.dial('memory://peer', new AbortController().signal)
    const atNear = record(near)
    await acceptor.close()
    await atNear.until(({ closed }) => closed.length > 0)
    expect(acceptor.port).toBeUndefined()
  })
})
