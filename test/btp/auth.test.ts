import { describe, expect, it } from 'vitest'
import { announcement, authRequest, isProbe, probeRequest, readAnnouncement, readAuthRequest } from '../../src/btp/auth.js'
import { ContentType } from '../../src/btp/packets.js'
import type { MessagePacket, SubProtocol } from '../../src/btp/packets.js'
import { json, octets, text } from '../../src/btp/protocol-data.js'
import { InvalidFieldsError } from '../../src/core/errors.js'
import { authData, OUR_LEDGER } from '../support/peers.js'

const message = (...protocolData: SubProtocol[]): MessagePacket => ({ type: 'message', requestId: 1, protocolData })
const FOREIGN = { announced: false, ledgerId: undefined }

describe('the auth Message', () => {
  it('C10, C11: has an empty auth in octets first, then both credentials as text, then our announcement', () => {
    const { type, protocolData } = authRequest({ username: 'bob', token: 'secret' }, OUR_LEDGER)
    expect(type).toBe('message')
    expect(protocolData).toEqual([
      { protocolName: 'auth', contentType: ContentType.octetStream, data: new Uint8Array() },
      text('auth_username', 'bob'),
      text('auth_token', 'secret'),
      announcement(OUR_LEDGER)
    ])
  })

  it('C11: sends empty credentials too, since old peers refuse a message without them', () => {
    const names = authRequest({ username: '', token: '' }, OUR_LEDGER).protocolData.map(sub => sub.protocolName)
    expect(names).toEqual(['auth', 'auth_username', 'auth_token', 'paychan'])
  })

  it('reads what it writes', () => {
    const packet = { ...authRequest({ username: 'bób', token: 's€cret' }, OUR_LEDGER), requestId: 7 }
    expect(readAuthRequest(packet)).toEqual({
      credentials: { username: 'bób', token: 's€cret' },
      peer: { announced: true, ledgerId: OUR_LEDGER }
    })
  })

  it('C11: reads a missing auth_username as empty, takes an empty token, and ignores further secondaries', () => {
    const packet = message(octets('auth', Uint8Array.of(1)), text('auth_token', ''), text('color', 'blue'))
    expect(readAuthRequest(packet)).toEqual({ credentials: { username: '', token: '' }, peer: FOREIGN })
  })

  it.each<[string, MessagePacket]>([
    ['C10: auth is not primary', message(text('auth_token', 'x'), octets('auth', new Uint8Array()))],
    ['C10: there is no protocol data', message()],
    ['C11: auth_token is missing', message(octets('auth', new Uint8Array()), text('auth_username', 'bob'))],
    ['C5: a name is there twice', message(...authData('x'), text('auth_token', 'y'))],
    ['H39: the token is no UTF-8', message(octets('auth', new Uint8Array()), octets('auth_token', Uint8Array.of(0xff)))]
  ])('refuses it when %s', (_why, packet) => {
    expect(() => readAuthRequest(packet)).toThrow(InvalidFieldsError)
  })

  it('H32: an error about it shows no credentials', () => {
    const packet = message(...authData('hunter2', 'bob'), text('auth_token', 'hunter2'))
    expect(() => readAuthRequest(packet)).toThrow(expect.not.objectContaining({ message: expect.stringMatching(/hunter2|bob/) as string }))
  })
})

describe('the announcement', () => {
  it.each<[string, SubProtocol]>([
    ['no JSON', octets('paychan', Uint8Array.of(1, 2))],
    ['no object', json('paychan', [1])],
    ['no version', json('paychan', { ledger: OUR_LEDGER })],
    ['version 0', json('paychan', { v: 0, ledger: OUR_LEDGER })],
    ['no ledger', json('paychan', { v: 1 })],
    ['a ledger that is no id', json('paychan', { v: 1, ledger: 'AA'.repeat(16) })],
    ['a __proto__', { protocolName: 'paychan', contentType: 2, data: new TextEncoder().encode('{"v":1,"__proto__":{}}') }]
  ])('counts as none with %s', (_what, sub) => {
    expect(readAnnouncement([sub])).toEqual(FOREIGN)
  })

  it('is understood from a peer of a later version', () => {
    expect(readAnnouncement([json('paychan', { v: 2, ledger: OUR_LEDGER, more: [] })])).toEqual({ announced: true, ledgerId: OUR_LEDGER })
  })
})

describe('the probe', () => {
  it('is known from a peer of ours, and nothing else is taken for it', () => {
    const probe = probeRequest({ announced: true, ledgerId: OUR_LEDGER })
    expect(isProbe({ ...probe, requestId: 1 })).toBe(true)
    expect(isProbe(message(text('ilp', ''), json('paychan', { probe: true })))).toBe(false)
    expect(isProbe(message(json('paychan', { probe: 1 })))).toBe(false)
    expect(isProbe(message(octets('paychan', Uint8Array.of(255))))).toBe(false)
  })

  it('asks a foreign peer for its account, which it knows how to answer', () => {
    expect(probeRequest(FOREIGN).protocolData).toEqual([octets('info', Uint8Array.of(0))])
  })
})
