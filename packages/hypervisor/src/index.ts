/**
 * The hypervisor's core: partitions with privileges, virtual processors, the GPA map, and dispatch of intercepts (ports, MMIO, CPUID, MSRs,
 * hypercalls, interrupts). It knows no device and no particular processor, and uses no Node API.
 *
 * @example
 * ```ts
 * import { Partition } from '@partita/hypervisor'
 *
 * const partition = new Partition({ processor, ramSize: 64 * 1024 * 1024 })
 * const exit = await partition.run()
 * ```
 * @packageDocumentation
 */
export { type CpuidHandler, CpuidTable, type CpuidValues } from './cpuid-table.ts'
export { HypervisorError } from './error.ts'
export { type EventLoop, hostEventLoop } from './event-loop.ts'
export { GpaMap, PAGE_SIZE } from './gpa-map.ts'
export type { GuestCrash } from './hyper-v/guest-crash.ts'
export { HyperV, type HyperVOptions } from './hyper-v/hyper-v.ts'
export { HV_MSR } from './hyper-v/msr.ts'
export { HV_STATUS } from './hyper-v/status.ts'
export { type Hypercall, type HypercallHandler, HypercallTable } from './hypercall-table.ts'
export { InterruptRouter } from './interrupt-router.ts'
export { MmioTable } from './mmio-table.ts'
export { type MsrHandler, MsrTable } from './msr-table.ts'
export { MAXIMUM_RAM, MINIMUM_RAM, Partition, type PartitionExit, type PartitionOptions } from './partition.ts'
export { PortTable } from './port-table.ts'
export { CHILD_PRIVILEGES, PartitionPrivileges, PRIVILEGE, type PrivilegeName } from './privileges.ts'
export { type HostTime, hostTime, ReferenceClock } from './reference-clock.ts'
export { Scheduler, type SchedulerStop } from './scheduler.ts'
export type { ShadowMemory } from './shadow-ram.ts'
