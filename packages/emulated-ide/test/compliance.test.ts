import { MemoryDisk } from '@partita/disk-images'
import { disksToken } from '@partita/interface'
import { emulatedDeviceCompliance } from '@partita/testkit'
import { describe, it } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }
import ide from '../src/index.ts'

const manifest = packageJson.partita as Parameters<typeof emulatedDeviceCompliance>[0]['manifest']

describe('IDE controller complies', () =>
  emulatedDeviceCompliance(
    {
      plugin: ide,
      manifest,
      options: [
        { drives: ['disk0', 'disk1', null, 'disk2'] },
        {},
        { device: 9, fn: 0, busMasterBase: 0xc000, drives: ['disk1'] },
      ],
      invalidOptions: [
        { drives: ['a', 'b', 'c', 'd', 'e'] },
        { drives: [''] },
        { busMasterBase: 0x1f0 },
        { device: 0 },
      ],
      // A saved machine goes on with the disks that it had.
      prepare: (machine, twin) =>
        machine.provide(
          disksToken,
          twin?.service(disksToken) ?? new Map(['disk0', 'disk1', 'disk2'].map((name) => [name, new MemoryDisk(300)])),
        ),
      maximumState: 300_000,
    },
    it,
  ))
