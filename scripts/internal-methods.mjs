/**
 * The names of methods that our classes only call among themselves, and of the objects with methods that they know each other by, which the
 * minified file may therefore shorten. Minifiers leave the names of properties alone, since they cannot know who else uses them; the compiler
 * can.
 *
 * A name is internal when nothing but methods, accessors, properties with functions or objects that have some, and what else such objects have
 * is declared under it in `src`, it is in no literal of theirs, and neither in our public types nor in any others that the program knows: those
 * of the language, of browsers, of Node and of the packages. Other properties are left alone, as they may go to a store or over the wire;
 * functions, and objects that have some, cannot.
 */
import ts from 'typescript'

const { isIdentifier, isStringLiteralLike, SyntaxKind } = ts
const METHODS = [SyntaxKind.MethodDeclaration, SyntaxKind.MethodSignature, SyntaxKind.GetAccessor, SyntaxKind.SetAccessor]
const DATA = [SyntaxKind.PropertyDeclaration, SyntaxKind.PropertySignature, SyntaxKind.PropertyAssignment, SyntaxKind.ShorthandPropertyAssignment]

/** `publicTypes` is the text of the declarations that users get. */
export function internalMethods(publicTypes) {
  const { config } = ts.readConfigFile('tsconfig.json', path => ts.sys.readFile(path))
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, '.')
  const program = ts.createProgram(['src/node.ts'], options)
  const checker = program.getTypeChecker()
  const typeOf = node => checker.getNonNullableType(checker.getTypeAtLocation(node))
  const isCallable = node => typeOf(node).getCallSignatures().length > 0
  const hasFunctions = type => type.getProperties().some(property => checker.getTypeOfSymbol(property).getCallSignatures().length > 0)
  /** Whether it is of a class or an interface of ours that has methods. */
  const hasMethods = node => {
    const type = typeOf(node.name ?? node)
    const isDeclaredHere = type.symbol?.declarations?.some(one => !one.getSourceFile().isDeclarationFile) === true
    return isDeclaredHere && hasFunctions(type)
  }
  /** Whether what an object has under a name is declared in an object type of ours that has functions, and nowhere else. */
  const isOfObject = node => {
    const isOfOurs = declaration => hasFunctions(checker.getTypeAtLocation(declaration))
    if (!ts.isObjectLiteralExpression(node.parent)) return isOfOurs(node.parent)
    const declarations = checker.getContextualType(node.parent)?.getProperty(node.name.text)?.declarations ?? []
    return declarations.length > 0 && declarations.every(one => !ts.isObjectLiteralExpression(one.parent) && !one.getSourceFile().isDeclarationFile && isOfOurs(one.parent))
  }
  const methods = new Set()
  const others = new Set(publicTypes.replaceAll(/\/\*.*?\*\//gs, '').match(/[\w$]+/g))
  const visit = (node, isOurs) => {
    const name = node.name !== undefined && isIdentifier(node.name) ? node.name.text : undefined
    if (isOurs && (METHODS.includes(node.kind) || (DATA.includes(node.kind) && (isCallable(node) || hasMethods(node) || isOfObject(node))))) methods.add(name)
    else if (isOurs ? DATA.includes(node.kind) : node.kind !== SyntaxKind.Parameter) others.add(name)
    if (isStringLiteralLike(node)) others.add(node.text)
    ts.forEachChild(node, child => { visit(child, isOurs) })
  }
  for (const file of program.getSourceFiles()) visit(file, !file.isDeclarationFile)
  return [...methods].filter(name => !others.has(name))
}
