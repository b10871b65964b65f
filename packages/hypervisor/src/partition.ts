// A partition (TLFS, "Partition Management"): privileges, GPA map, virtual processors, and the tables that its intercepts go to.

import {
  type AddressLine20,
  type Intercepts,
  type Logger,
  type PartitionMemory,
  type PowerControl,
  type PowerEvent,
  type Processor,
  type Saveable,
  type SavedState,
  silentLogger,
  type VirtualProcessor,
} from '@partita/interface'
import { CpuidTable } from './cpuid-table.ts'
import { HypervisorError } from './error.ts'
import { type EventLoop, hostEventLoop } from './event-loop.ts'
import { GpaMap, PAGE_SIZE } from './gpa-map.ts'
import type { GuestCrash } from './hyper-v/guest-crash.ts'
import { HyperV } from './hyper-v/hyper-v.ts'
import { HypercallTable } from './hypercall-table.ts'
import { InterruptRouter } from './interrupt-router.ts'
import { MmioTable } from './mmio-table.ts'
import { MsrTable } from './msr-table.ts'
import { PortTable } from './port-table.ts'
import { CHILD_PRIVILEGES, PartitionPrivileges } from './privileges.ts'
import { type HostTime, hostTime, ReferenceClock } from './reference-clock.ts'
import { Scheduler } from './scheduler.ts'
import { ShadowMemory } from './shadow-ram.ts'

/** Largest RAM in bytes: everything from 3 GiB to 4 GiB is left to devices. */
export const MAXIMUM_RAM = 0xc0000000
/** Smallest RAM in bytes: the first megabyte. */
export const MINIMUM_RAM = 0x100000

const SAVED_STATE_VERSION = 1

/** Why {@link Partition.run} came to an end. After a `triple-fault`, virtual processor `vpIndex` is in the shutdown state. */
export type PartitionExit =
  | PowerEvent
  | { readonly type: 'paused' }
  | GuestCrash
  | { readonly type: 'triple-fault'; readonly vpIndex: number }

/** What a partition is made of. */
export interface PartitionOptions {
  /** Makes the memory and the virtual processors. */
  readonly processor: Processor
  /** Bytes, whole pages, {@link MINIMUM_RAM} to {@link MAXIMUM_RAM}. */
  readonly ramSize: number
  /** Number of virtual processors, 1 where omitted. Their APIC ids are their indexes. */
  readonly virtualProcessors?: number
  /** What the guest sees: the Hyper-V interface, or `none`, plain hardware. `none` where omitted. */
  readonly hypervisor?: 'hyper-v' | 'none'
  /** {@link CHILD_PRIVILEGES} where omitted, or none on plain hardware. */
  readonly privileges?: PartitionPrivileges
  /** What a guest's crash report does: it ends the run, or the guest goes on (to a dump, say). `end` where omitted. */
  readonly onGuestCrash?: 'end' | 'continue'
  /** For what people should know: a crash that the guest reports, and what processors log. Silent where omitted. */
  readonly logger?: Logger
  /** Where time comes from. The host's clocks where omitted; tests give their own. */
  readonly hostTime?: HostTime
  /** How to give way to the host between slices, and to sleep while all processors halt. The host's event loop where omitted. */
  readonly eventLoop?: EventLoop
}

/**
 * One partition. Its virtual processors run on the calling thread, in slices.
 *
 * @example
 * ```ts
 * const partition = new Partition({ processor, ramSize: 64 * 1024 * 1024 })
 * partition.ports.claim(0xf4, 1, exitDevice)
 * const exit = await partition.run()
 * ```
 */
export class Partition implements Saveable, Disposable {
  /** What the guest may use of the Hyper-V interface. */
  readonly privileges: PartitionPrivileges
  /** Guest physical memory: RAM, and what lies over it. */
  readonly memory: GpaMap
  /** Reference time: stands still while the partition does not run. */
  readonly clock: ReferenceClock
  /** Who answers which I/O ports. */
  readonly ports: PortTable
  /** Who answers which addresses without memory. */
  readonly mmio: MmioTable
  /** Leaves of CPUID that are not the processor's own answer. */
  readonly cpuid: CpuidTable = new CpuidTable()
  /** MSRs that are not the processor's. */
  readonly msrs: MsrTable = new MsrTable()
  /** Hypercalls by call code. */
  readonly hypercalls: HypercallTable
  /** The way of interrupt messages to the local APICs. */
  readonly interrupts: InterruptRouter
  /** How devices end the run: {@link Partition.run} gives what was requested. */
  readonly power: PowerControl
  /** Where RAM and ROM answer in the first megabyte. */
  readonly shadowRam: ShadowMemory
  /** The A20M# pin of all processors. */
  readonly addressLine20: AddressLine20
  /** By index; the first is the boot processor. */
  readonly virtualProcessors: readonly VirtualProcessor[]
  /** The Hyper-V interface, where the guest sees it. */
  readonly hyperV: HyperV | undefined
  readonly #scheduler: Scheduler<PowerEvent | GuestCrash | { readonly type: 'paused' }>
  #ended: Promise<unknown> = Promise.resolve()
  #disposed = false

  /** @throws HypervisorError `ERR_PARTITION_MEMORY` when the RAM's size is not possible; PartitaError `ERR_PROCESSOR_MEMORY` when the host has not that much */
  constructor(options: PartitionOptions) {
    const { processor, ramSize } = options
    checkRamSize(processor, ramSize)
    const logger = options.logger ?? silentLogger
    this.privileges =
      options.privileges ?? new PartitionPrivileges(options.hypervisor === 'hyper-v' ? CHILD_PRIVILEGES : [])
    const store = processor.createMemory(ramSize)
    this.memory = new GpaMap(store)
    this.clock = new ReferenceClock(options.hostTime ?? hostTime)
    this.ports = new PortTable()
    this.mmio = new MmioTable(this.memory)
    this.shadowRam = new ShadowMemory(this.memory, store, this.mmio)
    this.hypercalls = new HypercallTable(this.privileges, this.memory, store.gpaEnd)
    this.#scheduler = new Scheduler(this.clock, options.eventLoop ?? hostEventLoop)
    this.power = { request: (event) => this.#scheduler.stop(event) }

    const processors: VirtualProcessor[] = []
    this.virtualProcessors = processors
    this.interrupts = new InterruptRouter(processors, (vpIndex) => this.#scheduler.ready(vpIndex))
    const intercepts = this.#intercepts()
    const count = options.virtualProcessors ?? 1
    for (let index = 0; index < count; index++) {
      const vp = processor.createVirtualProcessor({
        index,
        apicId: index,
        memory: store,
        intercepts,
        clock: this.clock,
        logger: logger.child({ vp: index }),
      })
      processors.push(vp)
      this.#scheduler.add(vp)
    }
    this.addressLine20 = {
      connect: (connected) => {
        for (const vp of processors) vp.setAddressLine20?.(connected)
      },
    }
    this.hyperV = options.hypervisor === 'hyper-v' ? this.#createHyperV(options, store, logger) : undefined
  }

  #createHyperV(options: PartitionOptions, store: PartitionMemory, logger: Logger): HyperV {
    const { privileges, memory, clock, virtualProcessors, cpuid, msrs, hypercalls, power, interrupts } = this
    return new HyperV({
      privileges,
      memory,
      store,
      clock,
      processor: options.processor,
      virtualProcessors,
      cpuid,
      msrs,
      hypercalls,
      power,
      raise: (vpIndex, vector) => interrupts.raise(vpIndex, vector),
      ready: (vpIndex) => this.#scheduler.ready(vpIndex),
      runTime: (vpIndex) => this.#scheduler.runTime(vpIndex),
      crashed: (crash) => {
        logger.log('warn', 'The guest reports a crash', { parameters: crash.parameters.map(String) })
        if (options.onGuestCrash !== 'continue') this.#scheduler.stop(crash)
      },
    })
  }

  /** Whether {@link Partition.run} is in progress. */
  get running(): boolean {
    return this.#scheduler.active
  }

  /**
   * Run until the guest or {@link Partition.pause} ends it. Exceptions of devices and of the processor come through: they are host faults.
   * @throws HypervisorError `ERR_PARTITION_STATE` when the partition runs already or is disposed of
   */
  run(): Promise<PartitionExit> {
    if (this.#disposed || this.#scheduler.active) {
      return Promise.reject(
        new HypervisorError(
          'ERR_PARTITION_STATE',
          this.#disposed ? 'The partition is disposed of' : 'The partition runs already',
        ),
      )
    }
    const run = this.#scheduler.run()
    this.#ended = run.catch(() => {})
    return run
  }

  /** End {@link Partition.run} with `paused` and wait for it. Reference time stands still until the next run. */
  async pause(): Promise<void> {
    if (!this.#scheduler.active) return
    this.#scheduler.stop({ type: 'paused' })
    await this.#ended
  }

  /**
   * Bring the virtual processors to their power-on state. RAM keeps its contents, as after a PC's reset, and reference time goes on.
   * @throws HypervisorError `ERR_PARTITION_STATE` while the partition runs
   */
  reset(): void {
    this.#mustNotRun()
    this.#scheduler.clearStop()
    for (const vp of this.virtualProcessors) vp.reset('power-on')
    this.hyperV?.reset()
    this.#scheduler.readyAll()
  }

  /** State of the processors and of reference time; RAM is saved apart. */
  save(): SavedState {
    this.#mustNotRun()
    return {
      version: SAVED_STATE_VERSION,
      data: {
        referenceTime: this.clock.now(),
        virtualProcessors: this.virtualProcessors.map((vp) => {
          const { version, data } = vp.save()
          return { version, data }
        }),
        ...(this.hyperV && { hyperV: this.hyperV.save() }),
      },
    }
  }

  restore(state: SavedState): void {
    this.#mustNotRun()
    const { referenceTime, virtualProcessors, hyperV } = state.data
    if (
      state.version !== SAVED_STATE_VERSION ||
      typeof referenceTime !== 'number' ||
      (hyperV !== undefined) !== (this.hyperV !== undefined) ||
      !Array.isArray(virtualProcessors)
    ) {
      throw new HypervisorError('ERR_STATE_INVALID', 'The saved state is not one of this partition', {
        data: { version: state.version },
      })
    }
    if (virtualProcessors.length !== this.virtualProcessors.length) {
      throw new HypervisorError(
        'ERR_STATE_INVALID',
        `The saved state has ${virtualProcessors.length} virtual processors, not ${this.virtualProcessors.length}`,
      )
    }
    this.#scheduler.clearStop()
    this.clock.set(referenceTime)
    this.virtualProcessors.forEach((vp, index) => {
      vp.restore(virtualProcessors[index] as SavedState)
    })
    this.hyperV?.restore(hyperV)
    this.#scheduler.readyAll()
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const vp of this.virtualProcessors) vp[Symbol.dispose]()
  }

  #mustNotRun(): void {
    if (this.#scheduler.active) throw new HypervisorError('ERR_PARTITION_STATE', 'The partition runs; pause it first')
  }

  #intercepts(): Intercepts {
    const { ports, mmio, cpuid, msrs, hypercalls, interrupts, virtualProcessors } = this
    return {
      portRead: (_vpIndex, port, size) => ports.read(port, size),
      portWrite: (_vpIndex, port, size, value) => ports.write(port, size, value),
      mmioRead: (_vpIndex, gpa, size) => mmio.read(gpa, size),
      mmioWrite: (_vpIndex, gpa, size, value) => mmio.write(gpa, size, value),
      cpuid: (vpIndex, leaf, subleaf, registers) => cpuid.apply(vpIndex, leaf, subleaf, registers),
      msrRead: (vpIndex, index, value) => msrs.read(vpIndex, index, value),
      msrWrite: (vpIndex, index, value) => msrs.write(vpIndex, index, value),
      hypercall: (vpIndex) => hypercalls.dispatch(virtualProcessors[vpIndex] as VirtualProcessor),
      acknowledgeInterrupt: () => interrupts.acknowledge(),
      endOfInterrupt: (vpIndex, vector, level) => {
        this.hyperV?.endOfInterrupt(vpIndex, vector)
        if (level) interrupts.endOfInterrupt(vector)
      },
      timeStampWritten: (vpIndex) => this.hyperV?.timeStampWritten(vpIndex),
      sendInterrupt: (_vpIndex, message) => interrupts.send(message),
    }
  }
}

function checkRamSize(processor: Processor, ramSize: number): void {
  const maximum = Math.min(MAXIMUM_RAM, processor.maximumRam)
  if (Number.isInteger(ramSize) && ramSize % PAGE_SIZE === 0 && ramSize >= MINIMUM_RAM && ramSize <= maximum) return
  throw new HypervisorError('ERR_PARTITION_MEMORY', `${ramSize} bytes of RAM are not possible`, {
    hint: `Give whole pages, from ${MINIMUM_RAM / 2 ** 20} MiB to ${Math.floor(maximum / 2 ** 20)} MiB.`,
    data: { ramSize, minimum: MINIMUM_RAM, maximum },
  })
}
