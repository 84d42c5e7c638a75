/**
 * Compiles parts of src into a folder of their own, for tests that need them in another process.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')

export interface CompiledFolder {
  path: string
  remove(): Promise<void>
}

/**
 * Compiles the named folders of src, file by file. `dependencies` is whether the result finds the installed packages;
 * `files` are further files to write, by name.
 */
export async function compile(folders: string[], options: { dependencies: boolean; files: Record<string, string> }): Promise<CompiledFolder> {
  const path = await mkdtemp(join(tmpdir(), 'paychan-compiled-'))
  await writeFile(join(path, 'package.json'), '{ "type": "module" }')
  for (const folder of folders) {
    await mkdir(join(path, folder), { recursive: true })
    for (const file of await readdir(join(ROOT, 'src', folder))) {
      if (!file.endsWith('.ts')) continue
      const source = await readFile(join(ROOT, 'src', folder, file), 'utf8')
      const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }
      await writeFile(join(path, folder, file.replace(/\.ts$/, '.js')), ts.transpileModule(source, { compilerOptions, fileName: file }).outputText)
    }
  }
  for (const [file, text] of Object.entries(options.files)) await writeFile(join(path, file), text)
  if (options.dependencies) await symlink(join(ROOT, 'node_modules'), join(path, 'node_modules'), 'junction')
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

/** Compiles the whole package, for tests that run it in other processes and may be run without a build. `entry` is its file for Node. */
export async function compilePackage(): Promise<CompiledFolder & { entry: string }> {
  const path = await mkdtemp(join(tmpdir(), 'paychan-compiled-'))
  await writeFile(join(path, 'package.json'), '{ "type": "module" }')
  await symlink(join(ROOT, 'node_modules'), join(path, 'node_modules'), 'junction')
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const only = ['--noCheck', '--declaration', 'false', '--sourceMap', 'false', '--inlineSources', 'false']
  await run(process.execPath, [compiler, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', join(path, 'js'), ...only])
  return { path, entry: join(path, 'js', 'node.js'), remove: () => rm(path, { recursive: true, force: true }) }
}
