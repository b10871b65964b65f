// The saved state of a whole VM: state units, partition, and the RAM that is not zero.

import type { GpaMap } from '@partita/hypervisor'
import type { SavedState } from '@partita/interface'
import { RootPartitionError } from './error.ts'

/** The version of {@link SavedMachine}. */
export const SAVED_MACHINE_VERSION = 1

/** Plain data that survives a structured clone. */
export interface SavedMachine {
  /** Version of this format; a machine refuses one that it does not know. */
  readonly version: number
  /** Bytes of RAM. */
  readonly memory: number
  /** State of the processors, of the Hyper-V interface and of reference time. */
  readonly partition: SavedState
  /** State of the plug-ins by id. */
  readonly units: Readonly<Record<string, SavedState>>
  /** RAM: `data` lies from `gpa` on; everything that is not here is zero. */
  readonly ram: readonly { readonly gpa: number; readonly data: Uint8Array }[]
}

/** RAM is looked through in pieces of this many bytes; only those that are not zero are kept. */
const CHUNK = 0x10000

/** Copy the RAM that is not zero, from under the hypervisor's overlay pages, and whether it answers or not. RAM begins at 0. */
export function saveRam(memory: GpaMap): SavedMachine['ram'] {
  const saved: { gpa: number; data: Uint8Array }[] = []
  for (let gpa = 0; gpa < memory.ramSize; gpa += CHUNK) {
    const view = memory.ramView(gpa, CHUNK)
    if (!isZero(view)) saved.push({ gpa, data: view.slice() })
  }
  return saved
}

/**
 * Put RAM back.
 * @throws RootPartitionError `ERR_STATE_INVALID` when the state has memory where the partition has none
 */
export function restoreRam(memory: GpaMap, ram: SavedMachine['ram']): void {
  memory.ramView(0, memory.ramSize).fill(0)
  for (const { gpa, data } of ram) {
    const inside = Number.isInteger(gpa) && gpa >= 0 && gpa + data.length <= memory.ramSize
    if (!inside)
      throw new RootPartitionError(
        'ERR_STATE_INVALID',
        `The saved state has memory at 0x${gpa.toString(16)}, where this VM has none`,
      )
    memory.ramView(gpa, data.length).set(data)
  }
  memory.written(0, memory.ramSize)
}

function isZero(bytes: Uint8Array): boolean {
  if (bytes.byteOffset % 8 !== 0 || bytes.length % 8 !== 0) return bytes.every((byte) => byte === 0)
  const words = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)
  for (let index = 0; index < words.length; index++) {
    // -0 has a bit set, and equals 0.
    if (words[index] !== 0 || Object.is(words[index], -0)) return false
  }
  return true
}
