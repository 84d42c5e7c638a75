/** Loaded before a connector: it must not outlive the tests that started it, whatever ends them. */
const process = require('node:process')

process.on('disconnect', () => process.exit())
process.channel?.unref()
