/**
 * The BTP packets as they pass.
 */
import type { JSX } from 'preact'
import { useSignal } from '@preact/signals'
import type { Role } from 'ilp-plugin-paychan'
import { timeOfDay } from '../clock.js'
import type { LoggedPacket, PacketLog } from '../packet-log.js'
import { PACKET_TYPES } from '../packet-words.js'
import type { Wallet } from '../wallet.js'
import { Icon } from './icons.js'

export function Packets({ wallet: { packets, role } }: { wallet: Wallet }): JSX.Element {
  const shown = packets.shown.value
  return (
    <section class="card packets" aria-labelledby="packets-title">
      <div class="title">
        <h2 id="packets-title">BTP packets</h2>
        <p class="quiet"><span class="number">{packets.count.value.toLocaleString('en')}</span> passed, {shown.length} shown</p>
        <button type="button" class="small" aria-pressed={packets.isPaused.value} onClick={() => { packets.pause(!packets.isPaused.value) }}>
          <Icon name={packets.isPaused.value ? 'play' : 'pause'} /> {packets.isPaused.value ? 'Resume' : 'Pause'}
        </button>
        <button type="button" class="small" onClick={() => { packets.clear() }}><Icon name="cross" /> Clear</button>
      </div>
      <Filters packets={packets} />
      {shown.length === 0
        ? <p class="empty">{whyEmpty(packets, role.value)}</p>
        : <ol class="log" aria-label="Packets, the newest first">{shown.map(packet => <Row key={packet.number} packet={packet} packets={packets} />)}</ol>}
    </section>
  )
}

function whyEmpty({ count }: PacketLog, role: Role): string {
  if (count.value > 0) return 'No packet passes these filters.'
  return role === 'standby' ? 'The packets pass in the tab that is connected.' : 'No packet has passed yet.'
}

function Filters({ packets }: { packets: PacketLog }): JSX.Element {
  return (
    <div class="filters">
      <fieldset class="chips">
        <legend class="visually-hidden">Types that are shown</legend>
        {PACKET_TYPES.map(type => (
          <label key={type}>
            <input type="checkbox" checked={!packets.hiddenTypes.value.has(type)} onChange={() => { packets.toggleType(type) }} />
            <span>{type}</span>
          </label>
        ))}
      </fieldset>
      <div class="field inline">
        <label for="packet-direction">Direction</label>
        <select id="packet-direction" value={packets.direction.value}
          onChange={event => { packets.direction.value = event.currentTarget.value as typeof packets.direction.value }}>
          <option value="both">both</option>
          <option value="out">sent</option>
          <option value="in">received</option>
        </select>
      </div>
      <div class="field inline">
        <label for="packet-text">Text</label>
        <input id="packet-text" type="search" autocomplete="off" placeholder="an id, a name, a value" value={packets.text.value}
          onInput={event => { packets.text.value = event.currentTarget.value }} />
      </div>
      <label class="check">
        <input type="checkbox" checked={packets.hidesStatus.value} onChange={event => { packets.hidesStatus.value = event.currentTarget.checked }} />
        <span>Leave out this page's own questions for the peer's balance</span>
      </label>
    </div>
  )
}

function Row({ packet, packets }: { packet: LoggedPacket; packets: PacketLog }): JSX.Element {
  const isOpen = useSignal(false)
  const { at, direction, type, summary, fields } = packet

  function toggle(open: boolean): void {
    isOpen.value = open
    // So that it does not run away while it is read.
    if (open) packets.pause(true)
  }

  return (
    <li data-type={type}>
      <details onToggle={event => { toggle(event.currentTarget.open) }}>
        <summary>
          <time dateTime={new Date(at).toISOString()}>{timeOf(at)}</time>
          <span class="what" data-direction={direction}><Icon name={direction} /> {direction === 'in' ? 'received' : 'sent'}</span>
          <span class="type">{type}</span>
          <span class="summary">{summary}</span>
        </summary>
        {isOpen.value && <dl class="fields">{fields.map(({ name, value }) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>}
      </details>
    </li>
  )
}

/** The time of day, to the millisecond. */
function timeOf(at: number): string {
  return `${timeOfDay(at)}.${String(at % 1000).padStart(3, '0')}`
}
