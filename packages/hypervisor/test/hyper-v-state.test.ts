// Whatever a guest does to the Hyper-V interface neither throws nor grows, and a saved state carries all of it over.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HV_MSR, Partition } from '../src/index.ts'
import { FakeProcessor } from './fakes.ts'
import { HyperVMachine, PAGES, SINT, VECTOR } from './hyper-v-machine.ts'

/** One thing that a guest, its time or the root partition does. */
type Step =
  | { readonly kind: 'wrmsr'; readonly vp: number; readonly index: number; readonly value: bigint }
  | { readonly kind: 'rdmsr'; readonly vp: number; readonly index: number }
  | {
      readonly kind: 'hypercall'
      readonly vp: number
      readonly wide: boolean
      readonly registers: readonly bigint[]
      readonly input: Uint8Array
    }
  | { readonly kind: 'store'; readonly gpa: number; readonly value: bigint }
  | { readonly kind: 'advance'; readonly nanoseconds: number }
  | { readonly kind: 'eoi'; readonly vp: number; readonly vector: number }
  | { readonly kind: 'post'; readonly vp: number; readonly sint: number; readonly type: number; readonly size: number }
  | { readonly kind: 'signal'; readonly vp: number; readonly sint: number; readonly flag: number }

const MSRS = [
  ...Object.values(HV_MSR),
  HV_MSR.SINT0 + SINT,
  HV_MSR.SINT0 + 15,
  HV_MSR.STIMER0_CONFIG + 6,
  HV_MSR.STIMER0_COUNT + 6,
  HV_MSR.CRASH_P0 + 3,
  HV_MSR.CRASH_P0 + 4,
]
const CALLS = [0x02, 0x03, 0x08, 0x0b, 0x13, 0x14, 0x15, 0x50, 0x51, 0x5c, 0x5d, 0x99, 0x9a, 0x8001, 0x8003]

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  fc.constantFrom(0n, 1n, 0x10001n, 0x20001n, 0xed1dn, 0x100an, 0xffff_ffff_ffff_ffffn),
  fc.bigInt({ min: 0n, max: 0x1fffffn }),
  // A page, enabled.
  fc.nat(0x1ff).map((page) => BigInt(page * 4096 + 1)),
  // A vector with the flags of a SINT, or of a timer in direct mode.
  fc.tuple(fc.nat(255), fc.nat(7)).map(([vector, flags]) => BigInt(vector | (flags << 16))),
  fc.tuple(fc.nat(255), fc.nat(15)).map(([vector, flags]) => BigInt(0x1000 | (vector << 4) | flags)),
)
const vp = fc.nat(1)
const msr = fc.oneof(fc.constantFrom(...MSRS), fc.integer({ min: 0x40000000, max: 0x40000120 }))
const control = fc
  .record({
    call: fc.oneof(fc.constantFrom(...CALLS), fc.nat(0xffff)),
    fast: fc.boolean(),
    variable: fc.oneof(fc.constant(0), fc.nat(0x3ff)),
    count: fc.oneof(fc.constant(0), fc.nat(8), fc.nat(0xfff)),
    start: fc.oneof(fc.constant(0), fc.nat(8), fc.nat(0xfff)),
    reserved: fc.oneof({ weight: 20, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: u64 }),
  })
  .map(({ call, fast, variable, count, start, reserved }) =>
    BigInt.asUintN(
      64,
      BigInt(call) |
        (fast ? 1n << 16n : 0n) |
        (BigInt(variable) << 17n) |
        (BigInt(count) << 32n) |
        (BigInt(start) << 48n) |
        reserved,
    ),
  )
const address = fc.oneof(fc.constantFrom(BigInt(PAGES.INPUT), BigInt(PAGES.OUTPUT)), u64)
/** Input with the values that the calls look for: SELF, small numbers, register names. */
const input = fc
  .array(
    fc.oneof(u64, fc.constantFrom(0xffff_ffff_ffff_ffffn, 0xfffffffen, 1n, 4n, 0x20003n, 0xa0002n, 0x1_0000_0004n)),
    { maxLength: 40 },
  )
  .map((words) => new Uint8Array(BigUint64Array.from(words).buffer))

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('wrmsr' as const), vp, index: msr, value: u64 }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rdmsr' as const), vp, index: msr }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('hypercall' as const),
      vp,
      wide: fc.boolean(),
      registers: fc.tuple(control, address, address),
      input,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('store' as const), gpa: fc.nat(0x1ffff).map((at) => at * 8), value: u64 }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('advance' as const),
      nanoseconds: fc.oneof(fc.nat(10_000_000), fc.constant(1e12)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('eoi' as const), vp, vector: fc.nat(255) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('post' as const),
      vp,
      sint: fc.oneof(fc.constant(SINT), fc.nat(16)),
      type: fc.nat(3),
      size: fc.nat(241),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('signal' as const), vp, sint: fc.nat(16), flag: fc.nat(2048) }),
  },
)

function perform(machine: HyperVMachine, action: Step): void {
  switch (action.kind) {
    case 'wrmsr':
      machine.write(action.index, action.value, action.vp)
      break
    case 'rdmsr':
      machine.read(action.index, action.vp)
      break
    case 'hypercall': {
      const target = machine.vp(action.vp)
      target.is64Bit = action.wide
      machine.partition.memory.write(PAGES.INPUT, action.input)
      const [value, first, second] = action.registers as readonly [bigint, bigint, bigint]
      if (!action.wide) {
        target.setRegister('rax', value & 0xffffffffn)
        target.setRegister('rbx', first >> 32n)
        target.setRegister('rdi', second >> 32n)
        target.setRegister('rsi', second & 0xffffffffn)
      }
      target.setRegister('rcx', action.wide ? value : first & 0xffffffffn)
      target.setRegister('rdx', action.wide ? first : value >> 32n)
      target.setRegister('r8', second)
      target.intercepts.hypercall(action.vp)
      break
    }
    case 'store':
      machine.partition.memory.writeU64(action.gpa, action.value)
      break
    case 'advance':
      machine.advance(action.nanoseconds)
      break
    case 'eoi':
      machine.vp(action.vp).intercepts.endOfInterrupt(action.vp, action.vector, false)
      break
    case 'post':
      machine.synic.postMessage(action.vp, action.sint, action.type, new Uint8Array(action.size))
      break
    case 'signal':
      machine.synic.signalEvent(action.vp, action.sint, action.flag)
      break
  }
}

/** A guest that is set up, so that what comes at random reaches something. */
function lively(): HyperVMachine {
  const machine = new HyperVMachine()
  machine.enableHypercalls()
  machine.enableSynic(0)
  machine.enableSynic(1)
  machine.synic.createMessagePort(4, (vpIndex, type, payload) =>
    machine.synic.postMessage(vpIndex, SINT, type, payload) ? 0 : 0x13,
  )
  machine.synic.createEventPort(1, (flag) => machine.synic.signalEvent(0, SINT, flag))
  return machine
}

/** Bytes of a saved state, roughly: what a partition keeps for its guest. */
function size(value: unknown): number {
  if (value instanceof Uint8Array) return value.length
  if (Array.isArray(value)) return value.reduce((sum: number, each) => sum + 8 + size(each), 0)
  if (typeof value === 'object' && value !== null) return size(Object.values(value))
  return 8
}

/** 2 processors × (3 pages + 16 queues of 16 messages and 4 of timers), and the rest. */
const STATE_LIMIT = 2 * (3 * 4096 + 16 * 20 * 300) + 16384

describe('Random guests', () => {
  it('neither throw nor grow, and their saved state restores to the same', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const machine = lively()
        const overlays = machine.processor.memory?.overlays
        for (const action of steps) {
          perform(machine, action)
          for (const { received } of machine.processor.processors) received.length = 0
        }
        expect(machine.processor.memory?.overlays).toBe(overlays)
        const state = machine.save()
        expect(size(state.data['hyperV'])).toBeLessThan(STATE_LIMIT)
        const other = new HyperVMachine()
        other.partition.clock.stop()
        other.partition.restore(state)
        const again = other.partition.save()
        // The reference page is made valid anew, with another sequence.
        const normal = (saved: typeof state) =>
          JSON.stringify(saved.data, (key, value) =>
            key === 'sequence' ? 0 : typeof value === 'bigint' ? `${value}n` : value,
          )
        expect(normal(again)).toBe(normal(state))
        expect(other.partition.hypercalls.enabled).toBe(machine.partition.hypercalls.enabled)
      }),
      { numRuns: 150 },
    )
  })

  it('do not stop the partition from being reset to where it began', () => {
    const state = JSON.stringify(new HyperVMachine().save().data, (_, value) =>
      typeof value === 'bigint' ? `${value}n` : value,
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const machine = lively()
        for (const action of steps) perform(machine, action)
        machine.partition.clock.stop()
        machine.partition.reset()
        machine.partition.clock.set(1e6)
        expect(
          JSON.stringify(machine.partition.save().data, (key, value) =>
            key === 'sequence' ? 0 : typeof value === 'bigint' ? `${value}n` : value,
          ),
        ).toBe(state)
        for (const { localApic } of machine.processor.processors)
          expect([localApic.autoEoi.size, localApic.eoiNotify.size]).toEqual([0, 0])
        // Nothing fires any longer.
        for (const { received } of machine.processor.processors) received.length = 0
        machine.partition.clock.start()
        machine.advance(1e12)
        expect(machine.interrupts()).toEqual([])
      }),
      { numRuns: 50 },
    )
  })
})

describe('A saved partition', () => {
  it('goes on: pages, queued messages, timers, AutoEOI, reference page', () => {
    const machine = new HyperVMachine()
    machine.enableHypercalls()
    machine.enableSynic(0, SINT, VECTOR | 0x20000)
    machine.write(HV_MSR.REFERENCE_TSC, 0x50001)
    machine.write(HV_MSR.VP_ASSIST_PAGE, 0x60001)
    machine.partition.memory.writeU32(0x60004, 77)
    for (const type of [1, 2, 3]) machine.synic.postMessage(0, SINT, type, Uint8Array.of(type))
    machine.synic.signalEvent(0, SINT, 33)
    machine.write(HV_MSR.STIMER0_CONFIG, 0x100bn | (0x70n << 4n))
    machine.write(HV_MSR.STIMER0_COUNT, 10_000n)
    machine.advance(300_000)
    const state = machine.save()

    const other = new HyperVMachine()
    other.vp().timeStampCounter = machine.vp().timeStampCounter
    other.partition.clock.stop()
    other.partition.restore(state)
    other.partition.clock.start()
    const { memory } = other.partition
    expect(memory.readU32(PAGES.HYPERCALL)).toBe(0xc3c1010f)
    expect(memory.readU32(0x60004)).toBe(77)
    expect(memory.readU32(PAGES.SIEFP + SINT * 256 + 4)).toBe(2)
    expect([...other.vp().localApic.autoEoi]).toEqual([VECTOR])
    expect([...other.vp().localApic.eoiNotify]).toEqual([VECTOR])
    expect(memory.readU32(0x50000)).toBe(2)
    const types = [1, 2, 3].map(() => {
      const { type } = other.message()
      other.emptySlot()
      other.write(HV_MSR.EOM, 0)
      return type
    })
    expect(types).toEqual([1, 2, 3])
    other.interrupts()
    other.advance(699_999)
    expect(other.interrupts()).toEqual([])
    other.advance(1)
    expect(other.interrupts()).toEqual([0x70])
    const scaled =
      ((other.vp().timeStampCounter * (memory.readU64(0x50008) as bigint)) >> 64n) + (memory.readU64(0x50010) as bigint)
    expect(
      Math.abs(Number(BigInt.asUintN(64, scaled) - (other.read(HV_MSR.TIME_REF_COUNT) as bigint))),
    ).toBeLessThanOrEqual(1)
  })

  it('is refused by a partition without the interface, and the other way round', () => {
    const plain = new HyperVMachine({ hypervisor: 'none' })
    const machine = new HyperVMachine()
    const [plainState, state] = [plain.save(), machine.save()]
    const invalid = expect.objectContaining({ code: 'ERR_STATE_INVALID' })
    plain.partition.clock.stop()
    expect(() => plain.partition.restore(state)).toThrow(invalid)
    expect(() => machine.partition.restore(plainState)).toThrow(invalid)
  })

  it('is refused when something in it is not what it must be', () => {
    const machine = lively()
    machine.synic.postMessage(0, SINT, 1, new Uint8Array(4))
    machine.synic.postMessage(0, SINT, 1, new Uint8Array(4))
    const state = machine.save()
    type Mutable = { [key: string]: Mutable } & Mutable[]
    const paths: (readonly [readonly (string | number)[], unknown])[] = [
      [['guestOsId'], 1],
      [['guestOsId'], -1n],
      [['hypercall'], 1n << 64n],
      [['invariantTsc'], 0],
      [['referenceTime'], null],
      [['referenceTime', 'sequence'], -1],
      [['crash'], [1n]],
      [['processors'], []],
      [['processors', 0, 'assistPage'], new Uint8Array(8)],
      [['processors', 0, 'timers', 0, 'config'], 1n << 63n],
      [['processors', 0, 'timers', 0, 'due'], Number.NaN],
      [['processors', 0, 'synic', 'sints'], []],
      [['processors', 0, 'synic', 'messages'], 'x'],
      [['processors', 0, 'synic', 'starved'], 1 << 16],
      [['processors', 0, 'synic', 'queues', SINT, 0, 'type'], 0],
      [['processors', 0, 'synic', 'queues', SINT, 0, 'timer'], 4],
      [['processors', 0, 'synic', 'queues', SINT, 0, 'payload'], new Uint8Array(241)],
      [['processors', 0, 'synic', 'queues', SINT], Array(40).fill({ type: 1, timer: -1, payload: new Uint8Array(0) })],
    ]
    for (const [path, value] of paths) {
      const broken = structuredClone(state)
      let at = (broken.data as unknown as { hyperV: Mutable }).hyperV
      for (const key of path.slice(0, -1)) at = at[key as number] as Mutable
      ;(at as unknown as Record<string | number, unknown>)[path.at(-1) as string] = value
      const fresh = new HyperVMachine()
      fresh.partition.clock.stop()
      expect(() => fresh.partition.restore(broken), path.join('.')).toThrow(
        expect.objectContaining({ code: 'ERR_STATE_INVALID' }),
      )
    }
  })
})

describe('Overlay pages', () => {
  it('are as many as the processors need, and a processor that cannot give them says so', () => {
    const processor = new FakeProcessor()
    const partition = new Partition({ processor, ramSize: 2 ** 20, virtualProcessors: 4, hypervisor: 'hyper-v' })
    expect(processor.memory?.overlays).toBe(2 + 4 * 3)
    expect(partition.memory.ranges().map(({ gpa }) => gpa)).toEqual([0, 0xc0000])
    expect(
      () =>
        new Partition({
          processor: new FakeProcessor(),
          ramSize: 2 ** 20,
          virtualProcessors: 64,
          hypervisor: 'hyper-v',
        }),
    ).toThrow('no overlay page is left')
  })
})
