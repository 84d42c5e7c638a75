/**
 * Invoices that need not be remembered: the preimage of each comes from a secret and the invoice's own words, which the payer sends
 * along with the transfer. So whoever has the secret can take a payment that was on its way when the page was reloaded, or the
 * process restarted.
 */
import { decode, encode } from '@stablelib/hex'
import { hmac } from '@stablelib/hmac'
import { hash, SHA256 } from '@stablelib/sha256'

export interface Invoice {
  /** 16 random bytes in hex. */
  readonly invoice: string
  /** Base units. */
  readonly amount: string
  /** Base64url. */
  readonly condition: string
}

/** 32 random bytes in hex. Web Crypto's random source is there also where a page was loaded over plain http. */
export function newSecret(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(32)))
}

export function makeInvoice(secret: string, amount: string): Invoice {
  const invoice = toHex(crypto.getRandomValues(new Uint8Array(16)))
  return { invoice, amount, condition: base64url(hash(preimageBytes(secret, invoice, amount))) }
}

/** The preimage for a transfer of that amount, when it pays an invoice of ours under that condition. */
export function preimageFor(secret: string, invoice: unknown, amount: string, condition: string): string | undefined {
  if (typeof invoice !== 'string') return undefined
  const preimage = preimageBytes(secret, invoice, amount)
  return base64url(hash(preimage)) === condition ? base64url(preimage) : undefined
}

function preimageBytes(secret: string, invoice: string, amount: string): Uint8Array {
  return hmac(SHA256, decode(secret), new TextEncoder().encode(`${invoice} ${amount}`))
}

function toHex(bytes: Uint8Array): string {
  return encode(bytes, true)
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

/** A UUID, also where `crypto.randomUUID` is missing: on plain http beyond localhost. */
export function newTransferId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = toHex(bytes)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
