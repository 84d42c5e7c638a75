/**
 * A page that is a peer of a kill test, see test/crash/load.mjs. `begin` connects it; `life` is what the test asks then.
 */
import * as library from './browser.js'
import { live, makeModule, OPTIONS } from './load.mjs'

globalThis.begin = async (server, isV2) => {
  const module = isV2 ? undefined : makeModule('client')
  const Plugin = isV2 ? library.default : library.makePaymentChannelPlugin(module)
  const plugin = new Plugin({ ...OPTIONS, server, store: new library.IndexedDBStore({ name: 'wallet' }) }, ...(isV2 ? [{}] : []))
  globalThis.life = await live({
    plugin,
    module,
    errors: library.errors,
    sha256: async bytes => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)),
    toBase64url: bytes => btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', ''),
    randomUUID: () => crypto.randomUUID(),
    // The test puts this here.
    tell: message => { void globalThis.tell(message) }
  })
}
