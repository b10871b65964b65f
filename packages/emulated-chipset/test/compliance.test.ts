import type { Plugin } from '@partita/interface'
import { emulatedDeviceCompliance } from '@partita/testkit'
import { describe, it } from 'vitest'
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

const manifest = packageJson.partita as Parameters<typeof emulatedDeviceCompliance>[0]['manifest']

// biome-ignore lint/suspicious/noExplicitAny: plug-ins with different options
const subjects: { plugin: Plugin<any>; options?: unknown[]; invalidOptions?: unknown[] }[] = [
  { plugin: interruptLines },
  { plugin: pic },
  {
    plugin: ioApic,
    options: [{}, { id: 15, address: 0xfec1_0000 }],
    invalidOptions: [{ id: 16 }, { address: 0xfec0_0001 }],
  },
  { plugin: pit },
  { plugin: rtc, options: [{}, { lowRamLimit: 0x8000_0000 }], invalidOptions: [{ lowRamLimit: 0 }] },
  {
    plugin: powerManagement,
    options: [{}, { base: 0xb000, sci: 10, timerBits: 32 }],
    invalidOptions: [{ timerBits: 16 }, { base: -4 }, { sci: 0 }],
  },
  { plugin: reset, options: [{}, { keyboardController: false }], invalidOptions: [{ keyboardController: 1 }] },
  { plugin: pci, options: [{}, { powerManagementBase: 0xb000 }], invalidOptions: [{ powerManagementBase: 1 }] },
  { plugin: debugExit, options: [{}, { base: 0x501, size: 1 }], invalidOptions: [{ size: 0 }, { base: 0x1_0000 }] },
]

for (const subject of subjects) {
  describe(`${subject.plugin.name} complies`, () => emulatedDeviceCompliance({ ...subject, manifest, runs: 60 }, it))
}
