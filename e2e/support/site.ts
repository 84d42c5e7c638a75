/**
 * The packed package's files for browsers over http, and pages that load them and have what they export as the global `library`.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { inject } from 'vitest'

const HTML: Readonly<Record<string, string>> = {
  '/umd.html': '<script src="ilp-plugin-paychan.umd.js"></script><script>library = IlpPluginPaychan</script>',
  '/esm.html': '<script type="module">import * as library from "./browser.js"; globalThis.library = library</script>'
}

export const PAGES = Object.keys(HTML)

export interface Site {
  /** The address of a page or of a file in dist, by its path. */
  urlOf(path: string): string
  close(): Promise<void>
}

/** Serves on a free port, or on the given one: an origin, with all that a browser keeps for it, is a port too. */
export async function openSite(port = 0): Promise<Site> {
  const dist = join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist')
  const server = createServer((request, response) => {
    const path = request.url ?? '/'
    const html = HTML[path]
    response.setHeader('content-type', html === undefined ? 'text/javascript' : 'text/html')
    if (html !== undefined) response.end(`<!doctype html><link rel="icon" href="data:,">${html}`)
    else if (/^\/[\w.-]+\.js$/.test(path)) response.end(readFileSync(join(dist, path)))
    else response.writeHead(404).end()
  })
  server.listen(port)
  await once(server, 'listening')
  return {
    urlOf: path => `http://localhost:${(server.address() as AddressInfo).port}${path}`,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}
