/** The part of the package `debug` that we use. */
export default function createDebug(namespace: string): {
  (format: string, ...values: unknown[]): void
  enabled: boolean
}
/** Whether the templates, separated by commas or spaces, take a namespace in. */
export function isEnabled(namespace: string, templates: string): boolean
