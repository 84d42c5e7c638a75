/**
 * What each of the two peers of a kill test does, in a process or a page of its own: it keeps so many transfers under way, answers those of
 * the other side, and tells of each call that was answered and each event that was raised. Plain JavaScript that needs nothing of
 * where it runs.
 */
export const PREFIX = 'test.crash.'
export const OPTIONS = { maxBalance: '1000000000', minBalance: '-1000000000', reconnectMinMs: 10, reconnectMaxMs: 100 }

const LONG_MS = 10 * 60_000
/** Transfers that nobody fulfills live so long. */
const SHORT_MS = 3000
/** Until nothing is in flight and every claim has come; what is missing after this time the auditor finds. */
const QUIET_WITHIN_MS = 20_000

/**
 * A payment channel module whose claims are bare sums, and take a moment to be made and to be taken. The accounts are named `client` and
 * `server`; `best` has the greatest claim, `log` the transfers.
 */
export function makeModule(account) {
  const peerAccount = account === 'client' ? 'server' : 'client'
  const module = {
    pluginName: 'crash-claims',
    best: undefined,
    log: undefined,
    constructor({ backend, transferLog }) {
      module.best = backend.getMaxValueTracker('incoming_claim')
      module.log = transferLog
    },
    connect() {},
    disconnect() {},
    getInfo: () => ({ prefix: PREFIX, currencyCode: 'EUR', currencyScale: 9, connectors: [] }),
    getAccount: () => PREFIX + account,
    getPeerAccount: () => PREFIX + peerAccount,
    handleIncomingPrepare() {},
    async createOutgoingClaim(_ctx, amount) {
      await moment(5)
      return { amount }
    },
    async handleIncomingClaim(_ctx, { amount }) {
      await moment(5)
      await module.best.setIfMax({ value: amount, data: null })
    }
  }
  return module
}

const moment = ms => new Promise(resolve => { globalThis.setTimeout(resolve, ms) })

/**
 * Begins one life of a peer: connects, and takes up what the lives before have left.
 *
 * `sha256` gives a promise of the hash of bytes, `toBase64url` writes bytes, `tell` is given what the test is to know. Resolves with what the
 * test asks: `load(inFlight)` begins, `quiet()` resolves when all has ended, `report()` with all that is stored.
 */
export async function live({ plugin, module, errors, sha256, toBase64url, randomUUID, tell }) {
  /** What becomes of a transfer, how much it moves, and its preimage, all by its id: so every life of either peer knows it. */
  async function planOf(id) {
    const bytes = await sha256(new globalThis.TextEncoder().encode(id))
    const fulfillment = await sha256(bytes)
    return {
      fate: bytes[0] < 4 ? 'expire' : bytes[0] < 36 ? 'reject' : 'fulfill',
      amount: String(1 + bytes[1]),
      fulfillment: toBase64url(fulfillment),
      executionCondition: toBase64url(await sha256(fulfillment))
    }
  }

  // ---- incoming: each is answered as its id says, also those that a life before has left

  async function answer(id) {
    const { fate, fulfillment } = await planOf(id)
    try {
      if (fate === 'fulfill') await plugin.fulfillCondition(id, fulfillment)
      if (fate === 'reject') await plugin.rejectIncomingTransfer(id)
      if (fate !== 'expire') tell({ acknowledged: fate === 'fulfill' ? 'fulfilled' : 'cancelled', id })
    } catch (error) {
      // What a life before has answered already, it has: the final check sees to that.
      if (!(error instanceof errors.UnreachableError)) tell({ trouble: `${fate} of ${id}: ${error.name}: ${error.message}` })
    }
  }

  plugin.on('incoming_prepare', ({ id }) => answer(id))
  plugin.on('dispute', dispute => { tell({ trouble: `dispute of ${dispute.id}: ${dispute.reason}` }) })

  // ---- outgoing: always so many under way

  const ends = new Map()
  const ENDS = { outgoing_fulfill: 'fulfilled', outgoing_reject: 'cancelled', outgoing_cancel: 'cancelled' }
  for (const [event, acknowledged] of Object.entries(ENDS)) {
    plugin.on(event, ({ id }) => {
      tell({ acknowledged, id })
      ends.get(id)?.()
      ends.delete(id)
    })
  }

  let isLoading = true

  async function keepSending() {
    while (isLoading) {
      const id = randomUUID()
      const { fate, amount, executionCondition } = await planOf(id)
      const end = fate === 'expire' ? undefined : new Promise(resolve => ends.set(id, resolve))
      const expiresAt = new Date(Date.now() + (fate === 'expire' ? SHORT_MS : LONG_MS)).toISOString()
      try {
        await plugin.sendTransfer({ id, to: plugin.getPeerAccount(), amount, executionCondition, expiresAt })
        tell({ acknowledged: 'prepared', id })
        await end
      } catch (error) {
        if (!(error instanceof errors.UnreachableError)) tell({ trouble: `sending ${id}: ${error.name}: ${error.message}` })
        ends.delete(id)
        await connected()
      }
    }
  }

  async function connected() {
    if (!plugin.isConnected()) await new Promise(resolve => { plugin.once('connect', resolve) })
  }

  await plugin.connect({ timeout: Infinity })
  for (const { transfer, isIncoming } of plugin.inFlight()) if (isIncoming) void answer(transfer.id)

  return {
    load(inFlight) {
      for (let i = 0; i < inFlight; i++) void keepSending()
    },

    async quiet() {
      isLoading = false
      const deadline = Date.now() + QUIET_WITHIN_MS
      const isQuiet = async () => plugin.inFlight().length === 0 && (await module.best.getMax()).value === await module.log.getIncomingFulfilled()
      while (!await isQuiet() && Date.now() < deadline) await moment(20)
    },

    async report() {
      await connected()
      const transfers = []
      for (let before; ;) {
        const page = await plugin.history({ limit: 1000, ...(before === undefined ? {} : { before }) })
        for (const { transfer, isIncoming, state } of page) {
          transfers.push({ id: transfer.id, amount: transfer.amount, isIncoming, state })
        }
        if (page.length < 1000) break
        before = page.at(-1).cursor
      }
      const { value: claimed } = await module.best.getMax()
      return { balance: await plugin.getBalance(), peerBalance: await plugin.getPeerBalance(), inFlight: plugin.inFlight().length, transfers, claimed }
    }
  }
}
