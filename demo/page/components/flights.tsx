/**
 * What is in flight: transfers that are held, and how long they have left.
 */
import type { JSX } from 'preact'
import { now } from '../clock.js'
import type { Flight, Wallet } from '../wallet.js'
import { Amount } from './amount.js'
import { Icon } from './icons.js'

/** So many that the page does not jump when payments come and go. */
const MOST_SHOWN = 3

export function Flights({ wallet }: { wallet: Wallet }): JSX.Element {
  const flights = wallet.flights.value
  return (
    <section class="card flights" aria-labelledby="flights-title">
      <div class="title">
        <h2 id="flights-title">In flight</h2>
        <p class="count" id="in-flight">{flights.length}</p>
      </div>
      {flights.length === 0
        ? <p class="empty">Nothing is held. A payment that its receiver takes "after 5 seconds" stays here for a while.</p>
        : <ul class="rows">{flights.slice(0, MOST_SHOWN).map(flight => <Row key={flight.id} flight={flight} />)}</ul>}
      {flights.length > MOST_SHOWN && <p class="quiet">and {flights.length - MOST_SHOWN} more</p>}
    </section>
  )
}

function Row({ flight: { amount, isIncoming, preparedAt, expiresAt } }: { flight: Flight }): JSX.Element {
  const leftMs = Math.max(0, expiresAt - now.value)
  const wholeMs = Math.max(1, expiresAt - preparedAt)
  return (
    <li>
      <span class="what" data-direction={isIncoming ? 'in' : 'out'}><Icon name={isIncoming ? 'in' : 'out'} /> {isIncoming ? 'Incoming' : 'Outgoing'}</span>
      <Amount units={amount} />
      <span class="left">
        <progress max={wholeMs} value={Math.min(leftMs, wholeMs)} aria-label="Time left" />
        {leftMs === 0 ? 'its time is over' : `${(leftMs / 1000).toFixed(1)} s left`}
      </span>
    </li>
  )
}
