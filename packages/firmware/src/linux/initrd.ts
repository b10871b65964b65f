// Checks of an initial ramdisk before a guest sees it: is it something that Linux unpacks (Linux "initramfs buffer format"), and is a
// plain cpio archive complete? A compressed archive is only recognised by its magic number: the guest reports what is wrong inside.

import { detectCompression } from '../compression/decompress.ts'
import { FirmwareError } from '../firmware-error.ts'

const HEADER_LENGTH = 110
const FIELD_FILESIZE = 6 + 6 * 8
const FIELD_NAMESIZE = 6 + 11 * 8
const TRAILER = 'TRAILER!!!'

/** File systems that Linux accepts as an initial RAM disk: magic number, offset. */
const DISK_MAGIC: readonly (readonly [number, readonly number[]])[] = [
  [1080, [0x53, 0xef]], // ext2, ext3, ext4
  [0, [0x2d, 0x72, 0x6f, 0x6d, 0x31, 0x66, 0x73, 0x2d]], // romfs
  [0, [0x68, 0x73, 0x71, 0x73]], // squashfs
  [0, [0x45, 0x3d, 0xcd, 0x28]], // cramfs
]

/**
 * Check an initial ramdisk.
 *
 * @throws FirmwareError `ERR_INITRD_EMPTY`, `ERR_INITRD_FORMAT`, `ERR_INITRD_TRUNCATED`
 */
export function checkInitrd(bytes: Uint8Array): void {
  if (bytes.length === 0) throw new FirmwareError('ERR_INITRD_EMPTY', 'The initial ramdisk is empty')
  let position = 0
  while (position < bytes.length && bytes[position] === 0) position++
  if (startsWithCpio(bytes, position)) {
    checkCpio(bytes, position)
    return
  }
  const format = detectCompression(bytes.subarray(position, position + 8))
  if (format !== undefined && format !== 'none') return
  const isDisk = DISK_MAGIC.some(([offset, magic]) => magic.every((byte, index) => bytes[offset + index] === byte))
  if (!isDisk) {
    throw new FirmwareError(
      'ERR_INITRD_FORMAT',
      'The initial ramdisk is neither a cpio archive nor a known compression',
      {
        hint: 'Make it with `cpio -o -H newc`.',
      },
    )
  }
}

function startsWithCpio(bytes: Uint8Array, position: number): boolean {
  // '070701' without and '070702' with check sums.
  return (
    position + 6 <= bytes.length &&
    [0x30, 0x37, 0x30, 0x37, 0x30].every((byte, index) => bytes[position + index] === byte) &&
    (bytes[position + 5] === 0x31 || bytes[position + 5] === 0x32)
  )
}

function checkCpio(bytes: Uint8Array, start: number): void {
  let position = start
  for (;;) {
    if (bytes.length - position < HEADER_LENGTH) throw truncated(bytes.length)
    if (!startsWithCpio(bytes, position)) throw malformed(position)
    const fileSize = hexField(bytes, position + FIELD_FILESIZE)
    const nameSize = hexField(bytes, position + FIELD_NAMESIZE)
    if (fileSize < 0 || nameSize <= 0) throw malformed(position)
    const name = position + HEADER_LENGTH
    const data = align4(name + nameSize - start) + start
    const next = align4(data + fileSize - start) + start
    if (name + nameSize > bytes.length || data + fileSize > bytes.length) throw truncated(bytes.length)
    if (nameSize === TRAILER.length + 1 && isTrailer(bytes, name)) return
    position = next
  }
}

function isTrailer(bytes: Uint8Array, position: number): boolean {
  for (let index = 0; index < TRAILER.length; index++) {
    if (bytes[position + index] !== TRAILER.charCodeAt(index)) return false
  }
  return true
}

function align4(value: number): number {
  return value + (-value & 3)
}

/** Eight hexadecimal digits; -1 when they are not. */
function hexField(bytes: Uint8Array, position: number): number {
  let value = 0
  for (let index = 0; index < 8; index++) {
    const digit = Number.parseInt(String.fromCharCode(bytes[position + index]!), 16)
    if (Number.isNaN(digit)) return -1
    value = value * 16 + digit
  }
  return value
}

function truncated(length: number): FirmwareError {
  return new FirmwareError('ERR_INITRD_TRUNCATED', `The initial ramdisk ends at ${length} bytes, inside its archive`, {
    hint: 'The file was not copied completely.',
    data: { length },
  })
}

function malformed(position: number): FirmwareError {
  return new FirmwareError('ERR_INITRD_FORMAT', `The initial ramdisk's cpio archive is malformed at byte ${position}`, {
    data: { position },
  })
}
