import type { EmulatedDeviceSubject } from '@partita/testkit'
import { emulatedDeviceCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import debugExit from '../src/debug-exit.ts'
import interruptLines from '../src/interrupt-lines.ts'
import ioApic from '../src/io-apic.ts'
import pci from '../src/pci.ts'
import pic from '../src/pic.ts'
import pit from '../src/pit.ts'
import powerManagement from '../src/power-management.ts'
import reset from '../src/reset.ts'
import rtc from '../src/rtc.ts'

const subjects: Omit<EmulatedDeviceSubject, 'manifest'>[] = [
  { plugin: interruptLines },
  { plugin: pic },
  {
    plugin: ioApic,
    options: [{}, { id: 15, address: 0xfec1_0000 }],
    invalidOptions: [{ id: 16 }, { address: 0xfec0_0001 }],
  },
  { plugin: pit },
  {
    plugin: rtc,
    options: [{}, { lowRamLimit: 0x8000_0000 }],
    invalidOptions: [{ lowRamLimit: 0 }],
    // Clock and memory are behind a battery.
    keepsOverReset: ['ram', 'index', 'offset', 'frozen', 'seenSecond', 'seenPeriod'],
    interrupts: [
      {
        name: 'update ended',
        gsi: 8,
        raise: ({ ports, clock }) => {
          ports.write(0x70, 0x0b)
          ports.write(0x71, 0x12)
          clock.advance(1.1e9)
        },
        acknowledge: ({ ports }) => {
          ports.write(0x70, 0x0c)
          ports.read(0x71)
        },
      },
    ],
  },
  {
    plugin: powerManagement,
    options: [{}, { base: 0xb000, sci: 10, timerBits: 32 }],
    invalidOptions: [{ timerBits: 16 }, { base: -4 }, { sci: 0 }],
    interrupts: [
      {
        name: 'the timer has overflowed',
        gsi: 9,
        raise: ({ ports, clock }) => {
          ports.write(0xb2, 0xf1) // ACPI mode
          ports.write(0x602, 1, 2)
          clock.advance(2.4e9)
        },
        acknowledge: ({ ports }) => ports.write(0x600, 1, 2),
      },
    ],
  },
  { plugin: reset, options: [{}, { keyboardController: false }], invalidOptions: [{ keyboardController: 1 }] },
  {
    plugin: pci,
    options: [{}, { powerManagementBase: 0xb000 }, { hostBridge: '440FX', firmware: true }],
    invalidOptions: [{ powerManagementBase: 1 }, { hostBridge: '430TX' }],
  },
  { plugin: debugExit, options: [{}, { base: 0x501, size: 1 }], invalidOptions: [{ size: 0 }, { base: 0x1_0000 }] },
]

for (const subject of subjects) emulatedDeviceCompliance({ ...subject, manifest: packageJson.partita, runs: 60 })
