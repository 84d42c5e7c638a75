/**
 * The BTP packets of this page's session as they pass, with filters, and a pause that holds what is shown while all goes on.
 */
import { computed, signal } from '@preact/signals'
import type { LedgerPlugin, ObservedPacket, Packet } from 'ilp-plugin-paychan'
import { fieldsOf, summarise } from './packet-words.js'
import type { Field, ReadIlp } from './packet-words.js'

/** How many packets are kept, and shown at most. */
const MOST_KEPT = 600
const MOST_SHOWN = 80
/** The shortest time between two updates of what is shown, in milliseconds. */
const UPDATE_MS = 200

/** What the page's own questions are about. */
const STATUS = ['status', 'balance', 'limit']

export interface LoggedPacket {
  /** Counted from 1. */
  readonly number: number
  /** Milliseconds since 1970. */
  readonly at: number
  readonly direction: ObservedPacket['direction']
  readonly type: Packet['type']
  readonly summary: string
  readonly fields: readonly Field[]
  /** One of the page's own questions for the peer's balance, or its answer. */
  readonly isStatus: boolean
  /** What the filter's text is looked for in, in lower case. */
  readonly text: string
}

export class PacketLog {
  readonly hiddenTypes = signal<ReadonlySet<Packet['type']>>(new Set())
  readonly direction = signal<'both' | 'in' | 'out'>('both')
  readonly text = signal('')
  readonly hidesStatus = signal(true)
  readonly isPaused = signal(false)
  /** How many packets have passed. */
  readonly count = signal(0)
  /** The newest first. */
  readonly shown = computed(() => this.#filter())
  readonly #kept = signal<readonly LoggedPacket[]>([])
  #all: LoggedPacket[] = []
  #number = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(plugin: LedgerPlugin) {
    this.watch(plugin)
  }

  /** Shows the packets of a further plugin, too, with the ILPv4 packets that `readIlp` finds in them. */
  watch(plugin: LedgerPlugin, readIlp?: ReadIlp): void {
    // Requests that wait for their answers: what was asked, by direction and id.
    const asked = new Map<string, LoggedPacket>()
    plugin.on('packet', observed => { this.#add(observed, asked, readIlp) })
    // What was asked on a lost connection is answered on none.
    plugin.on('disconnect', () => { asked.clear() })
  }

  toggleType(type: Packet['type']): void {
    const types = new Set(this.hiddenTypes.value)
    if (!types.delete(type)) types.add(type)
    this.hiddenTypes.value = types
  }

  /** Holds what is shown, or shows what has passed meanwhile. */
  pause(isPaused: boolean): void {
    this.isPaused.value = isPaused
    if (!isPaused) this.#update()
  }

  clear(): void {
    this.#all = []
    this.#update()
  }

  #add({ direction, packet }: ObservedPacket, asked: Map<string, LoggedPacket>, readIlp?: ReadIlp): void {
    const asker = direction === 'in' ? 'out' : 'in'
    const isAnswer = packet.type === 'response' || packet.type === 'error'
    const request = isAnswer ? asked.get(`${asker} ${packet.requestId}`) : undefined
    const fields = fieldsOf(packet, readIlp)
    const own = summarise(packet, readIlp)
    const summary = request === undefined ? own : `${own === '' ? '' : `${own}, `}to ${request.type}: ${request.summary}`
    const logged: LoggedPacket = {
      number: ++this.#number,
      at: Date.now(),
      direction,
      type: packet.type,
      summary,
      fields,
      isStatus: request?.isStatus ?? STATUS.includes(own),
      text: [packet.type, summary, ...fields.map(({ name, value }) => `${name} ${value}`)].join(' ').toLowerCase()
    }
    if (isAnswer) asked.delete(`${asker} ${packet.requestId}`)
    else asked.set(`${direction} ${packet.requestId}`, logged)
    this.#all.push(logged)
    if (this.#all.length > 2 * MOST_KEPT) this.#all.splice(0, MOST_KEPT)
    if (this.#timer === undefined) this.#timer = setTimeout(() => { this.#update() }, UPDATE_MS)
  }

  #update(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.count.value = this.#number
    if (!this.isPaused.value) this.#kept.value = this.#all.slice(-MOST_KEPT)
  }

  #filter(): LoggedPacket[] {
    const [types, direction, words] = [this.hiddenTypes.value, this.direction.value, this.text.value.trim().toLowerCase()]
    const found: LoggedPacket[] = []
    const kept = this.#kept.value
    for (let i = kept.length - 1; i >= 0 && found.length < MOST_SHOWN; i--) {
      const packet = kept[i]
      if (packet === undefined || types.has(packet.type) || (direction !== 'both' && packet.direction !== direction)) continue
      if (this.hidesStatus.value && packet.isStatus) continue
      if (words === '' || packet.text.includes(words)) found.push(packet)
    }
    return found
  }
}
