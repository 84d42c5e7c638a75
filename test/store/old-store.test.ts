/**
 * Stores that the published old package wrote open with the wrapper, and the other way round.
 */
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { wrapKeyValueStore } from '../../src/store/key-value.js'
import { HostStore } from '../support/host-store.js'

interface OldTransfer {
  id: string
  amount: string
}

interface OldTransferLog {
  setMaximum(maximum: string): Promise<void>
  setMinimum(minimum: string): Promise<void>
  getMaximum(): Promise<string>
  getBalance(): Promise<string>
  get(id: string): Promise<unknown>
  prepare(transfer: OldTransfer, isIncoming: boolean): Promise<void>
  fulfill(id: string, fulfillment: string): Promise<void>
  cancel(id: string): Promise<void>
}

interface OldBackend {
  getTransferLog(options: { key?: string }): OldTransferLog
  getMaxValueTracker(options: { key: string }): {
    setIfMax(entry: { value: string; data: unknown }): Promise<unknown>
    getMax(): Promise<unknown>
  }
}

const require = createRequire(import.meta.url)
const oldBackend = require('ilp-plugin-payment-channel-framework/src/util/backend.js') as (store: HostStore) => OldBackend

const IN = { id: '5b6fc2f7-5ae2-4f4b-9b1a-9b0f8f1c2d3e', amount: '120' }
const OUT = { id: '0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0', amount: '45' }
const HELD = { id: '11111111-2222-4333-8444-555555555555', amount: '7' }
const GONE = { id: '66666666-7777-4888-8999-aaaaaaaaaaaa', amount: '9' }

const record = (transfer: OldTransfer, isIncoming: boolean, state: string, fulfillment?: string): string =>
  JSON.stringify({ transfer, isIncoming, state, ...(fulfillment === undefined ? {} : { fulfillment }) })

/** What the old package leaves in a store for the transfers above. */
const CONTENT: Array<[key: string, value: string]> = [
  [':tl:balance:if', '120'],
  [':tl:balance:of', '45'],
  [':tl:maximum', '1000'],
  [':tl:minimum', '-500'],
  [`:tl:transfer:${OUT.id}`, record(OUT, false, 'fulfilled', 'out')],
  [`:tl:transfer:${HELD.id}`, record(HELD, true, 'prepared')],
  [`:tl:transfer:${IN.id}`, record(IN, true, 'fulfilled', 'in')],
  [`:tl:transfer:${GONE.id}`, record(GONE, true, 'cancelled')],
  ['claims:mvt:maximum', JSON.stringify({ value: '120', data: { signature: 'abc' } })]
]

async function writeWithOldPackage(host: HostStore): Promise<void> {
  const { getTransferLog, getMaxValueTracker } = oldBackend(host)
  const log = getTransferLog({})
  await log.setMaximum('1000')
  await log.setMinimum('-500')
  await log.prepare(IN, true)
  await log.fulfill(IN.id, 'in')
  await log.prepare(OUT, false)
  await log.fulfill(OUT.id, 'out')
  await log.prepare(HELD, true)
  await log.prepare(GONE, true)
  await log.cancel(GONE.id)
  await getMaxValueTracker({ key: 'claims' }).setIfMax({ value: '120', data: { signature: 'abc' } })
}

describe('a store of the old package', () => {
  it('opens with the wrapper: every value is where it was, as the text that it was', async () => {
    const host = new HostStore()
    await writeWithOldPackage(host)
    expect([...host.data].sort(([a], [b]) => (a < b ? -1 : 1))).toEqual(CONTENT)
    const store = wrapKeyValueStore(host)
    for (const [key, value] of CONTENT) expect(await store.get(key)).toBe(value)
    // They are reached by their keys only, until they are written again.
    expect(await store.list('')).toEqual([])
    const [key = '', value = ''] = CONTENT[0] ?? []
    expect(await store.commit({ puts: [[key, '130']], guards: [[key, value]] })).toBe(true)
    expect(await store.list(':tl:')).toEqual([[key, '130']])
    expect(host.data.get(key)).toBe('130')
  })

  it('H9: opens also where the host parses JSON', async () => {
    const host = new HostStore()
    await writeWithOldPackage(host)
    const store = wrapKeyValueStore(new HostStore({ values: 'parsed' }, host.data))
    for (const [key, value] of CONTENT) expect(await store.get(key)).toBe(value)
  })

  it('can be written by the wrapper: the old package reads balances, limits, transfers and claims from it', async () => {
    const host = new HostStore()
    const store = wrapKeyValueStore(host)
    expect(await store.commit({ puts: [...CONTENT, ['paychan:open:x', '{}']] })).toBe(true)
    const { getTransferLog, getMaxValueTracker } = oldBackend(host)
    const log = getTransferLog({})
    expect(await log.getBalance()).toBe('75')
    expect(await log.getMaximum()).toBe('1000')
    expect(await log.get(IN.id)).toBe(record(IN, true, 'fulfilled', 'in'))
    expect(await getMaxValueTracker({ key: 'claims' }).getMax()).toEqual({ value: '120', data: { signature: 'abc' } })
  })
})
