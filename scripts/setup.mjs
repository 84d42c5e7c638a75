/**
 * What `npm start` and `npm test` need before anything else: the dependencies, and for the browser checks a Chromium.
 * Plain Node without dependencies, since it runs when there are none.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const OLDEST_NODE = [20, 19]

const BROWSERS = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'
]

/** For whoever has none. */
export const HOW_TO_GET_A_BROWSER = [
  'The browser checks need Chromium, and there is none here. To get it:',
  '  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y --no-install-recommends chromium',
  '  elsewhere:       install Chromium or Chrome, and set CHROMIUM_PATH to its executable'
].join('\n')

/** Ends the process with a message when this Node is too old to run the package. */
export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return
  console.error(`Node ${OLDEST_NODE.join('.')} or newer is needed; this is ${process.versions.node}.`)
  process.exit(1)
}

/**
 * Runs `npm ci` when the installed packages are not those of the lockfile. Ends the process when it fails.
 */
export function installDependencies() {
  if (dependenciesAreCurrent()) return
  console.log('Installing the dependencies (npm ci) ...')
  // NODE_ENV=production would leave out what the build needs.
  run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund']) || process.exit(1)
}

/**
 * npm writes node_modules/.package-lock.json at the end of every install: it names what really is there. Packages for other
 * platforms are optional and may be absent.
 */
function dependenciesAreCurrent() {
  const installedPath = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(installedPath)) return false
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  const installed = JSON.parse(readFileSync(installedPath, 'utf8')).packages
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true
    const found = installed[path]
    return found === undefined ? optional === true : found.version === version && existsSync(join(root, path))
  })
}

/** The path of a Chromium, or `undefined`. */
export function findBrowser() {
  return BROWSERS.find(path => path !== undefined && isExecutable(path))
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Installs Chromium through apt when there is none and we may; otherwise says how to get it. Returns whether there is one. */
export function installBrowser() {
  if (findBrowser() !== undefined) return true
  const mayInstall = process.getuid?.() === 0 && isExecutable('/usr/bin/apt-get')
  if (mayInstall) {
    console.log('Installing Chromium (apt-get) ...')
    run('apt-get', ['update', '-qq']) && run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'])
  }
  if (findBrowser() !== undefined) return true
  console.error(HOW_TO_GET_A_BROWSER)
  return false
}

/** Runs a command in the project's folder, its output passed on; returns whether it succeeded. */
function run(command, args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  // On Windows npm is a script, which only a shell can run.
  const shell = process.platform === 'win32'
  const { status, error } = spawnSync(command, args, { cwd: root, env, shell, stdio: ['ignore', 'inherit', 'inherit'] })
  if (error !== undefined) console.error(`${command} could not be run: ${error.message}`)
  return status === 0
}
