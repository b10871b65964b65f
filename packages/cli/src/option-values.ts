// Values of command-line options: sizes of memory, disks, devices with options, serial ports, times, traces.

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

/** As many as a partition can have; how many the processor has room for, it says by itself. */
const MAXIMUM_PROCESSORS = 64

/**
 * Virtual processors, 1 to 64.
 * @throws CliError `ERR_USAGE`
 */
export function parseProcessors(text: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (count >= 1 && count <= MAXIMUM_PROCESSORS) return count
  throw new CliError('ERR_USAGE', `--processors ${text} is not a number of virtual processors`, {
    hint: 'Write --processors 2, for example. They take turns on one thread.',
  })
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
  readonly options: Readonly<Record<string, unknown>>
  readonly id?: string
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

/** A file of `--guest-file`. */
export interface GuestFileOption {
  readonly source: string
  /** Absolute path in the guest; in its home directory where omitted. */
  readonly target?: string
  /** Permissions; as the file has them where omitted. */
  readonly mode?: number
}

/**
 * `FILE`, `FILE:/PLACE` or `FILE:/PLACE:755`.
 * @throws CliError `ERR_USAGE`
 */
export function parseGuestFile(text: string): GuestFileOption {
  const match = /^(.+?):(\/[^:]*)(?::([0-7]{3,4}))?$/s.exec(text)
  if (match !== null) {
    const [, source, target, mode] = match as unknown as [string, string, string, string | undefined]
    return { source, target, ...(mode !== undefined && { mode: Number.parseInt(mode, 8) }) }
  }
  if (text === '' || /:[^/\\]*$/.test(text)) {
    throw new CliError('ERR_USAGE', `--guest-file ${text} is not a file with a place in the guest`, {
      hint: 'Write --guest-file probe:/bin/probe, or probe:/bin/probe:755.',
    })
  }
  return { source: text }
}

/**
 * A kernel module: its name, or a file that ends in `.ko`.
 * @throws CliError `ERR_USAGE`
 */
export function parseModule(text: string): string {
  if (/^[\w-]+$/.test(text) || /^[^,\s]+\.ko$/.test(text)) return text
  throw new CliError('ERR_USAGE', `--module ${text} is neither a name nor a .ko file`, {
    hint: 'Write --module uio_hv_generic, or --module ./driver.ko.',
  })
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

/** A disk of `--disk`. */
export interface DiskOption {
  readonly path: string
  readonly readOnly: boolean
  /** A DVD drive with the image as its medium. */
  readonly dvd: boolean
  /** A synthetic SCSI controller's unit, or a drive of the emulated IDE controller; what the machine has where omitted. */
  readonly bus?: 'scsi' | 'ide' | undefined
  /** A drive of the emulated IDE controller that is not offered over the VMBus besides. Default: false. */
  readonly plain?: boolean | undefined
  /** SCSI controller, from 0, or channel of the IDE controller. Default: 0, or the first that has room. */
  readonly controller?: number | undefined
  /** Default: the first that is free. */
  readonly lun?: number | undefined
}

const DISK_HINT = 'Write --disk F, followed by any of: ,ro ,dvd ,ide ,plain ,scsi ,controller=N ,lun=N.'
const DISK_WORD = /^(ro|dvd|ide|plain|scsi|(controller|lun)=(\d{1,2}))$/

/**
 * `FILE,ro,dvd,ide,plain,controller=N,lun=N`: the words that are known, at the end; what stands before them is the file, commas included.
 * @throws CliError `ERR_USAGE`
 */
export function parseDisk(text: string): DiskOption {
  const parts = text.split(',')
  const words = new Map<string, string>()
  for (;;) {
    const match = parts.length > 1 ? DISK_WORD.exec(parts.at(-1) as string) : null
    if (match === null) break
    parts.pop()
    const name = match[2] ?? (match[1] as string)
    if (words.has(name)) throw diskError(text, `${name} is given twice`)
    words.set(name, match[3] ?? '')
  }
  const path = parts.join(',')
  if (path === '') throw diskError(text, 'there is no file')
  const number = (name: string): number | undefined => (words.has(name) ? Number(words.get(name)) : undefined)
  const disk: DiskOption = {
    path,
    readOnly: words.has('ro') || words.has('dvd'),
    dvd: words.has('dvd'),
    bus: words.has('ide') ? 'ide' : words.has('scsi') ? 'scsi' : undefined,
    controller: number('controller'),
    lun: number('lun'),
  }
  if (words.has('ide')) {
    if (words.has('scsi')) throw diskError(text, 'a disk is on one controller, ide or scsi')
    if ((disk.controller ?? 0) > 1 || (disk.lun ?? 0) > 1)
      throw diskError(text, 'the IDE controller has the channels 0 and 1 with the units 0 and 1')
    return words.has('plain') ? { ...disk, plain: true } : disk
  }
  if (words.has('plain')) throw diskError(text, 'plain is for ide: a disk that is not on the VMBus, too')
  if ((disk.controller ?? 0) > 15) throw diskError(text, 'there can be 16 controllers, 0 to 15')
  if ((disk.lun ?? 0) > 63) throw diskError(text, 'a controller has the units 0 to 63')
  return disk
}

function diskError(text: string, problem: string): CliError {
  return new CliError('ERR_USAGE', `--disk ${text}: ${problem}`, { hint: DISK_HINT })
}

/** What the guest sees of the hypervisor. */
export type HypervisorOption = 'hyper-v' | 'none'

/**
 * `hyper-v` or `none`.
 * @throws CliError `ERR_USAGE`
 */
export function parseHypervisor(text: string): HypervisorOption {
  if (text === 'hyper-v' || text === 'none') return text
  throw new CliError('ERR_USAGE', `--hypervisor ${text} is neither hyper-v nor none`, {
    hint: 'With none the guest finds a PC without a hypervisor and without synthetic devices.',
  })
}

/** A way out of a network. */
export type NetworkWay =
  /** `hostLoopback`: the host's loopback is within reach. */
  | { readonly type: 'nat'; readonly hostLoopback: boolean }
  | { readonly type: 'tap'; readonly name: string }
  | { readonly type: 'switch'; readonly path: string }

/** The network of `--network`, with an adapter at it. */
export type NetworkOption = (
  | { readonly type: 'none' }
  | { readonly type: 'loopback' }
  | NetworkWay
  | { readonly type: 'several'; readonly ways: readonly NetworkWay[] }
) & {
  /** Address of the adapter. */
  readonly mac?: string
}

/** Where another way out begins. */
const NEXT_WAY = /\+(?=nat(?:$|[,+])|tap:|switch:)/

/**
 * `nat`, `nat,host`, `none`, `loopback`, `tap:NAME` or `switch:PATH`; several of them with `+` between them, for one switch; `,mac=ADDRESS` at the end.
 * @throws CliError `ERR_USAGE`
 */
export function parseNetwork(text: string): NetworkOption {
  const [, network = text, address] = /^(.*),mac=([^,]*)$/s.exec(text) ?? []
  const mac = address === undefined ? {} : { mac: macOf(address) ?? noNetwork(text) }
  if (network === 'none' && address === undefined) return { type: 'none' }
  if (network === 'loopback') return { type: 'loopback', ...mac }
  const [first, ...others] = network.split(NEXT_WAY).map((part) => wayOf(part) ?? noNetwork(text))
  if (first === undefined) return noNetwork(text)
  return others.length === 0 ? { ...first, ...mac } : { type: 'several', ways: [first, ...others], ...mac }
}

function wayOf(text: string): NetworkWay | undefined {
  if (text === 'nat' || text === 'nat,host') return { type: 'nat', hostLoopback: text !== 'nat' }
  const [, type, value] = /^(tap|switch):(.+)$/s.exec(text) ?? []
  if (value === undefined) return undefined
  return type === 'tap' ? { type, name: value } : { type: 'switch', path: value }
}

function noNetwork(text: string): never {
  throw new CliError('ERR_USAGE', `--network ${text} is no network`, {
    hint: 'Write nat, none, tap:NAME for an interface of the host, switch:PATH for a switch that machines share, or loopback; nat+switch:PATH for both on one switch; ,mac=ADDRESS behind it.',
  })
}

/** A port of the host that leads to the guest. */
export interface ForwardOption {
  readonly protocol: 'tcp' | 'udp'
  readonly hostAddress?: string
  readonly hostPort: number
  readonly guestPort: number
}

/**
 * `tcp:2222:22`, `udp:0.0.0.0:5353:53`, `tcp:[::1]:8080:80`: a port of the host, at its loopback unless an address is given, and one of the guest.
 * @throws CliError `ERR_USAGE`
 */
export function parseForward(text: string): ForwardOption {
  const match = /^(tcp|udp):(?:([\d.]+|\[[\da-f:.]+\]):)?(\d{1,5}):(\d{1,5})$/i.exec(text)
  const [hostPort, guestPort] = [Number(match?.[3]), Number(match?.[4])]
  if (match === null || !isPort(hostPort) || !isPort(guestPort)) {
    throw new CliError('ERR_USAGE', `--forward ${text} names no ports`, {
      hint: 'Write tcp:2222:22 for port 2222 of the host and port 22 of the guest; udp, and an address before the first port, are possible.',
    })
  }
  const hostAddress = match[2]?.replace(/[[\]]/g, '')
  return {
    protocol: match[1]?.toLowerCase() === 'udp' ? 'udp' : 'tcp',
    ...(hostAddress !== undefined && { hostAddress }),
    hostPort,
    guestPort,
  }
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535
}

/**
 * An Ethernet address, for the guest's adapter.
 * @throws CliError `ERR_USAGE`
 */
export function parseMac(text: string): string {
  const address = macOf(text)
  if (address !== undefined) return address
  throw new CliError('ERR_USAGE', `--mac ${text} is not the address of an adapter`, {
    hint: 'Write six bytes, the first of them even: 02:15:5d:00:00:02.',
  })
}

function macOf(text: string): string | undefined {
  const match = /^[\da-f]{2}(?:[:-][\da-f]{2}){5}$/i.exec(text)
  return match !== null && (Number.parseInt(text.slice(0, 2), 16) & 1) === 0
    ? text.toLowerCase().replaceAll('-', ':')
    : undefined
}

/** The generation of a machine, as Hyper-V calls it. */
export type MachineOption = 'gen1' | 'gen2'

/**
 * `gen1` or `gen2`.
 * @throws CliError `ERR_USAGE`
 */
export function parseMachine(text: string): MachineOption {
  if (text === 'gen1' || text === 'gen2') return text
  throw new CliError('ERR_USAGE', `--machine ${text} is neither gen1 nor gen2`, {
    hint: 'A machine of generation 1 has an emulated IDE controller, keyboard and mouse; one of generation 2 has not.',
  })
}

/** Firmware that boots the machine: Debian's SeaBIOS, or the image in a file. */
export interface FirmwareOption {
  readonly type: 'bios'
  readonly path?: string
}

/**
 * `bios`, or `bios:FILE`.
 * @throws CliError `ERR_USAGE`
 */
export function parseFirmware(text: string): FirmwareOption {
  const [, path] = /^bios(?::(.+))?$/s.exec(text) ?? [text]
  if (text === 'bios') return { type: 'bios' }
  if (path !== undefined) return { type: 'bios', path }
  throw new CliError('ERR_USAGE', `--firmware ${text} is no firmware`, {
    hint: "Write bios for Debian's SeaBIOS, or bios:FILE for an image of your own.",
  })
}

/** What can be traced. */
export type TraceOption = 'vmbus'

/**
 * `vmbus`.
 * @throws CliError `ERR_USAGE`
 */
export function parseTrace(text: string): TraceOption {
  if (text === 'vmbus') return text
  throw new CliError('ERR_USAGE', `--trace ${text}: there is no such trace`, { hint: 'Write --trace vmbus.' })
}
