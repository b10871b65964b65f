// `partita run`: makes a VM of the options, connects its console, and runs it to its end.

import { totalmem } from 'node:os'
import type { ReadStream } from 'node:tty'
import { detectKernel } from '@partita/firmware'
import { type CharacterBackend, type Logger, silentLogger, vmbusServerToken } from '@partita/interface'
import {
  DEFAULT_PROCESSOR,
  MemoryManager,
  type PluginConfiguration,
  type PluginRegistry,
  type PluginTracker,
  VirtualMachine,
  type VmOutcome,
} from '@partita/root-partition'
import { reportChannels } from './channel-report.ts'
import { CliError } from './cli-error.ts'
import type { ConsoleBackend } from './console/backend.ts'
import { FileBackend } from './console/file-backend.ts'
import { PanicWatcher } from './console/panic-watcher.ts'
import { flushed, patiently } from './console/patience.ts'
import { SocketBackend } from './console/socket-backend.ts'
import { StdioBackend } from './console/stdio-backend.ts'
import { watched } from './console/watched-backend.ts'
import type { DefaultGuest, DefaultGuestOptions, Firmware, FirmwareOptions } from './default-guest/index.ts'
import { createProgressReporter } from './default-guest/progress.ts'
import { type OpenDisks, openDisks } from './disks.ts'
import { EXIT_STATUS, statusOf } from './exit-status.ts'
import { planFirmware, rootOption } from './firmware-plan.ts'
import { guestFilesArchive, planModules, withArchive } from './guest-files.ts'
import { ideWords } from './ide-drives.ts'
import { disposable, readInputFile } from './input-file.ts'
import { devicesWith } from './machine-devices.ts'
import { networkDevices } from './network.ts'
import { Notices, withNotices } from './notices.ts'
import type {
  DeviceOption,
  DiskOption,
  FirmwareOption,
  ForwardOption,
  GuestFileOption,
  HypervisorOption,
  MachineOption,
  NetworkOption,
  SerialOption,
  TraceOption,
} from './option-values.ts'
import { readSymbols } from './processor-symbols.ts'
import { rootDiskOf } from './root-disk.ts'
import { type RunEnd, RunEnding } from './run-ending.ts'
import { SilenceTimer } from './silence-timer.ts'
import { RawTerminal } from './terminal.ts'

/** Options of `partita run`, parsed. */
export interface RunOptions {
  readonly kernel?: string | undefined
  readonly initrd?: string | undefined
  readonly append?: string | undefined
  /** Bytes. */
  readonly memory: number
  /** Virtual processors. */
  readonly processors: number
  /** The default guest's root disk: a file to keep it in, none (false), or one that is thrown away (absent). */
  readonly root?: string | false | undefined
  readonly disks: readonly DiskOption[]
  readonly hypervisor: HypervisorOption
  /** None: NAT, where there is a VMBus. */
  readonly networks: readonly NetworkOption[]
  readonly forwards: readonly ForwardOption[]
  readonly capture?: string | undefined
  readonly mac?: string | undefined
  /** Absent: gen1 with firmware, and else gen2. */
  readonly machine?: MachineOption | undefined
  /** Firmware that boots the machine, instead of a kernel. */
  readonly firmware?: FirmwareOption | undefined
  readonly traces: readonly TraceOption[]
  readonly serial: SerialOption
  /** Seconds. */
  readonly timeout?: number | undefined
  readonly devices: readonly DeviceOption[]
  /** Files that a Linux guest gets. */
  readonly guestFiles: readonly GuestFileOption[]
  /** Kernel modules that the guest loads: names and `.ko` files. */
  readonly modules: readonly string[]
  /** Tell at the end what the processors did; the name of a symbol file, if there is one. */
  readonly processorStats?: string | true | undefined
}

/** The world around the command. */
export interface RunHost {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  readonly registry: PluginRegistry
  /** Follows what plug-ins leave to the event loop. */
  readonly tracker?: PluginTracker
  readonly logger: Logger
  readonly ensureDefaultGuest: (options: DefaultGuestOptions) => Promise<DefaultGuest>
  readonly ensureFirmware: (options: FirmwareOptions) => Promise<Firmware>
}

/** A Linux kernel without further words speaks on the first serial port, and a panic resets the machine, which ends the run. */
const LINUX_DEFAULTS = 'console=ttyS0,115200 panic=-1'
/** Words for the default guest in addition to its own. */
const PANIC_RESETS = 'panic=-1'
/** Who logs what a trace shows. */
const TRACED_PLUGINS: Readonly<Record<TraceOption, string>> = { vmbus: '@partita/vmbus' }
const END_OF_TRANSMISSION = 0x04
const NEWLINE = 0x0a

interface BootPlan {
  /** The kernel, or the firmware of a machine that boots by itself. */
  readonly kernel: string
  readonly firmware?: true
  readonly initrd?: string | undefined
  readonly commandLine: string
  /** The default guest that gets a root disk. */
  readonly guest?: DefaultGuest | undefined
  /** What stands behind the initial RAM disk. */
  readonly archive?: Uint8Array | undefined
  /** For the notice at the start. */
  readonly name: string
  /** Piped input waits for this in the guest's output. */
  readonly readyMark?: string | undefined
  /** Or for the guest's first words. */
  readonly waitForOutput?: boolean | undefined
  /** Bytes for the guest at the end of piped input. */
  readonly endOfInput?: ((lastByte: number | undefined) => Uint8Array) | undefined
}

/**
 * Run a VM, and say on standard error why it ended.
 * @returns the exit status, when all has been read
 * @throws PartitaError for what the user gave or the host lacks; anything else is a fault of Partita
 */
export async function runVirtualMachine(options: RunOptions, host: RunHost): Promise<number> {
  using ending = new RunEnding(options.timeout)
  let backend: ConsoleBackend | undefined
  let end = await runMachine(options, host, ending, (made) => {
    backend = made
  })
  if (backend?.lost === true) end = ending.late ?? end
  explain(end, host.stderr)
  const read = await patiently(flushed(host.stderr), ending.signal)
  return (read ? end : (ending.late ?? end)).status
}

function explain({ lastLines, code, message }: RunEnd, stderr: NodeJS.WritableStream): void {
  if (lastLines !== undefined && lastLines.length > 0) {
    stderr.write(`partita: the last lines of the console:\n${lastLines.map((line) => `  ${line}\n`).join('')}`)
  }
  if (code !== undefined) stderr.write(`partita: ${code}: ${message}\n`)
}

async function runMachine(
  options: RunOptions,
  host: RunHost,
  ending: RunEnding,
  onConsole: (backend: ConsoleBackend) => void,
): Promise<RunEnd> {
  let vm: VirtualMachine | undefined
  ending.onEnd = () => void vm?.stop()
  await using stack = new AsyncDisposableStack()

  const interactive = options.serial.type === 'stdio' && host.stdin.isTTY === true
  let plan: BootPlan
  let backend: ConsoleBackend
  try {
    plan = await planBoot(options, host, interactive, ending.signal)
    // A FIFO may have to wait for its reader.
    ending.startTime()
    backend = stack.use(await openConsole(options.serial, host, interactive, plan, ending))
    ending.stopTime()
  } catch (error) {
    if (ending.reason !== undefined) return ending.reason
    throw error
  }
  onConsole(backend)

  const watcher = new PanicWatcher()
  backend.onClosed = () => ending.end({ status: EXIT_STATUS.HANGUP })
  const silence = stack.use(new SilenceTimer(() => ending.giveUp({ status: EXIT_STATUS.GUEST_PANIC })))
  watcher.onPanic = () => {
    if (!interactive) silence.start()
  }
  const console = watched(backend, watcher, () => silence.touch(watcher.panicked))

  const notices = new Notices({
    write: (text) => void host.stderr.write(text),
    now: () => performance.now(),
    raw: interactive && host.stderr.isTTY === true,
  })
  const root = plan.guest === undefined ? undefined : stack.use(rootDiskOf(plan.guest, options.root || undefined))
  const disks = stack.use(
    await openDisks(
      [...(root === undefined ? [] : [root.option]), ...options.disks],
      options.hypervisor,
      // Firmware boots from no other.
      options.firmware && 'ide',
    ),
  )
  root?.opened()
  const symbols = typeof options.processorStats === 'string' ? await readSymbols(options.processorStats) : undefined
  vm = stack.use(await createMachine(options, host, plan, console, disks, watcher, notices))
  if (ending.reason !== undefined) return ending.reason
  if (interactive) {
    host.stderr.write(`partita: booting ${plan.name}; Ctrl-] quits\n`)
    // The guest's last line may be without an end.
    stack.defer(() => void host.stderr.write('\n'))
    stack.use(new RawTerminal(host.stdin as ReadStream, (text) => void host.stdout.write(text)))
  }
  ending.startTime()
  try {
    const outcome = await vm.run()
    ending.over()
    return conclude(outcome, ending.reason, watcher)
  } finally {
    if (options.processorStats !== undefined) {
      notices.conclude(vm.partition.virtualProcessors.flatMap((vp) => vp.describe?.(symbols) ?? []))
    }
    if (options.traces.includes('vmbus')) notices.conclude(reportChannels(vm.find(vmbusServerToken)?.channels() ?? []))
  }
}

/** What ended the run, with the last lines where they explain it. */
function conclude(outcome: VmOutcome, end: RunEnd | undefined, watcher: PanicWatcher): RunEnd {
  const panicked = watcher.panicked
  const own = outcome.type === 'stopped' ? end : undefined
  // A guest that hangs in a panic until its time is up has panicked.
  if (
    own !== undefined &&
    !(panicked && (own.status === EXIT_STATUS.TIMEOUT || own.status === EXIT_STATUS.GUEST_PANIC))
  ) {
    return own.status === EXIT_STATUS.TIMEOUT ? { ...own, lastLines: watcher.lastLines() } : own
  }
  const result = statusOf(outcome.type === 'stopped' ? { type: 'reset' } : outcome, panicked)
  return result.status === EXIT_STATUS.GUEST_PANIC || result.status === EXIT_STATUS.TRIPLE_FAULT
    ? { ...result, lastLines: watcher.lastLines() }
    : result
}

async function planBoot(
  options: RunOptions,
  host: RunHost,
  interactive: boolean,
  signal: AbortSignal,
): Promise<BootPlan> {
  if (options.firmware !== undefined) {
    const { image, name } = await planFirmware(options, host.ensureFirmware, host.stderr, signal)
    return { kernel: image, firmware: true, commandLine: '', name }
  }
  const driveWords = ideWords(options.disks, options.hypervisor)
  if (options.kernel !== undefined) {
    if (options.root !== undefined) {
      throw new CliError('ERR_USAGE', `--${rootOption(options)} is for the default guest`, {
        hint: 'A kernel of your own gets its disks from --disk.',
      })
    }
    // Looked at before anything else is set up, so that a wrong name is said at once.
    const kernel = await readInputFile(options.kernel, 'kernel')
    if (options.initrd !== undefined) await readInputFile(options.initrd, 'initial ramdisk')
    const kind = detectKernel(kernel)
    const linux = kind === 'linux-bzimage' || kind === 'linux-elf'
    checkOwnFiles(options, linux)
    return {
      kernel: options.kernel,
      initrd: options.initrd,
      commandLine: words(linux ? LINUX_DEFAULTS : '', linux ? driveWords : '', options.append),
      archive: archiveOf(options.guestFiles, false),
      name: options.kernel,
    }
  }
  if (options.initrd !== undefined) {
    throw new CliError('ERR_USAGE', '--initrd needs a --kernel', {
      hint: 'Name the kernel that goes with the initial ramdisk.',
    })
  }
  const reporter = createProgressReporter(host.stderr)
  const modules = planModules(options.modules)
  const archive = archiveOf([...options.guestFiles, ...modules.files], true)
  const guest = await host
    .ensureDefaultGuest({ progress: reporter.report, signal, modules: modules.names })
    .finally(() => reporter.clear())
  const { columns, rows } = host.stdout
  // Another first process says no mark.
  const marked = options.serial.type === 'stdio' && !interactive && !/(?:^|\s)rdinit=/.test(options.append ?? '')
  const terminal = interactive && columns > 0 ? `partita_rows=${rows} partita_columns=${columns}` : ''
  return {
    kernel: guest.kernel,
    initrd: guest.initrd,
    guest: options.root === false ? undefined : guest,
    commandLine: words(
      guest.commandLine,
      options.root === false ? '' : guest.rootDiskWord,
      PANIC_RESETS,
      driveWords,
      interactive ? terminal : guest.pipedInputWord,
      marked ? guest.readyWord : '',
      modules.word,
      options.append,
    ),
    archive,
    name: `Linux ${guest.version}`,
    readyMark: marked ? guest.readyMark : undefined,
    waitForOutput: !interactive,
    endOfInput: (lastByte) =>
      lastByte === undefined || lastByte === NEWLINE
        ? Uint8Array.of(END_OF_TRANSMISSION)
        : Uint8Array.of(NEWLINE, END_OF_TRANSMISSION),
  }
}

function archiveOf(files: readonly GuestFileOption[], staged: boolean): Uint8Array | undefined {
  return files.length === 0 ? undefined : guestFilesArchive(files, staged)
}

/** @throws CliError `ERR_USAGE` where a kernel of the user's own has no place for files or modules */
function checkOwnFiles({ guestFiles, modules, initrd }: RunOptions, linux: boolean): void {
  if (modules.length > 0) {
    throw new CliError('ERR_USAGE', '--module is for the default guest', {
      hint: 'A kernel of your own loads its modules from its --initrd.',
    })
  }
  if (guestFiles.length > 0 && !(linux && initrd !== undefined)) {
    throw new CliError('ERR_USAGE', '--guest-file needs a Linux kernel with an initial RAM disk', {
      hint: 'Give --initrd, or boot the default guest.',
    })
  }
}

function words(...parts: (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join(' ')
}

async function openConsole(
  serial: SerialOption,
  host: RunHost,
  interactive: boolean,
  plan: BootPlan,
  ending: RunEnding,
): Promise<ConsoleBackend> {
  if (serial.type === 'file') return FileBackend.open(serial.path, ending.signal)
  if (serial.type === 'unix') return SocketBackend.open(serial.path, ending.signal)
  return new StdioBackend({
    input: host.stdin,
    output: host.stdout,
    interactive,
    onEscape: () => ending.end({ status: EXIT_STATUS.INTERRUPTED }),
    readyMark: plan.readyMark,
    waitForOutput: plan.waitForOutput,
    endOfInput: plan.endOfInput,
    ending: ending.signal,
  })
}

async function createMachine(
  options: RunOptions,
  host: RunHost,
  plan: BootPlan,
  console: CharacterBackend,
  disks: OpenDisks,
  watcher: PanicWatcher,
  notices: Notices,
): Promise<VirtualMachine> {
  const { kernel, initrd, commandLine, archive, firmware } = plan
  const readFile = async (path: string): Promise<Uint8Array & Disposable> => {
    const bytes = await readInputFile(path, path === initrd ? 'initial ramdisk' : firmware ? 'firmware' : 'kernel')
    if (path !== initrd || archive === undefined) return disposable(bytes)
    using file = disposable(bytes)
    return disposable(withArchive(file, archive))
  }
  return VirtualMachine.create(
    {
      memory: options.memory,
      virtualProcessors: options.processors,
      hypervisor: options.hypervisor,
      ...(options.processorStats !== undefined && {
        processor: { plugin: DEFAULT_PROCESSOR, options: { statistics: true } },
      }),
      devices: machineDevices(options, disks.devices),
      boot: firmware
        ? { type: 'bios', firmware: kernel }
        : { kernel, commandLine, ...(initrd !== undefined && { initrd }) },
    },
    {
      registry: host.registry,
      logger: withNotices(host.logger, notices, {
        errors: host.logger === silentLogger,
        traces: new Map(options.traces.map((trace) => [TRACED_PLUGINS[trace], trace])),
      }),
      memoryManager: new MemoryManager(hostMemory()),
      readFile,
      ...(host.tracker && { tracker: host.tracker }),
      characterBackends: new Map([['console', console]]),
      services: disks.services,
      beforeRestart: () => !watcher.panicked,
    },
  )
}

/** The devices of the machine: the usual ones, those that the options set up in their place, and those that the options add. */
function machineDevices(options: RunOptions, disks: readonly PluginConfiguration[]): PluginConfiguration[] {
  const { hypervisor, traces, devices } = options
  const set = [...disks]
  if (traces.includes('vmbus')) set.push({ plugin: TRACED_PLUGINS.vmbus, options: { trace: true } })
  return [...devicesWith(options, set), ...networkDevices(options, hypervisor), ...devices]
}

/** Bytes of the host's memory, or of what this process may have of it. */
function hostMemory(): number {
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
}
