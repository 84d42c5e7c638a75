/**
 * A wallet as the tests drive it, in whatever runs it: a page or a worker of any browser, and Node for its peer. A classic script, since
 * workers that are no modules load no other.
 */
(() => {
  const PREFIX = 'test.wallet.'
  const LIMITS = { maxBalance: '1000000', minBalance: '-1000000' }

  const EVENTS = [
    'connect', 'disconnect', 'error', 'dispute', 'incoming_prepare', 'incoming_fulfill', 'incoming_reject', 'incoming_cancel',
    'outgoing_prepare', 'outgoing_fulfill', 'outgoing_reject', 'outgoing_cancel'
  ]

  /** What has happened, and who waits for it. */
  class Journal {
    #happened = new Set()
    #waiting = new Map()

    note(what) {
      this.#happened.add(what)
      this.#waiting.get(what)?.forEach(resolve => resolve())
      this.#waiting.delete(what)
    }

    async until(what) {
      if (!this.#happened.has(what)) await this.untilNext(what)
    }

    untilNext(what) {
      return new Promise(resolve => this.#waiting.set(what, [...this.#waiting.get(what) ?? [], resolve]))
    }
  }

  /** Places where calls can be held up. */
  class Gates {
    #journal
    #held = new Map()

    constructor(journal) {
      this.#journal = journal
    }

    hold(place) {
      let open
      const opened = new Promise(resolve => { open = resolve })
      this.#held.set(place, { opened, open })
    }

    release(place) {
      this.#held.get(place)?.open()
      this.#held.delete(place)
    }

    async pass(place) {
      if (!this.#held.has(place)) return
      this.#journal.note(`held at ${place}`)
      await this.#held.get(place).opened
    }
  }

  /** A payment channel module whose claims are bare sums. `best` has the greatest that came. */
  function makeModule(gates, [account, peerAccount]) {
    const module = {
      pluginName: 'wallet-claims',
      best: undefined,
      constructor({ backend }) { module.best = backend.getMaxValueTracker('incoming_claim') },
      connect() {},
      disconnect() {},
      getInfo: () => ({ prefix: PREFIX, currencyCode: 'EUR', currencyScale: 9, connectors: [] }),
      getAccount: () => PREFIX + account,
      getPeerAccount: () => PREFIX + peerAccount,
      handleIncomingPrepare: () => gates.pass('prepare'),
      async createOutgoingClaim(_ctx, amount) {
        await gates.pass('outgoing claim')
        return { amount }
      },
      async handleIncomingClaim(_ctx, { amount }) {
        await gates.pass('incoming claim')
        await module.best.setIfMax({ value: amount, data: null })
      }
    }
    return module
  }

  /** Stops a store's commits at a gate. */
  function guard(store, gates, journal) {
    const commit = store.commit.bind(store)
    store.commit = async batch => {
      await gates.pass('commit')
      const isDone = await commit(batch)
      journal.note('committed')
      return isDone
    }
    return store
  }

  async function wholeHistory(plugin) {
    const entries = []
    for (;;) {
      const page = await plugin.history({ limit: 100, ...(entries.length > 0 && { before: entries.at(-1).cursor }) })
      entries.push(...page)
      if (page.length < 100) return entries
    }
  }

  /**
   * Makes the functions that a test calls, over the package. They take and give JSON. Waiting is for an event and its transfer,
   * `outgoing_fulfill 1b4e...`, for a role, `role holder`, or for a call that was held up, `held at commit`; from the beginning on.
   */
  globalThis.makeWallet = library => {
    const journal = new Journal()
    const gates = new Gates(journal)
    let plugin
    let module

    return {
      /**
       * Connects: over the database of that name, or over memory; with claims, where the names of both accounts are given for them.
       * Resolves with the port, where it listens.
       */
      async connect({ database, accounts, ...options }) {
        const store = guard(database === undefined ? new library.MemoryStore() : new library.IndexedDBStore({ name: database }), gates, journal)
        module = accounts && makeModule(gates, accounts)
        const Plugin = module === undefined ? library.PaychanPlugin : library.makePaymentChannelPlugin(module)
        plugin = new Plugin({ store, ...LIMITS, ...options })
        for (const event of EVENTS) plugin.on(event, about => journal.note(about?.id === undefined ? event : `${event} ${about.id}`))
        plugin.on('role', role => journal.note(`role ${role}`))
        await plugin.connect({ timeout: 30_000 })
        return plugin.port
      },

      /** Connects again after a disconnect; resolves with the port, as above. */
      async reconnect() {
        await plugin.connect()
        return plugin.port
      },

      role: () => plugin.role,
      call: (method, ...values) => plugin[method](...values),

      /** Begins a call whose end nobody waits for; resolves when what it writes first is stored. */
      async begin(method, ...values) {
        const stored = journal.untilNext('committed')
        plugin[method](...values).catch(() => undefined)
        await stored
      },

      until: what => journal.until(what),
      hold: place => gates.hold(place),
      release: place => gates.release(place),

      /** What the auditor compares; without claims their sum is 0. */
      async report() {
        const entries = await wholeHistory(plugin)
        return {
          balance: await plugin.getBalance(),
          peerBalance: await plugin.getPeerBalance(),
          inFlight: plugin.inFlight().length,
          transfers: entries.map(({ transfer: { id, amount }, isIncoming, state }) => ({ id, amount, isIncoming, state })),
          claimed: module === undefined ? '0' : (await module.best.getMax()).value
        }
      }
    }
  }
})()
