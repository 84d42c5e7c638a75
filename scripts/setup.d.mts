/** The path of a Chromium, or `undefined`. */
export function findBrowser(): string | undefined
/** The project's folder. */
export const root: string
