/** The documented TransferLog. */
import { describe, expect, it } from 'vitest'
import { AlreadyFulfilledError, AlreadyRolledBackError, DuplicateIdError, InvalidFieldsError, NotAcceptedError, StoreError, TransferNotFoundError } from '../../src/core/errors.js'
import type { LoggedTransfer } from '../../src/ledger/records.js'
import { MemoryStore } from '../../src/store/memory.js'
import { storedTransfers } from '../support/stored-transfers.js'
import { contents, open } from './setup.js'

const log = (options: { maximum?: string; minimum?: string } = {}, inner = new MemoryStore()) => {
  const opened = open(inner)
  return { ...opened, log: opened.backend.getTransferLog<LoggedTransfer & Record<string, unknown>>({ key: 'log', ...options }) }
}

describe('sums', () => {
  it('count fulfilled transfers in the balance, and prepared ones in their own direction only', async () => {
    const { log: it } = log()
    const all = async () => [await it.getBalance(), await it.getIncomingFulfilled(), await it.getIncomingFulfilledAndPrepared(),
      await it.getOutgoingFulfilled(), await it.getOutgoingFulfilledAndPrepared()]
    expect(await all()).toEqual(['0', '0', '0', '0', '0'])
    await it.prepare({ id: 'in', amount: '5' }, true)
    await it.prepare({ id: 'out', amount: '7' }, false)
    expect(await all()).toEqual(['0', '0', '5', '0', '7'])
    await it.fulfill('in', 'preimage')
    await it.fulfill('out', 'preimage')
    expect(await all()).toEqual(['-2', '5', '5', '7', '7'])
    await it.prepare({ id: 'in2', amount: '100' }, true)
    await it.cancel('in2')
    expect(await all()).toEqual(['-2', '5', '5', '7', '7'])
  })

  it('H21: are never written with an exponent or as -0', async () => {
    const inner = new MemoryStore()
    await inner.commit({ puts: [['log:tl:balance:if', '1e+21'], ['log:tl:balance:of', '1000000000000000000000']] })
    const { log: it } = log({}, inner)
    expect(await it.getIncomingFulfilled()).toBe('1000000000000000000000')
    expect(await it.getBalance()).toBe('0')
    await it.prepare({ id: 'a', amount: '1' }, true)
    await it.fulfill('a', 'preimage')
    expect(await inner.get('log:tl:balance:if')).toBe('1000000000000000000001')
  })
})

describe('limits', () => {
  it('hold as documented: a prepare over one is refused with NotAcceptedError, again and again (H1)', async () => {
    const { log: it } = log({ maximum: '10', minimum: '-5' })
    await it.prepare({ id: 'a', amount: '10' }, true)
    for (let i = 0; i < 2; i++) await expect(it.prepare({ id: 'b', amount: '1' }, true)).rejects.toThrow(NotAcceptedError)
    await expect(it.get('b')).rejects.toThrow(TransferNotFoundError)
    await expect(it.fulfill('b', 'preimage')).rejects.toThrow(TransferNotFoundError)
    await it.prepare({ id: 'c', amount: '5' }, false)
    await expect(it.prepare({ id: 'd', amount: '1' }, false)).rejects.toThrow(NotAcceptedError)
  })

  it('are unlimited by default, and can be set while there are transfers over them', async () => {
    const { log: it } = log()
    expect([await it.getMaximum(), await it.getMinimum()]).toEqual(['Infinity', '-Infinity'])
    await it.prepare({ id: 'a', amount: '10' }, true)
    await it.setMaximum('5')
    await expect(it.prepare({ id: 'b', amount: '0' }, true)).rejects.toThrow(NotAcceptedError)
    await it.setMaximum('Infinity')
    await it.prepare({ id: 'b', amount: '0' }, true)
  })

  it('are kept in the store, where they win over options', async () => {
    const inner = new MemoryStore()
    const first = log({ maximum: '100', minimum: '-100' }, inner)
    expect(await first.log.getMaximum()).toBe('100')
    await first.log.setMaximum('50')
    await first.log.setMinimum('-Infinity')
    const again = log({ maximum: '100', minimum: '-100' }, inner)
    expect([await again.log.getMaximum(), await again.log.getMinimum()]).toEqual(['50', '-Infinity'])
    await expect(again.log.prepare({ id: 'a', amount: '51' }, true)).rejects.toThrow(NotAcceptedError)
  })

  it('set twice in a turn: the later call stands', async () => {
    const { log: it } = log()
    await Promise.all([it.setMaximum('1'), it.setMaximum('2'), it.setMaximum('3')])
    expect(await it.getMaximum()).toBe('3')
  })

  it('H7: a limit that could not be stored is not in force', async () => {
    const { log: it, store } = log({ maximum: '10' })
    await it.setMaximum('20')
    store.failNextCommit()
    await expect(it.setMaximum('30')).rejects.toThrow(StoreError)
    expect(await it.getMaximum()).toBe('20')
  })

  it('C44: refuse what is no integer, Infinity or -Infinity', async () => {
    const { log: it } = log()
    for (const value of ['', '1.5', '1e3', 'x', ' 5', 'NaN', 5, null, undefined]) {
      await expect(it.setMaximum(value as string)).rejects.toThrow(InvalidFieldsError)
      await expect(it.setMinimum(value as string)).rejects.toThrow(InvalidFieldsError)
    }
    expect(await it.getMaximum()).toBe('Infinity')
  })
})

describe('prepare', () => {
  it('C27: an exact repeat changes nothing, in whatever state the transfer is', async () => {
    const { log: it } = log({ maximum: '10' })
    const transfer = { id: 'a', amount: '10', data: { x: [1] } }
    await Promise.all([it.prepare(transfer, true), it.prepare({ ...transfer }, true)])
    expect(await it.getIncomingFulfilledAndPrepared()).toBe('10')
    await it.fulfill('a', 'preimage')
    await it.prepare({ data: { x: [1] }, amount: '10', id: 'a' }, true)
    expect(await it.get('a')).toEqual({ transfer, isIncoming: true, state: 'fulfilled', fulfillment: 'preimage' })
  })

  it('H4: the same id with other content or in the other direction is DuplicateIdError, also when final, also after a restart', async () => {
    const inner = new MemoryStore()
    await log({}, inner).log.prepare({ id: 'a', amount: '10' }, true)
    for (const final of [false, true]) {
      const { log: it } = log({}, inner)
      if (final) await it.cancel('a')
      for (const restarted of [it, log({}, inner).log]) {
        await expect(restarted.prepare({ id: 'a', amount: '11' }, true)).rejects.toThrow(DuplicateIdError)
        await expect(restarted.prepare({ id: 'a', amount: '10', more: 1 }, true)).rejects.toThrow(DuplicateIdError)
        await expect(restarted.prepare({ id: 'a', amount: '10' }, false)).rejects.toThrow(DuplicateIdError)
      }
    }
    expect(await log({}, inner).log.getIncomingFulfilledAndPrepared()).toBe('0')
  })

  it('H37: an exact repeat is one whatever its content is called', async () => {
    const { log: it } = log()
    const transfer = () => ({ id: 'a', amount: '1', custom: JSON.parse('{"constructor":{},"valueOf":1,"__proto__":[]}') as unknown })
    await it.prepare(transfer(), true)
    await it.prepare(transfer(), true)
    await expect(it.prepare({ id: 'a', amount: '1', custom: {} }, true)).rejects.toThrow(DuplicateIdError)
  })

  it('takes the transfer as it is when called, whatever its maker does with it afterwards', async () => {
    const { log: it, inner } = log()
    await it.prepare({ id: 'final', amount: '1' }, true)
    await it.fulfill('final', 'preimage')
    const transfer: { id: string; amount: string; note: string } = { id: 'a', amount: '5', note: 'x' }
    const prepared = it.prepare(transfer, true)
    Object.assign(transfer, { id: 'final', amount: '1000', note: 'y' })
    await prepared
    expect(await it.get('a')).toMatchObject({ transfer: { id: 'a', amount: '5', note: 'x' } })
    expect(await it.get('final')).toMatchObject({ state: 'fulfilled', transfer: { amount: '1' } })
    expect(Object.keys(storedTransfers(await contents(inner), 'log')).sort()).toEqual(['a', 'final'])
  })

  it('C44: refuses what is no amount, no id, no transfer', async () => {
    const { log: it, inner } = log()
    for (const amount of ['1.5', '1e3', '0x10', ' 5', '-0', '-1', '', 'Infinity', '18446744073709551616', 5, null, undefined]) {
      await expect(it.prepare({ id: 'a', amount: amount as string }, true), String(amount)).rejects.toThrow(InvalidFieldsError)
    }
    for (const id of ['', 5, null, undefined, 'x'.repeat(501), 'half \ud800']) {
      await expect(it.prepare({ id: id as string, amount: '1' }, true), String(id)).rejects.toThrow(InvalidFieldsError)
      await expect(it.get(id as string)).rejects.toThrow(InvalidFieldsError)
      await expect(it.fulfill(id as string, 'preimage')).rejects.toThrow(InvalidFieldsError)
      await expect(it.cancel(id as string)).rejects.toThrow(InvalidFieldsError)
    }
    for (const transfer of [undefined, null, 'a', 5]) {
      await expect(it.prepare(transfer as unknown as { id: string; amount: string }, true)).rejects.toThrow(InvalidFieldsError)
    }
    const cyclic: LoggedTransfer & Record<string, unknown> = { id: 'a', amount: '1' }
    cyclic['self'] = cyclic
    await expect(it.prepare(cyclic, true)).rejects.toThrow(InvalidFieldsError)
    await expect(it.prepare({ id: 'a', amount: '1', big: 1n }, true)).rejects.toThrow(InvalidFieldsError)
    await expect(it.prepare({ id: 'a', amount: '1' }, 'yes' as unknown as boolean)).rejects.toThrow(InvalidFieldsError)
    expect(await contents(inner)).toEqual({})
  })

  it('takes 5.0 as 5, and any id that is a string: of 500 characters, of any alphabet, of names that objects inherit', async () => {
    const { log: it } = log()
    await it.prepare({ id: 'dot', amount: '5.0' }, true)
    expect(await it.getIncomingFulfilledAndPrepared()).toBe('5')
    for (const id of ['\u20ac'.repeat(500), '\u{1f4b0}', '__proto__', 'constructor', 'a:b.c/d', ' ']) {
      await it.prepare({ id, amount: '1' }, true)
      await it.fulfill(id, 'preimage')
      expect(await it.get(id)).toMatchObject({ state: 'fulfilled', transfer: { id } })
    }
  })

  it('one refused id takes no other of its group along', async () => {
    const { log: it } = log()
    const results = await Promise.allSettled([
      it.prepare({ id: 'a', amount: '1' }, true), it.prepare({ id: 'y'.repeat(1950), amount: '1' }, true), it.prepare({ id: 'b', amount: '1' }, true)
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  it('changes that are called in one turn happen in that order', async () => {
    const { log: it } = log({ maximum: '1' })
    const results = await Promise.allSettled([
      it.prepare({ id: 'a', amount: '1' }, true), it.cancel('a'), it.prepare({ id: 'b', amount: '1' }, true), it.fulfill('b', 'preimage'), it.cancel('b')
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled', 'rejected'])
    expect(await it.getBalance()).toBe('1')
  })
})

describe('fulfill and cancel', () => {
  it('H46: a repeat of the same end succeeds and changes nothing, the other end is an error', async () => {
    const inner = new MemoryStore()
    const first = log({}, inner)
    await first.log.prepare({ id: 'a', amount: '5' }, true)
    await first.log.prepare({ id: 'b', amount: '5' }, true)
    await first.log.fulfill('a', 'preimage')
    await first.log.cancel('b')
    const again = log({}, inner)
    for (const { log: it } of [first, again]) {
      if (it === again.log) await again.committer.takeOver()
      await it.fulfill('a', 'another')
      await it.cancel('b')
      await expect(it.cancel('a')).rejects.toThrow(AlreadyFulfilledError)
      await expect(it.fulfill('b', 'preimage')).rejects.toThrow(AlreadyRolledBackError)
      expect(await it.getIncomingFulfilledAndPrepared()).toBe('5')
      expect(await it.get('a')).toMatchObject({ state: 'fulfilled', fulfillment: 'preimage' })
    }
  })

  it('an unknown id is TransferNotFoundError', async () => {
    const { log: it } = log()
    await expect(it.get('a')).rejects.toThrow(TransferNotFoundError)
    await expect(it.fulfill('a', 'preimage')).rejects.toThrow(TransferNotFoundError)
    await expect(it.cancel('a')).rejects.toThrow(TransferNotFoundError)
  })

  it('H6: a fulfillment that is no string is refused before anything is changed', async () => {
    const { log: it } = log()
    await it.prepare({ id: 'a', amount: '5' }, true)
    for (const fulfillment of [undefined, null, 5, 1n, {}, Symbol('x')]) {
      await expect(it.fulfill('a', fulfillment as string)).rejects.toThrow(InvalidFieldsError)
    }
    expect([await it.getIncomingFulfilled(), await it.getIncomingFulfilledAndPrepared()]).toEqual(['0', '5'])
  })

  it('H5: works for a transfer that was prepared before a restart', async () => {
    const inner = new MemoryStore()
    await log({}, inner).log.prepare({ id: 'a', amount: '5' }, false)
    const { log: it } = log({}, inner)
    expect(await it.getOutgoingFulfilledAndPrepared()).toBe('5')
    await it.fulfill('a', 'preimage')
    expect(await it.getBalance()).toBe('-5')
  })
})

describe('get', () => {
  it('H9: gives an object, equal before and after a restart, and a new copy to each caller', async () => {
    const inner = new MemoryStore()
    const first = log({}, inner)
    const transfer = { id: 'a', amount: '5', when: new Date(0), none: undefined, list: [undefined] }
    await first.log.prepare(transfer, true)
    const expected = { transfer: { id: 'a', amount: '5', when: '1970-01-01T00:00:00.000Z', list: [null] }, isIncoming: true, state: 'prepared' }
    const copy = await first.log.get('a')
    expect(copy).toEqual(expected)
    Object.assign(copy.transfer, { amount: '500' })
    Object.assign(copy, { state: 'cancelled' })
    expect(await first.log.get('a')).toEqual(expected)
    expect(await log({}, inner).log.get('a')).toEqual(expected)
  })
})
