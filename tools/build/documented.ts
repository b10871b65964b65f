/**
 * Which public symbols have no documentation: every export of an entry point, and every method and accessor of exported classes and interfaces. Fields speak for
 * themselves where they can, and have a comment where they cannot.
 */
import { type DeclarationReflection, type ProjectReflection, ReflectionKind } from 'typedoc'

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
const MEMBERS: ReflectionKind = ReflectionKind.Method | ReflectionKind.Accessor

/** The names of what is not documented, with the entry points that they are of: `client.VmbusClient.connect`. */
export function undocumented(project: ProjectReflection): string[] {
  const modules = project.children?.filter(({ kind }) => kind === ReflectionKind.Module) ?? []
  return (modules.length > 0 ? modules : [project]).flatMap((module) =>
    missingIn(module.children ?? [], module === project ? project.name : `${project.name} ${module.name}`),
  )
}

function missingIn(children: readonly DeclarationReflection[], place: string): string[] {
  const exported = children.filter(({ kind }) => (kind & EXPORTS) !== 0)
  const missing: string[] = []
  for (const declaration of exported) {
    const name = `${place}.${declaration.name}`
    // A value and a type of one name (a struct, a table of numbers and the type of them) are one thing with one comment.
    const namesakes = exported.filter((other) => other.name === declaration.name)
    if (!namesakes.some(hasComment)) missing.push(name)
    if ((declaration.kind & (ReflectionKind.Class | ReflectionKind.Interface)) === 0) continue
    if (!DESCRIBED_TOGETHER.has(declaration.name)) missing.push(...missingMembers(declaration, name))
  }
  return [...new Set(missing)]
}

/** What overrides something does what that does. */
function missingMembers({ children = [] }: DeclarationReflection, place: string): string[] {
  const members = children.filter(
    ({ kind, flags, overwrites }) =>
      (kind & MEMBERS) !== 0 && !flags.isInherited && !flags.isProtected && overwrites === undefined,
  )
  // readU8, readU16, … have one comment together.
  const family = (name: string): string => name.replace(/\d+/g, '')
  const documented = new Set(members.filter(hasComment).map(({ name }) => family(name)))
  return members
    .filter(({ name }) => !CONVENTIONS.has(name) && !documented.has(family(name)))
    .map(({ name }) => `${place}.${name}`)
}

function hasComment(reflection: DeclarationReflection): boolean {
  const { signatures = [], getSignature, setSignature, type } = reflection
  const literal = type?.type === 'reflection' ? (type.declaration.signatures ?? []) : []
  return [reflection, ...signatures, ...literal, getSignature, setSignature].some((part) => part?.hasComment() === true)
}
