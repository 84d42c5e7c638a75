/**
 * Our plugin as ilp-protocol-stream wants it in a page. It disconnects its plugin after each payment, and gives a payment up when the
 * plugin cannot send: here the account stays connected, and what cannot be sent is rejected as a connector would reject it, so that
 * STREAM tries again where that makes sense. What it is given are Buffers.
 */
import { Buffer } from 'buffer'
import { serializeIlpReject } from 'ilp-packet'
import type { createConnection } from 'ilp-protocol-stream'
import type { LedgerPlugin } from 'ilp-plugin-paychan'

type StreamPlugin = Parameters<typeof createConnection>[0]['plugin']

/** @param onAnswer is told each answer, and the error that it was made of when the packet could not be sent */
export function carrierOf(plugin: LedgerPlugin, onAnswer: (answer: Buffer, error?: unknown) => void): StreamPlugin {
  return {
    connect: () => Promise.resolve(),
    disconnect: () => Promise.resolve(),
    isConnected: () => plugin.isConnected(),
    registerDataHandler: handler => {
      plugin.deregisterDataHandler()
      plugin.registerDataHandler(data => handler(Buffer.from(data)))
    },
    deregisterDataHandler: () => { plugin.deregisterDataHandler() },
    sendData: async data => {
      try {
        const answer = Buffer.from(await plugin.sendData(data))
        onAnswer(answer)
        return answer
      } catch (error) {
        const answer = serializeIlpReject({ code: codeOf(error), message: String(error), triggeredBy: '', data: Buffer.alloc(0) })
        onAnswer(answer, error)
        return answer
      }
    }
  }
}

/** T01 without a connection, T04 over a limit. A packet whose time was over has moved nothing, so that another may be tried: T00. */
function codeOf(error: unknown): string {
  const code = error instanceof Error && 'ilpErrorCode' in error ? String(error.ilpErrorCode) : 'F00'
  return code.startsWith('R') ? 'T00' : code
}
