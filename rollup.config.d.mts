import type { Plugin, RollupOptions } from 'rollup'

/** The plugins of the browser builds. */
export function forBrowser(): Plugin[]
declare const options: RollupOptions[]
export default options
