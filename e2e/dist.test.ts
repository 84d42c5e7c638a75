/**
 * What `npm run build` made and `npm pack` takes.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { root } from '../scripts/setup.mjs'

const dist = join(root, 'dist')

describe('dist', () => {
  it('has exactly one .js file with umd in its name, minified', () => {
    const [umd, ...others] = readdirSync(dist).filter(name => name.endsWith('.js') && name.includes('umd'))
    expect(others).toEqual([])
    expect(umd).toBe('ilp-plugin-paychan.umd.js')
    // Only the licenses of what is inside have lines of their own.
    expect(readFileSync(join(dist, 'ilp-plugin-paychan.umd.js'), 'utf8').split('\n').length).toBeLessThan(20)
  })

  it.each(['browser.js', 'browser-plugin.js', 'browser-stores.js', 'browser.cjs', 'ilp-plugin-paychan.umd.js'])('needs nothing from elsewhere in %s', name => {
    const code = readFileSync(join(dist, name), 'utf8')
    expect(code).not.toMatch(/^\s*(import|export)\b[^;\n]*\bfrom\s*['"](?!\.\/browser-)/m)
    expect(code).not.toMatch(/[^.\w]require\(\s*['"]/)
    expect(code).not.toMatch(/\bimport\(\s*['"]/)
  })

  it('hands on in node.js exactly what node.cjs has', async () => {
    const path = join(inject('project'), 'node_modules', 'ilp-plugin-paychan', 'dist', 'node.js')
    const names = Object.keys((await import(/* @vite-ignore */ path)) as object)
    expect(names).toEqual(expect.arrayContaining(['default', 'PaychanPlugin', 'makePaymentChannelPlugin', 'MemoryStore', 'IndexedDBStore', 'wrapKeyValueStore', 'BtpListener', 'LmdbStore', 'errors']))
  })
})

describe('the packed package', () => {
  interface Listing {
    files: Array<{ path: string }>
  }
  const [listing] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })) as [Listing]

  const paths = listing.files.map(({ path }) => path)

  it('lists dist, the sources, the examples, and the papers: nothing else', () => {
    const meant = /^(dist\/(browser|browser-plugin|browser-stores|node|ilp-plugin-paychan\.umd)\.(js|cjs|d\.ts|d\.cts|js\.map|cjs\.map)|dist\/licenses\.txt|src\/[\w/-]+\.ts|src\/btp\/PROTOCOL\.md|test\/(examples\/[\w-]+\.ts|[A-Z]+\.md)|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/
    expect(paths.filter(path => !meant.test(path))).toEqual([])
    expect(paths).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'CHANGELOG.md', 'src/btp/PROTOCOL.md']))
  })

  it('names the packages whose code is in it, with their licenses', () => {
    const text = readFileSync(join(dist, 'licenses.txt'), 'utf8')
    for (const name of ['idb-keyval', 'isomorphic-ws']) expect(text).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+, (MIT|Apache-2.0)$`, 'm'))
    expect(text).toContain('Permission is hereby granted')
  })

  it('has what its README links to', () => {
    const targets = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/\]\(([^)#:]+)\)/g)].map(([, target = '']) => target)
    expect(targets.length).toBeGreaterThan(10)
    expect(targets.filter(target => !paths.some(path => path === target || path.startsWith(`${target}/`)))).toEqual([])
  })

  it('brings every file that package.json points to', () => {
    const text = readFileSync(join(root, 'package.json'), 'utf8')
    const pointed = [...text.matchAll(/"\.\/(dist\/[^"]+)"/g)].map(([, path]) => path ?? '')
    expect(pointed.length).toBeGreaterThan(5)
    for (const path of pointed) expect(listing.files).toContainEqual(expect.objectContaining({ path }))
  })

  it('installs nothing native and runs no install script', () => {
    const modules = join(inject('project'), 'node_modules')
    const files = readdirSync(modules, { recursive: true, encoding: 'utf8' })
    expect(files.filter(name => name.endsWith('.node') || name.endsWith('binding.gyp'))).toEqual([])
    expect(existsSync(join(modules, 'lmdb'))).toBe(false)
  })
})
