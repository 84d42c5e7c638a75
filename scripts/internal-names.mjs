/**
 * The names of properties that only our own code uses, and that the minified file may therefore shorten. Minifiers leave the names of
 * properties alone, since they cannot know who else uses them; the compiler can.
 *
 * A name is internal when all that is declared under it in `src` is a method, an accessor, a function, an object that has some, or a part of
 * an object that has some or holds one that has: these go to no store and over no wire. Besides, it must not be in our public types, nor in
 * any literal of ours, nor be a member of what the environment has, and nothing in `src` may use it on what is not ours. The methods of the
 * files that stand in the place of packages are internal too, unless something else is called so.
 */
import { readFileSync } from 'node:fs'
import ts from 'typescript'

const { SyntaxKind, isIdentifier, isObjectLiteralExpression, isPropertyAccessExpression, isStringLiteralLike } = ts
const METHODS = [SyntaxKind.MethodDeclaration, SyntaxKind.MethodSignature, SyntaxKind.GetAccessor, SyntaxKind.SetAccessor]
const SIGNATURES = [...METHODS, SyntaxKind.PropertyDeclaration, SyntaxKind.PropertySignature]
const PROPERTIES = [...SIGNATURES, SyntaxKind.PropertyAssignment, SyntaxKind.ShorthandPropertyAssignment]

/** Types of what the bundle has a file of ours in the place of: a name of theirs is shortened in both. */
const SUBSTITUTED = /\/node_modules\/(?:@stablelib\/sha256|@types\/node\/buffer|bignumber\.js|btp-packet|debug|oer-utils)\b/

/** Types of what our own types may describe once more, without a word of whose it is: a page's objects, sockets of any kind. */
const ENVIRONMENT = /\/node_modules\/(?:typescript\/lib|@types\/ws|@types\/node\/(?:events|net|process|stream|timers))\b/

const wordsOf = text => text.replaceAll(/\/\*.*?\*\/|(?<!:)\/\/[^\n]*/gs, '').match(/[\w$]+/g) ?? []

/**
 * `publicTypes` is the text of the declarations that users get, `substitutes` are the paths of the files in the place of packages, `others`
 * of whatever else is in the bundle and not ours.
 */
export function internalNames(publicTypes, substitutes, others) {
  const { config } = ts.readConfigFile('tsconfig.json', path => ts.sys.readFile(path))
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, '.')
  const program = ts.createProgram(['src/node.ts'], options)
  const checker = program.getTypeChecker()
  const read = path => readFileSync(path, 'utf8')

  const internal = new Set()
  const known = new Set([publicTypes, ...others.map(read)].flatMap(wordsOf))

  const isOurs = declaration => !declaration.getSourceFile().isDeclarationFile
  const isForeign = declaration => !isOurs(declaration) && !SUBSTITUTED.test(declaration.getSourceFile().fileName)
  const typeOf = node => checker.getNonNullableType(checker.getTypeAtLocation(node))
  const typesIn = type => type.getProperties().map(property => checker.getNonNullableType(checker.getTypeOfSymbol(property)))
  const isFunction = type => type.getCallSignatures().length > 0
  const hasFunctions = type => typesIn(type).some(isFunction)
  /** Whether it is of a class or an interface of ours that has functions. */
  const isActive = type => type.symbol?.declarations?.some(isOurs) === true && hasFunctions(type)
  const isActiveOrHolds = type => hasFunctions(type) || typesIn(type).some(isActive)

  /** What is declared for a member of an object literal by the type that is expected there. */
  const expected = node => checker.getContextualType(node.parent)?.getProperty(node.name.text)?.declarations ?? []
  const isOfActive = node => {
    if (!isObjectLiteralExpression(node.parent)) return isActiveOrHolds(checker.getTypeAtLocation(node.parent))
    const declarations = expected(node)
    return declarations.length > 0 &&
      declarations.every(one => isOurs(one) && !isObjectLiteralExpression(one.parent) && isActiveOrHolds(checker.getTypeAtLocation(one.parent)))
  }
  const declare = node => {
    const isInternal = METHODS.includes(node.kind) || isFunction(typeOf(node)) || isActive(typeOf(node.name)) || isOfActive(node)
    const isAskedFor = isObjectLiteralExpression(node.parent) && expected(node).some(isForeign)
    ;(isInternal && !isAskedFor ? internal : known).add(node.name.text)
  }
  /** What a class or an interface has from one that is not ours keeps its name. */
  const inherit = ({ heritageClauses = [] }) => {
    for (const type of heritageClauses.flatMap(({ types }) => types)) {
      for (const { name, declarations } of checker.getTypeAtLocation(type).getProperties()) if (declarations?.some(isForeign)) known.add(name)
    }
  }
  /** A use of a name on what is not ours, or on who knows what. */
  const use = (name, symbol) => {
    if (symbol?.declarations === undefined || symbol.declarations.some(isForeign)) known.add(name.text)
  }
  const visit = node => {
    if (PROPERTIES.includes(node.kind) && isIdentifier(node.name)) declare(node)
    if (ts.isClassLike(node) || ts.isInterfaceDeclaration(node)) inherit(node)
    if (isStringLiteralLike(node) && !ts.isLiteralTypeNode(node.parent)) known.add(node.text)
    if (isPropertyAccessExpression(node)) use(node.name, checker.getSymbolAtLocation(node.name))
    if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent)) {
      const name = node.propertyName ?? node.name
      use(name, checker.getTypeAtLocation(node.parent).getProperty(name.text))
    }
    ts.forEachChild(node, visit)
  }
  const know = node => {
    if (SIGNATURES.includes(node.kind) && isIdentifier(node.name)) known.add(node.name.text)
    ts.forEachChild(node, know)
  }
  for (const file of program.getSourceFiles()) {
    if (!file.isDeclarationFile) visit(file)
    else if (ENVIRONMENT.test(file.fileName)) know(file)
  }
  /** The methods that these files have, and those that a class of ours gives theirs. */
  const methods = new Set()
  const collect = node => {
    if (METHODS.includes(node.kind)) methods.add(node.name.text)
    if (ts.isCallExpression(node) && isPropertyAccessExpression(node.expression) && node.expression.expression.kind === SyntaxKind.ThisKeyword) {
      methods.add(node.expression.name.text)
    }
    ts.forEachChild(node, collect)
  }
  const texts = substitutes.map(read)
  for (const text of texts) collect(ts.createSourceFile('substitute.js', text, ts.ScriptTarget.Latest))
  for (const word of texts.flatMap(wordsOf)) (methods.has(word) ? internal : known).add(word)
  return [...internal].filter(name => !known.has(name))
}
