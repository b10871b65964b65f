// The driver against the compliance suite, with the provider at the other end.

import { MemoryDisk } from '@partita/disk-images'
import { vscCompliance } from '@partita/testkit/vitest'
import { storageDriver } from '../src/vsc.ts'
import { BlockUnit, StorageController } from '../src/vsp.ts'
import { INSTANCE } from './guest.ts'

const SECTORS = 512

/** Each sector begins with its number. */
const contents = new Uint8Array(SECTORS * 512)
for (let sector = 0; sector < SECTORS; sector++) new DataView(contents.buffer).setUint16(sector * 512, sector, true)

vscCompliance({
  driver: storageDriver,
  host: () => {
    const controller = new StorageController({ instanceId: INSTANCE, subChannels: 2 })
    controller.target.attach(0, new BlockUnit(new MemoryDisk(SECTORS, { contents }), { serial: 's' }))
    return controller
  },
  operate: async (controller, n) => {
    const disk = controller.disk(0)
    const sector = n % SECTORS
    const bytes = new Uint8Array(512)
    if (n % 5 === 4) {
      // What is written is what is there: reads at the same time find nothing else.
      new DataView(bytes.buffer).setUint16(0, sector, true)
      await disk.write(sector, bytes)
    }
    bytes.fill(0)
    await disk.read(sector, bytes)
    const found = new DataView(bytes.buffer).getUint16(0, true)
    if (found !== sector) throw new Error(`sector ${found} instead of ${sector}`)
  },
})
