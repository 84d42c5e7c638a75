/**
 * The package as hosts load it: by `require('ilp-plugin-paychan')`, in a process of their own. Made of the sources, so that no build is
 * needed before.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { rolldown } from 'rolldown'

const ROOT = join(import.meta.dirname, '..', '..', '..')

export interface InstalledPackage {
  /** Where Node finds it, and all that is installed here: for the environment of a process. */
  readonly NODE_PATH: string
  remove(): Promise<void>
}

export async function installPackage(): Promise<InstalledPackage> {
  const folder = await mkdtemp(join(tmpdir(), 'paychan-package-'))
  const entry = join(folder, 'entry.mjs')
  await writeFile(entry, `import * as all from ${JSON.stringify(join(ROOT, 'src', 'node.ts'))}\nexport default Object.assign(all.default, all)\n`)
  const bundle = await rolldown({ input: entry, platform: 'node', external: /^[^./]/, logLevel: 'warn' })
  const file = join(folder, 'node_modules', 'ilp-plugin-paychan', 'index.js')
  await bundle.write({ file, format: 'cjs', exports: 'default' })
  await bundle.close()
  return {
    NODE_PATH: [join(folder, 'node_modules'), join(ROOT, 'node_modules')].join(delimiter),
    remove: () => rm(folder, { recursive: true, force: true })
  }
}
