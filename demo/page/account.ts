/**
 * Which account this browser's wallet has with the Node peer. It is opened at the first visit, and found again afterwards.
 */
import { newSecret } from '../shared/invoices.js'

const KEY = 'paychan-demo-account'

export interface WalletAccount {
  readonly id: string
  /** What the wallet authenticates with. */
  readonly token: string
  /** Of the wallet's invoices. */
  readonly secret: string
}

/** The account of before, or a new one. @throws Error when the server cannot be reached, or refuses */
export async function findAccount(): Promise<WalletAccount> {
  const known = read()
  if (known !== undefined) return known
  const response = await fetch('/accounts', { method: 'POST' })
  if (!response.ok) throw new Error(`no account could be opened: ${await response.text()}`)
  const { id, token } = await response.json() as Pick<WalletAccount, 'id' | 'token'>
  const account = { id, token, secret: newSecret() }
  try {
    localStorage.setItem(KEY, JSON.stringify(account))
  } catch {
    // Where nothing may be kept the wallet lasts as long as the page.
  }
  return account
}

/** Lets the account go, so that the next visit opens another. */
export function forgetAccount(): void {
  localStorage.removeItem(KEY)
}

/** A call about the account; see demo/peer/web.ts. */
export async function callServer({ id, token }: WalletAccount, what?: 'cut' | 'mend'): Promise<{ isCut: boolean }> {
  const path = what === undefined ? `/accounts/${id}` : `/accounts/${id}/${what}`
  const response = await fetch(path, { method: what === undefined ? 'GET' : 'POST', headers: { authorization: `Bearer ${token}` } })
  if (!response.ok) throw new Error(`the server does not know this account`)
  return await response.json() as { isCut: boolean }
}

function read(): WalletAccount | undefined {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? 'null') as WalletAccount | null ?? undefined
  } catch {
    return undefined
  }
}
