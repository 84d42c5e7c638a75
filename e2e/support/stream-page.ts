/**
 * Bundles the page that pays by STREAM. Its libraries are of the time when bundlers brought Node's modules along; what stands in for these
 * is named here.
 */
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { inject } from 'vitest'

const page = (name: string): string => join(import.meta.dirname, 'page', name)

/** Resolves with the script. */
export async function bundleStreamPage(): Promise<string> {
  const bundle = await rolldown({
    input: page('stream.js'),
    platform: 'browser',
    resolve: {
      alias: {
        assert: page('node-assert.cjs'),
        stream: 'readable-stream',
        'ilp-plugin-paychan': join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist', 'browser.js')
      }
    },
    transform: {
      define: { global: 'globalThis' },
      inject: { Buffer: ['buffer', 'Buffer'], process: page('node-process.js'), setImmediate: [page('node-process.js'), 'setImmediate'] }
    }
  })
  const { output: [{ code }] } = await bundle.generate({ format: 'iife' })
  await bundle.close()
  return code
}
