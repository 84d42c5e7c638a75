/** Compiles sources of ours for a child process, which cannot read TypeScript. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import ts from 'typescript'

const ROOT = join(import.meta.dirname, '..', '..')

/** Below node_modules, so that what the sources import is found from there. */
const CACHE = join(ROOT, 'node_modules', '.cache')

export interface Compiled {
  /** The folder that stands for `src`. */
  readonly folder: string
  remove(): Promise<void>
}

/** Compiles these folders of `src`, each file by itself, without checking types. */
export async function compileSources(name: string, folders: readonly string[]): Promise<Compiled> {
  const folder = join(CACHE, `${name}-${process.pid}`)
  for (const source of folders) {
    const entries = await readdir(join(ROOT, 'src', source))
    for (const entry of entries.filter(file => file.endsWith('.ts'))) {
      const code = await readFile(join(ROOT, 'src', source, entry), 'utf8')
      const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true }
      const { outputText } = ts.transpileModule(code, { compilerOptions })
      const target = join(folder, source, entry.replace(/\.ts$/, '.js'))
      await mkdir(dirname(target), { recursive: true })
      await writeFile(target, outputText)
    }
  }
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
}
