/**
 * What `npm start` and `npm test` need before anything else: the dependencies, and for the browser checks browsers.
 * Plain Node without dependencies, since it runs when there are none.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const OLDEST_NODE = [20, 19]

/** Each is there when of each row one path is. Chromium runs most of the checks, and is needed; those of the others are left out without them. */
const BROWSERS = {
  chromium: {
    title: 'Chromium',
    paths: [[
      process.env.CHROMIUM_PATH,
      '/usr/bin/chromium',
      '/usr/bin/chromium-browser',
      '/usr/bin/google-chrome',
      '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'
    ]],
    packages: ['chromium'],
    elsewhere: 'install Chromium or Chrome, and set CHROMIUM_PATH to its executable'
  },
  firefox: {
    title: 'Firefox',
    paths: [[process.env.FIREFOX_PATH, '/usr/bin/firefox-esr']],
    packages: ['firefox-esr'],
    elsewhere: 'install Firefox, and set FIREFOX_PATH to its executable'
  },
  webkit: {
    title: 'WebKitGTK',
    paths: [['/usr/bin/WebKitWebDriver'], ['/usr/bin/Xvfb']],
    packages: ['webkit2gtk-driver', 'xvfb'],
    elsewhere: 'it runs on Linux only'
  }
}

/** Says what is missing, and how to get it. */
export function howToGet(browser) {
  const { title, packages, elsewhere } = BROWSERS[browser]
  return [
    `There is no ${title} here, which some of the browser checks need. To get it:`,
    `  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages.join(' ')}`,
    `  elsewhere:       ${elsewhere}`
  ].join('\n')
}

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

/** The path of a browser, of its driver for WebKitGTK, or `undefined`. */
export function findBrowser(browser = 'chromium') {
  const found = BROWSERS[browser].paths.map(paths => paths.find(path => path !== undefined && isExecutable(path)))
  return found.includes(undefined) ? undefined : found[0]
}

/** Whether the checks in a browser cannot be left out: it is there, or should be. */
export function needsBrowser(browser) {
  return browser === 'chromium' || mayInstall() || findBrowser(browser) !== undefined
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function mayInstall() {
  return process.getuid?.() === 0 && isExecutable('/usr/bin/apt-get')
}

/** Installs the browsers that are missing through apt where we may; otherwise says how to get them, and what happens without. */
export function installBrowsers() {
  const missing = () => Object.keys(BROWSERS).filter(browser => findBrowser(browser) === undefined)
  if (missing().length > 0 && mayInstall()) {
    const packages = missing().flatMap(browser => BROWSERS[browser].packages)
    console.log(`Installing ${packages.join(', ')} (apt-get) ...`)
    run('apt-get', ['update', '-qq']) && run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages])
  }
  for (const browser of missing()) {
    console.error(howToGet(browser))
    console.error(needsBrowser(browser) ? 'The checks in it will fail.' : 'The checks in it are left out, and counted as skipped.')
  }
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
