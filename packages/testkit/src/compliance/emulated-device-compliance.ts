// The compliance suite that every emulated device runs, built in or a stranger's: what the root partition, a guest and a saved state may expect of a plug-in of
// kind `emulated-device`.

import { PartitaError, type SavedState } from '@partita/interface'
import fc from 'fast-check'
import type { FakeMachine } from '../fake-machine.ts'
import { type ComplianceCheck, expectEqual, fail, inspect, plainCheck } from './check.ts'
import { deviceAccesses, performAccess } from './device-access.ts'
import { DeviceBench, type EmulatedDeviceSubject } from './emulated-device-subject.ts'
import { interruptChecks } from './interrupt-checks.ts'
import { expectNothingLeft } from './nothing-left.ts'
import { measure, mutations, restoreOrRefuse, saveOf } from './plain-data.ts'
import { pluginChecks } from './plugin-checks.ts'

/** Values that registers are swept with. */
const SWEEP = [0xffff_ffff, 0, 0x5555_5555, 0x8000_0001]
/** Bytes of a claim that are swept; a page of MMIO has most of its registers at its start. */
const SWEPT_BYTES = 64

/** Read and write at every place and alignment of what is claimed, also across its ends, in every size. */
function sweep(machine: FakeMachine): void {
  for (const [bus, claims] of [
    [machine.ports, machine.ports.claims],
    [machine.mmio, machine.mmio.claims],
  ] as const)
    for (const { base, length } of claims)
      for (const from of length <= 2 * SWEPT_BYTES ? [0] : [0, length - SWEPT_BYTES])
        for (let at = from - 3; at < Math.min(length, from + SWEPT_BYTES + 3); at++)
          for (const size of [1, 2, 4] as const) {
            if (base + at < 0) continue
            bus.read(base + at, size)
            for (const value of SWEEP) bus.write(base + at, size === 4 ? value : value & (2 ** (8 * size) - 1), size)
            bus.read(base + at, size)
          }
  for (const { device, fn } of machine.pci.slots)
    for (let register = 0; register < 256; register += 4)
      for (const mask of [0xffff_ffff, 0xffff, 0xff00_0000, 0xff]) {
        const value = machine.pci.read(device, fn, register)
        if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) fail(`register ${register} reads as ${value}`)
        machine.pci.write(device, fn, register, 0xffff_ffff, mask)
        machine.pci.write(device, fn, register, value, mask)
      }
}

/** What an access has begun at something that answers at once, but by promises, is over in two machines alike. */
async function atRest(): Promise<void> {
  for (let turn = 0; turn < 32; turn++) await Promise.resolve()
}

function stateChecks(bench: DeviceBench): ComplianceCheck[] {
  const { subject, runs } = bench
  return [
    bench.property('does not grow, and does not arm timers without bound', runs / 4, () =>
      fc.asyncProperty(deviceAccesses(200), async (accesses) => {
        await using device = await bench.start()
        await bench.perform(device, accesses)
        const size = measure(saveOf(device.instance).data)
        if (size > (subject.maximumState ?? 4096)) fail(`its state has ${size} bytes`)
        if (device.machine.clock.armedTimers > 16) fail(`${device.machine.clock.armedTimers} timers are armed`)
      }),
    ),
    bench.property('saves plain data, the same twice, and saving changes nothing', runs, () =>
      fc.asyncProperty(deviceAccesses(), async (accesses) => {
        await using device = await bench.start()
        await bench.perform(device, accesses)
        saveOf(device.instance)
      }),
    ),
    bench.property('goes on after restore as the original does', runs, () =>
      fc.asyncProperty(deviceAccesses(), deviceAccesses(30), async (before, after) => {
        await using original = await bench.start()
        await bench.perform(original, before)
        const state = saveOf(original.instance)
        await using copy = await bench.copy(original, state)
        expectEqual(saveOf(copy.instance), state, 'state after restore')
        const lines = (machine: FakeMachine): readonly number[] => machine.lines.asserted.toSorted((a, b) => a - b)
        expectEqual(lines(copy.machine), lines(original.machine), 'interrupt lines after restore')
        for (const access of after) {
          const expected = await performAccess(original.machine, original.instance, access)
          const actual = await performAccess(copy.machine, copy.instance, access)
          await atRest()
          expectEqual(actual, expected, inspect(access))
          expectEqual(lines(copy.machine), lines(original.machine), `interrupt lines after ${inspect(access)}`)
        }
      }),
    ),
    bench.property('restores into a device that was used before', runs, () =>
      fc.asyncProperty(deviceAccesses(), async (accesses) => {
        await using device = await bench.start()
        const state = saveOf(device.instance)
        await bench.perform(device, accesses)
        device.instance.restore?.(state)
        expectEqual(saveOf(device.instance), state, 'state after restore')
      }),
    ),
    plainCheck(
      'refuses a state that is not its own with ERR_STATE_INVALID, unchanged, and survives any other',
      async () => {
        await using used = await bench.start()
        await bench.perform(used, fc.sample(deviceAccesses(100), { numRuns: 1, seed: 1 })[0] ?? [])
        const good = saveOf(used.instance)
        const wrong: SavedState[] = [
          { version: good.version + 1, data: good.data },
          { version: -1, data: {} },
        ]
        for (const data of mutations(good.data)) wrong.push({ version: good.version, data: data as SavedState['data'] })
        for (const [index, state] of wrong.entries()) {
          await using device = await bench.start(used.machine)
          if (!restoreOrRefuse(device.instance, state)) continue
          if (index < 2) fail(`version ${state.version} is taken`)
          await bench.perform(device, fc.sample(deviceAccesses(40), { numRuns: 1, seed: index })[0] ?? [])
        }
      },
    ),
  ]
}

function lifeChecks(bench: DeviceBench): ComplianceCheck[] {
  const { subject, runs } = bench
  const { plugin } = subject
  const keeps = new Set(subject.keepsOverReset ?? [])
  const comparable = ({ version, data }: SavedState): SavedState => ({
    version,
    data: Object.fromEntries(Object.entries(data).filter(([key]) => !keeps.has(key))),
  })
  return [
    bench.property('is at a reset as at power-on, and lets go of its interrupt lines', runs, () =>
      fc.asyncProperty(deviceAccesses(), async (accesses) => {
        await using device = await bench.start()
        await bench.perform(device, accesses)
        device.instance.reset?.()
        expectEqual(device.machine.lines.asserted, [], 'interrupt lines after reset')
        await using fresh = await bench.start(device.machine)
        const state = saveOf(device.instance)
        expectEqual(
          comparable(state),
          comparable(saveOf(fresh.instance)),
          'state after a reset, and not that at power-on',
        )
        device.instance.reset?.()
        expectEqual(saveOf(device.instance), state, 'state after a second reset')
      }),
    ),
    bench.property('gives everything back when it is disposed of, and can be started again', runs / 4, () =>
      fc.asyncProperty(deviceAccesses(), async (accesses) => {
        const { machine, instance } = await bench.start()
        const claims = machine.ports.claims
        for (const access of accesses) await performAccess(machine, instance, access)
        await instance[Symbol.asyncDispose]()
        await instance[Symbol.asyncDispose]()
        expectNothingLeft(machine)
        await machine.start(plugin, subject.options?.[0] ?? {})
        expectEqual(machine.ports.claims, claims, 'ports of the second start')
        await machine[Symbol.asyncDispose]()
      }),
    ),
    plainCheck('leaves nothing behind when one of its addresses is taken', async () => {
      await using normal = await bench.start()
      const nothing = { read: () => 0, write: () => {} }
      const { ports, mmio } = normal.machine
      const attempts = [
        ...ports.claims.map(
          (claim) => (machine: FakeMachine) => machine.ports.claim(claim.base, claim.length, nothing),
        ),
        ...mmio.claims.map((claim) => (machine: FakeMachine) => machine.mmio.claim(claim.base, claim.length, nothing)),
      ]
      for (const occupy of attempts) {
        const machine = await bench.machine()
        const occupied = occupy(machine)
        const error = await machine.start(plugin, subject.options?.[0] ?? {}).then(
          () => fail('it started all the same'),
          (reason: unknown) => reason,
        )
        if (!(error instanceof PartitaError && /^ERR_(PORT|MMIO)_CONFLICT$/.test(error.code))) throw error
        occupied[Symbol.dispose]()
        expectNothingLeft(machine)
      }
    }),
  ]
}

/**
 * The checks of an emulated device, for any test runner. `emulatedDeviceCompliance` of `@partita/testkit/vitest` makes tests of them.
 *
 * @example
 * ```ts
 * for (const check of emulatedDeviceChecks({ plugin: serial, manifest: packageJson.partita })) test(check.name, check.run)
 * ```
 */
export function emulatedDeviceChecks(subject: EmulatedDeviceSubject): readonly ComplianceCheck[] {
  const bench = new DeviceBench(subject)
  return [
    ...pluginChecks(subject, 'emulated-device', () => bench.machine()),
    plainCheck('is the same at each power-on, and asserts no interrupt line then', async () => {
      await using first = await bench.start()
      await using second = await bench.start()
      expectEqual(first.machine.lines.asserted, [], 'interrupt lines at power-on')
      expectEqual(saveOf(second.instance), saveOf(first.instance), 'state of the second one')
    }),
    plainCheck('answers accesses of every size at every alignment, also across the ends of its registers', async () => {
      for (const options of subject.options ?? [{}]) {
        await using device = await bench.start(undefined, options)
        for (let round = 0; round < 2; round++) {
          sweep(device.machine)
          await bench.pause(device)
        }
      }
    }),
    bench.property('answers every access within its width, whatever a guest does, and never throws', bench.runs, () =>
      fc.asyncProperty(deviceAccesses(), async (accesses) => {
        await using device = await bench.start()
        await bench.perform(device, accesses)
      }),
    ),
    ...stateChecks(bench),
    ...lifeChecks(bench),
    ...interruptChecks(bench),
  ]
}
