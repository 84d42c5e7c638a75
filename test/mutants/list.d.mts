/** What catches a bug: so many seeds of the simulator, or a file of tests, of which `only` picks some by their names. */
export type Catcher = { readonly sim: number } | { readonly test: string; readonly only?: string }

export interface Mutant {
  readonly name: string
  readonly rule: string
  readonly file: string
  readonly find: string
  readonly replace: string
  readonly by: Catcher
}

export const MUTANTS: readonly Mutant[]
