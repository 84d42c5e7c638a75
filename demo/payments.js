/**
 * Who pays whom in the demo, the same for the page and for the Node peer: the payer asks the other side for a condition, sends
 * a transfer that is held against it, and the receiver releases it with the preimage that only it knows.
 *
 * Requests travel in the `custom` field of the plugin's messages:
 *   { method: 'invoice', amount }  answered with { condition }
 *   { method: 'pay', amount }      "please pay me": answered with {} once that payment went through
 *   { method: 'status' }           answered with { balance, inFlight } as this side sees them
 *   { method: 'counted' }          "your payment is in my balance now", which is a moment after the payer knows that it went through
 * A request that cannot be met is answered with { error }.
 */

/** How long a payment may take, in milliseconds. */
const TRANSFER_TIME_MS = 10_000

/** How many conditions may wait for their transfers; the oldest is forgotten first. */
const MOST_INVOICES = 1000

/**
 * Puts the demo's payments on a plugin, connected or not yet.
 *
 * `onChange` is called after anything that may have changed a balance or what is in flight; `onPayment` with
 * `{ direction: 'in' | 'out', amount, failed? }` when a payment came to its end, `failed` being the reason in words.
 */
export function makePayments(plugin, { onChange = () => {}, onPayment = () => {} } = {}) {
  const invoices = new Map()
  const outcomes = new Map()
  const inFlight = new Set()

  plugin.registerRequestHandler(async ({ custom = {} }) => reply(await answer(custom)))

  plugin.on('incoming_prepare', async transfer => {
    inFlight.add(transfer.id)
    onChange()
    const invoice = invoices.get(transfer.executionCondition)
    invoices.delete(transfer.executionCondition)
    try {
      if (invoice?.amount === transfer.amount) await plugin.fulfillCondition(transfer.id, invoice.preimage)
      else await plugin.rejectIncomingTransfer(transfer.id, { code: 'F00', name: 'Bad Request', message: 'nobody asked for this' })
    } catch (error) {
      onPayment({ direction: 'in', amount: transfer.amount, failed: error.message })
    }
  })
  plugin.on('outgoing_prepare', transfer => {
    inFlight.add(transfer.id)
    onChange()
  })

  for (const direction of ['incoming', 'outgoing']) {
    plugin.on(`${direction}_fulfill`, transfer => end(direction, transfer))
    plugin.on(`${direction}_reject`, (transfer, reason) => end(direction, transfer, reason?.message ?? 'rejected'))
    plugin.on(`${direction}_cancel`, transfer => end(direction, transfer, 'its time was over'))
  }

  function end(direction, transfer, failed) {
    inFlight.delete(transfer.id)
    onPayment({ direction: direction === 'incoming' ? 'in' : 'out', amount: transfer.amount, ...(failed && { failed }) })
    onChange()
    outcomes.get(transfer.id)?.(failed)
    outcomes.delete(transfer.id)
    // Who is gone by now will ask for the status when it is back.
    if (direction === 'incoming' && failed === undefined) ask({ method: 'counted' }).catch(() => {})
  }

  async function answer({ method, amount }) {
    try {
      if (method === 'invoice') return { condition: await makeInvoice(amount) }
      if (method === 'status') return await status()
      if (method === 'counted') {
        onChange()
        return {}
      }
      if (method === 'pay') {
        await pay(amount)
        return {}
      }
      return { error: 'no such method' }
    } catch (error) {
      return { error: error.message }
    }
  }

  async function makeInvoice(amount) {
    const preimage = crypto.getRandomValues(new Uint8Array(32))
    const condition = base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', preimage)))
    invoices.set(condition, { amount, preimage: base64url(preimage) })
    if (invoices.size > MOST_INVOICES) invoices.delete(invoices.keys().next().value)
    return condition
  }

  /** Sends a request to the other side; resolves with its answer, rejects with its error. */
  async function ask(custom) {
    const { custom: given } = await plugin.sendRequest(reply(custom))
    if (given === undefined) throw new Error('the other side gave no answer')
    if (given.error !== undefined) throw new Error(given.error)
    return given
  }

  function reply(custom) {
    return { ledger: plugin.getInfo().prefix, from: plugin.getAccount(), to: plugin.getPeerAccount(), custom }
  }

  /** Pays the other side an amount in base units; resolves when the payment went through, rejects when it did not. */
  async function pay(amount) {
    const { condition } = await ask({ method: 'invoice', amount })
    const id = crypto.randomUUID()
    const failure = new Promise(resolve => outcomes.set(id, resolve))
    try {
      await plugin.sendTransfer({
        id,
        amount,
        executionCondition: condition,
        expiresAt: new Date(Date.now() + TRANSFER_TIME_MS).toISOString(),
        ledger: plugin.getInfo().prefix,
        from: plugin.getAccount(),
        to: plugin.getPeerAccount()
      })
    } catch (error) {
      outcomes.delete(id)
      inFlight.delete(id)
      throw error
    }
    const failed = await failure
    if (failed !== undefined) throw new Error(`the payment failed: ${failed}`)
  }

  /** This side's own view of the account. */
  async function status() {
    return { balance: await plugin.getBalance(), inFlight: inFlight.size }
  }

  return {
    pay,
    status,
    /** Asks the other side to pay this one; resolves when it has. */
    bePaid: amount => ask({ method: 'pay', amount }),
    /** The other side's own view of the account. */
    peerStatus: () => ask({ method: 'status' })
  }
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}
