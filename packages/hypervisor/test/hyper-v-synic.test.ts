// TLFS, "Inter-Partition Communication": messages, event flags and interrupt sources.

import { describe, expect, it } from 'vitest'
import { HV_MSR, HV_STATUS } from '../src/index.ts'
import { bytes, HyperVMachine, PAGES, SINT, VECTOR } from './hyper-v-machine.ts'

const MASKED = 0x10000
const AUTO_EOI = 0x20000
const POLLING = 0x40000

function enabled(vector: number | bigint = VECTOR): HyperVMachine {
  const machine = new HyperVMachine()
  machine.enableHypercalls()
  machine.enableSynic(0, SINT, vector)
  return machine
}

describe('SynIC registers', () => {
  it('have the values of power-on', () => {
    const machine = new HyperVMachine()
    expect(machine.read(HV_MSR.SCONTROL)).toBe(0n)
    expect(machine.read(HV_MSR.SVERSION)).toBe(1n)
    expect(machine.read(HV_MSR.SIEFP)).toBe(0n)
    expect(machine.read(HV_MSR.SIMP)).toBe(0n)
    expect(machine.read(HV_MSR.EOM)).toBe(0n)
    for (let sint = 0; sint < 16; sint++) expect(machine.read(HV_MSR.SINT0 + sint)).toBe(0x10000n)
    expect(machine.write(HV_MSR.SVERSION, 1)).toBe(false)
  })

  it('are a processor’s own, and keep reserved bits', () => {
    const machine = enabled()
    expect(machine.read(HV_MSR.SIMP)).toBe(BigInt(PAGES.SIMP + 1))
    expect(machine.read(HV_MSR.SIMP, 1)).toBe(0n)
    expect(machine.write(HV_MSR.SCONTROL, 0xff0n, 1)).toBe(true)
    expect(machine.read(HV_MSR.SCONTROL, 1)).toBe(0xff0n)
    expect(machine.read(HV_MSR.SCONTROL, 0)).toBe(1n)
  })

  it('take vectors from 16 where the source is not masked', () => {
    const machine = new HyperVMachine()
    for (const vector of [0, 1, 15]) {
      expect(machine.write(HV_MSR.SINT0 + 3, vector)).toBe(false)
      expect(machine.write(HV_MSR.SINT0 + 3, vector | MASKED)).toBe(true)
    }
    expect(machine.write(HV_MSR.SINT0 + 3, 16)).toBe(true)
    expect(machine.write(HV_MSR.SINT0 + 3, 255)).toBe(true)
  })

  it('ask the local APIC for AutoEOI, for the vectors of unmasked sources alone', () => {
    const machine = new HyperVMachine()
    const { autoEoi } = machine.vp().localApic
    machine.write(HV_MSR.SINT0 + 2, 0x50 | AUTO_EOI)
    expect([...autoEoi]).toEqual([0x50])
    machine.write(HV_MSR.SINT0 + 3, 0x50)
    expect([...autoEoi]).toEqual([0x50])
    machine.write(HV_MSR.SINT0 + 2, 0x51 | AUTO_EOI)
    expect([...autoEoi]).toEqual([0x51])
    machine.write(HV_MSR.SINT0 + 2, 0x51 | AUTO_EOI | MASKED)
    expect([...autoEoi]).toEqual([])
    machine.write(HV_MSR.SINT0 + 2, 0x52 | AUTO_EOI)
    machine.partition.reset()
    expect([...autoEoi]).toEqual([])
  })

  it('show their pages as overlays that keep their contents, and clear them at a reset', () => {
    const machine = enabled()
    const { memory } = machine.partition
    expect(memory.writeU32(PAGES.SIMP + 0xff0, 7)).toBe(true)
    machine.write(HV_MSR.SIMP, 0)
    expect(memory.readU32(PAGES.SIMP + 0xff0)).toBe(0)
    machine.write(HV_MSR.SIMP, 0x44001)
    expect(memory.readU32(0x44ff0)).toBe(7)
    machine.partition.reset()
    machine.write(HV_MSR.SIMP, 0x44001)
    expect(memory.readU32(0x44ff0)).toBe(0)
  })
})

describe('Messages to the guest', () => {
  it('go into an empty slot, with an interrupt', () => {
    const machine = enabled()
    expect(machine.synic.postMessage(0, SINT, 1, Uint8Array.of(1, 2, 3))).toBe(true)
    expect(machine.message()).toEqual({ type: 1, pending: false, payload: Uint8Array.of(1, 2, 3) })
    expect(machine.partition.memory.readU64(PAGES.SIMP + SINT * 256 + 8)).toBe(0n)
    expect(machine.interrupts()).toEqual([VECTOR])
    expect(machine.interrupts(1)).toEqual([])
  })

  it('wait in order behind a full slot, which says so, until the guest writes EOM', () => {
    const machine = enabled()
    for (const type of [1, 2, 3]) expect(machine.synic.postMessage(0, SINT, type, Uint8Array.of(type))).toBe(true)
    expect(machine.message()).toEqual({ type: 1, pending: true, payload: Uint8Array.of(1) })
    expect(machine.interrupts()).toEqual([VECTOR])
    // Without an empty slot EOM does nothing.
    machine.write(HV_MSR.EOM, 0)
    expect(machine.message().type).toBe(1)
    machine.emptySlot()
    machine.write(HV_MSR.EOM, 0)
    expect(machine.message()).toEqual({ type: 2, pending: true, payload: Uint8Array.of(2) })
    machine.emptySlot()
    machine.write(HV_MSR.EOM, 0)
    expect(machine.message()).toEqual({ type: 3, pending: false, payload: Uint8Array.of(3) })
    expect(machine.interrupts()).toEqual([VECTOR, VECTOR])
    machine.emptySlot()
    machine.write(HV_MSR.EOM, 0)
    expect(machine.message().type).toBe(0)
  })

  it('are delivered at the EOI of their vector, too, which the local APIC reports while one waits', () => {
    const machine = enabled()
    const { eoiNotify } = machine.vp().localApic
    machine.synic.postMessage(0, SINT, 1, new Uint8Array(0))
    expect([...eoiNotify]).toEqual([])
    machine.synic.postMessage(0, SINT, 2, new Uint8Array(0))
    expect([...eoiNotify]).toEqual([VECTOR])
    machine.emptySlot()
    machine.vp().intercepts.endOfInterrupt(0, VECTOR + 1, false)
    expect(machine.message().type).toBe(0)
    machine.vp().intercepts.endOfInterrupt(0, VECTOR, false)
    expect(machine.message().type).toBe(2)
    expect([...eoiNotify]).toEqual([])
  })

  it('are delivered when another is queued after the guest emptied the slot', () => {
    const machine = enabled()
    for (const type of [1, 2]) machine.synic.postMessage(0, SINT, type, new Uint8Array(0))
    machine.emptySlot()
    machine.synic.postMessage(0, SINT, 3, new Uint8Array(0))
    expect(machine.message()).toEqual({ type: 2, pending: true, payload: new Uint8Array(0) })
  })

  it('are refused when sixteen wait; room is announced once, and only to who was refused', () => {
    const machine = enabled()
    const free: number[][] = []
    using _subscription = machine.synic.onMessageSlotFree((vpIndex, sint) => free.push([vpIndex, sint]))
    const posted = Array.from({ length: 40 }, (_, index) =>
      machine.synic.postMessage(0, SINT, index + 1, new Uint8Array(240)),
    )
    // One in the slot, sixteen behind it.
    expect(posted.filter(Boolean).length).toBe(17)
    expect(posted.indexOf(false)).toBe(17)
    expect(free).toEqual([])
    for (let type = 2; type <= 17; type++) {
      machine.emptySlot()
      machine.write(HV_MSR.EOM, 0)
      expect(machine.message().type).toBe(type)
    }
    expect(free).toEqual([[0, SINT]])
  })

  it('can be posted anew from the announcement of room', () => {
    const machine = enabled()
    let refused = 0
    machine.synic.onMessageSlotFree(() => {
      if (!machine.synic.postMessage(0, SINT, 99, new Uint8Array(0))) refused++
    })
    for (let index = 0; index < 18; index++) machine.synic.postMessage(0, SINT, 1, new Uint8Array(0))
    machine.emptySlot()
    machine.write(HV_MSR.EOM, 0)
    expect(refused).toBe(0)
    const types: number[] = []
    for (let index = 0; index < 18; index++) {
      types.push(machine.message().type)
      machine.emptySlot()
      machine.write(HV_MSR.EOM, 0)
    }
    expect(types).toEqual([...Array(16).fill(1), 99, 0])
  })

  it('come without an interrupt where the source is masked or polls', () => {
    for (const flag of [MASKED, POLLING]) {
      const machine = enabled(VECTOR | flag)
      expect(machine.synic.postMessage(0, SINT, 1, new Uint8Array(0))).toBe(true)
      expect(machine.message().type).toBe(1)
      expect(machine.interrupts()).toEqual([])
    }
  })

  it('are refused while the SynIC or its page is disabled, and announced when it is enabled', () => {
    const machine = new HyperVMachine()
    const free: number[] = []
    machine.synic.onMessageSlotFree((_vpIndex, sint) => free.push(sint))
    expect(machine.synic.postMessage(0, SINT, 1, new Uint8Array(0))).toBe(false)
    machine.write(HV_MSR.SIMP, PAGES.SIMP | 1)
    expect(machine.synic.postMessage(0, SINT, 1, new Uint8Array(0))).toBe(false)
    expect(free).toEqual([])
    machine.write(HV_MSR.SCONTROL, 1)
    expect(free).toEqual([SINT])
    machine.write(HV_MSR.SIMP, PAGES.SIMP)
    expect(machine.synic.postMessage(0, SINT, 1, new Uint8Array(0))).toBe(false)
  })

  it('that wait stay while the page is disabled, and are gone after a reset', () => {
    const machine = enabled()
    for (const type of [1, 2]) machine.synic.postMessage(0, SINT, type, new Uint8Array(0))
    machine.write(HV_MSR.SCONTROL, 0)
    machine.emptySlot()
    machine.write(HV_MSR.EOM, 0)
    expect(machine.message().type).toBe(0)
    machine.write(HV_MSR.SCONTROL, 1)
    expect(machine.message().type).toBe(2)
    machine.synic.postMessage(0, SINT, 3, new Uint8Array(0))
    machine.partition.reset()
    machine.enableSynic()
    machine.write(HV_MSR.EOM, 0)
    expect(machine.message().type).toBe(0)
    expect(machine.vp().localApic.eoiNotify.size).toBe(0)
  })

  it('of impossible numbers are refused', () => {
    const machine = enabled()
    expect(machine.synic.postMessage(2, SINT, 1, new Uint8Array(0))).toBe(false)
    expect(machine.synic.postMessage(0, 16, 1, new Uint8Array(0))).toBe(false)
    expect(machine.synic.postMessage(0, -1, 1, new Uint8Array(0))).toBe(false)
    expect(machine.synic.postMessage(0, 1.5, 1, new Uint8Array(0))).toBe(false)
    expect(machine.synic.postMessage(0, SINT, 0, new Uint8Array(0))).toBe(false)
    expect(machine.synic.postMessage(0, SINT, 1, new Uint8Array(241))).toBe(false)
    expect(machine.interrupts()).toEqual([])
  })
})

describe('Event flags', () => {
  const flagWord = (machine: HyperVMachine, flag: number, sint = SINT): number =>
    machine.partition.memory.readU32(PAGES.SIEFP + sint * 256 + 4 * Math.floor(flag / 32)) as number

  it('interrupt when they go from 0 to 1, and not again before the guest has cleared them', () => {
    const machine = enabled()
    for (const flag of [0, 31, 32, 2047]) {
      expect(machine.synic.signalEvent(0, SINT, flag)).toBe(true)
      expect(flagWord(machine, flag) & (1 << (flag % 32))).not.toBe(0)
      expect(machine.interrupts()).toEqual([VECTOR])
      expect(machine.synic.signalEvent(0, SINT, flag)).toBe(true)
      expect(machine.interrupts()).toEqual([])
    }
    machine.partition.memory.writeU32(PAGES.SIEFP + SINT * 256, 0)
    machine.synic.signalEvent(0, SINT, 0)
    expect(machine.interrupts()).toEqual([VECTOR])
  })

  it('stay away where they are disabled, masked or out of range', () => {
    const machine = enabled()
    for (const [vpIndex, sint, flag] of [
      [0, SINT, 2048],
      [0, SINT, -1],
      [0, SINT, 0.5],
      [0, SINT, Number.NaN],
      [0, 16, 0],
      [0, -1, 0],
      [2, SINT, 0],
      [1, SINT, 0],
      [0, 3, 0],
    ] as const)
      expect(machine.synic.signalEvent(vpIndex, sint, flag)).toBe(false)
    machine.write(HV_MSR.SINT0 + SINT, VECTOR | MASKED)
    expect(machine.synic.signalEvent(0, SINT, 1)).toBe(false)
    expect(flagWord(machine, 1)).toBe(0)
    machine.write(HV_MSR.SINT0 + SINT, VECTOR | MASKED | POLLING)
    expect(machine.synic.signalEvent(0, SINT, 1)).toBe(true)
    expect(flagWord(machine, 1)).toBe(2)
    expect(machine.interrupts()).toEqual([])
    machine.write(HV_MSR.SINT0 + SINT, VECTOR)
    machine.write(HV_MSR.SIEFP, PAGES.SIEFP)
    expect(machine.synic.signalEvent(0, SINT, 2)).toBe(false)
    machine.write(HV_MSR.SIEFP, PAGES.SIEFP | 1)
    machine.write(HV_MSR.SCONTROL, 0)
    expect(machine.synic.signalEvent(0, SINT, 2)).toBe(false)
    expect(machine.interrupts()).toEqual([])
  })
})

describe('HvCallPostMessage', () => {
  const post = (connection: number, type: number, size: number, payload: readonly number[] = []): Uint8Array => {
    const input = new Uint8Array(256)
    input.set(bytes([4, connection], [4, 0], [4, type], [4, size]))
    input.set(payload, 16)
    return input
  }

  it('brings a message to its port, and the port’s status back', () => {
    const machine = enabled()
    const got: unknown[] = []
    let status: number = HV_STATUS.SUCCESS
    using port = machine.synic.createMessagePort(4, (vpIndex, type, payload) => {
      got.push([vpIndex, type, [...payload]])
      return status
    })
    expect(machine.call(0x5c, post(4, 1, 3, [7, 8, 9, 10]), 1)).toBe(0n)
    expect(machine.call(0x5c, post(4, 0x7fffffff, 240), 0)).toBe(0n)
    status = HV_STATUS.INSUFFICIENT_BUFFERS
    expect(machine.call(0x5c, post(4, 2, 0))).toBe(0x13n)
    expect(got).toEqual([
      [1, 1, [7, 8, 9]],
      [0, 0x7fffffff, Array(240).fill(0)],
      [0, 2, []],
    ])
    port[Symbol.dispose]()
    expect(machine.call(0x5c, post(4, 1, 0))).toBe(0x12n)
  })

  it('says what is wrong', () => {
    const machine = enabled()
    let calls = 0
    machine.synic.createMessagePort(4, () => {
      calls++
      return 0
    })
    machine.synic.createEventPort(5, () => {})
    expect(machine.call(0x5c, post(4, 0, 0))).toBe(BigInt(HV_STATUS.INVALID_PARAMETER))
    expect(machine.call(0x5c, post(4, 0x80000001, 0))).toBe(BigInt(HV_STATUS.INVALID_PARAMETER))
    expect(machine.call(0x5c, post(4, 1, 241))).toBe(BigInt(HV_STATUS.INVALID_PARAMETER))
    expect(machine.call(0x5c, post(4, 1, 0xffffffff))).toBe(BigInt(HV_STATUS.INVALID_PARAMETER))
    expect(machine.call(0x5c, post(6, 1, 0))).toBe(BigInt(HV_STATUS.INVALID_CONNECTION_ID))
    expect(machine.call(0x5c, post(0x01000004, 1, 0))).toBe(BigInt(HV_STATUS.INVALID_CONNECTION_ID))
    expect(machine.call(0x5c, post(5, 1, 0))).toBe(BigInt(HV_STATUS.INVALID_PORT_ID))
    // 256 bytes do not fit into registers, nor over a page's end.
    expect(machine.raw(0x1005cn, 0n, 0n)).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT))
    expect(machine.raw(0x5cn, BigInt(PAGES.INPUT + 0xf08), 0n)).toBe(BigInt(HV_STATUS.INVALID_ALIGNMENT))
    expect(calls).toBe(0)
  })

  it('can answer from its port', () => {
    const machine = enabled()
    machine.synic.createMessagePort(1, (vpIndex) => {
      expect(machine.synic.postMessage(vpIndex, SINT, 1, Uint8Array.of(15))).toBe(true)
      return 0
    })
    expect(machine.call(0x5c, post(1, 1, 8))).toBe(0n)
    expect(machine.message().payload).toEqual(Uint8Array.of(15))
  })
})

describe('HvCallSignalEvent', () => {
  it('tells the port of the flag, in the fast form and from memory', () => {
    const machine = enabled()
    const flags: number[] = []
    machine.synic.createEventPort(0x10001, (flag) => flags.push(flag))
    expect(machine.raw(0x1005dn, 0x10001n | (5n << 32n), 0n)).toBe(0n)
    expect(machine.call(0x5d, bytes([4, 0x10001], [2, 2047], [2, 0]))).toBe(0n)
    expect(flags).toEqual([5, 2047])
  })

  it('says what is wrong', () => {
    const machine = enabled()
    machine.synic.createEventPort(7, () => {})
    machine.synic.createMessagePort(8, () => 0)
    expect(machine.raw(0x1005dn, 9n, 0n)).toBe(BigInt(HV_STATUS.INVALID_CONNECTION_ID))
    expect(machine.raw(0x1005dn, 8n, 0n)).toBe(BigInt(HV_STATUS.INVALID_PORT_ID))
    expect(machine.raw(0x1005dn, 7n | (2048n << 32n), 0n)).toBe(BigInt(HV_STATUS.INVALID_PARAMETER))
    expect(machine.raw(0x5dn, BigInt(PAGES.INPUT + 4), 0n)).toBe(BigInt(HV_STATUS.INVALID_ALIGNMENT))
  })

  it('has connection ids of its own, each once', () => {
    const machine = enabled()
    using port = machine.synic.createEventPort(7, () => {})
    const conflict = expect.objectContaining({ code: 'ERR_PORT_CONFLICT' })
    expect(() => machine.synic.createEventPort(7, () => {})).toThrow(conflict)
    expect(() => machine.synic.createMessagePort(7, () => 0)).toThrow(conflict)
    port[Symbol.dispose]()
    machine.synic.createMessagePort(7, () => 0)
  })
})
