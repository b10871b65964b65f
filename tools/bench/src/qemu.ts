// QEMU as a peer.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

export const QEMU = 'qemu-system-x86_64'
export const QEMU_MISSING: string = `${QEMU} is not installed; for the comparison: apt-get install qemu-system-x86`

export async function qemuAvailable(): Promise<boolean> {
  return (await qemuVersion()) !== undefined
}

/** `7.2.22`, or undefined without QEMU. */
export async function qemuVersion(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(QEMU, ['--version'])
    return /version (\S+)/.exec(stdout)?.[1] ?? 'unknown'
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
