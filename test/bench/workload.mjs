/**
 * What the benchmarks send, alike in Node and in a page: it uses nothing that only one of them has.
 */
const { btoa, crypto, performance } = globalThis

const PREFIX = 'bench.'
/** Later than any run of a benchmark lasts: what ends is fulfilled. */
const EXPIRY_MS = 30 * 60_000

/** What both peers' plugins are made with. */
export const OPTIONS = { prefix: PREFIX, info: { prefix: PREFIX }, maxBalance: '1000000000000' }
export const AMOUNT = '1'
/** About what an ILP payment packet with an address and its data takes. */
export const ILP = base64url(crypto.getRandomValues(new Uint8Array(200)))

/** Preimages by their conditions, the same everywhere. A few suffice: an id is new each time, a hash need not be. */
export const preimages = new Map(await Promise.all(Array.from({ length: 64 }, async (_, n) => {
  const preimage = await sha256(Uint8Array.from(`preimage ${n}`, character => character.charCodeAt(0)))
  return [base64url(await sha256(preimage)), base64url(preimage)]
})))
export const conditions = [...preimages.keys()]

let [dueTime, dueText] = [NaN, '']

/** When what is sent now expires, as ISO 8601. */
export function expiresAt() {
  const time = Date.now() + EXPIRY_MS
  if (time !== dueTime) [dueTime, dueText] = [time, new Date(time).toISOString()]
  return dueText
}

/** Runs `transfer` so that always so many are under way, for a time. */
export async function run(transfer, { inFlight, ms }) {
  let count = 0
  const start = performance.now()
  const one = async () => {
    while (performance.now() - start < ms) {
      await transfer()
      count++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  return { count, ms: performance.now() - start }
}

/** The sending host: a transfer is over when the peer has acknowledged it and this side has booked the Fulfill. */
export function send(plugin) {
  const fulfilled = new Map()
  plugin.on('outgoing_fulfill', ({ id }) => {
    fulfilled.get(id)()
    fulfilled.delete(id)
  })
  const to = plugin.getPeerAccount()
  let turn = 0
  return async () => {
    const id = crypto.randomUUID()
    const executionCondition = conditions[turn++ % conditions.length]
    const done = new Promise(resolve => fulfilled.set(id, resolve))
    await Promise.all([plugin.sendTransfer({ id, to, amount: AMOUNT, ilp: ILP, executionCondition, expiresAt: expiresAt() }), done])
  }
}

async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}
