/**
 * The documents beside the wallet page: Markdown in demo/docs becomes HTML. A fence that names a file, as in ```html file=small/index.html,
 * shows that file of demo/, so that what is read is what runs.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Marked } from 'marked'

/** Renders all of a folder into another. */
export function renderDocuments(from, to) {
  mkdirSync(to, { recursive: true })
  const template = readFileSync(join(from, 'template.html'), 'utf8')
  for (const name of readdirSync(from).filter(name => name.endsWith('.md'))) {
    const text = withFiles(readFileSync(join(from, name), 'utf8'), dirname(from))
    const [, title] = /^# (.+)$/m.exec(text) ?? []
    if (title === undefined) throw new Error(`${name} has no title`)
    const body = marked.parse(text)
    writeFileSync(join(to, name.replace(/\.md$/, '.html')), template.replaceAll('{{title}}', title).replace('{{body}}', () => body))
  }
}

const marked = new Marked({
  renderer: {
    // A table that is wider than a phone scrolls by itself, also for who has no mouse. Its first column has the name that its header gives,
    // and no two tables have the same.
    table(token) {
      const cells = (row, tag) => row.map(({ tokens }) => `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`).join('')
      const head = `<thead><tr>${cells(token.header, 'th scope="col"').replaceAll('</th scope="col">', '</th>')}</tr></thead>`
      const body = token.rows.map(([first, ...rest]) => `<tr><th scope="row">${this.parser.parseInline(first.tokens)}</th>${cells(rest, 'td')}</tr>`).join('')
      return `<div class="wide" tabindex="0" role="region" aria-label="${escape(token.header[0].text)}">\n<table>${head}<tbody>${body}</tbody></table></div>\n`
    },
    code({ text, lang }) {
      return `<pre tabindex="0"><code class="language-${lang}">${escape(text)}</code></pre>\n`
    }
  }
})

function withFiles(markdown, folder) {
  return markdown.replace(/^```(\w+) file=(\S+)\n```$/gm, (_fence, language, path) => `\`\`\`${language}\n${readFileSync(join(folder, path), 'utf8').trimEnd()}\n\`\`\``)
}

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
