/**
 * `npm run check-package`: what publint and "are the types wrong" find in the file that `npm pack` makes. Fails over any finding.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { root } from './setup.mjs'

const findings = await inPackedFile(async tarball => [...await askPublint(tarball), ...await askTypes(tarball)])
for (const finding of findings) console.error(finding)
console.log(`The packed package: ${findings.length} findings`)
if (findings.length > 0) process.exitCode = 1

/** Packs the package, without building it anew, and takes the file away afterwards. */
async function inPackedFile(use) {
  const folder = mkdtempSync(join(tmpdir(), 'paychan-pack-'))
  try {
    const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
    const shell = process.platform === 'win32'
    const [{ filename }] = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8', shell, stdio: ['ignore', 'pipe', 'ignore'] }))
    return await use(readFileSync(join(folder, filename)))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whether package.json, the exports and the files' formats agree. */
async function askPublint(tarball) {
  const { buffer, byteOffset, byteLength } = tarball
  const { messages, pkg } = await publint({ pack: { tarball: buffer.slice(byteOffset, byteOffset + byteLength) }, level: 'suggestion' })
  return messages.map(message => `publint, ${message.type}: ${formatMessage(message, pkg)}`)
}

/** Whether TypeScript finds, under each of its ways of resolution, types that say what the code does. */
async function askTypes(tarball) {
  const { types, problems } = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)))
  if (types === false) return ['types: the package has none']
  return problems.map(problem => `types: ${JSON.stringify(problem)}`)
}
