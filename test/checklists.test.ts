/**
 * Holds the two checklists against the tests: every line has a row, every test that a row names is there and names the line, and no
 * test anywhere is left out of a run.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

interface Row {
  line: string
  text: string
  /** The files that the row names, each with words of titles of its tests. */
  tests: Array<{ file: string; titles: string[] }>
}

const LISTS = [
  { name: 'CONFORMANCE.md', letter: 'C', count: 57, source: 'conformance.md' },
  { name: 'HAZARDS.md', letter: 'H', count: 47, source: 'hazards.md' }
]

/** Where a browser may be missing that not everybody can install: their titles say how to get it, and `npm test` counts them as skipped. */
const MAY_BE_SKIPPED = ['e2e/browsers.test.ts:', 'it.skipIf']

/** What is not built yet, and so has no test. */
const LATER: string[] = []

/** Reads the rows of a checklist's table: number, text, and the tests or when they will be. */
function rowsOf(name: string): Row[] {
  const lines = readFileSync(join(ROOT, 'test', name), 'utf8').split('\n').filter(line => /^\| [A-Z]\d+ \|/.test(line))
  return lines.map(row => {
    const [line = '', text = '', cell = ''] = row.slice(2, -2).split(' | ')
    const tests = cell.split('<br>').flatMap(part => {
      const file = /^\[([^\]]+)\]\(([^)]+)\)/.exec(part)?.[1]
      const titles = [...part.matchAll(/“([^”]+)”/g)].map(([, title = '']) => title.replace(/ …$/, '').replace(/\\(.)/g, '$1'))
      return file === undefined ? [] : [{ file, titles }]
    })
    return { line, text, tests }
  })
}

/** The files of a folder and those below it. */
function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map(file => `${folder}/${file}`).filter(file => /\.m?[jt]s$/.test(file))
}

/** The texts that a source has as strings, by what they stand for; of templates the text between the values. */
function textsOf(file: string): readonly string[] {
  const known = textsByFile.get(file)
  if (known !== undefined) return known
  const texts: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node)) texts.push(node.text)
    else if (ts.isTemplateExpression(node)) texts.push(node.getText().slice(1, -1))
    ts.forEachChild(node, visit)
  }
  visit(parse(file))
  textsByFile.set(file, texts)
  return texts
}

const textsByFile = new Map<string, readonly string[]>()

function parse(file: string, source = readFileSync(join(ROOT, file), 'utf8')): ts.SourceFile {
  return ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true)
}

/** Whether a test's title names a line, alone or in a range: `H4 to H7`. */
function names(title: string, line: string): boolean {
  const number = Number(line.slice(1))
  const ranges = [...title.matchAll(/\b([CH])(\d+)(?: to \1(\d+))?\b/g)]
  return ranges.some(([, letter, from, to = from]) => letter === line[0] && Number(from) <= number && number <= Number(to))
}

const MARKS = ['skip', 'skipIf', 'runIf', 'only', 'todo', 'fails']
const FUNCTIONS = ['it', 'test', 'describe', 'suite', 'context', 'ctx']
const SHORT_FORMS = ['xit', 'xtest', 'xdescribe', 'fit', 'fdescribe']

/** Where a source leaves tests out: `it.skip(...)`, `describe.each(...).only`, `context.skip()`, `it('...', { skip: true }, ...)`. */
function leftOutIn(source: ts.SourceFile): string[] {
  const found: string[] = []
  const report = (node: ts.Node): void => {
    found.push(`${source.fileName}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1} ${node.getText().slice(0, 40)}`)
  }
  const rootOf = (node: ts.Node): string => {
    if (ts.isPropertyAccessExpression(node) || ts.isCallExpression(node)) return rootOf(node.expression)
    return ts.isIdentifier(node) ? node.text : ''
  }
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && MARKS.includes(node.name.text) && FUNCTIONS.includes(rootOf(node))) report(node)
    if (ts.isCallExpression(node) && SHORT_FORMS.includes(rootOf(node))) report(node)
    if (ts.isPropertyAssignment(node) && MARKS.includes(node.name.getText()) && isOptionOfTest(node)) report(node)
    ts.forEachChild(node, visit)
  }
  const isOptionOfTest = ({ parent }: ts.PropertyAssignment): boolean =>
    ts.isCallExpression(parent.parent) && FUNCTIONS.includes(rootOf(parent.parent))
  visit(source)
  return found
}

describe.each(LISTS)('the list $name', ({ name, letter, count, source }) => {
  const rows = rowsOf(name)
  const lines = Array.from({ length: count }, (_, i) => `${letter}${i + 1}`)

  it('has a row for each line, in order, that says what it is', () => {
    expect(rows.map(({ line }) => line)).toEqual(lines)
    expect(rows.filter(({ text }) => text.length < 20).map(({ line }) => line)).toEqual([])
  })

  it('names a test for each line but those of later stages', () => {
    expect(rows.filter(({ tests }) => tests.length === 0).map(({ line }) => line)).toEqual(LATER.filter(line => line.startsWith(letter)))
  })

  it('names tests that are there, by their titles, and that name the line', () => {
    const wrong = rows.flatMap(({ line, tests }) => tests.flatMap(({ file, titles }) => {
      if (!existsSync(join(ROOT, file))) return [`${line}: there is no ${file}`]
      const named = textsOf(file).filter(text => names(text, line))
      const unknown = titles.filter(title => !named.some(text => text.includes(title)))
      return unknown.map(title => `${line}: ${file} has no test “${title}” that names it`).concat(titles.length === 0 ? [`${line}: ${file} without a title`] : [])
    }))
    expect(wrong).toEqual([])
  })

  it('links each file that it names', () => {
    const text = readFileSync(join(ROOT, 'test', name), 'utf8')
    for (const [, file = '', target = ''] of text.matchAll(/\[((?:test|e2e)\/[^\]]+)\]\(([^)]+)\)/g)) expect(join('test', target)).toBe(file)
  })

  // Where the list that it was made from lies beside the project.
  const original = join(ROOT, '..', 'shared', source)
  if (existsSync(original)) {
    it('has the lines of the list that it was made from, in words of its own', () => {
      const text = readFileSync(original, 'utf8')
      const theirs = new Set([...text.matchAll(new RegExp(`\\b${letter}\\d+\\b`, 'g'))].map(([line]) => line))
      expect([...theirs].sort()).toEqual([...lines].sort())
      const plain = (sentence: string): string => sentence.toLowerCase().replace(/[^a-z0-9]+/g, ' ').trim()
      const sentences = rows.flatMap(({ text }) => text.split(/[.;]/)).map(plain).filter(sentence => sentence.split(' ').length > 7)
      expect(sentences.filter(sentence => plain(text).includes(sentence))).toEqual([])
    })
  }
})

describe('all tests', () => {
  it('are run: none is skipped, singled out or only planned', () => {
    const files = [...filesBelow('test'), ...filesBelow('e2e')]
    expect(files.length).toBeGreaterThan(80)
    const isMeant = (place: string): boolean => MAY_BE_SKIPPED.every(part => place.includes(part))
    expect(files.flatMap(file => leftOutIn(parse(file))).filter(place => !isMeant(place))).toEqual([])
  })

  it.each([
    "it.skip('x', f)", "it.skipIf(a)('x', f)", "describe.runIf(a)('x', f)", "it.only('x', f)", "it.each([1]).only('x', f)", "test.todo('x')",
    "it('x', context => { context.skip() })", "it('x', { skip: true }, f)", "xit('x', f)", "fdescribe('x', f)", "it.fails('x', f)"
  ])('that are left out by %s would be seen', code => {
    expect(leftOutIn(parse('made-up.ts', code))).toHaveLength(1)
  })
})
