// The disks of this package against the compliance suite.

import { mkdtempSync, rmSync } from 'node:fs'
import { stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Disk } from '@partita/interface'
import { diskCompliance } from '@partita/testkit/vitest'
import { afterAll } from 'vitest'
import { MemoryDisk } from '../src/index.ts'
import { createRawImage, openRawDisk } from '../src/raw.node.ts'

diskCompliance({
  name: 'memory',
  create: () => new MemoryDisk(1024),
  createReadOnly: () => new MemoryDisk(128, { readOnly: true, contents: new Uint8Array(4096).fill(3) }),
})

diskCompliance({ name: 'memory, large sectors', create: () => new MemoryDisk(80, { sectorSize: 4096 }), runs: 5 })

const directory = mkdtempSync(join(tmpdir(), 'partita-disk-compliance-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const SIZE = 1024 * 512
let images = 0
let image = ''

async function create(): Promise<Disk> {
  image = join(directory, `${++images}.img`)
  await createRawImage(image, SIZE)
  return await openRawDisk(image)
}

diskCompliance({
  name: 'raw image',
  create,
  createReadOnly: async () => {
    await using disk = await create()
    await disk.write(0, [new Uint8Array(4096).fill(7)])
    await disk[Symbol.asyncDispose]()
    return await openRawDisk(image, { readOnly: true })
  },
  reopen: () => openRawDisk(image),
  // Somebody cuts the file under it.
  fault: {
    code: 'ERR_DISK_IO',
    break: () => truncate(image, 4096),
    mend: async () => {
      if ((await stat(image)).size !== 4096) throw new Error('the image has changed')
      await truncate(image, SIZE)
    },
    operations: ['read', 'write', 'flush'],
  },
  runs: 8,
})
