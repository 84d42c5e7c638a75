/** The courier by itself: one request until it is answered. */
import { describe, expect, it } from 'vitest'
import { InvalidFieldsError, NotAcceptedError, StoreError, UnreachableError, errorFromPeer } from '../../src/core/errors.js'
import type { ResponsePacket } from '../../src/btp/packets.js'
import type { RequestBody, Session } from '../../src/btp/session.js'
import { Courier } from '../../src/plugin/courier.js'
import type { DeliveryOptions } from '../../src/plugin/courier.js'
import { settle, watch } from '../support/lab.js'
import { VirtualClock } from '../support/virtual-clock.js'

const BODY: RequestBody = { type: 'message', protocolData: [] }
const RESPONSE: ResponsePacket = { type: 'response', requestId: 1, protocolData: [] }
const fromPeer = (name: string, code: string) => errorFromPeer({ name, code, message: 'no' })

/** A courier over sessions that the test answers for: `answers` one after the other, an Error rejects. */
function open(...answers: Array<Error | 'silence'>) {
  const clock = new VirtualClock()
  const began = clock.now()
  const times: number[] = []
  const makeSession = (): Session => ({
    closed: false,
    ask: (_body: RequestBody, answered: (response: ResponsePacket) => void, failed: (error: Error) => void) => {
      times.push((clock.now() - began) / 1000)
      const answer = answers.shift()
      if (answer === undefined) answered(RESPONSE)
      else if (answer !== 'silence') failed(answer)
    }
  }) as unknown as Session
  const state: { session: Session | undefined } = { session: makeSession() }
  const courier = new Courier({ clock, session: () => state.session })
  const deliver = (options: Partial<DeliveryOptions> = {}) => watch(courier.deliver(BODY, { wanted: () => true, ...options }))
  return {
    clock, times, courier, deliver,
    setSession: (isUp: boolean) => {
      state.session = isUp ? makeSession() : undefined
      if (isUp) courier.sessionUp()
    }
  }
}

describe('Courier', () => {
  it('resolves with the Response, and the number of attempts', async () => {
    const { clock, deliver } = open(new UnreachableError('no answer'))
    const delivered = deliver()
    await clock.advance(1000)
    expect(delivered.value).toEqual({ outcome: 'answered', response: RESPONSE, attempts: 2 })
  })

  it('C24: tries again on the same session after 1 s, doubled each time, at most 60 s', async () => {
    const { clock, times, deliver } = open(...Array<Error>(9).fill(new UnreachableError('no answer')))
    const delivered = deliver()
    await clock.advance(400_000)
    expect(times).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183, 243])
    expect(delivered.value).toMatchObject({ attempts: 10 })
  })

  it('waits while there is no session, and tries at once on the next', async () => {
    const { clock, times, deliver, setSession } = open(new UnreachableError('gone'))
    setSession(false)
    const delivered = deliver()
    await clock.advance(100_000)
    expect(times).toEqual([])
    setSession(true)
    await settle()
    setSession(true)
    await settle()
    expect(times).toEqual([100, 100])
    expect(delivered.value).toMatchObject({ outcome: 'answered' })
  })

  it("ends with the peer's final error, goes on after a temporary one; `final` decides otherwise", async () => {
    const refused = open(fromPeer('NotAcceptedError', 'F00'))
    const first = refused.deliver()
    await settle()
    expect(first.value).toMatchObject({ outcome: 'refused', attempts: 1 })
    const temporary = open(fromPeer('StoreError', 'T00'), fromPeer('Unheard', 'T99'), fromPeer('Unheard', 'F99'))
    const second = temporary.deliver()
    await temporary.clock.advance(10_000)
    expect(second.value).toMatchObject({ outcome: 'refused', attempts: 3 })
    const decided = open(fromPeer('StoreError', 'T00'))
    const third = decided.deliver({ final: () => true })
    await settle()
    expect(third.value).toMatchObject({ outcome: 'refused', error: expect.any(StoreError) as unknown, attempts: 1 })
  })

  it('what cannot be sent for its form is refused at once; what was thrown otherwise is tried again', async () => {
    const malformed = open(new InvalidFieldsError('too large'))
    const first = malformed.deliver()
    await settle()
    expect(first.value).toMatchObject({ outcome: 'refused', error: { name: 'InvalidFieldsError', fromPeer: false } })
    const strange = open(new Error('strange'))
    const second = strange.deliver()
    await strange.clock.advance(1000)
    expect(second.value).toMatchObject({ outcome: 'answered', attempts: 2 })
  })

  it('asks before each attempt whether it is still wanted', async () => {
    const { clock, times, deliver } = open(...Array<Error>(9).fill(new UnreachableError('no answer')))
    const asked: number[] = []
    const delivered = deliver({
      wanted: attempts => {
        asked.push(attempts)
        return attempts < 2
      }
    })
    await clock.advance(10_000)
    expect(times).toEqual([0, 1])
    expect(delivered.value).toEqual({ outcome: 'ended' })
    expect(asked[0]).toBe(0)
  })

  it('endsAt ends the waiting, between attempts and without a session; what has been sent is still awaited', async () => {
    const waiting = open(...Array<Error>(9).fill(new UnreachableError('no answer')))
    const first = waiting.deliver({ endsAt: waiting.clock.now() + 2500 })
    await waiting.clock.advance(2499)
    expect(first.state).toBe('pending')
    await waiting.clock.advance(1)
    expect([first.value, waiting.times]).toEqual([{ outcome: 'ended' }, [0, 1]])
    const offline = open()
    offline.setSession(false)
    const second = offline.deliver({ endsAt: offline.clock.now() + 2500 })
    await offline.clock.advance(2500)
    expect(second.value).toEqual({ outcome: 'ended' })
    const sent = open('silence')
    const third = sent.deliver({ endsAt: sent.clock.now() + 2500 })
    await sent.clock.advance(10_000)
    expect(third.state).toBe('pending')
  })

  it('stop ends every delivery, and leaves no timer; after start it delivers again', async () => {
    const { clock, courier, deliver, setSession } = open(new UnreachableError('no answer'))
    const pausing = deliver()
    await settle()
    setSession(false)
    const offline = deliver({ endsAt: clock.now() + 5000 })
    await settle()
    courier.stop()
    await settle()
    expect([pausing.value, offline.value, clock.pending]).toEqual([{ outcome: 'ended' }, { outcome: 'ended' }, 0])
    const refused = deliver()
    await settle()
    expect(refused.value).toEqual({ outcome: 'ended' })
    courier.start()
    setSession(true)
    const delivered = deliver()
    await settle()
    expect(delivered.value).toMatchObject({ outcome: 'answered' })
  })

  it('does not take an error of ours for the peer\'s word', async () => {
    const { clock, deliver } = open(new StoreError('ours'), new NotAcceptedError('ours'))
    const delivered = deliver({ final: () => true })
    await clock.advance(1000)
    expect(delivered.value).toMatchObject({ outcome: 'refused', error: { name: 'NotAcceptedError' }, attempts: 2 })
  })
})
