// Changes the CD in a drive of a running machine's IDE controller.

import { openRawDisk } from '@partita/disk-images/node'
import { type IdeControl, ideControlToken } from '@partita/emulated-ide'
import type { Disk } from '@partita/interface'
import type { VirtualMachine } from '@partita/root-partition'

function drivesOf(vm: VirtualMachine): IdeControl {
  const drives = vm.find(ideControlToken)
  if (drives === undefined) throw new Error('the machine has no IDE controller')
  return drives
}

/** Put the ISO image `path` into the drive at `position`: 0 to 3, primary master to secondary slave. The guest sees a new medium. */
export async function insertCd(vm: VirtualMachine, position: number, path: string): Promise<void> {
  const image = await openRawDisk(path, { readOnly: true })
  let previous: Disk | undefined
  try {
    previous = await drivesOf(vm).insert(position, image)
  } catch (error) {
    await image[Symbol.asyncDispose]()
    throw error
  }
  // The drive has the image from here on, whatever becomes of the one before it.
  await previous?.[Symbol.asyncDispose]()
}

/** Press the drive's button: a guest that has the medium in use is asked to let go of it, and opens the tray when it does. */
export function askForCd(vm: VirtualMachine, position: number): void {
  drivesOf(vm).requestEject(position)
}

/** Take the medium out, whether the guest likes it or not. */
export async function removeCd(vm: VirtualMachine, position: number): Promise<void> {
  const previous = await drivesOf(vm).remove(position)
  await previous?.[Symbol.asyncDispose]()
}
