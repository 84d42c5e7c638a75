/**
 * The history of transfers, page by page.
 */
import type { JSX } from 'preact'
import type { HistoryEntry } from 'ilp-plugin-paychan'
import { dayOf, timeOfDay } from '../clock.js'
import type { Wallet } from '../wallet.js'
import { Amount } from './amount.js'
import { Icon } from './icons.js'

export function History({ wallet: { pages } }: { wallet: Wallet }): JSX.Element {
  const entries = pages.entries.value
  return (
    <section class="card history" aria-labelledby="history-title">
      <h2 id="history-title">History</h2>
      {entries.length === 0
        ? <p class="empty">No payment yet. The first one will stand here, and stay.</p>
        : (
            <table aria-labelledby="history-title">
              <thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col" class="number">Amount</th></tr></thead>
              <tbody>{entries.map(entry => <Row key={entry.cursor} entry={entry} />)}</tbody>
            </table>
          )}
      <div class="turner">
        <button type="button" class="small" disabled={!pages.hasNewer.value} onClick={() => { void pages.newer() }}>Newer</button>
        <p class="quiet">Page <span id="history-page">{pages.number.value}</span></p>
        <button type="button" class="small" disabled={!pages.hasOlder.value} onClick={() => { void pages.older() }}>Older</button>
      </div>
    </section>
  )
}

function Row({ entry: { transfer, isIncoming, state, preparedAt } }: { entry: HistoryEntry }): JSX.Element {
  const [day, time] = [dayOf(preparedAt), timeOfDay(preparedAt)]
  return (
    <tr data-state={state} data-transfer={transfer.id}>
      <td><time dateTime={new Date(preparedAt).toISOString()} title={`${day} ${time}`}>{day === dayOf(Date.now()) ? time : day}</time></td>
      <td><span class="what" data-direction={isIncoming ? 'in' : 'out'}><Icon name={isIncoming ? 'in' : 'out'} /> {wordFor(isIncoming, state)}</span></td>
      <td class="number"><Amount units={isIncoming ? transfer.amount : `-${transfer.amount}`} isSigned /></td>
    </tr>
  )
}

function wordFor(isIncoming: boolean, state: HistoryEntry['state']): string {
  switch (state) {
    case 'fulfilled': return isIncoming ? 'Received' : 'Paid'
    case 'prepared': return isIncoming ? 'Arriving' : 'On its way'
    case 'cancelled': return isIncoming ? 'Not received' : 'Not paid'
  }
}
