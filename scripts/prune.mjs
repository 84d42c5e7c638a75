/**
 * A Rollup plugin that takes out of a package what nobody calls and no bundler can take out: functions of a CommonJS module,
 * `exports.read = read`, and methods of a class in that style.
 */
import MagicString from 'magic-string'

/**
 * `parts` has, for each package, what is called from outside; what that calls in turn stays too. It is an error when there is nothing
 * of such a name, so that the list is looked at when the package changes.
 */
export function prune(parts) {
  return {
    name: 'prune',
    transform(code, id) {
      const name = packageOf(id)
      // Those that begin with a zero are no files, but made by other plugins.
      if (id.startsWith('\0') || !Object.hasOwn(parts, name)) return null
      const called = parts[name]
      const { members, mentioned } = read(this.parse(code))
      const unknown = called.filter(one => !members.some(member => member.names.includes(one)))
      if (unknown.length > 0) this.error(`there is no ${unknown.join(', ')} in ${name}`)
      const result = new MagicString(code)
      for (const { node } of unreached(members, [...called, ...mentioned])) result.remove(node.start, node.end)
      return { code: result.toString(), map: result.generateMap({ hires: true }) }
    }
  }
}

/** The name of the package that a module belongs to; `ours` for those of this one. */
export function packageOf(id) {
  return /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id.replaceAll('\\', '/'))?.[1] ?? 'ours'
}

/** The statements that define members, each with the names of members that it mentions; and the names mentioned elsewhere. */
function read(program) {
  const members = []
  const mentioned = new Set()
  const visit = (node, names) => {
    const member = names === mentioned ? toMember(node) : undefined
    if (member !== undefined) {
      members.push(member)
      visit(member.value, member.mentioned)
      return
    }
    if (node.type === 'MemberExpression') names.add(node.computed ? node.property.value : node.property.name)
    for (const child of Object.values(node).flat()) if (typeof child?.type === 'string') visit(child, names)
  }
  visit(program, mentioned)
  return { members, mentioned }
}

/** `exports.read = exports.parse = read`, or of a function, as a member of these names; `undefined` for anything else. */
function toMember(node) {
  if (node.type !== 'ExpressionStatement') return undefined
  const names = []
  let value = node.expression
  for (; value.type === 'AssignmentExpression' && value.left.type === 'MemberExpression' && !value.left.computed; value = value.right) {
    names.push(value.left.property.name)
  }
  const doesNothing = ['FunctionExpression', 'ArrowFunctionExpression', 'Identifier'].includes(value.type)
  return names.length > 0 && doesNothing ? { node, names, value, mentioned: new Set() } : undefined
}

/** The members that neither these names nor what they lead to mention. */
function unreached(members, names) {
  const left = new Set(members)
  const next = [...names]
  while (next.length > 0) {
    const name = next.pop()
    for (const member of left) {
      if (!member.names.includes(name)) continue
      left.delete(member)
      next.push(...member.mentioned)
    }
  }
  return left
}
