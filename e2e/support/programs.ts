/** Parts of the programs that run in a user's project, as texts. */

/** One plugin pays another. Needs `createHash`, `randomBytes` and `randomUUID` of node:crypto. */
export const PAY = `
  async function pay(from, to, amount) {
    const preimage = randomBytes(32)
    const fulfillment = preimage.toString('base64url')
    const taken = new Promise(resolve => to.once('incoming_prepare', ({ id }) => resolve(to.fulfillCondition(id, fulfillment))))
    const fulfilled = new Promise(resolve => from.once('outgoing_fulfill', (_transfer, given) => resolve(given)))
    await from.sendTransfer({
      id: randomUUID(), amount, executionCondition: createHash('sha256').update(preimage).digest('base64url'),
      expiresAt: new Date(Date.now() + 20000).toISOString(), to: from.getPeerAccount()
    })
    if (await fulfilled !== fulfillment) throw new Error('another fulfillment')
    await taken
  }`
