/**
 * The facts about package.json and the lockfile that users rely on. What is in dist is checked by e2e/.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

interface Manifest {
  name: string
  type: string
  engines: { node: string }
  exports: Record<string, Record<string, unknown>>
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
  peerDependenciesMeta: Record<string, { optional?: boolean }>
  main: string
  unpkg: string
  jsdelivr: string
}

interface LockedPackage {
  resolved?: string
  integrity?: string
  inBundle?: boolean
  hasInstallScript?: boolean
  gypfile?: boolean
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest
const lockfile = readFileSync('package-lock.json', 'utf8')
const locked = (JSON.parse(lockfile) as { packages: Record<string, LockedPackage> }).packages

/** Where Node finds `name` when the package installed at `from` asks for it. */
function resolveIn(packages: Record<string, LockedPackage>, from: string, name: string): string {
  for (let folder = from; ; folder = folder.replace(/\/?(?:node_modules\/)?(?:@[^/]+\/)?[^/]+$/, '')) {
    const path = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`
    if (packages[path] !== undefined) return path
    if (folder === '') throw new Error(`${name}, which ${from} needs, is not in the lockfile`)
  }
}

/** Every package that installing ours brings along, as paths in the lockfile. */
function installedWithUs(packages: Record<string, LockedPackage>, dependencies: Record<string, string>): Set<string> {
  const found = new Set<string>()
  const visit = (from: string, wanted: Record<string, string> = {}) => {
    for (const name of Object.keys(wanted)) {
      const path = resolveIn(packages, from, name)
      if (found.has(path)) continue
      found.add(path)
      visit(path, packages[path]?.dependencies)
    }
  }
  visit('', dependencies)
  return found
}

describe('package.json', () => {
  it('lets bundlers meet the browser condition first', () => {
    expect(Object.keys(manifest.exports['.'] ?? {})).toEqual(['browser', 'import', 'require'])
  })

  it('names the types before the code in every condition', () => {
    const check = (conditions: Record<string, unknown>) => {
      if (!('types' in conditions)) {
        for (const inner of Object.values(conditions)) check(inner as Record<string, unknown>)
        return
      }
      expect(Object.keys(conditions)).toEqual(['types', 'default'])
      const { types, default: code } = conditions as { types: string; default: string }
      expect(types).toBe(code.replace(/\.(c?)js$/, '.d.$1ts'))
    }
    check(manifest.exports['.'] ?? {})
  })

  it('points script tags from a CDN to the UMD file', () => {
    expect(manifest.unpkg).toBe('./dist/ilp-plugin-paychan.umd.js')
    expect(manifest.jsdelivr).toBe(manifest.unpkg)
  })

  it('is an ES module package for Node 20.19 and newer', () => {
    expect(manifest.type).toBe('module')
    expect(manifest.engines.node).toBe('>=20.19')
  })

  it('has native stores as optional peers only', () => {
    for (const name of Object.keys(manifest.peerDependencies)) {
      expect(manifest.peerDependenciesMeta[name]?.optional).toBe(true)
    }
    expect(Object.keys(manifest.dependencies)).not.toContain('lmdb')
  })
})

describe('the lockfile', () => {
  it('has no download addresses, and a checksum for every package', () => {
    expect(lockfile).not.toContain('"resolved"')
    // What comes inside of another package is covered by the checksum of that one.
    const unchecked = Object.entries(locked).filter(([path, { integrity, inBundle }]) => path !== '' && integrity === undefined && inBundle !== true)
    expect(unchecked).toEqual([])
  })

  it('names the optional packages of every platform, so that npm ci takes it on all of them', () => {
    for (const [path, { optionalDependencies = {} }] of Object.entries(locked)) {
      for (const name of Object.keys(optionalDependencies)) expect(() => resolveIn(locked, path, name)).not.toThrow()
    }
  })

  it('brings no package to a user that compiles or runs something when it is installed', () => {
    const installed = installedWithUs(locked, manifest.dependencies)
    expect(installed.size).toBeGreaterThan(Object.keys(manifest.dependencies).length - 1)
    const withScripts = [...installed].filter(path => locked[path]?.hasInstallScript === true || locked[path]?.gypfile === true)
    expect(withScripts).toEqual([])
  })

  it('would show a native package: lmdb is one', () => {
    expect(installedWithUs(locked, { lmdb: '*' })).toContain('node_modules/msgpackr')
    expect(locked['node_modules/lmdb']?.hasInstallScript).toBe(true)
  })
})
