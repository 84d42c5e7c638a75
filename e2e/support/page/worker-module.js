/** A worker that is a module. */
import * as library from './browser.js'
import './wallet.js'
import './worker.js'

globalThis.serveWallet(globalThis.makeWallet(library))
