// Thousands of files by the shell, and what the host makes of them.

import { deepEqual, equal, ok } from 'node:assert/strict'
import { join } from 'node:path'
import { openRawDisk } from '@partita/disk-images/node'
import { fileOperations, sumsInImage, sumsTold } from '../../../storage/file-operations.ts'
import { makeFileSystem, run as runOnHost } from '../../../storage/unclean-stop.ts'
import type { GuestCase } from '../case.ts'

const MEBIBYTE = 2 ** 20
const FILES = 6000

export const files: GuestCase = {
  name: 'files',
  description: `files are created, renamed, truncated, linked and deleted, ${FILES} of them go through a tar archive; all sums equal the host's, e2fsck finds nothing`,
  async run({ directory, boot }) {
    const image = join(directory, 'work.img')
    makeFileSystem(image, 256 * MEBIBYTE, 'work')
    {
      await using disk = await openRawDisk(image)
      const guest = await boot({ disks: { work: { disk } } })
      guest.console.type(`${fileOperations(FILES)}`)
      await guest.saw('UNMOUNTED')
      const found = sumsInImage(image, directory)
      ok(found.size > FILES - 200, `${found.size} files`)
      deepEqual(found, sumsTold(guest.console.text))
      await guest.powerOff()
      equal(await guest.end.then(({ type }) => type), 'power-off')
    }
    const { status, output } = runOnHost('e2fsck', ['-fn', image])
    equal(status, 0, output)
  },
}
