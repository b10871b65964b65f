// A partition with the Hyper-V interface on fake processors, and a guest's hands: RDMSR, WRMSR, CPUID, hypercalls, the pages that it enables.

import type { SavedState } from '@partita/interface'
import { expect } from 'vitest'
import { HV_MSR, Partition, type PartitionOptions } from '../src/index.ts'
import { FakeHost, FakeProcessor, type FakeProcessorVp } from './fakes.ts'

export const PAGES = { HYPERCALL: 0x10000, INPUT: 0x11000, OUTPUT: 0x12000, SIMP: 0x20000, SIEFP: 0x30000 } as const
export const GUEST_OS_ID = 0x8100_0601_0000_0000n
/** Nanoseconds since power-on at which a {@link HyperVMachine} starts. */
const START = 1_000_000

/** SINT 2 with this vector is what {@link HyperVMachine.enableSynic} leaves. */
export const SINT = 2
export const VECTOR = 0xf3

export class HyperVMachine {
  readonly host: FakeHost = new FakeHost()
  readonly processor: FakeProcessor = new FakeProcessor()
  readonly partition: Partition
  readonly #value: BigUint64Array = new BigUint64Array(1)

  constructor(options: Partial<PartitionOptions> = {}) {
    this.partition = new Partition({
      processor: this.processor,
      ramSize: 2 ** 20,
      virtualProcessors: 2,
      hypervisor: 'hyper-v',
      hostTime: this.host,
      eventLoop: this.host,
      ...options,
    })
    this.partition.clock.start()
    this.advance(START)
  }

  vp(index = 0): FakeProcessorVp {
    return this.processor.processors[index] as FakeProcessorVp
  }

  get synic(): NonNullable<Partition['hyperV']>['synicPorts'] {
    return (this.partition.hyperV as NonNullable<Partition['hyperV']>).synicPorts
  }

  /** Let time pass; time stamps of the processors count with it. */
  advance(nanoseconds: number): void {
    this.host.time += nanoseconds
    for (const vp of this.processor.processors) vp.timeStampCounter += BigInt(nanoseconds) * 2n
    this.partition.clock.runDue()
  }

  /** RDMSR; `undefined` is #GP. */
  read(index: number, vpIndex = 0): bigint | undefined {
    return this.vp(vpIndex).intercepts.msrRead(vpIndex, index, this.#value) ? this.#value[0] : undefined
  }

  /** WRMSR; false is #GP. */
  write(index: number, value: bigint | number, vpIndex = 0): boolean {
    return this.vp(vpIndex).intercepts.msrWrite(vpIndex, index, BigInt(value))
  }

  cpuid(leaf: number, own: readonly number[] = [0, 0, 0, 0]): number[] {
    const registers = Uint32Array.from(own)
    this.vp().intercepts.cpuid(0, leaf, 0, registers)
    return [...registers]
  }

  enableHypercalls(): void {
    expect(this.write(HV_MSR.GUEST_OS_ID, GUEST_OS_ID)).toBe(true)
    expect(this.write(HV_MSR.HYPERCALL, PAGES.HYPERCALL | 1)).toBe(true)
  }

  /** A hypercall with its input in memory: what RAX holds afterwards, or `undefined` for #UD. */
  call(control: bigint | number, input: Uint8Array = new Uint8Array(0), vpIndex = 0): bigint | undefined {
    this.partition.memory.write(PAGES.INPUT, input)
    return this.raw(control, BigInt(PAGES.INPUT), BigInt(PAGES.OUTPUT), vpIndex)
  }

  /** A hypercall with these registers. */
  raw(control: bigint | number, rdx: bigint, r8: bigint, vpIndex = 0): bigint | undefined {
    const vp = this.vp(vpIndex)
    vp.setRegister('rcx', BigInt(control))
    vp.setRegister('rdx', rdx)
    vp.setRegister('r8', r8)
    return vp.intercepts.hypercall(vpIndex) ? vp.getRegister('rax') : undefined
  }

  enableSynic(vpIndex = 0, sint: number = SINT, value: bigint | number = VECTOR): void {
    const page = vpIndex * 0x1000
    for (const [index, content] of [
      [HV_MSR.SIMP, PAGES.SIMP + page + 1],
      [HV_MSR.SIEFP, PAGES.SIEFP + page + 1],
      [HV_MSR.SINT0 + sint, value],
      [HV_MSR.SCONTROL, 1],
    ] as const)
      expect(this.write(index, content, vpIndex)).toBe(true)
  }

  /** The message in a SINT's slot. */
  message(sint: number = SINT, vpIndex = 0): { type: number; pending: boolean; payload: Uint8Array } {
    const at = PAGES.SIMP + vpIndex * 0x1000 + sint * 256
    const { memory } = this.partition
    const payload = new Uint8Array(memory.readU8(at + 4) ?? 0)
    memory.read(at + 16, payload)
    return { type: memory.readU32(at) ?? -1, pending: ((memory.readU8(at + 5) ?? 0) & 1) !== 0, payload }
  }

  /** The guest empties a SINT's slot. */
  emptySlot(sint: number = SINT, vpIndex = 0): void {
    this.partition.memory.writeU32(PAGES.SIMP + vpIndex * 0x1000 + sint * 256, 0)
  }

  /** Vectors that came to a processor since the last look. */
  interrupts(vpIndex = 0): number[] {
    return this.vp(vpIndex)
      .received.splice(0)
      .map(({ vector }) => vector)
  }

  save(): SavedState {
    this.partition.clock.stop()
    const state = structuredClone(this.partition.save())
    this.partition.clock.start()
    return state
  }
}

/** Little-endian bytes from `[size, value]` pairs. */
export function bytes(...fields: (readonly [1 | 2 | 4 | 8, number | bigint])[]): Uint8Array {
  const out: number[] = []
  for (const [size, value] of fields)
    for (let index = 0; index < size; index++)
      out.push(Number((BigInt.asUintN(64, BigInt(value)) >> BigInt(8 * index)) & 0xffn))
  return Uint8Array.from(out)
}
