/** The project's folder. */
export const root: string
/** The browsers that the checks run in. */
export type BrowserName = 'chromium' | 'firefox' | 'webkit'
/** The path of a browser (Chromium unless said otherwise), of its driver for WebKitGTK, or `undefined`. */
export function findBrowser(browser?: BrowserName): string | undefined
/** Whether the checks in a browser cannot be left out: it is there, or should be. */
export function needsBrowser(browser: BrowserName): boolean
/** Says what is missing, and how to get it. */
export function howToGet(browser: BrowserName): string
