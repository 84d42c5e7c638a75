/**
 * Whether a request comes from the page itself. A page of somebody else can make a browser send requests to this machine, and by
 * DNS rebinding it can even read the answers, under a name of its own: so names that are not ours are refused. An IP address cannot be
 * rebound.
 */
import { isIP } from 'node:net'

/**
 * Whether the Host header names this server.
 * @param listensAt the address or name that it was told to listen at
 */
export function isOurHost(host: string | undefined, listensAt: string): boolean {
  const name = hostnameOf(`http://${host ?? ''}`)
  if (name === undefined) return false
  return name === 'localhost' || name.endsWith('.localhost') || name === listensAt.toLowerCase() || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0
}

/** Whether a request was made by a page of this server, or by no page at all. */
export function isOurOrigin(origin: string | undefined, host: string | undefined): boolean {
  return origin === undefined || origin.replace(/^https?:\/\//, '') === host
}

function hostnameOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).hostname : undefined
}
