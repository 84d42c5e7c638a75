/**
 * The packed package's files for browsers over http, and pages that load them: two have what they export as the global `library`,
 * `wallet.html` has a wallet (see page/main.js), `framed.html` one in a frame without an origin, `load.html` a peer of a kill test (see page/load.js).
 */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { inject } from 'vitest'
import { root } from '../../scripts/setup.mjs'

/** Where scripts of the tests are, which a page gets before those of the package. */
const SCRIPTS = [join(import.meta.dirname, 'page'), join(root, 'test', 'crash')]

const HTML: Readonly<Record<string, string>> = {
  '/umd.html': '<script src="ilp-plugin-paychan.umd.js"></script><script>library = IlpPluginPaychan</script>',
  '/esm.html': '<script type="module">import * as library from "./browser.js"; globalThis.library = library</script>',
  '/wallet.html': '<script type="module" src="main.js"></script>',
  '/framed.html': '<iframe sandbox="allow-scripts" src="wallet.html"></iframe>',
  '/load.html': '<script type="module" src="load.js"></script>'
}

/** Those that have the package as a global. */
export const PAGES = ['/umd.html', '/esm.html']

export interface Site {
  /** The address of a page or of a file in dist, by its path. */
  urlOf(path: string): string
  close(): Promise<void>
}

/** Serves on a free port, or on the given one: an origin, with all that a browser keeps for it, is a port too. */
export async function openSite(port = 0): Promise<Site> {
  const dist = join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist')
  const server = createServer((request, response) => {
    const { pathname: path } = new URL(request.url ?? '/', 'http://localhost')
    const html = HTML[path]
    response.setHeader('content-type', html === undefined ? 'text/javascript' : 'text/html')
    // A frame without an origin of its own may load them too.
    response.setHeader('access-control-allow-origin', '*')
    if (html !== undefined) response.end(`<!doctype html><link rel="icon" href="data:,">${html}`)
    else if (/^\/[\w.-]+\.m?js$/.test(path)) response.end(readFileSync(join(SCRIPTS.find(folder => existsSync(join(folder, path))) ?? dist, path)))
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
