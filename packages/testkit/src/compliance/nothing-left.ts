// What a plug-in may not leave behind.

import type { FakeMachine } from '../fake-machine.ts'
import { expectEqual } from './check.ts'

/** @throws ComplianceError when something of a plug-in that was disposed of is still in the machine */
export function expectNothingLeft(machine: FakeMachine): void {
  expectEqual(machine.ports.claims, [], 'ports that are left')
  expectEqual(machine.mmio.claims, [], 'MMIO that is left')
  expectEqual(machine.lines.asserted, [], 'interrupt lines that are left')
  expectEqual(machine.messages.listeners, 0, 'listeners to EOIs that are left')
  expectEqual(machine.pci.slots, [], 'PCI functions that are left')
  expectEqual(machine.clock.armedTimers, 0, 'armed timers that are left')
  expectEqual(machine.console.onReady, undefined, "the back end's callback")
}
