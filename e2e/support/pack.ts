/**
 * Packs the package as it would be published and installs it in an empty project, once for all e2e files: what users get is
 * what is tested. `inject('project')` is the folder of that project, `inject('projectWithLmdb')` that of one which has lmdb too.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { root } from '../../scripts/setup.mjs'

declare module 'vitest' {
  interface ProvidedContext {
    project: string
    projectWithLmdb: string
  }
}

export default function setup(project: TestProject): () => void {
  const both = mkdtempSync(join(tmpdir(), 'paychan-e2e-'))
  const folder = join(both, 'user')
  const folderWithLmdb = join(both, 'user-with-lmdb')
  mkdirSync(folder)
  const npm = (cwd: string, ...args: string[]) => execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  const packed = JSON.parse(npm(root, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder)) as [{ filename: string }]
  writeFileSync(join(folder, 'package.json'), '{ "name": "user", "private": true }\n')
  npm(folder, 'install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', join(folder, packed[0].filename))
  cpSync(folder, folderWithLmdb, { recursive: true })
  symlinkSync(join(root, 'node_modules', 'lmdb'), join(folderWithLmdb, 'node_modules', 'lmdb'))
  // The compiler's declarations of Node, as a TypeScript user has them.
  mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true })
  for (const name of ['@types/node', 'undici-types']) symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  project.provide('project', folder)
  project.provide('projectWithLmdb', folderWithLmdb)
  return () => {
    rmSync(both, { recursive: true, force: true })
  }
}
