/**
 * The kill test is worth what its auditor finds: each kind of harm is done here to sound reports.
 */
import { describe, expect, it } from 'vitest'
import { audit } from './audit.js'
import type { Acknowledgement, Report } from './audit.js'

function sound(): { a: Report; b: Report; acknowledged: Map<string, Set<Acknowledgement>> } {
  const transfers = [
    { id: 'paid', amount: '5', isIncoming: true, state: 'fulfilled' },
    { id: 'refused', amount: '3', isIncoming: true, state: 'cancelled' },
    { id: 'spent', amount: '2', isIncoming: false, state: 'fulfilled' }
  ]
  return {
    a: { balance: '3', peerBalance: '3', inFlight: 0, transfers, claimed: '5' },
    b: {
      balance: '-3',
      peerBalance: '-3',
      inFlight: 0,
      transfers: [
        ...transfers.map(transfer => ({ ...transfer, isIncoming: !transfer.isIncoming })),
        { id: 'never arrived', amount: '9', isIncoming: false, state: 'cancelled' }
      ],
      claimed: '2'
    },
    acknowledged: new Map<string, Set<Acknowledgement>>([
      ['paid', new Set<Acknowledgement>(['prepared', 'fulfilled'])],
      ['refused', new Set<Acknowledgement>(['prepared', 'cancelled'])],
      ['spent', new Set<Acknowledgement>(['prepared'])]
    ])
  }
}

type Case = ReturnType<typeof sound>

function rowOf(report: Report, id: string): Report['transfers'][number] {
  const row = report.transfers.find(transfer => transfer.id === id)
  if (row === undefined) throw new RangeError(`no row ${id}`)
  return row
}

const HARM: Array<[string, (given: Case) => void]> = [
  ['a hold is left', ({ b }) => { b.inFlight = 1 }],
  ['the balances are not opposite', ({ b }) => {
    b.balance = '-2'
    b.peerBalance = '-2'
  }],
  ['a peer tells another balance', ({ a }) => { a.peerBalance = '2' }],
  ['a balance is not the sum of its transfers', ({ a, b }) => {
    Object.assign(a, { balance: '4', peerBalance: '4' })
    Object.assign(b, { balance: '-4', peerBalance: '-4' })
  }],
  ['a transfer is fulfilled on one side only', ({ b }) => { rowOf(b, 'paid').state = 'cancelled' }],
  ['a transfer is still prepared on both', ({ a, b }) => {
    rowOf(a, 'refused').state = 'prepared'
    rowOf(b, 'refused').state = 'prepared'
  }],
  ['an acknowledged transfer is lost on one side', ({ b }) => { b.transfers = b.transfers.filter(({ id }) => id !== 'refused') }],
  ['an acknowledged transfer is lost on both', ({ acknowledged }) => { acknowledged.set('lost', new Set(['prepared'])) }],
  ['what was told to be fulfilled is cancelled', ({ acknowledged }) => { acknowledged.set('refused', new Set(['fulfilled'])) }],
  ['both ends were told', ({ acknowledged }) => { acknowledged.set('paid', new Set(['fulfilled', 'cancelled'])) }],
  ['a receiver alone has it', ({ b }) => { rowOf(b, 'never arrived').isIncoming = true }],
  ['a claim is for less than is owed', ({ a }) => { a.claimed = '4' }],
  ['a claim is for more than is owed', ({ b }) => { b.claimed = '3' }],
  ['a transfer is there twice', ({ a }) => { a.transfers.push({ ...rowOf(a, 'refused') }) }],
  ['the amounts differ', ({ b }) => { rowOf(b, 'refused').amount = '4' }]
]

describe('the auditor', () => {
  it('finds nothing where nothing is wrong', () => {
    const { a, b, acknowledged } = sound()
    expect(audit(a, b, acknowledged)).toEqual([])
  })

  it.each(HARM)('finds that %s', (_name, harm) => {
    const given = sound()
    harm(given)
    expect(audit(given.a, given.b, given.acknowledged)).not.toEqual([])
  })
})
