// The command line: commands, options, help, and the way from errors to exit statuses.

import { readFileSync } from 'node:fs'
import { type PackageSource, PluginRegistry } from '@partita/root-partition'
import { NodePackageSource, NodePluginTracker } from '@partita/root-partition/node'
import { Command, CommanderError } from 'commander'
import { CliError, formatError, statusOfError } from './cli-error.ts'
import { type ConfigurationFile, readConfigurationFile } from './configuration-file.ts'
import { flushed } from './console/patience.ts'
import { EXIT_STATUS } from './exit-status.ts'
import { createLogger } from './logger.ts'
import {
  type DeviceOption,
  type DiskOption,
  type FirmwareOption,
  type ForwardOption,
  type GuestFileOption,
  type HypervisorOption,
  type MachineOption,
  type NetworkOption,
  parseDevice,
  parseDisk,
  parseFirmware,
  parseForward,
  parseGuestFile,
  parseHypervisor,
  parseMac,
  parseMachine,
  parseMemory,
  parseModule,
  parseNetwork,
  parseProcessors,
  parseSerial,
  parseTimeout,
  parseTrace,
  type SerialOption,
  type TraceOption,
} from './option-values.ts'

/** Values of the options of `run` as commander gives them. */
interface RunValues {
  readonly kernel?: string
  readonly initrd?: string
  readonly append?: string
  readonly memory: number
  readonly processors: number
  readonly root?: string | false
  readonly disk: readonly DiskOption[]
  readonly hypervisor: HypervisorOption
  readonly network: readonly NetworkOption[]
  readonly forward: readonly ForwardOption[]
  readonly capture?: string
  readonly mac?: string
  readonly machine?: MachineOption
  readonly firmware?: FirmwareOption
  readonly trace: readonly TraceOption[]
  readonly serial: SerialOption
  readonly timeout?: number
  readonly device: readonly DeviceOption[]
  readonly guestFile: readonly GuestFileOption[]
  readonly module: readonly string[]
  readonly config?: string
  readonly processorStats?: string | true
}

/** One for the process: an error of the event loop knows no machine. */
const tracker = new NodePluginTracker()

/** What may be put in another's place, by tests. */
export interface CommandLineHost {
  /** Makes the registry of plug-ins. Default: one with the built-in packages. */
  readonly registry?: (source: PackageSource) => PluginRegistry
}

/** Of options whose values are no text. */
const DEFAULTS: Readonly<Record<string, string>> = { '--memory': '512M', '--serial': 'stdio' }

const RUN_HELP = `
Without --kernel the default guest is booted: Debian's current kernel with busybox, fetched through apt once. What it writes to
its root disk is gone when it ends, unless --root names a file for it.

The console is the guest's first serial port. On a terminal, Ctrl-] quits, and every other key goes to the guest. In a pipe,
standard input feeds the console, and standard output is the guest's alone; at the end of the input the default guest's shell
ends and the guest is switched off, while a kernel of your own gets nothing and goes on.

A disk is a unit of a synthetic SCSI controller (sda, sdb, …), read-only with ",ro", the medium of a DVD drive with ",dvd", and a
drive of the emulated IDE controller with ",ide", which the guest also finds on the VMBus, unless ",plain" is said. ",controller=N"
and ",lun=N" choose its place.

With --firmware bios the machine starts as a PC does, with SeaBIOS on the console, and boots from its IDE disks and CDs in the order of
the options: --disk means an IDE drive there, unless ",scsi" is said. Firmware comes from Debian through apt once, as the default guest
does.

--config names a JSON file with these options: {"memory": "1G", "devices": ["my-plugin"]}. One that may be repeated is a list there,
with an "s" at its name; relative paths begin at the file. What is on the command line comes on top.

--guest-file and --module are for a Linux guest: a file or a directory with its place in the guest, and a kernel module that it
loads at its start, by the name that Debian's kernel has for it, or a .ko file.

A Linux kernel is told "console=ttyS0,115200 panic=-1" before the words of --append.

Exit status:
  0             the guest switched itself off
  1, 3, … 255   the guest wrote to the debug-exit port: (value << 1 | 1) & 255
  ${EXIT_STATUS.MISUSE}             a wrong option, file, disk, plug-in or amount of memory
  ${EXIT_STATUS.HOST_ERROR}            a fault of Partita or of the host
  ${EXIT_STATUS.GUEST_PANIC}           the guest's kernel panicked; its last lines are on standard error
  ${EXIT_STATUS.TRIPLE_FAULT}           triple fault
  ${EXIT_STATUS.TIMEOUT}           the time of --timeout was up
  ${EXIT_STATUS.HANGUP}           the terminal or standard output was closed
  ${EXIT_STATUS.INTERRUPTED}           Ctrl-], or SIGINT
  ${EXIT_STATUS.TERMINATED}           SIGTERM`

/**
 * Run `partita` with `args`, without the program's name. Nothing is thrown: errors are on standard error.
 * @returns the exit status, when what was said has been read: exit() waits for no pipe
 */
export async function runCommandLine(args: readonly string[], host: CommandLineHost = {}): Promise<number> {
  // A reader that has gone (`partita plugins | head -1`) is no error; a run sees it by itself.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  // What a device lets escape into the event loop; leaving by exit() restores the terminal.
  process.on('uncaughtException', (error) => {
    // What comes from a plug-in takes the plug-in away, and the guest goes on.
    if (!tracker.attribute(error)) process.exit(complain(error))
  })
  let status: number = EXIT_STATUS.POWER_OFF
  const program = createProgram(host, (value) => {
    status = value
  })
  try {
    await program.parseAsync([...args], { from: 'user' })
    return status
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) {
        await flushed(process.stdout)
        return EXIT_STATUS.POWER_OFF
      }
    }
    const status = complain(error instanceof CommanderError ? usageError(error) : error)
    await flushed(process.stderr)
    return status
  }
}

function complain(error: unknown): number {
  process.stderr.write(formatError(error))
  return statusOfError(error)
}

/** Commander's message: `error: unknown option '--foo'`, with its suggestion in parentheses on the next line. */
function usageError(error: CommanderError): CliError {
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n')
  return new CliError('ERR_USAGE', message, {
    hint: suggestion?.replace(/[()]/g, '') ?? 'partita --help shows the commands and options.',
  })
}

function createProgram(host: CommandLineHost, setStatus: (status: number) => void): Command {
  const registry = (packageDirectories: readonly string[] = []): PluginRegistry => {
    const directory = process.cwd()
    const source = new NodePackageSource({ directory, packageDirectories: [...packageDirectories, directory] })
    return host.registry?.(source) ?? new PluginRegistry({ source })
  }
  const program = new Command('partita')
    .description('Runs unmodified operating systems in a virtual machine written in TypeScript.')
    .version(version(), '-V, --version')
    .showSuggestionAfterError(true)
    .configureOutput({ outputError: () => {} })
    .exitOverride()

  const run = program
    .command('run', { isDefault: true })
    .allowExcessArguments(false)
    .summary('boot a kernel (the default command)')
    .description('Boots a kernel in a virtual machine with a console on this terminal.')
    .option('--config <file>', 'options of this command in a JSON file')
    .option('--kernel <file>', 'a bzImage, an ELF vmlinux or a multiboot image')
    .option(
      '--firmware <what>',
      "bios: start as a PC does, with Debian's SeaBIOS, and boot from the IDE disks and CDs in their order; bios:FILE: with an image of one's own",
      parsed(parseFirmware),
    )
    .option('--initrd <file>', 'an initial ramdisk, or the first module of a multiboot kernel')
    .option('--append <words>', "words for the kernel's command line")
    .option('--memory <size>', 'RAM: 512M, 2G', parsed(parseMemory), parseMemory('512M'))
    .option('--processors <number>', 'virtual processors', parsed(parseProcessors), 1)
    .option('--root <file>', "keep the default guest's root disk in this file, which is made where it is missing")
    .option('--no-root', 'give the default guest no root disk')
    .option(
      '--disk <file[,ro][,dvd][,ide][,scsi]...>',
      'a raw disk image, on the synthetic SCSI controller where neither firmware nor words say otherwise; may be repeated',
      collect(parseDisk),
      [],
    )
    .option(
      '--hypervisor <kind>',
      'what the guest finds: hyper-v, or none, as on plain hardware',
      parsed(parseHypervisor),
      parseHypervisor('hyper-v'),
    )
    .option(
      '--network <kind>',
      'nat (the default where there is a VMBus), nat,host with the host within reach, none, tap:NAME, switch:PATH, loopback; nat+switch:PATH on one switch; may be repeated, for an adapter each',
      collect(parseNetwork),
      [],
    )
    .option(
      '--forward <protocol:port:port>',
      'with NAT: a port of the host that leads to one of the guest, tcp:2222:22; may be repeated',
      collect(parseForward),
      [],
    )
    .option('--capture <file>', 'write what the guest sends and gets to a pcapng file')
    .option('--mac <address>', "the address of the guest's first adapter", parsed(parseMac))
    .option(
      '--machine <generation>',
      'gen1, with an emulated IDE controller, keyboard and mouse, the default with --firmware; or gen2, without, the default for a kernel',
      parsed(parseMachine),
    )
    .option(
      '--serial <where>',
      'the console: stdio, file:F, or unix:F, a socket to listen on',
      parsed(parseSerial),
      parseSerial('stdio'),
    )
    .option('--timeout <seconds>', 'end the guest after this time', parsed(parseTimeout))
    .option(
      '--device <plugin[,key=value…]>',
      'add a device by plug-in name, npm package or path; may be repeated',
      collect(parseDevice),
      [],
    )
    .option(
      '--guest-file <file[:/place[:mode]]>',
      'put a file or a directory into a Linux guest; may be repeated',
      collect(parseGuestFile),
      [],
    )
    .option('--module <name>', 'have the default guest load a kernel module; may be repeated', collect(parseModule), [])
    .option('--trace <what>', 'vmbus: messages and channel events on standard error', collect(parseTrace), [])
    .option(
      '--processor-stats [System.map]',
      'at the end, what the processors did, on standard error: instructions, translation, the hottest code; with a symbol file by name',
    )
    .addHelpText('after', RUN_HELP)
    .action(async (values: RunValues) => {
      const file = values.config === undefined ? undefined : readConfigurationFile(values.config, run)
      setStatus(await run_(mergeConfiguration(values, file, run), file))
    })
  for (const option of run.options)
    if (option.long !== undefined && option.long in DEFAULTS)
      option.defaultValueDescription = DEFAULTS[option.long] ?? ''
  for (const option of run.options) if (Array.isArray(option.defaultValue)) option.default(option.defaultValue, 'none')

  const run_ = async (
    { disk, device, trace, guestFile, module, forward, network, ...values }: RunValues,
    file: ConfigurationFile | undefined,
  ): Promise<number> => {
    // Loaded here, so that --help and --version do not wait for the machine.
    const { runVirtualMachine } = await import('./run-command.ts')
    const { ensureDefaultGuest, ensureFirmware } = await import('./default-guest/index.ts')
    const { stdin, stdout, stderr } = process
    return runVirtualMachine(
      {
        ...values,
        disks: disk,
        devices: device,
        traces: trace,
        guestFiles: guestFile,
        modules: module,
        forwards: forward,
        networks: network,
      },
      {
        stdin,
        stdout,
        stderr,
        registry: registry(file === undefined ? [] : [file.directory]),
        tracker,
        logger: await createLogger(process.env['PARTITA_LOG']),
        ensureDefaultGuest,
        ensureFirmware,
      },
    )
  }

  program
    .command('plugins')
    .summary('list plug-ins')
    .description(
      'Lists the built-in plug-ins, those of the packages that this directory’s package.json depends on, and those that are named. None of them runs.',
    )
    .argument('[packages...]', 'npm packages, or paths of packages or of their modules')
    .option('--long', 'with options, GUIDs and places', false)
    .option('--json', 'as JSON', false)
    .action(async (packages: string[], { json, long }: { json: boolean; long: boolean }) => {
      const { installedPackages, listPlugins } = await import('./plugins-command.ts')
      const installed = await installedPackages(process.cwd())
      process.stdout.write(await listPlugins(registry(), packages, json ? 'json' : long ? 'long' : 'table', installed))
      await flushed(process.stdout)
    })
  return program
}

/** The file's values under those of the command line: lists are joined, and other values give way. */
function mergeConfiguration(values: RunValues, file: ConfigurationFile | undefined, run: Command): RunValues {
  if (file === undefined) return values
  const merged: Record<string, unknown> = { ...values }
  for (const [name, value] of file.values) {
    if (Array.isArray(value)) merged[name] = [...value, ...(merged[name] as unknown[])]
    else if (run.getOptionValueSource(name) !== 'cli') merged[name] = value
  }
  return merged as unknown as RunValues
}

/** For commander: a parser of one value. */
function parsed<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => parse(text)
}

/** For commander: a parser of an option that may be repeated. */
function collect<T>(parse: (text: string) => T): (text: string, previous: readonly T[]) => readonly T[] {
  return (text, previous) => [...previous, parse(text)]
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  return (manifest as { version: string }).version
}
