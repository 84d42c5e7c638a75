/** The transfers that a store holds, wherever the layout puts them: for tests that audit a store on their own. */
import type { OpenRecord } from '../../src/ledger/records.js'
import { STATE_OF } from '../../src/ledger/stages.js'

export interface StoredTransfer {
  transfer: { id: string; amount: string }
  isIncoming: boolean
  state: 'prepared' | 'fulfilled' | 'cancelled'
}

/** What the pages say of open transfers, by their ids. Each is in one page only. */
export function openRecords(values: Record<string, string>, log = ''): Record<string, OpenRecord & Partial<StoredTransfer>> {
  const found: Record<string, OpenRecord & Partial<StoredTransfer>> = {}
  for (const [key, text] of Object.entries(values)) {
    if (!key.startsWith(`${log}:paychan:open:`)) continue
    for (const record of JSON.parse(text) as Array<OpenRecord & { id: string }>) {
      if (record.id in found) throw new Error(`transfer ${record.id} is in two pages`)
      found[record.id] = record
    }
  }
  return found
}

/** By their ids. `values` is all that a store holds, `log` the log's name: '' is the plugin's own. */
export function storedTransfers(values: Record<string, string>, log = ''): Record<string, StoredTransfer> {
  const found: Record<string, StoredTransfer> = {}
  const prefix = `${log}:tl:transfer:`
  for (const [id, open] of Object.entries(openRecords(values, log))) {
    if (open.transfer !== undefined) found[id] = { transfer: open.transfer, isIncoming: open.isIncoming === true, state: STATE_OF[open.stage] }
  }
  for (const [key, text] of Object.entries(values)) {
    if (key.startsWith(prefix)) found[key.slice(prefix.length)] = JSON.parse(text) as StoredTransfer
  }
  return found
}
