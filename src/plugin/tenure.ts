/**
 * Which of the instances over one store holds the connection: they agree on it by the siblings port, as tabs do, or by a lease in the
 * store, as processes do. Imports core.
 *
 * Nothing here decides who may write: that is the epoch in the store. Two that believe to hold are found out by it.
 */
import type { Clock } from '../core/clock.js'
import type { Logger } from '../core/log.js'
import type { HolderState } from './sibling-messages.js'

export interface TenureOptions {
  /** Names this instance among the others: random. */
  readonly id: string
  readonly clock: Clock
  readonly log: Logger
  /** What the others are told of this one while it holds. */
  readonly state: () => HolderState
  /** The hold was had, after all or at once. */
  readonly onHeld: () => void
  /** Another one has it, or may have it by now. */
  readonly onLost: () => void
}

export interface Tenure {
  readonly isHeld: boolean
  /** Gets in line. Resolves when the hold is had (`isHeld`), or when it is clear that another one has it. @throws StoreError */
  join(): Promise<void>
  /** Gives the hold up and gets in line again, at the end, after a pause in milliseconds. */
  requeue(pauseMs: number): void
  /** Gives the hold up, or the place in line, and resolves when the others can know. Never rejects. */
  leave(): Promise<void> | void
  /** Tells all others that this one holds, and what it knows. */
  announce(): void
}
