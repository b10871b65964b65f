/**
 * Which public symbols have no documentation: every export of an entry point, every method and accessor of exported classes and interfaces, and every field of an object
 * type that an exported name leads to: of interfaces, of classes, of type aliases, and of types that are written out in a parameter, a result or another field.
 *
 * What needs no comment of its own:
 * - constants of a table (an exported object, whose comment says of which specification they are) with names in UPPER_CASE, which are that specification's;
 * - a field that has one value only (`type: 'reset'`): it tells a variant from the others, and the value says which;
 * - members of unions of literals, for the same reason;
 * - fields of a type that is written out in something else, when that one's comment names them in code, as in "`base` and `limit` in bytes";
 * - what overrides or implements something, which does what that does; and what every part of a machine does ({@link CONVENTIONS});
 * - names that differ in a number alone: `readU8`, `readU16`, … have one comment together.
 */
import {
  type Application,
  type Comment,
  type DeclarationReflection,
  type ProjectReflection,
  ReflectionKind,
  type SignatureReflection,
  type SomeType,
} from 'typedoc'

/** What every part of a machine does, described once by `Saveable` and `PluginInstance` of `@partita/interface`, or by the language. */
const CONVENTIONS: ReadonlySet<string> = new Set([
  'save',
  'restore',
  'reset',
  'start',
  'stop',
  '[dispose]',
  '[asyncDispose]',
])

/** Classes whose methods their own comment describes all together. */
const DESCRIBED_TOGETHER: ReadonlySet<string> = new Set(['Assembler'])

const EXPORTS: ReflectionKind =
  ReflectionKind.Variable |
  ReflectionKind.Function |
  ReflectionKind.Class |
  ReflectionKind.Interface |
  ReflectionKind.TypeAlias |
  ReflectionKind.Enum
const METHODS: ReflectionKind = ReflectionKind.Method | ReflectionKind.Accessor | ReflectionKind.Constructor

/** A constant of a specification. */
const UPPER_CASE = /^[A-Z][A-Z0-9_]*$/

/** The names of what is not documented, with the entry points that they are of: `client.VmbusClient.connect`. */
export function undocumented(project: ProjectReflection): string[] {
  const modules = project.children?.filter(({ kind }) => kind === ReflectionKind.Module) ?? []
  return (modules.length > 0 ? modules : [project]).flatMap((module) =>
    missingIn(module.children ?? [], module === project ? project.name : `${project.name} ${module.name}`),
  )
}

/**
 * Whether all types that public symbols lead to have a place in the documentation. The logger warns of each that is neither exported nor `@internal`, where the validation of what is
 * `notExported` is on.
 */
export function isClosed(app: Application, project: ProjectReflection): boolean {
  app.logger.resetWarnings()
  app.validate(project)
  return !app.logger.hasWarnings()
}

function missingIn(children: readonly DeclarationReflection[], place: string): string[] {
  const exported = children.filter(({ kind }) => (kind & EXPORTS) !== 0)
  const missing: string[] = []
  for (const declaration of exported) {
    const name = `${place}.${declaration.name}`
    // A value and a type of one name (a struct, a table of numbers and the type of them) are one thing with one comment.
    const namesakes = exported.filter((other) => other.name === declaration.name)
    if (!namesakes.some(hasComment)) missing.push(name)
    if (!DESCRIBED_TOGETHER.has(declaration.name)) missing.push(...missingInside(declaration, name, ''))
  }
  return [...new Set(missing)]
}

/** What is missing of a declaration's members, and of the types that are written out in it. `told` is the code in the comments of what it is written out in. */
function missingInside(declaration: DeclarationReflection, place: string, told: string): string[] {
  const { signatures = [], indexSignatures = [], getSignature, setSignature, type } = declaration
  const code = `${told} ${codeIn(declaration.comment)}`
  return [
    ...missingMembers(declaration, place, told),
    ...[...signatures, ...indexSignatures, getSignature, setSignature].flatMap((signature) =>
      signature === undefined ? [] : missingInSignature(signature, place, code),
    ),
    ...missingInType(type, place, code),
  ]
}

function missingMembers(declaration: DeclarationReflection, place: string, told: string): string[] {
  const isValue = declaration.parent?.kindOf(ReflectionKind.Variable) === true
  // What overrides something does what that does. Fields are shown with all that inherit them, and so are their comments.
  const members = (declaration.children ?? []).filter(
    ({ kind, flags, overwrites }) =>
      !flags.isProtected && overwrites === undefined && (kind & (METHODS | ReflectionKind.Property)) !== 0,
  )
  const family = (name: string): string => name.replace(/\d+/g, '')
  const documented = new Set(members.filter(hasComment).map(({ name }) => family(name)))
  return members.flatMap((member) => {
    const name = `${place}.${member.name}`
    const silent =
      documented.has(family(member.name)) ||
      (member.kind === ReflectionKind.Property
        ? speaksForItself(member, isValue) || named(told, member.name)
        : member.kind === ReflectionKind.Constructor || member.flags.isInherited || CONVENTIONS.has(member.name))
    return [...(silent ? [] : [name]), ...missingInside(member, name, told)]
  })
}

function speaksForItself({ name, type, implementationOf }: DeclarationReflection, isValue: boolean): boolean {
  if (implementationOf !== undefined) return true
  return isValue ? UPPER_CASE.test(name) : type?.type === 'literal'
}

function missingInSignature(signature: SignatureReflection, place: string, told: string): string[] {
  const code = `${told} ${codeIn(signature.comment)}`
  return [
    ...(signature.parameters ?? []).flatMap(({ name, type, comment }) =>
      missingInType(type, `${place}(${name})`, `${code} ${codeIn(comment)}`),
    ),
    ...missingInType(signature.type, `${place}()`, code),
  ]
}

function missingInType(type: SomeType | undefined, place: string, told: string): string[] {
  switch (type?.type) {
    case 'reflection':
      return missingInside(type.declaration, place, told)
    case 'reference':
      return (type.typeArguments ?? []).flatMap((argument) => missingInType(argument, place, told))
    case 'union':
    case 'intersection':
      return type.types.flatMap((part) => missingInType(part, place, told))
    case 'array':
    case 'optional':
    case 'rest':
      return missingInType(type.elementType, place, told)
    case 'tuple':
      return type.elements.flatMap((element) => missingInType(element, place, told))
    case 'namedTupleMember':
      return missingInType(type.element, place, told)
    case 'typeOperator':
      return missingInType(type.target, place, told)
    default:
      return []
  }
}

/** All that a comment has in backticks, but no examples. */
function codeIn(comment: Comment | undefined): string {
  const parts = [comment?.summary ?? [], ...(comment?.blockTags ?? []).map(({ content }) => content)].flat()
  return parts.flatMap(({ kind, text }) => (kind === 'code' && !text.startsWith('```') ? [text] : [])).join(' ')
}

function named(code: string, name: string): boolean {
  return code.split(/[^\w$]+/).includes(name)
}

function hasComment(reflection: DeclarationReflection): boolean {
  const { signatures = [], getSignature, setSignature, type } = reflection
  const literal = type?.type === 'reflection' ? (type.declaration.signatures ?? []) : []
  return [reflection, ...signatures, ...literal, getSignature, setSignature].some((part) => part?.hasComment() === true)
}
