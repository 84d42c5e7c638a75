/**
 * Compiles parts of src into a folder of their own, for tests that need them in another process.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ts from 'typescript'

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
