// A guest for a case of the matrix: the test image in a virtual machine of this process, with a shell to type into, disks that the case holds in its hands,
// and a trace of the VMBus.

import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openRawDisk } from '@partita/disk-images/node'
import { type Disk, disksToken, type Logger, type VmbusChannelInfo, vmbusServerToken } from '@partita/interface'
import {
  DEFAULT_DEVICES,
  GENERATION_1_DEVICES,
  type PluginConfiguration,
  PluginRegistry,
  type SavedMachine,
  VirtualMachine,
  type VmOutcome,
} from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { type IdeDiskOptions, type StorageControl, storageControlToken } from '@partita/synthetic-storage/vsp'
import {
  type DefaultGuest,
  type KernelFlavour,
  makeScratchRootDisk,
} from '../../../packages/cli/src/default-guest/index.ts'
import { GuestConsole } from '../../../packages/cli/test/guest-console.ts'
import { deadline } from './deadline.ts'

const MEBIBYTE = 2 ** 20
const STORAGE = '@partita/synthetic-storage/vsp'
const VMBUS = '@partita/vmbus'
const IDE = '@partita/emulated-ide'
/** Seconds of processor time that a command may take. */
const COMMAND_TIMEOUT = 300
/** Lines of the trace that are kept. */
const TRACE_LIMIT = 20_000

/** A disk besides the root disk. */
interface GuestDisk {
  readonly disk: Disk
  readonly readOnly?: boolean
  readonly dvd?: boolean
  /** SCSI controller. Default: 0, where the root disk has LUN 0. */
  readonly controller?: number
  /** Default: the first that is free. */
  readonly lun?: number
}

/** A drive of the emulated IDE controller; without `disk` it is an empty CD drive. */
interface GuestDrive {
  readonly disk?: Disk
  readonly dvd?: boolean
}

/** A guest that was saved, and its root disk. */
export interface SavedGuest {
  readonly state: SavedMachine
  /** A file. */
  readonly root: string
}

/** How the guest is booted. */
export interface BootOptions {
  /** Default: `cloud`. */
  readonly kernel?: KernelFlavour
  /** Primary master, primary slave, secondary master, secondary slave of a machine of generation 1; without it, there is no such machine. */
  readonly drives?: readonly (GuestDrive | null)[]
  /** Default: 1. */
  readonly processors?: number
  /** Bytes. Default: 512 MiB. */
  readonly memory?: number
  readonly disks?: Readonly<Record<string, GuestDisk>>
  /** Disks that are offered as fast paths to those of an IDE controller. */
  readonly ide?: readonly (Omit<IdeDiskOptions, 'disk'> & { readonly disk: Disk })[]
  /** Words for the kernel's command line. */
  readonly append?: string
  readonly onGuestCrash?: 'end' | 'continue'
  /** It is not booted, but goes on where it was saved. */
  readonly restored?: SavedGuest
  /** Further plug-ins, or default ones with other options. */
  readonly devices?: readonly PluginConfiguration[]
}

/** For the guest's shell: `lun N`, or `lun N C`, is the name of a disk on controller 0, or C. Linux names disks in the order in which it is done with looking at them. */
const FUNCTIONS =
  'lun() { echo /dev/$(ls /sys/bus/vmbus/devices/*-5a70b1c0000$' + '{2:-0}/host*/target*/*:0:0:$1/block); }'

/** A running guest. */
export class MatrixGuest implements AsyncDisposable {
  readonly vm: VirtualMachine
  readonly console: GuestConsole
  /** Lines of `--trace vmbus`, without the time. */
  readonly trace: readonly string[]
  /** What the devices logged as errors: what the user of `partita run` sees. */
  readonly errors: readonly string[]
  /** How the machine ended. */
  readonly end: Promise<VmOutcome>
  readonly #stack: AsyncDisposableStack
  readonly #root: string

  private constructor(
    vm: VirtualMachine,
    console: GuestConsole,
    log: { readonly trace: readonly string[]; readonly errors: readonly string[] },
    root: string,
    stack: AsyncDisposableStack,
  ) {
    this.#root = root
    this.vm = vm
    this.console = console
    this.trace = log.trace
    this.errors = log.errors
    this.#stack = stack
    this.end = vm.run()
    this.end.catch(() => {})
  }

  /** Boot `image` on a copy of its root disk, to the prompt. */
  static async boot(image: DefaultGuest, options: BootOptions = {}): Promise<MatrixGuest> {
    await using stack = new AsyncDisposableStack()
    const root = options.restored?.root ?? stack.use(makeScratchRootDisk(image)).path
    const disks = new Map<string, Disk>([['root', stack.use(await openRawDisk(root))]])
    const controllers: { luns: object[] }[] = [{ luns: [{ disk: 'root', lun: 0 }] }]
    for (const [name, { disk, controller = 0, ...place }] of Object.entries(options.disks ?? {})) {
      disks.set(name, disk)
      while (controllers.length <= controller) controllers.push({ luns: [] })
      controllers[controller]?.luns.push({ disk: name, ...place })
    }
    const ide = (options.ide ?? []).map((place, index) => ({ ...place, disk: `ide${index}` }))
    ide.forEach(({ disk }, index) => {
      disks.set(disk, options.ide?.[index]?.disk as Disk)
    })
    const own = new Map<string, PluginConfiguration>([
      [STORAGE, { plugin: STORAGE, options: { controllers, ide } }],
      [VMBUS, { plugin: VMBUS, options: { trace: true } }],
    ])
    if (options.drives !== undefined) {
      const drives = options.drives.map((drive, index) => {
        if (drive === null) return null
        if (drive.disk !== undefined) disks.set(`drive${index}`, drive.disk)
        return { disk: drive.disk === undefined ? null : `drive${index}`, dvd: drive.dvd ?? false }
      })
      own.set(IDE, { plugin: IDE, options: { drives } })
    }
    for (const device of options.devices ?? []) own.set(device.plugin, device)
    const usual = options.drives === undefined ? DEFAULT_DEVICES : GENERATION_1_DEVICES
    const added = [...own.values()].filter(({ plugin }) => !usual.some((device) => device.plugin === plugin))
    const trace: string[] = []
    const errors: string[] = []
    const logger: Logger = {
      log: (level, message) => {
        if (level === 'error') errors.push(message)
        else if (level === 'trace' && trace.length < TRACE_LIMIT) trace.push(message)
      },
      child: () => logger,
    }
    const console = new GuestConsole()
    const vm = stack.use(
      await VirtualMachine.create(
        {
          memory: options.memory ?? 512 * MEBIBYTE,
          virtualProcessors: options.processors ?? 1,
          onGuestCrash: options.onGuestCrash ?? 'end',
          devices: [...usual.map((device) => own.get(device.plugin) ?? device), ...added],
          boot: { kernel: image.kernel, initrd: image.initrd, commandLine: commandLineOf(image, options.append) },
        },
        {
          registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
          readFile,
          logger,
          characterBackends: new Map([['console', console]]),
          services: new Map([[disksToken.name, disks]]),
        },
      ),
    )
    if (options.restored !== undefined) vm.restore(options.restored.state)
    const guest = new MatrixGuest(vm, console, { trace, errors }, root, stack.move())
    try {
      if (options.restored === undefined) await guest.prompt()
      return guest
    } catch (error) {
      await guest[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Wait for the shell of a boot, whose words on the console begin at `from`. */
  async prompt(from = 0): Promise<void> {
    await this.#within(COMMAND_TIMEOUT, this.console.saw('root# ', from), 'the prompt')
    await this.run(FUNCTIONS)
  }

  /** Let the shell run a command; its status has to be 0. What it printed. */
  async run(command: string, seconds: number = COMMAND_TIMEOUT): Promise<string> {
    const { output, status } = await this.try(command, seconds)
    if (status !== 0)
      throw new Error(`status ${status} of the guest's command ${command.trim()}\n${output.slice(-3000)}`)
    return output
  }

  /** Let the shell run a command, whatever comes of it. */
  async try(command: string, seconds: number = COMMAND_TIMEOUT): Promise<{ output: string; status: number }> {
    const what = `the end of ${command.trim().slice(0, 200)}`
    return this.#within(seconds, this.console.run(command), what)
  }

  /** Wait until `text` is on the console. */
  saw(text: string, from = 0, seconds: number = COMMAND_TIMEOUT): Promise<void> {
    return this.#within(seconds, this.console.saw(text, from), JSON.stringify(text))
  }

  /** Save the guest, with a copy of its root disk in `directory`, and stop it. */
  async save(directory: string): Promise<SavedGuest> {
    await this.vm.pause()
    const state = structuredClone(this.vm.save())
    const root = join(directory, 'saved-root.img')
    const { status, stderr } = spawnSync('cp', ['--sparse=always', this.#root, root], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`cp: ${stderr}`)
    await this.vm.stop()
    return { state, root }
  }

  /** End the shell, and with it the machine. */
  async powerOff(): Promise<void> {
    this.console.type('exit')
    const outcome = await this.#within(COMMAND_TIMEOUT, this.end, 'the end of the machine')
    if (outcome.type !== 'power-off') throw new Error(`the guest ended with ${outcome.type}`)
  }

  /** Lines of the kernel's log that speak of something wrong in it. */
  async complaints(): Promise<string> {
    return (await this.try('dmesg | grep -E "WARNING|BUG|Oops|hung task|stall|I/O error|EXT4-fs error"')).output
  }

  get storage(): StorageControl {
    const storage = this.vm.find(storageControlToken)
    if (storage === undefined) throw new Error('the machine has no storage')
    return storage
  }

  get channels(): readonly VmbusChannelInfo[] {
    return this.vm.find(vmbusServerToken)?.channels() ?? []
  }

  async #within<T>(seconds: number, promise: Promise<T>, what: string): Promise<T> {
    using limit = deadline(
      seconds,
      () => `no sign of ${what} within ${seconds} s; the console ends with\n${this.lastLines()}`,
    )
    const ended = this.end.then((outcome) => {
      // What the guest said before it ended counts.
      return new Promise<never>((_, reject) =>
        setImmediate(() =>
          reject(new Error(`the machine ended (${outcome.type}) before ${what}\n${this.lastLines()}`)),
        ),
      )
    })
    try {
      return await Promise.race([promise, limit.late, ended])
    } finally {
      ended.catch(() => {})
    }
  }

  lastLines(): string {
    return this.console.text.slice(-3000)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]()
  }
}

function commandLineOf(image: DefaultGuest, append = ''): string {
  return [image.commandLine, image.rootDiskWord, image.pipedInputWord, 'panic=-1', append].join(' ').trim()
}
