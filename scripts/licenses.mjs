/**
 * A Rollup plugin that writes down whose code is in a bundle, and under which licenses: they ask that this goes along with it.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

export function licenses(fileName) {
  return {
    name: 'licenses',
    generateBundle(_options, bundle) {
      const names = new Set(Object.values(bundle).flatMap(({ modules = {} }) => Object.keys(modules)).map(packageOf))
      names.delete('ours')
      const source = [...names].sort().map(name => describe(join('node_modules', name))).join(`\n${'-'.repeat(80)}\n\n`)
      this.emitFile({ type: 'asset', fileName, source })
    }
  }
}

/** The name of the package that a module belongs to; `ours` for those of this one. */
export function packageOf(id) {
  return /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id.replaceAll('\\', '/'))?.[1] ?? 'ours'
}

function describe(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const file = readdirSync(folder).find(one => /^licen[cs]e\b/i.test(one))
  if (file === undefined && license !== 'Apache-2.0') throw new Error(`${name} has no license text`)
  const text = file === undefined ? 'The text is that of LICENSE.\n' : readFileSync(join(folder, file), 'utf8')
  return `${name} ${version}, ${license}\n\n${text.trim()}\n`
}
