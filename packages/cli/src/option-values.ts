// Values of command-line options: sizes of memory, devices with options, serial ports, times.

import { CliError } from './cli-error.ts'

const UNITS: Readonly<Record<string, number>> = { '': 2 ** 20, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }

/**
 * Bytes of `512M`, `1G`, `65536K`, `1GiB`; a number alone is mebibytes.
 * @throws CliError `ERR_USAGE`
 */
export function parseMemory(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?$/i.exec(text.trim())
  const bytes = match === null ? Number.NaN : Number(match[1]) * (UNITS[(match[2] as string).toUpperCase()] as number)
  if (Number.isSafeInteger(bytes)) return bytes
  throw new CliError('ERR_USAGE', `--memory ${text} is not an amount of memory`, { hint: 'Write 512M or 2G.' })
}

/**
 * Seconds, from a thousandth to a million.
 * @throws CliError `ERR_USAGE`
 */
export function parseTimeout(text: string): number {
  const seconds = /^\d+(\.\d+)?s?$/.test(text) ? Number.parseFloat(text) : Number.NaN
  if (seconds >= 0.001 && seconds <= 1e6) return seconds
  throw new CliError('ERR_USAGE', `--timeout ${text} is not a number of seconds`, {
    hint: 'Write the seconds after which the guest is ended: 30 or 2.5.',
  })
}

/** A device of `--device`. */
export interface DeviceOption {
  readonly plugin: string
  readonly options: Readonly<Record<string, string | number | boolean>>
}

/**
 * `plugin,key=value,flag`: numbers (also 0x…), `true` and `false` become what they look like; a key without value is true.
 * @throws CliError `ERR_USAGE`
 */
export function parseDevice(text: string): DeviceOption {
  const [plugin, ...pairs] = text.split(',') as [string, ...string[]]
  if (plugin === '')
    throw new CliError('ERR_USAGE', `--device ${text} names no plug-in`, { hint: 'Write --device plugin,key=value.' })
  const options: Record<string, string | number | boolean> = {}
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    const key = equals < 0 ? pair : pair.slice(0, equals)
    if (key === '' || Object.hasOwn(options, key)) {
      throw new CliError(
        'ERR_USAGE',
        `--device ${text}: ${key === '' ? 'an option has no name' : `${key} is given twice`}`,
        {
          hint: 'Write --device plugin,key=value.',
        },
      )
    }
    options[key] = equals < 0 ? true : parseValue(pair.slice(equals + 1))
  }
  return { plugin, options }
}

function parseValue(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  return /^(-?\d+(\.\d+)?|0x[0-9a-f]+)$/i.test(text) ? Number(text) : text
}

/** Where the first serial port leads. */
export type SerialOption = { readonly type: 'stdio' } | { readonly type: 'file' | 'unix'; readonly path: string }

/**
 * `stdio`, `file:PATH` or `unix:PATH`.
 * @throws CliError `ERR_USAGE`
 */
export function parseSerial(text: string): SerialOption {
  if (text === 'stdio') return { type: 'stdio' }
  const match = /^(file|unix):(.+)$/s.exec(text)
  if (match === null) {
    throw new CliError('ERR_USAGE', `--serial ${text} is none of stdio, file:F and unix:F`, {
      hint: 'Write --serial file:console.log, for example.',
    })
  }
  return { type: match[1] as 'file' | 'unix', path: match[2] as string }
}
