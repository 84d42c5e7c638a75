import type { Plugin, RollupOptions } from 'rollup'

/** The plugins of the browser builds. */
export function forBrowser(): Plugin[]
/** What is called of the packages of which the browser builds have only a part. */
export const CALLED: Readonly<Record<'bignumber.js' | 'btp-packet', readonly string[]>>
declare const options: RollupOptions[]
export default options
