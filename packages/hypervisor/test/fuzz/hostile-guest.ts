// A guest that uses the hypervisor's interface as it should not: any MSR with any value, any hypercall from anywhere, pages laid over each other, and a host that
// posts and signals meanwhile. The same seed does the same again.

import type { SavedState } from '@partita/interface'
import { HV_MSR, HV_STATUS, Partition, PartitionPrivileges, PRIVILEGE, type PrivilegeName } from '../../src/index.ts'
import { FakeHost, FakeProcessor, type FakeProcessorVp } from '../fakes.ts'

const RAM = 2 ** 20
const PAGE = 4096
const VPS = 2
/** Pages before RAM in the fake's store: nobody has business there. */
const GUARD = 2 * PAGE
const GUARD_BYTE = 0xa5
/** The hypercall page, the reference TSC page, and each processor's pages of messages, events and assistance. */
const OVERLAYS = 2 + 3 * VPS
/** Messages behind a SINT: 16 of ports, and one of each timer. */
const MAX_QUEUE = 16 + 4
/** Steps between two looks at what is kept, and between two calls of who asked for it. */
const OFTEN = 32
const NOW = 4096
const STATUSES: ReadonlySet<number> = new Set(Object.values(HV_STATUS))
const ALL_PRIVILEGES = Object.keys(PRIVILEGE) as PrivilegeName[]

const MSRS: readonly number[] = [
  ...Object.values(HV_MSR),
  ...Array.from({ length: 16 }, (_, sint) => HV_MSR.SINT0 + sint),
  ...Array.from({ length: 8 }, (_, index) => HV_MSR.STIMER0_CONFIG + index),
  ...Array.from({ length: 5 }, (_, index) => HV_MSR.CRASH_P0 + index),
]
const PAGE_MSRS = [HV_MSR.HYPERCALL, HV_MSR.REFERENCE_TSC, HV_MSR.VP_ASSIST_PAGE, HV_MSR.SIMP, HV_MSR.SIEFP] as const
const CALLS = [
  0x02, 0x03, 0x08, 0x0b, 0x13, 0x14, 0x15, 0x50, 0x51, 0x5c, 0x5d, 0x99, 0x9a, 0x8001, 0x40, 0x0d, 0x8003, 0xffff,
] as const
const REGISTERS = [
  0x20000, 0x20010, 0x20011, 0x30000, 0x30010, 0x30018, 0x30019, 0x40000, 0x50005, 0x60001, 0x70000,
] as const
const SYNTHETIC = [0x80000, 0x8000c, 0x90003, 0x90013, 0xa0002, 0xa0013, 0xb0000, 0x100, 0x200, 0x210, 0x240] as const

/** SplitMix32. */
class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    let z = this.#state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }

  below(end: number): number {
    return this.u32() % end
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32())
  }
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`invariant: ${what}`)
}

export class HostileGuest {
  readonly features: Set<string> = new Set()
  steps = 0
  readonly #random: Random
  readonly #host: FakeHost = new FakeHost()
  readonly #processor: FakeProcessor = new FakeProcessor()
  readonly #partition: Partition
  readonly #value: BigUint64Array = new BigUint64Array(1)
  #saved: SavedState | undefined

  constructor(seed: number) {
    const random = new Random(seed)
    this.#random = random
    const missing = random.pick<PrivilegeName | undefined>([undefined, undefined, ...ALL_PRIVILEGES])
    this.#partition = new Partition({
      processor: this.#processor,
      ramSize: RAM,
      virtualProcessors: VPS,
      hypervisor: 'hyper-v',
      privileges: new PartitionPrivileges(ALL_PRIVILEGES.filter((name) => name !== missing)),
      hostTime: this.#host,
      eventLoop: this.#host,
      onGuestCrash: 'continue',
    })
    this.#store().fill(GUARD_BYTE, 0, GUARD)
    this.#partition.clock.start()
    const { hyperV } = this.#partition
    hyperV?.synicPorts.createMessagePort(1, (_vp, type, payload) => {
      check(payload.length <= 240 && type !== 0, 'a message that is none')
      this.#post()
      return HV_STATUS.SUCCESS
    })
    hyperV?.synicPorts.createEventPort(2, (flag) => {
      check(flag >= 0 && flag < 2048, 'a flag that is none')
      this.#signal()
    })
    hyperV?.synicPorts.onMessageSlotFree(() => this.#reach('slot free'))
    for (const vp of this.#processor.processors) for (const index of [0x10, 0x1b, 0x174, 0x802]) vp.msrs.set(index, 0n)
    if (random.below(8) !== 0) this.#begin()
  }

  /** Run `count` steps; `now` is called now and then. Throws when the host was hurt. */
  run(count: number, now?: () => void): void {
    for (let step = 1; step <= count; step++) {
      this.#step()
      if (step % OFTEN === 0) this.#checkKept()
      if (step % NOW === 0) now?.()
    }
    this.#checkKept()
    const guard = this.#store().subarray(0, GUARD)
    check(
      guard.every((byte) => byte === GUARD_BYTE),
      'a store outside of the partition',
    )
    const state = this.#state()
    const hyperV = state.data['hyperV'] as { processors: { synic: { queues: unknown[][] } }[] }
    for (const { synic } of hyperV.processors)
      for (const queue of synic.queues) check(queue.length <= MAX_QUEUE, `${queue.length} messages wait`)
  }

  /** What the host keeps for the guest has bounds, whatever it did. */
  #checkKept(): void {
    const { memory } = this.#processor
    if (memory === undefined) throw new Error('no memory')
    check(memory.overlays <= OVERLAYS, `${memory.overlays} overlay pages`)
    // Each is in one place at most, and what it covers is RAM or nothing.
    check(memory.pages.size <= RAM / PAGE + OVERLAYS, `${memory.pages.size} pages are mapped`)
    check(this.#host.pending <= 1, `${this.#host.pending} calls of the host's event loop`)
    // The processor that is pretended remembers what a test may ask for.
    memory.writes.length = 0
    for (const processor of this.#processor.processors) processor.resets.length = 0
  }

  /** What a guest does first. */
  #begin(): void {
    this.#write(HV_MSR.GUEST_OS_ID, 1n, 0)
    this.#write(HV_MSR.HYPERCALL, 0x1_0001n, 0)
    for (let vp = 0; vp < VPS; vp++) {
      this.#write(HV_MSR.SIMP, BigInt(0x2_0001 + vp * PAGE), vp)
      this.#write(HV_MSR.SIEFP, BigInt(0x3_0001 + vp * PAGE), vp)
      this.#write(HV_MSR.SINT0 + 2, 0xf3n, vp)
      this.#write(HV_MSR.SCONTROL, 1n, vp)
    }
  }

  #store(): Uint8Array {
    return new Uint8Array((this.#processor.memory as NonNullable<FakeProcessor['memory']>).buffer)
  }

  #vp(index: number): FakeProcessorVp {
    return this.#processor.processors[index] as FakeProcessorVp
  }

  #reach(what: string): void {
    this.features.add(what)
  }

  #step(): void {
    this.steps++
    const random = this.#random
    const vp = random.below(VPS)
    switch (random.below(16)) {
      case 0:
      case 1:
        this.#reach(`write ${this.#write(this.#msr(), this.#interesting(), vp)}`)
        break
      case 2:
        this.#write(random.pick(PAGE_MSRS), this.#address() | BigInt(random.below(4)), vp)
        break
      case 3:
        this.#read(this.#msr(), vp)
        break
      case 4:
      case 5:
      case 6:
      case 7:
        this.#call(vp)
        break
      case 8:
        this.#scribble()
        break
      case 9:
        this.#host.time += random.pick([0, 100, 20_000, 2_000_000])
        this.#partition.clock.runDue()
        break
      case 10:
        this.#vp(vp).intercepts.endOfInterrupt(vp, random.below(256), random.below(2) === 0)
        break
      case 11:
        this.#post()
        break
      case 12:
        this.#signal()
        break
      case 13:
        this.#vp(vp).intercepts.cpuid(vp, 0x4000_0000 + random.below(16), random.below(2), new Uint32Array(4))
        this.#vp(vp).timeStampCounter = random.u64()
        this.#vp(vp).intercepts.timeStampWritten?.(vp)
        break
      case 14:
        this.#write(random.pick([HV_MSR.EOM, HV_MSR.SCONTROL, HV_MSR.GUEST_OS_ID]), BigInt(random.below(3)), vp)
        break
      default:
        if (random.below(40) === 0) this.#machine()
    }
    for (const processor of this.#processor.processors) processor.received.length = 0
  }

  #msr(): number {
    const random = this.#random
    return random.below(8) === 0 ? 0x4000_0000 + random.below(0x120) : random.pick(MSRS)
  }

  #interesting(): bigint {
    const random = this.#random
    return random.pick([
      0n,
      1n,
      3n,
      0x1_0000n,
      0x5_0042n,
      0x2_0055n,
      // Timers: enabled, periodic, lazy, auto-enable, direct, on SINT 2.
      BigInt(random.below(16)) | 0x2_0000n,
      BigInt(random.below(16)) | 0x1000n | BigInt(random.below(256) << 4),
      BigInt(random.below(100_000)),
      1n << 63n,
      3n << 62n,
      random.u64(),
    ])
  }

  #address(): bigint {
    const random = this.#random
    const page = BigInt(random.below(RAM / PAGE)) * 4096n
    return random.pick([
      page,
      page,
      0x1_0000n,
      0x2_0000n,
      0xf000_0000n,
      0x1_0000_0000n + page,
      (1n << 40n) - 4096n,
      random.u64(),
    ])
  }

  #write(index: number, value: bigint, vp: number): boolean {
    return this.#vp(vp).intercepts.msrWrite(vp, index, BigInt.asUintN(64, value))
  }

  #read(index: number, vp: number): void {
    if (!this.#vp(vp).intercepts.msrRead(vp, index, this.#value)) return
    this.#reach(`read ${index.toString(16)}`)
  }

  #call(index: number): void {
    const random = this.#random
    const vp = this.#vp(index)
    const code = random.pick(CALLS)
    const rep = [0x03, 0x14, 0x50, 0x51, 0x9a].includes(code) === (random.below(8) !== 0)
    const count = rep ? random.pick([1, 2, 5, 15, 200, 4095]) : 0
    const fast = random.below(3) === 0
    const variable = [0x13, 0x14, 0x15].includes(code) ? random.below(3) : random.below(40) === 0 ? 1 : 0
    const control =
      BigInt(code) |
      (fast ? 0x1_0000n : 0n) |
      (BigInt(variable) << 17n) |
      (BigInt(count) << 32n) |
      (BigInt(rep ? random.below(Math.min(count, 3)) : 0) << 48n) |
      (random.below(50) === 0 ? 1n << BigInt(random.below(64)) : 0n)
    const input = this.#input(code, count)
    vp.is64Bit = random.below(10) !== 0
    const place = random.pick([0x4_0000, 0x4_0000, 0x4_0ff8, 0x4_0001]) & ~0
    this.#partition.memory.write(place, input)
    for (let unit = 0; unit < 6; unit++) vp.setXmm(unit, input.subarray(16 + unit * 16, 32 + unit * 16).slice())
    const view = new DataView(input.buffer)
    const wide = BigInt(place)
    const target = random.pick([0x4_8000n, 0x4_8000n, 0x4_8ffcn, this.#address()])
    const first = fast ? view.getBigUint64(0, true) : random.below(10) === 0 ? this.#address() : wide
    const second = fast ? view.getBigUint64(8, true) : target
    const registers = vp.is64Bit
      ? { rcx: control, rdx: first, r8: second }
      : {
          rdx: control >> 32n,
          rax: control & 0xffff_ffffn,
          rbx: first >> 32n,
          rcx: first & 0xffff_ffffn,
          rdi: second >> 32n,
          rsi: second & 0xffff_ffffn,
        }
    for (const [name, value] of Object.entries(registers)) vp.setRegister(name as 'rcx', value)
    if (!vp.intercepts.hypercall(index)) {
      this.#reach('call #UD')
      return
    }
    const result = vp.getRegister('rax')
    const status = Number(result & 0xffffn)
    // Outside of 64-bit mode the upper half is in EDX.
    const done = Number((vp.is64Bit ? result >> 32n : vp.getRegister('rdx')) & 0xfffn)
    check(STATUSES.has(status), `status ${status}`)
    check(done <= Number((control >> 32n) & 0xfffn), `${done} elements done`)
    this.#reach(`call ${code.toString(16)} ${fast} ${status} ${done > 0}`)
    vp.exitRequested = false
  }

  #input(code: number, count: number): Uint8Array {
    const random = this.#random
    const input = new Uint8Array(4096)
    const view = new DataView(input.buffer)
    for (let at = 0; at < 256; at += 4) view.setUint32(at, random.pick([0, 0, 1, 2, 0x40, random.u32()]), true)
    const self = random.below(8) === 0 ? random.u64() : (1n << 64n) - 1n
    if (code === 0x50 || code === 0x51) {
      view.setBigUint64(0, self, true)
      view.setUint32(8, random.pick([0, 1, 2, 0xffff_fffe]), true)
      view.setUint32(12, random.pick([0, 0, 0, 0x10, 0x11]), true)
      const size = code === 0x50 ? 4 : 32
      for (let index = 0; index < count && 16 + (index + 1) * size <= 4096; index++)
        view.setUint32(16 + index * size, random.pick([...REGISTERS, ...SYNTHETIC]), true)
    } else if (code === 0x99 || code === 0x9a) {
      view.setBigUint64(0, self, true)
      view.setUint32(8, random.pick([0, 1, 2]), true)
      view.setUint32(12, 0, true)
    } else if (code === 0x5c || code === 0x5d) {
      view.setUint32(0, random.pick([1, 2, 2, 3, 0xff00_0001]), true)
      view.setUint32(4, random.pick([0, 1, 2047, 2048]), true)
      view.setUint32(8, random.pick([1, 1, 0, 0x8000_0010]), true)
      view.setUint32(12, random.pick([0, 8, 240, 241]), true)
    } else if (code === 0x0b || code === 0x15) view.setUint32(0, random.pick([0x10, 0xff, 0x0f, 0x100]), true)
    return input
  }

  /** Change what the hypervisor looks at. */
  #scribble(): void {
    const random = this.#random
    const at =
      random.pick([0x2_0000, 0x2_1000, 0x3_0000, 0x3_1000, 0x1_0000]) + 4 * random.below(64) * random.pick([1, 4])
    this.#partition.memory.writeU32(at, random.pick([0, 0, 1, 0xffff_ffff, random.u32()]))
  }

  #post(): void {
    const random = this.#random
    const payload = new Uint8Array(random.pick([0, 8, 240]))
    const posted = this.#partition.hyperV?.synicPorts.postMessage(
      random.below(VPS),
      random.pick([2, 2, 0, 15]),
      1,
      payload,
    )
    this.#reach(`post ${posted}`)
  }

  #signal(): void {
    const random = this.#random
    const signalled = this.#partition.hyperV?.synicPorts.signalEvent(
      random.below(VPS),
      random.pick([2, 0]),
      random.below(2048),
    )
    this.#reach(`signal ${signalled}`)
  }

  #state(): SavedState {
    this.#partition.clock.stop()
    const state = structuredClone(this.#partition.save())
    this.#partition.clock.start()
    return state
  }

  #machine(): void {
    switch (this.#random.below(4)) {
      case 0:
        this.#partition.reset()
        this.#begin()
        break
      case 1:
        this.#saved = this.#state()
        break
      default: {
        const state = this.#saved ?? this.#state()
        this.#partition.clock.stop()
        this.#partition.restore(state)
        this.#partition.clock.start()
        this.#reach('restored')
      }
    }
  }
}
