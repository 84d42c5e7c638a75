/** The transfers that a store holds, wherever the layout puts them: for tests that audit a store on their own. */

export interface StoredTransfer {
  transfer: { id: string; amount: string }
  isIncoming: boolean
  state: 'prepared' | 'fulfilled' | 'cancelled'
}

/** By their ids. `values` is all that a store holds, `log` the log's name: '' is the plugin's own. */
export function storedTransfers(values: Record<string, string>, log = ''): Record<string, StoredTransfer> {
  const found: Record<string, StoredTransfer> = {}
  const under = (prefix: string): Array<[id: string, text: string]> => Object.entries(values)
    .filter(([key]) => key.startsWith(prefix)).map(([key, text]) => [key.slice(prefix.length), text])
  for (const [id, text] of under(`${log}:paychan:open:`)) {
    const open = JSON.parse(text) as Partial<StoredTransfer>
    if (open.transfer !== undefined) found[id] = { transfer: open.transfer, isIncoming: open.isIncoming === true, state: 'prepared' }
  }
  for (const [id, text] of under(`${log}:tl:transfer:`)) found[id] = JSON.parse(text) as StoredTransfer
  return found
}
