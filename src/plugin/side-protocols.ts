/**
 * The side protocols `info`, `balance` and `limit` (C35 to C37): asking the peer, and answering it. Imports core and btp.
 */
import { formatAmount, negate } from '../core/amounts.js'
import { InvalidFieldsError, NotAcceptedError } from '../core/errors.js'
import { checkObject } from '../core/json.js'
import { ContentType } from '../btp/packets.js'
import type { ResponsePacket, SubProtocol } from '../btp/packets.js'
import { decodeBalance, encodeBalance, find, json, octets, readJson, text } from '../btp/protocol-data.js'
import type { Ledger } from '../ledger/ledger.js'
import type { Identity } from './identity.js'
import type { LedgerInfo, Transfer } from './lpi.js'
import { isPrefix } from './options.js'
import type { SendMessage } from './rpc.js'

const FULL_INFO = 2
const ONLY = 0

/**
 * The peer's ledger info: its prefix is checked, all else is as the peer says.
 * @throws InvalidFieldsError when it is no JSON object with a prefix; UnreachableError
 */
export async function askInfo(send: SendMessage): Promise<LedgerInfo> {
  const info = checkObject(readJson(await ask(send, 'info', FULL_INFO)), "the peer's info")
  const { prefix } = info
  if (typeof prefix !== 'string' || !isPrefix(prefix)) throw new InvalidFieldsError("the peer's info.prefix must be an ILP prefix that ends with a dot")
  return { ...info, prefix }
}

/** The peer's balance, seen from this side. @throws InvalidFieldsError; UnreachableError */
export async function askBalance(send: SendMessage): Promise<string> {
  return negate(decodeBalance(await ask(send, 'balance', ONLY)))
}

/** The lowest balance that the peer lets this side have: its maximum, seen from here. @throws InvalidFieldsError; UnreachableError */
export async function askLimit(send: SendMessage): Promise<string> {
  const limit = readJson(await ask(send, 'limit', ONLY))
  if (typeof limit !== 'string') throw new InvalidFieldsError("the peer's limit must be a string")
  return negate(limit)
}

async function ask(send: SendMessage, name: string, what: number): Promise<SubProtocol> {
  const { protocolData }: ResponsePacket = await send({ type: 'message', protocolData: [octets(name, Uint8Array.of(what))] })
  const answer = find(protocolData, name)
  if (answer === undefined) throw new NotAcceptedError(`the peer does not tell its ${name}`)
  return answer
}

/** Answers one of these side protocols; `undefined` for any other. */
export async function answerSideProtocol(asked: SubProtocol, identity: Identity, ledger: Ledger<Transfer>): Promise<SubProtocol[] | undefined> {
  switch (asked.protocolName) {
    case 'info': {
      const isFull = asked.contentType === ContentType.octetStream && asked.data[0] === FULL_INFO
      return [isFull ? json('info', identity.info()) : text('info', identity.account())]
    }
    case 'balance': {
      const { incomingFulfilled, outgoingFulfilled } = await ledger.sums()
      return [octets('balance', encodeBalance(formatAmount(incomingFulfilled - outgoingFulfilled)))]
    }
    case 'limit': {
      const { maximum } = await ledger.limits()
      return [json('limit', formatAmount(maximum))]
    }
    default: return undefined
  }
}

