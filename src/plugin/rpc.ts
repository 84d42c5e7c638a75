/**
 * Calls between the modules of two peers, over JSON side protocols (C38). Imports core and btp.
 */
import { find, json, readJson, readText } from '../btp/protocol-data.js'
import type { JsonValue } from '../btp/protocol-data.js'
import { ContentType } from '../btp/packets.js'
import type { ResponsePacket, SubProtocol } from '../btp/packets.js'
import { printable } from '../core/bytes.js'
import { InvalidFieldsError, NotAcceptedError } from '../core/errors.js'

/** A method that the peer may call: with one JSON value; what it returns is the answer, what it throws is the peer's error. */
export type RpcMethod = (argument: JsonValue) => Promise<JsonValue | undefined> | JsonValue | undefined

/** Sends a Message and resolves with its Response. */
export type SendMessage = (body: { type: 'message'; protocolData: SubProtocol[] }) => Promise<ResponsePacket>

const NAME = /^[\x21-\x7e]{1,128}$/
/** The side protocols of BTP and of the plugin itself. */
const RESERVED = /^(ilp|custom|info|balance|limit|claim|paychan|auth.*)$/

/** What a module finds as `ctx.rpc`. */
export class Rpc {
  readonly #send: SendMessage
  readonly #methods = new Map<string, RpcMethod>()

  constructor(send: SendMessage) {
    this.#send = send
  }

  /**
   * Lets the peer call `method` under this name. A second method of the same name replaces the first.
   * @throws InvalidFieldsError when the name is reserved (`ilp`, `custom`, `info`, `balance`, `limit`, `claim`, `paychan`, `auth...`)
   *   or not 1 to 128 visible ASCII characters
   */
  addMethod(name: string, method: RpcMethod): void {
    checkName(name)
    if (typeof method !== 'function') throw new InvalidFieldsError(`the method ${name} must be a function`)
    this.#methods.set(name, method)
  }

  /**
   * Calls the peer's method of this name. The second argument is ignored: old modules pass the ledger's
   * prefix. An answer that lacks the result,
   * as from a method that returns nothing, gives `{}`.
   * @throws InvalidFieldsError for a name or an argument that cannot be sent; UnreachableError; the error that the peer answered
   */
  async call(name: string, _prefix?: string, argument: JsonValue = null): Promise<JsonValue> {
    checkName(name)
    const response = await this.#send({ type: 'message', protocolData: [json(name, argument)] })
    const result = find(response.protocolData, name)
    return result === undefined ? {} : readValue(result)
  }

  /**
   * Answers a Message of the peer. Its primary sub-protocol must name a method; secondary ones that name a method are called too,
   * as the old package did, and others are ignored (RFC 23: secondary sub-protocols only inform).
   * @throws NotAcceptedError when there is no such method; InvalidFieldsError for data that is neither JSON nor text; what a method throws
   */
  async handle(protocolData: readonly SubProtocol[]): Promise<SubProtocol[]> {
    const [primary] = protocolData
    if (primary !== undefined && !this.#methods.has(primary.protocolName)) {
      throw new NotAcceptedError(`there is no method ${printable(primary.protocolName)}`)
    }
    // All arguments are read before any method runs, so that a bad one leaves nothing half done.
    const calls = protocolData.flatMap(sub => {
      const method = this.#methods.get(sub.protocolName)
      return method === undefined ? [] : [{ name: sub.protocolName, method, argument: readValue(sub) }]
    })
    const answers: SubProtocol[] = []
    for (const { name, method, argument } of calls) {
      const result = await method(argument)
      if (result !== undefined) answers.push(json(name, result))
    }
    return answers
  }
}

function checkName(name: string): void {
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw new InvalidFieldsError(`the name of a method must match ${String(NAME)}`)
  }
  if (RESERVED.test(name)) throw new InvalidFieldsError(`the name ${name} is reserved: choose another name`)
}

/** The old package sends a string as text, and everything else as JSON. */
function readValue(sub: SubProtocol): JsonValue {
  if (sub.contentType === ContentType.json) return readJson(sub)
  if (sub.contentType === ContentType.text) return readText(sub)
  throw new InvalidFieldsError(`${printable(sub.protocolName)} must be JSON`)
}
