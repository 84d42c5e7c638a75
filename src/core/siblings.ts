/**
 * The siblings port: what the instances that share one store have between them, as the tabs of one wallet do. Processes, which have
 * nothing but the store itself, agree by a lease in it, and need no such port. Imports nothing.
 *
 * It only helps: which of them may write is decided by the store itself, in the guard of each commit. So an adapter may grant a
 * hold to two at once, or lose a message, and all that comes of it is that somebody has to ask again.
 */

/** What happens to a hold after it was asked for. Nothing, once it was let go. */
export interface HoldEvents {
  /** It is had from now on. Called later than the call that asked for it, and once at most. */
  onGranted(): void
  /** Another instance has taken it by force. */
  onLost(): void
}

export interface HoldOptions {
  /** Takes the hold from whoever has it, before all that wait. Default false: it is granted in turn. */
  steal?: boolean
}

/** Gives a hold up, or leaves the queue for it. Idempotent. */
export type LetGo = () => void

export interface Channel {
  /** Sends a text to all others that have opened a channel of this name, in the order of the calls. Never throws. */
  post(text: string): void
  /** Nothing arrives any more. Idempotent. */
  close(): void
}

export interface Siblings {
  /**
   * Asks for what only one instance can have at a time: by name, in turn. Whoever has it keeps it until it lets go, is stolen from, or
   * ends: with its tab, its worker or its process.
   */
  hold(name: string, events: HoldEvents, options?: HoldOptions): LetGo
  /** Opens a channel to all others that open it by this name. What they send arrives later than they send it, each one's in order. */
  open(name: string, onMessage: (text: string) => void): Channel
}
