/**
 * The page's server: its files, the documents beside it, and the few calls of the wallet page:
 *
 *   POST /accounts             opens an account; answered with { id, token }
 *   GET  /accounts/<id>        answered with { isCut, hasConnector }; 404 where there is no such account (any more)
 *   POST /accounts/<id>/cut    cuts the cable between the wallet and its account
 *   POST /accounts/<id>/mend   mends it
 *   GET  /receiver             where to pay to by STREAM, as SPSP answers it; 404 without a connector
 *
 * Those of an account want its token: `Authorization: Bearer <token>`.
 */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { extname, join, normalize, sep } from 'node:path'
import type { Accounts } from './accounts.js'
import type { Cable } from './cable.js'
import { isOurHost, isOurOrigin } from './origin.js'
import type { StreamDetails } from './receiver.js'

export interface WebOptions {
  /** The address that is listened at. */
  readonly host: string
  /** Which folder holds what is below which path. */
  readonly folders: ReadonlyArray<readonly [path: string, folder: string]>
  readonly accounts: Accounts
  readonly cable: Cable
  /** Where to pay to by STREAM; `undefined` without a connector. */
  readonly receiver: (() => StreamDetails) | undefined
  /** What goes wrong, in words. */
  onTrouble(message: string): void
}

interface Answer {
  readonly status: number
  readonly type?: string
  readonly body?: string | Buffer
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.svg': 'image/svg+xml'
}

const NOT_FOUND: Answer = { status: 404, type: 'text/plain', body: 'There is nothing here.\n' }

export function makeWeb(options: WebOptions): Server {
  const { cable, host } = options
  const isOurs = ({ headers }: IncomingMessage): boolean => isOurHost(headers.host, host) && isOurOrigin(headers.origin, headers.host)
  const server = createServer((request, response) => {
    if (!isOurs(request)) {
      send(request, response, { status: 403, type: 'text/plain', body: `This server is not known by that name. Open it as localhost, or by its address.\n` })
      return
    }
    answer(request, options).then(
      found => { send(request, response, found) },
      (error: unknown) => {
        options.onTrouble(`a request could not be answered: ${error instanceof Error ? error.message : String(error)}`)
        send(request, response, { status: 500, type: 'text/plain', body: 'This could not be answered.\n' })
      }
    )
  })
  return server.on('upgrade', (request, socket, head) => {
    if (isOurs(request)) cable.connect(request, socket, head)
    else socket.destroy()
  })
}

async function answer(request: IncomingMessage, options: WebOptions): Promise<Answer> {
  const [path = '/'] = (request.url ?? '/').split('?')
  if (path === '/accounts' || path.startsWith('/accounts/')) return answerCall(request, path, options)
  if (path === '/receiver' && options.receiver !== undefined) return { ...json(200, options.receiver()), type: 'application/spsp4+json' }
  if (request.method !== 'GET' && request.method !== 'HEAD') return { status: 405, type: 'text/plain', body: 'Only GET.\n' }
  return readPage(path, options.folders)
}

async function answerCall({ method, headers }: IncomingMessage, path: string, { accounts, cable, receiver }: WebOptions): Promise<Answer> {
  if (path === '/accounts') {
    if (method !== 'POST') return { status: 405, type: 'text/plain', body: 'Only POST.\n' }
    return json(201, await accounts.create())
  }
  const [, , id = '', what] = path.split('/')
  if (accounts.find(id)?.accepts(headers.authorization?.replace(/^Bearer /, '') ?? '') !== true) return NOT_FOUND
  if (method === 'POST' && what === 'cut') cable.cut(id)
  else if (method === 'POST' && what === 'mend') cable.mend(id)
  else if (method !== 'GET' || what !== undefined) return NOT_FOUND
  return json(200, { isCut: cable.isCut(id), hasConnector: receiver !== undefined })
}

function json(status: number, value: object): Answer {
  return { status, type: TYPES['.json'] ?? '', body: JSON.stringify(value) }
}

/** A file of one of the folders; for a path that ends with a slash its index.html. */
async function readPage(path: string, folders: WebOptions['folders']): Promise<Answer> {
  for (const [prefix, folder] of folders) {
    if (!path.startsWith(prefix)) continue
    const name = normalize(decode(path.slice(prefix.length)))
    // Nothing beside or above the folder.
    if (name.startsWith('..') || name.startsWith(sep) || name.includes('\0')) return NOT_FOUND
    const file = join(folder, name, path.endsWith('/') ? 'index.html' : '')
    try {
      return { status: 200, type: TYPES[extname(file)] ?? 'application/octet-stream', body: await readFile(file) }
    } catch {
      // It may be in the folder of another path.
    }
  }
  return NOT_FOUND
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return '\0'
  }
}

function send(request: IncomingMessage, response: ServerResponse, { status, type = 'text/plain', body = '' }: Answer): void {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'x-frame-options': 'DENY'
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
