/**
 * `npm start`: installs what is missing, builds what is stale, and runs the demo: a Node peer and a page with a wallet.
 */
import { buildWhenStale } from './build.mjs'
import { installDependencies, requireNode } from './setup.mjs'

requireNode()
installDependencies()
if (!buildWhenStale()) process.exit(1)
await import('../demo/server.js')
