/**
 * Fills books that were emptied from those of the peer, where the user has agreed to that: the sums, and what the peer holds from us, in
 * one commit. What the peer has offered us it offers again, since it hears that these books are new. Imports core, btp and ledger.
 *
 * The peer's word counts as far as the limits go, and what it says to have settled as far as it is proven: its last claim goes through the
 * module before, as any other does. Our own need not be asked for: the next is for all that was
 * fulfilled, which is no less than when the last one was made, since what the peer has fulfilled and has not counted yet is counted here.
 */
import { parseSum } from '../core/amounts.js'
import type { Amount, Limit } from '../core/amounts.js'
import { printableMessage } from '../core/bytes.js'
import { EmptiedStoreError, InvalidFieldsError, UnreachableError, isTemporary } from '../core/errors.js'
import { COUNTERPART, SUM_NAMES, readPage, recoverMessage } from '../btp/reconcile.js'
import type { HeldTransfer, Page, Report, SumName } from '../btp/reconcile.js'
import type { SubProtocol } from '../btp/packets.js'
import { find } from '../btp/protocol-data.js'
import type { Session } from '../btp/session.js'
import type { Limits } from '../ledger/draft.js'
import { MOST_REMEMBERED, transferOfPrepare } from './account.js'
import type { Account } from './account.js'
import { CLAIM, readClaim } from './incoming-claims.js'

/** What a balance may be that a peer can be told of (C36). */
const MOST_BALANCE = 2n ** 63n - 1n

/**
 * Takes the peer's word for the books of this account. `isTrusting`: also for what it has settled, where there is no module. `onFilled` is
 * called when they are stored: also where that takes longer than the store is waited for.
 * @throws EmptiedStoreError for more than is proven, or than the limits allow; InvalidFieldsError for what cannot be; UnreachableError when
 *   the peer cannot tell now, or the books are not blank any more; StoreError
 */
export async function recover(session: Session, account: Account, isTrusting: boolean, onFilled: () => void): Promise<void> {
  const held = new Map<string, HeldTransfer>()
  let page: Page | undefined
  let proven: Limit = 0n
  do {
    const { protocolData } = await session.request({ type: 'message', protocolData: [recoverMessage([...held.keys()].at(-1) ?? '')] })
    const next = readPage(protocolData)
    // What was fulfilled between two pages would count twice.
    if (page !== undefined && sumsOf(page.report) !== sumsOf(next.report)) throw new UnreachableError("the peer's books change")
    if (page === undefined) proven = await provenBy(protocolData, account, isTrusting, next.report.settledOut > 0n)
    page = next
    for (const one of page.held) {
      if (held.has(one.id) || held.size === MOST_REMEMBERED) throw new InvalidFieldsError('held has too much, or the same twice')
      held.set(one.id, one)
    }
  } while (page.hasMore)
  const { report } = page
  const sums = Object.fromEntries(SUM_NAMES.map(name => [name, report[COUNTERPART[name]]])) as Record<SumName, Amount>
  checkWord(sums, [...held.values()], proven, await account.ledger.limits())
  const at = account.clock.now()
  await account.ledger.adopt(current => {
    if (account.session() !== session) throw new UnreachableError('the session is gone on which the peer told its books')
    if (SUM_NAMES.some(name => current[name] !== 0n)) throw new UnreachableError('the books are not blank any more')
  }, sums, [...held.values()].map(one => ({
    transfer: transferOfPrepare(account, one.id, one, false),
    open: { v: 1, stage: one.isPacket === true ? 'sent' : 'offered', at },
    fulfillment: one.fulfillment
  })), group => { group.onDurable(onFilled) })
  account.log.warn("the books are the peer's now")
}

function sumsOf(report: Report): string {
  return SUM_NAMES.map(name => report[name]).join()
}

/** @throws EmptiedStoreError */
function checkWord(sums: Readonly<Record<SumName, Amount>>, held: readonly HeldTransfer[], proven: Limit, { maximum, minimum }: Limits): void {
  const refuse = (what: string): void => { throw new EmptiedStoreError(`the peer's books are not taken: ${what}; give the store back that was used before`) }
  const balance = sums.incomingFulfilled - sums.outgoingFulfilled
  if (balance > MOST_BALANCE || -balance > MOST_BALANCE) refuse('the balance must be a signed 64-bit integer')
  if (sums.settledIn > proven) refuse(`of ${sums.settledIn} settled ${proven} are proven`)
  const { settledIn, settledOut } = sums
  const offered = held.reduce((sum, { amount }) => sum + BigInt(amount), 0n)
  // What was paid may exceed them, since it is paid; but not on the peer's word.
  const highest = balance - settledIn
  if (highest > maximum) refuse(`${highest} is over maxBalance`)
  const lowest = balance + settledOut - offered - (proven === Infinity ? settledIn : 0n)
  if (lowest < minimum) refuse(`${lowest} is below minBalance`)
}

/**
 * What the peer can have settled at most. `matters`: whether it says to have settled anything.
 * @throws what the module throws for now, where that matters
 */
async function provenBy(protocolData: readonly SubProtocol[], { module, log }: Account, isTrusting: boolean, matters: boolean): Promise<Limit> {
  const sub = find(protocolData, CLAIM)
  if (module === undefined) return isTrusting ? Infinity : 0n
  if (sub === undefined) return 0n
  try {
    const claim = readClaim(sub)
    const secured = claim === null ? undefined : await module.handleIncomingClaim(claim)
    return typeof secured === 'string' ? parseSum(secured, 'what the claim secures') : 0n
  } catch (error) {
    if (matters && isTemporary(error)) throw error
    log.warn(`a claim of the peer was not taken: ${printableMessage(error)}`)
    return 0n
  }
}
