/** The part of btp-packet that our codec calls, with the types of the package. */
export { serializeError, serializeTransfer } from 'btp-packet'
