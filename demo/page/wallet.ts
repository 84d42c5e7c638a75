/**
 * The wallet behind the page: a plugin, and what the page shows of it as signals.
 */
import { computed, signal } from '@preact/signals'
import PaychanPlugin, { IndexedDBStore, errors } from 'ilp-plugin-paychan'
import type { LedgerPlugin, Persistence, Role } from 'ilp-plugin-paychan'
import { newTransferId } from '../shared/invoices.js'
import { formatAmount, CURRENCY, LIMIT } from '../shared/ledger.js'
import { Payments } from '../shared/payments.js'
import type { Status } from '../shared/requests.js'
import type { StreamSettings } from '../shared/stream.js'
import { callServer } from './account.js'
import type { WalletAccount } from './account.js'
import { PacketLog } from './packet-log.js'
import { Pages } from './pages.js'
import { Timeline } from './timeline.js'

/** The shortest time between two looks at the ledger, in milliseconds. */
const LOOK_MS = 120
/** How long until the peer is asked again that does not agree yet. */
const ASK_AGAIN_MS = 400
/** How long after the last change the two sides must agree. */
const CALM_MS = 1500

/** `standby`: another tab holds the connection. `lost`: it was there, and is dialled again. */
export type ConnectionState = 'connecting' | 'connected' | 'standby' | 'lost' | 'failed'

/** What the two balances say. `moving`: payments are under way, so that the two cannot be compared yet. */
export type Agreement = 'unknown' | 'moving' | 'agree' | 'differ'

export interface Flight {
  readonly id: string
  readonly isIncoming: boolean
  /** Base units. */
  readonly amount: string
  /** Milliseconds since 1970. */
  readonly preparedAt: number
  readonly expiresAt: number
}

/** What came of something that the user did. */
export interface Notice {
  readonly kind: 'pending' | 'done' | 'failed'
  readonly text: string
}

export class Wallet {
  readonly connection = signal<ConnectionState>('connecting')
  readonly role = signal<Role>('disconnected')
  /** Whether the peer can be asked and paid, by this tab or by the one that holds. */
  readonly canPay = computed(() => ['connected', 'standby'].includes(this.connection.value))
  /** Why the connection failed for good. */
  readonly failure = signal('')
  /** The wallet's ILP address; empty until it was connected once. */
  readonly address = signal('')
  /** How long the browser keeps the wallet. */
  readonly persistence = signal<Persistence>('unknown')
  /** Base units; `undefined` until it is known. */
  readonly balance = signal<string | undefined>(undefined)
  /** How far the balance may go down and up, in base units. */
  readonly limits = signal({ lowest: `-${LIMIT}`, highest: LIMIT })
  /** What the other side says. */
  readonly peer = signal<Status | undefined>(undefined)
  readonly flights = signal<readonly Flight[]>([])
  readonly stream = signal<StreamSettings | null>(null)
  readonly notice = signal<Notice | undefined>(undefined)
  /** Whether the peer is to end its stream, and has not said yet that it did. */
  readonly isEnding = signal(false)
  /** Whether the cable to the peer is cut, on purpose, by whichever tab. */
  readonly isCut = signal(false)
  readonly packets: PacketLog
  readonly pages: Pages
  readonly timeline = new Timeline()
  readonly agreement = computed(() => this.#compare())
  /** Whether there is a connector beside the peer, for payments by STREAM. */
  readonly hasConnector = signal(false)
  readonly account: WalletAccount
  readonly #store: IndexedDBStore
  readonly #plugin: LedgerPlugin
  readonly #payments: Payments
  readonly #isCalm = signal(true)
  #calming: ReturnType<typeof setTimeout> | undefined
  #isLooking = false
  #mustLook = false
  /** How often this tab has cut or mended the cable: what was asked before is old news. */
  #cuts = 0

  constructor(account: WalletAccount) {
    this.account = account
    this.#store = new IndexedDBStore({ name: `paychan-demo-${account.id}` })
    this.#plugin = new PaychanPlugin({
      server: `btp+${location.protocol === 'https:' ? 'wss' : 'ws'}://:${account.token}@${location.host}/btp/${account.id}`,
      store: this.#store,
      maxBalance: LIMIT,
      minBalance: `-${LIMIT}`,
      reconnectMaxMs: 2000
    })
    this.packets = new PacketLog(this.#plugin)
    this.pages = new Pages(this.#plugin)
    this.#payments = new Payments(this.#plugin, {
      secret: account.secret,
      paysOnRequest: false,
      onChange: () => { this.#changed() },
      onEnd: () => { this.#changed() },
      onTrouble: text => { this.#complain(text) }
    })
    this.#plugin.on('connect', () => { this.#connected() })
    this.#plugin.on('disconnect', () => {
      this.#showState('lost')
      void this.#askCut()
    })
    // A tab that stands by hears nothing of the cable until somebody looks at it.
    addEventListener('focus', () => { void this.#askCut() })
    this.#plugin.on('role', () => { this.#showState('connecting') })
    this.#plugin.on('error', error => { this.#failed(error) })
  }

  /** Connects, and stays connected from then on. What goes wrong is shown. */
  async start(): Promise<void> {
    void this.#askCut()
    try {
      // The wallet's own books can be read before there is a connection.
      await this.timeline.recall(this.#plugin, await this.#plugin.getBalance())
      this.#changed()
      await this.#plugin.connect({ timeout: Infinity })
      this.#connected()
      this.address.value = this.#plugin.getAccount()
      this.persistence.value = await this.#store.persistence()
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Pays the peer; `notice` tells how it goes. */
  pay(amount: string, holdMs: number): Promise<void> {
    return this.#transact('Paying', 'Paid', amount, id => this.#payments.pay(amount, holdMs, id))
  }

  /** Has the peer pay; `notice` tells how it goes. */
  bePaid(amount: string, holdMs: number): Promise<void> {
    return this.#transact('Receiving', 'Received', amount, id => this.#payments.bePaid(amount, holdMs, id))
  }

  /** Begins to pay the peer steadily, or ends it. */
  streamOut(settings: StreamSettings | null): void {
    if (settings === null) this.#payments.stream.stop()
    else this.#payments.stream.start(settings)
  }

  /** Has the peer pay steadily, or no longer; that also when it can only be told later. */
  async streamIn(settings: StreamSettings | null): Promise<void> {
    this.isEnding.value = settings === null
    try {
      if (settings !== null) {
        await this.#payments.beStreamed(settings.amount, settings.perSecond)
        // The same refusal again is news again.
        if (this.peer.value !== undefined) this.peer.value = { ...this.peer.value, refused: null }
      }
    } catch (error) {
      this.#complain(messageOf(error))
    }
    this.#changed()
  }

  /** Cuts the cable to the peer, or mends it. */
  async setCut(isCut: boolean): Promise<void> {
    this.#cuts++
    try {
      this.isCut.value = (await callServer(this.account, isCut ? 'cut' : 'mend')).isCut
    } catch (error) {
      this.#complain(messageOf(error))
    }
  }

  /** Another tab may have cut the cable, or mended it. */
  async #askCut(): Promise<void> {
    const asked = this.#cuts
    const answer = await callServer(this.account).catch(() => undefined)
    if (answer?.hasConnector === true) this.hasConnector.value = true
    if (answer !== undefined && asked === this.#cuts) this.isCut.value = answer.isCut
  }

  #complain(text: string): void {
    this.notice.value = { kind: 'failed', text: text.charAt(0).toUpperCase() + text.slice(1) }
  }

  async #transact(doing: string, done: string, amount: string, begin: (id: string) => Promise<void>): Promise<void> {
    const what = `${formatAmount(amount)} ${CURRENCY}`
    const id = newTransferId()
    this.notice.value = { kind: 'pending', text: `${doing} ${what} \u2026` }
    try {
      const end = this.#payments.outcome(id)
      await begin(id)
      const { failed } = await end
      this.notice.value = failed === undefined ? { kind: 'done', text: `${done} ${what}` } : { kind: 'failed', text: `Not ${done.toLowerCase()} ${what}: ${failed}` }
    } catch (error) {
      this.notice.value = { kind: 'failed', text: `Not ${done.toLowerCase()} ${what}: ${messageOf(error)}` }
    }
  }

  #connected(): void {
    this.#showState('connecting')
    void this.#askCut()
    this.#plugin.getLimit().then(lowest => { this.limits.value = { ...this.limits.value, lowest } }, () => undefined)
  }

  /** @param otherwise what it is while there is neither a connection nor another tab that holds */
  #showState(otherwise: 'connecting' | 'lost'): void {
    const { role } = this.#plugin
    // Without Web Locks and BroadcastChannel the newest tab takes the wallet from the others.
    const isTaken = role === 'disconnected' && this.role.value === 'holder' && this.connection.value !== 'failed'
    if (isTaken) this.#failed(new Error('Another tab has the wallet now. Reload this one to have it back.'))
    else if (role === 'standby') this.connection.value = 'standby'
    else this.connection.value = this.#plugin.isConnected() ? 'connected' : otherwise
    this.role.value = role
    this.#changed()
  }

  #failed(error: unknown): void {
    this.failure.value = messageOf(error)
    this.connection.value = 'failed'
  }

  /** Something may have changed: looks soon, and again after that when more changes meanwhile. */
  #changed(): void {
    this.#mustLook = true
    if (!this.#isLooking) void this.#look()
  }

  async #look(): Promise<void> {
    this.#isLooking = true
    let isSettled = false
    while (this.#mustLook || !isSettled) {
      const waitMs = this.#mustLook ? LOOK_MS : ASK_AGAIN_MS
      this.#mustLook = false
      isSettled = await this.#read().catch((error: unknown) => {
        if (!(error instanceof errors.UnreachableError)) console.warn('The ledger could not be read', error)
        return !this.canPay.value
      })
      await new Promise(resolve => { setTimeout(resolve, waitMs) })
    }
    this.#isLooking = false
  }

  /** Reads everything. Whether there is nothing to be looked at again before the next change. */
  async #read(): Promise<boolean> {
    this.flights.value = this.#plugin.inFlight().map(({ transfer: { id, amount, expiresAt }, isIncoming, preparedAt }) =>
      ({ id, isIncoming, amount, preparedAt, expiresAt: Date.parse(expiresAt) }))
    if (!this.pages.hasNewer.value) await this.pages.refresh()
    const { balance, stream } = await this.#payments.status()
    if (balance !== this.balance.value) this.#stir()
    this.stream.value = stream
    this.balance.value = balance
    this.timeline.add({ at: Date.now(), balance: Number(balance) })
    if (!this.canPay.value) return true
    if (this.isEnding.value) await this.#endStreamIn()
    const peer = await this.#payments.peerStatus()
    const before = this.peer.value
    const isNews = before !== undefined && before.refused !== peer.refused
    if (isNews && peer.refused !== null) this.#complain(`the stream has ended: ${peer.refused}`)
    this.peer.value = peer
    // The peer counts a payment of ours a moment after we do, and what it streams it begins by itself.
    return this.#compare() === 'agree'
  }

  /** @throws UnreachableError when the peer cannot be told yet */
  async #endStreamIn(): Promise<void> {
    try {
      await this.#payments.beStreamed('1', 0)
    } catch (error) {
      if (error instanceof errors.UnreachableError) throw error
      this.#complain(messageOf(error))
    }
    this.isEnding.value = false
  }

  #stir(): void {
    this.#isCalm.value = false
    clearTimeout(this.#calming)
    this.#calming = setTimeout(() => { this.#isCalm.value = true }, CALM_MS)
  }

  #compare(): Agreement {
    const [own, peer] = [this.balance.value, this.peer.value]
    if (own === undefined || peer === undefined) return 'unknown'
    const flows = this.stream.value !== null || peer.stream !== null
    if (BigInt(own) + BigInt(peer.balance) === 0n) return flows ? 'moving' : 'agree'
    return this.#isCalm.value && this.flights.value.length === 0 ? 'differ' : 'moving'
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
