import { emulatedDeviceCompliance } from '@partita/testkit'
import { describe, it } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }
import serial from '../src/index.ts'

const manifest = packageJson.partita as Parameters<typeof emulatedDeviceCompliance>[0]['manifest']

describe('serial port complies', () =>
  emulatedDeviceCompliance(
    {
      plugin: serial,
      manifest,
      options: [{}, { base: 0x2f8, irq: 3, backend: 'nothing', inputRate: 0 }],
      invalidOptions: [{ base: 0x3f9 }, { irq: 24 }, { backend: '' }, { inputRate: -1 }],
    },
    it,
  ))
