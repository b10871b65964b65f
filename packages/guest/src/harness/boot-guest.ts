// Boots the guest in a virtual machine of the root partition, with the devices that it is to find: a program's way to a guest, and a test's.

import interruptLines from '@partita/emulated-chipset/interrupt-lines'
import ioApic from '@partita/emulated-chipset/io-apic'
import power from '@partita/emulated-chipset/power-management'
import {
  type Disk,
  definePlugin,
  disksToken,
  type Logger,
  PLUGIN_CONTRACT,
  type Plugin,
  silentLogger,
  type VmbusDevice,
  type VmbusOffered,
  vmbusServerToken,
} from '@partita/interface'
import { TYPESCRIPT_PROCESSOR, typeScriptProcessor } from '@partita/processor-typescript'
import {
  type PackageSource,
  PluginRegistry,
  type SavedMachine,
  VirtualMachine,
  type VmOutcome,
} from '@partita/root-partition'
import storage from '@partita/synthetic-storage/vsp'
import vmbus from '@partita/vmbus'
import type { VscDriver } from '@partita/vmbus/client'
import { BUILT_IN_DRIVERS } from '../built-in-drivers.ts'
import { kernelImage } from '../kernel/boot/boot-information.ts'
import { GuestError } from '../kernel/guest-error.ts'
import { type FindOptions, Kernel } from '../kernel/kernel.ts'
import { VirtualTime } from './virtual-time.ts'

const MEBIBYTE = 2 ** 20
/** Lines of the guest's log that an error has. */
const LAST_LINES = 20

/** A plug-in and its options. */
export interface ProviderConfiguration {
  /** What its package exports. */
  // biome-ignore lint/suspicious/noExplicitAny: the type of a plug-in's options is its own affair
  readonly plugin: Plugin<any>
  /** What its own schema takes. */
  readonly options?: unknown
}

/** Options of {@link bootGuest}. */
export interface BootGuestOptions {
  /** The devices that the root partition is to have: plug-ins, as a VSP's package exports them, or a device on the VMBus as it is. */
  // biome-ignore lint/suspicious/noExplicitAny: the type of a plug-in's options is its own affair
  readonly providers?: readonly (Plugin<any> | ProviderConfiguration | VmbusDevice)[]
  /** Drivers for them, besides `BUILT_IN_DRIVERS`. One for an interface that a built-in driver is for goes before it. */
  readonly drivers?: readonly VscDriver[]
  /** Disks by name, for storage providers. Without such a provider there is a SCSI controller with all of them, the first at LUN 0. */
  readonly disks?: Readonly<Record<string, Disk>>
  /** Further services for plug-ins, by token name. */
  readonly services?: ReadonlyMap<string, unknown>
  /** Bytes of RAM. Default: 32 MiB. */
  readonly memory?: number
  /** Virtual processors. Default: 1. */
  readonly processors?: number
  /** `virtual`: time passes when nothing else is to be done, and always the same. Default. `real`: the host's. */
  readonly time?: 'virtual' | 'real'
  /** Gets the kernel's log, and the machine's. Default: silent. */
  readonly logger?: Logger
  /** Go on from a saved state of a guest with the same providers and drivers, instead of booting. */
  readonly restore?: SavedMachine
}

/** No packages: all plug-ins are given. */
const NO_PACKAGES: PackageSource = {
  async find() {
    return undefined
  },
  async loadFile(path) {
    throw new GuestError('ERR_GUEST_STATE', `${path} is not given`)
  },
}

/** A guest that runs. Disposing of it ends its virtual machine. */
export class Guest implements AsyncDisposable {
  /** The virtual machine: to pause, resume and save it, and for the services of its plug-ins. */
  readonly vm: VirtualMachine
  /** Resolves when the virtual machine's run has ended, and how. */
  readonly outcome: Promise<VmOutcome>
  readonly #kernel: () => Kernel

  /** @internal */
  constructor(vm: VirtualMachine, outcome: Promise<VmOutcome>, kernel: () => Kernel) {
    this.vm = vm
    this.outcome = outcome
    this.#kernel = kernel
  }

  /** The operating system. After a reset of the machine it is another one. */
  get kernel(): Kernel {
    return this.#kernel()
  }

  /**
   * What `driver` made of its device, when it has.
   * @throws GuestError `ERR_GUEST_DRIVER` when there is none (and `wait` is not asked for), or the driver failed; `ERR_GUEST_STATE` when the guest crashes
   */
  device<Instance extends object>(driver: VscDriver<Instance>, options?: FindOptions): Promise<Instance> {
    return this.kernel.device(driver, options)
  }

  /** The device tree, one device a line. */
  deviceTree(): string {
    return this.kernel.pnp.toString()
  }

  /** Offer one more device while the guest runs. Disposing of what this returns takes it back. */
  offer(device: VmbusDevice): VmbusOffered {
    const bus = this.vm.find(vmbusServerToken)
    if (bus === undefined) throw new GuestError('ERR_GUEST_STATE', 'The virtual machine has no VMBus')
    return bus.offer(device)
  }

  /** Resolves after so many milliseconds of the guest's time. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return this.kernel.sleep(milliseconds, signal)
  }

  /** The guest puts its devices to sleep, as before hibernation. */
  suspend(): Promise<void> {
    return this.kernel.suspend()
  }

  /** The guest wakes its devices. */
  resume(): Promise<void> {
    return this.kernel.resume()
  }

  /** Ends the virtual machine. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.vm[Symbol.asyncDispose]()
    await this.outcome.catch(() => undefined)
  }
}

/**
 * Boot the guest, and resolve when it has found its devices and their drivers have started or failed.
 *
 * @example
 * ```ts
 * await using guest = await bootGuest({ disks: { disk0: new MemoryDisk(8192) } })
 * const controller = await guest.device(storageDriver)
 * console.log(guest.deviceTree(), controller.disk(0).byteLength)
 * ```
 * @throws GuestError `ERR_GUEST_STATE` when it crashes on the way; what {@link VirtualMachine.create} throws
 */
export async function bootGuest(options: BootGuestOptions = {}): Promise<Guest> {
  const logger = options.logger ?? silentLogger
  const given = options.drivers ?? []
  const claimed = new Set(given.flatMap(({ interfaceIds }) => interfaceIds))
  const drivers = [
    ...given,
    ...BUILT_IN_DRIVERS.filter(({ interfaceIds }) => !interfaceIds.some((id) => claimed.has(id))),
  ]
  let kernel: Kernel | undefined
  const lines: string[] = []
  const switchedOn = Promise.withResolvers<Kernel>()
  const processor = typeScriptProcessor(() => {
    kernel = new Kernel({
      drivers,
      log: (line) => {
        if (lines.push(line) > LAST_LINES) lines.shift()
        logger.log('info', 'The guest says', { line })
      },
    })
    switchedOn.resolve(kernel)
    return kernel
  })
  const providers: ProviderConfiguration[] = (options.providers ?? []).map((entry, index) => {
    if ('plugin' in entry) return entry
    return { plugin: 'open' in entry ? pluginOf(entry, index) : entry }
  })
  const disks = Object.entries(options.disks ?? {})
  if (disks.length > 0 && !providers.some(({ plugin }) => plugin.name === storage.name))
    providers.push({ plugin: storage, options: { controllers: [{ luns: disks.map(([disk]) => ({ disk })) }] } })
  const devices: ProviderConfiguration[] = [
    { plugin: ioApic },
    { plugin: interruptLines },
    { plugin: power },
    { plugin: vmbus },
    ...providers,
  ]
  const time = new VirtualTime()
  const vm = await VirtualMachine.create(
    {
      name: 'guest',
      processor: TYPESCRIPT_PROCESSOR,
      memory: options.memory ?? 32 * MEBIBYTE,
      virtualProcessors: options.processors ?? 1,
      devices: devices.map(({ plugin, ...rest }) => ({ plugin: plugin.name, ...rest })),
      boot: { type: 'multiboot', kernel: 'guest' },
    },
    {
      registry: new PluginRegistry({
        source: NO_PACKAGES,
        packages: [],
        plugins: [processor, ...new Set(devices.map(({ plugin }) => plugin))] as Plugin<never>[],
      }),
      readFile: async () => kernelImage(),
      services: new Map<string, unknown>([[disksToken.name, new Map(disks)], ...(options.services ?? [])]),
      logger,
      ...(options.time !== 'real' && { hostTime: time, eventLoop: time }),
    },
  )
  try {
    if (options.restore !== undefined) vm.restore(options.restore)
    const outcome = vm.run()
    outcome.catch(() => undefined)
    const guest = new Guest(vm, outcome, () => kernel as Kernel)
    const ended = outcome.then((end) => {
      throw new GuestError('ERR_GUEST_STATE', `The virtual machine ended while the guest booted: ${describe(end)}`, {
        hint: `It said:\n${lines.join('\n')}`,
        data: { outcome: end },
      })
    })
    await Promise.race([switchedOn.promise.then(({ ready }) => ready), ended])
    ended.catch(() => undefined)
    return guest
  } catch (error) {
    await vm[Symbol.asyncDispose]()
    throw error
  }
}

/** A device that is no plug-in. */
function pluginOf(device: VmbusDevice, index: number): Plugin {
  return definePlugin<unknown>({
    name: `@partita/guest/device-${index}`,
    kind: 'vsp',
    contract: PLUGIN_CONTRACT,
    description: 'A device that was given to bootGuest',
    options: { '~standard': { version: 1, vendor: 'partita', validate: (value) => ({ value }) } },
    needs: [vmbusServerToken],
    provides: [],
    create(context) {
      const offered = context.get(vmbusServerToken).offer(device)
      return { [Symbol.asyncDispose]: () => offered[Symbol.asyncDispose]() }
    },
  })
}

function describe(outcome: VmOutcome): string {
  return outcome.type === 'guest-crash' ? (outcome.message ?? outcome.type) : outcome.type
}
