// The Hyper-V interface of a partition (TLFS): CPUID leaves, synthetic MSRs, hypercalls, SynIC and synthetic timers, put together from the partition's privileges. What
// a partition may not do is neither offered nor there.

import {
  type Clock,
  GPA_ACCESS,
  type PartitionMemory,
  type PowerControl,
  type Processor,
  type SavedValue,
  type SynicPorts,
  type VirtualProcessor,
} from '@partita/interface'
import type { CpuidTable } from '../cpuid-table.ts'
import type { GpaMap } from '../gpa-map.ts'
import type { HypercallTable } from '../hypercall-table.ts'
import type { MsrHandler, MsrTable } from '../msr-table.ts'
import { OverlayPage } from '../overlay-page.ts'
import type { PartitionPrivileges, PrivilegeName } from '../privileges.ts'
import { registerCommunication } from './calls/communication.ts'
import { registerExtendedCalls } from './calls/extended.ts'
import { registerFlushes } from './calls/flush.ts'
import { registerInterruptCalls } from './calls/interrupts.ts'
import { registerRegisterCalls } from './calls/registers.ts'
import { restrictCalls } from './calls/restricted.ts'
import { registerStartCalls } from './calls/start.ts'
import { hypervisorLeaves, registerCpuid } from './cpuid.ts'
import { CrashRegisters, type GuestCrash } from './guest-crash.ts'
import { HV_MSR, PAGE_MSR, pageAddress } from './msr.ts'
import { Reenlightenment } from './reenlightenment.ts'
import { ReferenceTime } from './reference-time.ts'
import { stateArray, stateBoolean, stateObject, stateU64 } from './saved-values.ts'
import { SINT_COUNT, TIMER_COUNT } from './synic-pages.ts'
import { SynicPortTable } from './synic-ports.ts'
import { SyntheticProcessor } from './synthetic-processor.ts'

/** The parts of a partition that the interface works with. */
export interface HyperVOptions {
  /** What the guest may use, and so is offered. */
  readonly privileges: PartitionPrivileges
  /** Where overlay pages are put, and parameters of the guest are read. */
  readonly memory: GpaMap
  /** The same memory as the processor's, which has the room for overlay pages. */
  readonly store: PartitionMemory
  /** Reference time. */
  readonly clock: Clock
  /** Tells the frequencies of the time-stamp counter and of the local APIC's timer. */
  readonly processor: Processor
  /** All of the partition, by index. */
  readonly virtualProcessors: readonly VirtualProcessor[]
  /** Gets the leaves from 0x40000000 on. */
  readonly cpuid: CpuidTable
  /** Gets the synthetic MSRs. */
  readonly msrs: MsrTable
  /** Gets the hypercalls; enabled when the guest asks for the hypercall page. */
  readonly hypercalls: HypercallTable
  /** Told when the guest resets itself by HV_X64_MSR_RESET. */
  readonly power: PowerControl
  /** Interrupt a processor, edge-triggered. */
  raise(vpIndex: number, vector: number): void
  /** A processor may have something to do. */
  ready(vpIndex: number): void
  /** Nanoseconds that a processor has run. */
  runTime(vpIndex: number): number
  /** The guest says that it cannot go on. */
  crashed(crash: GuestCrash): void
}

/** VMCALL, RET. */
const HYPERCALL_PAGE: Uint8Array = Uint8Array.of(0x0f, 0x01, 0xc1, 0xc3)
/** HV_X64_MSR_HYPERCALL bit 1. */
const HYPERCALL_LOCKED = 2n
const RESET_REQUEST = 1n
const TSC_INVARIANT = 1n
const TPR_MAXIMUM = 0xffn
/** Nanoseconds of a unit of the run time. */
const RUN_TIME_UNIT = 100

/** The interface. */
export class HyperV {
  /** The root partition's side of messages and events. */
  readonly synicPorts: SynicPorts
  readonly #options: HyperVOptions
  readonly #processors: readonly SyntheticProcessor[]
  readonly #referenceTime: ReferenceTime
  readonly #crash: CrashRegisters
  readonly #hypercallPage: OverlayPage
  readonly #reenlightenment: Reenlightenment = new Reenlightenment()
  #guestOsId = 0n
  #hypercall = 0n
  #invariantTsc = false

  /** @throws PartitaError `ERR_PROCESSOR_MEMORY` when the processor has no store for overlay pages left */
  constructor(options: HyperVOptions) {
    this.#options = options
    const { memory, store, clock, virtualProcessors, privileges } = options
    const page = (access: number): OverlayPage => new OverlayPage(memory, store, access)
    this.#hypercallPage = page(GPA_ACCESS.READ | GPA_ACCESS.EXECUTE | GPA_ACCESS.PROTECTED)
    this.#hypercallPage.set(HYPERCALL_PAGE)
    this.#referenceTime = new ReferenceTime({
      clock,
      page: page(GPA_ACCESS.READ | GPA_ACCESS.PROTECTED),
      timeStampFrequency: options.processor.timeStampFrequency,
      timeStamp: () => virtualProcessors[0]?.timeStampCounter ?? 0n,
    })
    this.#crash = new CrashRegisters(memory, (crash) => options.crashed(crash))
    const ports = new SynicPortTable((vpIndex) => this.#processors[vpIndex]?.synic)
    this.synicPorts = ports
    this.#processors = virtualProcessors.map(
      (vp) =>
        new SyntheticProcessor({
          vp,
          clock,
          messagePage: page(GPA_ACCESS.ALL),
          eventPage: page(GPA_ACCESS.ALL),
          assistPage: page(GPA_ACCESS.ALL),
          raise: (vector) => options.raise(vp.index, vector),
          referenceTime: () => this.#referenceTime.count,
          slotFree: (sint) => ports.slotFree(vp.index, sint),
        }),
    )
    const cpuidOptions = {
      privileges,
      virtualProcessors: virtualProcessors.length,
      invariantTsc: () => this.#invariantTsc,
    }
    registerCpuid(options.cpuid, cpuidOptions)
    this.#registerMsrs()
    const { hypercalls } = options
    registerCommunication(hypercalls, ports)
    registerFlushes(hypercalls, virtualProcessors)
    registerInterruptCalls(hypercalls, virtualProcessors, (vpIndex, vector) => options.raise(vpIndex, vector))
    registerRegisterCalls(hypercalls, {
      processors: virtualProcessors,
      msrs: options.msrs,
      leaves: hypervisorLeaves(cpuidOptions),
    })
    registerStartCalls(hypercalls, virtualProcessors, (vpIndex) => options.ready(vpIndex))
    registerExtendedCalls(hypercalls)
    restrictCalls(hypercalls)
  }

  /** The processor ended an interrupt. */
  endOfInterrupt(vpIndex: number, vector: number): void {
    this.#processors[vpIndex]?.synic.endOfInterrupt(vector)
  }

  /** The guest set a time-stamp counter. The reference page goes by the boot processor's. */
  timeStampWritten(vpIndex: number): void {
    if (vpIndex === 0) this.#referenceTime.timeStampChanged()
  }

  // --- MSRs

  #registerMsrs(): void {
    const { msrs, privileges, processor, power, runTime } = this.#options
    const register = (privilege: PrivilegeName | undefined, index: number, handler: MsrHandler): void => {
      if (privilege === undefined || privileges.has(privilege)) msrs.register(index, handler)
    }
    const constant = (value: bigint): MsrHandler => ({ read: () => value })
    const each = (vpIndex: number): SyntheticProcessor => this.#processors[vpIndex] as SyntheticProcessor
    const apic = (vpIndex: number) => each(vpIndex).vp.localApic

    register('ACCESS_HYPERCALL_MSRS', HV_MSR.GUEST_OS_ID, {
      read: () => this.#guestOsId,
      write: (_vpIndex, value) => this.#writeGuestOsId(value),
    })
    register('ACCESS_HYPERCALL_MSRS', HV_MSR.HYPERCALL, {
      read: () => this.#hypercall,
      write: (_vpIndex, value) => this.#writeHypercall(value),
    })
    register('ACCESS_VP_INDEX', HV_MSR.VP_INDEX, { read: (vpIndex) => BigInt(vpIndex) })
    register('ACCESS_RESET_REG', HV_MSR.RESET, {
      read: () => 0n,
      write(_vpIndex, value): boolean {
        if ((value & RESET_REQUEST) !== 0n) power.request({ type: 'reset' })
        return true
      },
    })
    register('ACCESS_VP_RUN_TIME_REG', HV_MSR.VP_RUNTIME, {
      read: (vpIndex) => BigInt(Math.floor(runTime(vpIndex) / RUN_TIME_UNIT)),
    })
    register('ACCESS_PARTITION_REFERENCE_COUNTER', HV_MSR.TIME_REF_COUNT, { read: () => this.#referenceTime.count })
    register('ACCESS_PARTITION_REFERENCE_TSC', HV_MSR.REFERENCE_TSC, {
      read: () => this.#referenceTime.register,
      write: (_vpIndex, value) => {
        this.#referenceTime.write(value)
        return true
      },
    })
    register('ACCESS_FREQUENCY_REGS', HV_MSR.TSC_FREQUENCY, constant(BigInt(processor.timeStampFrequency)))
    register('ACCESS_FREQUENCY_REGS', HV_MSR.APIC_FREQUENCY, constant(BigInt(processor.apicTimerFrequency)))
    register('ACCESS_INTR_CTRL_REGS', HV_MSR.EOI, {
      write(vpIndex): boolean {
        apic(vpIndex).endOfInterrupt()
        return true
      },
    })
    register('ACCESS_INTR_CTRL_REGS', HV_MSR.ICR, {
      read: (vpIndex) => apic(vpIndex).icr,
      write(vpIndex, value): boolean {
        apic(vpIndex).icr = value
        return true
      },
    })
    register('ACCESS_INTR_CTRL_REGS', HV_MSR.TPR, {
      read: (vpIndex) => BigInt(apic(vpIndex).tpr),
      write(vpIndex, value): boolean {
        if (value > TPR_MAXIMUM) return false
        apic(vpIndex).tpr = Number(value)
        return true
      },
    })
    // With the registers of the local APIC, as KVM has it too. Linux writes it without a look at the bit, and goes on after a #GP.
    register('ACCESS_INTR_CTRL_REGS', HV_MSR.VP_ASSIST_PAGE, {
      read: (vpIndex) => each(vpIndex).assist,
      write: (vpIndex, value) => each(vpIndex).writeAssist(value),
    })
    const synic: (index: number) => MsrHandler = (index) => ({
      read: (vpIndex) => each(vpIndex).synic.read(index),
      write: (vpIndex, value) => each(vpIndex).synic.write(index, value),
    })
    for (let index: number = HV_MSR.SCONTROL; index <= HV_MSR.EOM; index++)
      register('ACCESS_SYNIC_REGS', index, synic(index))
    for (let sint = 0; sint < SINT_COUNT; sint++)
      register('ACCESS_SYNIC_REGS', HV_MSR.SINT0 + sint, synic(HV_MSR.SINT0 + sint))
    for (let timer = 0; timer < TIMER_COUNT; timer++) {
      register('ACCESS_SYNTHETIC_TIMER_REGS', HV_MSR.STIMER0_CONFIG + 2 * timer, {
        read: (vpIndex) => each(vpIndex).timers[timer]?.config,
        write: (vpIndex, value) => each(vpIndex).timers[timer]?.writeConfig(value) ?? false,
      })
      register('ACCESS_SYNTHETIC_TIMER_REGS', HV_MSR.STIMER0_COUNT + 2 * timer, {
        read: (vpIndex) => each(vpIndex).timers[timer]?.count,
        write: (vpIndex, value) => each(vpIndex).timers[timer]?.writeCount(value) ?? false,
      })
    }
    register('ACCESS_GUEST_IDLE_REG', HV_MSR.GUEST_IDLE, {
      read(vpIndex): bigint {
        each(vpIndex).vp.idle()
        return 0n
      },
    })
    for (let parameter = 0; parameter < HV_MSR.CRASH_CTL - HV_MSR.CRASH_P0; parameter++) {
      register(undefined, HV_MSR.CRASH_P0 + parameter, {
        read: () => this.#crash.readParameter(parameter),
        write: (_vpIndex, value) => this.#crash.writeParameter(parameter, value),
      })
    }
    register(undefined, HV_MSR.CRASH_CTL, {
      read: () => this.#crash.readControl(),
      write: (_vpIndex, value) => this.#crash.writeControl(value),
    })
    for (const index of [
      HV_MSR.REENLIGHTENMENT_CONTROL,
      HV_MSR.TSC_EMULATION_CONTROL,
      HV_MSR.TSC_EMULATION_STATUS,
    ] as const)
      register('ACCESS_REENLIGHTENMENT_CONTROLS', index, {
        read: () => this.#reenlightenment.read(index),
        write: (_vpIndex, value) => this.#reenlightenment.write(index, value),
      })
    register('ACCESS_TSC_INVARIANT_CONTROLS', HV_MSR.TSC_INVARIANT_CONTROL, {
      read: () => (this.#invariantTsc ? TSC_INVARIANT : 0n),
      write: (_vpIndex, value) => {
        if ((value & ~TSC_INVARIANT) !== 0n) return false
        this.#invariantTsc = value !== 0n
        return true
      },
    })
  }

  #writeGuestOsId(value: bigint): boolean {
    this.#guestOsId = value
    if (value === 0n) this.#setHypercall(this.#hypercall & ~PAGE_MSR.ENABLE)
    return true
  }

  #writeHypercall(value: bigint): boolean {
    if ((this.#hypercall & HYPERCALL_LOCKED) !== 0n) return true
    if ((value & PAGE_MSR.ADDRESS) >= BigInt(this.#options.store.gpaEnd)) return false
    this.#setHypercall(this.#guestOsId === 0n ? value & ~PAGE_MSR.ENABLE : value)
    return true
  }

  #setHypercall(value: bigint): void {
    this.#hypercall = value
    this.#hypercallPage.place(pageAddress(value))
    this.#options.hypercalls.enabled = (value & PAGE_MSR.ENABLE) !== 0n
  }

  // --- reset and saved state

  /** Power-on state. Ports stay. */
  reset(): void {
    this.#guestOsId = 0n
    this.#setHypercall(0n)
    this.#invariantTsc = false
    this.#referenceTime.reset()
    this.#crash.reset()
    this.#reenlightenment.reset()
    for (const processor of this.#processors) processor.reset()
  }

  save(): SavedValue {
    return {
      guestOsId: this.#guestOsId,
      hypercall: this.#hypercall,
      invariantTsc: this.#invariantTsc,
      referenceTime: this.#referenceTime.save(),
      crash: this.#crash.save(),
      reenlightenment: this.#reenlightenment.save(),
      processors: this.#processors.map((processor) => processor.save()),
    }
  }

  /** Reference time and processors are restored before. @throws HypervisorError `ERR_STATE_INVALID` */
  restore(saved: SavedValue | undefined): void {
    const state = stateObject(saved, 'hyperV')
    const processors = stateArray(state['processors'], 'hyperV.processors', this.#processors.length)
    const guestOsId = stateU64(state['guestOsId'], 'hyperV.guestOsId')
    const hypercall = stateU64(state['hypercall'], 'hyperV.hypercall')
    this.#invariantTsc = stateBoolean(state['invariantTsc'], 'hyperV.invariantTsc')
    this.#guestOsId = guestOsId
    this.#setHypercall(hypercall)
    this.#crash.restore(state['crash'])
    this.#referenceTime.restore(state['referenceTime'])
    this.#processors.forEach((processor, index) => {
      processor.restore(processors[index])
    })
    this.#reenlightenment.restore(state['reenlightenment'], (vpIndex, vector) => this.#options.raise(vpIndex, vector))
  }
}
