/**
 * The plain `{get, put, del}` store of a plugin host, in the shapes that hosts have, with faults on demand.
 */
import type { KeyValueStore } from '../../src/core/store.js'

export interface HostFlavour {
  /** What `get` does for an absent key. Default: it resolves undefined. */
  absent?: 'null' | 'notFound' | 'NotFoundError'
  /** In what form values come back. Default: as they were put. */
  values?: 'parsed' | 'bytes'
  /** Whether methods return their results rather than promises. */
  synchronous?: boolean
}

/** `fails`: rejects without effect. `lands`: takes effect and rejects. `hangs`: has no effect and is never answered. */
export type Fault = 'fails' | 'lands' | 'hangs'

type Method = 'get' | 'put' | 'del'

export class HostStore implements KeyValueStore {
  readonly data: Map<string, string>
  reads = 0
  writes = 0
  mostWritesAtOnce = 0
  /** Decides whether a call meets a fault. `count` is the number of reads, or of writes, before this one. */
  fault: (method: Method, key: string, count: number) => Fault | undefined = () => undefined
  readonly #flavour: HostFlavour
  #writing = 0

  constructor(flavour: HostFlavour = {}, data = new Map<string, string>()) {
    this.#flavour = flavour
    this.data = data
  }

  /** Lets the next `count` writes fail without effect. */
  failWrites(count: number): void {
    this.fault = method => (method !== 'get' && count-- > 0 ? 'fails' : undefined)
  }

  /** Hangs from the write on that comes after `count` more: as if the process died. Resolves when that is reached. */
  async dieAfterWrites(count: number): Promise<void> {
    const last = this.writes + count
    await new Promise<void>(resolve => {
      this.fault = (method, _key, writes) => {
        if (method === 'get' || writes < last) return undefined
        resolve()
        return 'hangs'
      }
    })
  }

  /** A store that holds what this one holds now, and meets no faults. */
  copy(): HostStore {
    return new HostStore(this.#flavour, new Map(this.data))
  }

  get(key: string): unknown {
    const fault = this.fault('get', key, this.reads++)
    return this.#answer(fault, () => this.#found(this.data.get(key)))
  }

  put(key: string, value: string): unknown {
    return this.#write('put', key, () => this.data.set(key, value))
  }

  del(key: string): unknown {
    return this.#write('del', key, () => this.data.delete(key))
  }

  #write(method: Method, key: string, apply: () => unknown): unknown {
    const fault = this.fault(method, key, this.writes++)
    this.mostWritesAtOnce = Math.max(this.mostWritesAtOnce, ++this.#writing)
    return this.#answer(fault, () => {
      this.#writing--
      if (fault !== 'fails') apply()
    })
  }

  #answer(fault: Fault | undefined, act: () => unknown): unknown {
    const finish = (): unknown => {
      const result = act()
      if (fault !== undefined) throw new Error('the disk is on fire')
      return result
    }
    if (fault === 'hangs') return new Promise(() => undefined)
    return this.#flavour.synchronous === true ? finish() : Promise.resolve().then(finish)
  }

  #found(value: string | undefined): unknown {
    if (value === undefined) {
      if (this.#flavour.absent === 'null') return null
      if (this.#flavour.absent === 'notFound') throw Object.assign(new Error('Key not found in database'), { notFound: true })
      if (this.#flavour.absent === 'NotFoundError') throw Object.assign(new Error('NotFound'), { name: 'NotFoundError' })
      return undefined
    }
    if (this.#flavour.values === 'bytes') return new TextEncoder().encode(value)
    if (this.#flavour.values !== 'parsed') return value
    try {
      return JSON.parse(value)
    } catch {
      return value
    }
  }
}
