/** A host of LPI v2: sends packets and answers them, settles at times; and tells the auditor what it is told. */
import * as IlpPacket from 'ilp-packet'
import type { LedgerPlugin } from '../../src/plugin/plugin.js'
import type { Payment } from './auditor.js'
import { lifetime, newPayment } from './host-v1.js'
import type { Life } from './life.js'
import type { Host } from './peer.js'
import type { Shared } from './side.js'
import type { SideName } from './world.js'

interface Failure {
  readonly outcome?: string
  readonly message?: string
}

export class HostV2 implements Host {
  readonly #side: SideName
  readonly #shared: Shared
  /** Whether it settles itself. */
  readonly #settles: boolean

  constructor(side: SideName, shared: Shared, settles: boolean) {
    this.#side = side
    this.#shared = shared
    this.#settles = settles
  }

  meet(plugin: LedgerPlugin, life: Life): void {
    const { auditor } = this.#shared
    plugin.registerDataHandler(packet => this.#answer(packet, life))
    plugin.registerMoneyHandler(async amount => {
      if (!life.survives('before the money handler')) return
      auditor.settled[this.#side].heard += Number(amount)
      auditor.toldOfMoney(this.#side)
    })
    plugin.on('dispute', dispute => {
      if (!life.survives('before dispute')) return
      if (dispute.id === undefined) auditor.toldOfDifference(this.#side, dispute)
      else auditor.told(this.#side, dispute.executionCondition, 'disputed', 'dispute')
    })
  }

  connected(): void {
    // There is nothing to look up: whoever waited for an answer is gone with its life.
  }

  /** The host above answers: now, later, or never. */
  async #answer(packet: Buffer, life: Life): Promise<Buffer> {
    const { world, auditor } = this.#shared
    const { chance, upTo, pick } = world.choice
    const { executionCondition } = IlpPacket.deserializeIlpPrepare(packet)
    const condition = executionCondition.toString('base64url')
    if (!life.survives('before the data handler')) return new Promise(() => undefined)
    auditor.told(this.#side, condition, 'prepared', 'data handler')
    auditor.handed(this.#side, condition)
    auditor.toldOnce(this.#side, condition, 'the packet')
    const what = world.isFaulty ? pick(['fulfill', 'fulfill', 'fulfill', 'data', 'reject', 'nothing'] as const) : 'fulfill'
    if (world.isFaulty && chance(0.4)) await world.pause(upTo(2500))
    if (what === 'nothing') return new Promise(() => undefined)
    auditor.letGo(this.#side, condition)
    if (what === 'reject') return IlpPacket.serializeIlpReject({ code: 'F02', triggeredBy: 'test.receiver', message: '', data: Buffer.alloc(0) })
    const fulfillment = Buffer.from(auditor.payments.get(condition)?.fulfillment ?? '', 'base64url')
    return IlpPacket.serializeIlpFulfill({ fulfillment, data: Buffer.alloc(what === 'data' ? upTo(2000) : 0) })
  }

  send(plugin: LedgerPlugin, life: Life): void {
    const { choice } = this.#shared.world
    if (this.#settles && choice.chance(0.15)) this.#settle(plugin, life, 1 + choice.upTo(40))
    else this.pay(plugin, life, 1 + choice.upTo(59), lifetime(this.#shared.world))
  }

  pay(plugin: LedgerPlugin, life: Life, amount: number, expiresInMs: number): Payment {
    const { world, auditor } = this.#shared
    const payment = newPayment(this.#shared, this.#side, amount, expiresInMs)
    const { condition, number } = payment
    const prepare = IlpPacket.serializeIlpPrepare({
      amount: String(amount),
      executionCondition: Buffer.from(condition, 'base64url'),
      expiresAt: new Date(payment.expiresAt),
      destination: 'test.receiver',
      data: Buffer.alloc(0)
    })
    world.note(this.#side, () => `host sends payment ${number} of ${amount}`)
    plugin.sendData(prepare).then(answer => {
      if (!life.isAlive) return
      const isFulfill = IlpPacket.deserializeIlpPacket(answer).type === IlpPacket.Type.TYPE_ILP_FULFILL
      auditor.told(this.#side, condition, isFulfill ? 'fulfilled' : 'cancelled', 'sendData')
    }, (thrown: unknown) => {
      const error = thrown as Failure
      if (!life.isAlive) return
      if (error.outcome === 'unknown') world.note(this.#side, () => `host does not know of payment ${number}: ${error.message ?? ''}`)
      else auditor.told(this.#side, condition, 'cancelled', `sendData: ${error.message ?? ''}`)
    })
    return payment
  }

  #settle(plugin: LedgerPlugin, life: Life, amount: number): void {
    const { world, auditor } = this.#shared
    world.note(this.#side, () => `host settles ${amount}`)
    const settled = auditor.settled[this.#side]
    plugin.sendMoney(String(amount)).then(() => {
      if (!life.isAlive) return
      settled.done += amount
      auditor.toldOfMoney(this.#side)
    }, (thrown: unknown) => {
      const error = thrown as Failure
      if (life.isAlive) world.note(this.#side, () => `host's settlement of ${amount} fails: ${error.message ?? ''}`)
    })
  }
}
