/**
 * Bundlers as a user of the package sets them up: by their own defaults, with nothing said about Node's modules or polyfills.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import nodeResolve from '@rollup/plugin-node-resolve'
import { minifySync } from 'rolldown/utils'
import { rollup } from 'rollup'
import { build, createLogger } from 'vite'
import webpack from 'webpack'

/** Bundles a folder's `main.js` for a page, minified, to `out/main.js`; resolves with what the bundler complained of. */
type Bundler = (folder: string) => Promise<string[]>

export const BUNDLERS: Readonly<Record<string, Bundler>> = {
  async Vite(folder) {
    const complaints: string[] = []
    const complain = (message: string) => { complaints.push(message) }
    const customLogger = { ...createLogger('silent'), warn: complain, warnOnce: complain, error: complain }
    const output = { entryFileNames: 'main.js' }
    writeFileSync(join(folder, 'index.html'), '<script type="module" src="./main.js"></script>')
    await build({ root: folder, configFile: false, logLevel: 'warn', customLogger, build: { outDir: 'out', rolldownOptions: { output } } })
    return complaints
  },

  async Rollup(folder) {
    const complaints: string[] = []
    const onLog = (_level: string, { message }: { message: string }) => { complaints.push(message) }
    const bundle = await rollup({ input: join(folder, 'main.js'), plugins: [nodeResolve({ browser: true })], onLog })
    const { output: [{ code }] } = await bundle.generate({ format: 'es' })
    await bundle.close()
    mkdirSync(join(folder, 'out'))
    writeFileSync(join(folder, 'out', 'main.js'), minifySync('main.js', code, { module: true }).code)
    return complaints
  },

  async webpack(folder) {
    const compiler = webpack({ mode: 'production', context: folder, entry: './main.js', output: { path: join(folder, 'out') } })
    const stats = await promisify(compiler.run.bind(compiler))()
    await promisify(compiler.close.bind(compiler))()
    const { errors = [], warnings = [] } = stats?.toJson({ all: false, errors: true, warnings: true }) ?? { errors: [{ message: 'no result' }] }
    return [...errors, ...warnings].map(({ message }) => message)
  }
}
