/** A worker that is no module, over the UMD file. */
importScripts('ilp-plugin-paychan.umd.js', 'wallet.js', 'worker.js')
globalThis.serveWallet(globalThis.makeWallet(globalThis.IlpPluginPaychan))
