/**
 * Wallets as tests drive them, in a tab or in Node: the functions of page/wallet.js, and payments between two.
 */
import { join } from 'node:path'
import { inject } from 'vitest'
import type { Role } from '../../src/plugin/account.js'
import type { Report } from '../../test/crash/audit.js'
import type { Payment } from './library.js'
import './page/wallet.js'

export interface Wallet {
  connect(options: object): Promise<number | undefined>
  reconnect(): Promise<number | undefined>
  role(): Promise<Role>
  call(method: string, ...values: unknown[]): Promise<unknown>
  begin(method: string, ...values: unknown[]): Promise<void>
  until(what: string): Promise<void>
  hold(place: Place): Promise<void>
  release(place: Place): Promise<void>
  report(): Promise<Report>
}

/** Where calls can be held up. */
export type Place = 'commit' | 'prepare' | 'outgoing claim' | 'incoming claim'

/** Calls a function of a wallet that is elsewhere. */
export type Carrier = (name: keyof Wallet, values: unknown[]) => Promise<unknown>

export function walletOver(carry: Carrier): Wallet {
  return {
    connect: options => carry('connect', [options]) as Promise<number | undefined>,
    reconnect: () => carry('reconnect', []) as Promise<number | undefined>,
    role: () => carry('role', []) as Promise<Role>,
    call: (method, ...values) => carry('call', [method, ...values]),
    begin: (method, ...values) => carry('begin', [method, ...values]) as Promise<void>,
    until: what => carry('until', [what]) as Promise<void>,
    hold: place => carry('hold', [place]) as Promise<void>,
    release: place => carry('release', [place]) as Promise<void>,
    report: () => carry('report', []) as Promise<Report>
  }
}

/** What a page calls its wallet with. An answer is JSON, also when it is an error. */
export type Answer = { readonly value?: unknown; readonly error?: { name: string; message: string; outcome?: string } }

/** Runs in the page, where nothing from outside of it is at hand. */
export async function callInPage({ name, values }: { name: keyof Wallet; values: unknown[] }): Promise<Answer> {
  const { wallet } = globalThis as unknown as { wallet: Record<string, (...values: unknown[]) => Promise<unknown>> }
  try {
    return { value: await wallet[name]?.(...values) }
  } catch (thrown) {
    const { name, message, outcome } = thrown as { name: string; message: string; outcome?: string }
    return { error: { name, message, ...(outcome === undefined ? {} : { outcome }) } }
  }
}

/** What the page answered; throws the error that it was, by its name and outcome. */
export function valueOf({ value, error }: Answer): unknown {
  if (error !== undefined) throw Object.assign(new Error(error.message), error)
  return value
}

/** A Node peer that listens, over memory, and its options. */
export async function startPeer(options: object = {}): Promise<{ peer: Wallet; server: string }> {
  const library: unknown = await import(/* @vite-ignore */ join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist', 'node.js'))
  const { makeWallet } = globalThis as unknown as { makeWallet: (library: unknown) => Wallet }
  const peer = makeWallet(library)
  const port = await peer.connect({ listener: { port: 0 }, incomingSecret: 'secret', prefix: PREFIX, info: {}, ...options })
  return { peer, server: serverAt(port) }
}

/** The address of a peer that listens on a port. */
export function serverAt(port: number | undefined): string {
  return `btp+ws://:secret@localhost:${port ?? 0}`
}

export const PREFIX = 'test.wallet.'

export type Side = 'client' | 'server'

/** The transfer of a payment to one side; it lives for a while unless said otherwise. */
export function transferOf({ id, amount, condition }: Payment, to: Side, livesForMs = 10 * 60_000): object {
  const expiresAt = new Date(Date.now() + livesForMs).toISOString()
  return { id, amount, executionCondition: condition, expiresAt, to: PREFIX + to }
}

/** Pays, and waits until both sides have counted it. */
export async function pay(payment: Payment, from: Wallet, to: Wallet, receiver: Side): Promise<void> {
  await from.call('sendTransfer', transferOf(payment, receiver))
  await to.until(`incoming_prepare ${payment.id}`)
  await to.call('fulfillCondition', payment.id, payment.fulfillment)
  await from.until(`outgoing_fulfill ${payment.id}`)
}
