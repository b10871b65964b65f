// Checks of interrupt lines: asserted when there is something to say, until it is heard, over pauses and saves, and not a moment longer.

import fc from 'fast-check'
import { type ComplianceCheck, expectEqual, fail, plainCheck } from './check.ts'
import { deviceAccesses, performAccess } from './device-access.ts'
import type { DeviceBench, InterruptScenario, StartedDevice } from './emulated-device-subject.ts'
import { saveOf } from './plain-data.ts'

function expectLine({ machine }: StartedDevice, { gsi, name }: InterruptScenario, level: boolean, when: string): void {
  if (machine.lines.level(gsi) !== level) fail(`${name}: line ${gsi} is ${level ? 'not asserted' : 'asserted'} ${when}`)
}

export function interruptChecks(bench: DeviceBench): ComplianceCheck[] {
  const scenarios = bench.subject.interrupts ?? []
  const held = bench.property('holds its interrupt lines over pauses and saves, without an edge', bench.runs / 2, () =>
    fc.asyncProperty(deviceAccesses(), async (accesses) => {
      await using device = await bench.start()
      const { lines } = device.machine
      for (const access of accesses) await performAccess(device.machine, device.instance, access)
      const early = lines.asserted
      await bench.pause(device)
      // What was under way may have been completed, and asserted a line; none goes by itself.
      const before = lines.asserted
      for (const gsi of early) if (!before.includes(gsi)) fail(`line ${gsi} is not asserted any more after a pause`)
      const edges = before.map((gsi) => lines.edges(gsi))
      saveOf(device.instance)
      await bench.pause(device)
      expectEqual(lines.asserted, before, 'interrupt lines after a pause')
      expectEqual(
        before.map((gsi) => lines.edges(gsi)),
        edges,
        'edges of interrupt lines after a pause',
      )
    }),
  )
  if (scenarios.length === 0) return [held]
  return [
    held,
    plainCheck('asserts its interrupt line when it has something to say, until a guest has dealt with it', async () => {
      for (const scenario of scenarios) {
        await using device = await bench.start()
        const { lines, clock } = device.machine
        expectLine(device, scenario, false, 'at power-on')
        for (let round = 1; round <= 3; round++) {
          await scenario.raise(device.machine)
          await bench.pause(device)
          expectLine(device, scenario, true, `after it was raised (round ${round})`)
          const edges = lines.edges(scenario.gsi)
          clock.advance(1e6)
          await bench.pause(device)
          expectLine(device, scenario, true, 'a millisecond later')
          expectEqual(lines.edges(scenario.gsi), edges, `${scenario.name}: edges after a millisecond`)
          await scenario.acknowledge(device.machine)
          await bench.pause(device)
          expectLine(device, scenario, false, 'after it was acknowledged')
        }
      }
    }),
    ...(scenarios.some(({ cause }) => cause !== undefined)
      ? [
          plainCheck('asserts its interrupt line only when a guest has asked for it', async () => {
            for (const scenario of scenarios) {
              await using device = await bench.start()
              await scenario.cause?.(device.machine)
              await bench.pause(device)
              expectLine(device, scenario, false, 'though no guest has asked for its interrupts')
            }
          }),
        ]
      : []),
    plainCheck(
      'carries an asserted interrupt line over a save, once, and drops it at a reset and with itself',
      async () => {
        for (const scenario of scenarios) {
          await using device = await bench.start()
          const { machine } = device
          await scenario.raise(machine)
          await bench.pause(device)
          const copy = await bench.copy(device, saveOf(device.instance))
          expectLine(copy, scenario, true, 'after restore')
          expectEqual(copy.machine.lines.edges(scenario.gsi), 1, `${scenario.name}: edges after restore`)
          await scenario.acknowledge(copy.machine)
          await bench.pause(copy)
          expectLine(copy, scenario, false, 'after restore, when it was acknowledged')
          expectLine(device, scenario, true, 'in the original, when the copy was acknowledged')
          device.instance.reset?.()
          expectLine(device, scenario, false, 'after a reset')
          await scenario.raise(copy.machine)
          await bench.pause(copy)
          await copy[Symbol.asyncDispose]()
          expectLine(copy, scenario, false, 'when the device is gone')
        }
      },
    ),
  ]
}
