/**
 * What we use of the package `debug`, in a fifth of its size; the browser builds have it in that package's place. Lines go to
 * `console.debug` when `localStorage.debug` (or, as in Electron, the environment's DEBUG) has the namespace, with `*` for
 * anything and `-` before what is left out. It is read when a logger is made, so that a page can set it without a reload.
 */
export default function createDebug(namespace) {
  let last = Date.now()
  const debug = (format, ...values) => {
    if (!debug.enabled) return
    const now = Date.now()
    console.debug(`${namespace} ${format} +${now - last}ms`, ...values)
    last = now
  }
  debug.enabled = isEnabled(namespace, readTemplates())
  return debug
}

/** Whether the templates, separated by commas or spaces, take a namespace in. */
export function isEnabled(namespace, templates) {
  const list = templates.split(/[\s,]+/).filter(one => one !== '')
  const matches = template => new RegExp(`^${template.split('*').map(escape).join('.*')}$`, 's').test(namespace)
  return list.some(one => one[0] !== '-' && matches(one)) && !list.some(one => one[0] === '-' && matches(one.slice(1)))
}

/** Pages may be denied their storage, and workers have none. */
function readTemplates() {
  try {
    const { debug, DEBUG } = localStorage
    return debug || DEBUG || ''
  } catch {
    return globalThis.process?.env?.DEBUG ?? ''
  }
}

function escape(text) {
  return text.replace(/[\\^$.|?+()[\]{}]/g, '\\$&')
}
