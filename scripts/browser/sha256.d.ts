/** The part of @stablelib/sha256 that we use. */
export function hash(data: Uint8Array): Uint8Array
