/** The path of a Chromium, or `undefined`. */
export function findBrowser(): string | undefined
/** The project's folder. */
export const root: string
/** For whoever has none. */
export const HOW_TO_GET_A_BROWSER: string
