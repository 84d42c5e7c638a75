/**
 * The demo's Node side, as `npm start` runs it: reads what it was told, opens the accounts, serves the page, and ends cleanly.
 */
import { once } from 'node:events'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { Accounts } from './accounts.js'
import { HELP, readArguments } from './arguments.js'
import type { Arguments } from './arguments.js'
import { Cable } from './cable.js'
import { Console } from './console.js'
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
  const cable = new Cable(() => accounts.port)
  const web = makeWeb({
    host: given.host,
    folders: [['/api/', join(root, 'dist-docs')], ['/', join(root, '.build', 'demo', 'page')]],
    accounts,
    cable,
    onTrouble: message => { screen.line(message) }
  })
  const port = await listen(web, given)
  await accounts.open()

  const stop = async (): Promise<void> => {
    screen.line('stopping')
    web.close()
    await accounts.close()
    cable.close()
    web.closeAllConnections()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { void stop() })

  // Only now: whoever reads that it can be stopped may do so at once.
  if (accounts.size > 0) screen.line(`${accounts.size} ${accounts.size === 1 ? 'wallet has its account' : 'wallets have their accounts'} in ${given.data}`)
  screen.plain(`\n  The wallet: http://${isEverywhere(given.host) ? 'localhost' : bracketed(given.host)}:${port}\n  Ctrl-C stops.\n`)
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
