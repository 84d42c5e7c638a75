/**
 * The Node entry: all of the universal entry, plus what only Node can do.
 */
export * from './index.js'
export { default } from './index.js'
