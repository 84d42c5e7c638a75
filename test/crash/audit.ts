/**
 * The auditor of the kill test: what two peers and their callers have seen must fit together. Knows nothing of the engine.
 */

export interface Report {
  balance: string
  /** The other side's balance as this side was told it, if it asked. */
  peerBalance?: string
  inFlight: number
  transfers: Array<{ id: string; amount: string; isIncoming: boolean; state: string }>
  /** The greatest claim of the other side, which claims bare sums; none where no module claims. */
  claimed?: string
}

/** What callers were told of a transfer: `prepared` leaves its end open, the other two do not. */
export type Acknowledgement = 'prepared' | 'fulfilled' | 'cancelled'

/** What does not fit, in words. `acknowledged` has all that was told, by transfer. */
export function audit(a: Report, b: Report, acknowledged: ReadonlyMap<string, ReadonlySet<Acknowledgement>>): string[] {
  const complaints: string[] = []
  const complain = (complaint: string): void => { complaints.push(complaint) }
  if (a.inFlight + b.inFlight > 0) complain(`holds are left: ${a.inFlight} and ${b.inFlight}`)
  if (BigInt(a.balance) !== -BigInt(b.balance)) complain(`the balances are ${a.balance} and ${b.balance}`)
  for (const { balance, peerBalance } of [a, b]) {
    if (peerBalance !== undefined && peerBalance !== balance) complain(`the balance is ${balance}, by the peer ${peerBalance}`)
  }
  for (const report of [a, b]) {
    if (sumOf(report) !== BigInt(report.balance)) complain(`the fulfilled transfers make ${sumOf(report)}, the balance is ${report.balance}`)
  }
  for (const [report, other] of [[a, b], [b, a]] as const) {
    if (report.claimed === undefined) continue
    const owed = sumOf({ transfers: other.transfers.filter(({ isIncoming }) => !isIncoming) })
    if (BigInt(report.claimed) !== -owed) complain(`the claim is for ${report.claimed}, ${-owed} is owed`)
  }
  const byIdA = byId(a)
  const byIdB = byId(b)
  if (byIdA.size < a.transfers.length || byIdB.size < b.transfers.length) complain('a transfer is there twice')
  for (const id of new Set([...byIdA.keys(), ...byIdB.keys(), ...acknowledged.keys()])) {
    for (const complaint of auditOne(byIdA.get(id), byIdB.get(id), acknowledged.get(id))) complain(`${id}: ${complaint}`)
  }
  return complaints
}

type Row = Report['transfers'][number]

function byId({ transfers }: Report): ReadonlyMap<string, Row> {
  return new Map(transfers.map(transfer => [transfer.id, transfer]))
}

function auditOne(a: Row | undefined, b: Row | undefined, told: ReadonlySet<Acknowledgement> = new Set()): string[] {
  if (a === undefined || b === undefined) return auditLonely(a ?? b, told)
  const complaints: string[] = []
  if (told.has('fulfilled') && told.has('cancelled')) complaints.push('fulfilled and cancelled were both told')
  if (a.isIncoming === b.isIncoming) complaints.push('both sides take it for the same direction')
  if (a.amount !== b.amount) complaints.push(`the amounts are ${a.amount} and ${b.amount}`)
  if (a.state !== b.state || a.state === 'prepared') complaints.push(`the states are ${a.state} and ${b.state}`)
  for (const end of ['fulfilled', 'cancelled'] as const) {
    if (told.has(end) && a.state !== end) complaints.push(`${end} was told, it is ${a.state}`)
  }
  return complaints
}

/** A Prepare that never arrived: only its sender knows it, as cancelled, and nobody was told anything else. */
function auditLonely(only: Row | undefined, told: ReadonlySet<Acknowledgement>): string[] {
  const isSound = only?.isIncoming === false && only.state === 'cancelled' && !told.has('prepared') && !told.has('fulfilled')
  return isSound ? [] : [`${only === undefined ? 'nobody knows it' : `only one side has it, as ${only.state}`}, told: ${[...told].join()}`]
}

function sumOf({ transfers }: Pick<Report, 'transfers'>): bigint {
  return transfers
    .filter(({ state }) => state === 'fulfilled')
    .reduce((sum, { amount, isIncoming }) => isIncoming ? sum + BigInt(amount) : sum - BigInt(amount), 0n)
}
