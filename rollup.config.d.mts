import type { Plugin, RollupOptions } from 'rollup'

/** The plugins of the browser builds. */
export function forBrowser(): Plugin[]
/** The parts of packages that the browser builds have: what is called of them. */
export const PARTS: Readonly<Record<'btp-packet', readonly string[]>>
declare const options: RollupOptions[]
export default options
