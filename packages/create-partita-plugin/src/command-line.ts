// `npm create partita-plugin`: takes what flags say, asks for the rest where somebody can answer, and writes the package.

import { relative } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { parseArgs } from 'node:util'
import { generatePlugin, KINDS, type Kind } from './generate.ts'
import { GeneratorError } from './generator-error.ts'
import { namesOf } from './names.ts'

const HELP = `Writes a plug-in for Partita into a new directory.

Usage: npm create partita-plugin [-- --kind KIND --name NAME]

  --kind KIND   emulated-device  a device on I/O ports, with an interrupt
                vsp              a device on the VMBus
                pair             a device on the VMBus, and its driver
  --name NAME   the package's name, my-device or @me/my-device; its last part is the directory's

What no flag says is asked for.
`

const DESCRIPTIONS: Readonly<Record<Kind, string>> = {
  'emulated-device': 'a device on I/O ports, with an interrupt',
  vsp: 'a device on the VMBus',
  pair: 'a device on the VMBus, and its driver',
}

/** The world around the command. */
export interface CommandLineHost {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly stdout: NodeJS.WritableStream
  readonly stderr: NodeJS.WritableStream
  /** Where the package's directory is made. */
  readonly directory: string
}

/**
 * Run the command. Nothing is thrown: errors are one line with a code and one with a hint on standard error.
 * @returns the exit status: 0, 2 for misuse, 130 when the questions are broken off
 */
export async function runCommandLine(args: readonly string[], host: CommandLineHost): Promise<number> {
  try {
    return await run(args, host)
  } catch (error) {
    if (!(error instanceof GeneratorError)) throw error
    host.stderr.write(`create-partita-plugin: ${error.code}: ${error.message}\nhint: ${error.hint}\n`)
    return 2
  }
}

async function run(args: readonly string[], host: CommandLineHost): Promise<number> {
  const flags = parseFlags(args)
  if (flags.help) {
    host.stdout.write(HELP)
    return 0
  }
  let { kind, name } = flags
  if (kind !== undefined && !isKind(kind)) throw wrongKind(kind)
  if (name !== undefined) namesOf(name)
  if (kind === undefined || name === undefined) {
    const answers = await ask(kind, name, host)
    if (answers === undefined) return 130
    ;({ kind, name } = answers)
  }
  const { directory, files } = generatePlugin({ kind: kind as Kind, name, parent: host.directory })
  const place = relative(host.directory, directory)
  host.stdout.write(
    `Wrote ${files.length} files into ${place}:\n${files.map((file) => `  ${file}\n`).join('')}
Next:
  cd ${place}
  npm install
  npm test
`,
  )
  return 0
}

interface Flags {
  readonly kind: string | undefined
  readonly name: string | undefined
  readonly help: boolean
}

function parseFlags(args: readonly string[]): Flags {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { kind: { type: 'string' }, name: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    })
    return { kind: values.kind, name: values.name, help: values.help ?? false }
  } catch (cause) {
    throw new GeneratorError('ERR_USAGE', (cause as Error).message.split('\n')[0] as string, {
      hint: 'Write --kind pair --name my-device, or nothing at all to be asked.',
      cause,
    })
  }
}

function isKind(text: string): text is Kind {
  return Object.hasOwn(KINDS, text)
}

function wrongKind(kind: string): GeneratorError {
  return new GeneratorError('ERR_USAGE', `There is no kind ${JSON.stringify(kind)} of plug-in`, {
    hint: `The kinds are ${Object.keys(KINDS).join(', ')}.`,
    data: { kind },
  })
}

/** Ask for what is missing, again until it will do. `undefined`: the input came to its end. */
async function ask(
  kind: string | undefined,
  name: string | undefined,
  { stdin, stdout }: CommandLineHost,
): Promise<{ kind: Kind; name: string } | undefined> {
  if (stdin.isTTY !== true) {
    throw new GeneratorError(
      'ERR_USAGE',
      `--${kind === undefined ? 'kind' : 'name'} is missing, and nobody can be asked`,
      {
        hint: 'Write --kind pair --name my-device.',
      },
    )
  }
  const questions = createInterface({ input: stdin, output: stdout })
  const closed = new Promise<undefined>((settle) => questions.once('close', () => settle(undefined)))
  const question = (text: string): Promise<string | undefined> => Promise.race([questions.question(text), closed])
  try {
    let answer = kind
    const kinds = Object.keys(KINDS) as Kind[]
    while (answer === undefined || !isKind(answer)) {
      const list = kinds.map((each, index) => `  ${index + 1}  ${each.padEnd(16)} ${DESCRIPTIONS[each]}\n`).join('')
      const text = await question(`What kind of plug-in?\n${list}Kind [${kinds[0]}]: `)
      if (text === undefined) return undefined
      const word = text.trim()
      answer = word === '' ? (kinds[0] as Kind) : (kinds[Number(word) - 1] ?? word)
      if (!isKind(answer)) stdout.write(`There is no kind ${answer}.\n`)
    }
    let named = name
    while (named === undefined) {
      const text = await question('Name of the package [my-device]: ')
      if (text === undefined) return undefined
      named = text.trim() || 'my-device'
      try {
        namesOf(named)
      } catch (error) {
        stdout.write(`${(error as GeneratorError).message}. ${(error as GeneratorError).hint}\n`)
        named = undefined
      }
    }
    return { kind: answer, name: named }
  } finally {
    questions.close()
  }
}
