/**
 * Which generation of BTP a foreign peer speaks, 1.0 or 2.0: as the options say, else what it sends first on a session. Peers of ours
 * speak both. As long as nothing is known, what our host calls is sent. Imports core and btp.
 */
import { NotAcceptedError } from '../core/errors.js'
import { isIlp4 } from '../btp/ilp-packets.js'
import type { Packet } from '../btp/packets.js'
import { find } from '../btp/protocol-data.js'
import type { Session } from '../btp/session.js'

export type BtpVersion = '1.0' | '2.0'

export class Generation {
  readonly #configured: BtpVersion | undefined
  readonly #heard = new WeakMap<Session, Evidence>()

  constructor(configured: BtpVersion | undefined) {
    this.#configured = configured
  }

  /** A request came in on that session. The first one that only one of the two has tells, or else the first that looks like one. */
  hear(packet: Packet, session: Session): void {
    if (this.#configured !== undefined || session.peer.announced || this.#heard.get(session)?.isSure === true) return
    const evidence = evidenceOf(packet)
    if (evidence !== undefined && (evidence.isSure || !this.#heard.has(session))) this.#heard.set(session, evidence)
  }

  /** @throws NotAcceptedError when the peer is known to speak the other one only */
  mustSpeak(version: BtpVersion, session: Session | undefined): void {
    if (session === undefined || session.peer.announced) return
    const known = this.#configured ?? this.#heard.get(session)?.version ?? version
    if (known !== version) throw new NotAcceptedError(`the peer speaks BTP ${known} only, this needs BTP ${version}`)
  }
}

interface Evidence {
  readonly version: BtpVersion
  readonly isSure: boolean
}

/** Messages are in both: there it shows by the ILP packet. Questions of ledgers of old are asked by some plugins of BTP 2.0 too. */
function evidenceOf({ type, protocolData }: Packet): Evidence | undefined {
  if (type === 'transfer') return { version: '2.0', isSure: true }
  if (type !== 'message') return { version: '1.0', isSure: true }
  const ilp = find(protocolData, 'ilp')?.data
  if (ilp !== undefined) return { version: isIlp4(ilp) ? '2.0' : '1.0', isSure: true }
  return ['info', 'balance', 'limit'].includes(protocolData[0]?.protocolName ?? '') ? { version: '1.0', isSure: false } : undefined
}
