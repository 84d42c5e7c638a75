/**
 * What every connection must do. Each adapter's test runs this suite over it: `describeConnection('in memory', ...)`.
 */
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection, ConnectionEvents } from '../../src/core/transport.js'

export interface ConnectionHarness {
  /** The two ends of one connection; neither has been opened. */
  near: Connection
  far: Connection
  dispose?(): Promise<void>
}

/** Keeps what happens at one end. */
export class Recorder implements ConnectionEvents {
  readonly frames: Uint8Array[] = []
  readonly closed: string[] = []
  pongs = 0
  #changed: () => void = () => undefined

  message(frame: Uint8Array): void {
    this.frames.push(frame)
    this.#changed()
  }

  close(reason: string): void {
    this.closed.push(reason)
    this.#changed()
  }

  alive(): void {
    this.pongs++
    this.#changed()
  }

  /** Resolves when `condition` holds; it is looked at after each event. */
  async until(condition: (recorder: Recorder) => boolean): Promise<void> {
    while (!condition(this)) await new Promise<void>(resolve => { this.#changed = resolve })
  }
}

export function record(connection: Connection): Recorder {
  const recorder = new Recorder()
  connection.open(recorder)
  return recorder
}

const ended = ({ closed }: Recorder): boolean => closed.length > 0

export function describeConnection(name: string, open: () => Promise<ConnectionHarness>): void {
  describe(`${name}: the connection contract`, () => {
    const harnesses: ConnectionHarness[] = []
    const opened = async (): Promise<ConnectionHarness> => {
      const harness = await open()
      harnesses.push(harness)
      return harness
    }
    afterEach(async () => {
      for (const { near, far, dispose } of harnesses.splice(0)) {
        near.terminate()
        far.terminate()
        await dispose?.()
      }
    })

    describeFrames(opened)
    describeEnds(opened)
  })
}

function describeFrames(opened: () => Promise<ConnectionHarness>): void {
  it('carries frames both ways, whole and in order', async () => {
    const { near, far } = await opened()
    const [atNear, atFar] = [record(near), record(far)]
    const sizes = [1, 0, 125, 126, 65_535, 65_536, 3]
    const frames = sizes.map((size, i) => new Uint8Array(size).fill(i + 1))
    for (const frame of frames) {
      near.send(frame)
      far.send(frame)
    }
    for (const recorder of [atNear, atFar]) {
      await recorder.until(({ frames: { length } }) => length === sizes.length)
      expect(recorder.frames.map(({ length }) => length)).toEqual(sizes)
      expect(recorder.frames.map(([first]) => first)).toEqual(frames.map(([first]) => first))
    }
  })

  it('H34: sends a view as it is, not the buffer behind it', async () => {
    const { near, far } = await opened()
    const [, atFar] = [record(near), record(far)]
    near.send(Uint8Array.of(9, 9, 1, 2, 3, 9, 9).subarray(2, 5))
    await atFar.until(({ frames }) => frames.length === 1)
    expect(atFar.frames).toEqual([Uint8Array.of(1, 2, 3)])
  })

  it('gives frames in plain Uint8Arrays, which stay as they are', async () => {
    const { near, far } = await opened()
    const [, atFar] = [record(near), record(far)]
    for (let i = 0; i < 1000; i++) near.send(new Uint8Array(200).fill(i % 256))
    await atFar.until(({ frames }) => frames.length === 1000)
    expect(atFar.frames.every((frame, i) => frame.every(byte => byte === i % 256))).toBe(true)
    expect(Object.getPrototypeOf(atFar.frames[0])).toBe(Uint8Array.prototype)
  })

  it('keeps frames that arrive before it is opened', async () => {
    const { near, far } = await opened()
    const atNear = record(near)
    for (let i = 0; i < 5; i++) near.send(Uint8Array.of(i))
    far.send(Uint8Array.of(7))
    await atNear.until(({ frames }) => frames.length === 1)
    const atFar = record(far)
    await atFar.until(({ frames }) => frames.length === 5)
    expect(atFar.frames).toEqual([0, 1, 2, 3, 4].map(i => Uint8Array.of(i)))
  })

  it('has nothing buffered once it has all arrived', async () => {
    const { near, far } = await opened()
    const [, atFar] = [record(near), record(far)]
    for (let i = 0; i < 10; i++) near.send(new Uint8Array(1000))
    await atFar.until(({ frames }) => frames.length === 10)
    expect(near.bufferedBytes).toBe(0)
  })
}

function describeEnds(opened: () => Promise<ConnectionHarness>): void {
  it('close: what was sent before arrives; both ends are told, once', async () => {
    const { near, far } = await opened()
    const [atNear, atFar] = [record(near), record(far)]
    for (let i = 0; i < 100; i++) near.send(new Uint8Array(1000))
    near.close()
    near.close()
    near.send(Uint8Array.of(1))
    await Promise.all([atNear.until(ended), atFar.until(ended)])
    near.terminate()
    near.close()
    far.close()
    near.send(Uint8Array.of(1))
    far.send(Uint8Array.of(1))
    near.ping?.()
    await new Promise(resolve => { setImmediate(resolve) })
    expect(atFar.frames).toHaveLength(100)
    expect([atNear.closed.length, atFar.closed.length]).toEqual([1, 1])
  })

  it('close from both ends at once ends it too', async () => {
    const { near, far } = await opened()
    const [atNear, atFar] = [record(near), record(far)]
    near.close()
    far.close()
    await Promise.all([atNear.until(ended), atFar.until(ended)])
  })

  it('terminate: both ends are told, once; its own end without waiting for the network', async () => {
    const { near, far } = await opened()
    const [atNear, atFar] = [record(near), record(far)]
    near.terminate()
    expect(atNear.closed).toEqual([])
    await Promise.resolve()
    expect(atNear.closed).toHaveLength(1)
    await atFar.until(ended)
    near.terminate()
    await new Promise(resolve => { setImmediate(resolve) })
    expect([atNear.closed.length, atFar.closed.length]).toEqual([1, 1])
  })

  it('one that is gone before it is opened says so when it is', async () => {
    const { near, far } = await opened()
    const atNear = record(near)
    near.send(Uint8Array.of(5))
    near.close()
    await atNear.until(ended)
    const atFar = record(far)
    await atFar.until(ended)
    expect(atFar.frames).toEqual([Uint8Array.of(5)])
    expect(atFar.closed).toHaveLength(1)
  })

  it('a ping is answered by the other end itself', async () => {
    const { near, far } = await opened()
    const [atNear, atFar] = [record(near), record(far)]
    far.send(Uint8Array.of(1))
    await atNear.until(({ frames }) => frames.length === 1)
    if (near.ping === undefined) return
    near.ping()
    await atNear.until(({ pongs }) => pongs === 1)
    expect(atFar.frames).toEqual([])
  })
}
