/**
 * ilp-protocol-stream 2.7, unmodified, on today's Node: its streams assign to their own `closed`, which Node's have made a getter since.
 * It is for whatever inherits from Duplex that the assignment is allowed here; the getter stays as it is for all who do not assign.
 */
import { createRequire } from 'node:module'
import { Duplex, Readable } from 'node:stream'
import type * as Stream from 'ilp-protocol-stream'

const { get } = Object.getOwnPropertyDescriptor(Readable.prototype, 'closed') ?? {}
Object.defineProperty(Duplex.prototype, 'closed', {
  configurable: true,
  ...(get !== undefined && { get }),
  set(value: boolean) { Object.defineProperty(this, 'closed', { value, writable: true, configurable: true }) }
})

export const { createConnection, createServer } = createRequire(import.meta.url)('ilp-protocol-stream') as typeof Stream
