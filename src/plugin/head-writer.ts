/**
 * How the records of transfers begin, written by hand: each transfer has a record or several, and JSON.stringify took a twentieth of all its
 * time. What most transfers have needs no escapes once they are checked, and the accounts are the same in all of one direction. In Node alone,
 * since pages load every byte of code. Imports ledger.
 */
import { headOf } from '../ledger/records.js'
import type { Transfer } from './lpi.js'

/** Makes what does the same as `headOf`, for transfers that were checked. */
export function headWriter(): (transfer: Transfer, isIncoming: boolean) => string {
  const accounts: Array<Pick<Transfer, 'to' | 'from' | 'ledger'> & { json: string }> = []
  return (transfer, isIncoming) => {
    const { id, amount, executionCondition, expiresAt, to, from, ledger, ilp, custom, data, noteToSelf, direction } = transfer
    if (custom !== undefined || data !== undefined || noteToSelf !== undefined || direction !== undefined) return headOf(transfer, isIncoming)
    let known = accounts[Number(isIncoming)]
    if (known?.to !== to || known.from !== from || known.ledger !== ledger) {
      known = { to, from, ledger, json: JSON.stringify({ to, from, ledger }).slice(1, -1) }
      accounts[Number(isIncoming)] = known
    }
    const last = ilp === undefined ? '' : `,"ilp":"${ilp}"`
    // Joined, since it goes into several records: a text that was added up would be put together for each of them.
    return [
      '{"transfer":{"id":"', id, '","amount":"', amount, '","executionCondition":"', executionCondition, '","expiresAt":"', expiresAt, '",',
      known.json, last, '},"isIncoming":', String(isIncoming)
    ].join('')
  }
}
