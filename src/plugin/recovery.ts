/**
 * Fills books that were emptied from those of the peer, where the user has agreed to that: the sums, and what the peer holds from us, in
 * one commit. What the peer offers us comes again by itself. Imports core, btp and ledger.
 *
 * The peer's last claim goes through the module before, as any other does. Our own need not be asked for: the next is for all that was
 * fulfilled, which is no less than when the last one was made, since what the peer has fulfilled and has not counted yet is counted here.
 */
import { printable } from '../core/bytes.js'
import { InvalidFieldsError, UnreachableError, messageOf } from '../core/errors.js'
import { COUNTERPART, SUM_NAMES, readPage, recoverMessage } from '../btp/reconcile.js'
import type { HeldTransfer, Page, Report } from '../btp/reconcile.js'
import type { SubProtocol } from '../btp/packets.js'
import { find } from '../btp/protocol-data.js'
import type { Session } from '../btp/session.js'
import { MOST_REMEMBERED, transferOfPrepare } from './account.js'
import type { Account } from './account.js'
import { CLAIM, readClaim } from './incoming-claims.js'

/**
 * Takes the peer's word for the books of this account.
 * @throws InvalidFieldsError for what cannot be; UnreachableError when the peer cannot tell now; StoreError
 */
export async function recover(session: Session, account: Account): Promise<void> {
  const held = new Map<string, HeldTransfer>()
  let page: Page | undefined
  do {
    const { protocolData } = await session.request({ type: 'message', protocolData: [recoverMessage([...held.keys()].at(-1) ?? '')] })
    const next = readPage(protocolData)
    // What was fulfilled between two pages would count twice.
    if (page !== undefined && sumsOf(page.report) !== sumsOf(next.report)) throw new UnreachableError("the peer's books change")
    if (page === undefined) await takeClaim(protocolData, account)
    page = next
    for (const one of page.held) {
      if (held.has(one.id) || held.size === MOST_REMEMBERED) throw new InvalidFieldsError('held has too much, or the same twice')
      held.set(one.id, one)
    }
  } while (page.hasMore)
  const { report } = page
  const at = account.clock.now()
  await account.ledger.adopt(undefined, Object.fromEntries(SUM_NAMES.map(name => [name, report[COUNTERPART[name]]])), [...held.values()].map(one => ({
    transfer: transferOfPrepare(account, one.id, one, false),
    open: { v: 1, stage: one.isPacket === true ? 'sent' : 'offered', at },
    fulfillment: one.fulfillment
  })))
  account.log.warn(`the books are the peer's now, with ${held.size} transfers in flight`)
}

function sumsOf(report: Report): string {
  return SUM_NAMES.map(name => report[name]).join()
}

async function takeClaim(protocolData: readonly SubProtocol[], { module, log }: Account): Promise<void> {
  const sub = find(protocolData, CLAIM)
  if (sub === undefined || module === undefined) return
  try {
    const claim = readClaim(sub)
    if (claim !== null) await module.handleIncomingClaim(claim)
  } catch (error) {
    log.warn(`the peer's last claim was not taken: ${printable(messageOf(error))}`)
  }
}
