/**
 * What `npm start -- ...` takes.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

export interface Arguments {
  readonly host: string
  /** The port asked for, or else the first one to try. */
  readonly port: number
  /** Whether the port was asked for: then no other will do. */
  readonly isPortFixed: boolean
  /** The folder of the accounts. */
  readonly data: string
  /** Whether an ilp-connector runs beside, for payments by STREAM. */
  readonly hasConnector: boolean
}

const DEFAULT_PORT = 8080

export const HELP = `
Usage: npm start -- [options]

Serves a wallet page, and runs the Node peer that it pays.

  --port <number>   where to listen; default ${DEFAULT_PORT}, or the next port that is free; 0 takes any
  --host <address>  the address to listen at; default 127.0.0.1, which only this machine reaches
  --data <folder>   where the accounts are kept; default .data in this project
  --connector       also runs an ilp-connector, through which the page pays a receiver by STREAM
  --help            this text

The same can be set by the environment: PORT, HOST, DATA_DIR.
`

/**
 * Reads the command line, and the environment where that says nothing. `undefined` asks for the help.
 * @throws Error that says what is wrong
 */
export function readArguments(args: string[], environment: Readonly<Record<string, string | undefined>>, defaultData: string): Arguments | undefined {
  const { values } = parseArgs({
    args,
    options: { port: { type: 'string' }, host: { type: 'string' }, data: { type: 'string' }, connector: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } }
  })
  if (values.help === true) return undefined
  const { PORT, HOST, DATA_DIR } = environment
  const port = values.port ?? PORT
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) <= 65_535)) throw new Error(`the port must be a number from 0 to 65535, not '${port}'`)
  return {
    host: values.host ?? HOST ?? '127.0.0.1',
    port: Number(port ?? DEFAULT_PORT),
    isPortFixed: port !== undefined,
    data: resolve(values.data ?? DATA_DIR ?? defaultData),
    hasConnector: values.connector === true
  }
}
