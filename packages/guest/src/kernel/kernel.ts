// The kernel: what a guest of Hyper-V does from its first instruction on, in the order in which it does it.
//
//  1. Read what the boot loader left: memory, ACPI.                              boot/
//  2. Look for Hyper-V, and tell it who this is.                                 hyper-v/features.ts, hypercalls.ts
//  3. Have the pages of clock and SynIC placed; take their interrupts.           hyper-v/
//  4. Start the other processors.
//  5. Enumerate ACPI, find the VMBus there, connect, and enumerate it.           acpi/, vmbus-bus.ts
//  6. Bind drivers; from then on do what interrupts ask for.                     pnp/

import type { SavedValue } from '@partita/interface'
import type { Cpu, Program, Step } from '@partita/processor-typescript'
import type { VscDriver } from '@partita/vmbus/client'
import type { AcpiDevice } from './acpi/namespace.ts'
import { type AcpiTables, readAcpiTables } from './acpi/tables.ts'
import { type BootInformation, readBootInformation } from './boot/boot-information.ts'
import { PAGE_SIZE, PageAllocator } from './boot/page-allocator.ts'
import { ChildTransport, VMBUS_MESSAGE_TYPE } from './child-transport.ts'
import { GuestError } from './guest-error.ts'
import { detectHyperV, type HypervisorFeatures } from './hyper-v/features.ts'
import { Hypercalls } from './hyper-v/hypercalls.ts'
import { HV_MSR } from './hyper-v/msr.ts'
import { ReferenceTime } from './hyper-v/reference-time.ts'
import { Synic } from './hyper-v/synic.ts'
import { Timers } from './hyper-v/timers.ts'
import type { DeviceNode } from './pnp/device-node.ts'
import { DriverRegistry } from './pnp/driver.ts'
import { PnpManager } from './pnp/pnp-manager.ts'
import { type VmbusBus, vmbusDriver } from './vmbus-bus.ts'
import { WorkQueue } from './work-queue.ts'

/** The interrupts that the kernel takes: those that Linux uses for the same ends. */
const VECTOR = { TIMER: 0xed, VMBUS: 0xf3, WORK: 0xf6 } as const

/** Two for hypercalls, one for the clock. */
const KERNEL_PAGES = 3

/** ICR: INIT and startup messages (Intel SDM vol. 3, 11.6.1). Where a startup begins means nothing to this processor. */
const ICR = { INIT: 0x4500n, STARTUP: 0x4600n } as const
/** How long another processor may take to start. */
const PROCESSOR_START_MS = 1000

/** Bits of HV_X64_MSR_CRASH_CTL. */
const CRASH = { NOTIFY: 1n << 63n, MESSAGE: 1n << 62n, MESSAGE_GPA: 3, MESSAGE_LENGTH: 4 } as const

/** Options of a {@link Kernel}. */
export interface KernelOptions {
  /** Drivers for devices on the VMBus. */
  readonly drivers: readonly VscDriver[]
  /** A line for the kernel's log. */
  log?(line: string): void
}

/** A processor, as the kernel keeps it. */
interface Processor {
  readonly cpu: Cpu
  readonly work: WorkQueue
  readonly synic: Synic
  /** The pages of its SynIC. */
  readonly page: number
}

/** What there is once the boot processor has come so far. */
interface Machine {
  readonly features: HypervisorFeatures
  readonly acpi: AcpiTables
  readonly hypercalls: Hypercalls
  readonly time: ReferenceTime
  readonly timers: Timers
  readonly transport: ChildTransport
  readonly boot: BootInformation
  /** The pages of hypercalls and clock. */
  readonly page: number
}

/** The version of the kernel's saved state. */
const SAVED_VERSION = 1

/** What the boot processor goes on from. */
interface SavedKernel extends SavedProcessor {
  readonly boot: BootInformation
  readonly pages: SavedValue
  readonly page: number
  /** `null`: the bus is to be connected anew. */
  readonly bus: SavedValue
}

/** What another processor goes on from. */
interface SavedProcessor {
  readonly version: number
  /** `null` with a bus that is to be connected anew: all pages are given out again. */
  readonly synic: number | null
}

/**
 * The program of a TypeScript processor that is a child operating system.
 *
 * @example
 * ```ts
 * const processor = typeScriptProcessor(() => new Kernel({ drivers: [storageDriver] }))
 * ```
 */
export class Kernel implements Program {
  /** The device tree. */
  readonly pnp: PnpManager
  /** Resolves when all devices were enumerated and their drivers have started or failed. */
  readonly ready: Promise<void>
  readonly #options: KernelOptions
  readonly #pages = new PageAllocator()
  /** By the index of the virtual processor. */
  readonly #processors: (Processor | undefined)[] = []
  readonly #ready = Promise.withResolvers<void>()
  readonly #changes = new Set<() => void>()
  #machine: Machine | undefined
  #bus: VmbusBus | undefined
  #ended: GuestError | undefined
  #suspended = false

  /** A kernel that has not booted: a processor runs it. */
  constructor(options: KernelOptions) {
    this.#options = options
    this.ready = this.#ready.promise
    // Whoever waits gets it; nobody has to.
    this.ready.catch(() => undefined)
    const drivers = new DriverRegistry()
    this.pnp = new PnpManager({
      drivers,
      sleep: (milliseconds, signal) => this.sleep(milliseconds, signal),
      changed: (node) => this.#changed(node),
    })
    for (const driver of options.drivers) drivers.addVsc(driver)
  }

  // --- the program

  *run(cpu: Cpu, saved?: SavedValue): Generator<Step, void, void> {
    try {
      const isFirst = this.#machine === undefined
      const state = saved as unknown as SavedKernel | undefined
      if (state !== undefined && state?.version !== SAVED_VERSION)
        throw new GuestError('ERR_STATE_INVALID', 'The saved state is not one of this kernel')
      const kernel = isFirst ? state : undefined
      if (isFirst) this.#boot(cpu, kernel)
      const processor = this.#addProcessor(cpu, state?.synic ?? undefined)
      if (isFirst) void this.#enumerate(kernel).then(this.#ready.resolve, this.#ready.reject)
      cpu.interruptsEnabled = true
      yield* processor.work.run()
    } catch (error) {
      this.#panic(cpu, error)
      for (;;) yield 'halt'
    }
  }

  /** Plain data for {@link Kernel.run}. What programs wait for is not part of it. */
  save(index: number): SavedValue {
    const bus = this.#bus?.save() ?? null
    const synic = bus === null ? null : (this.#processors[index]?.page ?? null)
    const machine = this.#machine
    if (index !== 0 || machine === undefined) return { version: SAVED_VERSION, synic }
    const { commandLine, free, rsdp } = machine.boot
    const boot = { commandLine, free: free.map((range) => ({ ...range })), ...(rsdp && { rsdp }) }
    return { version: SAVED_VERSION, synic, boot, pages: this.#pages.save(), page: machine.page, bus }
  }

  end(): void {
    this.#end(new GuestError('ERR_GUEST_STATE', 'The guest does not run any more'))
  }

  // --- boot

  #boot(cpu: Cpu, saved: SavedKernel | undefined): void {
    const { memory } = cpu
    const boot = saved?.boot ?? readBootInformation(memory, cpu.register('rax'), Number(cpu.register('rbx')))
    // With a bus that is connected anew, all memory that devices had is free: the host lets go of it then.
    const warm = saved?.bus ? saved : undefined
    if (warm !== undefined) this.#pages.restore(warm.pages)
    else for (const { page, count } of boot.free) this.#pages.free(page, count)
    const features = detectHyperV(cpu)
    this.#log(`${features.vendor} ${features.version}, ${(this.#pages.available * PAGE_SIZE) / 2 ** 20} MiB are free`)

    const page = warm?.page ?? this.#pages.allocate(KERNEL_PAGES)
    const hypercalls = new Hypercalls(page)
    hypercalls.enable(cpu)
    const time = new ReferenceTime(cpu, page + 2)
    if (features.referenceTsc) time.enable()
    const timers = new Timers(
      cpu,
      () => time.now(),
      (job) => this.#post(job),
    )
    if (!features.directTimers)
      throw new GuestError('ERR_GUEST_HYPERVISOR', 'The guest needs Hyper-V; this one has no direct timers')
    timers.enable(VECTOR.TIMER)
    cpu.setInterruptHandler(VECTOR.TIMER, () => this.#service(cpu, () => timers.interrupt()))
    const transport = new ChildTransport({
      memory,
      pages: this.#pages,
      hypercalls,
      running: () => this.#processors.find((processor) => processor?.cpu.inSlice)?.cpu,
      post: (job) => this.#post(job),
      sleep: (milliseconds) => this.sleep(milliseconds),
      processorCount: () => processorsInRow(this.#processors),
    })
    this.#machine = { features, acpi: this.#readAcpi(boot, cpu), hypercalls, time, timers, transport, boot, page }
  }

  #readAcpi(boot: BootInformation, cpu: Cpu): AcpiTables {
    const acpi = readAcpiTables(cpu.memory, boot.rsdp)
    this.#log(
      `ACPI: ${acpi.signatures.join(' ')}; ${acpi.processors.length} processors, ${acpi.devices.length} devices`,
    )
    return acpi
  }

  /** Each processor has a SynIC of its own, and interrupts. */
  #addProcessor(cpu: Cpu, saved: number | undefined): Processor {
    const { features } = this.#machine as Machine
    const work = new WorkQueue(cpu, VECTOR.WORK)
    const page = saved ?? this.#pages.allocate(2)
    const synic = new Synic(cpu, page)
    const autoEoi = !features.noAutoEoi
    cpu.setInterruptHandler(VECTOR.WORK, () => this.#service(cpu, () => undefined))
    cpu.setInterruptHandler(VECTOR.VMBUS, () => this.#service(cpu, () => this.#vmbusInterrupt(synic), autoEoi))
    synic.enable(VECTOR.VMBUS, autoEoi)
    const processor = { cpu, work, synic, page }
    this.#processors[Number(cpu.readMsr(HV_MSR.VP_INDEX))] = processor
    this.#changed()
    return processor
  }

  /** An interrupt's service, and its end. */
  #service(cpu: Cpu, service: () => void, autoEoi = false): void {
    try {
      service()
      if (!autoEoi) cpu.writeMsr(HV_MSR.EOI, 0n)
    } catch (error) {
      this.#panic(cpu, error)
    }
  }

  #vmbusInterrupt(synic: Synic): void {
    synic.interrupt({
      message: (type, payload) => {
        if (type === VMBUS_MESSAGE_TYPE) this.#bus?.message(payload)
      },
      event: (flag) => this.#bus?.event(flag),
    })
  }

  /** The others wait for INIT and startup messages. One that does not come is left out. */
  async #startProcessors(acpi: AcpiTables): Promise<void> {
    const others = acpi.processors.slice(1)
    this.#post((cpu) => {
      for (const apicId of others)
        for (const command of [ICR.INIT, ICR.STARTUP]) cpu.writeMsr(HV_MSR.ICR, (BigInt(apicId) << 32n) | command)
    })
    const all = this.#until(
      () => this.#processors.filter((processor) => processor !== undefined).length > others.length,
    )
    const over = new AbortController()
    await Promise.race([all, this.sleep(PROCESSOR_START_MS, over.signal)])
    over.abort()
    this.#log(`${processorsInRow(this.#processors)} of ${others.length + 1} processors run`)
  }

  // --- devices

  async #enumerate(saved: SavedKernel | undefined): Promise<void> {
    const { acpi, transport } = this.#machine as Machine
    if (saved === undefined && acpi.processors.length > 1) await this.#startProcessors(acpi)
    const { pnp } = this
    pnp.drivers.add(
      vmbusDriver({
        transport,
        pnp,
        attach: (bus) => {
          this.#bus = bus
          transport.onRetry = () => bus?.client.retry()
        },
      }),
    )
    for (const device of acpi.devices) {
      const { path, hardwareId } = device
      // A device stands below the one whose path begins its own.
      const parent = [...pnp.root.walk()].findLast((node) => path.startsWith(`${node.id}.`)) ?? pnp.root
      const state = hardwareId.toUpperCase() === 'VMBUS' ? (saved?.bus ?? undefined) : undefined
      const description = { id: path, hardwareId: `acpi:${hardwareId.toUpperCase()}`, text: text(device), device }
      pnp.add(parent, description, state)
    }
    await pnp.settled()
    this.#log(`${[...pnp.root.walk()].filter(({ state }) => state === 'started').length} devices have drivers`)
  }

  /**
   * What the driver of a device is bound to it as.
   * @throws GuestError `ERR_GUEST_DRIVER` when there is no such device, and `wait` is not asked for; what the driver failed with
   */
  async device<Instance extends object>(driver: VscDriver<Instance>, options: FindOptions = {}): Promise<Instance> {
    await this.ready
    await this.pnp.settled()
    const find = (): DeviceNode | undefined => this.#find(driver, options.instanceId)
    if (options.wait === true)
      await this.#until(() => find()?.state === 'started' || find()?.state === 'failed', options.signal)
    const node = find()
    if (node?.instance !== undefined && node.state !== 'failed') return node.instance as Instance
    throw new GuestError(
      'ERR_GUEST_DRIVER',
      node === undefined
        ? `No device is there for ${driver.name}`
        : `${driver.name} has no device: ${node.error?.message}`,
      { hint: `The devices are:\n${this.pnp.toString()}`, ...(node?.error && { cause: node.error }) },
    )
  }

  #find(driver: VscDriver, instanceId: string | undefined): DeviceNode | undefined {
    const bound = this.pnp.drivers.driverOf(driver)
    const nodes = [...this.pnp.root.walk()].filter(
      (node) =>
        node.driver === bound &&
        bound !== undefined &&
        (instanceId === undefined || node.id.endsWith(`/${instanceId}`)),
    )
    return nodes.find(({ state }) => state === 'started') ?? nodes[0]
  }

  /** Put all devices to sleep, and give up the connection: what a guest does before it hibernates. */
  async suspend(): Promise<void> {
    await this.ready
    if (this.#suspended) return
    await this.pnp.settled()
    await this.pnp.suspend()
    this.#suspended = true
  }

  /** Connect again, and go on with the devices that are still there. */
  async resume(): Promise<void> {
    if (!this.#suspended) return
    this.#suspended = false
    for (const node of this.pnp.root.walk()) if (node.state === 'suspended') await this.pnp.resume(node)
    await this.pnp.settled()
  }

  // --- memory, time, and waiting

  /** Pages that nobody has. */
  get freePages(): number {
    return this.#pages.available
  }

  /** Milliseconds since the partition was created. */
  now(): number {
    return Number(this.#machine?.time.now() ?? 0n) / 10_000
  }

  /** Resolves after so many milliseconds of the partition's time. @throws GuestError `ERR_GUEST_STATE`; the signal's reason */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (this.#machine === undefined || this.#ended !== undefined)
      return Promise.reject(this.#ended ?? new GuestError('ERR_GUEST_STATE', 'The guest has not booted yet'))
    return this.#machine.timers.sleep(milliseconds, signal)
  }

  /** Resolves when something that changed has made `condition` true. @throws GuestError `ERR_GUEST_STATE` when the kernel ends before; the signal's reason */
  async #until(condition: () => boolean, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = (): void => {
      if (signal?.aborted) reject(signal.reason)
      else if (this.#ended !== undefined) reject(this.#ended)
      else if (condition()) resolve()
    }
    signal?.addEventListener('abort', look)
    this.#changes.add(look)
    look()
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', look)
      this.#changes.delete(look)
    }
  }

  #changed(node?: DeviceNode): void {
    if (node?.state === 'failed') this.#log(`${node.text}: ${node.error?.message}`)
    for (const look of [...this.#changes]) look()
  }

  /** Run a job on the boot processor, in a slice. */
  #post(job: (cpu: Cpu) => void): void {
    const boot = this.#processors[0]
    boot?.work.post(() => job(boot.cpu))
  }

  // --- the end

  /** The guest cannot go on: it tells the hypervisor why (TLFS, "Partition Crash Enlightenment"), and does nothing more. */
  #panic(cpu: Cpu, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    this.#log(`panic: ${error instanceof Error ? (error.stack ?? message) : message}`)
    this.#end(new GuestError('ERR_GUEST_STATE', `The guest has crashed: ${message}`, { cause: error }))
    cpu.interruptsEnabled = false
    if (this.#machine?.features.crashMsrs !== true) throw error
    const text = new TextEncoder().encode(message).subarray(0, PAGE_SIZE)
    const gpa = this.#pages.allocate(1) * PAGE_SIZE
    cpu.memory.write(gpa, text)
    cpu.writeMsr(HV_MSR.CRASH_P0 + CRASH.MESSAGE_GPA, BigInt(gpa))
    cpu.writeMsr(HV_MSR.CRASH_P0 + CRASH.MESSAGE_LENGTH, BigInt(text.length))
    cpu.writeMsr(HV_MSR.CRASH_CTL, CRASH.NOTIFY | CRASH.MESSAGE)
  }

  #end(reason: GuestError): void {
    if (this.#ended !== undefined) return
    this.#ended = reason
    this.#ready.reject(reason)
    this.pnp.end()
    this.#machine?.timers.end(reason)
    this.#changed()
  }

  #log(line: string): void {
    this.#options.log?.(line)
  }
}

/** Which device is meant. */
export interface FindOptions {
  /** The one with this GUID, where there are several. */
  readonly instanceId?: string
  /** Wait until there is one. */
  readonly wait?: boolean
  /** Gives up waiting. */
  readonly signal?: AbortSignal
}

/** How many there are from number 0 on: what is behind one that did not start is not used. */
function processorsInRow(processors: readonly (Processor | undefined)[]): number {
  let count = 0
  while (processors[count] !== undefined) count++
  return count
}

/** The last segment of the path, without its padding, and the hardware id. */
function text({ path, hardwareId }: AcpiDevice): string {
  return `${path.slice(-4).replace(/_+$/, '')} ${hardwareId}`.trim()
}
