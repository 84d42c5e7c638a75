import { describe, expect, it } from 'vitest'
import { elect } from '../../src/btp/election.js'
import type { Verdict } from '../../src/btp/election.js'

const LOW = '1'.repeat(32)
const HIGH = 'f'.repeat(32)

describe('elect: which of two sessions stays', () => {
  const table: Array<[older: 'dialled' | 'accepted', newer: 'dialled' | 'accepted', ours: string, peer: string | undefined, Verdict]> = [
    // From the same side: whoever dials again has given the older one up.
    ['dialled', 'dialled', LOW, HIGH, 'newer'],
    ['dialled', 'dialled', HIGH, LOW, 'newer'],
    ['accepted', 'accepted', LOW, HIGH, 'newer'],
    ['accepted', 'accepted', HIGH, LOW, 'newer'],
    ['accepted', 'accepted', HIGH, undefined, 'newer'],
    ['dialled', 'dialled', HIGH, undefined, 'newer'],
    // One from each side: the greater ledger id's.
    ['dialled', 'accepted', HIGH, LOW, 'older if alive'],
    ['accepted', 'dialled', HIGH, LOW, 'newer'],
    ['dialled', 'accepted', LOW, HIGH, 'newer'],
    ['accepted', 'dialled', LOW, HIGH, 'older if alive'],
    // A foreign peer knows no such rule.
    ['dialled', 'accepted', HIGH, undefined, 'older if alive'],
    ['accepted', 'dialled', HIGH, undefined, 'older if alive']
  ]
  it.each(table)('an older %s and a newer %s one, we %s, the peer %s: %s', (older, newer, ours, peer, verdict) => {
    const contender = (side: string) => ({ dialled: side === 'dialled', peerLedgerId: peer })
    expect(elect(contender(older), contender(newer), ours)).toBe(verdict)
  })

  it('both sides name the same connection, whichever of the two each of them saw first', () => {
    for (const [a, b] of [[LOW, HIGH], [HIGH, LOW]] as const) {
      const chosen = (ours: string, theirs: string, ownFirst: boolean) => {
        const own = { dialled: true, peerLedgerId: theirs }
        const accepted = { dialled: false, peerLedgerId: theirs }
        const [older, newer] = ownFirst ? [own, accepted] : [accepted, own]
        const winner = elect(older, newer, ours) === 'newer' ? newer : older
        return winner.dialled ? ours : theirs
      }
      const verdicts = [true, false].flatMap(first => [chosen(a, b, first), chosen(b, a, first)])
      expect(new Set(verdicts)).toEqual(new Set([HIGH]))
    }
  })

  it('a peer that announced itself on only one of them is met as a foreign one', () => {
    expect(elect({ dialled: true, peerLedgerId: undefined }, { dialled: false, peerLedgerId: HIGH }, LOW)).toBe('older if alive')
  })
})
