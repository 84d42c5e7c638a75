/**
 * Whether another process of this machine is gone for certain, so that what it held need not be waited for. Imports core.
 *
 * Only on Linux, where a process can be told from a later one of the same number, by when it was started. Where anything is in doubt (another
 * machine, another container, a /proc that is not this container's) it is taken to be there.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import process from 'node:process'

/** Everything up to the last bracket is the command, which may have brackets and spaces itself; then come the state and, as the 22nd field, the start. */
const STAT = /^.*\) (\S)(?: \S+){18} (\d+) /s

/** Where a number of a process means the same: this start of the machine, this container. */
function placeOf(): string | undefined {
  try {
    if (readlinkSync('/proc/self') !== String(process.pid)) return undefined
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return [boot, readlinkSync('/proc/self/ns/pid'), readlinkSync('/proc/self/ns/time')].join(' ')
  } catch {
    return undefined
  }
}

/** When a process was started; `'gone'` where it has ended, `undefined` where that cannot be told. */
function startOf(pid: number): string | undefined {
  try {
    // Also finds those that /proc hides from us.
    process.kill(pid, 0)
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ESRCH') return 'gone'
  }
  try {
    const [, state = '', start] = STAT.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    // Killed, and not yet fetched by its parent.
    return 'ZX'.includes(state) && state !== '' ? 'gone' : start
  } catch {
    return undefined
  }
}

const place = placeOf()
const ownStart = place === undefined ? undefined : startOf(process.pid)

/** The processes of this machine, by names that say where, which and since when. */
export const nodeProcesses = {
  own: place === undefined || ownStart === undefined ? undefined : `${place} ${process.pid} ${ownStart}`,

  isGone(name: string): boolean {
    const [, where, pid, start] = /^(.+) (\d+) (\d+)$/.exec(name) ?? []
    if (place === undefined || where !== place) return false
    const found = startOf(Number(pid))
    return found !== undefined && found !== start
  }
}
