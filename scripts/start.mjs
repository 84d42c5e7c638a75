/**
 * `npm start`: installs what is missing, builds what is stale, and runs the demo: a Node peer and a page with a wallet.
 * `npm start -- --help` tells what can be set.
 */
import { argv } from 'node:process'
import { buildWhenStale } from './build.mjs'
import { installDependencies, requireNode, root } from './setup.mjs'

requireNode()
installDependencies()
if (!buildWhenStale()) process.exit(1)
// These need what was installed just now.
const { buildDemoWhenStale } = await import('../demo/build.mjs')
await buildDemoWhenStale()
const { run } = await import('../.build/demo/peer.js')
await run(argv.slice(2), root)
