/**
 * Which account this browser's wallet has with the Node peer. It is opened at the first visit, and found again afterwards.
 *
 * It lies in a store of its own: unlike localStorage that one is durable when it says so, and of two tabs that open an account at the
 * same time one wins.
 */
import { IndexedDBStore } from 'ilp-plugin-paychan'
import { newSecret } from '../shared/invoices.js'

const KEY = 'account'
const store = new IndexedDBStore({ name: 'paychan-demo' })

export interface WalletAccount {
  readonly id: string
  /** What the wallet authenticates with. */
  readonly token: string
  /** Of the wallet's invoices. */
  readonly secret: string
}

/** The account of before, or a new one. @throws Error when the server cannot be reached, or refuses; StoreError */
export async function findAccount(): Promise<WalletAccount> {
  const known = await store.get(KEY)
  if (known !== undefined) return JSON.parse(known) as WalletAccount
  const response = await fetch('/accounts', { method: 'POST' })
  if (!response.ok) throw new Error(`no account could be opened: ${await response.text()}`)
  const { id, token } = await response.json() as Pick<WalletAccount, 'id' | 'token'>
  const account = { id, token, secret: newSecret() }
  const isOurs = await store.commit({ guards: [[KEY, undefined]], puts: [[KEY, JSON.stringify(account)]] })
  return isOurs ? account : findAccount()
}

/** Lets the account go, so that the next visit opens another. */
export async function forgetAccount(): Promise<void> {
  await store.commit({ deletes: [KEY] })
}

/** What the server tells about an account. */
interface ServerState {
  readonly isCut: boolean
  readonly hasConnector: boolean
}

/** A call about the account; see demo/peer/web.ts. */
export async function callServer({ id, token }: WalletAccount, what?: 'cut' | 'mend'): Promise<ServerState> {
  const path = what === undefined ? `/accounts/${id}` : `/accounts/${id}/${what}`
  const response = await fetch(path, { method: what === undefined ? 'GET' : 'POST', headers: { authorization: `Bearer ${token}` } })
  if (!response.ok) throw new Error(`the server does not know this account`)
  return await response.json() as ServerState
}
