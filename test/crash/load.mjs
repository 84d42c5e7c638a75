/**
 * What each of the two peers of a kill test does, in a process or a page of its own: it keeps so many transfers under way, answers those of
 * the other side, and tells of each call that was answered and each event that was raised. Plain JavaScript that needs nothing of
 * where it runs.
 */
export const PREFIX = 'test.crash.'
/** What each packet has come to is compared in the end. */
export const OPTIONS = { packetHistory: true, maxBalance: '1000000000', minBalance: '-1000000000', reconnectMinMs: 10, reconnectMaxMs: 100 }

const LONG_MS = 10 * 60_000
/** Transfers that nobody fulfills live so long. */
const SHORT_MS = 3000
/** Until nothing is in flight and every claim has come; what is missing after this time the auditor finds. */
const QUIET_WITHIN_MS = 20_000
/** How often the peer is asked for its balance, at most. */
const MOST_ASKED = 5

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

/** What becomes of a transfer, how much it moves, and its preimage, all by its id: so every life of either peer knows it. */
const planner = ({ sha256, toBase64url }) => async id => {
  const bytes = await sha256(encode(id))
  const preimage = await sha256(bytes)
  const condition = await sha256(preimage)
  return {
    fate: bytes[0] < 4 ? 'expire' : bytes[0] < 36 ? 'reject' : 'fulfill',
    amount: String(1 + bytes[1]),
    preimage,
    condition,
    fulfillment: toBase64url(preimage),
    executionCondition: toBase64url(condition)
  }
}

const encode = text => new globalThis.TextEncoder().encode(text)
const expiryOf = fate => new Date(Date.now() + (fate === 'expire' ? SHORT_MS : LONG_MS))

async function connected(plugin) {
  if (!plugin.isConnected()) await new Promise(resolve => { plugin.once('connect', resolve) })
}

/** Waits until that holds, but not for ever. */
async function untilQuiet(isQuiet) {
  const deadline = Date.now() + QUIET_WITHIN_MS
  while (!await isQuiet() && Date.now() < deadline) await moment(20)
}

/**
 * Asks the peer. Where the machine has so much other work that the lease was not renewed in time, this process stands by for a moment, and is
 * connected again.
 */
async function peerBalanceOf(plugin) {
  for (let attempts = 1; ; attempts++) {
    await connected(plugin)
    try {
      return await plugin.getPeerBalance()
    } catch (error) {
      if (error.name !== 'UnreachableError' || attempts === MOST_ASKED) throw error
    }
  }
}

/** All that is stored. `idOf` a transfer is what it is known by. */
async function reportOf(plugin, idOf) {
  await connected(plugin)
  const transfers = []
  for (let before; ;) {
    const page = await plugin.history({ limit: 1000, ...(before === undefined ? {} : { before }) })
    for (const { transfer, isIncoming, state } of page) transfers.push({ id: idOf(transfer), amount: transfer.amount, isIncoming, state })
    if (page.length < 1000) break
    before = page.at(-1).cursor
  }
  return { balance: await plugin.getBalance(), peerBalance: await peerBalanceOf(plugin), inFlight: plugin.inFlight().length, transfers }
}

/**
 * Begins one life of a peer: connects, and takes up what the lives before have left. Without a module the host is one of LPI v2.
 *
 * `sha256` gives a promise of the hash of bytes, `toBase64url` writes bytes, `tell` is given what the test is to know. Resolves with what the
 * test asks: `load(inFlight)` begins, `quiet()` resolves when all has ended, `report()` with all that is stored.
 */
export function live(ports) {
  return ports.module === undefined ? livePackets(ports) : liveTransfers(ports)
}

async function liveTransfers({ plugin, module, errors, tell, randomUUID, ...hashes }) {
  const planOf = planner(hashes)

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
      const expiresAt = expiryOf(fate).toISOString()
      try {
        await plugin.sendTransfer({ id, to: plugin.getPeerAccount(), amount, executionCondition, expiresAt })
        tell({ acknowledged: 'prepared', id })
        await end
      } catch (error) {
        if (!(error instanceof errors.UnreachableError)) tell({ trouble: `sending ${id}: ${error.name}: ${error.message}` })
        ends.delete(id)
        await connected(plugin)
      }
    }
  }

  await plugin.connect({ timeout: Infinity })
  for (const { transfer, isIncoming } of plugin.inFlight()) if (isIncoming) void answer(transfer.id)

  return {
    load(inFlight) {
      for (let i = 0; i < inFlight; i++) void keepSending()
    },

    async quiet() {
      isLoading = false
      await untilQuiet(async () => plugin.inFlight().length === 0 && (await module.best.getMax()).value === await module.log.getIncomingFulfilled())
    },

    async report() {
      const report = await reportOf(plugin, ({ id }) => id)
      return { ...report, claimed: (await module.best.getMax()).value }
    }
  }
}

// ---- LPI v2: ILPv4 packets, which are known by their conditions, since their ids are the plugin's own

const FULFILL = 13
const ID_CHARACTERS = 36

/** A Prepare that has the id as its data. No part of it is as long as to need more than one byte for its length. */
function prepareOf(id, { amount, condition }, expiresAt) {
  const contents = [
    ...new Uint8Array(6), Number(amount) >> 8, Number(amount) & 255, ...encode(expiresAt.toISOString().replace(/[-:.TZ]/g, '')), ...condition, 4, ...encode('test'), ID_CHARACTERS, ...encode(id)
  ]
  return Uint8Array.of(12, contents.length, ...contents)
}

const idIn = packet => new globalThis.TextDecoder().decode(packet.subarray(-ID_CHARACTERS))
const fulfillOf = ({ preimage }) => Uint8Array.of(FULFILL, 33, ...preimage, 0)
const rejectPacket = Uint8Array.of(14, 6, ...encode('F99'), 0, 0, 0)

async function livePackets({ plugin, errors, tell, randomUUID, ...hashes }) {
  const planOf = planner(hashes)
  plugin.on('dispute', dispute => { tell({ trouble: `dispute of ${dispute.id}: ${dispute.reason}` }) })
  plugin.registerDataHandler(async packet => {
    const plan = await planOf(idIn(packet))
    if (plan.fate === 'expire') return new Promise(() => undefined)
    return plan.fate === 'fulfill' ? fulfillOf(plan) : rejectPacket
  })

  let isLoading = true

  async function send(id, plan) {
    try {
      const answer = await plugin.sendData(prepareOf(id, plan, expiryOf(plan.fate)))
      tell({ acknowledged: answer[0] === FULFILL ? 'fulfilled' : 'cancelled', id: plan.executionCondition })
    } catch (error) {
      if (error instanceof errors.AlreadyRolledBackError) tell({ acknowledged: 'cancelled', id: plan.executionCondition })
      // Either nothing was stored, or it was lost with its connection.
      else if (error instanceof errors.UnreachableError) await connected(plugin)
      else tell({ trouble: `sending ${id}: ${error.name}: ${error.message}` })
    }
  }

  async function keepSending() {
    while (isLoading) {
      const id = randomUUID()
      const plan = await planOf(id)
      const sent = send(id, plan)
      if (plan.fate !== 'expire') await sent
    }
  }

  await plugin.connect({ timeout: Infinity })

  return {
    load(inFlight) {
      for (let i = 0; i < inFlight; i++) void keepSending()
    },

    async quiet() {
      isLoading = false
      await untilQuiet(() => plugin.inFlight().length === 0)
    },

    report: () => reportOf(plugin, ({ executionCondition }) => executionCondition)
  }
}
