/**
 * Who this side is on its ledger: the info, and the names of the two accounts. Imports core and btp.
 *
 * They come from the module, else from the options, else from the peer; and the role, which names the accounts, from who listens.
 */
import { printable } from '../core/bytes.js'
import { InvalidFieldsError, UnreachableError } from '../core/errors.js'
import type { Session } from '../btp/session.js'
import type { LedgerInfo } from './lpi.js'
import type { ModuleRunner } from './module.js'
import type { Settings } from './options.js'
import type { AccountRole, KnownIdentity } from './sibling-messages.js'

export class Identity {
  readonly #settings: Settings
  readonly #module: ModuleRunner | undefined
  /** Whether one of the two listens, and the other dials. */
  readonly #isFixed: boolean
  #role: AccountRole | undefined
  #info: LedgerInfo | undefined
  /** It never changes, and is asked for each transfer. */
  #prefix: string | undefined
  /** Nothing is told before the first connect has succeeded (C43). */
  #isKnown = false
  /** What another instance knows that holds the connection. */
  #borrowed: KnownIdentity | undefined

  constructor(settings: Settings, module: ModuleRunner | undefined) {
    this.#settings = settings
    this.#module = module
    const { server, listener, prefix, info } = settings
    this.#isFixed = (listener === undefined) !== (server === undefined)
    if (this.#isFixed) this.#role = listener === undefined ? 'client' : 'server'
    const known = prefix ?? info?.prefix
    if (module === undefined && info !== undefined && known !== undefined) this.#info = { ...info, prefix: known }
  }

  /** Whether info and accounts can be told. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  /** Whether the peer must be asked for the info. */
  get needsPeer(): boolean {
    const { prefix, info } = this.#settings
    return this.#module === undefined && (info === undefined || (prefix ?? info.prefix) === undefined)
  }

  /** The first connect has come so far that info and accounts are known. */
  becomeKnown(): void {
    this.#isKnown = true
    this.#borrowed = undefined
  }

  /**
   * Takes over what another instance knows, until this one has connected itself.
   * @throws InvalidFieldsError when it has another prefix than is configured or was known
   */
  borrow(known: KnownIdentity): void {
    if (this.#module === undefined) this.learn(known.info)
    this.#role ??= known.role
    this.#borrowed = known
    this.#isKnown = true
  }

  /**
   * Decides the role where both sides dial and listen. Between peers of ours the greater ledger id is the client: the same on both sides,
   * as long as neither has lost its ledger. With another peer it is who dialled first.
   */
  meet({ dialled, peer: { ledgerId: peerId } }: Session, ledgerId: string): void {
    if (this.#isFixed || (peerId === undefined && this.#role !== undefined)) return
    const isClient = peerId === undefined ? dialled : ledgerId > peerId
    this.#role = isClient ? 'client' : 'server'
  }

  /**
   * Takes the peer's info: all of it, or where the options have an info only the prefix. Returns whether it is news.
   * @throws InvalidFieldsError when it has another prefix than is configured or was known
   */
  learn(info: LedgerInfo): boolean {
    const { prefix } = info
    const known = this.#info?.prefix ?? this.#settings.prefix
    if (known !== undefined && known !== prefix) {
      throw new InvalidFieldsError(`the peer's prefix is ${printable(prefix)}, and not ${known}: prefix never changes`)
    }
    const learnt = { ...(this.#settings.info ?? info), prefix }
    const news = JSON.stringify(this.#info) !== JSON.stringify(learnt)
    this.#info = learnt
    return news
  }

  /** What another instance may take over. @throws UnreachableError before the first connect */
  known(): KnownIdentity {
    return { ...(this.#role === undefined ? {} : { role: this.#role }), info: this.info(), account: this.account(), peerAccount: this.peerAccount() }
  }

  /** A copy, the caller's own. @throws UnreachableError before the first connect */
  info(): LedgerInfo {
    this.#mustBeKnown('getInfo')
    return structuredClone(this.current())
  }

  /** The info as it is now; not to be changed. */
  current(): LedgerInfo {
    const info = this.#borrowed?.info ?? this.#module?.getInfo() ?? this.#info
    if (info === undefined) throw new UnreachableError("the ledger's info is not known yet")
    return info
  }

  get prefix(): string {
    return this.#prefix ??= this.current().prefix
  }

  /** @throws UnreachableError before the first connect */
  account(): string {
    this.#mustBeKnown('getAccount')
    // While it is open which side is which, this side is what it does: it listens.
    return this.#borrowed?.account ?? this.#module?.getAccount() ?? `${this.prefix}${this.#role ?? 'server'}`
  }

  /** @throws UnreachableError before the first connect */
  peerAccount(): string {
    this.#mustBeKnown('getPeerAccount')
    return this.#borrowed?.peerAccount ?? this.#module?.getPeerAccount() ?? `${this.prefix}${this.#role === 'client' ? 'server' : 'client'}`
  }

  #mustBeKnown(method: string): void {
    if (!this.#isKnown) throw new UnreachableError(`${method} can be asked once connect() has succeeded`)
  }
}
