import { MemoryDisk } from '@partita/disk-images'
import { disksToken } from '@partita/interface'
import { emulatedDeviceCompliance } from '@partita/testkit/vitest'
import packageJson from '../package.json' with { type: 'json' }
import ide from '../src/index.ts'

emulatedDeviceCompliance({
  plugin: ide,
  manifest: packageJson.partita,
  options: [
    { drives: ['disk0', 'disk1', null, 'disk2'] },
    {},
    { device: 9, fn: 0, busMasterBase: 0xc000, drives: ['disk1'] },
  ],
  invalidOptions: [{ drives: ['a', 'b', 'c', 'd', 'e'] }, { drives: [''] }, { busMasterBase: 0x1f0 }, { device: 0 }],
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
  ],
  maximumState: 300_000,
})
