/**
 * The Node versions that the package is tested in: the one that runs the tests, and others from the npm package `node`, which
 * carries the binaries. They are kept in .build, so that they are installed once.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/setup.mjs'

export const NODE_VERSIONS = [20, 22, 24] as const

/** The path of a Node of that major version. Installs it where it is missing, and takes away what a failed install has left. */
export function nodeOf(major: number): string {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const folder = join(root, '.build', 'node', String(major))
  const binary = join(folder, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (!existsSync(binary)) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const shell = process.platform === 'win32'
    execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error', `node@${major}`], { cwd: folder, shell, stdio: 'pipe' })
  }
  const version = execFileSync(binary, ['--version'], { encoding: 'utf8' })
  if (version.startsWith(`v${major}.`)) return binary
  rmSync(folder, { recursive: true, force: true })
  throw new Error(`the package node@${major} brought Node ${version}`)
}
