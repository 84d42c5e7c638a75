/**
 * The transport port: binary frames both ways, over a web socket or in memory. Imports nothing.
 */

export interface ConnectionEvents {
  /** A binary frame arrived. Its bytes are the receiver's to keep. */
  message(frame: Uint8Array): void
  /** The connection is gone; nothing more arrives. Raised exactly once, also after `close()`. `reason` is for the log. */
  close(reason: string): void
  /** Any other sign of life: a pong. */
  alive(): void
}

/** One open connection. Frames that arrive before `open` is called are kept for it. */
export interface Connection {
  /** Begins the delivery of events. Called once. */
  open(events: ConnectionEvents): void
  /** Sends one binary frame; a connection that is closed or closing drops it. Never throws. */
  send(frame: Uint8Array): void
  /** Sends what is queued, then closes. Idempotent. */
  close(): void
  /** Drops the connection at once. */
  terminate(): void
  /** Bytes that were sent and have not left this process. */
  readonly bufferedBytes: number
  /** Sends a ping that the other side's transport answers by itself (`alive`). Absent in browsers, which cannot. */
  ping?(): void
  /** Where the connection goes, for the log; without credentials. */
  readonly label: string
}

/**
 * Opens a connection to a `ws://` or `wss://` URL without credentials.
 * @throws UnreachableError when it cannot be opened, or when `signal` aborts first
 */
export type Dial = (url: string, signal: AbortSignal) => Promise<Connection>

/** Where the connections of peers arrive. Several accounts may share one. */
export interface Acceptor {
  /**
   * Begins to listen; resolves when the port is bound. May be called again after `close`.
   * @throws UnreachableError when the port cannot be bound
   */
  listen(onConnection: (connection: Connection) => void): Promise<void>
  /** Stops listening and drops what is open. */
  close(): Promise<void>
  /** The bound port; `undefined` while not listening. */
  readonly port: number | undefined
  /** How long a connection may stay unauthenticated, in milliseconds. */
  readonly authTimeoutMs: number
  /** How many connections may be unauthenticated at a time; over it the oldest of them is closed. */
  readonly maxUnauthenticated: number
}

/** Where to listen. Only for Node: no browser can. */
export interface ListenerOptions {
  /** Default 4195. With 0 the system picks a free one; `port` tells which. */
  port?: number
  /** The address to listen at. Default: all of them. */
  host?: string
  /** With `key`: https. Paths, or contents in PEM. They are read at each `listen`, so that renewed ones are taken. */
  cert?: string | Uint8Array
  /** The private key of `cert`, as a path or in PEM. */
  key?: string | Uint8Array
  /** The authorities between `cert` and the one that clients know, as a path or in PEM. */
  ca?: string | Uint8Array
  /** The largest frame that is taken, in bytes; a larger one costs the connection. Default 65536. */
  maxPayload?: number
  /** How long a connection may stay unauthenticated, in milliseconds. Default 2000. */
  authTimeoutMs?: number
  /** How many connections may be unauthenticated at a time; over it the oldest of them is dropped. Default 100. */
  maxUnauthenticated?: number
  /** The only path that is served, with its leading slash. Default: any. */
  path?: string
}
