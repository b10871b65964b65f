import { emulatedDeviceCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import serial from '../src/index.ts'

emulatedDeviceCompliance({
  plugin: serial,
  manifest: packageJson.partita,
  options: [{}, { base: 0x2f8, irq: 3, backend: 'nothing', inputRate: 0 }],
  invalidOptions: [{ base: 0x3f9 }, { irq: 24 }, { backend: '' }, { inputRate: -1 }],
  interrupts: [
    {
      name: 'transmitter empty',
      gsi: 4,
      raise: ({ ports }) => {
        ports.write(0x3fc, 0x08)
        ports.write(0x3f9, 0x02)
      },
      acknowledge: ({ ports }) => ports.write(0x3f9, 0),
    },
    {
      name: 'data received',
      gsi: 4,
      raise: ({ ports, console, clock }) => {
        ports.write(0x3fc, 0x08)
        ports.write(0x3f9, 0x01)
        console.type('x')
        clock.advance(10e6)
      },
      acknowledge: ({ ports }) => void ports.read(0x3f8),
    },
  ],
})
