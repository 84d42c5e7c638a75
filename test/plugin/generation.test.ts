/** Which generation of BTP a foreign peer speaks: by the option, else by what it sends first, else as the host calls. */
import { describe, expect, it } from 'vitest'
import { NotAcceptedError } from '../../src/core/errors.js'
import { octets } from '../../src/btp/protocol-data.js'
import type { RequestBody } from '../../src/btp/session.js'
import type { PluginOptions } from '../../src/plugin/options.js'
import { fulfillOf, ilpPayment } from '../support/ilp.js'
import { Lab, settle, watch } from '../support/lab.js'
import { ScriptedPeer } from '../support/scripted-peer.js'

async function openBeside(btp?: NonNullable<PluginOptions['btp']>, announces = false): Promise<{ lab: Lab; peer: ScriptedPeer }> {
  const lab = new Lab({ alice: { services: {}, options: { packetHistory: true, ...(btp === undefined ? {} : { btp }) } } })
  const peer = new ScriptedPeer(lab, { announces })
  await peer.listen()
  lab.alice.onStart = plugin => { plugin.registerDataHandler(async packet => fulfillOf(packet)) }
  await lab.alice.start()
  return { lab, peer }
}

const message = (name: string, data: Uint8Array): RequestBody => ({ type: 'message', protocolData: [octets(name, data)] })

/** Which of the two generations alice sends to that peer: a transfer of LPI v1, a packet with an amount. */
async function speaks({ lab, peer }: { lab: Lab; peer: ScriptedPeer }): Promise<string[]> {
  const before = peer.received.length
  const known = (await lab.alice.plugin.history()).length
  const { prepare } = ilpPayment('generation', lab.clock.now() + 10_000)
  const calls = [watch(lab.alice.plugin.sendTransfer(lab.payment().transfer)), watch(lab.alice.plugin.sendData(prepare))]
  await settle()
  for (const { error } of calls) if (error !== undefined) expect(error.message).toMatch(/^the peer speaks BTP [12].0 only|is no Fulfill or Reject$/)
  const refused = calls.filter(({ error }) => error instanceof NotAcceptedError && /speaks BTP/.test(error.message)).length
  // What is refused for that is not stored.
  expect((await lab.alice.plugin.history()).length).toBe(known + 2 - refused)
  return peer.received.slice(before).map(({ type }) => (type === 'message' ? '2.0' : '1.0'))
}

describe('a foreign peer', () => {
  it('of which nothing is known is sent what the host calls', async () => {
    expect(await speaks(await openBeside())).toEqual(['1.0', '2.0'])
  })

  it('is sent one generation only by the option', async () => {
    expect(await speaks(await openBeside('1.0'))).toEqual(['1.0'])
    expect(await speaks(await openBeside('2.0'))).toEqual(['2.0'])
  })

  it.each([
    ['a Prepare of BTP 1.0', (lab: Lab) => ({ type: 'reject', transferId: lab.payment().id, protocolData: [] }), ['1.0']],
    ['a question of old ledgers', () => message('info', Uint8Array.of(2)), ['1.0']],
    ['an ILP packet of BTP 1.0', () => message('ilp', Uint8Array.of(4, 0)), ['1.0']],
    ['an ILPv4 packet', (lab: Lab) => message('ilp', ilpPayment('first', lab.clock.now() + 10_000, '0').prepare), ['2.0']],
    ['a settlement', () => ({ type: 'transfer', amount: '1', protocolData: [] }), ['2.0']],
    ['something that both have', () => message('hello', Uint8Array.of(1)), ['1.0', '2.0']]
  ] as Array<[string, (lab: Lab) => RequestBody, string[]]>)('that sends %s first', async (_what, first, expected) => {
    const beside = await openBeside()
    await beside.peer.ask(first(beside.lab))
    expect(await speaks(beside)).toEqual(expected)
  })

  it('that speaks BTP 1.0 is sent what moves no value all the same', async () => {
    const { lab, peer } = await openBeside('1.0')
    expect(await lab.alice.plugin.sendData(Buffer.from([1, 2]))).toEqual(Buffer.alloc(0))
    await expect(lab.alice.plugin.sendMoney('1')).rejects.toThrow(/speaks BTP 1.0 only/)
    expect(peer.received.map(({ type }) => type)).toEqual(['message'])
  })
})

describe('a peer of ours', () => {
  it('is sent both, whatever the option says', async () => {
    expect(await speaks(await openBeside('1.0', true))).toEqual(['1.0', '2.0'])
  })
})

describe('packets of the peer', () => {
  it('C54: go to the request handler of an old host, until it registers a data handler', async () => {
    const lab = new Lab({ bob: { services: {} } })
    await lab.bob.start()
    await lab.alice.start()
    const asked: unknown[] = []
    lab.alice.plugin.registerRequestHandler(async ({ ilp }) => {
      asked.push(ilp)
      return { ilp: 'AQ' }
    })
    expect(await lab.bob.plugin.sendData(Buffer.from([7]))).toEqual(Buffer.from([1]))
    lab.alice.plugin.registerDataHandler(async () => Buffer.from([2]))
    expect(await lab.bob.plugin.sendData(Buffer.from([8]))).toEqual(Buffer.from([2]))
    expect(asked).toEqual(['Bw'])
    lab.alice.plugin.deregisterDataHandler()
    expect(await lab.bob.plugin.sendData(Buffer.from([9]))).toEqual(Buffer.from([1]))
  })
})
