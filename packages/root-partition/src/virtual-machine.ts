// A virtual machine: a partition, its plug-ins and what it boots, from configuration to outcome.

import type { AcpiConfiguration } from '@partita/firmware'
import type { EventLoop, HostTime, Partition, PartitionExit } from '@partita/hypervisor'
import {
  type CharacterBackend,
  characterBackendsToken,
  firmwareConfigurationToken,
  type Logger,
  type ServiceToken,
  silentLogger,
} from '@partita/interface'
import { installFirmware, loadBootImage, type ReadFile } from './boot-loader.ts'
import { type PluginConfiguration, parseVmConfiguration, type VmConfiguration } from './configuration.ts'
import { RootPartitionError } from './error.ts'
import { describeMachine } from './machine-description.ts'
import { MemoryManager } from './memory-manager.ts'
import { isPartition, partitionPlugin, partitionToken } from './partition-plugin.ts'
import type { HostTimer } from './patience.ts'
import type { PluginFailure, PluginTracker } from './plugin-guard.ts'
import { PluginHost } from './plugin-host.ts'
import { type PlannedPlugin, type PluginRequest, planPlugins } from './plugin-plan.ts'
import type { PluginRegistry } from './plugin-registry.ts'
import { restoreRam, SAVED_MACHINE_VERSION, type SavedMachine, saveRam } from './saved-machine.ts'
import { StateUnits } from './state-units.ts'
import { namedError } from './thrown.ts'

/** How a VM's run ended. */
export type VmOutcome =
  | Exclude<PartitionExit, { readonly type: 'paused' }>
  /** {@link VirtualMachine.stop} ended it. */
  | { readonly type: 'stopped' }

/** What whoever embeds a VM gives it. */
export interface VirtualMachineServices {
  /** Where the configuration's plug-ins are found. */
  readonly registry: PluginRegistry
  /** Reads the files that the configuration names. */
  readonly readFile: ReadFile
  /** Ends of the character devices by name; `console` is the first serial port's. */
  readonly characterBackends?: ReadonlyMap<string, CharacterBackend>
  /** Further services for plug-ins, by token name. */
  readonly services?: ReadonlyMap<string, unknown>
  /** What the machine and its plug-ins log to. Silent where omitted. */
  readonly logger?: Logger
  /** Shared by the VMs of a process. */
  readonly memoryManager?: MemoryManager
  /** Where the partition's time comes from. The host's clocks where omitted. */
  readonly hostTime?: HostTime
  /** How the partition gives way to the host. The host's event loop where omitted. */
  readonly eventLoop?: EventLoop
  /** Ends the patience with plug-ins that are never loaded, made, started, stopped or gone. Default: the host's timers. */
  readonly hostTimer?: HostTimer
  /** Follows what plug-ins leave to the event loop, so that an error there takes away the plug-in that it comes from: `NodePluginTracker` of `./node`. */
  readonly tracker?: PluginTracker
  /** Told of each plug-in that failed and was taken away. */
  readonly onPluginFailure?: (failure: PluginFailure) => void
  /** Asked when the guest resets and the configuration says `restart`: false ends the run with the outcome `reset` instead. */
  readonly beforeRestart?: () => boolean
  /** ACPI tables; described from the devices where omitted. */
  readonly acpi?: AcpiConfiguration | false
}

/** What a VM is doing. `ended` is final for a run; the VM can be restored or reset, and run again. */
export type VmState = 'stopped' | 'running' | 'paused' | 'disposed'

/** The kinds of plug-ins that may stand in a configuration's list of devices. */
const DEVICE_KINDS = ['emulated-device', 'vsp', 'disk-format', 'network-backend', 'service'] as const

/**
 * A virtual machine in the calling thread.
 *
 * @example
 * ```ts
 * await using vm = await VirtualMachine.create(
 *   { memory: 512 * 2 ** 20, boot: { kernel: 'vmlinuz', initrd: 'initrd.img', commandLine: 'console=ttyS0' } },
 *   { registry, readFile, characterBackends: new Map([['console', backend]]) },
 * )
 * const outcome = await vm.run()
 * ```
 */
export class VirtualMachine implements AsyncDisposable {
  /** What it was made of, with nothing left out. */
  readonly configuration: VmConfiguration
  /** The partition that its guest runs in. */
  readonly partition: Partition
  readonly #services: VirtualMachineServices
  readonly #logger: Logger
  readonly #host: PluginHost
  readonly #units: StateUnits
  readonly #acpi: AcpiConfiguration | false
  readonly #failures: Failures
  #state: VmState = 'stopped'
  /** Whether memory and processors hold something to run. */
  #loaded = false
  #run: Promise<VmOutcome> | undefined
  #paused: PromiseWithResolvers<void> | undefined
  #resumed: PromiseWithResolvers<void> | undefined
  #stopping = false
  #pausing = false
  #restarting = false

  private constructor(
    configuration: VmConfiguration,
    services: VirtualMachineServices,
    host: PluginHost,
    planned: readonly PlannedPlugin[],
    failures: Failures,
  ) {
    this.configuration = configuration
    this.partition = host.find(partitionToken) as Partition
    this.#services = services
    this.#logger = services.logger ?? silentLogger
    this.#host = host
    this.#units = new StateUnits(host.plugins)
    const living = new Set(host.plugins.map(({ id }) => id))
    this.#acpi =
      services.acpi ??
      describeMachine(
        configuration,
        planned.filter(({ id }) => living.has(id)),
      )
    this.#failures = failures
    failures.onFatal = () => void this.partition.pause()
  }

  /**
   * Check the configuration, resolve all plug-ins, and start them. A plug-in that throws what is no PartitaError is left out, unless the configuration's
   * `onPluginFailure` says `end`.
   * @param input a VM configuration as {@link parseVmConfiguration} takes it
   * @throws RootPartitionError `ERR_VM_CONFIGURATION`, `ERR_PLUGIN_…`, `ERR_MEMORY_EXHAUSTED`; PartitaError of a plug-in; for firmware in a ROM `ERR_FILE_UNREADABLE`, and FirmwareError
   * `ERR_FIRMWARE_IMAGE`
   */
  static async create(input: unknown, services: VirtualMachineServices): Promise<VirtualMachine> {
    const configuration = parseVmConfiguration(input)
    const given = new Map<string, unknown>(services.services)
    given.set(characterBackendsToken.name, services.characterBackends ?? new Map<string, CharacterBackend>())
    const partition = partitionPlugin(services.memoryManager ?? new MemoryManager(), {
      ramSize: configuration.memory,
      virtualProcessors: configuration.virtualProcessors,
      hypervisor: configuration.hypervisor,
      onGuestCrash: configuration.onGuestCrash,
      ...(services.hostTime && { hostTime: services.hostTime }),
      ...(services.eventLoop && { eventLoop: services.eventLoop }),
    })
    const requests: PluginRequest[] = [
      { ...request(configuration.processor), kinds: ['processor'] },
      { plugin: partition },
      ...configuration.devices.map((device) => ({ ...request(device), kinds: DEVICE_KINDS })),
    ]
    const logger = services.logger ?? silentLogger
    const failures = new Failures(services.onPluginFailure)
    const ends = configuration.onPluginFailure === 'end'
    const planned = await planPlugins(services.registry, requests, given.keys(), {
      tracker: services.tracker,
      timer: services.hostTimer,
      logger,
      onLoadFailure: ends
        ? undefined
        : (id, error) => {
            logger.log('error', `${error.message}; the machine goes on without it`, { id })
            failures.add({ id, where: 'when it was loaded', error, message: error.message })
          },
    })
    const essential = new Set(
      planned.filter(({ plugin }) => plugin.kind === 'processor' || isPartition(plugin)).map(({ id }) => id),
    )
    const host = await PluginHost.start(planned, given, {
      logger,
      tracker: services.tracker,
      timer: services.hostTimer,
      essential,
      onFailure: (failure) => failures.add(failure, ends || essential.has(failure.id)),
    })
    if (failures.fatal !== undefined) {
      await host[Symbol.asyncDispose]().catch(() => {})
      throw failures.fatal
    }
    const vm = new VirtualMachine(configuration, services, host, planned, failures)
    try {
      await vm.#installFirmware()
    } catch (error) {
      await vm[Symbol.asyncDispose]().catch(() => {})
      throw error
    }
    return vm
  }

  async #installFirmware(): Promise<void> {
    const { boot } = this.configuration
    if (boot?.type !== 'bios') return
    const target = this.#host.find(firmwareConfigurationToken)
    await installFirmware(
      this.partition,
      boot,
      this.#services.readFile,
      target,
      this.#acpi,
      this.configuration.hypervisor,
    )
  }

  /** What the VM is doing. */
  get state(): VmState {
    return this.#state
  }

  /** Ids of the plug-ins in the order in which they started. */
  get plugins(): readonly string[] {
    return this.#host.plugins.map(({ id }) => id)
  }

  /** The plug-ins that failed and were taken away, oldest first. */
  get pluginFailures(): readonly PluginFailure[] {
    return this.#failures.all
  }

  /** A service of one of its plug-ins: the way to add and remove disks (`storageControlToken`), or to look at the VMBus (`vmbusServerToken`). */
  find<T>(token: ServiceToken<T>): T | undefined {
    return this.#host.find(token)
  }

  /**
   * Boot if nothing is loaded yet, and run until the guest or {@link VirtualMachine.stop} ends it.
   * @throws RootPartitionError `ERR_VM_STATE`, `ERR_FILE_UNREADABLE`, `ERR_PLUGIN_FAILED` where a plug-in's failure ends the run; FirmwareError; whatever the
   * processor throws
   */
  run(): Promise<VmOutcome> {
    if (this.#state !== 'stopped') return Promise.reject(this.#stateError('run'))
    this.#state = 'running'
    this.#stopping = false
    this.#pausing = false
    this.#run = this.#loop().finally(() => {
      if (this.#state !== 'disposed') this.#state = 'stopped'
      this.#paused?.resolve()
      this.#paused = undefined
    })
    return this.#run
  }

  /** End {@link VirtualMachine.run} with the outcome `stopped`, whether the guest runs or is paused, and wait for it. */
  async stop(): Promise<void> {
    const run = this.#run
    if (run === undefined || (this.#state !== 'running' && this.#state !== 'paused')) return
    this.#stopping = true
    this.#resumed?.resolve()
    await this.partition.pause()
    await run.catch(() => {})
  }

  /** Stop the guest between two instructions, with reference time standing still. Returns when all devices have stopped. */
  async pause(): Promise<void> {
    if (this.#state === 'paused') return
    if (this.#state !== 'running') throw this.#stateError('pause')
    this.#paused ??= Promise.withResolvers<void>()
    const { promise } = this.#paused
    this.#pausing = true
    await this.partition.pause()
    await promise
  }

  /** Go on after {@link VirtualMachine.pause}. */
  resume(): void {
    if (this.#state !== 'paused') throw this.#stateError('resume')
    this.#state = 'running'
    this.#resumed?.resolve()
  }

  /** Power-on reset, and boot again, as the reset button does. A VM that does not run boots at the next run. */
  async reset(): Promise<void> {
    if (this.#state === 'disposed') throw this.#stateError('reset')
    if (this.#state === 'running') {
      this.#restarting = true
      this.partition.power.request({ type: 'reset' })
      return
    }
    this.#resetUnits()
    if (this.#state === 'paused') await this.#load()
  }

  /**
   * The state of a VM that is paused or stopped.
   * @throws RootPartitionError `ERR_VM_STATE` while it runs, or when a plug-in was taken away
   */
  save(): SavedMachine {
    if (this.#state !== 'paused' && this.#state !== 'stopped') throw this.#stateError('save')
    const [lost] = this.#failures.all
    if (lost !== undefined)
      throw new RootPartitionError('ERR_VM_STATE', `A VM that lost a plug-in cannot be saved. ${lost.message}`, {
        data: { id: lost.id },
        cause: lost.error,
      })
    return {
      version: SAVED_MACHINE_VERSION,
      memory: this.configuration.memory,
      partition: this.partition.save(),
      units: this.#units.save(),
      ram: saveRam(this.partition.memory),
    }
  }

  /**
   * Take over a saved state; the next run (or {@link VirtualMachine.resume}) goes on from there. After a failure the VM must be reset or disposed of.
   * @throws RootPartitionError `ERR_VM_STATE`, `ERR_STATE_INVALID`; PartitaError of a device
   */
  restore(saved: SavedMachine): void {
    if (this.#state !== 'paused' && this.#state !== 'stopped') throw this.#stateError('restore')
    if (saved.version !== SAVED_MACHINE_VERSION || saved.memory !== this.configuration.memory) {
      throw new RootPartitionError(
        'ERR_STATE_INVALID',
        'The saved state is of another version, or of a VM with other memory',
        {
          data: { version: saved.version, memory: saved.memory },
        },
      )
    }
    restoreRam(this.partition.memory, saved.ram)
    // Devices arm their timers against reference time, so it comes first; they may drive interrupt lines, so processors come last once more.
    this.partition.restore(saved.partition)
    this.#units.restore(saved.units)
    this.partition.restore(saved.partition)
    this.#loaded = true
  }

  /** Ends the run, and disposes of the plug-ins in reverse order of their start. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'disposed') return
    await this.stop()
    this.#state = 'disposed'
    await this.#host[Symbol.asyncDispose]()
  }

  async #loop(): Promise<VmOutcome> {
    if (!this.#loaded) await this.#load()
    for (;;) {
      if (this.#failures.fatal !== undefined) throw this.#failures.fatal
      if (this.#stopping) return { type: 'stopped' }
      await this.#units.start()
      let exit: PartitionExit = { type: 'paused' }
      try {
        // Either may have been asked for while the kernel was loaded or the devices started.
        if (!this.#stopping && !this.#pausing && this.#failures.fatal === undefined) exit = await this.partition.run()
      } catch (error) {
        await this.#units.stop()
        throw error
      }
      await this.#units.stop()
      if (this.#failures.fatal !== undefined) throw this.#failures.fatal
      if (exit.type === 'paused') {
        if (!this.#stopping) await this.#waitForResume()
      } else if (exit.type === 'reset' && this.#restarts()) {
        this.#resetUnits()
        await this.#load()
      } else {
        this.#loaded = false
        return exit
      }
    }
  }

  async #waitForResume(): Promise<void> {
    this.#state = 'paused'
    this.#pausing = false
    this.#resumed = Promise.withResolvers<void>()
    this.#paused?.resolve()
    this.#paused = undefined
    await this.#resumed.promise
    this.#resumed = undefined
  }

  #restarts(): boolean {
    if (this.#restarting) {
      this.#restarting = false
      return true
    }
    return this.configuration.onReset === 'restart' && (this.#services.beforeRestart?.() ?? true)
  }

  #resetUnits(): void {
    this.#units.reset()
    this.partition.reset()
    this.#loaded = false
  }

  async #load(): Promise<void> {
    const { boot } = this.configuration
    if (boot === undefined) {
      throw new RootPartitionError('ERR_VM_CONFIGURATION', 'The VM has nothing to boot', {
        hint: 'Give its configuration a `boot`, or restore a saved state.',
      })
    }
    // Firmware is where the processor starts.
    if (boot.type !== 'bios')
      await loadBootImage(
        this.partition,
        boot,
        this.#services.readFile,
        this.#acpi,
        this.configuration.hypervisor,
        this.#logger,
      )
    this.#loaded = true
  }

  #stateError(what: string): RootPartitionError {
    return new RootPartitionError('ERR_VM_STATE', `A VM that is ${this.#state} cannot ${what}`, {
      data: { state: this.#state },
    })
  }
}

/** What became of plug-ins, from before the VM is there. */
class Failures {
  readonly all: PluginFailure[] = []
  /** The failure that ends the run. */
  fatal: unknown
  onFatal: (() => void) | undefined
  readonly #callback: ((failure: PluginFailure) => void) | undefined

  constructor(callback: ((failure: PluginFailure) => void) | undefined) {
    this.#callback = callback
  }

  add(failure: PluginFailure, fatal = false): void {
    this.all.push(failure)
    this.#callback?.(failure)
    if (!fatal || this.fatal !== undefined) return
    this.fatal = namedError(failure.error, failure.message, failure.id)
    this.onFatal?.()
  }
}

function request({ plugin, options, id }: PluginConfiguration): PluginRequest {
  return { plugin, options, id }
}
