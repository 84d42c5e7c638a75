/** What the auditor of the kill tests compares: all that a plugin has in its ledger. */
async function booksOf(plugin) {
  const transfers = []
  let page
  do {
    page = await plugin.history({ limit: 1000, ...(page && { before: page.at(-1).cursor }) })
    for (const { transfer: { id, amount }, isIncoming, state } of page) transfers.push({ id, amount, isIncoming, state })
  } while (page.length === 1000)
  return { balance: await plugin.getBalance(), inFlight: plugin.inFlight().length, transfers }
}

module.exports = { booksOf }
