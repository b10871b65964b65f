// An ISO 9660 image with one file, as a CD that cases put into a drive.

import { randomFillSync } from 'node:crypto'

const SECTOR = 2048
const AT = { PRIMARY: 16, TERMINATOR: 17, ROOT: 18, FILE: 19 } as const
const DIRECTORY = 2

/** Both byte orders, as ECMA-119, 7.3.3 and 7.2.3, wants numbers. */
function both32(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true)
  view.setUint32(at + 4, value)
}

function both16(view: DataView, at: number, value: number): void {
  view.setUint16(at, value, true)
  view.setUint16(at + 2, value)
}

/** A directory record (ECMA-119, 9.1). */
function record(sector: number, bytes: number, flags: number, name: Uint8Array): Uint8Array {
  const result = new Uint8Array((33 + name.length + 1) & ~1)
  const view = new DataView(result.buffer)
  result[0] = result.length
  both32(view, 2, sector)
  both32(view, 10, bytes)
  result.set([100, 1, 1, 0, 0, 0, 0, flags], 18)
  both16(view, 28, 1)
  result[32] = name.length
  result.set(name, 33)
  return result
}

/** The image; Linux shows its file as `data.bin`. */
export interface IsoImage {
  readonly image: Uint8Array
  readonly file: Uint8Array
}

/** @param bytes size of the file, whose contents are random */
export function isoImage(label: string, bytes: number): IsoImage {
  const sectors = AT.FILE + Math.ceil(bytes / SECTOR)
  const image = new Uint8Array(sectors * SECTOR)
  const view = new DataView(image.buffer)
  const text = new TextEncoder()
  const descriptor = (sector: number, type: number): number => {
    const at = sector * SECTOR
    image[at] = type
    image.set(text.encode('CD001'), at + 1)
    image[at + 6] = 1
    return at
  }
  const primary = descriptor(AT.PRIMARY, 1)
  image.fill(0x20, primary + 8, primary + 72)
  image.set(text.encode(label), primary + 40)
  both32(view, primary + 80, sectors)
  both16(view, primary + 120, 1)
  both16(view, primary + 124, 1)
  both16(view, primary + 128, SECTOR)
  image.set(record(AT.ROOT, SECTOR, DIRECTORY, Uint8Array.of(0)), primary + 156)
  image[primary + 881] = 1
  descriptor(AT.TERMINATOR, 255)
  let at = AT.ROOT * SECTOR
  for (const entry of [
    record(AT.ROOT, SECTOR, DIRECTORY, Uint8Array.of(0)),
    record(AT.ROOT, SECTOR, DIRECTORY, Uint8Array.of(1)),
    record(AT.FILE, bytes, 0, text.encode('DATA.BIN;1')),
  ]) {
    image.set(entry, at)
    at += entry.length
  }
  const file = image.subarray(AT.FILE * SECTOR, AT.FILE * SECTOR + bytes)
  randomFillSync(file)
  return { image, file }
}
