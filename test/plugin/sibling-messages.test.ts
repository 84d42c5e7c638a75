import { describe, expect, it } from 'vitest'
import * as errors from '../../src/core/errors.js'
import { errorOfRecord, formatMessage, parseMessage, recordOfError } from '../../src/plugin/sibling-messages.js'

/** As it is read at the other end of a channel. */
function carried(error: unknown): Error {
  const text = formatMessage('a', { type: 'result', to: 'b', id: 1, epoch: 1, error: recordOfError(error) })
  const message = parseMessage(text)
  if (message?.type !== 'result' || message.error === undefined) throw new Error(`${text} is no error`)
  return errorOfRecord(message.error)
}

type Plain = new (message: string, options: errors.PaychanErrorOptions) => errors.PaychanError
const plain = Object.entries(errors).filter(([name]) => /Error$/.test(name) && !['PaychanError', 'RemoteError'].includes(name)) as Array<[string, Plain]>

describe('an error that goes to another tab', () => {
  it.each(plain)('is the same there: %s', (name, PlainError) => {
    expect(plain.length).toBeGreaterThan(10)
    for (const options of [{}, { outcome: 'unknown' as const }, { fromPeer: true }]) {
      const error = new PlainError('what was wrong', options)
      const there = carried(error)
      expect(there).toBeInstanceOf(PlainError)
      expect(Object.assign({}, there, { message: there.message })).toEqual(Object.assign({}, error, { message: error.message }))
      expect(there.name).toBe(name)
    }
  })

  it('keeps what the peer called it', () => {
    const there = carried(new errors.RemoteError('odd', { name: 'OddError', code: 'F99' }))
    expect(there).toBeInstanceOf(errors.RemoteError)
    expect(there).toMatchObject({ message: 'odd', remoteName: 'OddError', remoteCode: 'F99', code: 'F00', fromPeer: true })
  })

  it('that is none of ours is an Error of that name, and nothing of ours by its name alone', () => {
    expect(carried(new TypeError('no'))).toMatchObject({ name: 'TypeError', message: 'no' })
    expect(carried('thrown as text')).toMatchObject({ name: 'Error', message: 'thrown as text' })
    for (const name of ['PaychanError', 'constructor', '__proto__', 'errorFromPeer']) {
      expect(errorOfRecord({ name, message: 'no' })).not.toBeInstanceOf(errors.PaychanError)
    }
  })
})
