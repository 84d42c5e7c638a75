/** See buffer.js: typed as Node's, of which it has a part; tests hold the sources to that part. */
export { Buffer } from 'node:buffer'
