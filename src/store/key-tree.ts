/**
 * The index of the key-value wrapper: all keys in order, in pages of bounded size that form a B+ tree, so that listing a prefix
 * reads the pages of that prefix and no others. Imports core.
 *
 * Page 0 is the root for ever. A page without `children` is a leaf and holds keys. In a page with children, `keys[i]` is not
 * greater than any key below `children[i]`, and greater than any below `children[i - 1]`. `keys[0]` says nothing: the first
 * child takes whatever is smaller than `keys[1]`.
 */
import { StoreError } from '../core/errors.js'
import { parseIfJson } from '../core/json.js'
import { lowerBound } from './sorted.js'

export interface Page {
  readonly version: 1
  readonly keys: readonly string[]
  readonly children?: readonly number[]
  /** In the root only: the number of the next new page. Numbers are not used again. */
  readonly next?: number
}

/** Reads a page as it is stored; `undefined` when it is not there. */
export type ReadPage = (id: number) => Promise<Page | undefined>

/** A page of a change that is being made: this copy may be written to. */
interface DraftPage extends Page {
  keys: string[]
  children?: number[]
  next?: number
}

/** The pages on the way from the root to a leaf; `index` is the child that was taken, in a leaf the key's position. */
type Path = Array<{ id: number; index: number }>

const ROOT = 0

/** The most keys or children of a page. Every new key has its page written anew, so a larger page makes each of them dearer. */
export const PAGE_KEYS = 64

/**
 * A change of the index: loads the pages that the given keys need, takes additions and then removals of these keys, and has
 * what became of the pages in `changed`. The pages that were read are left as they are.
 */
export class KeyTreeChange {
  /** The new pages by their numbers; `undefined` for those that are to be deleted. */
  readonly changed = new Map<number, Page | undefined>()
  readonly #read: ReadPage
  readonly #pages = new Map<number, Page>()
  readonly #drafts = new Map<number, DraftPage>()

  private constructor(read: ReadPage) {
    this.#read = read
  }

  static async begin(keys: readonly string[], read: ReadPage): Promise<KeyTreeChange> {
    const change = new KeyTreeChange(read)
    await change.#load(ROOT, keys)
    return change
  }

  /** Adds a key; nothing changes when it is there. All additions come before the first removal. */
  add(key: string): void {
    const path = this.#pathTo(key)
    const leaf = path?.at(-1)
    if (path === undefined || leaf === undefined) throw new StoreError('a page of the index was not loaded')
    if (this.#pages.get(leaf.id)?.keys[leaf.index] === key) return
    this.#edit(leaf.id).keys.splice(leaf.index, 0, key)
    this.#split(path)
  }

  /** Removes a key; nothing changes when it is not there. */
  remove(key: string): void {
    const path = this.#pathTo(key)
    const leaf = path?.at(-1)
    // A page that was not loaded cannot hold the key: a removal before this one emptied the page that could.
    if (path === undefined || leaf === undefined || this.#pages.get(leaf.id)?.keys[leaf.index] !== key) return
    this.#edit(leaf.id).keys.splice(leaf.index, 1)
    this.#dropEmpty(path)
  }

  async #load(id: number, keys: readonly string[]): Promise<void> {
    const page = await readPage(this.#read, id)
    this.#pages.set(id, page)
    if (page.children === undefined) return
    const below = new Map<number, string[]>()
    for (const key of keys) {
      const child = page.children[childIndex(page, key)] ?? ROOT
      const others = below.get(child)
      if (others === undefined) below.set(child, [key])
      else others.push(key)
    }
    await Promise.all([...below].map(([child, some]) => this.#load(child, some)))
  }

  #pathTo(key: string): Path | undefined {
    const path: Path = []
    for (let id: number | undefined = ROOT; id !== undefined;) {
      const page = this.#pages.get(id)
      if (page === undefined) return undefined
      const index = page.children === undefined ? lowerBound(page.keys, key) : childIndex(page, key)
      path.push({ id, index })
      id = page.children?.[index]
    }
    return path
  }

  #edit(id: number): DraftPage {
    let draft = this.#drafts.get(id)
    if (draft === undefined) {
      const { keys, children, ...rest } = this.#pages.get(id) ?? EMPTY
      draft = { ...rest, keys: [...keys], ...(children === undefined ? {} : { children: [...children] }) }
      this.#store(id, draft)
    }
    return draft
  }

  #create(page: DraftPage): number {
    const root = this.#edit(ROOT)
    const id = root.next ?? 1
    root.next = id + 1
    this.#store(id, page)
    return id
  }

  #store(id: number, draft: DraftPage): void {
    this.#drafts.set(id, draft)
    this.#pages.set(id, draft)
    this.changed.set(id, draft)
  }

  /** Splits the pages on a path that have become too large, from the leaf upwards. */
  #split(path: Path): void {
    for (let depth = path.length - 1; depth >= 0; depth--) {
      const id = path[depth]?.id ?? ROOT
      if ((this.#pages.get(id)?.keys.length ?? 0) <= PAGE_KEYS) return
      const page = this.#edit(id)
      const middle = page.keys.length >> 1
      const right: DraftPage = { version: 1, keys: page.keys.splice(middle) }
      if (page.children !== undefined) right.children = page.children.splice(middle)
      const parent = path[depth - 1]
      if (parent === undefined) {
        // The root keeps its number, so both halves move out of it.
        const left: DraftPage = { version: 1, keys: page.keys }
        if (page.children !== undefined) left.children = page.children
        page.keys = [left.keys[0] ?? '', right.keys[0] ?? '']
        page.children = [this.#create(left), this.#create(right)]
        return
      }
      const above = this.#edit(parent.id)
      above.keys.splice(parent.index + 1, 0, right.keys[0] ?? '')
      above.children?.splice(parent.index + 1, 0, this.#create(right))
    }
  }

  /** Deletes the pages on a path that have become empty, from the leaf upwards. Pages that are nearly empty stay as they are. */
  #dropEmpty(path: Path): void {
    for (let depth = path.length - 1; depth >= 0; depth--) {
      const id = path[depth]?.id ?? ROOT
      if ((this.#pages.get(id)?.keys.length ?? 0) > 0) return
      const parent = path[depth - 1]
      if (parent === undefined) {
        delete this.#edit(ROOT).children
        return
      }
      this.#pages.delete(id)
      this.#drafts.delete(id)
      this.changed.set(id, undefined)
      const above = this.#edit(parent.id)
      above.keys.splice(parent.index, 1)
      above.children?.splice(parent.index, 1)
    }
  }
}

/** The keys that begin with `prefix` and are not less than `from`, in order, page by page. */
export async function* keysOf(read: ReadPage, prefix: string, from: string, id = ROOT): AsyncGenerator<string[]> {
  const page = await readPage(read, id)
  if (page.children === undefined) {
    yield page.keys.slice(lowerBound(page.keys, from)).filter(key => key.startsWith(prefix))
    return
  }
  const first = childIndex(page, from)
  for (const [index, child] of page.children.entries()) {
    if (index < first) continue
    const lowest = page.keys[index] ?? ''
    if (index > first && lowest > prefix && !lowest.startsWith(prefix)) return
    yield* keysOf(read, prefix, from, child)
  }
}

/**
 * Reads the text of a page.
 * @throws StoreError when it is none of ours
 */
export function parsePage(key: string, text: string): Page {
  const page = parseIfJson(text) as Partial<Page> | null | undefined
  if (page?.version !== 1 || !Array.isArray(page.keys) || (page.children !== undefined && !Array.isArray(page.children))) {
    throw new StoreError(`the record under '${key}' is damaged, or was written by a newer version`)
  }
  return page as Page
}

const EMPTY: Page = { version: 1, keys: [] }

async function readPage(read: ReadPage, id: number): Promise<Page> {
  const page = await read(id)
  if (page !== undefined) return page
  if (id === ROOT) return EMPTY
  throw new StoreError(`page ${id} of the store's index is missing`)
}

/** The child that holds a key: the last whose lowest key is not greater, else the first. */
function childIndex(page: Page, key: string): number {
  const index = lowerBound(page.keys, key, 1)
  return page.keys[index] === key ? index : index - 1
}
