/** A settlement that is stored by a store that hangs, behind the back of the host that was told that its outcome is unknown. */
import { describe, expect, it } from 'vitest'
import { watch } from '../support/lab.js'
import { openSettling, settled } from '../support/settling.js'

const TIMEOUT_MS = 10_000

describe('a settlement whose outcome was unknown', () => {
  it('and that has landed, is credited by the peer as well when it counts here, though a later one went first', async () => {
    const { lab, told } = await openSettling()
    await lab.alice.plugin.sendMoney('1')
    const release = lab.alice.store.holdCommits()
    const first = watch(lab.alice.plugin.sendMoney('5'))
    await lab.clock.advance(TIMEOUT_MS)
    expect(first).toMatchObject({ state: 'rejected', error: { name: 'StoreError', outcome: 'unknown' } })
    release()
    await lab.clock.advance(2000)
    await lab.alice.plugin.sendMoney('7')
    lab.network.cut()
    await lab.reconnect()
    await lab.clock.advance(5000)
    const [[out], [, credited]] = [await settled(lab.alice), await settled(lab.bob)]
    expect([told, out]).toEqual([told, credited])
  })

  it('is not sent at a reconnect much later, behind the back of its host, unless it is sent at once', async () => {
    const { lab, told } = await openSettling()
    const release = lab.alice.store.holdCommits()
    const first = watch(lab.alice.plugin.sendMoney('5'))
    await lab.clock.advance(TIMEOUT_MS)
    expect(first.error?.outcome).toBe('unknown')
    release()
    await lab.clock.advance(600_000)
    const before = told.length
    lab.network.cut()
    await lab.reconnect()
    await lab.clock.advance(5000)
    expect(told.length).toBe(before)
  })
})
