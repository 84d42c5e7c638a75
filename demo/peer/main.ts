/**
 * The demo's Node side, as `npm start` runs it: reads what it was told, opens the accounts, serves the page, and ends cleanly.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { CURRENCY, formatAmount } from '../shared/ledger.js'
import { Accounts } from './accounts.js'
import { HELP, readArguments } from './arguments.js'
import type { Arguments } from './arguments.js'
import { Cable } from './cable.js'
import { Connector } from './connector.js'
import { Console } from './console.js'
import type { Receiver } from './receiver.js'
import { makeWeb } from './web.js'

/** How many ports are tried after the wanted one. */
const MOST_TRIES = 20

/**
 * Runs the demo until it is told to end. Where it cannot it prints why, and ends with an exit code of 1.
 * @param root the project's folder
 */
export async function run(args: string[], root: string): Promise<void> {
  try {
    const given = readArguments(args, process.env, join(root, '.data'))
    if (given === undefined) console.log(HELP)
    else await serve(given, root)
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    // Whatever is open by now ends with the process.
    process.exit(1)
  }
}

async function serve(given: Arguments, root: string): Promise<void> {
  const screen = new Console({
    output: process.stdout,
    now: () => Date.now(),
    repeat: (everyMs, action) => {
      const timer = setInterval(action, everyMs)
      return () => { clearInterval(timer) }
    }
  })
  const accounts = new Accounts(join(given.data, 'accounts'), screen)
  const behind = given.hasConnector ? await startConnector(given, root, screen) : undefined
  const cable = new Cable(async (to, id) => {
    const account = accounts.find(id)
    if (to === 'peer') return accounts.port
    return account === undefined ? undefined : behind?.connector.open(id, account.token)
  })
  const web = makeWeb({
    host: given.host,
    folders: [['/api/', join(root, 'dist-docs')], ['/', join(root, '.build', 'demo', 'page')]],
    accounts,
    cable,
    receiver: behind === undefined ? undefined : () => behind.receiver.details(),
    onTrouble: message => { screen.line(message) }
  })
  const port = await listen(web, given)
  await accounts.open()

  const stop = async (): Promise<void> => {
    screen.line('stopping')
    web.close()
    await Promise.all([accounts.close(), behind?.receiver.close()])
    cable.close()
    await behind?.connector.stop()
    web.closeAllConnections()
    // STREAM leaves timers behind, of half a minute, for packets that it could not send.
    if (behind !== undefined) process.exit()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { void stop() })

  // Only now: whoever reads that it can be stopped may do so at once.
  if (accounts.size > 0) screen.line(`${accounts.size} ${accounts.size === 1 ? 'wallet has its account' : 'wallets have their accounts'} in ${given.data}`)
  screen.plain(`\n  The wallet: http://${isEverywhere(given.host) ? 'localhost' : bracketed(given.host)}:${port}\n  Ctrl-C stops.\n`)
}

/** Starts the connector, and the receiver behind it. */
async function startConnector(given: Arguments, root: string, screen: Console): Promise<{ connector: Connector; receiver: Receiver }> {
  const folder = join(given.data, 'connector')
  const connector = await Connector.start({
    root,
    folder: join(folder, 'store'),
    onDeath: why => { screen.line(`the connector is gone, and with it all payments by STREAM: ${why}`) }
  })
  const { Receiver } = await import('./receiver.js')
  const token = randomBytes(24).toString('base64url')
  const receiver = await Receiver.open({
    server: `btp+ws://:${token}@127.0.0.1:${await connector.open('receiver', token)}`,
    folder: join(folder, 'receiver'),
    onPaid: (amount, packets, balance) => {
      screen.line(`the receiver is paid ${formatAmount(amount)} ${CURRENCY} by STREAM in ${packets} ${packets === 1 ? 'packet' : 'packets'}, balance ${formatAmount(balance)}`)
    }
  })
  return { connector, receiver }
}

/** Listens at the wanted port, or at the next one that is free when none was asked for; resolves with the port. */
async function listen(web: Server, { host, port: wanted, isPortFixed }: Arguments): Promise<number> {
  for (let port = wanted; ; port++) {
    web.listen(port, host)
    try {
      await once(web, 'listening')
      break
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error
      const isLast = isPortFixed || port === wanted + MOST_TRIES
      if (error.code !== 'EADDRINUSE') throw new Error(`cannot listen at ${host}:${port}: ${error.message}`, { cause: error })
      if (isLast) throw new Error(`port ${port} is taken: choose another with --port, or end what listens there`, { cause: error })
    }
  }
  const address = web.address()
  return typeof address === 'object' ? address?.port ?? 0 : 0
}

/** Addresses by which a browser here reaches it as localhost. */
function isEverywhere(host: string): boolean {
  return ['127.0.0.1', '::1', '0.0.0.0', '::', 'localhost'].includes(host)
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
