// What a guest may do to a device, as data that a property test can make up and shrink: accesses to its ports, its MMIO and its PCI functions, and time that passes.

import type { AccessSize, PluginInstance } from '@partita/interface'
import fc from 'fast-check'
import type { FakeMachine } from '../fake-machine.ts'

/**
 * One thing that happens to a device: an access of `size` bytes, where `where` (any number) picks one of the places that it has claimed at the time, and a write stores `value`;
 * `nanoseconds` pass, and timers fire; somebody types `text` at its character back end; or the partition stops and starts again.
 */
export type DeviceAccess =
  | { readonly type: 'read'; readonly where: number; readonly size: AccessSize }
  | { readonly type: 'write'; readonly where: number; readonly size: AccessSize; readonly value: number }
  | { readonly type: 'advance'; readonly nanoseconds: number }
  | { readonly type: 'input'; readonly text: string }
  /** What the device had under way is complete. */
  | { readonly type: 'pause' }

const size: fc.Arbitrary<AccessSize> = fc.constantFrom(1, 1, 1, 2, 4)
const where: fc.Arbitrary<number> = fc.nat(0xffff)
/** Small values and single bits hit more than evenly spread ones. */
const value: fc.Arbitrary<number> = fc.oneof(
  fc.nat(0xff),
  fc.nat(0xff),
  fc.nat(31).map((bit) => (1 << bit) >>> 0),
  fc.integer({ min: 0, max: 0xffff_ffff }),
)

/** Sequences of accesses. */
export function deviceAccesses(maxLength = 60): fc.Arbitrary<DeviceAccess[]> {
  const read = fc.record({ type: fc.constant('read' as const), where, size })
  const write = fc.record({ type: fc.constant('write' as const), where, size, value })
  const advance = fc.record({
    type: fc.constant('advance' as const),
    nanoseconds: fc.oneof(fc.nat(100_000), fc.nat(50_000_000), fc.nat(2_000_000_000)),
  })
  const input = fc.record({ type: fc.constant('input' as const), text: fc.string({ maxLength: 40 }) })
  const pause = fc.constant({ type: 'pause' as const })
  return fc.array(
    fc.oneof(
      { weight: 10, arbitrary: write },
      { weight: 8, arbitrary: read },
      { weight: 2, arbitrary: advance },
      { weight: 1, arbitrary: input },
      { weight: 2, arbitrary: pause },
    ),
    // Without this, lists are much shorter than they may be.
    { maxLength, size: 'max' },
  )
}

interface Place {
  read(size: AccessSize): number
  write(size: AccessSize, value: number): void
}

/**
 * A place that a device answers at. Each claim is as likely as any other: a few ports are not lost beside a page. Of MMIO these are double words, most of them at
 * the start of a claim, where most registers are; of PCI functions, registers.
 */
function place(machine: FakeMachine, index: number): Place | undefined {
  const { ports, mmio, pci } = machine
  const portClaims = ports.claims
  const mmioClaims = mmio.claims
  const slots = pci.slots
  const total = portClaims.length + mmioClaims.length + slots.length
  if (total === 0) return undefined
  const claim = index % total
  const rest = Math.floor(index / total)
  const range = portClaims[claim]
  if (range !== undefined) {
    const port = range.base + (rest % range.length)
    return { read: (size) => ports.read(port, size), write: (size, value) => ports.write(port, value, size) }
  }
  const page = mmioClaims[claim - portClaims.length]
  if (page !== undefined) {
    const gpa = page.base + (rest % 64) * 4
    return { read: (size) => mmio.read(gpa, size), write: (size, value) => mmio.write(gpa, value, size) }
  }
  const slot = slots[claim - portClaims.length - mmioClaims.length]
  if (slot === undefined) return undefined
  const offset = (rest % 64) * 4
  return {
    read: () => pci.read(slot.device, slot.fn, offset),
    write: (_size, value) => pci.write(slot.device, slot.fn, offset, value),
  }
}

/** Let `access` happen; returns what was read. Throws when the device throws or answers out of range. */
export async function performAccess(
  machine: FakeMachine,
  instance: PluginInstance,
  access: DeviceAccess,
): Promise<number | undefined> {
  switch (access.type) {
    case 'read':
      return place(machine, access.where)?.read(access.size)
    case 'write':
      place(machine, access.where)?.write(access.size, access.value)
      return undefined
    case 'advance':
      machine.clock.advance(access.nanoseconds)
      return undefined
    case 'input':
      machine.console.type(access.text)
      return undefined
    case 'pause':
      await instance.stop?.()
      await instance.start?.()
      return undefined
  }
}
