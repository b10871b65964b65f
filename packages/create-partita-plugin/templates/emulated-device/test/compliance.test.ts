// What every emulated device has to do: accesses of all sizes, reset, save and restore, the interrupt line, disposal.

import { emulatedDeviceCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import plugin from '../src/index.ts'

const BASE = 0x540

emulatedDeviceCompliance({
  plugin,
  manifest: packageJson.partita,
  options: [{}, { base: 0x580, irq: 5 }],
  invalidOptions: [{ base: -8 }, { base: 0x541 }, { irq: 24 }],
  interrupts: [
    {
      name: 'period over',
      gsi: 10,
      raise: (machine) => {
        machine.ports.write(BASE, 1000, 4)
        machine.clock.advance(1_000_000)
      },
      acknowledge: (machine) => machine.ports.write(BASE + 4, 1, 4),
    },
  ],
})
