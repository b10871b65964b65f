// The root disk of the default guest: a copy that is thrown away, or a file that the user keeps.

import { existsSync, rmSync } from 'node:fs'
import { copyRootDisk, type DefaultGuest, makeScratchRootDisk } from './default-guest/index.ts'
import type { DiskOption } from './option-values.ts'

/** A root disk, from before it is opened until after it is closed. */
export interface RootDisk extends Disposable {
  readonly option: DiskOption
  /** It is open now. A name that nobody needs any more goes: then nothing stays, however this process ends. */
  opened(): void
}

/**
 * @param root The value of `--root`: a file, which is made if there is none; a throw-away copy where nothing was said.
 * @throws DefaultGuestError `ERR_GUEST_IMAGE`
 */
export function rootDiskOf(guest: DefaultGuest, root: string | undefined): RootDisk {
  if (root !== undefined) {
    if (!existsSync(root)) copyRootDisk(guest.rootDisk, root)
    return { option: diskOption(root), opened: () => {}, [Symbol.dispose]: () => {} }
  }
  const scratch = makeScratchRootDisk(guest)
  return {
    option: diskOption(scratch.path),
    opened: () => {
      // Windows does not let go of an open file.
      if (process.platform !== 'win32') rmSync(scratch.path, { force: true })
    },
    [Symbol.dispose]: () => scratch[Symbol.dispose](),
  }
}

/** On the controller that the machine has. */
function diskOption(path: string): DiskOption {
  return { path, readOnly: false, dvd: false }
}
