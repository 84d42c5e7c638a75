/** A record that does not parse stops the account that it belongs to, by an error that names its key, and nobody else. */
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import PaychanPlugin, { BtpListener, MemoryStore, errors } from '../../src/node.js'
import type { LedgerPlugin, PluginOptions } from '../../src/node.js'
import type { KeyValueStore } from '../../src/core/store.js'
import { Lab, settle, watch } from '../support/lab.js'
import { HostStore } from '../support/host-store.js'
import { afterTest, clientOptions, keep, nextEvent, pay, payment, serverOptions, without } from '../support/hosts.js'

/** An account that a process has beside others. */
interface Place {
  /** What its books are in. */
  options: Partial<PluginOptions>
  keys(): Promise<string[]>
  read(key: string): Promise<string | undefined>
  write(key: string, value: string): Promise<unknown>
}

function ownStore(): Place {
  const store = new MemoryStore()
  return {
    options: { store },
    keys: async () => (await store.list('', { limit: Infinity })).map(([key]) => key),
    read: key => store.get(key),
    write: (key, value) => store.commit({ puts: [[key, value]] })
  }
}

/** A part of one store for all accounts, as connectors give it to their plugins. */
function partOf(parent: HostStore, account: string): Place {
  const part: KeyValueStore = {
    get: key => parent.get(account + key),
    put: (key, value) => parent.put(account + key, value),
    del: key => parent.del(account + key)
  }
  return {
    options: { _store: part },
    keys: () => Promise.resolve([...parent.data.keys()].filter(key => key.startsWith(account)).map(key => key.slice(account.length))),
    read: key => Promise.resolve(parent.data.get(account + key)),
    write: (key, value) => Promise.resolve(parent.data.set(account + key, value))
  }
}

const PLACES: Record<string, () => [Place, Place]> = {
  'a store each': () => [ownStore(), ownStore()],
  'one store for all': () => {
    const parent = new HostStore()
    return [partOf(parent, 'damaged/'), partOf(parent, 'sound/')]
  }
}

/** Two accounts at one listener, with a payment in each that is done, and one that is not. */
class World {
  readonly listener = new BtpListener({ port: 0, host: '127.0.0.1' })
  readonly damaged: Place
  readonly #sound: Place
  damagedPlugin: LedgerPlugin
  readonly soundPlugin: LedgerPlugin
  damagedClient: LedgerPlugin
  readonly soundClient: LedgerPlugin
  done = ''

  constructor(places: [Place, Place]) {
    [this.damaged, this.#sound] = places
    afterTest(() => this.listener.close())
    this.damagedPlugin = this.make('damaged', this.damaged)
    this.soundPlugin = this.make('sound', this.#sound)
    this.damagedClient = this.soundClient = this.damagedPlugin
  }

  make(name: string, { options }: Place): LedgerPlugin {
    const rest = without(serverOptions({ listener: this.listener, incomingSecret: name, prefix: `test.${name}.` }), 'store')
    return keep(new PaychanPlugin({ ...rest, ...options }))
  }

  async client(secret: string): Promise<LedgerPlugin> {
    const client = keep(new PaychanPlugin({ ...clientOptions(this.listener.port), server: `btp+ws://:${secret}@127.0.0.1:${this.listener.port ?? 0}` }))
    await client.connect()
    return client
  }

  async begin(): Promise<void> {
    await this.damagedPlugin.connect()
    await this.soundPlugin.connect()
    this.damagedClient = await this.client('damaged')
    Object.assign(this, { soundClient: await this.client('sound') })
    this.done = await pay(this.damagedClient, this.damagedPlugin, '3')
    await pay(this.soundClient, this.soundPlugin, '3')
    const isPrepared = nextEvent(this.damagedPlugin, 'incoming_prepare')
    await this.damagedClient.sendTransfer(payment(this.damagedClient.getPeerAccount(), '2').transfer)
    await isPrepared
  }

  /** Starts the process of that account again, over the same store. */
  async restart(): Promise<void> {
    await this.damagedPlugin.disconnect()
    this.damagedPlugin = this.make('damaged', this.damaged)
  }
}

async function begin(kind: string): Promise<World> {
  const world = new World(PLACES[kind]!())
  await world.begin()
  return world
}

describe.each(Object.keys(PLACES))('with %s', kind => {
  it('H8: one that is read at connect rejects it, and the others go on at the same listener; mended, it connects', async () => {
    const world = await begin(kind)
    await world.restart()
    const keys = (await world.damaged.keys()).filter(key => /head$|balance:if$|:open:/.test(key))
    expect(keys.length).toBeGreaterThanOrEqual(3)
    for (const key of [...keys, ':tl:maximum', ':paychan:settlements']) {
      const before = await world.damaged.read(key)
      await world.damaged.write(key, '{')
      const error: unknown = await world.damagedPlugin.connect().catch((thrown: unknown) => thrown)
      expect(error, key).toBeInstanceOf(errors.StoreError)
      expect((error as Error).message).toContain(`'${key}'`)
      expect([world.damagedPlugin.isConnected(), world.soundPlugin.isConnected(), world.listener.port]).toEqual([false, true, expect.any(Number) as number])
      await pay(world.soundClient, world.soundPlugin, '1')
      expect(await world.damaged.read(key)).toBe('{')
      await world.damaged.write(key, before ?? (key === ':tl:maximum' ? '1000000' : '{"v":1,"last":0,"sending":[]}'))
    }
    const isBack = nextEvent(world.damagedClient, 'connect')
    await world.damagedPlugin.connect()
    await isBack
    expect([await world.damagedPlugin.getBalance(), world.damagedPlugin.inFlight().length]).toEqual(['3', 1])
    await pay(world.damagedClient, world.damagedPlugin, '4')
    expect(await world.soundPlugin.getBalance()).toBe(String(3 + keys.length + 2))
  })

  it('H8: one that is read later fails the call that needs it, and nothing else', async () => {
    const world = await begin(kind)
    // So that it is not in memory.
    await world.restart()
    await world.damagedPlugin.connect()
    const key = `:tl:transfer:${world.done}`
    await world.damaged.write(key, '{')
    const page = (await world.damaged.keys()).find(name => name.includes(':history:'))
    await expect(world.damagedPlugin.getFulfillment(world.done)).rejects.toMatchObject({ name: 'StoreError', message: expect.stringContaining(`'${key}'`) as string })
    await expect(world.damagedPlugin.fulfillCondition(world.done, payment('x').fulfillment)).rejects.toMatchObject({ name: 'StoreError', message: expect.stringContaining(`'${key}'`) as string })
    expect(page).toBeDefined()
    await expect(world.damagedPlugin.history()).rejects.toMatchObject({ name: 'StoreError' })
    // The peer that asks for it is told that it may come again.
    await world.damagedClient.disconnect()
    world.damagedClient = await world.client('damaged')
    const repeat = payment(world.damagedClient.getPeerAccount(), '3', { id: world.done }).transfer
    await expect(world.damagedClient.sendTransfer(repeat)).rejects.toMatchObject({ name: 'UnreachableError', message: expect.stringContaining(key) as string })
    await pay(world.damagedClient, world.damagedPlugin, '4')
    await pay(world.soundClient, world.soundPlugin, '4')
    expect([await world.damagedPlugin.getBalance(), await world.soundPlugin.getBalance()]).toEqual(['7', '7'])
    expect(await world.damaged.read(key)).toBe('{')
  })
})

describe('what the wrapper of a plain store adds', () => {
  it.each(['paychan:store:journal', 'paychan:store:index:0'])('rejects connect too, by its key, and touches no other account: %s', async key => {
    const world = await begin('one store for all')
    await world.restart()
    await world.damaged.write(key, '{"version":7}')
    const fresh = world.make('damaged', { ...world.damaged, options: { _store: { ...world.damaged.options._store! } } })
    await expect(fresh.connect()).rejects.toMatchObject({ name: 'StoreError', message: expect.stringContaining(key) as string })
    await pay(world.soundClient, world.soundPlugin, '4')
  })
})

describe('an open transfer that parses, but is none', () => {
  type Part = Record<string, unknown>
  it.each<[string, (record: Part & { transfer: Part }) => void]>([
    ['has no expiresAt', ({ transfer }) => { delete transfer['expiresAt'] }],
    ['has an expiresAt that is no time', ({ transfer }) => { transfer['expiresAt'] = 'x' }],
    ['has no condition', ({ transfer }) => { delete transfer['executionCondition'] }],
    ['has a condition of another length', ({ transfer }) => { transfer['executionCondition'] = 'AAAA' }],
    ['has no amount', ({ transfer }) => { delete transfer['amount'] }],
    ['has the id of another one', ({ transfer }) => { transfer['id'] = randomUUID() }],
    ['is being fulfilled without a preimage', record => { record['stage'] = 'fulfilling' }],
    ['is being fulfilled with the preimage of another one', record => { Object.assign(record, { stage: 'fulfilling', fulfillment: payment('x').fulfillment }) }]
  ])('H8, I4: stops the account by an error that names its key, and nothing is given up or sent: %s', async (_what, spoil) => {
    for (const name of ['alice', 'bob'] as const) {
      const lab = await Lab.open()
      const { id } = await lab.prepared({ expiresInMs: 100_000 })
      lab[name].crash()
      await settle()
      const [[key, text] = ['', ''], ...others] = await lab[name].disk.list(':paychan:open:')
      expect(others).toEqual([])
      const [record, ...more] = JSON.parse(text) as Array<Part & { transfer: Part }>
      expect([record?.['id'], more]).toEqual([id, []])
      spoil(record!)
      const spoilt = JSON.stringify([record])
      await lab[name].disk.commit({ puts: [[key, spoilt]], guards: [] })
      const moved = (): number => lab.network.traffic.filter(({ packet: { type } }) => ['prepare', 'fulfill', 'reject'].includes(type)).length
      const before = moved()
      const connecting = watch(lab[name].make().connect())
      await lab.clock.advance(2000)
      expect(connecting).toMatchObject({ state: 'rejected', error: { name: 'StoreError', message: expect.stringContaining(`'${key}'`) as string } })
      expect([await lab[name].disk.get(key), moved()]).toEqual([spoilt, before])
    }
  })
})

describe('a record that parses, but holds what it may not', () => {
  it.each([
    ['paychan:id', '{'],
    [':paychan:reconcile', '{"v":1,"open":[5],"accepted":[]}'],
    [':paychan:reconcile', '{"v":1,"open":[],"accepted":[["settledIn","x"]]}'],
    [':paychan:reconcile', '{"v":1,"open":[["settledIn",{}]],"accepted":[]}'],
    [':paychan:settlements', '{"v":1,"last":1,"sending":[{"number":1,"amount":"x"}]}'],
    [':paychan:settlements', '{"v":1,"last":1,"sending":[{}]}'],
    [':paychan:settlements', '{"v":1,"last":1,"sending":[null]}']
  ])('stops the account by an error that names its key: %s, %s', async (key, text) => {
    const lab = await Lab.open({ alice: { services: {} }, bob: { services: {} } })
    lab.alice.crash()
    await settle()
    await lab.alice.disk.commit({ puts: [[key, text]], guards: [] })
    const connecting = watch(lab.alice.make().connect())
    await lab.clock.advance(2000)
    expect(connecting).toMatchObject({ state: 'rejected', error: { name: 'StoreError', message: expect.stringContaining(key) as string } })
  })
})
