// The suite of emulated devices, for the controller in both its wirings.

import { MemoryDisk } from '@partita/disk-images'
import { disksToken } from '@partita/interface'
import type { EmulatedDeviceSubject } from '@partita/testkit'
import { emulatedDeviceCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import ide, { type IdeOptions } from '../src/index.ts'

const drives = ['disk0', { disk: 'disk1', dvd: true }, { disk: null, dvd: true }, { disk: 'disk2', readOnly: true }]

const subject: Omit<EmulatedDeviceSubject, 'options'> = {
  plugin: ide as EmulatedDeviceSubject['plugin'],
  manifest: packageJson.partita,
  invalidOptions: [
    { drives: ['a', 'b', 'c', 'd', 'e'] },
    { drives: [''] },
    { drives: [{ disk: null }] },
    { drives: [{ disk: 'a', serial: 'x'.repeat(21) }] },
    { busMasterBase: 0x1f0 },
    { device: 0 },
  ],
  // A saved machine goes on with the disks that it had.
  prepare: (machine, twin) =>
    machine.provide(
      disksToken,
      twin?.service(disksToken) ?? new Map(['disk0', 'disk1', 'disk2'].map((name) => [name, new MemoryDisk(300)])),
    ),
  interrupts: [
    {
      name: 'IDENTIFY DEVICE',
      gsi: 14,
      raise: ({ ports }) => {
        ports.write(0x1f6, 0xa0)
        ports.write(0x1f7, 0xec)
      },
      // The status register lets go of the line; the data is taken too, for the next command.
      acknowledge: ({ ports }) => {
        ports.read(0x1f7)
        for (let word = 0; word < 256; word++) ports.read(0x1f0, 2)
      },
    },
    {
      name: 'FLUSH CACHE',
      gsi: 15,
      raise: ({ ports }) => {
        ports.write(0x176, 0xb0)
        ports.write(0x177, 0xe7)
      },
      acknowledge: ({ ports }) => void ports.read(0x177),
    },
    {
      name: 'TEST UNIT READY',
      gsi: 14,
      raise: ({ ports }) => {
        ports.write(0x1f6, 0xb0)
        ports.write(0x1f1, 0)
        ports.write(0x1f7, 0xa0)
        for (let word = 0; word < 6; word++) ports.write(0x1f0, 0, 2)
      },
      acknowledge: ({ ports }) => void ports.read(0x1f7),
    },
  ],
  maximumState: 300_000,
}

const WIRINGS: readonly (readonly Partial<Record<keyof IdeOptions, unknown>>[])[] = [
  [{ drives }, {}, { device: 9, fn: 0, busMasterBase: 0xc000, drives: [null, null, 'disk1'] }],
  [
    { pci: false, drives },
    { pci: false, drives: ['disk1'] },
  ],
]
for (const options of WIRINGS) emulatedDeviceCompliance({ ...subject, options })
