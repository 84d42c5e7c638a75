/**
 * The wallet page: a client account in the browser. It has no store of its own: prefix, limits and balance come from the peer.
 */
import PaychanPlugin from 'ilp-plugin-paychan'
import { makePayments } from './payments.js'

/** How often the balances are read again, in milliseconds: another tab may pay, too. */
const REFRESH_MS = 2000

const MOST_LINES = 50

const STATES = { connecting: 'Connecting', connected: 'Connected', lost: 'Connection lost, trying again', failed: 'Failed' }

const byId = id => document.getElementById(id)

const response = await fetch('account.json')
const { port, token } = await response.json()

const plugin = new PaychanPlugin({ server: `btp+ws://:${token}@${location.hostname}:${port}` })
const payments = makePayments(plugin, { onChange: refresh, onPayment: showPayment })

plugin.on('connect', () => showState('connected'))
plugin.on('disconnect', () => showState('lost'))
plugin.on('error', error => showState('failed', error.message))

byId('payment').addEventListener('submit', event => {
  event.preventDefault()
  const amount = byId('amount').value
  const wanted = event.submitter?.value === 'be-paid' ? payments.bePaid(amount) : payments.pay(amount)
  wanted.catch(error => addLine('failed', error.message))
})

try {
  await plugin.connect({ timeout: Infinity })
  byId('account').textContent = plugin.getAccount()
  byId('peer-account').textContent = plugin.getPeerAccount()
} catch (error) {
  showState('failed', error.message)
}
await refresh()
setInterval(refresh, REFRESH_MS)

function showState(state, reason) {
  const pill = byId('state')
  pill.dataset.state = state
  pill.textContent = reason === undefined ? STATES[state] : `${STATES[state]}: ${reason}`
  for (const id of ['pay', 'be-paid']) byId(id).disabled = state !== 'connected'
  if (state === 'connected') void refresh()
}

/** Reads both sides' views and shows them; while the connection is down the last ones stay. */
async function refresh() {
  if (!plugin.isConnected()) return
  try {
    const [own, peer] = await Promise.all([payments.status(), payments.peerStatus()])
    byId('balance').textContent = own.balance
    byId('in-flight').textContent = String(own.inFlight)
    byId('peer-balance').textContent = peer.balance
  } catch (error) {
    console.warn('The balances could not be read', error)
  }
}

function showPayment({ direction, amount, failed }) {
  if (failed === undefined) addLine(direction, direction === 'in' ? `Received ${amount}` : `Paid ${amount}`)
  else addLine('failed', direction === 'in' ? `Not received ${amount}: ${failed}` : `Not paid ${amount}: ${failed}`)
}

function addLine(kind, text) {
  const line = document.createElement('li')
  const time = document.createElement('time')
  time.textContent = new Date().toLocaleTimeString()
  line.dataset.kind = kind
  line.append(time, text)
  const list = byId('activity')
  list.prepend(line)
  while (list.children.length > MOST_LINES) list.lastElementChild.remove()
}
