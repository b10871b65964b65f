// Names of packages, and what is made of them: names of files, of types, of constants.

import { GeneratorError } from './generator-error.ts'

/** npm's limit. */
const MAXIMUM_LENGTH = 214
const SEGMENT = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/

/** A package's name in all the forms that a template needs. */
export interface Names {
  /** `@me/door-bell`. */
  readonly package: string
  /** `door-bell`: the directory, files. */
  readonly base: string
  /** `DoorBell`: types. */
  readonly pascal: string
  /** `doorBell`: variables, with more behind it. */
  readonly camel: string
  /** `DOOR_BELL`: codes. */
  readonly upper: string
}

/**
 * Check a name.
 * @throws GeneratorError `ERR_CREATE_NAME`
 */
export function namesOf(name: string): Names {
  const match = /^(?:@([^/]*)\/)?(.*)$/s.exec(name)
  const [scope, base] = [match?.[1], match?.[2] ?? '']
  if (name.length > MAXIMUM_LENGTH || !SEGMENT.test(base) || (scope !== undefined && !SEGMENT.test(scope))) {
    throw new GeneratorError('ERR_CREATE_NAME', `${JSON.stringify(name)} cannot be the name of a plug-in`, {
      hint: 'Take small letters, digits and single hyphens, a letter first: my-device, or @me/my-device.',
      data: { name },
    })
  }
  if (base === 'node-modules' || base === 'partita' || scope === 'partita') {
    throw new GeneratorError('ERR_CREATE_NAME', `The name ${name} is taken`, {
      hint: 'Choose another: my-device, or @me/my-device.',
      data: { name },
    })
  }
  const words = base.split('-')
  const pascal = words.map((word) => word[0]?.toUpperCase() + word.slice(1)).join('')
  return {
    package: name,
    base,
    pascal,
    camel: (pascal[0] as string).toLowerCase() + pascal.slice(1),
    upper: words.join('_').toUpperCase(),
  }
}
