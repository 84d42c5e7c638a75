/**
 * Which of the instances over one store holds the connection: they agree on it by the siblings port, as tabs do, or by a lease in the
 * store, as processes do. Imports nothing.
 *
 * Nothing here decides who may write: that is the epoch in the store. Two that believe to hold are found out by it.
 */

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
