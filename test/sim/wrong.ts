/**
 * Peers, disks and modules that are wrong on purpose: what the simulator must find in each run of its tests. They are wrong in what they are
 * given, or in what no small patch of the sources can be; deliberate bugs of the sources are in test/mutants.
 */
import { Session } from '../../src/btp/session.js'
import { Courier } from '../../src/plugin/courier.js'
import { DataIncoming } from '../../src/plugin/data-incoming.js'
import { Identity } from '../../src/plugin/identity.js'
import { Lifecycle } from '../../src/plugin/lifecycle.js'
import { Outgoing } from '../../src/plugin/outgoing.js'
import type { Mutant } from './world.js'

export interface Wrong {
  readonly name: string
  /** What is violated: one of these. */
  readonly rules: readonly string[]
  readonly mutant?: Mutant
  /** Patches the sources for as long as it takes. Returns how to undo that. */
  readonly patch?: () => () => void
}

function replace<T extends object, K extends keyof T>(prototype: T, method: K, make: (original: T[K]) => T[K]): () => void {
  const original = prototype[method]
  prototype[method] = make(original)
  return () => { prototype[method] = original }
}

export const WRONG: readonly Wrong[] = [
  { name: 'a disk that answers before it has written', rules: ['I7'], mutant: { acknowledgesEarly: true } },
  { name: 'a disk that loses one put of a commit', rules: ['I1', 'I2', 'I3', 'I7'], mutant: { losesPuts: true } },
  { name: 'a clock whose timers never fire', rules: ['I8'], mutant: { sleepsOn: true } },
  { name: 'a peer that takes twice what its host allows', rules: ['I5'], mutant: { exceedsLimits: true } },
  { name: 'a module that believes every claim', rules: ['I6'], mutant: { believesClaims: true } },
  { name: 'a sender that gives no grace', rules: ['I4'], mutant: { hurries: true } },
  { name: 'a store that does not keep out whom another process has robbed', rules: ['I3', 'I8'], mutant: { forgetsOwners: true } },
  { name: 'a side that fills its books from the peer, and asks nobody', rules: ['I1'], mutant: { recoversUnasked: true } },
  {
    name: 'a process that waits for ever to take over',
    rules: ['I8'],
    patch: () => replace(Lifecycle.prototype, 'succeed', original => function (this: Lifecycle): void {
      if (this.role !== 'standby') original.call(this)
    })
  },
  {
    name: 'two peers that each take themselves for the server',
    rules: ['I1'],
    patch: () => replace(Identity.prototype, 'meet', () => () => undefined)
  },
  {
    name: 'a sender that answers a Fulfill before it is stored',
    rules: ['I7'],
    patch: () => replace(Outgoing.prototype, 'handleFulfill', original => function (this: Outgoing, packet, reply, ...rest): void {
      original.call(this, packet, { answer: () => undefined, refuse: () => undefined }, ...rest)
      reply.answer([])
    })
  },
  {
    name: 'a receiver that keeps what came too late',
    rules: ['I7', 'I9'],
    patch: () => replace(DataIncoming.prototype, 'concede', () => () => Promise.resolve())
  },
  {
    name: 'a sender that takes a Fulfill for a Reject',
    rules: ['I1', 'I3', 'I4', 'I7'],
    patch: () => replace(Outgoing.prototype, 'handleFulfill', () => function (this: Outgoing, packet, reply): void {
      this.handleReject({ type: 'reject', requestId: packet.requestId, transferId: packet.transferId, protocolData: [] }).then(reply.answer, reply.refuse)
    })
  },
  {
    name: 'a sender that repeats a Prepare to a foreign peer',
    rules: ['I3'],
    patch: () => replace(Courier.prototype, 'deliverThen', original => function (this: Courier, body, delivery, ...rest): void {
      original.call(this, body, body.type === 'prepare' ? { ...delivery, wanted: () => delivery.wanted(0) } : delivery, ...rest)
    })
  },
  {
    name: 'a side that takes a foreign peer for one of ours',
    rules: ['I3', 'I8'],
    patch: () => {
      const peer = Object.getOwnPropertyDescriptor(Session.prototype, 'peer') as PropertyDescriptor
      Object.defineProperty(Session.prototype, 'peer', { ...peer, get(this: Session) { return { ...peer.get?.call(this) as Session['peer'], announced: true } } })
      return () => { Object.defineProperty(Session.prototype, 'peer', peer) }
    }
  }
]
