// The file of `partita run --config`: the options of the command line as JSON. Each option of `run` is a key, one that may be repeated a list with an "s" at its
// name, and each value goes through the option's own parser. What is on the command line comes after it.

import { readFileSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import type { Command, Option } from 'commander'
import { CliError, systemMessage } from './cli-error.ts'
import type { DeviceOption } from './option-values.ts'

/** Keys that are no options of a machine. */
const NOT_IN_A_FILE: ReadonlySet<string> = new Set(['config', 'help'])

/** What a file says. */
export interface ConfigurationFile {
  readonly path: string
  /** Where relative paths of the file begin, and its plug-in packages are looked for. */
  readonly directory: string
  /** Values by the name of the option, as the command line's parsers give them. */
  readonly values: ReadonlyMap<string, unknown>
}

/** How an option's value names a file. */
const PATHS: Readonly<Record<string, (value: string, absolute: (path: string) => string) => string>> = {
  kernel: (value, absolute) => absolute(value),
  initrd: (value, absolute) => absolute(value),
  firmware: (value, absolute) => value.replace(/^bios:(.+)$/s, (_, path) => `bios:${absolute(path)}`),
  root: (value, absolute) => absolute(value),
  // Words follow the path; they never look like a directory.
  disk: (value, absolute) => absolute(value),
  guestFile: (value, absolute) => absolute(value),
  capture: (value, absolute) => absolute(value),
  // What follows the path never looks like a directory.
  network: (value, absolute) =>
    value.replace(
      /(^|\+)switch:(.+?)(?=$|\+(?:nat|tap:|switch:))/gs,
      (_, plus, path) => `${plus}switch:${absolute(path)}`,
    ),
  serial: (value, absolute) => value.replace(/^(file|unix):(.+)$/s, (_, kind, path) => `${kind}:${absolute(path)}`),
  device: (value, absolute) => (isRelative(value) ? absolute(value) : value),
  module: (value, absolute) => (value.endsWith('.ko') ? absolute(value) : value),
}

/**
 * Read and check a file.
 * @param run The command with all options.
 * @throws CliError `ERR_FILE_UNREADABLE`, `ERR_CONFIG_SYNTAX`, `ERR_CONFIG_INVALID`
 */
export function readConfigurationFile(path: string, run: Command): ConfigurationFile {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new CliError('ERR_FILE_UNREADABLE', `The configuration ${path} cannot be read: ${systemMessage(cause)}`, {
      hint: 'Check the path of the configuration.',
      data: { path },
      cause,
    })
  }
  return parse(text, path, run)
}

function parse(text: string, path: string, run: Command): ConfigurationFile {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new CliError('ERR_CONFIG_SYNTAX', `${path} is not JSON: ${(cause as Error).message}`, {
      hint: 'Names and texts stand in double quotes, and no comma stands before } or ].',
      data: { path },
      cause,
    })
  }
  const fail = (key: string, problem: string, hint?: string): never => {
    throw new CliError('ERR_CONFIG_INVALID', `${path}: ${key === '' ? '' : `${key}: `}${problem}`, {
      ...(hint !== undefined && { hint }),
      data: { path, key },
    })
  }
  if (!isObject(json)) return fail('', 'the configuration is not an object')
  const options = new Map(
    run.options
      .filter((option) => !option.negate && !NOT_IN_A_FILE.has(option.attributeName()))
      .map((option) => [keyOf(option), option]),
  )
  const directory = dirname(resolve(path))
  const absolute = (value: string): string => (isAbsolute(value) ? value : resolve(directory, value))
  const values = new Map<string, unknown>()
  for (const [key, value] of Object.entries(json)) {
    if (key === '$schema') continue
    const option = options.get(key)
    if (option === undefined)
      return fail(key, 'there is no such option', `There are ${[...options.keys()].join(', ')}.`)
    values.set(option.attributeName(), valueFor(option, key, value, absolute, fail))
  }
  return { path, directory, values }
}

function keyOf(option: Option): string {
  const name = option.attributeName()
  return isRepeatable(option) ? `${name}s` : name
}

function isRepeatable(option: Option): boolean {
  return Array.isArray(option.defaultValue)
}

type Fail = (key: string, problem: string, hint?: string) => never

function valueFor(
  option: Option,
  key: string,
  value: unknown,
  absolute: (path: string) => string,
  fail: Fail,
): unknown {
  if (!isRepeatable(option)) return oneValue(option, key, value, absolute, fail)
  if (!Array.isArray(value)) return fail(key, 'must be a list')
  return value.flatMap((item, index) => oneValue(option, `${key}.${index}`, item, absolute, fail))
}

function oneValue(
  option: Option,
  key: string,
  value: unknown,
  absolute: (path: string) => string,
  fail: Fail,
): unknown {
  const name = option.attributeName()
  if (name === 'device' && isObject(value)) return deviceOf(key, value, absolute, fail)
  // `--no-…` on the command line.
  if (value === false && name === 'root') return false
  if (!option.required && !option.optional)
    return typeof value === 'boolean' ? value : fail(key, 'must be true or false')
  if (typeof value !== 'string' && typeof value !== 'number') return fail(key, 'must be a text or a number')
  const text = PATHS[name]?.(String(value), absolute) ?? String(value)
  try {
    return option.parseArg === undefined ? text : option.parseArg(text, isRepeatable(option) ? [] : undefined)
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    return fail(key, error.message.replace(`${option.long} `, ''), error.hint)
  }
}

/** A device with options of any shape. */
function deviceOf(
  key: string,
  value: Readonly<Record<string, unknown>>,
  absolute: (path: string) => string,
  fail: Fail,
): DeviceOption {
  const { plugin, options = {}, id, ...others } = value
  const [strange] = Object.keys(others)
  if (strange !== undefined) return fail(`${key}.${strange}`, 'a device has plugin, options and id')
  if (typeof plugin !== 'string' || plugin === '') return fail(`${key}.plugin`, 'must name a plug-in')
  if (!isObject(options)) return fail(`${key}.options`, 'must be an object')
  if (id !== undefined && (typeof id !== 'string' || id === '')) return fail(`${key}.id`, 'must be a text')
  return {
    plugin: isRelative(plugin) ? absolute(plugin) : plugin,
    options,
    ...(id !== undefined && { id: id as string }),
  }
}

function isRelative(reference: string): boolean {
  return /^\.{1,2}([\\/,]|$)/.test(reference)
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
