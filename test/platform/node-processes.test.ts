import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { kill, pid as ownPid } from 'node:process'
import { describe, expect, it } from 'vitest'
import { nodeProcesses } from '../../src/platform/node-processes.js'

const [, place = ''] = /^(.+) \d+ \d+$/.exec(nodeProcesses.own ?? '') ?? []
const startOf = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19] ?? ''
const nameOf = (pid: number, start = startOf(pid)): string => `${place} ${pid} ${start}`

describe('the processes of a Linux machine', () => {
  it('have names, by which one that runs is not gone', () => {
    expect(nodeProcesses.own).toBe(nameOf(ownPid))
    expect(place).toMatch(/^\S+ pid:\S+ time:\S+$/)
    expect(nodeProcesses.isGone(nameOf(ownPid))).toBe(false)
  })

  it('are there while they hang, and gone when they have ended, also before their parents have fetched them', async () => {
    // The shell becomes another program, so that it never fetches the child that it has begun.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const [line] = await once(parent.stdout, 'data') as [Buffer]
    const pid = Number(line.toString())
    const name = nameOf(pid)
    expect(nodeProcesses.isGone(name)).toBe(false)
    kill(pid, 'SIGSTOP')
    expect(nodeProcesses.isGone(name)).toBe(false)
    kill(pid, 'SIGKILL')
    await expect.poll(() => nodeProcesses.isGone(name)).toBe(true)
    const parentName = nameOf(parent.pid ?? 0)
    expect(nodeProcesses.isGone(parentName)).toBe(false)
    const ended = once(parent, 'exit')
    parent.kill('SIGKILL')
    await ended
    expect(nodeProcesses.isGone(parentName)).toBe(true)
  })

  it('are gone where their number is that of a later one', () => {
    expect(nodeProcesses.isGone(nameOf(ownPid, '1'))).toBe(true)
  })

  it('are not judged on another machine, after another start of it, or in another container', () => {
    expect(nodeProcesses.isGone('elsewhere pid:[1] time:[1] 999999999 1')).toBe(false)
    for (const name of ['', 'x', '1 2', 'a b c']) expect(nodeProcesses.isGone(name)).toBe(false)
  })
})
